"""kill -9 of a worker, of the driver, of the whole Ray, at random moments: the same command goes on, to the same bytes.

CURATE_KILLS says how many moments each is tried at; the suite tries a few, `CURATE_KILLS=20 pytest tests/run/test_kill.py` tries hard.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import support

KILLS = int(os.environ.get("CURATE_KILLS", "2"))
STARTUP, LENGTH = 4.0, 5.0  # seconds before the first shard, and of the run


def start(recipe: str, out: Path) -> subprocess.Popen[bytes]:
    """`curate run` in a session of its own, so that nothing of it outlives the test."""
    command = [sys.executable, "-m", "curate.cli", "run", recipe, "--out", str(out), "--workers", "2"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def victims(process: subprocess.Popen[bytes], whom: str) -> list[int]:
    """The processes that a kind of death takes."""
    family = descendants(process.pid)
    if whom == "driver":
        return [process.pid]
    if whom == "worker":
        return [p for p, line in family.items() if line.startswith("ray::Worker")][:1]
    return [p for p, line in family.items() if p != process.pid and ("ray" in line)]


def descendants(root: int) -> dict[int, str]:
    """{pid: command line} of a process and everything below it."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                lines[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
    family = {root}
    while more := {p for p, parent in parents.items() if parent in family} - family:
        family |= more
    return {p: lines[p] for p in family if p in lines}


def finish(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end; whatever is left of a killed run goes with it."""
    family = descendants(process.pid)
    try:
        _, error = process.communicate(timeout=120)
        assert b"Traceback" not in error, error.decode()
    finally:
        for pid in family.keys() - {process.pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    return process.returncode


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc, which this system has not")
@pytest.mark.parametrize("whom", ["worker", "driver", "ray"])
def test_a_kill_changes_nothing(recipe: str, undisturbed: Path, tmp_path: Path, whom: str) -> None:
    wanted, books = support.digests(undisturbed), support.counts(undisturbed)
    moments = random.Random(whom)
    for number in range(KILLS):
        out = tmp_path / str(number)
        process = start(recipe, out)
        time.sleep(STARTUP + moments.random() * LENGTH)
        for pid in victims(process, whom):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        code = finish(process)
        if whom == "worker":
            assert code == 0  # Ray restarts it
        elif code != 0:
            again = start(recipe, out)
            assert finish(again) == 0
        assert support.digests(out) == wanted, number
        assert support.counts(out) == books, number
        shutil.rmtree(out)
