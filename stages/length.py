"""Length limits, in characters, bytes or words.

A view each: characters cost 1.3 GB/s, bytes nothing, words are shared with what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from curate.batch import Batch, at_least, at_most
from curate.stage import Checks, Filter


@dataclass(frozen=True)
class Chars(Filter):
    """Keep documents of `least` to `most` characters (code points)."""

    least: int = 1
    most: int = 100_000_000

    def keep(self, batch: Batch) -> Checks:
        return {"short": at_least(batch.chars, self.least), "long": at_most(batch.chars, self.most)}


@dataclass(frozen=True)
class Bytes(Filter):
    """Keep documents of `least` to `most` bytes of UTF-8."""

    least: int = 1
    most: int = 100_000_000

    def keep(self, batch: Batch) -> Checks:
        return {"short": at_least(batch.size, self.least), "long": at_most(batch.size, self.most)}


@dataclass(frozen=True)
class Words(Filter):
    """Keep documents of `least` to `most` words; a symbol, such as a comma, counts as a word."""

    least: int = 1
    most: int = 10_000_000

    def keep(self, batch: Batch) -> Checks:
        return {"short": at_least(batch.words.count, self.least), "long": at_most(batch.words.count, self.most)}
