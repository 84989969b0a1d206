"""The exchange of keys is a group-by: whatever the ranges, partitions, spills and groups, every key meets all its rows, once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import exchange
from curate.batch import Batch, Mask, Removed
from curate.documents import LINES, Fates
from curate.exchange import Gather, KeysWriter, Reduce, Settle, Verdict, edges, in_order, reduced_name, verdict_name
from curate.stage import ADDRESS, Global

TOP = 2**64 - 1
Row = tuple[int, int, int]  # key, address of the document, number in the order in which it was emitted
Shards = Sequence[Sequence[Sequence[tuple[int, int]]]]  # of each shard, of each batch: (key, row in the batch)
keys = st.sampled_from([0, 1, 2**63 - 1, 2**63, TOP - 1, TOP]) | st.integers(0, TOP) | st.just(7 << 55) | st.just(7 << 55)


@dataclass(frozen=True)
class Meeting(Global):
    """Hands on every row that it is shown; or, without addresses, how many rows there are of each key."""

    counts: bool = False
    met: list[list[Row]] = field(default_factory=list, compare=False)

    def emit(self, batch: Batch) -> pa.RecordBatch:
        raise NotImplementedError

    def reduce(self, keys: pa.Table) -> pa.Table:
        self.met.append(list(zip(*(keys[c].to_pylist() for c in ("key", "doc", "mark")), strict=True)))
        if not self.counts:
            return keys
        key, rows = np.unique(keys["key"].to_numpy(), return_counts=True)
        return pa.table({"key": key, "rows": rows})

    def apply(self, batch: Batch, verdict: pa.Table) -> Mask:
        raise NotImplementedError


def rows_of(shards: Shards) -> list[list[Row]]:
    """The rows of each shard in the order in which they are emitted."""
    out, mark = [], 0
    for number, batches in enumerate(shards):
        rows, first = [], 0
        for batch in batches:
            rows += [(key, (number << 32) + first + row, mark + n) for n, (key, row) in enumerate(batch)]
            mark += len(batch)
            first += ROWS
        out.append(rows)
    return out


ROWS = 5  # documents of a batch


def write(folder: Path, shards: Shards, partitions: int, stage: Global) -> list[str]:
    """A file of keys for each shard."""
    paths, mark = [], 0
    for number, batches in enumerate(shards):
        paths.append(str(folder / f"{number:05d}.arrow"))
        writer = KeysWriter(stage, paths[-1], partitions)
        for n, batch in enumerate(batches):
            key, row = [k for k, _ in batch], [r for _, r in batch]
            marks = pa.array(range(mark, mark + len(batch)), pa.int64())
            writer.add(pa.record_batch({"key": pa.array(key, pa.uint64()), "row": pa.array(row, pa.int64()), "mark": marks}), n * ROWS)
            mark += len(batch)
        if batches:
            writer.close()
    return paths


def exchanged(folder: Path, stage: Global, shards: Shards, partitions: int, groups: Sequence[int]) -> None:
    """All of a barrier, from keys to verdicts."""
    paths = write(folder, shards, partitions, stage)
    files = tuple(tuple((n, p) for n, p in enumerate(paths) if groups[n] == g and shards[n]) for g in range(max(groups) + 1))
    reduce = Reduce(stage, files, partitions, str(folder / "reduced"))
    for group in range(len(files)):
        for part in range(partitions):
            reduce((group, part))
        Settle(stage, str(folder / "reduced"), len(shards), str(folder))(group)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Shards, int, list[int], int, int]:
    """Shards of keys; and how they are cut: partitions, groups, rows of a range, bytes of a spill."""
    batch = st.lists(st.tuples(keys, st.integers(0, ROWS - 1)), max_size=8)
    shards = draw(st.lists(st.lists(batch, max_size=3), min_size=1, max_size=5))
    groups = [draw(st.integers(0, 2)) for _ in shards]
    return shards, draw(st.integers(1, 9)), groups, draw(st.sampled_from([1, 2, 5, 40, 2 << 20])), draw(st.sampled_from([1, 100, 32 << 20]))


@settings(max_examples=40, deadline=None)
@given(cuts())
def test_every_key_meets_all_its_rows_once_in_order(drawn: tuple[Shards, int, list[int], int, int]) -> None:
    shards, partitions, groups, range_rows, spill = drawn
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(exchange, "RANGE_ROWS", range_rows)
        patched.setattr(exchange, "SPILL_BYTES", spill)
        stage = Meeting()
        paths = write(Path(folder), shards, partitions, stage)
        for group in range(3):
            files = [(n, p) for n, p in enumerate(paths) if groups[n] == group and shards[n]]
            met = []
            for part in range(partitions):
                for table in Gather(files, part, partitions).ranges():
                    met += [[tuple(row.values()) for row in table.select(["key", "doc", "mark"]).to_pylist()]] if len(table) else []
            expected = sorted(row for n, rows in enumerate(rows_of(shards)) if groups[n] == group for row in rows)
            assert [row for rows in met for row in rows] == expected  # all rows by (key, doc), those of one doc as they were emitted
            assert all(before[-1][0] < after[0][0] for before, after in pairwise(met))  # no key in two ranges


@settings(max_examples=40, deadline=None)
@given(cuts(), st.integers(1, 7))
def test_each_shard_is_given_the_rows_of_its_documents(drawn: tuple[Shards, int, list[int], int, int], step: int) -> None:
    shards, partitions, groups, range_rows, spill = drawn
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(exchange, "RANGE_ROWS", range_rows)
        patched.setattr(exchange, "SPILL_BYTES", spill)
        exchanged(Path(folder), Meeting(), shards, partitions, groups)
        for number, rows in enumerate(rows_of(shards)):
            met_any = any(rows for n, rows in enumerate(rows_of(shards)) if groups[n] == groups[number])
            verdict = Verdict(str(Path(folder) / verdict_name(groups[number])), number)
            for first in range(0, ROWS * len(shards[number]), step):
                given = verdict.rows(first, step)
                if not met_any:
                    assert len(given) == 0
                    continue
                found = [tuple(r.values()) for r in given.select(["key", "row", "mark"]).to_pylist()]
                mine = sorted((key, (doc & 0xFFFFFFFF) - first, mark) for key, doc, mark in rows)
                assert sorted(found) == [row for row in mine if 0 <= row[1] < step]
                assert [row for _, row, _ in found] == sorted(row for _, row, _ in found)


@settings(max_examples=60, deadline=None)
@given(cuts())
def test_a_verdict_without_addresses_is_given_whole_to_the_shards_of_its_group(drawn: tuple[Shards, int, list[int], int, int]) -> None:
    shards, partitions, groups, range_rows, spill = drawn
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(exchange, "RANGE_ROWS", range_rows)
        patched.setattr(exchange, "SPILL_BYTES", spill)
        exchanged(Path(folder), Meeting(counts=True), shards, partitions, groups)
        for number in range(len(shards)):
            count = Counter(row[0] for n, rows in enumerate(rows_of(shards)) if groups[n] == groups[number] for row in rows)
            if count:
                given = Verdict(str(Path(folder) / verdict_name(groups[number])), number).rows(3, 2)
                assert dict(zip(given["key"].to_pylist(), given["rows"].to_pylist(), strict=True)) == count
                assert given["key"].to_pylist() == sorted(count)  # settled in order of key
                assert given.schema.metadata[ADDRESS] == str((number << 32) + 3).encode()


def even(count: int, shards: int, folder: Path, partitions: int = 1) -> list[tuple[int, str]]:
    """Files of random keys."""
    rng, files = np.random.default_rng(3), []
    for number in range(shards):
        files.append((number, str(folder / f"{number}.arrow")))
        writer = KeysWriter(Meeting(), files[-1][1], partitions)
        key = rng.integers(0, TOP, count // shards, np.uint64, endpoint=True)
        writer.add(pa.record_batch({"key": key, "row": np.arange(len(key)), "mark": np.arange(len(key))}), 0)
        writer.close()
    return files


def test_ranges_are_full_and_no_fuller_than_they_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "RANGE_ROWS", 1000)
    files = even(100_000, 7, tmp_path, 3)
    sizes = [[len(t) for t in Gather(files, part, 3).ranges()] for part in range(3)]
    assert sum(map(sum, sizes)) == 7 * (100_000 // 7)
    assert max(map(max, sizes)) <= 1000
    assert sum(map(len, sizes)) <= 1.4 * 100


def test_one_heavy_key_is_in_one_range_and_the_others_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "RANGE_ROWS", 1000)
    files = even(20_000, 4, tmp_path)
    heavy = str(tmp_path / "heavy.arrow")
    writer = KeysWriter(Meeting(), heavy, 1)
    key = np.full(50_000, 2**63, np.uint64)
    writer.add(pa.record_batch({"key": key, "row": np.arange(50_000), "mark": np.arange(50_000)}), 0)
    writer.close()
    sizes = Counter[bool]()
    for table in Gather([*files, (4, heavy)], 0, 1).ranges():
        found = table["key"].to_numpy() == 2**63
        sizes[bool(found.any())] += 1
        assert found.sum() in (0, 50_000)
        assert len(table) - found.sum() <= 1000
    assert sizes[True] == 1


def test_keys_of_an_object_store_meet_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setattr(exchange, "RANGE_ROWS", 500)
    files = even(5_000, 3, tmp_path, 2)
    store, remote = fsspec.filesystem("memory"), []
    for number, path in files:
        remote.append((number, f"memory://keys/{number}.arrow"))
        store.put_file(path, f"/keys/{number}.arrow")
    for part in range(2):
        assert list(Gather(remote, part, 2).ranges()) == list(Gather(files, part, 2).ranges())


MEMORY = """
import sys
import numpy as np, pyarrow as pa
from curate import exchange
from curate.exchange import KeysWriter, Reduce
from curate.stage import Global

