"""`curate fetch` as a user sees it: exit codes, one message, what is there afterwards."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hostile import Quick, Server, serving
from typer.testing import CliRunner

from curate.cli import app
from curate.errors import CurateError, RecipeError
from curate.fetch import job
from curate.fetch.wanted import Wanted
from curate.fetch.web import Refused

CRAWL = "CC-MAIN-2024-22"
NAMES = [f"CC-MAIN-20240517233122-{n:05}.warc.wet.gz" for n in range(6)]


@pytest.fixture
def server() -> Iterator[Server]:
    """A crawl of six files of 100,000 bytes or so."""
    with serving() as started:
        paths = [f"/crawl-data/{CRAWL}/segments/1.{n}/wet/{name}" for n, name in enumerate(NAMES)]
        for n, path in enumerate(paths):
            started.files[path] = gzip.compress(bytes([n]) * 100_000, 0, mtime=0)
        started.files[f"/crawl-data/{CRAWL}/wet.paths.gz"] = gzip.compress("\n".join(p[1:] for p in paths).encode())
        yield started


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "curate.cli", "fetch", *map(str, words)]


def curate(*words: object, **environment: str) -> Any:
    """The command in this process: what `main` would say, and its exit code."""
    hidden: dict[str, str | None] = {k: None for k in os.environ if k.startswith(("AWS_", "CURATE_FROM"))}
    env = hidden | {"COLUMNS": "200", "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nowhere"} | environment
    done = CliRunner().invoke(app, ["fetch", *map(str, words)], env=env)
    if isinstance(done.exception, CurateError):
        return SimpleNamespace(returncode=done.exception.exit_code, stdout=done.stdout, stderr=f"{done.stderr}curate: {done.exception}")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)


def wet(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob(f"commoncrawl/{CRAWL}/wet/[!.]*"))


def crawl(server: Server, folder: Path, *more: object) -> Any:
    return curate("commoncrawl", CRAWL, "--segments", 6, folder, "--from", server.base, *more)


def test_a_crawl_is_fetched_and_the_same_command_fetches_nothing_again(server: Server, tmp_path: Path) -> None:
    done = crawl(server, tmp_path)
    assert (done.returncode, wet(tmp_path)) == (0, NAMES), done.stderr
    assert "commoncrawl: 6 files to fetch" in done.stderr
    assert "commoncrawl: 6 of 6 files, 600.2 kB, " in done.stderr
    assert done.stdout == f"{tmp_path}/commoncrawl: 6 files, 600.2 kB\n"
    manifest = json.loads((tmp_path / "fetched/commoncrawl.json").read_text())["files"]
    assert list(manifest) == [f"commoncrawl/{CRAWL}/wet/{n}" for n in NAMES]
    entry = manifest[f"commoncrawl/{CRAWL}/wet/{NAMES[0]}"]
    assert entry["url"].startswith(f"{server.base}/crawl-data/")
    assert (entry["checked"], entry["modified"]) == ("gzip's CRC-32", "2022-07-20T10:00:00+00:00")
    before = len(server.asked)
    again = crawl(server, tmp_path)
    assert again.stdout == f"{tmp_path}/commoncrawl: 6 files, 600.2 kB, 6 of them before\n"
    assert len(server.asked) == before + 1  # the list of paths
    (tmp_path / f"commoncrawl/{CRAWL}/wet/{NAMES[3]}").write_bytes(b"cut")
    (tmp_path / f"commoncrawl/{CRAWL}/wet/{NAMES[4]}").unlink()
    assert "4 of them before" in crawl(server, tmp_path).stdout
    assert wet(tmp_path) == NAMES
    assert (tmp_path / f"commoncrawl/{CRAWL}/wet/{NAMES[3]}").read_bytes() in server.files.values()


def test_a_program_that_calls_it_gets_an_exit_code_and_one_message(server: Server, tmp_path: Path) -> None:
    server.faults[next(p for p in server.files if NAMES[2] in p)] = ["404"]
    words = command("commoncrawl", CRAWL, "--segments", 6, tmp_path, "--from", server.base)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "curate: 1 of 6 files could not be fetched; " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_one_file_that_cannot_be_had_costs_that_file(server: Server, tmp_path: Path) -> None:
    bad = next(p for p in server.files if NAMES[2] in p)
    server.faults[bad] = ["404"]
    done = crawl(server, tmp_path)
    assert done.returncode == 1
    assert wet(tmp_path) == [n for n in NAMES if n != NAMES[2]]
    assert "curate: 1 of 6 files could not be fetched; " in done.stderr
    assert "HTTP 404: there is no such file here" in done.stderr
    assert "Traceback" not in done.stderr
    assert crawl(server, tmp_path).returncode == 0
    assert wet(tmp_path) == NAMES


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_goes_on_where_it_was(server: Server, tmp_path: Path, stop: signal.Signals) -> None:
    slow = next(p for p in server.files if NAMES[5] in p)
    server.faults[slow] = ["drip"]
    running = subprocess.Popen(
        command("commoncrawl", CRAWL, "--segments", 6, tmp_path, "--from", server.base), stderr=subprocess.PIPE, text=True
    )
    part = tmp_path / f"commoncrawl/{CRAWL}/wet/.{NAMES[5]}.part"
    until = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size and len(wet(tmp_path)) == 5) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.1)
    running.send_signal(stop)
    said = running.communicate(timeout=30)[1]
    assert running.returncode == 130, said
    assert "curate: interrupted; the same command goes on from here" in said
    assert "Traceback" not in said
    came = part.stat().st_size
    assert 0 < came < len(server.files[slow])
    done = crawl(server, tmp_path)
    assert "5 of them before" in done.stdout, done.stderr
    assert server.requests(slow)[-1]["Range"] == f"bytes={came}-"
    assert wet(tmp_path) == NAMES


def test_a_killed_command_loses_no_whole_file(server: Server, tmp_path: Path) -> None:
    slow = next(p for p in server.files if NAMES[5] in p)
    server.faults[slow] = ["hang"]
    running = subprocess.Popen(command("commoncrawl", CRAWL, "--segments", 6, tmp_path, "--from", server.base), stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not all((tmp_path / f"commoncrawl/{CRAWL}/wet/{n}").exists() for n in NAMES[:5]) and time.monotonic() < until:
        time.sleep(0.02)
    running.kill()
    running.wait()
    server.sent.clear()
    assert crawl(server, tmp_path).returncode == 0
    assert wet(tmp_path) == NAMES
    assert sum(server.sent[p] for p in server.files if "warc.wet" in p) <= len(server.files[slow])  # a part, checked, is not sent again


def test_the_address_may_stand_in_the_environment(server: Server, tmp_path: Path) -> None:
    done = curate("commoncrawl", CRAWL, "--segments", 1, tmp_path, CURATE_FROM_COMMONCRAWL=server.base)
    assert (done.returncode, wet(tmp_path)) == (0, NAMES[:1]), done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["commoncrawl", "2024-22", "--segments", "1", "DIR"], "did you mean CC-MAIN-2024-22?"),
        (["commoncrawl", CRAWL, "--segments", "1", "--kind", "wett", "DIR"], "--kind wett: expected wet or warc; did you mean wet?"),
        (["commoncrawl", CRAWL, "--segments", "0", "DIR"], "--segments"),
        (["commoncrawl", CRAWL, "DIR"], "--segments"),
        (["commoncrawl", CRAWL, "--segments", "1", "--from", "ftp://x", "DIR"], "--from ftp://x: expected an address"),
        (["commoncrawl", CRAWL, "--segments", "1", "s3://bucket/x"], "expected a folder on this machine"),
        (["comoncrawl", "DIR"], "Did you mean 'commoncrawl'?"),
        (["github", "DIR"], "BigQuery"),
        (["wikipedia", "DIR"], "--language"),
        (["wikipedia", "--language", "english", "DIR"], "expected the code of a Wikipedia"),
        (["stackexchange", "DIR"], "expected either sites or --top N, and DIR last"),
        (["stackexchange", "beer", "--top", "3", "DIR"], "expected either sites or --top N"),
        (["gutenberg", "DIR"], "expected either --books 11,1342 or --languages en"),
        (["gutenberg", "--books", "11", "--most", "3", "DIR"], "expected either --books"),
        (["gutenberg", "--books", "alice", "DIR"], "expected the numbers of books"),
        (["c4", "--config", "english", "DIR"], "--config english: there are en"),
        (["arxiv", "--months", "2013-01", "DIR"], "expected `all`, or months"),
        (["arxiv", "--months", "2301", "DIR"], "Set AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_begun(tmp_path: Path, words: list[str], says: str) -> None:
    done = curate(*(str(tmp_path / "data") if w == "DIR" else w for w in words))
    assert done.returncode == 2, done.stderr
    assert says in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = crawl(server, tmp_path / "file/below")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def some(server: Server, count: int, size: int | None = 3) -> list[Wanted]:
    for n in range(count):
        server.files[f"/{n}"] = b"abc"
    return [Wanted(f"{server.base}/{n}", f"s/{n}.bin", size) for n in range(count)]


def fetch(wanted: Sequence[Wanted], folder: Path, parallel: int = 2) -> str:
    return job.fetch("s", wanted, folder, Quick(), parallel)


def test_a_full_disk_is_seen_before_anything_starts(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = some(server, 3)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=8))
    with pytest.raises(CurateError, match=r"9 B are to be fetched, and 8 B are free\. Make room"):
        fetch(wanted, tmp_path)
    assert server.asked == []
    unknown = some(server, 1, None)
    server.files["/0"] = b"0123456789"
    with pytest.raises(CurateError, match="needs 10 bytes, and 8 are free"):
        fetch(unknown, tmp_path)
    assert not list((tmp_path / "s").glob("*"))


def test_two_commands_do_not_write_into_the_same_files(server: Server, tmp_path: Path) -> None:
    with job.alone(tmp_path, "s"), pytest.raises(CurateError, match="another `curate fetch s` is at work here"):
        fetch(some(server, 1), tmp_path)
    assert fetch(some(server, 1), tmp_path)


def test_a_file_that_the_publisher_has_replaced_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (old,) = some(server, 1)
    fetch([old], tmp_path)
    server.files["/0"] = b"newer"
    fetch([Wanted(old.url, old.path, 5)], tmp_path)
    assert (tmp_path / old.path).read_bytes() == b"newer"
    server.files["/0"] = b"newst"
    fetch([Wanted(old.url, old.path, 5, "sha256:" + hashlib.sha256(b"newst").hexdigest())], tmp_path)
    assert (tmp_path / old.path).read_bytes() == b"newst"


def test_a_manifest_that_is_none_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "fetched").mkdir()
    for broken in ("", "[]", '{"files": {"s/0.bin": {}}}', '{"files": 3}'):
        (tmp_path / "fetched/s.json").write_text(broken)
        with pytest.raises(RecipeError, match=r"s\.json: is no manifest of `curate fetch`\. Remove it"):
            fetch(some(server, 1), tmp_path)


def test_a_listing_that_names_a_file_twice_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="names a file twice"):
        fetch(some(server, 1) * 2, tmp_path)


def test_what_failed_is_told_in_brief(server: Server, tmp_path: Path) -> None:
    wanted = some(server, 15)
    for n in range(12):
        server.faults[f"/{n}"] = ["404"]
    with pytest.raises(CurateError, match=r"12 of 15 files could not be fetched; .*/s: 3 files, 9 B") as raised:
        fetch(wanted, tmp_path, parallel=4)
    assert str(raised.value).count("HTTP 404") == 10
    assert str(raised.value).endswith("... and 2 more")


def test_an_error_of_the_disk_ends_the_command(server: Server, tmp_path: Path) -> None:
    wanted = some(server, 3)
    (tmp_path / "s/1.bin").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        fetch(wanted, tmp_path)
