"""read.sevenzip against archives that py7zr wrote: whole, damaged, encrypted, and such that would expand without end."""

from __future__ import annotations

import random
import threading
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import store
from curate.stage import File
from stages.read.members import SLACK, Bounds, Broken
from stages.read.sevenzip import is_7z, names, open_member

py7zr = pytest.importorskip("py7zr")

METHODS = {
    "lzma2": [{"id": py7zr.FILTER_LZMA2, "preset": 1}],
    "lzma": [{"id": py7zr.FILTER_LZMA, "preset": 1}],
    "bzip2": [{"id": py7zr.FILTER_BZIP2}],
    "bcj with lzma2": [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA2, "preset": 1}],  # what py7zr takes by itself
    "copy": [{"id": py7zr.FILTER_COPY}],
}
REFUSED = {
    "deflate": ("040108", [{"id": py7zr.FILTER_DEFLATE}]),
    "ppmd": ("030401", [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 24}]),
    "bcj with lzma": ("03030103", [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA, "preset": 1}]),
}
POSTS = b"".join(b'  <row Id="%d" Body="%d" />\n' % (n, n * n) for n in range(40_000))


def archive(folder: Path, members: dict[str, bytes], method: str = "lzma2") -> File:
    path = folder / "a.7z"
    path.unlink(missing_ok=True)
    with py7zr.SevenZipFile(path, "w", filters=METHODS.get(method) or REFUSED[method][1]) as out:
        for name, data in members.items():
            out.writestr(data, name)
    return file(path)


def file(path: Path) -> File:
    size, stamp = store.stamp(str(path))
    return File(str(path), path.name, size, stamp)


def read(of: File, name: str | None = None, bounds: Bounds | None = None) -> bytes:
    with open_member(of, name, bounds) as member:
        return member.read()


def reason(of: File, name: str | None = None, bounds: Bounds | None = None) -> tuple[str, str]:
    with pytest.raises(Broken) as caught:
        read(of, name, bounds)
    return caught.value.kind, caught.value.reason


def encrypted(folder: Path, **options: object) -> File:
    with py7zr.SevenZipFile(folder / "a.7z", "w", password="x", **options) as out:
        out.writestr(POSTS, "Posts.xml")
    return file(folder / "a.7z")


def rewritten(of: File, data: bytes) -> File:
    Path(of.path).write_bytes(data)
    return file(Path(of.path))


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("method", METHODS)
def test_a_member_is_what_was_put_in_whatever_the_method(tmp_path, method):
    made = archive(tmp_path, {"Badges.xml": b"<badges/>" * 50, "Posts.xml": POSTS, "Users.xml": b"x" * 1000}, method)
    assert names(made) == ["Badges.xml", "Posts.xml", "Users.xml"]
    assert read(made, "Posts.xml") == POSTS
    assert is_7z(Path(made.path).read_bytes()[:6])


def test_the_only_member_needs_no_name_and_several_do(tmp_path):
    assert read(archive(tmp_path, {"Posts.xml": POSTS})) == POSTS
    two = archive(tmp_path, {"a": b"1", "b": b"2"})
    assert reason(two) == ("format", "2 members, not one: a, b")
    assert reason(two, "c") == ("format", "no member c; there is a, b")


def test_lines_come_as_they_do_from_a_file(tmp_path):
    with open_member(archive(tmp_path, {"Posts.xml": POSTS}), "Posts.xml") as member:
        assert list(member) == POSTS.splitlines(keepends=True)
    assert read(archive(tmp_path, {"empty": b"", "b": b"2"}), "empty") == b""


def test_of_members_with_one_name_the_first_is_read(tmp_path):
    path = tmp_path / "a.7z"
    with py7zr.SevenZipFile(path, "w") as out:
        for data in (b"one", b"two"):
            out.writestr(data, "Posts.xml")
    assert read(file(path), "Posts.xml") == b"one"


@pytest.mark.parametrize("taken", [0, 1, 3 << 20])
def test_closing_early_ends_the_thread(tmp_path, taken):
    large = random.Random(1).randbytes(20 << 20)
    member = open_member(archive(tmp_path, {"Posts.xml": large}, "copy"))
    assert member.read(taken) == large[:taken]
    member.close()
    member.close()
    assert member.closed


def test_what_waits_to_be_read_is_bounded(tmp_path):
    made = archive(tmp_path, {"Posts.xml": bytes(random.Random(1).randbytes(1 << 20)) * 64}, "copy")
    tracemalloc.start()
    with open_member(made) as member:
        while member.read(1 << 20):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_cut_archive_is_broken_wherever_it_is_cut(tmp_path):
    made = archive(tmp_path, {"Posts.xml": POSTS})
    data = Path(made.path).read_bytes()
    for length in (0, 5, 31, 32, 1000, len(data) // 2, len(data) - 1):
        assert reason(rewritten(made, data[:length]))[0] == "damaged"


def test_what_comes_before_damage_can_be_read_and_then_it_is_broken(tmp_path):
    made = archive(tmp_path, {"Posts.xml": POSTS}, "copy")
    data = bytearray(Path(made.path).read_bytes())
    data[32 + len(POSTS) - 10] ^= 0xFF
    with open_member(rewritten(made, bytes(data))) as member:
        assert member.read(1 << 19) == POSTS[: 1 << 19]
        with pytest.raises(Broken, match="does not match its sum"):
            member.read()


def test_an_encrypted_archive_is_told_as_such(tmp_path):
    assert reason(encrypted(tmp_path))[0] == "encrypted"
    assert reason(encrypted(tmp_path, header_encryption=True))[0] == "encrypted"


def test_a_bomb_ends_at_the_bound(tmp_path):
    bomb = archive(tmp_path, {"Posts.xml": bytes(SLACK + (8 << 20))})
    assert bomb.size < SLACK / 1000
    assert reason(bomb) == ("bomb", "expands to more than 200 times its size")
    assert reason(bomb, None, Bounds(expanded=1 << 20)) == ("bomb", "expands to more than 1,048,576 bytes")


@pytest.mark.parametrize("method", REFUSED)
def test_methods_without_a_safe_decoder_are_refused(tmp_path, method):
    refused = archive(tmp_path, {"Posts.xml": POSTS}, method)
    assert reason(refused) == ("format", f"compressed by method {REFUSED[method][0]}, which is not read here")


def test_what_is_no_archive_is_broken(tmp_path):
    path = tmp_path / "a.7z"
    path.write_bytes(b"<posts>" * 100)
    assert reason(file(path))[0] == "damaged"


def test_a_folder_in_the_archive_is_no_member_and_its_path_only_a_name(tmp_path):
    made = archive(tmp_path, {"site/Posts.xml": POSTS})
    assert names(made) == ["site/Posts.xml"]
    assert read(made) == POSTS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.7z"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 10**9), value=st.integers(1, 255))
def test_any_flipped_byte_gives_the_member_or_broken(tmp_path, at, value):
    small = POSTS[:20_000]
    data = bytearray(Path(archive(tmp_path, {"a": b"a" * 100, "Posts.xml": small}, "lzma").path).read_bytes())
    data[at % len(data)] ^= value
    path = tmp_path / "b.7z"
    path.write_bytes(data)
    with suppress(Broken):
        assert read(file(path), "Posts.xml") == small
