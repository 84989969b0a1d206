"""The kinds of stage. A stage's dataclass fields are its whole configuration, and it has one verb.

A stage never counts, logs, times or writes anything: the worker does that around it, so every stage gets a funnel row, drop
reasons, histograms and throughput without a line of its own. A model is a `cached_property`: loaded in the worker that first
needs it, never pickled, never configuration.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from curate.batch import Batch, Check, Mask, Removed

Checks = dict[str, Mask | Check]
Outcome = Batch | Mask | Checks | tuple[Batch, Checks] | tuple[Batch, Checks, Removed]

ADDRESS = b"doc"  # in the metadata of a verdict without the column
FACTS = b"facts"  # likewise


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage needs; passes are cut where it changes."""

    cpus: float = 1
    gpus: float = 0


@dataclass(frozen=True)
class Model:
    """A model named in a recipe's `models:`, or a path to a file or folder. Its identity is what it holds, not where it lies."""

    path: str
    sha256: str = ""  # of one that the run trains: the fingerprint of its training
    name: str = ""  # under `models:`, of one that the run trains


@dataclass(frozen=True)
class Stage(ABC):
    """What every stage is; see Source, Filter, Transform and Global."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
    resources: ClassVar[Resources] = Resources()  # a property where fields decide
    version: ClassVar[int] = 1  # raised when the same configuration gives other results than before

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that must be there, besides id, text and source."""
        return ()

    @property
    def adds(self) -> tuple[str, ...]:
        """Columns that are there afterwards and may not have been before."""
        return ()

    def check(self) -> None:
        """Raise CurateError where a model that is given cannot be what this stage needs. Called before anything starts: be quick."""

    @property
    def name(self) -> str:
        """As a recipe spells it: `gopher.Quality`."""
        module = type(self).__module__
        for package in ("stages.", "classifiers."):
            module = module.removeprefix(package)
        return f"{module}.{type(self).__name__}"

    @property
    def config(self) -> dict[str, Any]:
        """{name: {field: value}}, every default written out, as a recipe would have it."""
        return {self.name: dataclasses.asdict(self)}

    @property
    def identity(self) -> Any:
        """What a fingerprint is made of: the configuration and version, with models by content instead of by path."""
        config = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return [self.name, self.version, {k: v.sha256 or v.name if isinstance(v, Model) else plain(v) for k, v in config.items()}]

    def __getstate__(self) -> dict[str, Any]:
        """Fields only: a loaded model stays where it is."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


def plain(value: Any) -> Any:
    """A field's value as JSON would have it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


@dataclass(frozen=True)
class File:
    """One input file: `label` is its path below the folder that all of a source's files share, and part of document ids."""

    path: str
    label: str
    size: int
    stamp: str  # modification time or etag: with the size, what tells that the file has changed


@dataclass(frozen=True)
class Shard:
    """A part of an input that is read alone: `low` to `high` in bytes, row groups or whatever the format is split by."""

    file: File
    low: int
    high: int
    size: int  # bytes of input, about: small neighbours are read by one worker in one go


@dataclass(frozen=True)
class Bad:
    """A record that could not be read: it costs itself, goes to the quarantine and is counted."""

    place: str  # label and offset
    reason: str
    raw: bytes = b""
    whole_file: bool = False  # nothing of the file could be read: counts against `max_bad_files`


@dataclass(frozen=True)
class Skip:
    """Records that hold no document, or that an option of the reader leaves out."""

    reason: str
    count: int = 1
    chars: int = 0  # of text, where there was any


@dataclass(frozen=True)
class Evidence:
    """What a reader found out about its input beside the documents: rows of one of its `tables`, kept with the run."""

    table: str
    rows: pa.RecordBatch  # of the same schema every time


@dataclass(frozen=True, kw_only=True)
class Source(Stage):
    """Reads raw input. Yields record batches with `id` (label:offset), `text` and the columns that it `adds`."""

    tables: ClassVar[tuple[str, ...]] = ()  # of the Evidence that it yields: OUT/evidence/SOURCE/TABLE/*.parquet

    max_bad: float = 0.01  # share of records that may be unreadable before the run fails; ours
    max_bad_files: int = 0  # files of which nothing could be read; ours

    @abstractmethod
    def shards(self, target: int) -> list[Shard]:
        """The input in corpus order, large files cut into parts of about `target` bytes where the format allows.

        Raises RecipeError where there is nothing to read: called before anything starts.
        """

    @abstractmethod
    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip | Evidence]:
        """The documents of one shard in order. Memory must not grow with the shard."""


class Filter(Stage):
    """Decides which documents stay."""

    @abstractmethod
    def keep(self, batch: Batch) -> Mask | Checks:
        """True where a document passes. A dict names each rule, so that drops have a reason; a Check has evidence as well."""


class Transform(Stage):
    """Rewrites text or adds columns; as many documents come out as went in."""

    @abstractmethod
    def apply(self, batch: Batch) -> Batch | tuple[Batch, Checks] | tuple[Batch, Checks, Removed]:
        """The rewritten batch; with checks, documents are dropped after it; with the lines that were taken out, those are booked."""


