"""Stages with bugs, named in recipes by their dotted path."""

from dataclasses import dataclass

import numpy as np

from curate.batch import Batch, Mask
from curate.stage import Filter, Transform


@dataclass(frozen=True)
class Poisoned(Filter):
    """Raises on the documents that hold a word."""

    word: str = "thunder market"

    def keep(self, batch: Batch) -> Mask:
        for text in batch.text.to_pylist():
            if self.word in text:
                raise ZeroDivisionError("no rule for this")
        return np.ones(len(batch), np.bool_)


@dataclass(frozen=True)
class Forgets(Transform):
    """Loses the last document of each batch."""

    def apply(self, batch: Batch) -> Batch:
        return Batch.of(batch.data.slice(0, len(batch) - 1))
