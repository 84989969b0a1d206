"""read.parquet on every type of text, on files cut anywhere, and on files that lie."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.stage import Bad
from stages.read.parquet import Parquet
from stages.read.rows import MAX_BYTES, MAX_ROWS

CORPUS = Path(__file__).parents[3] / "shared/corpus"
WHOLE = 1 << 60


def write(folder, table, name="a.parquet", **options) -> str:
    table = pa.table(table) if isinstance(table, dict) else table
    pq.write_table(table, folder / name, **options)
    return str(folder / name)


def read(source, target=WHOLE):
    items = [item for shard in source.shards(target) for item in source.read(shard)]
    batches = [item for item in items if isinstance(item, pa.RecordBatch)]
    assert all(batch.schema.names == ["id", "text", *source.adds] for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()], [item for item in items if isinstance(item, Bad)]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.none() | st.text(max_size=20), max_size=40), st.integers(1, 12), st.integers(1, 3000), st.booleans())
def test_what_was_written_is_read_and_cutting_changes_nothing(tmp_path_factory, texts, group, target, dictionary):
    folder = tmp_path_factory.mktemp("parquet")
    path = write(folder, {"text": pa.array(texts, pa.string())}, row_group_size=group, use_dictionary=dictionary)
    rows, bad = read(Parquet((path,)))
    assert [(row["id"], row["text"]) for row in rows] == [(f"a.parquet:{n}", text) for n, text in enumerate(texts) if text is not None]
    assert [(b.place, b.reason) for b in bad] == [(f"a.parquet:{n}", "text is null") for n, text in enumerate(texts) if text is None]
    assert read(Parquet((path,)), target) == (rows, bad)


def test_large_files_are_cut_at_row_groups_into_parts_of_about_the_target(tmp_path):
    texts = [f"{n}" * 1000 for n in range(1000)]
    path = write(tmp_path, {"text": texts}, row_group_size=10, compression="none", use_dictionary=False)
    size = Path(path).stat().st_size
    shards = Parquet((path,)).shards(size // 10)
    assert 8 <= len(shards) <= 12
    assert [shard.low for shard in shards[1:]] == [shard.high for shard in shards[:-1]]
    assert max(shard.size for shard in shards) < size // 10 * 1.5
    assert [row["text"] for row in read(Parquet((path,)), size // 10)[0]] == texts


def test_small_files_are_planned_without_their_footers(tmp_path, monkeypatch):
    for n in range(30):
        write(tmp_path, {"text": ["x"]}, f"{n:02}.parquet")
    opened = []
    import curate.store

    real = curate.store.open_input
    monkeypatch.setattr(curate.store, "open_input", lambda path: opened.append(path) or real(path))
    assert len(Parquet((str(tmp_path),)).shards(WHOLE)) == 30
    assert len(opened) == 1


KINDS = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()]


@pytest.mark.parametrize("kind", [*KINDS, pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string())], ids=str)
def test_text_of_every_type_is_large_string(tmp_path, kind):
    texts = ["", "ü\0\U0001f600", "x" * 5000, "", "twice", "twice"]
    encoded = pa.array(texts).cast(kind) if not pa.types.is_dictionary(kind) else pa.array(texts).dictionary_encode().cast(kind)
    source = Parquet((write(tmp_path, {"text": encoded}, row_group_size=4),))
    (shard,) = source.shards(WHOLE)
    batches = list(source.read(shard))
    assert [text for batch in batches for text in batch["text"].to_pylist()] == texts
    assert all(batch["text"].type == pa.large_string() for batch in batches)


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()], ids=str)
@pytest.mark.parametrize("wrong", [b"\xff", b"ok then \xe2\x82", b"\xed\xa0\x80", b"\xc0\x80"])
def test_bytes_that_are_no_utf8_cost_exactly_their_row(tmp_path, kind, wrong):
    raw = pa.array([b"a", wrong, "ü".encode(), b""], pa.binary())
    text = pa.Array.from_buffers(kind, len(raw), raw.buffers())  # a string column that was never checked, as hostile writers make
    rows, (bad,) = read(Parquet((write(tmp_path, {"text": text, "url": ["1", "2", "3", "4"]}),)))
    assert [(row["id"], row["text"], row["url"]) for row in rows] == [
        ("a.parquet:0", "a", "1"),
        ("a.parquet:2", "ü", "3"),
        ("a.parquet:3", "", "4"),
    ]
    assert (bad.place, bad.reason, bad.raw) == ("a.parquet:1", "invalid UTF-8", wrong)


def test_a_carried_column_that_is_no_utf8_costs_its_row_and_is_named(tmp_path):
    raw = pa.array([b"a", b"\xff"], pa.binary())
    url = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    rows, (bad,) = read(Parquet((write(tmp_path, {"text": ["x", "y"], "url": url}),)))
    assert [row["text"] for row in rows] == ["x"]
    assert bad.reason == "url: invalid UTF-8"


def test_columns_become_strings(tmp_path):
    noon = dt.datetime(2024, 5, 6, 12, 30, 15, tzinfo=dt.UTC)
    zone = dt.timezone(dt.timedelta(hours=2))
    table = pa.table(
        {
            "text": ["t"],
            "date": pa.array([noon.astimezone(zone)], pa.timestamp("us", "Europe/Berlin")),
            "fraction": pa.array([noon.replace(microsecond=250_000, tzinfo=None)], pa.timestamp("ns")),
            "day": [dt.date(2024, 5, 6)],
            "n": pa.array([7], pa.uint64()),
            "real": [0.5],
            "nan": [float("nan")],
            "yes": [True],
            "price": [decimal.Decimal("1.50")],
            "nested": [{"a": [1, None], "b": {"c": "ü"}}],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "null": pa.nulls(1),
            "id": [12],
            "id.x": ["dotted"],
        }
    )
    keep = tuple(name for name in table.schema.names if name not in ("text", "date"))
    (row,), bad = read(Parquet((write(tmp_path, table),), keep=keep))
    assert not bad
    assert dt.datetime.fromisoformat(row["date"]) == noon
    assert row["date"].endswith("Z")
    assert dt.datetime.fromisoformat(row["fraction"]) == noon.replace(microsecond=250_000)
    assert (row["day"], row["n"], row["real"], row["nan"], row["yes"], row["price"]) == ("2024-05-06", "7", "0.5", None, "true", "1.50")
    assert json.loads(row["nested"]) == {"a": [1, None], "b": {"c": "ü"}}
    assert json.loads(row["map"]) == {"k": 1}
    assert (row["null"], row["source_id"], row["id.x"], row["id"]) == (None, "12", "dotted", "a.parquet:0")


@given(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)))
@settings(deadline=None, max_examples=60)
def test_timestamps_are_iso_8601_that_reads_back(tmp_path_factory, moment):
    folder = tmp_path_factory.mktemp("parquet")
    (row,), _ = read(Parquet((write(folder, {"text": ["t"], "date": pa.array([moment], pa.timestamp("us"))}),)))
    assert dt.datetime.fromisoformat(row["date"]) == moment.replace(tzinfo=dt.UTC)


def test_a_time_beyond_the_year_9999_is_null_and_no_crash(tmp_path):
    times = pa.array([2**62, -(2**62), 2**63 - 1, 0], pa.int64()).cast(pa.timestamp("ms"))
    rows, bad = read(Parquet((write(tmp_path, {"text": ["a", "b", "c", "d"], "date": times}),)))
    assert [row["date"] for row in rows] == [None, None, None, "1970-01-01T00:00:00Z"]
    assert not bad


def test_fields_of_structs_and_alternatives_row_by_row(tmp_path):
    metas = [{"url": "a", "n": 1}, None, {"url": None, "n": 2}, {"url": "d", "n": None}]
    table = pa.table({"body": pa.array([{"text": str(n)} for n in range(4)]), "url": ["0", None, None, None], "meta": metas})
    rows, _ = read(Parquet((write(tmp_path, table),), text="body.text", keep=("meta.n",)))
    assert [(row["text"], row["url"], row["meta.n"]) for row in rows] == [
        ("0", "0", "1"),
        ("1", None, None),
        ("2", None, "2"),
        ("3", "d", None),
    ]
    assert {row["date"] for row in rows} == {None}


def test_a_text_column_that_is_missing_or_no_text_is_said_before_anything_starts(tmp_path):
    path = write(tmp_path, {"content": ["a"], "n": [1], "words": [["a"]]})
    for options, word in [
        ({"text": "contents"}, "did you mean content"),
        ({"text": "n"}, "int64"),
        ({"text": "words"}, "list"),
        ({"text": "content", "keep": ("lang",)}, "lang"),
    ]:
        with pytest.raises(RecipeError, match=word):
            Parquet((path,), **options).shards(WHOLE)


@pytest.mark.parametrize("target", [WHOLE, 1])
def test_a_later_file_without_the_column_or_without_a_footer_is_a_bad_file(tmp_path, target):
    write(tmp_path, {"text": ["fine"]}, "a.parquet")
    write(tmp_path, {"other": ["a"]}, "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and then nothing of the kind PAR1")
    (tmp_path / "d.parquet").write_bytes(b"")
    rows, bad = read(Parquet((str(tmp_path),)), target)
    assert [row["id"] for row in rows] == ["a.parquet:0"]
    assert [(b.place, b.whole_file) for b in bad] == [("b.parquet", True), ("c.parquet", True), ("d.parquet", True)]


@pytest.mark.parametrize("header", [True, False])
def test_a_corrupt_page_costs_the_rest_of_its_row_group(tmp_path, header):
    texts = [f"{n:05}" * 20 for n in range(300)]
    path = write(tmp_path, {"text": texts}, row_group_size=100, compression="zstd", use_dictionary=False, write_page_checksum=True)
    data = bytearray(Path(path).read_bytes())
    chunk = pq.read_metadata(path).row_group(1).column(0)
    at = chunk.data_page_offset + (0 if header else chunk.total_compressed_size // 2)
    data[at] ^= 0xFF  # in the middle zstd decodes it to other texts, which only the checksum can tell
    Path(path).write_bytes(data)
    for target in (WHOLE, 1):
        rows, (bad,) = read(Parquet((path,)), target)
        assert [row["text"] for row in rows] == texts[:100] + texts[200:]
        assert bad.place == "a.parquet:100"
        assert "row group 1" in bad.reason


def test_the_pages_before_a_corrupt_one_are_kept(tmp_path):
    texts = [f"{n:05}" * 200 for n in range(3000)]
    options = {
        "compression": "none",
        "use_dictionary": False,
        "write_page_checksum": True,
        "data_page_size": 1 << 16,
        "write_batch_size": 16,
    }
    path = write(tmp_path, {"text": texts}, **options)
    data = bytearray(Path(path).read_bytes())
    data[data.index(texts[2500].encode()) + 3] ^= 1
    Path(path).write_bytes(data)
    rows, (bad,) = read(Parquet((path,)))
    kept = len(rows)
    assert [row["text"] for row in rows] == texts[:kept]
    assert bad.place == f"a.parquet:{kept}"
    assert 2500 - 16 - (1 << 16) // 1000 - 16 <= kept <= 2500  # a page, a writer's batch and a reader's


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_flipped_bytes_never_crash_the_reader(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("parquet")
    path = Path(write(folder, {"text": [f"{n}" * 9 for n in range(60)], "url": ["u"] * 60}, row_group_size=20))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        rows, _ = read(Parquet((str(path),)), data.draw(st.sampled_from([1, WHOLE])))
    except RecipeError:
        return  # the flip hit a column's name
    assert all(isinstance(row["text"], str) for row in rows)


READ_IN_A_PROCESS = """
import sys
import pyarrow as pa
from stages.read.parquet import Parquet
source = Parquet((sys.argv[1],))
(shard,) = source.shards(1 << 60)
sizes = [(len(batch), batch.nbytes) for batch in source.read(shard)]
print(sum(rows for rows, _ in sizes), max(size for _, size in sizes), pa.default_memory_pool().max_memory())
"""


def test_batches_are_bounded_even_where_a_dictionary_hides_the_size(tmp_path):
    """In a process of its own: the memory pool's peak is the process's."""
    long = "x" * 500_000
    path = write(tmp_path, pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), pa.array([long]))}))
    assert Path(path).stat().st_size < 1 << 20
    done = subprocess.run([sys.executable, "-c", READ_IN_A_PROCESS, path], capture_output=True, text=True, check=True)
    count, largest, peak = map(int, done.stdout.split())
    assert count == 4000
    assert largest <= MAX_BYTES
    assert peak < 1 << 30  # the texts are 2 GB


def test_many_small_row_groups_are_joined_to_full_batches(tmp_path):
    source = Parquet((write(tmp_path, {"text": ["x"] * 10_000}, row_group_size=10),))
    (shard,) = source.shards(WHOLE)
    assert [len(batch) for batch in source.read(shard)] == [MAX_ROWS - MAX_ROWS % 10] * 2 + [10_000 - 2 * (MAX_ROWS - MAX_ROWS % 10)]


def test_a_file_without_rows_holds_no_documents(tmp_path):
    assert read(Parquet((write(tmp_path, {"text": pa.array([], pa.string())}),))) == ([], [])
    assert read(Parquet((write(tmp_path, {"text": pa.array([], pa.string())}),)), 1) == ([], [])


@pytest.mark.skipif(not CORPUS.is_dir(), reason="shared/corpus is not here")
def test_a_real_corpus_written_by_arrow_is_the_same_as_its_json_lines(tmp_path):
    import gzip

    records = [json.loads(line) for line in gzip.decompress((CORPUS / "c4/c4-sample-700.json.gz").read_bytes()).splitlines()]
    path = write(tmp_path, pa.Table.from_pylist(records), row_group_size=64)
    rows, bad = read(Parquet((path,)), 100_000)
    assert [(row["text"], row["url"], row["date"]) for row in rows] == [(r["text"], r["url"], r["date"]) for r in records]
    assert not bad