class Counts(Global):
    def emit(self, batch): ...
    def apply(self, batch, verdict): ...
    def reduce(self, keys):
        return pa.table({"doc": keys["doc"].slice(0, 1), "rows": [len(keys)]})

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024

folder, shards = sys.argv[1], int(sys.argv[2])
exchange.RANGE_ROWS = 100_000
rng, files = np.random.default_rng(1), []
for number in range(shards):
    files.append((number, f"{folder}/{number}.arrow"))
    writer = KeysWriter(Counts(), files[-1][1], 1)
    for part in range(4):
        key = rng.integers(0, 2**64, 25_000, np.uint64)
        writer.add(pa.record_batch({"key": key, "row": np.arange(25_000), "payload": key}), part * 25_000)
    writer.close()
before = peak()
Reduce(Counts(), (tuple(files),), 1, folder)((0, 0))
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its peak memory from /proc, which this system has not")
def test_memory_of_a_reduce_does_not_grow_with_the_partition(tmp_path: Path) -> None:
    """10 and 60 shards of 100,000 keys of 24 bytes: 24 and 144 MB, of which 100,000 rows, 2.4 MB, are to be held at once."""
    grown = {}
    for shards in (10, 60):
        folder = tmp_path / str(shards)
        folder.mkdir()
        done = subprocess.run([sys.executable, "-c", MEMORY, folder, str(shards)], capture_output=True, text=True, check=True, timeout=120)
        grown[shards] = int(done.stdout)
    assert grown[60] < 60, grown
    assert grown[60] - grown[10] < 30, grown


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="finds memory maps through /proc, which this system has not")
def test_a_reduce_holds_few_of_its_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may have 65,530 memory maps on Linux, and fewer open files: a corpus has more shards."""
    files = even(3000, 300, tmp_path)
    held, opened = list[int](), exchange.open_arrow

    def watched(path: str, *, mapped: bool = True) -> AbstractContextManager[object]:
        open_files = [p for p in Path("/proc/self/fd").iterdir() if p.is_symlink() and str(tmp_path) in str(p.readlink())]
        held.append(len(open_files) + sum(str(tmp_path) in line for line in Path("/proc/self/maps").read_text().splitlines()))
        return opened(path, mapped=mapped)

    monkeypatch.setattr(exchange, "open_arrow", watched)
    assert sum(map(len, Gather(files, 0, 1).ranges())) == 3000
    assert len(held) >= 300
    assert max(held) < 10


# -- its parts ----------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(keys, st.integers(0, 3) | st.integers(0, 2**62)), max_size=60))
def test_in_order_is_by_key_then_document_then_as_it_came(rows: list[tuple[int, int]]) -> None:
    key, doc = np.array([k for k, _ in rows], np.uint64), np.array([d for _, d in rows], np.int64)
    assert in_order(key, doc).tolist() == sorted(range(len(rows)), key=lambda n: (*rows[n], n))


@pytest.mark.parametrize("many", [17, 1000, 70_000])
def test_in_order_of_many(many: int) -> None:
    rng = np.random.default_rng(many)
    key, doc = rng.integers(0, many // 3, many).astype(np.uint64) << np.uint64(40), rng.integers(0, 5, many)
    assert (in_order(key, doc) == np.lexsort((np.arange(many), doc, key))).all()


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 64, 1000, 1_000_000])
def test_edges_cut_all_keys_evenly(parts: int) -> None:
    found = edges(parts)
    assert found.dtype == np.uint64
    assert found[0] == 0
    widths = {after - before for before, after in pairwise([*found.tolist(), 2**64])}
    assert widths <= {2**64 // parts, 2**64 // parts + 1}


def test_a_reduced_partition_without_rows_still_has_its_columns(tmp_path: Path) -> None:
    exchanged(tmp_path, Meeting(), [[[(0, 0)]]], 4, [0])
    found = [pa.ipc.open_file(tmp_path / "reduced" / reduced_name(0, part)).read_all() for part in range(4)]
    assert [len(table) for table in found] == [1, 0, 0, 0]
    assert len({table.schema for table in found}) == 1


# -- in a run -----------------------------------------------------------------------------------------------------------------------


def corpus_of(folder: Path, sources: dict[str, list[list[str]]]) -> dict[str, object]:
    """Sources of JSON lines, one file for each list."""
    out: dict[str, object] = {}
    for source, files in sources.items():
        for number, texts in enumerate(files):
            path = folder / source / f"{number}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
        out[source] = [{"read.jsonl.Jsonl": {"paths": [str(folder / source)]}}, {"length.Words": {"least": 2}}]
    return out


def shards_of(out: Path, source: str) -> list[list[str]]:
    """What each shard of the pass before the barrier held: those that nothing is left of count too."""
    folder = next((out / "passes" / source).glob("1-*"))
    shards = []
    for number in range(len(list(folder.glob("*.json")))):
        path = folder / f"{number:05d}.parquet"
        shards.append(pq.read_table(path)["text"].to_pylist() if path.exists() else [])
    return shards


words = st.lists(st.sampled_from(["a b", "b c", "c d", "alone", "d e f"]), min_size=1, max_size=4)


@settings(max_examples=12, deadline=None)
@given(st.lists(words, min_size=1, max_size=4), st.lists(words, min_size=1, max_size=3), st.integers(1, 7), st.integers(1, 3))
def test_what_is_not_in_one_group_does_not_meet(web: list[list[str]], books: list[list[str]], documents: int, partitions: int) -> None:
    with TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "out"
        sources = corpus_of(folder, {"web": web, "books": books})
        corpus = [{"own_stages.ExactInGroups": {"documents": documents}}]
        engine = {"shard_bytes": 36, "partitions": partitions}
        recipe = support.write_recipe(folder, folder, sources=sources, corpus=corpus, mix=None, tokens=None, engine=engine)
        support.run(recipe, out)
        held, seen = 0, set[str]()
        for source, files in {"web": web, "books": books}.items():
            expected, shards = [], shards_of(out, source)
            assert [t for texts in shards for t in texts] == [t for texts in files for t in texts if " " in t]
            for texts in shards:
                for text in texts:
                    expected += [text] if text not in seen else []
                    seen.add(text)
                held += len(texts)
                if held >= documents:
                    held, seen = 0, set()
            found = list((out / "documents" / source).glob("*.parquet"))
            assert (support.documents(out, source)["text"].to_pylist() if found else []) == expected


def test_a_run_killed_between_groups_goes_on_with_those_left(tmp_path: Path) -> None:
    texts = [["a b", "a b", "c d"], ["a b", "c d", "c d"], ["a b", "e f", "e f"]]
    sources = corpus_of(tmp_path, {"web": texts})
    corpus = [{"own_stages.ExactInGroups": {"documents": 3}}]
    recipe = support.write_recipe(tmp_path, tmp_path, sources=sources, corpus=corpus, mix=None, tokens=None, engine={"shard_bytes": 60})
    support.run(recipe, tmp_path / "out")
    assert shards_of(tmp_path / "out", "web") == texts
    assert support.documents(tmp_path / "out", "web")["text"].to_pylist() == ["a b", "c d", "a b", "c d", "a b", "e f"]
    wanted = support.digests(tmp_path / "out")
    [home] = [p.parent for p in (tmp_path / "out" / "passes").rglob(verdict_name(0))]
    assert sorted(p.name for p in home.iterdir() if p.is_file()) == [verdict_name(n) for n in range(3)]
    stays = (home / verdict_name(0)).stat().st_mtime_ns
    (home / verdict_name(1)).unlink()
    (home / "reduced" / reduced_name(1, 0)).unlink()
    for old in (tmp_path / "out" / "passes" / "web").glob("2-*/*"):
        old.unlink()
    support.run(recipe, tmp_path / "out")
    assert (home / verdict_name(0)).stat().st_mtime_ns == stays
    assert support.digests(tmp_path / "out") == wanted


@pytest.mark.parametrize(
    "some",
    [True, False],
)
def test_documents_that_have_no_key_are_left_as_they_are(tmp_path: Path, some: bool) -> None:
    """`dedup.exact.Exact` on a column gives no key to a document that has none of it."""
    rows = [{"text": f"text {n}", "url": "u" if some and n > 2 else None} for n in range(5)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = [{"read.jsonl.Jsonl": {"paths": [str(tmp_path / "a.jsonl")]}}, {"dedup.exact.Exact": {"column": "url"}}]
    recipe = support.write_recipe(tmp_path, tmp_path, sources={"web": stages}, corpus=[], mix=None, tokens=None)
    support.run(recipe, tmp_path / "out")
    assert support.documents(tmp_path / "out", "web")["text"].to_pylist() == [f"text {n}" for n in range(4 if some else 5)]


# -- lines that are taken out -------------------------------------------------------------------------------------------------------

lines_of = st.lists(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**40)), max_size=4), max_size=6)


@settings(deadline=None)
@given(st.lists(lines_of, max_size=5), st.sampled_from([1, 3, 65_536]), st.randoms(use_true_random=False))
def test_lines_taken_out_are_written_as_they_were_said(batches: list[list[list[tuple[int, int]]]], flush: int, rng: object) -> None:
    """Also where the lines of documents do not lie in their order, with others between them."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("curate.documents.FATES_ROWS", flush)
        path = Path(folder, "lines.parquet")
        fates = Fates(str(Path(folder, "fates.parquet")), str(path))
        expected = []
        for number, docs in enumerate(batches):
            batch = Batch.of(pa.record_batch({"id": [f"{number}:{n}" for n in range(len(docs))], "text": [""] * len(docs)}, BATCH))
            order = list(range(len(docs)))
            rng.shuffle(order)  # type: ignore[attr-defined]
            laid: list[tuple[int, int]] = [(99, 99)]
            first, last = np.zeros(len(docs), np.int64), np.zeros(len(docs), np.int64)
            for n in order:
                first[n] = len(laid)
                laid += docs[n]
                last[n] = len(laid)
                laid.append((98, 98))  # of a document that is not in the batch any more
            removed = Removed(first, last, np.array([x for x, _ in laid], np.int32), np.array([x for _, x in laid], np.int64))
            names = ["duplicate"] * len(laid)
            if number % 2:
                removed = removed._replace(rule=np.array([x % 2 for x, _ in laid], np.int8), rules=("even", "odd"))
                names = [removed.rules[x % 2] for x, _ in laid]
            said = [names[low:high] for low, high in zip(first.tolist(), last.tolist(), strict=True)]
            assert +Counter(removed.by_rule) == Counter(name for of in said for name in of)
            fates.add_lines(batch, f"stage {number}", removed)
            for n, doc in enumerate(docs):
                if doc:
                    lines, others = map(list, zip(*doc, strict=True))
                    expected.append({"id": f"{number}:{n}", "stage": f"stage {number}", "lines": lines, "others": others, "rules": said[n]})
        fates.close()
        assert fates.rewritten == len(expected)
        assert path.exists() == bool(expected)
        assert not Path(folder, "fates.parquet").exists()
        if expected:
            assert pq.read_schema(path).equals(LINES)
            assert pq.read_table(path).to_pylist() == expected


