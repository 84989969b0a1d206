"""What one worker does to one shard: run the fused stages of a pass, batch by batch, keep the books, commit.

Memory is bounded by a batch, a row group and a spill, never by the shard. The `.json` is written last: it is the commit, the resume
marker and the report.
"""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import store
from curate.batch import Batch, Check, Removed
from curate.documents import Documents, Fates, Quarantine, Rows, bounded, read_documents
from curate.errors import CurateError, LedgerError, StageError
from curate.exchange import KeysWriter, Verdict
from curate.plan import Pass
from curate.stage import Bad, Evidence, Filter, Global, Guarded, Shard, Skip, Source, Stage, Transform
from curate.stats import StageStats, balance, histogram

REMEMBERED = ("index.parquet", "index.arrow")  # what stands for documents in an index, and their keys
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN}  # of no file in particular
EVIDENCE = ".evidence.parquet"  # behind the name of a reader's table


@dataclass(frozen=True)
class Part:
    """A shard of the pass before: its number there, its documents and bytes of text."""

    number: int
    path: str
    docs: int
    size: int
    verdict: str = ""  # file of what a barrier behind it decided


@dataclass(frozen=True)
class Job:
    """One shard of a pass: what it is read from, small neighbours together, and where it goes."""

    pass_: int  # which of the Work's passes
    number: int
    inputs: tuple[Shard, ...] | tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes of what is read."""
        return sum(i.size for i in self.inputs)

    @property
    def label(self) -> str:
        """For messages."""
        first = self.inputs[0]
        return first.file.label if isinstance(first, Shard) else store.name(first.path)


@dataclass(frozen=True)
class Done:
    """What a finished shard says of itself: the content of its `.json`."""

    number: int
    docs: int
    size: int  # bytes of text
    files: dict[str, int]  # how the name of each of its files ends -> bytes: what is not as it was written is made again
    stats: list[StageStats]
    remembered: int = 0  # documents in the index

    def to_json(self) -> dict[str, Any]:
        """For the `.json`."""
        return {**asdict(replace(self, stats=[])), "stats": [s.to_json() for s in self.stats]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Done:
        """From the `.json`."""
        return cls(**{**value, "stats": [StageStats.from_json(s) for s in value["stats"]]})


@dataclass(frozen=True)
class Setting:
    """One pass as a worker is given it: the pass with the paths that are its own."""

    pass_: Pass
    home: str  # folder of this pass's shards
    keys: str = ""  # folder of the keys for the barrier behind it
    partitions: int = 1
    base: int = 0  # of this source's shards among those that the barrier before took


@dataclass(frozen=True)
class Work:
    """The passes of one level. Called with a job, on whatever machine."""

    settings: tuple[Setting, ...]
    batch_rows: int

    def __call__(self, job: Job) -> Done:
        """Resumable: a shard whose `.json` is there is done, and nothing half-written has its name."""
        setting = self.settings[job.pass_]
        at = store.join(setting.home, f"{job.number:05d}")
        keys = store.join(setting.keys, f"{job.number:05d}.arrow") if setting.keys else ""
        try:
            done = read_done(at)
            if done is None:
                return _Run(setting, job, at, keys, self.batch_rows).run()
            if keys and done.docs and not store.exists(keys):
                _Run(setting, job, at, keys, self.batch_rows).emit_again(done)
            return done
        except (OSError, pa.ArrowException) as error:
            raise CurateError(f"{setting.pass_.source}, shard {job.label}: {error}") from error


def read_done(at: str) -> Done | None:
    """What a shard came to, if it is complete: its `.json` is there, and every file that it names is as long as it was written."""
    if not store.exists(f"{at}.json"):
        return None
    done = Done.from_json(store.read_json(f"{at}.json"))
    whole = all(store.exists(f"{at}.{end}") and store.size(f"{at}.{end}") == size for end, size in done.files.items())
    return done if whole else None


class Memory:
    """What an index keeps of one shard's documents: what stands for them, and their keys."""

    def __init__(self, stage: Global, documents: str, keys: str):
        self._stage, self._documents, self._keys, self.docs = stage, Documents(documents), KeysWriter(stage, keys, 1), 0

    def add(self, batch: Batch) -> None:
        """Documents that a barrier has kept."""
        if len(batch):
            kept = self._stage.remember(batch)
            self._documents.add(kept)
            self._keys.add(self._stage.emit(kept), self.docs)
            self.docs += len(batch)

    def close(self) -> int:
        """How many documents there are; without one there are no files."""
        if self.docs:
            self._documents.close()
            self._keys.close()
        return self.docs


