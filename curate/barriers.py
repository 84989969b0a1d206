"""A barrier from the keys of its shards to its verdict: reduce each range, settle each group; and once more, where there is a second round.

A second round reads only the documents that the first one's verdict names, and of their files only the row groups that hold one.
Whatever is there already is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from curate import store
from curate.batch import Batch
from curate.documents import read_rows
from curate.errors import CurateError, StageError
from curate.exchange import KeysWriter, Reduce, Settle, Verdict, open_arrow, reduced_name, verdict_name
from curate.runner import Executor
from curate.stage import FACTS, Global, Resources, Round, Second

FACTS_FILE = "facts.json"


class Progress(Protocol):
    """Who is told how far the run is."""

    def start(self, what: str, total: int, done: int) -> None:
        """A pass or a barrier begins; `done` of its `total` items were there already."""

    def advance(self, docs: int) -> None:
        """One more item is done."""

    def warn(self, message: str) -> None:
        """Something that is no error, but that one should know."""

    def say(self, message: str) -> None:
        """Something that was found out."""


@dataclass(frozen=True)
class Entrant:
    """One shard of documents that goes into a barrier."""

    number: int  # among all shards of the barrier
    docs: int
    documents: str  # path
    keys: str  # path


def groups_of(stage: Global, docs: Sequence[int]) -> list[int]:
    """The group of each shard. Raises StageError for what are no groups."""
    groups = stage.groups(docs)
    if len(groups) != len(docs) or min(groups, default=0) < 0:
        raise StageError(
            f"{stage.name} puts {len(docs):,} shards into groups {groups[:20]}: one from 0 for each is expected. This is a bug in it"
        )
    return groups


@dataclass(frozen=True)
class Court:
    """Where a barrier is decided, by whom, and how its shards are grouped."""

    stage: Global
    home: str
    groups: list[int]  # of each shard
    partitions: int
    batch_rows: int

    @property
    def second(self) -> str:
        """Folder of the second round."""
        return store.join(self.home, "second")

    def verdict(self, group: int) -> str:
        """Path of what is applied to the shards of a group in the end."""
        return store.join(self.second if self.stage.second else self.home, verdict_name(group))

    def decide(self, entrants: Sequence[Entrant], executor: Executor, progress: Progress) -> None:
        """Reduce, settle, and the same again for a second round."""
        count = max(self.groups, default=0) + 1
        there = store.listing(self.second if self.stage.second else self.home)
        todo = [group for group in range(count) if verdict_name(group) not in there]
        if not todo:
            return
        keys = {e.number: e.keys for e in entrants}
        self._round(self.stage, self.home, keys, todo, self.stage.name, executor, progress)
        second = self.stage.second
        if second:
            folder = store.join(self.second, "keys")
            store.sweep(folder)
            work = LookAgain(second, self.stage.name, self.home, folder, self.partitions, self.batch_rows)
            jobs = [(e, self.groups[e.number]) for e in entrants if self.groups[e.number] in todo]
            there = store.listing(folder)
            left = [job for job in jobs if store.name(work.path(job[0])) not in there]
            title = f"{self.stage.name}, second round"
            progress.start(f"{title}: documents", len(jobs), len(jobs) - len(left))
            for docs in executor.map(work, left, self.stage.resources):
                progress.advance(docs)
            keys = {e.number: work.path(e) for e, _ in jobs}
            self._round(second, self.second, keys, todo, title, executor, progress)
        self._facts(count, progress)

    def _round(
        self, round_: Round, home: str, keys: dict[int, str], todo: list[int], title: str, executor: Executor, progress: Progress
    ) -> None:
        parts = store.join(home, "reduced")
        store.sweep(home)
        store.sweep(parts)
        settled, there = store.listing(home), store.listing(parts)
        todo = [group for group in todo if verdict_name(group) not in settled]
        files = [tuple((n, keys[n]) for n in keys if self.groups[n] == group) for group in range(max(self.groups, default=0) + 1)]
        items = [(group, part) for group in todo for part in range(self.partitions)]
        left = [item for item in items if reduced_name(*item) not in there]
        progress.start(title, len(items) + len(todo), len(items) - len(left))
        for _ in executor.map(Reduce(round_, tuple(files), self.partitions, parts), left, Resources()):
            progress.advance(0)
        for _ in executor.map(Settle(round_, parts, len(self.groups), home), todo, Resources()):
            progress.advance(0)

    def _facts(self, groups: int, progress: Progress) -> None:
        """What was found out is said, and put into a file for `curate dedup-report`."""
        found = [facts for group in range(groups) if (facts := read_facts(self.verdict(group)))]
        if found:
            store.write_json(store.join(self.home, FACTS_FILE), found)
        for facts in found:
            for sentence in facts.get("says", []):
                progress.say(f"{self.stage.name}: {sentence}")
            for sentence in facts.get("warns", []):
                progress.warn(f"{self.stage.name}: {sentence}")


def read_facts(verdict: str) -> dict[str, Any]:
    """What came with a verdict."""
    with open_arrow(verdict) as reader:
        metadata = reader.schema.metadata or {}
    return dict(json.loads(metadata[FACTS])) if FACTS in metadata else {}


@dataclass(frozen=True)
class LookAgain:
    """Shows a second round the documents of one shard that the first verdict names, and writes the keys that it emits. Resumable."""

    second: Second
    name: str
    verdicts: str  # folder of the first round
    folder: str
    partitions: int
    batch_rows: int

    def path(self, entrant: Entrant) -> str:
        """Of the keys of a shard."""
        return store.join(self.folder, f"{entrant.number:05d}.arrow")

    def __call__(self, job: tuple[Entrant, int]) -> int:
        """`job` is (shard, its group). The number of documents that were shown."""
        entrant, group = job
        verdict = Verdict(store.join(self.verdicts, verdict_name(group)), entrant.number)
        named = verdict.named()
        with store.commit(self.path(entrant)) as temporary:
            out = KeysWriter(self.second, temporary, self.partitions)
            shown = 0
            for rows, batch in read_rows(entrant.documents, named, self.batch_rows):
                out.add(self._emit(batch, rows, verdict, entrant), 0)
                shown += len(batch)
            if not shown:  # a file without rows still says what its columns are
                nothing = next(read_rows(entrant.documents, np.zeros(1, np.int64), 1))[1].where(np.zeros(1, np.bool_))
                out.add(self.second.emit(nothing, verdict.rows(0, 0)), 0)
            out.close()
        if shown != len(named):
            raise CurateError(f"{entrant.documents} holds {shown:,} of {len(named):,} documents that a verdict names; delete its folder")
        return shown

    def _emit(self, batch: Batch, rows: Any, verdict: Verdict, entrant: Entrant) -> Any:
        """`rows` are the documents' numbers in the shard, in order."""
        try:
            keys = self.second.emit(batch, verdict.of(rows))
        except CurateError:
            raise
        except Exception as error:
            where = f"{self.name} failed in its second round on {entrant.documents}, at {batch['id'][0].as_py()} or after"
            raise StageError(f"{where}: {type(error).__name__}: {error}. This is a bug in the stage") from error
        at = keys.schema.get_field_index("row")
        return keys.set_column(at, "row", rows[keys["row"].to_numpy()])