class Round(ABC):
    """How keys become a verdict: `combine` and the exchange per shard, `reduce` once per range of `key`, `settle` once for each group.

    No result may depend on how keys are cut into ranges or on batch size. Keys should be hashes: their ranges are what is worked on side
    by side.
    """

    def combine(self, keys: pa.Table) -> pa.Table:
        """Shrink one shard's keys before they are written; may be called on any part of them. `doc` is the row in the shard."""
        return keys

    @abstractmethod
    def reduce(self, keys: pa.Table) -> pa.Table:
        """All rows of some keys, sorted by (key, doc), where doc addresses a row of the corpus: shard << 32 | row.

        Called for one range of keys after another, so that memory does not grow with the corpus. Many rows of one and the same key are
        memory-mapped: read them piece by piece.
        """

    def settle(self, reduced: pa.Table) -> pa.Table:
        """The verdict of a group, from what was reduced in order of key. With a `doc` column each shard is given its own rows;
        without one every shard of the group is given all of it, memory-mapped. Its schema's metadata may hold facts: see `with_facts`."""
        return reduced


class Global(Stage, Round):
    """Needs all documents at once: a barrier between two passes. Keys travel, text does not.

    `emit` runs at the end of one pass, then come the verbs of a Round, and `apply` at the start of the next pass.
    """

    def groups(self, docs: Sequence[int]) -> list[int]:
        """The group of each shard, from 0, given how many documents each holds; no key meets one of another group."""
        return [0] * len(docs)

    @abstractmethod
    def emit(self, batch: Batch) -> pa.RecordBatch:
        """Rows with a uint64 `key`, the int64 `row` within the batch that they speak for, and anything small."""

    @property
    def second(self) -> Second | None:
        """A second round, over the documents that the verdict names, for what keys alone cannot tell; its verdict is then applied."""
        return None

    @property
    def earlier(self) -> Model | None:
        """An index of an earlier run, whose documents come before all others."""
        return None

    @property
    def kinship(self) -> dict[str, Any]:
        """Settings in which an index and the stage that is given it agree."""
        return {}

    @property
    def remembers(self) -> bool:
        """Whether an index is to be written."""
        return False

    def remember(self, batch: Batch) -> Batch:  # noqa: ARG002
        """What stands for documents that stay, in an index: id, an empty text, and all that `emit` and the second round need of them."""
        raise TypeError(f"{self.name} keeps no index")

    @abstractmethod
    def apply(self, batch: Batch, verdict: pa.Table) -> Outcome:
        """`verdict` holds this batch's rows, with `row` counted from its first document; or all of it, if it has no `doc`, with the
        address of the batch's first document in its schema's metadata, under ADDRESS.
        """


@dataclass(frozen=True, kw_only=True)
class Guarded(Global):
    """A barrier that drops duplicates, and fails the run where it drops nearly all that there is: settings and templates have wiped out
    whole sources elsewhere. Documents count, and of one that rewrites texts its source's characters as well.
    """

    max_loss: Annotated[float, Field(ge=0, le=1)] = 0.9  # of a source, language or dump, that may go; ours: FineWeb's oldest lost so much
    watched: ClassVar[tuple[str, ...]] = ("language", "dump")  # columns by whose values losses are counted, where they are there

    @property
    def identity(self) -> Any:
        """Without what decides no document."""
        name, version, config = super().identity
        return [name, version, {k: v for k, v in config.items() if k != "max_loss"}]


class Second(Round):
    """The second round of a barrier: it is shown again the documents that the first one's verdict names, and no others."""

    @abstractmethod
    def emit(self, batch: Batch, verdict: pa.Table) -> pa.RecordBatch:
        """As `Global.emit`. `verdict` has the first verdict's rows of these documents in order, `row` being the document's in the batch."""


def with_facts(verdict: pa.Table, **facts: Any) -> pa.Table:
    """A verdict with what was found out on the way, as JSON would have it; under `says`, a list of sentences for the user."""
    return verdict.replace_schema_metadata({FACTS: json.dumps(facts)})


@dataclass(frozen=True)
class Totals:
    """How much a trainer is offered in one of its roles."""

    documents: int
    bytes: int  # of text
    of: Mapping[str, int] = dataclasses.field(default_factory=dict)  # documents of each value of the column that it `counts`, as text


class Trainer(Stage):
    """Makes a model out of documents, as part of the run: once for the same documents and settings.

    `select` runs over all shards side by side and takes what training needs of them; `train` runs once, on what was selected. The model
    is a folder of files; a stage that uses it has a field of type `Model`, whose `path` is then that folder.
    """

    @property
    def roles(self) -> tuple[str, ...]:
        """What documents are for. A recipe's `from:` names the sources of each role, or just the sources where there is one role."""
        return ("documents",)

    @property
    def counts(self) -> str:
        """A column whose values are counted before anything is selected, where sampling needs to know how rare each is."""
        return ""

    @abstractmethod
    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:
        """What training needs of these documents, of the same schema for every batch of a role.

        Sampling is by hash of the id: `totals` says how many documents there are, so that each can be judged alone.
        """

    @abstractmethod
    def train(self, selected: Mapping[str, Iterable[pa.RecordBatch]], folder: str) -> dict[str, Any]:
        """Write the model's files into a folder, and return its card: plain values that say what it was made of and how good it is. What
        stands in it under `warnings`, a list of sentences, is said to the user.

        `selected` holds, by role, what was selected in corpus order, to be read as often as needed. Raises CurateError where the
        documents cannot make a model.
        """
