"""Small stages that train and use models, named in recipes by their dotted path. What they make can be foretold by hand."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from curate.batch import Batch, Check, Removed, at_least
from curate.errors import CurateError
from curate.kernels.text import hash_documents
from curate.stage import Checks, Global, Model, Resources, Totals, Trainer, Transform
from curate.stage import Filter as _Filter

Selected = Mapping[str, Iterable[pa.RecordBatch]]


def known(model: Model) -> frozenset[str]:
    """The words of a model made by one of the trainers below."""
    return frozenset(Path(model.path, "words.txt").read_text("utf-8").split("\n"))


def texts(batch: Batch, totals: Totals) -> pa.RecordBatch:
    """Ids and texts, and what the trainer was told of them all."""
    told = {"documents": np.full(len(batch), totals.documents), "bytes": np.full(len(batch), totals.bytes)}
    return pa.record_batch({"id": batch["id"], "text": batch.text, **told})


@dataclass(frozen=True)
class Vocabulary(Trainer):
    """The words that stand in at least so many documents; and, in a file of their own, the ids of all documents as they came."""

    least: int = 1
    column: str = ""  # one more that must be there

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,) if self.column else ()

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:  # noqa: ARG002
        return texts(batch, totals)

    def train(self, selected: Selected, folder: str) -> dict[str, Any]:
        rows = [row for batch in selected["documents"] for row in batch.to_pylist()]
        again = [row for batch in selected["documents"] for row in batch.to_pylist()]
        assert again == rows, "what was selected can be read twice"
        counts = Counter(word for row in rows for word in set(row["text"].split()))
        Path(folder, "words.txt").write_text("\n".join(sorted(w for w, n in counts.items() if n >= self.least)), "utf-8")
        Path(folder, "ids.txt").write_text("\n".join(row["id"] for row in rows), "utf-8")
        told = {(row["documents"], row["bytes"]) for row in rows}
        return {"documents": len(rows), "told": sorted(map(list, told))}


@dataclass(frozen=True)
class Contrast(Trainer):
    """The words of good documents that stand in no bad one."""

    @property
    def roles(self) -> tuple[str, ...]:
        return ("good", "bad")

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:
        return texts(batch, totals) if role == "good" else pa.record_batch({"bad": batch.text})

    def train(self, selected: Selected, folder: str) -> dict[str, Any]:
        good = {word for batch in selected["good"] for text in batch["text"].to_pylist() for word in text.split()}
        bad = {word for batch in selected["bad"] for text in batch["bad"].to_pylist() for word in text.split()}
        Path(folder, "words.txt").write_text("\n".join(sorted(good - bad)), "utf-8")
        return {"good": len(good), "bad": len(bad)}


@dataclass(frozen=True)
class Within(Trainer):
    """The words of its documents that another model knows."""

    model: Model

    @cached_property
    def known(self) -> frozenset[str]:
        return known(self.model)

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:  # noqa: ARG002
        kept = [" ".join(w for w in text.split() if w in self.known) for text in batch.text.to_pylist()]
        return pa.record_batch({"text": pa.array(kept, pa.large_string())})

    def train(self, selected: Selected, folder: str) -> dict[str, Any]:
        found = {w for batch in selected["documents"] for text in batch["text"].to_pylist() for w in text.split()}
        Path(folder, "words.txt").write_text("\n".join(sorted(found & self.known)), "utf-8")
        return {"words": len(found)}


@dataclass(frozen=True)
class Fails(Trainer):
    """Goes wrong in one way or another, having written half a model."""

    how: Literal["mistake", "bug", "select", "disk", "card", "nothing"] = "mistake"

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:  # noqa: ARG002
        if self.how == "select":
            raise ZeroDivisionError("no example of this")
        return pa.record_batch({"text": batch.text})

    def train(self, selected: Selected, folder: str) -> dict[str, Any]:  # noqa: ARG002
        Path(folder, "words.txt").write_text("half a mod", "utf-8")
        match self.how:
            case "mistake":
                raise CurateError("too few documents to learn from")
            case "bug":
                raise ZeroDivisionError("no rule for this")
            case "disk":
                raise OSError(28, "No space left on device", os.path.join(folder, "words.txt"))
            case "nothing":
                return None  # type: ignore[return-value]
        return {"a value that JSON has not": np.float32(1)}


@dataclass(frozen=True)
class Known(_Filter):
    """Keeps the documents of whose words at least a share is known to a model."""

    model: Model
    least: float = 1.0

    @cached_property
    def known(self) -> frozenset[str]:
        return known(self.model)

    def keep(self, batch: Batch) -> Checks:
        def share(text: str) -> float:
            words = text.split()
            return sum(w in self.known for w in words) / max(len(words), 1)

        return {"unknown": at_least(batch.score(share), self.least)}


@dataclass(frozen=True)
class OnAccelerator(Known):
    """As Known, by a worker of its own kind."""

    resources = Resources(0.5)


@dataclass(frozen=True)
class Sized(Transform):
    """Adds a column."""

    @property
    def adds(self) -> tuple[str, ...]:
        return ("size",)

    def apply(self, batch: Batch) -> Batch:
        return batch.with_column("size", batch.size)


@dataclass(frozen=True)
class SameWords(Global):
    """Drops a document whose words known to a model are, as a set, those of an earlier one; the model is asked in one verb or in all."""

    model: Model
    asks: Literal["emit", "reduce", "settle", "apply", "all"] = "emit"

    @cached_property
    def known(self) -> frozenset[str]:
        return known(self.model)

    def _ask(self, verb: str) -> None:
        if self.asks in (verb, "all"):
            assert self.known

    def emit(self, batch: Batch) -> pa.RecordBatch:
        self._ask("emit")
        words = (
            [" ".join(sorted(set(text.split()) & self.known)) for text in batch.text.to_pylist()] if self.asks in ("emit", "all") else None
        )
        shown = batch if words is None else batch.with_text(words)
        return pa.record_batch({"key": hash_documents(*shown.utf8, np.uint64(0)), "row": np.arange(len(batch))})

    def reduce(self, keys: pa.Table) -> pa.Table:
        self._ask("reduce")
        key = keys["key"].to_numpy()
        again = np.zeros(len(key), np.bool_)
        again[1:] = key[1:] == key[:-1]
        return pa.table({"doc": keys["doc"].to_numpy()[again]})

    def settle(self, reduced: pa.Table) -> pa.Table:
        self._ask("settle")
        return reduced

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        self._ask("apply")
        keep = np.ones(len(batch), np.bool_)
        keep[verdict["row"].to_numpy()] = False
        return {"same_words": keep}


@dataclass(frozen=True)
class ExactInGroups(Global):
    """Drops the copies of an earlier text of the same group: shards that hold at least so many documents together."""

    documents: int = 4

    def groups(self, docs: Sequence[int]) -> list[int]:
        out, group, held = [], 0, 0
        for count in docs:
            out.append(group)
            held += count
            if held >= self.documents:
                group, held = group + 1, 0
        return out

    def emit(self, batch: Batch) -> pa.RecordBatch:
        return pa.record_batch({"key": hash_documents(*batch.utf8, np.uint64(0)), "row": np.arange(len(batch))})

    def reduce(self, keys: pa.Table) -> pa.Table:
        key, doc = keys["key"].to_numpy(), keys["doc"].to_numpy()
        _, first, of = np.unique(key, return_index=True, return_inverse=True)
        return pa.table({"doc": doc, "kept": doc[first][of]}).filter(pa.array(doc != doc[first][of]))

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        kept = np.full(len(batch), -1, np.int64)
        kept[verdict["row"].to_numpy()] = verdict["kept"].to_numpy()
        return {"copy": Check(kept < 0, kept=kept)}


@dataclass(frozen=True)
class WithoutLines(Transform):
    """Takes out the lines that are a word, and drops the documents that are nothing else."""

    word: str = "sun"

    def apply(self, batch: Batch) -> tuple[Batch, Checks, Removed]:
        lines = [text.split("\n") for text in batch.text.to_pylist()]
        gone = [[n for n, line in enumerate(of) if line == self.word] for of in lines]
        after = ["\n".join(line for line in of if line != self.word) for of in lines]
        last = np.cumsum([len(g) for g in gone], dtype=np.int64)
        line = np.array([n for g in gone for n in g], np.int32)
        removed = Removed(last - [len(g) for g in gone], last, line, np.arange(len(line), dtype=np.int64) * 0 + 7)
        return batch.with_text(after), {"nothing_left": np.array([bool(t) for t in after], np.bool_)}, removed


@dataclass(frozen=True)
class Tally(Trainer):
    """How many documents there are of each value of a column, as it is told when it selects."""

    column: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def counts(self) -> str:
        return self.column

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:  # noqa: ARG002
        return pa.record_batch({"told": [f"{value}={count}" for value, count in totals.of.items()]})

    def train(self, selected: Selected, folder: str) -> dict[str, Any]:
        told = {row for batch in selected["documents"] for row in batch["told"].to_pylist()}
        Path(folder, "words.txt").write_text("", "utf-8")
        return {"told": sorted(told), "warnings": ["it is only a tally"]}