class _Run:
    """One job from its input to its `.json`."""

    def __init__(self, setting: Setting, job: Job, at: str, keys: str, batch_rows: int):
        self.setting, self.job, self.at, self.keys, self.batch_rows = setting, job, at, keys, batch_rows
        self.pass_ = setting.pass_
        source = self.pass_.source
        self.stats = [StageStats(source, s.name) for s in self.pass_.chain]
        self.read = StageStats(source, self.pass_.reader.name) if self.pass_.reader else None
        self.memory: Memory | None = None

    def run(self) -> Done:
        tables = self.pass_.reader.tables if self.pass_.reader else ()
        ends = ("parquet", "fates.parquet", "lines.parquet", "bad.jsonl", *REMEMBERED, *(t + EVIDENCE for t in tables))
        names = {n: f"{self.at}.{n}" for n in ends}
        with ExitStack() as files:
            paths = {n: files.enter_context(store.commit(p, optional=True)) for n, p in names.items()}
            documents, fates = Documents(paths["parquet"]), Fates(paths["fates.parquet"], paths["lines.parquet"])
            self.bad = Quarantine(paths["bad.jsonl"])
            self.evidence = {t: Rows(paths[t + EVIDENCE]) for t in tables}
            if self.pass_.enter and self.pass_.enter.remembers:
                self.memory = Memory(self.pass_.enter, *(paths[n] for n in REMEMBERED))
            keys = None
            if self.pass_.leave:
                keys = KeysWriter(self.pass_.leave, files.enter_context(store.commit(self.keys, optional=True)), self.setting.partitions)
            emitted = 0
            for batch in self._through(fates):
                if keys:
                    keys.add(self._emit(batch), emitted)
                    emitted += len(batch)
                documents.add(batch)
            documents.close()
            fates.close()
            if keys and documents.written:
                keys.close()
            self.bad.close()
            for table in self.evidence.values():
                table.close()
            remembered = self.memory.close() if self.memory else 0
            self._balance(documents, fates, emitted if keys else None)
        found = [table.rows for table in self.evidence.values()]
        counts = (documents.written, fates.rows, fates.rewritten, self.bad.rows, remembered, remembered, *found)
        rows = dict(zip(names, counts, strict=True))
        sizes = {end: store.size(f"{self.at}.{end}") for end in names if rows[end]}
        rows_of = [*([self.read] if self.read else []), *self.stats]
        done = Done(self.job.number, documents.written, documents.size, sizes, rows_of, remembered)
        store.write_json(f"{self.at}.json", done.to_json())
        return done

    def emit_again(self, done: Done) -> None:
        """The keys of documents that are there already, for a barrier that is new."""
        assert self.pass_.leave is not None
        with store.commit(self.keys) as temporary:
            out = KeysWriter(self.pass_.leave, temporary, self.setting.partitions)
            first = 0
            for batch in read_documents(f"{self.at}.parquet", self.batch_rows):
                out.add(self._emit(batch), first)
                first += len(batch)
            out.close()
            if first != done.docs:
                raise LedgerError(f"{self.pass_.leave.name} was shown {first:,} documents of {self.at}.parquet; it held {done.docs:,}")

    def _balance(self, documents: Documents, fates: Fates, emitted: int | None) -> None:
        """The ledger of this shard, against counts made by the reader before, the writer and the fates."""
        entered = None if self.read else sum(p.docs for p in self.job.inputs if isinstance(p, Part))
        rows = [*([self.read] if self.read else []), *self.stats]
        balance(rows, entered=entered, written=documents.written)
        balance(self.stats, fates=fates.rows)
        if emitted is not None and emitted != documents.written:
            assert self.pass_.leave is not None
            raise LedgerError(f"{self.pass_.leave.name} was shown {emitted:,} documents; {documents.written:,} were written")

    def _through(self, fates: Fates) -> Iterator[Batch]:
        """Batches that have passed all stages and still hold documents."""
        for batch, verdict in self._input():
            for number, (stage, stats) in enumerate(zip(self.pass_.chain, self.stats, strict=True)):
                enters = number == 0 and self.pass_.enter is not None
                try:
                    batch = step(stage, stats, batch, fates, verdict if enters else None)
                except CurateError:
                    raise
                except OSError as error:
                    raise CurateError(f"{stage.name} ({self.pass_.source}, shard {self.job.label}): {error}") from error
                except Exception as error:
                    raise self._blame(stage, batch, verdict if enters else None, error) from error
                if enters and self.memory:
                    self.memory.add(batch)
                if not len(batch):
                    break
            else:
                yield batch

    def _input(self) -> Iterator[tuple[Batch, pa.Table | None]]:
        """Batches as they come in, each with its part of the barrier's verdict."""
        for item in self.job.inputs:
            if isinstance(item, Shard):
                yield from ((batch, None) for batch in self._read(item))
                continue
            verdict = Verdict(item.verdict, self.setting.base + item.number) if self.pass_.enter else None
            first = 0
            for batch in read_documents(item.path, self.batch_rows):
                yield batch, verdict.rows(first, len(batch)) if verdict else None
                first += len(batch)

    def _read(self, shard: Shard) -> Iterator[Batch]:
        """The documents of a raw shard, with ids and source; what is bad or skipped goes into the books."""
        reader, stats = self.pass_.reader, self.read
        assert reader is not None
        assert stats is not None
        began = time.perf_counter()
        _unchanged(shard)
        for item in self._guarded(reader, shard):
            match item:
                case Skip():
                    stats.docs_in += item.count
                    stats.chars_in += item.chars
                    stats.dropped[item.reason] += item.count
                    stats.failed[item.reason] += item.count
                    stats.dropped_chars[item.reason] += item.chars
                case Bad():
                    stats.docs_in += 1
                    stats.quarantined += 1
                    stats.bad_files += item.whole_file
                    self.bad.add(f"{self.pass_.source}/{item.place}", item.reason, item.raw, item.whole_file)
                case Evidence():
                    self.evidence[item.table].add(item.rows)
                case _:
                    for batch in bounded(self._signed(item), self.batch_rows):
                        stats.docs_in += len(batch)
                        stats.docs_out += len(batch)
                        chars = int(batch.chars.sum())
                        stats.chars_in += chars
                        stats.chars_out += chars
                        stats.seconds += time.perf_counter() - began
                        yield batch
                        began = time.perf_counter()
        _unchanged(shard)
        stats.seconds += time.perf_counter() - began

    def _guarded(self, reader: Source, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip | Evidence]:
        try:
            yield from reader.read(shard)
        except CurateError:
            raise
        except OSError as error:
            if not _of_the_file(error, shard.file.path):
                raise
            yield Bad(shard.file.label, f"{shard.file.path} cannot be read: {store.reason(error)}", whole_file=True)
        except Exception as error:
            raise StageError(f"{reader.name} failed on {shard.file.path} (a bug in the reader): {type(error).__name__}: {error}") from error

    def _signed(self, data: pa.RecordBatch) -> pa.RecordBatch:
        """With ids that begin with the source, the source itself, and text as large_string."""
        source = self.pass_.source
        prefix = pa.scalar(f"{source}/", data["id"].type)
        ids = pc.binary_join_element_wise(prefix, data["id"], pa.scalar("", data["id"].type)).cast(pa.string())
        at = data.schema.get_field_index("id")
        data = data.set_column(at, pa.field("id", pa.string()), ids)
        if ids.null_count or data["text"].null_count:
            raise ValueError("a reader gives every document an id and a text; a record without is Bad")
        return data.append_column(pa.field("source", pa.string()), pa.repeat(source, len(data)))

    def _emit(self, batch: Batch) -> pa.RecordBatch:
        leave = self.pass_.leave
        assert leave is not None
        try:
            return leave.emit(batch)
        except CurateError:
            raise
        except Exception as error:
            raise self._blame(leave, batch, None, error) from error

    def _blame(self, stage: Stage, batch: Batch, verdict: pa.Table | None, error: Exception) -> StageError:
        """Find the first document that the stage fails on alone."""
        culprit = "a document"
        for row in range(len(batch)):
            one = batch.where(np.arange(len(batch)) == row)
            try:
                if verdict is None:
                    if isinstance(stage, Global):
                        stage.emit(one)
                    else:
                        outcome(stage, one, None)
            except Exception:
                culprit = f"document {batch['id'][row].as_py()}"
                break
        return StageError(
            f"{stage.name} failed on {culprit} of shard {self.job.label} ({self.pass_.source}): {type(error).__name__}: {error}. "
            "This is a bug in the stage; the documents before it are not lost, and the same command goes on from here once it is mended"
        )


