"""Record framing: whatever the layout, every record is read once, and whatever is broken costs itself alone."""

from __future__ import annotations

import gzip
import itertools
import random
import tracemalloc
import zlib
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import store
from curate.stage import Bad, Shard
from stages.read import archive

CORPUS = Path(__file__).parents[3] / "shared/corpus/commoncrawl"


def record(block: bytes, kind: str = "conversion", eol: bytes = b"\r\n", gap: bytes | None = None, length: object = None) -> bytes:
    fields = [f"WARC-Type: {kind}", f"Content-Length: {len(block) if length is None else length}", "WARC-Target-URI: http://a.example/"]
    return b"WARC/1.0" + eol + b"".join(f.encode() + eol for f in fields) + eol + block + (eol * 2 if gap is None else gap)


def read(path: Path, target: int = 1 << 60, **options: int) -> list[archive.Record | Bad]:
    """All parts of a file, one after the other."""
    return [r for shard in archive.shards(store.expand([str(path)]), target) for r in archive.records(shard, **options)]


def blocks(items: list[archive.Record | Bad]) -> list[bytes]:
    return [i.block for i in items if isinstance(i, archive.Record)]


def bads(items: list[archive.Record | Bad]) -> list[Bad]:
    return [i for i in items if isinstance(i, Bad)]


@pytest.fixture
def put(tmp_path: Path):
    def write(data: bytes, name: str = "a.warc.gz") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


BODIES = [b"first", b"", b"third\r\n\r\n", b"x" * 70_000, "Жук".encode() * 50, random.Random(1).randbytes(3000)]


@pytest.mark.parametrize("eol", [b"\r\n", b"\n"])
@pytest.mark.parametrize("gap", [None, b"", b"\n", b"\r\n\r\n\r\n\r\n"])
def test_line_ends_and_blank_lines_between_records_do_not_matter(put, eol, gap):
    path = put(b"".join(record(b, eol=eol, gap=gap) for b in BODIES if not b.endswith(b"\n") and b), "a.warc")
    assert blocks(read(path)) == [b for b in BODIES if not b.endswith(b"\n") and b]


def test_a_header_is_known_by_its_name_and_not_by_its_place_or_case(put):
    path = put(b"WARC/1.1\r\nX-Long: a\r\n  b\r\ncontent-LENGTH:3\r\nWarc-Type: resource\r\nWARC-Type: second\r\n\r\nabc", "a.warc")
    (only,) = read(path)
    assert only.headers == {"x-long": "a b", "content-length": "3", "warc-type": "resource"}
    assert only.block == b"abc"


def layouts() -> dict[str, bytes]:
    raw = [record(b) for b in BODIES]
    whole = b"".join(raw)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4") as out:
        out.write(whole)
    lz4 = sink.getvalue().to_pybytes()
    return {
        "plain.warc": whole,
        "members.warc.gz": b"".join(map(gzip.compress, raw)),
        "single.warc.gz": gzip.compress(whole),
        "pairs.warc.gz": b"".join(gzip.compress(raw[i] + raw[i + 1]) for i in range(0, 6, 2)),
        "across.warc.gz": b"".join(gzip.compress(whole[i : i + 1000]) for i in range(0, len(whole), 1000)),
        "padded.warc.gz": b"".join(gzip.compress(r) + bytes(700) for r in raw),
        "empty-members.warc.gz": b"".join(gzip.compress(r) + gzip.compress(b"") * 300 for r in raw),
        "frames.warc.zst": b"".join(zstandard.compress(r) for r in raw),
        "misnamed.warc": zstandard.compress(whole),
        "frame.warc.lz4": lz4,
    }


@pytest.mark.parametrize("name", list(layouts()))
def test_every_layout_gives_the_same_records(put, name):
    items = read(put(layouts()[name], name))
    assert blocks(items) == BODIES
    assert len({i.offset for i in items}) == len(BODIES)


def test_an_id_is_the_members_offset_and_the_place_in_it(put):
    first, second = gzip.compress(record(b"a") + record(b"b")), gzip.compress(record(b"c"))
    assert [r.offset for r in read(put(first + second))] == ["0", "0+1", str(len(first))]
    assert [r.offset for r in read(put(record(b"a") + record(b"b"), "b.warc"))] == ["0", str(len(record(b"a")))]


body = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"WARC/1.0\r\n", b"\r\n\r\n", b"\n\nWARC/1.0 is a format\n", b"x" * 30_000, gzip.compress(b"no record"), b""]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(body, st.booleans()), min_size=1, max_size=12),
    st.sampled_from(["plain", "gzip"]),
    st.integers(1, 4000),
    st.sampled_from([0, 100, archive.LOOKBACK]),
)
def test_the_parts_of_a_file_give_what_the_file_gives(tmp_path_factory, parts, form, target, lookback):
    path = tmp_path_factory.mktemp("split") / ("a.warc" if form == "plain" else "a.warc.gz")
    data, member = b"", b""
    for block, ends in parts:
        member += record(block)
        if ends:
            data, member = data + (member if form == "plain" else gzip.compress(member)), b""
    data += member if form == "plain" or not member else gzip.compress(member)
    path.write_bytes(data)
    whole = read(path)
    assert blocks(whole) == [block for block, _ in parts]
    assert read(path, target=max(target, len(data) // 50), lookback=lookback) == whole


@pytest.mark.parametrize("name", list(layouts()))
@pytest.mark.parametrize("target", [300, 5000])
def test_every_layout_can_be_cut(put, name, target):
    path = put(layouts()[name], name)
    assert read(path, target, lookback=0) == read(path, target) == read(path)


def test_an_archive_within_an_archive_is_not_mistaken_for_records_of_its_own(put):
    inner = b"".join(gzip.compress(record(b"inner")) for _ in range(50))
    stored = b"".join(gzip.compress(record(b), compresslevel=0) for b in (b"a", inner, b"b"))
    path = put(stored)
    for target in (100, 257, 1000):
        assert blocks(read(path, target)) == [b"a", inner, b"b"]


def test_broken_files_are_cut_alike(put):
    raw = [gzip.compress(record(b * 3)) for b in BODIES]
    rng = random.Random(7)
    for _ in range(60):
        data = bytearray(b"".join(raw))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path = put(bytes(data[: rng.randint(20, len(data))]))
        whole = read(path)
        assert set(blocks(whole)) <= {b * 3 for b in BODIES}
        for target, lookback in ((97, 0), (1009, 0), (97, archive.LOOKBACK)):
            got = read(path, target, lookback=lookback)
            assert blocks(got) == blocks(whole)
            assert [(b.place, b.reason) for b in bads(got)] == [(b.place, b.reason) for b in bads(whole)]


@pytest.mark.parametrize("single", [False, True])
def test_a_truncated_gzip_keeps_what_came_before(put, single):
    texts = [random.Random(i).randbytes(5000) for i in range(4)]
    raw = [record(t) for t in texts]
    data = gzip.compress(b"".join(raw)) if single else b"".join(map(gzip.compress, raw))
    items = read(put(data[:-2000]))
    assert blocks(items) == texts[:3]
    (bad,) = bads(items)
    assert "truncated" in bad.reason
    assert bad.raw
    assert not bad.whole_file


def test_a_truncated_plain_file_keeps_what_came_before(put):
    items = read(put((record(b"one") + record(b"two" * 100))[:-50], "a.warc"))
    assert blocks(items) == [b"one"]
    assert "truncated" in bads(items)[0].reason
    assert bads(items)[0].raw.startswith(b"WARC/1.0")


@pytest.mark.parametrize("where", ["header", "data", "checksum", "junk between"])
def test_a_corrupt_member_costs_that_member(put, where):
    members = [gzip.compress(record(random.Random(i).randbytes(5000))) for i in range(5)]
    broken = bytearray(members[2])
    if where == "junk between":
        broken += b"junk" * 10
    else:
        at = {"header": 1, "data": 2000, "checksum": -6}[where]
        broken[at : at + 3] = bytes(b ^ 255 for b in broken[at : at + 3])
    items = read(put(b"".join([*members[:2], bytes(broken), *members[3:]])))
    expected = [random.Random(i).randbytes(5000) for i in range(5)]
    if where != "junk between":
        del expected[2]
    assert blocks(items) == expected
    (bad,) = bads(items)
    start = len(members[0]) + len(members[1]) + (len(members[2]) if where == "junk between" else 0)
    assert bad.place == f"a.warc.gz:{start}"
    assert bad.raw in bytes(broken)


@pytest.mark.parametrize("length", ["", "-1", "abc", "9" * 30, "1", "40", "9999999"])
@pytest.mark.parametrize("form", ["plain", "single", "members"])
def test_a_bad_length_costs_its_record(put, length, form):
    raw = [record(b"before"), record(b"body of ten", length=length), record(b"after"), record(b"last")]
    data = b"".join(map(gzip.compress, raw)) if form == "members" else b"".join(raw)
    items = read(put(gzip.compress(data) if form == "single" else data, "a.warc" if form == "plain" else "a.warc.gz"))
    assert blocks(items) == [b"before", b"after", b"last"]
    assert [b"body of ten" in b.raw for b in bads(items)] == [True]


def test_a_record_that_is_too_large_is_skipped_without_being_held(put):
    large = bytes(60 << 20)
    data = b"".join(gzip.compress(record(b)) for b in (b"a", large, b"b")) + gzip.compress(record(b"c") + record(large) + record(b"d"))
    plain = put(record(b"a") + record(large) + record(b"b"), "a.warc")
    path = put(data)
    tracemalloc.start()
    items, others = read(path, largest=1 << 20), read(plain, largest=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert blocks(items) == [b"a", b"b", b"c", b"d"]
    assert blocks(others) == [b"a", b"b"]
    assert ["larger than" in b.reason for b in bads(items) + bads(others)] == [True] * 3
    assert peak < 16 << 20


def test_a_bomb_without_a_record_takes_no_memory(put):
    path = put(gzip.compress(b"\n" * (50 << 20) + bytes(50 << 20)) + gzip.compress(record(b"after")))
    tracemalloc.start()
    items = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert blocks(items) == [b"after"]
    assert len(bads(items)) == 1
    assert peak < 16 << 20


def test_a_length_beyond_the_limit_is_checked_where_the_file_can_tell(put):
    path = put(record(b"a") + record(b"b", length=10**12) + record(b"c"), "a.warc")
    assert blocks(read(path)) == [b"a", b"c"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 76\n1 0 X\n", "ARC"),
        (gzip.compress(b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 76\n1 0 X\n"), "ARC"),
        (b"just some text", "just some text"),
        (gzip.compress(b"just some text"), "just some text"),
        (b"\x1f\x8b\x08 broken from the start", "corrupt"),
        (b"\x28\xb5\x2f\xfd broken", "zstd"),
        (b"\x04\x22\x4d\x18 broken", "lz4"),
        (gzip.compress(record(b"x" * 100))[:40], "truncated"),
    ],
    # a gzip header has the time in it: as a name it would differ from one test process to the next
    ids=["arc", "arc.gz", "text", "text.gz", "broken gzip", "broken zstd", "broken lz4", "cut"],
)
@pytest.mark.parametrize("target", [1 << 60, 7])
def test_a_file_that_gives_nothing_says_what_it_is_once(put, data, says, target):
    (bad,) = read(put(data), target)
    assert bad.whole_file
    assert says in bad.reason


def test_an_empty_file_gives_nothing(put):
    assert read(put(b"")) == []
    assert read(put(gzip.compress(b""), "b.gz")) == []


def test_small_files_stay_whole_and_large_ones_are_cut_without_gaps(put):
    files = [store.expand([str(put(bytes(n), name))])[0] for n, name in ((10, "a.gz"), (1000, "b.gz"), (1000, "c.zst"))]
    shards = archive.shards(files, 300)
    assert [(s.file.label, s.low, s.high) for s in shards if s.file.label != "b.gz"] == [("a.gz", 0, 10), ("c.zst", 0, 1000)]
    cuts = [(s.low, s.high) for s in shards if s.file.label == "b.gz"]
    assert len(cuts) == 4
    assert cuts[0][0] == 0
    assert cuts[-1][1] == 1000
    assert all(high == low for (_, high), (low, _) in itertools.pairwise(cuts))


def test_random_bytes_never_raise(put):
    rng = random.Random(3)
    for magic in (b"", b"WARC/1.0\r\n", archive.GZIP, archive.LZ4, archive.ZSTD[0], gzip.compress(b"WARC/1.0\r\n")):
        for _ in range(30):
            path = put(magic + rng.randbytes(rng.randint(1, 400)))
            assert read(path) == read(path, 50)


@pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpus is not beside this repository")
class TestReal:
    def test_well_formed_files_are_framed_as_another_reader_does_it(self):
        warc = pytest.importorskip("fastwarc.warc")
        for name in (
            "real/example.warc.gz",
            "real/iana.warc.gz",
            "edge_cases/issue-493.warc",
            "packed_wet/packed-shared-00000.warc.wet.gz",
        ):
            with open(CORPUS / name, "rb") as file:
                expected = [(str(r.stream_pos), r.reader.read()) for r in warc.ArchiveIterator(file, parse_http=False)]
            for target in (1 << 60, 200_000):
                assert [(r.offset, r.block) for r in read(CORPUS / name, target)] == expected

    def test_lz4_gives_the_records_of_the_same_file_in_gzip(self):
        assert blocks(read(CORPUS / "edge_cases/warcfile.warc.lz4")) == blocks(read(CORPUS / "real/warcfile.warc.gz"))


def test_a_part_ends_where_the_next_begins_even_inside_a_header(put):
    path = put(b"".join(gzip.compress(record(b)) for b in BODIES))
    file = store.expand([str(path)])[0]
    whole = list(archive.records(Shard(file, 0, file.size, file.size)))
    for cut in range(0, file.size, 61):
        parts = [Shard(file, 0, cut, cut), Shard(file, cut, file.size, file.size - cut)]
        assert [r for p in parts for r in archive.records(p, lookback=0)] == whole
    assert zlib.crc32(b"".join(blocks(whole))) == zlib.crc32(b"".join(BODIES))
