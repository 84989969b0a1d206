"""`curate try`: one stage on one file, without a recipe, a folder or Ray; for looking before choosing a threshold."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate import places, store
from curate.barriers import Court, Entrant
from curate.batch import Batch, Check
from curate.build import build, find
from curate.documents import Documents, bounded, read_documents
from curate.errors import CurateError, RecipeError, StageError, printable
from curate.exchange import KeysWriter, Verdict
from curate.runner import Local
from curate.stage import Bad, Evidence, Global, Model, Skip, Source, Trainer
from curate.worker import outcome

READERS = {  # by how a file's name ends
    (".wet", ".wet.gz"): "read.wet.Wet",
    (".warc", ".warc.gz"): "read.warc.Warc",
    (".parquet",): "read.parquet.Parquet",
    (".tar",): "read.arxiv.Arxiv",
    (".txt",): "read.gutenberg.Gutenberg",
    (".epub",): "read.epub.Epub",
    (".7z", "posts.xml"): "read.stackexchange.Posts",  # before other XML
    (".xml", ".xml.bz2", ".xml.gz"): "read.wikipedia.Wikipedia",
    (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst", ".jsonl.bz2", ".json.bz2"): "read.jsonl.Jsonl",
}
SHOWN_CHARS = 300


def report(name: str, file: str, settings: Sequence[str], documents: int, show: int) -> None:
    """Print what a stage does to a file's first documents."""
    config = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise RecipeError(f"--set {setting}: expected PARAMETER=VALUE")
        config[key] = places.scalar(value)
    if issubclass(find(name), Trainer):
        raise RecipeError(f"{name} trains a model from the documents of a run: `curate train RECIPE MODEL` does that")
    if issubclass(find(name), Source):
        config = {"paths": [file], **config}
        reader, stage = build(name, config), None
    else:
        reader, stage = build(reader_of(file), {"paths": [file]}), build(name, config)
    assert isinstance(reader, Source)
    for key, value in vars(stage or reader).items():
        if isinstance(value, Model) and not store.exists(value.path):
            raise RecipeError(f"{name}: {key}: no such model file: {value.path}")
    (stage or reader).check()
    books = Counter[str]()
    batches = list(_read(reader, documents, books) if stage is None or not _is_ours(file) else _first(file, documents))
    _say(f"{reader.name}: {sum(map(len, batches)):,} documents" + "".join(f", {n:,} {what}" for what, n in books.most_common()))
    if not batches:
        return
    if stage is None:
        for row in range(min(show, len(batches[0]))):
            _say("\n" + _head(batches[0], row))
        return
    missing = [c for c in stage.reads if c not in batches[0].names]
    if missing:
        raise RecipeError(
            f"{name} reads the column {missing[0]}, which {file} does not have; try it on a Parquet file of a run behind the stage that "
            "adds it (OUT/passes/SOURCE/...)"
        )
    kept, failed, lines, examples = 0, Counter[str](), Counter[str](), dict[str, list[str]]()
    verdict = _verdict(stage, batches) if isinstance(stage, Global) else None
    first = 0
    for batch in batches:
        try:
            after, checks, removed = outcome(stage, batch, verdict.rows(first, len(batch)) if verdict else None)
        except CurateError:
            raise
        except Exception as error:
            raise StageError(f"{name} failed at {batch['id'][0].as_py()} of {file} or after: {type(error).__name__}: {error}") from error
        first += len(batch)
        if removed is not None:
            lines.update(removed.by_rule)
        passed = np.ones(len(batch), np.bool_)
        for rule, check in checks.items():
            passed &= check.passed
            rows = np.flatnonzero(~check.passed)
            failed[rule] += len(rows)
            for row in rows[: max(0, show - len(examples.setdefault(rule, [])))].tolist():
                examples[rule].append(_fact(check, row) + _head(after, row))
        kept += int(passed.sum())
        for column in stage.adds:
            for row in range(max(0, min(show - len(examples.setdefault(f"adds {column}", [])), len(after)))):
                examples[f"adds {column}"].append(f"{after[column][row].as_py()!r}: {_head(after, row)}")
    total = sum(map(len, batches))
    _say(f"{stage.name}: {kept:,} of {total:,} kept ({kept / total:.1%})")
    if +lines:
        _say("lines that go: " + ", ".join(f"{rule} {n:,}" for rule, n in lines.most_common() if n))
    for rule, texts in examples.items():
        count = "" if rule.startswith("adds ") else f"  {failed[rule]:,} fail ({failed[rule] / total:.1%})"
        _say(f"\n{rule}{count}")
        for text in texts:
            _say(f"  - {text}")


