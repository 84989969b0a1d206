"""Data sets by the `datasets` library: from the Hugging Face hub, from a local folder of raw files, or written by `save_to_disk`.

Streamed, in the library's own shards (its files); `id` is the shard's number and the row's. A hub name is pinned to a commit while
planning, so that all workers read the same. Only data is read: no scripts, no pickles, no files outside of the data set. A malformed
line of JSON ends its shard, as the library parses whole blocks: for JSON lines and Parquet on disk, read.jsonl and read.parquet
lose only the bad record. Per core 360 MB/s from Parquet, 400 from JSON lines, 2.6 GB/s from `save_to_disk`. Needs `curate[hub]`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

from curate import store
from curate.errors import RecipeError
from curate.stage import Bad, File, Shard
from stages.read.columns import Records, documents, gathered

BUILDERS = ("arrow", "csv", "json", "parquet", "text")  # of data sets that hold text, none of which runs anything
BROKEN = (pa.ArrowException, ValueError, TypeError, EOFError)  # data; an OSError is the network
ROWS = 512  # of a table that the library hands over


class Broken(Exception):
    """Data that the library cannot read; kept apart from what our own code may raise."""


@dataclass(frozen=True)
class Hub(Records):
    """Documents of one split of a data set."""

    dataset: str  # a name on the hub, or a local folder
    subset: str | None = None  # the library also calls it configuration
    split: str = "train"  # ours
    revision: str | None = None  # a branch, tag or commit of the hub; ours: the newest when planned, pinned for the run

    def shards(self, target: int) -> list[Shard]:
        self.check_fields()
        try:
            import datasets  # noqa: F401
        except ImportError:
            raise RecipeError(f"{self.name}: needs the package datasets: pip install 'curate[hub]'") from None
        folder = os.path.abspath(os.path.expanduser(self.dataset))
        local = os.path.isdir(folder)
        if not local and (self.dataset.startswith(("/", ".", "~")) or self.dataset.count("/") > 1):
            raise RecipeError(f"{self.name}.dataset: there is no folder {self.dataset}")
        title = f"{os.path.basename(folder) if local else self.dataset}/{self.subset or 'default'}/{self.split}"
        try:
            stamp = "" if local else _commit(self.dataset, self.revision)
            stream, files = _open(folder if local else self.dataset, self.subset, self.split, stamp)
            first = _first(stream)
        except RecipeError as error:
            raise RecipeError(f"{self.name}: {self.dataset}: {error}") from None
        except Exception as error:  # whatever the library, the hub and the network raise
            raise RecipeError(f"{self.name}: {self.dataset} cannot be read: {_brief(error)}") from None
        if first is not None:
            self.check_schema(first.schema, title)
        sizes = [os.path.getsize(file) if os.path.isfile(file) else target for file in files] if local else []
        if local:
            stats = [os.stat(file) for file in files if os.path.isfile(file)]
            stamp = store.fingerprint([[s.st_size, s.st_mtime_ns] for s in stats])
        file = File(folder if local else f"hf://datasets/{self.dataset}", title, sum(sizes), stamp)
        if len(sizes) != stream.num_shards:
            sizes = [target] * stream.num_shards  # unknown: each by itself
        return [Shard(file, index, index + 1, size) for index, size in enumerate(sizes)]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad]:
        yield from gathered(self._rows(shard))

    def _rows(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad]:
        path = shard.file.path
        stamp = shard.file.stamp if path.startswith("hf://") else ""
        stream, _ = _open(path.removeprefix("hf://datasets/"), self.subset, self.split, stamp)
        row, label = 0, f"{shard.file.label}:{shard.low}"
        try:
            for table in _tables(stream.shard(num_shards=stream.num_shards, index=shard.low)):
                self.check_schema(table.schema, label)
                for batch in table.to_batches():
                    yield from documents(batch, self, row, lambda at: f"{label}-{at}")
                    row += len(batch)
        except (RecipeError, Broken) as error:
            yield Bad(f"{label}-{row}", f"cannot be read from here on: {_brief(error)}", whole_file=row == 0)


def _tables(stream: Any) -> Iterator[pa.Table]:
    try:
        yield from stream.with_format("arrow").iter(ROWS)
    except BROKEN as error:
        raise Broken(_brief(error)) from None


def _first(stream: Any) -> pa.Table | None:
    """The first rows, which tell the columns. None if there are none or they are broken: that is for reading to report."""
    try:
        return next(iter(stream.with_format("arrow").iter(1)), None)
    except BROKEN:
        return None


def _commit(dataset: str, revision: str | None) -> str:
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(dataset, revision=revision).sha)


@lru_cache(maxsize=2)
def _open(path: str, config: str | None, split: str, commit: str) -> tuple[Any, list[str]]:
    """(IterableDataset, its files) of a folder, or of a hub name at a commit."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what it logs is raised as well
    if not commit and any(os.path.isfile(os.path.join(path, mark)) for mark in ("dataset_dict.json", "state.json")):
        return _saved(path, split)
    with tempfile.TemporaryDirectory(prefix="curate-hub-") as cache:  # lock files of a cache that streaming does not use
        builder = datasets.load_dataset_builder(path, config, revision=commit or None, cache_dir=cache)
    kind = type(builder).__module__.rsplit(".", 1)[-1]
    if kind not in BUILDERS:
        raise RecipeError(f"holds files of kind {kind}; read are {', '.join(BUILDERS)}")
    files = {str(name): list(found) for name, found in (builder.config.data_files or {}).items()}
    _check_split(split, list(files))
    origin = f"hf://datasets/{path}@" if commit else path.rstrip("/") + "/"
    for file in files[split]:
        if not os.path.normpath(file.rsplit("::", 1)[-1]).startswith(os.path.normpath(origin)):
            raise RecipeError(f"its description names a file that is not its own: {file}")
    builder.config.data_files = datasets.data_files.DataFilesDict({split: builder.config.data_files[split]})
    if kind == "parquet":
        builder.config.batch_size = ROWS  # the library's default is the row group
    return builder.as_streaming_dataset(split=split), files[split]


def _saved(path: str, split: str) -> tuple[Any, list[str]]:
    """What `save_to_disk` wrote: memory-mapped, one shard per file."""
    import datasets

    found = datasets.load_from_disk(path)
    splits = dict(found) if isinstance(found, datasets.DatasetDict) else {str(found.split or "train"): found}
    _check_split(split, [str(name) for name in splits])
    dataset = splits[split]
    files = [entry["filename"] for entry in dataset.cache_files]
    return dataset.to_iterable_dataset(num_shards=max(1, min(len(files), len(dataset)))), files


def _check_split(split: str, splits: list[str]) -> None:
    if split not in splits:
        raise RecipeError(f"has no split {split}; it has {', '.join(splits)}")


def _brief(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
