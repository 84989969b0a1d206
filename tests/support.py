"""A small corpus of several sources, recipes over it, and what a run's results are compared by."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from curate import plan as planning
from curate import recipe as recipes
from curate import run as running
from curate.barriers import Court, Entrant, groups_of
from curate.batch import Batch
from curate.documents import Documents
from curate.exchange import KeysWriter, Verdict
from curate.finished import Result, write_stats
from curate.progress import Lines
from curate.runner import Executor, Local
from curate.stage import Global
from curate.worker import outcome

WORDS = [
    "the",
    "be",
    "to",
    "of",
    "and",
    "that",
    "have",
    "with",
    "harbour",
    "lantern",
    "winter",
    "garden",
    "river",
    "stone",
    "letter",
    "morning",
    "engine",
    "silver",
    "window",
    "mountain",
    "paper",
    "orchard",
    "signal",
    "copper",
    "meadow",
    "thunder",
    "market",
    "evening",
    "cellar",
    "bridge",
    "candle",
    "forest",
    "harvest",
    "island",
    "journey",
    "kitchen",
    "ladder",
    "mirror",
    "needle",
]


def prose(rng: random.Random, words: int) -> str:
    """Sentences that pass the Gopher rules."""
    out = []
    while words > 0:
        n = rng.randint(8, 16)
        out.append(" ".join(rng.choice(WORDS) for _ in range(n)).capitalize() + ".")
        words -= n
    return "\n".join(" ".join(out[i : i + 3]) for i in range(0, len(out), 3))


def texts(seed: int, count: int) -> list[str]:
    """Prose of many lengths, with exact copies of each other, junk and odd characters among them."""
    rng = random.Random(seed)
    shared = random.Random(0)  # the same in every source
    common = [prose(shared, 80) for _ in range(5)]
    out: list[str] = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.08 and out:
            out.append(rng.choice(out))
        elif kind < 0.14:
            out.append(rng.choice(common))
        elif kind < 0.20:
            out.append("too short")
        elif kind < 0.24:
            out.append("# " * 200)
        elif kind < 0.26:
            out.append("")
        elif kind < 0.30:
            out.append("na\u00efve caf\u00e9 \U0001f600 \u4eca\u65e5 \x00 " + prose(rng, 90))
        else:
            out.append(prose(rng, rng.randint(60, 300)))
    return out


def write_corpus(folder: Path, documents: int = 60) -> None:
    """Two JSON lines files, one of them with bad lines, and two Parquet files of several row groups."""
    for number in range(2):
        path = folder / "web" / f"{number}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [json.dumps({"text": t, "url": f"https://example.org/{number}/{n}"}) for n, t in enumerate(texts(number, documents))]
        path.write_text("\n".join(rows) + "\n" + ("{not json\n" if number else ""), encoding="utf-8")
    for number in range(2):
        path = folder / "books" / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({"text": texts(10 + number, documents // 2)})
        pq.write_table(table, path, row_group_size=10)


RECIPE = """
name: small
seed: 5
data: DATA
sources:
  web:
    - read.jsonl.Jsonl: {paths: ["${data}/web/*.jsonl"], max_bad: 0.05}
    - length.Chars: {least: 20}
    - dedup.exact.Exact
    - gopher.Quality
  books:
    - read.parquet.Parquet: {paths: ["${data}/books"]}
    - gopher.Repetition
corpus:
  - dedup.exact.Exact
  - dedup.minhash.MinHash: {ngram: 2, threshold: 0.5, bands: 20, rows: 3, sample: 30, keep_index: true}
  - length.Words: {least: 55}
mix:
  weights: {web: 0.7, books: 0.3}
  tokens: 9000
  max_epochs: {books: 8, web: 8}
tokens:
  tokenizer: {train: {vocabulary: 400}}
  shard_tokens: 3000
  format: megatron
