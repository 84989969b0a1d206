"""One address to one file: whatever the server does, the file is there whole, or is not there and the message says why."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hostile import Quick, Server, recorded, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.fetch import web as webs
from curate.fetch.download import Download
from curate.fetch.wanted import Wanted
from curate.fetch.web import Refused, Stopped

DATA = bytes(range(256)) * 64
ZIPPED = b"".join(gzip.compress(DATA[n : n + 1000], mtime=0) for n in range(0, len(DATA), 1000))  # of many members, as WET is


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        started.files |= {"/x.bin": DATA, "/x.gz": ZIPPED, "/x.txt": DATA}
        yield started


def sha1(data: bytes) -> str:
    return "sha1:" + hashlib.sha1(data).hexdigest()


def wanted(server: Server, kind: str) -> Wanted:
    """A file with a published checksum, one that is gzip, and one of which nothing is known."""
    if kind == "bin":
        return Wanted(f"{server.base}/x.bin", "a/x.bin", len(DATA), sha1(DATA))
    return Wanted(f"{server.base}/x.{kind}", f"a/x.{kind}")


def download(server: Server, folder: Path, kind: str = "bin", web: Quick | None = None) -> dict[str, object]:
    return Download(web or Quick(), wanted(server, kind), folder, lambda _: None).run()


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(("kind", "checked"), [("bin", "published checksum"), ("gz", "gzip's CRC-32"), ("txt", "length")])
def test_a_file_comes_whole_and_its_entry_tells_how_it_was_checked(server: Server, tmp_path: Path, kind: str, checked: str) -> None:
    entry = download(server, tmp_path, kind)
    data = server.files[f"/x.{kind}"]
    assert (tmp_path / f"a/x.{kind}").read_bytes() == data
    assert left(tmp_path) == [f"x.{kind}"]
    assert (entry["bytes"], entry["checked"], entry["modified"]) == (len(data), checked, "2022-07-20T10:00:00+00:00")
    assert entry["checksum"] == (sha1(data) if kind == "bin" else "sha256:" + hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("kind", ["bin", "gz", "txt"])
def test_a_dropped_connection_is_gone_on_with_where_it_broke(server: Server, tmp_path: Path, kind: str) -> None:
    path, data = f"/x.{kind}", server.files[f"/x.{kind}"]
    server.faults[path] = ["drop:100", "drop:50"]
    download(server, tmp_path, kind)
    assert (tmp_path / f"a/x.{kind}").read_bytes() == data
    assert [r.get("Range") for r in server.requests(path)] == [None, "bytes=100-", "bytes=150-"]
    assert all(r["If-Range"].startswith('"') for r in server.requests(path)[1:])


@pytest.mark.parametrize("kind", ["bin", "gz", "txt"])
def test_a_later_command_goes_on_where_the_first_gave_up(server: Server, tmp_path: Path, kind: str) -> None:
    path = f"/x.{kind}"
    server.faults[path] = ["drop:100", "503", "503"]
    with pytest.raises(Refused, match=r"HTTP 503, 3 times in a row\. The same command goes on"):
        download(server, tmp_path, kind, Quick(tries=3))
    assert left(tmp_path) == [f".x.{kind}.part", f".x.{kind}.part.json"]
    download(server, tmp_path, kind)
    assert server.requests(path)[-1]["Range"] == "bytes=100-"
    assert (tmp_path / f"a/x.{kind}").read_bytes() == server.files[path]


@pytest.mark.parametrize("fault", ["ignore_range", "changed", "wrong_part", "416", "etag_only", "encoded"])
def test_what_is_no_rest_of_the_same_version_is_not_joined_to_it(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults["/x.txt"] = ["drop:100", fault]
    if fault == "encoded":
        with pytest.raises(Refused, match="sends it as br"):
            download(server, tmp_path, "txt")
        return
    download(server, tmp_path, "txt")
    assert (tmp_path / "a/x.txt").read_bytes() == DATA


def test_a_version_with_other_bytes_begins_again(server: Server, tmp_path: Path) -> None:
    server.faults["/x.txt"] = ["drop:100", "503"]
    with pytest.raises(Refused):
        download(server, tmp_path, "txt", Quick(tries=2))
    server.files["/x.txt"] = other = DATA[::-1]
    download(server, tmp_path, "txt")
    assert (tmp_path / "a/x.txt").read_bytes() == other


@pytest.mark.parametrize("other", [DATA[::-1], DATA[:50], DATA[1:101]], ids=["other", "shorter", "of the part's length"])
def test_a_server_that_ignores_if_range_is_found_out(server: Server, tmp_path: Path, other: bytes) -> None:
    server.faults["/x.txt"] = ["drop:100", "503"]
    with pytest.raises(Refused):
        download(server, tmp_path, "txt", Quick(tries=2))
    server.files["/x.txt"] = other
    server.faults["/x.txt"] = ["etag_only"]
    download(server, tmp_path, "txt")
    assert (tmp_path / "a/x.txt").read_bytes() == other


def test_a_part_of_unknown_length_that_is_longer_than_the_file_begins_again(server: Server, tmp_path: Path) -> None:
    server.faults["/x.txt"] = ["chunked_drop", "503"]
    with pytest.raises(Refused):
        download(server, tmp_path, "txt", Quick(tries=2))
    server.files["/x.txt"] = other = DATA[:50]
    server.faults["/x.txt"] = ["etag_only"]
    download(server, tmp_path, "txt")
    assert (tmp_path / "a/x.txt").read_bytes() == other


def test_a_part_without_anything_to_tell_its_version_is_not_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.x.txt.part").write_bytes(b"of something else")
    download(server, tmp_path, "txt")
    assert (tmp_path / "a/x.txt").read_bytes() == DATA
    assert "Range" not in server.requests("/x.txt")[0]


@pytest.mark.parametrize("kind", ["bin", "gz"])
def test_a_whole_file_that_no_manifest_knows_is_checked_and_not_sent_again(server: Server, tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / f"a/x.{kind}").write_bytes(server.files[f"/x.{kind}"])
    download(server, tmp_path, kind)
    assert left(tmp_path) == [f"x.{kind}"]
    assert server.sent[f"/x.{kind}"] == 0


@pytest.mark.parametrize(
    ("kind", "fault"), [("bin", "corrupt"), ("gz", "corrupt"), ("bin", "shorter"), ("gz", "shorter"), ("gz", "chunked_drop")]
)
def test_damage_is_found_and_mended(server: Server, tmp_path: Path, kind: str, fault: str) -> None:
    server.faults[f"/x.{kind}"] = [fault]
    download(server, tmp_path, kind)
    assert (tmp_path / f"a/x.{kind}").read_bytes() == server.files[f"/x.{kind}"]


def test_a_server_may_name_the_encoding_of_the_file_but_not_encode_it(server: Server, tmp_path: Path) -> None:
    server.headers["/x.gz"]["Content-Encoding"] = "gzip"
    download(server, tmp_path, "gz")
    assert (tmp_path / "a/x.gz").read_bytes() == ZIPPED
    (tmp_path / "a/x.gz").unlink()
    server.files["/x.gz"] = gzip.compress(ZIPPED)
    with pytest.raises(Refused, match=r"x\.gz: comes gzipped twice"):
        download(server, tmp_path, "gz")
    server.headers["/x.gz"]["Content-Encoding"] = "br"
    with pytest.raises(Refused, match="sends it as br, which was not asked for"):
        download(server, tmp_path, "gz")
    assert left(tmp_path) == []
    assert {headers["Accept-Encoding"] for headers in server.requests("/x.gz")} == {"identity"}


def test_a_file_whose_checksum_stays_wrong_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.faults["/x.bin"] = ["corrupt"] * 9
    with pytest.raises(Refused, match=r"x\.bin: its sha1 is \w{40}, and the publisher's \w{40}, 2 times: the server's file is bad"):
        download(server, tmp_path)
    assert left(tmp_path) == []


def test_a_wrong_length_fails_by_name(server: Server, tmp_path: Path) -> None:
    server.files["/x.bin"] = DATA + b"more"
    web = Quick()
    with pytest.raises(Refused, match=r"has 16,388 bytes on the server, and 16,384 in the listing, 6 times"):
        download(server, tmp_path, web=web)
    assert web.waits == [1, 2, 4, 8, 16]


def test_a_length_that_promises_too_much_ends_at_what_there_is(server: Server, tmp_path: Path) -> None:
    server.faults["/x.txt"] = ["longer"]
    download(server, tmp_path, "txt")
    assert (tmp_path / "a/x.txt").read_bytes() == DATA


def test_a_body_of_unknown_length_is_taken_where_something_tells_that_it_is_whole(server: Server, tmp_path: Path) -> None:
    server.faults["/x.txt"] = ["chunked", "no_length"]
    server.faults["/x.gz"] = ["no_length"]
    download(server, tmp_path, "txt")
    download(server, tmp_path, "gz")
    assert (tmp_path / "a/x.txt").read_bytes() == DATA
    (tmp_path / "a/x.txt").unlink()
    with pytest.raises(Refused, match="does not say how long it is"):
        download(server, tmp_path, "txt")


def test_a_body_is_bounded_where_nobody_says_its_length(server: Server, tmp_path: Path) -> None:
    server.faults["/x.txt"] = ["chunked"] * 9
    small = replace(wanted(server, "txt"), most=1000)
    for says in ("x.txt: more than the 1,000 bytes that such a file may have", "x.txt: 16,384 bytes, more than the 1,000"):
        with pytest.raises(Refused, match=says):
            Download(Quick(), small, tmp_path, lambda _: None).run()
        server.faults["/x.txt"] = []


@pytest.mark.parametrize(
    ("code", "says"), [(403, "it refuses"), (404, "no such file"), (410, "kept no longer"), (401, "credentials"), (400, "will not")]
)
def test_what_will_not_pass_is_asked_for_once(server: Server, tmp_path: Path, code: int, says: str) -> None:
    server.faults["/x.bin"] = [str(code)]
    with pytest.raises(Refused, match=f"x.bin: HTTP {code}: .*{says}"):
        download(server, tmp_path)
    assert len(server.asked) == 1


def test_a_server_that_says_when_to_come_back_is_obeyed(server: Server, tmp_path: Path) -> None:
    server.faults["/x.bin"] = ["503:7", "429:0", "503", "408", "500:Wed, 01 Jan 2020 00:00:00 GMT", "drop:9"]
    web = Quick(tries=9)
    download(server, tmp_path, web=web)
    assert web.waits == [7, 0, 4, 8, 0, 32]
    (tmp_path / "a/x.bin").unlink()
    server.faults["/x.bin"] = ["503:3600"]
    with pytest.raises(Refused, match="asks to come back in 60 minutes"):
        download(server, tmp_path)


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_stalled_server_is_left_and_asked_again(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults["/x.bin"] = [fault]
    download(server, tmp_path)
    assert (tmp_path / "a/x.bin").read_bytes() == DATA
    assert len(server.asked) == 2


def test_new_bytes_give_a_broken_connection_new_tries(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webs, "FURTHER", 1000)
    server.faults["/x.bin"] = ["drop:1000"] * 12
    web = Quick(tries=2)
    download(server, tmp_path, web=web)
    assert web.waits == [1] * 12


def test_beginning_again_and_again_is_no_progress(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webs, "FURTHER", 1000)
    server.headers["/x.txt"]["Accept-Ranges"] = "none"
    server.faults["/x.txt"] = ["drop:3000"] + ["wrong_part", "drop:3000"] * 9
    with pytest.raises(Refused, match="3 times in a row"):
        download(server, tmp_path, "txt", Quick(tries=3))


def test_redirects_are_followed_but_not_in_a_circle_nor_to_files(server: Server, tmp_path: Path) -> None:
    server.faults["/old"] = ["redirect:/x.bin"]
    moved = replace(wanted(server, "bin"), url=f"{server.base}/old")
    Download(Quick(), moved, tmp_path, lambda _: None).run()
    assert (tmp_path / "a/x.bin").read_bytes() == DATA
    (tmp_path / "a/x.bin").unlink()
    server.faults["/old"] = ["redirect:/old"] * 30
    assert "redirects in a circle" in recorded(lambda: Download(Quick(), moved, tmp_path, lambda _: None).run())
    assert len(server.requests("/old")) < 12
    for target in ("file:///etc/hostname", "ftp://127.0.0.1/x", "FILE:/etc/hostname", "data:,x"):
        server.faults["/old"] = [f"redirect:{target}"]
        said = recorded(lambda: Download(Quick(), moved, tmp_path, lambda _: None).run())
        assert f"/old: redirects to {target.replace('FILE:/', 'file:///')}, which is not followed" in said
    assert left(tmp_path) == []


def test_credentials_do_not_follow_to_another_host(server: Server) -> None:
    with serving() as other:
        other.files["/x"] = b"x"
        server.faults["/x"] = [f"redirect:{other.base}/x"]
        web = Quick(sign=lambda _: {"Authorization": "secret", "x-amz-security-token": "secret"})
        assert web.read(f"{server.base}/x", 10)[0] == b"x"
        assert "secret" in str(server.asked)
        assert "secret" not in str(other.asked)


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with serving() as gone:
        pass
    gone.files["/x.bin"] = DATA
    with pytest.raises(Refused, match=r"cannot be reached \(.*refused.*\), 2 times in a row"):
        download(gone, tmp_path, web=Quick(tries=2))


def test_an_interrupted_download_leaves_what_came(server: Server, tmp_path: Path) -> None:
    server.faults["/x.bin"] = ["drip"]
    web = Quick(stall=5)
    thread = threading.Timer(0.3, web.stop.set)
    thread.start()
    with pytest.raises(Stopped):
        download(server, tmp_path, web=web)
    part = (tmp_path / "a/.x.bin.part").read_bytes()
    assert 0 < len(part) < len(DATA)
    assert DATA.startswith(part)
    download(server, tmp_path)
    assert server.requests("/x.bin")[-1]["Range"] == f"bytes={len(part)}-"


def test_a_listing_is_bounded_and_tried_again(server: Server) -> None:
    server.faults["/x.txt"] = ["drop:5", "503", "chunked_drop"]
    assert Quick().read(f"{server.base}/x.txt", len(DATA))[0] == DATA
    with pytest.raises(Refused, match="longer than the 100 bytes"):
        Quick().read(f"{server.base}/x.txt", 100)


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../x", "a//x", ".hidden", "a/.x", "a\\x", "x\0", "x\n", "", "a/" + "x" * 201, "-x"])
def test_no_name_leads_out_of_the_folder(path: str) -> None:
    with pytest.raises(Refused, match="that no file may have here"):
        Wanted("http://h/x", path)


def test_what_is_left_by_an_unreadable_mark_is_no_obstacle(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for broken in (
        b"",
        b"[]",
        b'{"url": 3}',
        b"\xff",
        b"[" * 100_000,
        json.dumps({"url": f"{server.base}/x.txt", "etag": 'W/"x"'}).encode(),
    ):
        (tmp_path / "a/.x.txt.part").write_bytes(b"abc")
        (tmp_path / "a/.x.txt.part.json").write_bytes(broken)
        download(server, tmp_path, "txt")
        assert (tmp_path / "a/x.txt").read_bytes() == DATA
        (tmp_path / "a/x.txt").unlink()


DROPS = ["drop:0", "drop:1", "drop:700", "drop:5000", "chunked_drop", "longer", "shorter", "corrupt"]
STATUSES = ["403", "404", "416", "429:1", "500", "503:2", "503", "redirect:/x.bin"]
VERSIONS = ["ignore_range", "changed", "etag_only", "wrong_part", "chunked", "no_length", "encoded"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["", *DROPS, *STATUSES, *VERSIONS]), max_size=12), st.sampled_from(["bin", "gz"]), st.integers(0, 3))
def test_any_schedule_of_faults_ends_with_the_same_bytes_or_a_named_failure(
    server: Server, faults: list[str], kind: str, runs: int
) -> None:
    path = f"/x.{kind}"
    with TemporaryDirectory() as name:
        folder = Path(name)
        server.faults[path] = [f.replace("x.bin", f"x.{kind}") for f in faults]
        for _ in range(runs):
            message = recorded(lambda: download(server, folder, kind, Quick(tries=3)))
            file = folder / f"a/x.{kind}"
            assert file.exists() == (message == "")
            if message:
                assert message.startswith(f"{server.base}/x.{kind}: ")
            else:
                assert file.read_bytes() == server.files[path]
        server.faults[path] = []
        download(server, folder, kind)  # and in the end it comes, whatever was left
        assert (folder / f"a/x.{kind}").read_bytes() == server.files[path]
        assert left(folder) == [f"x.{kind}"]
