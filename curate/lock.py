"""OUT/recipe.lock.json: all that a run's results depend on, and OUT/recipe.yaml: the recipe with every default written out."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

from curate import __version__, places, store, training
from curate.plan import Barrier, Plan, Training
from curate.stage import Guarded, Shard

NAME = "recipe.lock.json"
LIBRARIES = ("pyarrow", "numpy", "numba", "fasttext-numpy2", "kenlm", "mwparserfromhell", "sentencepiece", "tokenizers", "resiliparse")


def write(plan: Plan, out: str) -> None:
    """The recipe as resolved, and all that its results depend on."""
    lock = {
        "curate": __version__,
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "seed": plan.recipe.seed,
        "recipe": plan.fingerprint,
        "models": [{"path": p, **dict(zip(("bytes", "stamp"), store.stamp(p), strict=True)), "sha256": d} for p, d in plan.models.items()],
        "trained": {t.name: _trained(t, out) for t in plan.trainings},
        "inputs": {source: _files(shards) for source, shards in plan.inputs.items()},
        "passes": {p.folder: [s.identity for s in ((p.reader,) if p.reader else ()) + p.chain] for p in plan.passes},
        "barriers": [_barrier(plan, b) for b in plan.barriers],
    }
    if not _same_results(out, lock):  # what says that a run is complete is of another recipe, or of other inputs
        store.remove(store.join(out, "stats.json"))
        store.remove(store.join(out, "tokens", "manifest.json"))
    if not plan.recipe.tokens:
        store.publish([], [], store.join(out, "tokens"))
    if not plan.recipe.goal:
        store.write_bytes(store.join(out, "recipe.yaml"), places.dump(plan.recipe.resolved).encode())
    store.write_json(store.join(out, NAME), lock)


def _barrier(plan: Plan, barrier: Barrier) -> dict[str, Any]:
    """Where a barrier was decided, and the passes before and behind it of each source."""
    return {
        "stage": barrier.stage.name,
        "deduplicates": isinstance(barrier.stage, Guarded),
        "folder": barrier.folder,
        "sources": [p.source for p in barrier.members],
        "before": [p.folder for p in barrier.members],
        "behind": [plan.behind(p).folder for p in barrier.members],
    }


def _trained(made: Training, out: str) -> dict[str, Any]:
    """A trained model in the lock: where it is, and the digests of its files once they are there."""
    digests = training.read_card(made, out)["sha256"] if training.is_trained(made, out) else {}
    return {"path": made.folder, "identity": made.trainer.identity, "sha256": digests}


def _same_results(out: str, lock: dict[str, Any]) -> bool:
    """Whether the lock in OUT is of a run that gives what this one will."""
    try:
        there = store.read_json(store.join(out, NAME))
        return all(there[key] == lock[key] for key in ("recipe", "passes"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _files(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    return [{"path": f.path, "label": f.label, "bytes": f.size, "stamp": f.stamp} for f in {s.file.path: s.file for s in shards}.values()]
