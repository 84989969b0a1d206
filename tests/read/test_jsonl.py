"""read.jsonl against Python's json as writer and as oracle, on every compression, and on lines that are none."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.stage import Bad
from stages.read.jsonl import BLOCK, Jsonl, lines
from stages.read.rows import MAX_BYTES, MAX_ROWS

CORPUS = Path(__file__).parents[3] / "shared/corpus"
WHOLE = 1 << 60
COMPRESS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
compressed = pytest.mark.parametrize("kind", [k for k in COMPRESS if k != "plain"])


def write(folder, data: bytes, name="a.jsonl") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def read(source, target=WHOLE):
    items = [item for shard in source.shards(target) for item in source.read(shard)]
    batches = [item for item in items if isinstance(item, pa.RecordBatch)]
    assert all(batch.schema.names == ["id", "text", *source.adds] for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()], [item for item in items if isinstance(item, Bad)]


def of(folder, data: bytes, target=WHOLE, **options):
    return read(Jsonl((write(folder, data),), **options), target)


def reasons(folder, line: bytes, **options):
    """What becomes of a line between two good ones, which must stay."""
    rows, bad = of(folder, b'{"text":"a"}\n' + line + b'\n{"text":"b"}\n', **options)
    kept = [row["text"] for row in rows]
    assert (kept[0], kept[-1]) == ("a", "b")
    assert all(b.place == "a.jsonl:13" and not b.whole_file for b in bad)
    return kept[1:-1], [b.reason for b in bad]


characters = st.characters(codec=None, categories=None)  # lone surrogates and all
texts = st.text(characters, max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts, lambda v: st.lists(v) | st.dictionaries(texts, v), max_leaves=6
)
ends = st.sampled_from(["\n", "\r\n", "\n\n", "\n \t\n"])


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(texts, values, ends), max_size=12), st.booleans(), st.booleans(), st.integers(1, 400))
def test_what_json_wrote_is_read_and_cutting_changes_nothing(tmp_path_factory, records, ascii_only, last_end, target):
    folder = tmp_path_factory.mktemp("jsonl")
    data, expected = b"", []
    for text, meta, end in records:
        ascii_only = ascii_only or any("\ud800" <= c <= "\udfff" for c in json.dumps([text, meta], ensure_ascii=False))
        line = json.dumps({"meta": meta, "text": text}, ensure_ascii=ascii_only)
        back = json.loads(line)
        expected.append((f"a.jsonl:{len(data)}", back["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")))
        data += (line + end).encode()
    data = data if last_end else data.rstrip(b"\r\n\t ")
    rows, bad = of(folder, data)
    assert [(row["id"], row["text"]) for row in rows] == expected
    assert not bad
    assert of(folder, data, target) == (rows, [])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=12), max_size=20), st.integers(1, 60))
def test_arbitrary_bytes_cut_anywhere_give_what_they_give_uncut(tmp_path_factory, pieces, target):
    folder = tmp_path_factory.mktemp("jsonl")
    data = b"\n".join(piece if at % 2 else b'{"text":"' + piece + b'"}' for at, piece in enumerate(pieces))
    assert of(folder, data, target) == of(folder, data)


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=20), st.integers(1, 50))
def test_lines_do_not_depend_on_blocks(data, sizes, limit):
    blocks, at = [], 0
    for size in sizes:
        blocks.append(data[at : at + size])
        at += size
    blocks.append(data[at:])
    begun, expected = 0, []
    for line in data.split(b"\n"):
        expected.append((begun, len(line)))
        begun += len(line) + 1
    expected = expected if expected[-1][1] else expected[:-1]
    found = list(lines(blocks, 0, limit))
    assert [(start, size) for start, _, size in found] == expected
    assert all(line == data[start : start + size] for start, line, size in found)


@pytest.mark.parametrize("kind", COMPRESS)
def test_compression_is_told_by_the_bytes_and_members_follow_one_another(tmp_path, kind):
    first, second = b'{"text":"one"}\n{"te', b'xt":"two"}\n'
    path = write(tmp_path, COMPRESS[kind](first) + COMPRESS[kind](second), "data.json.gz")
    rows, bad = read(Jsonl((path,)), target=5 if kind == "plain" else 1)
    assert [(row["id"], row["text"]) for row in rows] == [("data.json.gz:0", "one"), ("data.json.gz:15", "two")]
    assert not bad


@compressed
def test_a_compressed_file_is_one_shard(tmp_path, kind):
    assert len(Jsonl((write(tmp_path, COMPRESS[kind](b'{"text":"one"}\n' * 100)),)).shards(1)) == 1


@compressed
def test_a_cut_off_stream_keeps_what_came_before_and_is_one_bad_record(tmp_path, kind):
    whole = COMPRESS[kind](b"".join(b'{"text":"%d"}\n' % n for n in range(3)))
    rest = COMPRESS[kind](json.dumps({"text": "lost" * 1000}).encode())
    rows, (bad,) = of(tmp_path, whole + rest[: len(rest) // 2])
    assert [row["text"] for row in rows] == ["0", "1", "2"]
    assert f"byte {len(whole) + len(rest) // 2:,}" in bad.reason
    assert not bad.whole_file


@compressed
def test_garbage_after_a_stream_keeps_the_stream(tmp_path, kind):
    rows, (bad,) = of(tmp_path, COMPRESS[kind](b'{"text":"kept"}\n') + b"garbage that is no member")
    assert [row["text"] for row in rows] == ["kept"]
    assert "corrupt" in bad.reason
    assert not bad.whole_file


@compressed
def test_a_stream_of_which_nothing_comes_out_is_a_bad_file(tmp_path, kind):
    data = bytearray(COMPRESS[kind](b'{"text":"lost"}\n'))
    rows, (bad,) = of(tmp_path, bytes(data[:7]))
    assert not rows
    assert bad.whole_file


def test_zeros_after_a_member_are_padding(tmp_path):
    rows, bad = of(tmp_path, gzip.compress(b'{"text":"a"}\n') + bytes(512) + gzip.compress(b'{"text":"b"}\n') + bytes(9000))
    assert [row["text"] for row in rows] == ["a", "b"]
    assert not bad


def test_a_bzip2_bomb_is_unpacked_in_blocks_of_bounded_size(tmp_path):
    from stages.read.jsonl import unpack

    with open(write(tmp_path, bz2.compress(bytes(50 << 20))), "rb") as file:
        sizes = [len(block) for block in unpack(file, "bzip2")]
    assert sum(sizes) == 50 << 20
    assert max(sizes) <= 2 * BLOCK


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text":"\xff"}', "invalid UTF-8"),
        (b'{"text":"\xed\xa0\x80"}', "invalid UTF-8"),
        (b'{"text":"a"', "invalid JSON"),
        (b'{"text":"a"} x', "invalid JSON"),
        (b"\0\0\0\0", "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"text":' + b'{"a":' * 100_000, "invalid JSON"),
        (b'["a"]', "not an object"),
        (b'"text"', "not an object"),
        (b'{"txt":"a"}', "text is missing or null"),
        (b'{"text":null}', "text is missing or null"),
        (b'{"text":5}', "text is not a string"),
        (b'{"text":["a"]}', "text is not a string"),
    ],
)
def test_a_bad_line_costs_itself_and_says_why(tmp_path, line, reason):
    assert reasons(tmp_path, line) == ([], [reason])


def test_a_huge_number_is_no_crash(tmp_path):
    kept, why = reasons(tmp_path, b'{"text":"x","n":' + b"9" * 100_000 + b"}", keep=("n",))
    assert len(kept) + len(why) == 1


def test_a_kept_field_too_deep_to_write_is_a_bad_record(tmp_path):
    assert len(reasons(tmp_path, b'{"text":"x","n":' + b"[" * 600 + b"]" * 600 + b"}", keep=("n",))[1]) == 1


def test_the_raw_line_of_a_bad_record_is_kept_up_to_64_kib(tmp_path):
    _, (bad,) = of(tmp_path, b"x" * 100_000)
    assert bad.raw == b"x" * (64 << 10)
    _, (bad,) = of(tmp_path, b'{"text":1}\n')
    assert bad.raw == b'{"text":1}'


def test_python_json_beside_the_standard_is_understood(tmp_path):
    line = json.dumps({"text": "NaN \ud800 \\ud800 \ud83d\ude00 end\udfff", "n": float("nan"), "m": -float("inf"), "s": "NaN"})
    (row,), bad = of(tmp_path, line.encode(), keep=("n", "m", "s"))
    assert row["text"] == "NaN \ufffd \\ud800 \U0001f600 end\ufffd"
    assert (row["n"], row["m"], row["s"]) == (None, None, "NaN")
    assert not bad


def test_mark_blank_lines_and_line_ends_are_tolerated(tmp_path):
    rows, bad = of(tmp_path, b'\xef\xbb\xbf{"text":"a"}\r\n\r\n  \n\n{"text":"b"}')
    assert [(row["id"], row["text"]) for row in rows] == [("a.jsonl:0", "a"), ("a.jsonl:23", "b")]
    assert not bad


def test_nul_and_line_separators_in_text_stay(tmp_path):
    text = "a\0b\u2028c\x85d\r\ne"
    (row,), _ = of(tmp_path, json.dumps({"text": text}, ensure_ascii=False).encode())
    assert row["text"] == text


def test_a_line_beyond_the_limit_is_passed_over_without_being_held():
    block = b"x" * BLOCK
    stream = lines((block for _ in range(300)), 0, 10 * BLOCK)
    import tracemalloc

    tracemalloc.start()
    ((start, line, size),) = list(stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (start, size) == (0, 300 * BLOCK)
    assert len(line) <= 64 << 10
    assert peak < 25 * BLOCK


def test_a_record_of_exactly_the_limit_is_read_and_one_byte_more_is_not(tmp_path):
    line = b'{"text":"12345"}'
    assert reasons(tmp_path, line, max_record_bytes=len(line)) == (["12345"], [])
    assert reasons(tmp_path, line, max_record_bytes=len(line) - 1) == ([], [f"longer than {len(line) - 1} bytes"])


def test_a_line_of_100_mb_is_one_document(tmp_path):
    path = write(tmp_path, b'{"text":"' + b"x" * 100_000_000 + b'"}\n{"text":"after"}\n')
    source = Jsonl((path,))
    sizes = [len(text.as_buffer()) for shard in source.shards(30_000_000) for batch in source.read(shard) for text in batch["text"]]
    assert sizes == [100_000_000, 5]


def test_fields_are_found_by_name_and_by_dotted_path(tmp_path):
    records = [
        {"text": "c4", "url": "u1", "timestamp": "2019-04-25T12:57:54Z"},
        {"text": "wimbd", "url": "u2", "date": "2020-01-01"},
        {"text": "redpajama", "meta": {"url": "u3", "n": 1}},
        {"text": "bare", "url": None, "meta.n": "exactly", "meta": {"n": 2}},
    ]
    data = "\n".join(map(json.dumps, records)).encode()
    rows, _ = of(tmp_path, data, keep=("meta.n", "meta", "id"))
    assert [row["url"] for row in rows] == ["u1", "u2", "u3", None]
    assert [row["date"] for row in rows] == ["2019-04-25T12:57:54Z", "2020-01-01", None, None]
    assert [row["meta.n"] for row in rows] == [None, None, "1", "exactly"]
    assert [row["meta"] and json.loads(row["meta"]) for row in rows] == [None, None, {"url": "u3", "n": 1}, {"n": 2}]
    assert {row["source_id"] for row in rows} == {None}


def test_the_text_may_be_a_dotted_path(tmp_path):
    (row,), _ = of(tmp_path, b'{"a":{"b":"deep"}}', text="a.b", url=(), date=())
    assert row == {"id": "a.jsonl:0", "text": "deep"}


def test_kept_values_that_are_no_strings_are_json_text(tmp_path):
    value = {"a": [1, 2.5, None, True], "ü": "ü"}
    (row,), _ = of(tmp_path, json.dumps({"text": "", "o": value, "i": 3, "b": False, "n": None}).encode(), keep=("o", "i", "b", "n"))
    assert (json.loads(row["o"]), row["i"], row["b"], row["n"]) == (value, "3", "false", None)


def test_batches_are_bounded_in_rows_and_bytes(tmp_path):
    data = b'{"text":"x"}\n' * 10_000 + (b'{"text":"x","meta":"' + b"y" * 1_000_000 + b'"}\n') * 30
    source = Jsonl((write(tmp_path, data),), keep=("meta",))
    batches = [batch for shard in source.shards(WHOLE) for batch in source.read(shard)]
    assert sum(map(len, batches)) == 10_030
    assert max(map(len, batches)) <= MAX_ROWS
    assert max(batch.nbytes for batch in batches) <= MAX_BYTES + 2_000_000


def test_an_empty_file_holds_no_documents(tmp_path):
    assert of(tmp_path, b"") == ([], [])


def test_what_is_wrong_with_the_options_is_said_before_anything_starts(tmp_path):
    path = write(tmp_path, b"")
    for source, word in [
        (Jsonl((str(tmp_path / "no*"),)), "nothing matches"),
        (Jsonl(()), "no files"),
        (Jsonl((path,), text=""), "empty"),
        (Jsonl((path,), keep=("a", "a")), "column a"),
        (Jsonl((path,), keep=("id", "source_id")), "source_id"),
    ]:
        with pytest.raises(RecipeError, match=word):
            source.shards(WHOLE)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="shared/corpus is not here")
@pytest.mark.parametrize("path", ["c4/*.json*", "c4/data_juicer_demos/*.jsonl", "stackexchange/jsonl/*.jsonl", "arxiv/jsonl/*.jsonl"])
def test_real_corpora_are_read_as_json_reads_them(path):
    expected = []
    for file in sorted(CORPUS.glob(path)):
        data = file.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        expected += [json.loads(line)["text"] for line in data.decode().split("\n") if line.strip()]
    source = Jsonl((str(CORPUS / path),))
    rows, bad = read(source)
    assert len(rows) > 10
    assert [row["text"] for row in rows] == expected
    assert not bad
    assert len({row["id"] for row in rows}) == len(rows)
    assert read(source, 20_000) == (rows, [])