def _of_the_file(error: OSError, path: str) -> bool:
    """Whether it is this input that cannot be read, a damaged disk's, say: for what is short on the machine, or on a network, a run is
    started again."""
    passes = isinstance(error, ConnectionError | TimeoutError | BlockingIOError | FileNotFoundError) or error.errno in PASSING
    return not passes and not store.is_remote(path) and error.filename in (None, path)


def _unchanged(shard: Shard) -> None:
    """Raise CurateError if a local input is no longer the file that the plan was made for."""
    path = shard.file.path
    if not store.is_remote(path) and store.is_file(path) and store.stamp(path) != (shard.file.size, shard.file.stamp):
        raise CurateError(f"{path} has changed while the run was reading it; the same command begins anew with the file as it is now")


def outcome(stage: Stage, batch: Batch, verdict: pa.Table | None) -> tuple[Batch, dict[str, Check], Removed | None]:
    """A stage's verb on a batch: the batch as rewritten, what each rule found, and the lines that were taken out."""
    result: Any
    match stage:
        case Filter():
            result = stage.keep(batch)
        case Transform():
            result = stage.apply(batch)
        case Global():
            assert verdict is not None
            result = stage.apply(batch, verdict)
        case _:
            raise TypeError(f"{stage.name} is no Filter, Transform or Global")
    checks: Any = {}
    removed = None
    match result:
        case Batch():
            batch = result
        case tuple() if not isinstance(result, Check):
            batch, checks, removed = result if len(result) == 3 else (*result, None)
        case dict():
            checks = result
        case _:
            checks = {type(stage).__name__.lower(): result}
    found = {rule: c if isinstance(c, Check) else Check(c) for rule, c in checks.items()}
    for rule, check in found.items():
        passed = np.asarray(check.passed)
        if passed.dtype != np.bool_ or passed.shape != (len(batch),):
            raise TypeError(
                f"rule {rule}: a bool for each of {len(batch)} documents is expected, found {passed.dtype} of shape {passed.shape}"
            )
    return batch, found, removed


