"""Archives and folders from hostile input: what is read, what is refused, and that nothing costs more than its bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.stage import Bad, File
from stages.read.members import SLACK, Bounds, Member, Refusal, Refused, gunzip, members, members_in
from stages.read.tarred import is_tar

FILES = {"a.py": b"print(1)\n", "sub/b.txt": b"two" * 1000, "sub/empty": b"", "z" * 150 + "/" + "y" * 120: b"long name"}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def tar_of(files: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT, **changes: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(files: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED, seekable: bool = True) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out if seekable else Unseekable(out), "w", method) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, (2023, 11, 14, 22, 13, 20)), data, method)
    return out.getvalue()


class Unseekable(io.RawIOBase):
    """As a socket: zipfile then writes sizes behind the data."""

    def __init__(self, out: io.BytesIO):
        self.out = out

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self.out.write(data)


def read(data: bytes, bounds: Bounds | None = None) -> tuple[dict[str, bytes], list[Refused]]:
    found = list(members_in(data, "a", bounds))
    good = {m.key: m.data for m in found if isinstance(m, Member)}
    return good, [m for m in found if isinstance(m, Refused)]


def kinds(data: bytes, bounds: Bounds | None = None) -> list[str]:
    return [refused.kind for refused in read(data, bounds)[1]]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packing", PACK)
def test_tar_of_every_format_and_compression_gives_its_files_in_order(form: int, packing: str) -> None:
    files = dict(list(FILES.items())[:3]) if form == tarfile.USTAR_FORMAT else FILES
    good, refused = read(PACK[packing](tar_of(files.items(), form)))
    assert list(good.items()) == list(files.items())
    assert not refused


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("seekable", [True, False])
def test_zip_of_every_method_gives_its_files_in_order(method: int, seekable: bool) -> None:
    good, refused = read(zip_of(FILES.items(), method, seekable))
    assert list(good.items()) == list(FILES.items())
    assert not refused


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_member_has_size_time_and_bounded_read(make: Callable[..., bytes]) -> None:
    (member,) = members_in(make([("./x//y.txt", b"hello")]), "a")
    assert isinstance(member, Member)
    assert (member.name, member.size, member.mtime, member.read(2), member.read(99)) == ("x/y.txt", 5, 1_700_000_000, b"he", b"hello")


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "C:\\x", "c:x", "\\\\host\\x", "a\\..\\..\\up", "new\nline", ".", "n" * 5000]
)
def test_path_that_leads_out_or_is_none_is_refused_and_its_neighbours_are_read(make: Callable[..., bytes], name: str) -> None:
    good, refused = read(make([("first", b"1"), (name, b"x"), ("last", b"2")]))
    assert good == {"first": b"1", "last": b"2"}
    assert [(type(r).__mro__[1], r.kind) for r in refused] == [(Bad, "path")]


def test_nul_in_a_pax_name_is_refused() -> None:
    good, refused = read(tar_of([("plain", b"x")], pax_headers={"path": "a\0b"}))
    assert (good, [r.kind for r in refused]) == ({}, ["path"])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "special"),
        (tarfile.BLKTYPE, "special"),
        (tarfile.FIFOTYPE, "special"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, expected: str) -> None:
    data = tar_of([("x", b"")], type=kind, linkname="/etc/passwd")
    assert kinds(data) == [expected]


def test_sparse_file_is_refused_and_the_next_is_read() -> None:
    header = bytearray(tarfile.TarInfo("holes").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[124:136], header[482], header[148:156] = b"%011o\0" % 512, 1, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    extension = bytes(512)
    good, refused = read(bytes(header) + extension + b"d" * 512 + tar_of([("next", b"n")]))
    assert (good, [r.kind for r in refused]) == ({"next": b"n"}, ["special"])


def test_link_in_a_zip_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert kinds(out.getvalue()) == ["link"]


def test_folder_is_read_in_order_of_path_without_links_pipes_and_pruned_folders(tmp_path: Path) -> None:
    for name in ("b/x", "a", "b.c", "b/.git/config", "b/y/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = list(members(File(str(tmp_path), "r", 0, ""), prune=(".git",)))
    assert [m.name for m in found if isinstance(m, Member)] == ["a", "b.c", "b/x", "b/y/z"]
    assert [(r.place, r.kind) for r in found if isinstance(r, Refused)] == [("r:link", "link"), ("r:loop", "link"), ("r:pipe", "special")]


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_unwanted_names_are_passed_over(make: Callable[..., bytes]) -> None:
    found = members_in(make(FILES.items()), "a", wanted=lambda name: name.endswith(".py"))
    assert [m.name for m in found if isinstance(m, Member)] == ["a.py"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_same_name_twice_has_two_keys(make: Callable[..., bytes]) -> None:
    assert read(make([("x", b"1"), ("x", b"2")]))[0] == {"x": b"1", "x+1": b"2"}


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_member_beyond_the_largest_is_refused_and_the_next_is_read(make: Callable[..., bytes]) -> None:
    data = make([("big", b"x" * 101), ("fits", b"x" * 100)])
    good, refused = read(data, Bounds(largest=100))
    assert (list(good), [r.kind for r in refused]) == (["fits"], ["large"])


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_number_of_members_and_total_are_bounded(make: Callable[..., bytes]) -> None:
    data = make((str(n), b"12345") for n in range(10))
    good, refused = read(data, Bounds(count=4))
    assert (len(good), [r.kind for r in refused]) == (4, ["bomb"])
    good, refused = read(data, Bounds(expanded=24))
    assert (len(good), [r.kind for r in refused]) == (4, ["bomb"])


def bomb(packing: str) -> bytes:
    zeros = bytes(1 << 20)
    tar = io.BytesIO()
    info = tarfile.TarInfo("zeros")
    info.size = SLACK * 2
    head = info.tobuf()
    compress = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[packing]
    with compress(tar, "wb") as out:  # type: ignore[operator]
        out.write(head)
        for _ in range(info.size >> 20):
            out.write(zeros)
    return tar.getvalue()


@pytest.mark.parametrize("packing", ["gzip", "bzip2"])
def test_compressed_bomb_ends_at_the_ratio_in_little_memory(packing: str) -> None:
    data = bomb(packing)
    tracemalloc.start()
    good, refused = read(data, Bounds(ratio=10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (good, refused[-1].kind) == ({}, "bomb")
    assert peak < 16 << 20


def test_zip_bomb_of_members_that_share_their_bytes_ends_at_the_ratio() -> None:
    data = bytearray(zip_of([("a", bytes(1 << 20))]))
    at = data.index(b"PK\x01\x02")
    entry, end = data[at : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    end[8:12], end[12:16] = struct.pack("<2H", 5000, 5000), struct.pack("<I", len(entry) * 5000)
    good, refused = read(bytes(data[:at] + entry * 5000 + end), Bounds(ratio=10))
    assert [r.kind for r in refused] == ["bomb"]
    assert sum(map(len, good.values())) <= SLACK + 10 * (at + 5000 * len(entry) + len(end))


def test_pax_header_that_claims_much_is_not_held() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    assert kinds(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)) == ["bomb"]


def test_many_pax_headers_before_one_file_are_not_held() -> None:
    data = b""
    for first in range(0, 6400, 200):
        records = b"".join(b"4000 key%04d=%s\n" % (n, b"v" * 3986) for n in range(first, first + 200))
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, len(records)
        data += info.tobuf(tarfile.GNU_FORMAT) + records + bytes(-len(records) % 512)
    data = gzip.compress(data + tar_of([("a", b"1")], tarfile.GNU_FORMAT), 1)
    tracemalloc.start()
    good, refused = read(data, Bounds(ratio=1e6))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (good, refused) == ({"a": b"1"}, [])
    assert peak < 16 << 20  # of 25 MB


@pytest.mark.parametrize("packing", PACK)
def test_tar_cut_anywhere_gives_members_before_the_cut_and_one_bad(packing: str) -> None:
    whole = PACK[packing](tar_of(FILES.items()))
    for cut in range(0, len(whole) - 1, 1 if packing != "plain" else 37):
        good, refused = read(whole[:cut])
        assert list(good.items()) == list(FILES.items())[: len(good)]
        assert len(refused) == 1 or (len(good) == len(FILES) and not refused)


@pytest.mark.parametrize("seekable", [True, False])
def test_zip_cut_anywhere_gives_members_before_the_cut_and_one_bad(seekable: bool) -> None:
    whole = zip_of(FILES.items(), seekable=seekable)
    for cut in range(len(whole)):
        good, refused = read(whole[:cut])
        assert list(good.items()) == list(FILES.items())[: len(good)]
        assert len(refused) == 1
        assert len(good) == len(FILES) or cut < whole.index(b"PK\x01\x02")


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_corrupt_bytes_cost_members_and_never_raise(make: Callable[..., bytes]) -> None:
    whole = make(FILES.items())

    @settings(max_examples=300, deadline=None)
    @given(st.dictionaries(st.integers(0, len(whole) - 1), st.integers(0, 255), max_size=6), st.sampled_from(["plain", "gzip"]))
    def check(changes: dict[int, int], packing: str) -> None:
        data = bytearray(whole)
        for at, value in changes.items():
            data[at] = value
        good, _ = read(PACK[packing](bytes(data)) if make is tar_of else bytes(data), Bounds(largest=1 << 20, expanded=1 << 26))
        assert all(not name.startswith("/") and ".." not in name.split("/") for name in good)

    check()


@given(st.binary(max_size=600))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    for start in (b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9"):
        assert all(isinstance(m, Member | Refused) for m in members_in(start + data, "a"))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("keep", [8, 30])
def test_small_packed_archive_that_is_cut_or_corrupt_says_so_and_shows_its_bytes(pack: Callable[[bytes], bytes], keep: int) -> None:
    whole = pack(bytes(range(256)))
    for data in (whole[:keep], whole[:keep] + b"\xff" * 60):
        (refused,) = members_in(data, "a")
        assert isinstance(refused, Refused)
        assert "cut off" in refused.reason or "corrupt" in refused.reason
        assert (refused.raw, refused.whole_file) == (data, True)


def test_what_is_no_archive_is_bad_as_a_whole() -> None:
    (refused,) = read(b"just text, no archive at all" * 100)[1]
    assert (refused.kind, refused.whole_file) == ("format", True)
    assert not is_tar(b"\\documentclass{article}" * 100)
    assert is_tar(tar_of(FILES.items())[:512])


def test_damaged_member_of_a_zip_costs_itself() -> None:
    whole = bytearray(zip_of([("a", b"1" * 50), ("b", b"2" * 50), ("c", b"3" * 50)], zipfile.ZIP_STORED))
    whole[whole.index(b"2" * 50)] = ord("9")
    good, refused = read(bytes(whole))
    assert (list(good), [(r.kind, r.place) for r in refused]) == (["a", "c"], [("damaged", "a:b")])


def test_gunzip_gives_all_members_and_is_bounded() -> None:
    assert gunzip(gzip.compress(b"one") + gzip.compress(b"two"), 6) == b"onetwo"
    for data, limit, kind in [
        (gzip.compress(b"x" * 7), 6, "large"),
        (gzip.compress(bytes(SLACK * 2)), SLACK * 4, "bomb"),
        (gzip.compress(b"x" * 100)[:-9], 1000, "damaged"),
        (b"\x1f\x8bnonsense", 1000, "damaged"),
        (b"", 1000, "damaged"),
    ]:
        with pytest.raises(Refusal) as caught:
            gunzip(data, limit, 50)
        assert caught.value.kind == kind
