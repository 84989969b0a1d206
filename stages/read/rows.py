"""Rows become record batches of bounded size: for readers that meet one document at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

MAX_ROWS = 4096
MAX_BYTES = 8 << 20


class Rows:
    """Collects `id`, `text` and further columns, of strings or of a type that is named; `full` says when to `take` a batch."""

    def __init__(self, columns: Sequence[str | tuple[str, pa.DataType]] = ()):
        more = [(c, pa.string()) if isinstance(c, str) else c for c in columns]
        self.schema = pa.schema([("id", pa.string()), ("text", pa.large_string()), *more])
        self._values: list[list[Any]] = [[] for _ in self.schema]
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values[0])

    @property
    def full(self) -> bool:
        """Whether it holds as much as a batch should."""
        return len(self) >= MAX_ROWS or self._bytes >= MAX_BYTES

    def add(self, *values: Any) -> None:
        """One document, in the order of the schema. Text must be free of lone surrogates."""
        for column, value in zip(self._values, values, strict=True):
            column.append(value)
        self._bytes += len(values[1] or "")

    def take(self) -> pa.RecordBatch:
        """What has been collected; empties it."""
        arrays = [pa.array(v, f.type) for v, f in zip(self._values, self.schema, strict=True)]
        self._values = [[] for _ in self.schema]
        self._bytes = 0
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)
