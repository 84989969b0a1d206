"""What a deduplication keeps for later runs: `OUT/index/<scope>-<stage>`, files of keys and of what stands for the documents that stayed.

A later run takes those documents into its own barrier, before its own: so new documents are dropped for them, by the same rules, as if the
whole had been read at once. An index is named by its `index.json`, which holds what it was made by and the size of each file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from curate import store
from curate.barriers import Entrant
from curate.errors import CurateError
from curate.stage import Global, Model
from curate.worker import REMEMBERED

FOLDER, NAME = "index", "index.json"


def publish(stage: Global, shards: Sequence[tuple[str, int]], folder: str, lineage: str) -> None:
    """The index of a barrier: that which it was given itself, and then `shards`, as (path without ending, documents) in corpus order."""
    sources: list[str] = []
    sizes: list[dict[str, Any]] = []
    for docs, documents, keys in earlier(stage.earlier) if stage.earlier else []:
        sources += [documents, keys]
        sizes.append({"documents": docs, "bytes": [store.size(documents), store.size(keys)]})
    for at, docs in shards:
        own = [f"{at}.{end}" for end in REMEMBERED]
        sources += own
        sizes.append({"documents": docs, "bytes": [store.size(path) for path in own]})
    targets = [store.join(folder, f"{n:05d}.{end}") for n in range(len(sizes)) for end in REMEMBERED]
    store.publish(sources, targets, folder)
    made = {"stage": stage.name, "settings": stage.kinship, "lineage": lineage, "shards": sizes}
    store.write_json(store.join(folder, NAME), made)


def read(path: str) -> dict[str, Any]:
    """An `index.json`. Raises CurateError for anything else."""
    try:
        found = store.read_json(path)
        if isinstance(found, dict) and {"stage", "settings", "shards"} <= found.keys():
            return found
    except (OSError, ValueError):
        pass
    raise CurateError(f"{path} is no index; name the index.json that a run with keep_index has written, in OUT/index/")


def earlier(model: Model) -> list[tuple[int, str, str]]:
    """(documents, path of what stands for them, path of their keys) of each shard of an index. Raises CurateError where it is not whole."""
    folder = os.path.dirname(model.path)
    out = []
    for number, shard in enumerate(read(model.path)["shards"]):
        paths = [store.join(folder, f"{number:05d}.{end}") for end in REMEMBERED]
        for path, size in zip(paths, shard["bytes"], strict=True):
            if not store.exists(path) or store.size(path) != size:
                raise CurateError(
                    f"{path} is not as {model.path} says ({size:,} bytes): {_found(path)}; copy the index again, with all its files"
                )
        out.append((shard["documents"], paths[0], paths[1]))
    return out


def _found(path: str) -> str:
    return f"it has {store.size(path):,}" if store.exists(path) else "it is not there"


def entrants(stage: Global) -> list[Entrant]:
    """The shards of an index, as they enter a barrier: before all others."""
    shards = earlier(stage.earlier) if stage.earlier else []
    return [Entrant(number, docs, documents, keys) for number, (docs, documents, keys) in enumerate(shards)]