def _fact(check: Check, row: int) -> str:
    """Why a document fails, where that is a number: whole ones in full."""
    if check.value is None or check.limit is None:
        return ""
    found, limit = (f"{n:,.0f}" if float(n).is_integer() else f"{n:.4g}" for n in (check.value[row], check.limit))
    return f"{found} against {limit}: "


def _say(text: str) -> None:
    print(printable(text, "\n"))


def reader_of(file: str) -> str:
    """The reader for a file, by its name."""
    for endings, reader in READERS.items():
        if file.lower().endswith(endings):
            return reader
    raise RecipeError(f"{file}: which reader is meant? A name ends in {', '.join(e[0][1:] for e in READERS)} (or those with .gz)")


def _read(reader: Source, documents: int, books: Counter[str]) -> Iterator[Batch]:
    left = documents
    for shard in reader.shards(1 << 30):
        for item in reader.read(shard):
            match item:
                case Skip():
                    books[item.reason] += item.count
                case Bad():
                    books[f"bad ({item.reason})"] += 1
                case Evidence():
                    books[f"rows of the table {item.table}"] += len(item.rows)
                case _:
                    data = item.slice(0, left).append_column("source", pa.repeat("try", min(left, len(item))))
                    left -= len(data)
                    yield from bounded(data, 4096)
            if left <= 0:
                return


def _is_ours(file: str) -> bool:
    """Whether the file is of a run, with the columns that stages add."""
    if not file.endswith(".parquet"):
        return False
    with suppress(OSError, pa.ArrowException), store.open_input(file) as opened:
        return {"id", "text", "source"} <= set(pq.read_schema(opened).names)
    return False  # the reader says what is wrong


def _first(file: str, documents: int) -> Iterator[Batch]:
    for batch in read_documents(file, 4096):
        take = min(len(batch), documents)
        documents -= take
        if take:
            yield batch.where(np.arange(len(batch)) < take)


class _Silent:
    """A barrier of one file needs no progress."""

    def start(self, what: str, total: int, done: int) -> None: ...
    def advance(self, docs: int) -> None: ...
    def warn(self, message: str) -> None: ...
    def say(self, message: str) -> None: ...


def _verdict(stage: Global, batches: Sequence[Batch]) -> Verdict:
    """All steps of a barrier, over one shard."""
    with tempfile.TemporaryDirectory(prefix="curate-try-") as folder:
        only = Entrant(0, sum(map(len, batches)), store.join(folder, "documents"), store.join(folder, "keys"))
        keys, documents = KeysWriter(stage, only.keys, 1), Documents(only.documents)
        first = 0
        for batch in batches:
            keys.add(stage.emit(batch), first)
            documents.add(batch)
            first += len(batch)
        keys.close()
        documents.close()
        court = Court(stage, folder, [0], 1, 4096)
        court.decide([only], Local(), _Silent())
        return Verdict(court.verdict(0), 0)


def _head(batch: Batch, row: int) -> str:
    text = batch.text[row].as_py()
    cut = text[:SHOWN_CHARS].replace("\n", "\\n")
    more = f" [... {len(text):,} characters]" if len(text) > SHOWN_CHARS else ""
    return f"{batch['id'][row].as_py()}  {printable(cut)}{more}"
