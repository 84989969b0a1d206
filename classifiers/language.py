"""Language identification by fastText (Joulin et al. 2016; the lid.176 models), and the choice by its score.

Cost: 12 to 40 MB/s per core, all of it in the library; a model of 1 MB (lid.176.ftz) or 126 MB (lid.176.bin) per worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from curate.batch import Batch, at_least
from curate.errors import CurateError
from curate.stage import Checks, Filter, Model, Transform

MAGIC = (793712314).to_bytes(4, "little")  # every fastText model begins with it


@dataclass(frozen=True)
class FastText(Transform):
    """Adds `language` (the most likely label) and `language_score` (its probability).

    A text of which the model knows nothing, or an empty one, gets the model's prior (`en`, 0.12 of lid.176), or no label if it has none.
    """

    model: Model  # a name under `models:`, or the path of a fastText model
    newline: Literal["delete", "space"] = "delete"  # CCNet deletes line feeds, which glues words at line ends together

    @property
    def adds(self) -> tuple[str, ...]:
        return "language", "language_score"

    @cached_property
    def loaded(self) -> Any:
        import fasttext

        with open(self.model.path, "rb") as file:
            if file.read(4) != MAGIC:
                raise CurateError(f"{self.model.path} is no fastText model (it may be a pointer to one, or cut off)")
        fasttext.FastText.eprint = lambda *_: None
        return fasttext.load_model(self.model.path)

    def apply(self, batch: Batch) -> Batch:
        glue = "" if self.newline == "delete" else " "
        texts = [t.replace("\n", glue) for t in batch.text.to_pylist()]
        labels, scores = self.loaded.predict(texts) if texts else ([], [])
        language = [found[0].removeprefix("__label__") if len(found) else "" for found in labels]
        score = np.fromiter((min(float(s[0]), 1.0) if len(s) else 0.0 for s in scores), np.float32, len(texts))
        return batch.with_column("language", pa.array(language, pa.string())).with_column("language_score", score)


@dataclass(frozen=True)
class Keep(Filter):
    """Keep documents in one of the `languages` with a score of `least` or more."""

    languages: tuple[str, ...] = ()  # empty: any
    least: float = 0.5  # CCNet's lang_threshold

    @property
    def reads(self) -> tuple[str, ...]:
        return "language", "language_score"

    def keep(self, batch: Batch) -> Checks:
        score = batch["language_score"].to_numpy(zero_copy_only=False)
        checks: Checks = {"unsure": at_least(score, self.least)}
        if self.languages:
            mine = np.isin(batch["language"].to_numpy(zero_copy_only=False).astype(str), self.languages)
            checks = {"other_language": mine, **checks}
        return checks