BATCH = pa.schema({"id": pa.string(), "text": pa.large_string()})
TEXTS = ["moon\nsun\nstar\nsun", "sun", "no line", "sun\nmoon"]


@pytest.mark.parametrize("damage", [None, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_lines_taken_out_in_a_run_are_in_a_file_of_their_own(tmp_path: Path, damage: Callable[[Path], None] | None) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    stages = [{"read.jsonl.Jsonl": {"paths": [str(tmp_path / "a.jsonl")]}}, "own_stages.WithoutLines"]
    recipe = support.write_recipe(tmp_path, tmp_path, sources={"web": stages}, corpus=[], mix=None, tokens=None, engine={"batch_rows": 3})
    support.run(recipe, tmp_path / "out")
    path = next((tmp_path / "out" / "passes" / "web").rglob("00000.lines.parquet"))
    if damage:
        damage(path)
        support.run(recipe, tmp_path / "out")
    documents = support.documents(tmp_path / "out", "web")
    assert documents["text"].to_pylist() == ["moon\nstar", "no line", "moon"]
    rows = pq.read_table(path).to_pylist()
    assert [(r["stage"], r["lines"], r["others"]) for r in rows] == [
        ("own_stages.WithoutLines", [1, 3], [7, 7]),
        ("own_stages.WithoutLines", [0], [7]),
        ("own_stages.WithoutLines", [0], [7]),
    ]
    kept = documents["id"].to_pylist()
    assert [r["id"] for r in rows if r["id"] in kept] == [kept[0], kept[2]]
    row = next(r for r in support.counts(tmp_path / "out") if r["stage"] == "own_stages.WithoutLines")
    assert row["dropped"] == {"nothing_left": 1}
    assert row["lines"] == {"duplicate": 4}
    assert row["chars_rewritten"] == 3 * len("sun") + len("\n") * 3 + len("sun")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=60), st.sampled_from([1, 60, 10**9]), st.integers(1, 3))
