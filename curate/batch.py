"""A batch of documents: Arrow columns, and views of the text that are computed once and shared by every stage behind.

Dropping documents copies no text and recomputes no view: a batch is a selection of rows, and words and lines keep pointing into
the buffer that they were found in. Text is gathered once, when the batch is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.kernels import text as text_kernels
from curate.kernels import unicode

Mask = npt.NDArray[np.bool_]  # one entry per document
Array = npt.NDArray[Any]
V = TypeVar("V")

MAX_BYTES = 2**31 - 1  # of text in one batch: positions are int32


class Check(NamedTuple):
    """What a rule found: who passed, and the evidence that goes to the fates and the histograms."""

    passed: Mask
    value: Array | None = None  # float per document: what was measured
    limit: float | None = None  # what it was held against
    kept: Array | None = None  # int64 per document: the address of the document kept in its stead, or -1
    kept_id: pa.StringArray | None = None  # per document: the id of that document, or null


def at_least(value: Array, limit: float) -> Check:
    """Passes where `value` is `limit` or more; a NaN fails."""
    return Check(value >= limit, value, limit)


def at_most(value: Array, limit: float) -> Check:
    """Passes where `value` is `limit` or less; a NaN fails."""
    return Check(value <= limit, value, limit)


class Removed(NamedTuple):
    """Lines that a stage took out of documents: for the fates."""

    first: Array  # int64, one per document: its lines are first[i] to last[i] of those below
    last: Array
    line: Array  # int32: number of the line in the document as it was, from 0
    others: Array  # int64: how many other documents held it; 0 for one that stood before in its own
    rule: Array | None = None  # int8: of `rules`, by which it went; without, there is one
    rules: tuple[str, ...] = ("duplicate",)

    @property
    def by_rule(self) -> dict[str, int]:
        """How many lines went by each rule."""
        count = self.last - self.first
        at = np.repeat(self.first - np.cumsum(count) + count, count) + np.arange(count.sum())
        rule = np.zeros(len(at), np.int8) if self.rule is None else self.rule[at]
        return dict(zip(self.rules, np.bincount(rule, minlength=len(self.rules)).tolist(), strict=True))


class Spans(NamedTuple):
    """Ragged spans: document i owns spans first[i] to last[i]; span j is the bytes start[j] to end[j]."""

    first: Array  # int64, one per document
    last: Array
    start: Array  # int32, one per span
    end: Array

    @property
    def count(self) -> Array:  # type: ignore[override]  # the field's word; a tuple's own count is of no use here
        """int64: spans of each document."""
        return self.last - self.first


class Words(NamedTuple):
    """Words and symbols (see `kernels.text.split_words`): spans with what they are made of."""

    first: Array  # int64, one per document
    last: Array
    start: Array  # int32, one per word
    end: Array
    chars: Array  # int32: code points
    kind: Array  # uint16: flags of `kernels.unicode`, or-ed over the word's characters
    hash: Array  # uint64

    @property
    def count(self) -> Array:  # type: ignore[override]  # as of Spans
        """int64: words and symbols of each document."""
        return self.last - self.first


class Batch:
    """Immutable. Every method returns a new batch.

    `text` is large_string without nulls; the other columns are whatever the source and the stages so far have put there.
    """

    __slots__ = ("_columns", "_rows", "_text", "_views")

    def __init__(self, columns: pa.RecordBatch, text: pa.LargeStringArray, rows: Array | None, views: dict[str, Any]):
        self._columns, self._text, self._rows, self._views = columns, text, rows, views

    @classmethod
    def of(cls, data: pa.RecordBatch) -> Batch:
        """Wrap a record batch that has a `text` column; without a copy if that is a large_string."""
        at = data.schema.get_field_index("text")
        return cls(data.remove_column(at), _large(data.column(at)), None, {})

    def __len__(self) -> int:
        return len(self._text) if self._rows is None else len(self._rows)

    def __getitem__(self, column: str) -> pa.Array:
        return self.text if column == "text" else self._columns.column(column)

    @property
    def names(self) -> list[str]:
        """All column names, `text` among them."""
        return [*self._columns.schema.names, "text"]

    @property
    def text(self) -> pa.LargeStringArray:
        """The text column: a copy where documents have been dropped."""
        return self._text if self._rows is None else self._text.take(pa.array(self._rows))

    @property
    def data(self) -> pa.RecordBatch:
        """The record batch to write: `id`, `text`, then the other columns in the order in which they came."""
        at = 1 if self._columns.num_columns else 0
        fields = [(f.name, self._columns.column(f.name)) for f in self._columns.schema]
        fields.insert(at, ("text", self.text))
        return pa.RecordBatch.from_arrays([a for _, a in fields], [n for n, _ in fields])

    @property
    def utf8(self) -> tuple[Array, Array, Array]:
        """(bytes, start, end): the text's buffer without a copy, and int32 positions of each document in it."""
        return self._view("utf8", self._utf8)

    def _utf8(self) -> tuple[Array, Array, Array]:
        _, offsets, values = self._text.buffers()
        if not len(self._text):
            return np.empty(0, np.uint8), np.empty(0, np.int32), np.empty(0, np.int32)
        at = np.frombuffer(offsets, np.int64)[self._text.offset : self._text.offset + len(self._text) + 1]
        low, high = int(at[0]), int(at[-1])
        if high - low > MAX_BYTES:
            raise ValueError(f"a batch of {high - low:,} bytes of text; the most is {MAX_BYTES:,}")
        data = np.frombuffer(values, np.uint8)[low:high] if values is not None else np.empty(0, np.uint8)
        at = (at - low).astype(np.int32)
        start, end = at[:-1], at[1:]
        return (data, start, end) if self._rows is None else (data, start[self._rows], end[self._rows])

    @property
    def size(self) -> Array:
        """int32: bytes of UTF-8 of each document."""
        _, start, end = self.utf8
        size: Array = end - start
        return size

    @property
    def chars(self) -> Array:
        """int64: code points of each document."""
        return self._view("chars", lambda: text_kernels.count_chars(*self.utf8))

    @property
    def words(self) -> Words:
        """Words and symbols of each document."""
        return self._view("words", lambda: Words(*text_kernels.split_words(*self.utf8, unicode.flags())))

    @property
    def lines(self) -> Spans:
        """The pieces between line feeds, empty ones included."""
        return self._view("lines", lambda: Spans(*text_kernels.split_lines(*self.utf8)))

    @property
    def line_hashes(self) -> Array:
        """uint64 of the bytes of each line of `lines`, in its order."""
        lines = self.lines  # hashed where they are first asked for, so a later selection shares them
        return self._view("line_hashes", lambda: _Shared(text_kernels.hash_spans(self.utf8[0], lines.start, lines.end))).values

    def score(self, fn: Callable[[str], float]) -> Array:
        """float64: lift a function of one text to the batch. The slow, easy way to write a signal."""
        return np.fromiter((fn(t) for t in self.text.to_pylist()), np.float64, len(self))

    def where(self, keep: Mask) -> Batch:
        """The documents for which `keep` is true, with every view computed so far."""
        if keep.all():
            return self
        rows = np.flatnonzero(keep) if self._rows is None else self._rows[keep]
        views = {name: _select(view, keep) for name, view in self._views.items()}
        return Batch(self._columns.filter(pa.array(keep)), self._text, rows, views)

    def with_column(self, name: str, values: pa.Array | Array) -> Batch:
        """With a column added or replaced, one value per document."""
        if name == "text":
            raise ValueError("the text is no column like the others: use with_text")
        values = values if isinstance(values, pa.Array) else pa.array(values)
        at = self._columns.schema.get_field_index(name)
        columns = self._columns.append_column(name, values) if at < 0 else self._columns.set_column(at, name, values)
        return Batch(columns, self._text, self._rows, self._views)

    def with_text(self, text: pa.Array | list[str]) -> Batch:
        """With other text, one per document; views start anew."""
        text = _large(text) if isinstance(text, pa.Array) else pa.array(text, pa.large_string())
        if len(text) != len(self) or text.null_count:
            raise ValueError(f"{len(text) - text.null_count} texts for {len(self)} documents")
        return Batch(self._columns, text, None, {})

    def _view(self, name: str, compute: Callable[[], V]) -> V:
        if name not in self._views:
            self._views[name] = compute()
        return cast(V, self._views[name])


def _large(text: pa.Array) -> pa.LargeStringArray:
    return text if text.type == pa.large_string() else text.cast(pa.large_string())


class _Shared(NamedTuple):
    """A view per span rather than per document: a selection of documents leaves it as it is."""

    values: Array


def _select(view: Any, keep: Mask) -> Any:
    match view:
        case Spans() | Words():
            return view._replace(first=view.first[keep], last=view.last[keep])
        case _Shared():
            return view
        case (data, start, end):
            return data, start[keep], end[keep]
        case _:
            return view[keep]