def step(stage: Stage, stats: StageStats, batch: Batch, fates: Fates, verdict: pa.Table | None = None) -> Batch:
    """Run one stage on one batch and keep its books."""
    chars_in = int(batch.chars.sum())
    began = time.perf_counter()
    rewritten, checks, removed = outcome(stage, batch, verdict)
    if len(rewritten) != len(batch):
        raise ValueError(f"{len(rewritten)} documents came out of {len(batch)}; a stage drops documents by a rule")
    keep = np.ones(len(batch), np.bool_)
    rule = np.full(len(batch), -1)
    for number, check in enumerate(checks.values()):
        rule[keep & ~check.passed] = number
        keep &= check.passed
    after = rewritten.where(keep)
    stats.seconds += time.perf_counter() - began
    chars = rewritten.chars
    stats.docs_in += len(batch)
    stats.docs_out += len(after)
    stats.chars_in += chars_in
    stats.chars_out += int(after.chars.sum())
    stats.chars_rewritten += chars_in - int(chars.sum())
    for number, (name, check) in enumerate(checks.items()):
        fallen = len(keep) - int(np.count_nonzero(check.passed))
        if fallen:
            stats.failed[name] += fallen
            mine = rule == number
            stats.dropped[name] += int(np.count_nonzero(mine))
            stats.dropped_chars[name] += int(chars[mine].sum())
        if check.value is not None:
            bins = histogram(check.value)
            stats.histograms[name] = stats.histograms[name] + bins if name in stats.histograms else bins
    if len(after) < len(batch):
        fates.add(rewritten, stage.name, checks, rule)
    if removed is not None:
        fates.add_lines(rewritten, stage.name, removed)
        stats.lines.update(removed.by_rule)
    if isinstance(stage, Guarded):
        for column in stage.watched:
            if column in batch.names:
                count_by(stats.entered, column, batch[column])
                count_by(stats.lost, column, batch[column].filter(pa.array(~keep)))
    return after


def count_by(table: dict[str, Counter[str]], column: str, values: pa.Array) -> None:
    """Add how many documents have each value of a column; a null is the empty text."""
    counts = table.setdefault(column, Counter())
    for found in pc.value_counts(pc.fill_null(values.cast(pa.string()), "")):
        counts[found["values"].as_py()] += found["counts"].as_py()