def test_a_verdict_is_handed_out_by_shard_in_order_however_little_is_sorted_at_once(
    rows: list[tuple[int, int]], bytes_: int, chunks: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exchange, "SORTED_BYTES", bytes_)
        doc = [shard << 32 | row for shard, row in rows] + [-1]
        table = pa.table({"doc": pa.array(doc, pa.int64()), "mark": [str(n) for n in range(len(doc))]})
        table = pa.concat_tables([table.slice(n, 1 + len(table) // chunks) for n in range(0, len(table), 1 + len(table) // chunks)])
        found = [batch.to_pylist() for batch in exchange.by_shard(table, 5)]
        expected = [
            [(d, m) for d, m in zip(doc, table["mark"].to_pylist(), strict=True) if d >= 0 and d >> 32 == shard] for shard in range(5)
        ]
        assert [[(r["doc"], r["mark"]) for r in shard] for shard in found] == [sorted(e, key=lambda r: r[0]) for e in expected]


def test_a_verdict_on_shards_that_are_not_there_is_a_bug() -> None:
    with pytest.raises(ValueError, match="shards that are not there"):
        list(exchange.by_shard(pa.table({"doc": [7 << 32]}), 3))


@dataclass(frozen=True)
class Chunks(Meeting):
    """How many pieces each range came in, and whether it is in memory."""

    pieces: list[tuple[int, int]] = field(default_factory=list, compare=False)

    def reduce(self, keys: pa.Table) -> pa.Table:
        self.pieces.append((len(keys), keys["key"].num_chunks))
        return super().reduce(keys)


def test_many_rows_of_one_key_come_mapped_and_their_neighbours_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "RANGE_ROWS", 50)
    monkeypatch.setattr(exchange, "PIECE_BYTES", 400)
    crowded = [[[(7 << 60, row)] * 8 for row in range(ROWS)] + [[(n << 50, 0), ((n << 50) + 1, 1)] for n in range(30)] for _ in range(3)]
    stage = Chunks()
    paths = write(tmp_path, crowded, 2, stage)
    met: list[Row] = []
    for part in range(2):
        for table in Gather(list(enumerate(paths)), part, 2).ranges():
            stage.reduce(table)
            met += list(zip(*(table[c].to_pylist() for c in ("key", "doc", "mark")), strict=True))
    assert met == sorted((r for shard in rows_of(crowded) for r in shard), key=lambda r: (r[0], r[1], r[2]))
    assert [rows for rows, chunks in stage.pieces if chunks > 1] == [3 * 8 * ROWS]
    assert all(rows <= 50 for rows, chunks in stage.pieces if chunks == 1)


def test_keys_of_other_partitions_are_read_by_their_ranges(tmp_path: Path) -> None:
    shards = [[[(n << 58, n % ROWS) for n in range(64)]], [[(n << 58 | 5, 0) for n in range(64)]]]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [write(tmp_path / "a", shards[:1], 7, Meeting())[0], write(tmp_path / "b", shards[1:], 1, Meeting())[0]]
    found = [table["key"].to_pylist() for part in range(3) for table in Gather(list(enumerate(paths)), part, 3).ranges()]
    assert [k for keys in found for k in keys] == sorted(k for shard in shards for batch in shard for k, _ in batch)