engine: {shard_bytes: 6000}
"""


def write_recipe(folder: Path, data: Path, text: str = RECIPE, **changes: object) -> str:
    """A recipe file over a corpus; changes replace whole top-level sections."""
    value = yaml.safe_load(text) | changes
    value["data"] = str(data)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return str(path)


def run(recipe: str, out: Path, *settings: str, executor: Executor | None = None) -> Result:
    """All of `curate run`, in this process unless an executor is given."""
    loaded = recipes.load(recipe, settings)
    made = planning.plan(loaded)
    executor = executor or Local()
    result = running.run(made, str(out), executor, Lines())
    write_stats(result.rows, str(out))
    if loaded.tokens:
        from curate.tokens.make import make

        make(made, result.documents, str(out), executor, Lines())
    return result


def through_barrier(
    stage: Global, shards: Sequence[Sequence[str]], folder: Path, *, partitions: int = 1, rows: int = 1000
) -> list[list[tuple[str | None, list[int], list[int]]]]:
    """What a Global makes of each document of each shard: its text (None if dropped), the lines taken
    out, and how many others held each.
    """
    batches = [[_batch(number, texts, at, rows) for at in range(0, len(texts), rows)] for number, texts in enumerate(shards)]
    out = []
    for shard, verdict in zip(batches, decided(stage, batches, folder, partitions=partitions), strict=True):
        out.append([row for at, batch in enumerate(shard) for row in _applied(stage, batch, verdict.rows(at * rows, len(batch)))])
    return out


def decided(
    stage: Global,
    shards: Sequence[Sequence[Batch]],
    folder: Path,
    *,
    partitions: int = 1,
    keys: Callable[[Batch], pa.RecordBatch] | None = None,
    executor: Executor | None = None,
) -> list[Verdict]:
    """What a barrier decides about each shard, all its rounds; `keys` stands for its `emit`, if given."""
    entrants = []
    docs = [sum(map(len, batches)) for batches in shards]
    for number, batches in enumerate(shards):
        entrant = Entrant(number, docs[number], str(folder / f"{number}.parquet"), str(folder / f"{number}.keys"))
        writer, written = KeysWriter(stage, entrant.keys, partitions), Documents(entrant.documents)
        first = 0
        for batch in batches:
            writer.add((keys or stage.emit)(batch), first)
            written.add(batch)
            first += len(batch)
        if docs[number]:
            writer.close()
            written.close()
            entrants.append(entrant)
    groups = groups_of(stage, docs)
    court = Court(stage, str(folder / "barrier"), groups, partitions, 1000)
    court.decide(entrants, executor or Local(), Lines())
    return [Verdict(court.verdict(group), number) for number, group in enumerate(groups)]


def _batch(shard: int, texts: Sequence[str], first: int, rows: int) -> Batch:
    some = texts[first : first + rows]
    ids = [f"s/{shard}:{first + n}" for n in range(len(some))]
    return Batch.of(pa.record_batch({"id": ids, "text": pa.array(some, pa.large_string()), "source": ["s"] * len(some)}))


def _applied(stage: Global, batch: Batch, verdict: pa.Table) -> list[tuple[str | None, list[int], list[int]]]:
    after, checks, removed = outcome(stage, batch, verdict)
    assert removed is not None
    out = []
    for row, text in enumerate(after.text.to_pylist()):
        kept = all(check.passed[row] for check in checks.values())
        low, high = int(removed.first[row]), int(removed.last[row])
        out.append((text if kept else None, removed.line[low:high].tolist(), removed.others[low:high].tolist()))
    return out


def digests(out: Path) -> dict[str, str]:
    """sha256 of every file of the documents, the readers' tables, the index, the quarantine and the tokens; but for index.json, which
    names where its inputs were.
    """
    found = {}
    for folder in ("documents", "evidence", "index", "quarantine", "tokens"):
        for path in sorted((out / folder).rglob("*")):
            if path.is_file() and path.name != "index.json":
                found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def counts(out: Path) -> list[dict[str, object]]:
    """stats.json without the times."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in json.loads((out / "stats.json").read_text())]


def documents(out: Path, source: str) -> pa.Table:
    """The curated documents of a source."""
    return pa.concat_tables([pq.read_table(p) for p in sorted((out / "documents" / source).glob("*.parquet"))])
