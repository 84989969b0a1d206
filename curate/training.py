"""Models that a run trains: what is selected of the documents, shard by shard; the training, once; and the card that says how it went.

A model is a folder, `OUT/models/<name>-<fingerprint>`, that appears whole or not at all. Its fingerprint is made of the trainer's settings
and of the documents it learns from, so it is trained again only when one of them changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import store
from curate.documents import read_documents
from curate.errors import CurateError, StageError
from curate.exchange import open_arrow
from curate.plan import Training
from curate.stage import Model, Stage, Totals, Trainer
from curate.worker import Part

CARD = "card.json"
COUNT_ROWS = 65_536


def located(stage: Stage, out: str) -> Stage:
    """The stage with the models that this run trains where they are in OUT."""
    changes = {k: replace(v, path=store.join(out, v.path)) for k, v in vars(stage).items() if isinstance(v, Model) and v.name}
    return replace(stage, **changes) if changes else stage


def is_trained(training: Training, out: str) -> bool:
    """Whether the model is there, with every file as long as it was written."""
    return _is_whole(store.join(out, training.folder))


def _is_whole(home: str) -> bool:
    if not store.exists(store.join(home, CARD)):
        return False
    sizes = store.listing(home)
    return all(sizes.get(name) == size for name, size in store.read_json(store.join(home, CARD))["bytes"].items())


def forget_selected(home: str) -> None:
    """Delete what was selected for a model that is trained."""
    for role in store.folders(home):
        for source in store.folders(store.join(home, role)):
            folder = store.join(home, role, source)
            for name in store.listing(folder):
                store.remove(store.join(folder, name))


def read_card(training: Training, out: str) -> dict[str, Any]:
    """What a trained model says of itself."""
    return dict(store.read_json(store.join(out, training.folder, CARD)))


@dataclass(frozen=True)
class Count:
    """How many documents of one shard have each value of a column."""

    column: str

    def __call__(self, job: tuple[str, str, Part]) -> tuple[str, dict[str, int]]:
        """`job` is (role, source, shard); the role, and the counts by value as text. A null is no value."""
        role, _, part = job
        counts: Counter[str] = Counter()
        with store.open_input(part.path) as file, pq.ParquetFile(file, pre_buffer=False) as reader:
            for data in reader.iter_batches(COUNT_ROWS, columns=[self.column], use_threads=False):
                for found in pc.value_counts(data[self.column].drop_null()):
                    counts[str(found["values"].as_py())] += found["counts"].as_py()
        return role, dict(counts)


@dataclass(frozen=True)
class Select:
    """Takes what a trainer needs of one shard of documents. Resumable."""

    name: str
    trainer: Trainer
    totals: dict[str, Totals]
    home: str
    batch_rows: int

    def path(self, role: str, source: str, number: int) -> str:
        """Of what is selected."""
        return store.join(self.home, role, source, f"{number:05d}.arrow")

    def __call__(self, job: tuple[str, str, Part]) -> int:
        """`job` is (role, source, shard). The number of documents looked at."""
        role, source, part = job
        path = self.path(role, source, part.number)
        if not store.exists(path):
            with store.commit(path) as temporary:
                self._write(role, part, temporary)
        return part.docs

    def _write(self, role: str, part: Part, path: str) -> None:
        out: Any = None
        for batch in read_documents(part.path, self.batch_rows):
            try:
                chosen = self.trainer.select(batch, role, self.totals[role])
            except CurateError as error:
                raise CurateError(f"model {self.name}: {error}") from None
            except Exception as error:
                where = f"model {self.name}: {self.trainer.name} failed on {part.path}, at {batch['id'][0].as_py()} or after"
                raise StageError(f"{where}: {type(error).__name__}: {error}. This is a bug in the stage") from error
            out = out or pa.ipc.new_file(path, chosen.schema)
            if len(chosen):
                out.write_batch(chosen)
        out.close()


@dataclass(frozen=True)
class Selected:
    """What was selected for one role, in corpus order; can be gone through any number of times."""

    paths: tuple[str, ...]

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for path in self.paths:
            with open_arrow(path) as reader:
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number)


@dataclass(frozen=True)
class Train:
    """Trains a model from what was selected."""

    name: str
    trainer: Trainer
    selected: dict[str, Selected]
    home: str
    fingerprint: str

    def __call__(self, _: int) -> int:
        """Writes the model's folder, the card in it."""
        if _is_whole(self.home):
            return 1
        given: dict[str, Iterable[pa.RecordBatch]] = dict(self.selected)
        with store.commit_folder(self.home) as folder:
            try:
                card = self.trainer.train(given, folder)
                files = sorted(Path(folder).iterdir())
                trained_by, _, settings = self.trainer.identity
                about = {"model": self.name, "fingerprint": self.fingerprint, "trained_by": trained_by, "settings": settings}
                digests = {path.name: store.sha256(str(path)) for path in files}
                sizes = {path.name: path.stat().st_size for path in files}
                store.write_json(store.join(folder, CARD), about | card | {"bytes": sizes, "sha256": digests})
            except CurateError as error:
                raise CurateError(f"model {self.name}: {error}") from None
            except OSError:
                raise
            except Exception as error:
                raise StageError(f"model {self.name}: {self.trainer.name} failed (a bug in it): {type(error).__name__}: {error}") from error
        return 1
