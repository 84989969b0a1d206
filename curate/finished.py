"""What passes have come to, and what users see of it: documents, quarantine, readers' tables, indexes and the funnel under OUT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curate import index, store
from curate.errors import CurateError, RecipeError
from curate.plan import Plan
from curate.stats import StageStats, add
from curate.worker import EVIDENCE, Done, Part


@dataclass
class Finished:
    """What a pass has come to: its shards, and its rows of the funnel."""

    parts: list[Part] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)  # quarantine files
    evidence: list[str] = field(default_factory=list)  # files of the reader's tables
    rows: list[StageStats] = field(default_factory=list)
    remembered: dict[int, int] = field(default_factory=dict)  # of each shard: documents that an index keeps


@dataclass
class Result:
    """A finished run: the curated documents by source, and the funnel."""

    documents: dict[str, list[Part]]
    rows: list[StageStats]


def publish(finished: dict[str, list[Finished]], out: str) -> dict[str, list[Part]]:
    """The last passes' documents, the quarantine and the readers' tables under the names that users know, and nothing else there."""
    documents = {}
    tables = {source: set(map(table_of, results[0].evidence)) for source, results in finished.items()}
    for kind in ("documents", "quarantine"):
        for stale in store.folders(store.join(out, kind)) - finished.keys():
            store.publish([], [], store.join(out, kind, stale))
    for source in store.folders(store.join(out, "evidence")):
        for stale in store.folders(store.join(out, "evidence", source)) - tables.get(source, set()):
            store.publish([], [], store.join(out, "evidence", source, stale))
    for source, results in finished.items():
        parts = [p for p in results[-1].parts if p.docs]
        folder = store.join(out, "documents", source)
        documents[source] = [replace(p, path=store.join(folder, f"{p.number:05d}.parquet")) for p in parts]
        store.publish([p.path for p in parts], [p.path for p in documents[source]], folder)
        folder = store.join(out, "quarantine", source)
        bad = results[0].bad
        store.publish(bad, [store.join(folder, store.name(b).replace(".bad.jsonl", ".jsonl")) for b in bad], folder)
        for table in sorted(tables[source]):
            folder = store.join(out, "evidence", source, table)
            files = [f for f in results[0].evidence if table_of(f) == table]
            store.publish(files, [store.join(folder, f"{store.name(f).partition('.')[0]}.parquet") for f in files], folder)
    return documents


def table_of(path: str) -> str:
    """Of which table a shard's file of evidence is."""
    return store.name(path).removesuffix(EVIDENCE).partition(".")[2]


def publish_indexes(plan: Plan, finished: dict[str, list[Finished]], out: str) -> None:
    """The indexes that barriers keep, each in corpus order, and no others."""
    home = store.join(out, index.FOLDER)
    named = {b.index: b for b in plan.barriers if b.stage.remembers}
    for stale in store.folders(home) - named.keys():
        store.publish([], [], store.join(home, stale))
        store.remove(store.join(home, stale, index.NAME))
    for name, barrier in named.items():
        shards = []
        for member in barrier.members:
            behind = finished[member.source][member.number]
            kept = [(p, behind.remembered[p.number]) for p in behind.parts]
            shards += [(p.path.removesuffix(".parquet"), docs) for p, docs in kept if docs]
        index.publish(barrier.stage, shards, store.join(home, name), barrier.fingerprint)


def write_stats(rows: Sequence[StageStats], out: str) -> None:
    """The funnel, for `curate stats`."""
    store.write_json(store.join(out, "stats.json"), [r.to_json() for r in rows])


def read_stats(out: str) -> list[StageStats]:
    """The funnel of a finished run."""
    check_there(out)
    path = store.join(out, "stats.json")
    if not store.exists(path):
        raise CurateError(
            f"{out}: no finished run: there is no stats.json. What its passes have done so far, with fates and quarantine, is in "
            f"{store.join(out, 'passes')}, and `curate dedup-report {out}` tells of deduplication; `curate run RECIPE --out {out}` goes on"
        )
    try:
        return [StageStats.from_json(row) for row in list[dict[str, Any]](store.read_json(path))]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CurateError(f"{path}: not what a run writes; `curate run RECIPE --out {out}` writes it anew") from None


def so_far(out: str) -> list[StageStats]:
    """The funnel of a run that is not finished; nothing of one that is."""
    lock = store.join(out, "recipe.lock.json")
    if store.exists(store.join(out, "stats.json")) or not store.exists(lock):
        return []
    funnel: list[StageStats] = []
    for folder in store.read_json(lock)["passes"]:
        rows: list[StageStats] = []
        for name in sorted(store.listing(store.join(out, folder))):
            if name.endswith(".json"):
                rows = add(rows, Done.from_json(store.read_json(store.join(out, folder, name))).stats)
        funnel += rows
    return funnel


def check_there(out: str) -> None:
    """Raise RecipeError unless there is a run, finished or not."""
    if not any(store.exists(store.join(out, name)) for name in ("recipe.lock.json", "stats.json", "tokens/manifest.json", "manifest.json")):
        raise RecipeError(f"{out}: no run is here; OUT is the folder that `curate run --out` was given, or runs/NAME")
