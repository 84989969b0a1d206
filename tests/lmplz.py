"""KenLM's own programs, lmplz and build_binary, for tests that hold ours against them: found, or built once from KenLM's source
distribution.

They are looked for on the PATH, in the folder that CURATE_LMPLZ names, and in a cache in the temporary folder; then they are built there.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

VERSION = "0.3.0"  # of the kenlm package


PROGRAMS = ("lmplz", "build_binary")


def path(program: str = "lmplz") -> str:
    """Where the program is; skips the test where it is nowhere and cannot be built."""
    found, missing = _found(program)
    if not found:
        pytest.skip(f"{program} is neither on the PATH nor can it be built here: {missing}")
    return found


@functools.cache
def _found(program: str) -> tuple[str, str]:
    """(path or "", what is missing)."""
    if found := shutil.which(program) or shutil.which(program, path=os.environ.get("CURATE_LMPLZ", os.devnull)):
        return found, ""
    cache = Path(tempfile.gettempdir()) / f"curate-kenlm-{VERSION}-{os.getuid()}"
    if _is_ours(cache, program):
        return str(cache / program), ""
    for tool in ("cmake", "c++", "make"):
        if not shutil.which(tool):
            return "", f"no {tool}"
    with tempfile.TemporaryDirectory(prefix="curate-kenlm-") as work:
        if missing := _build(Path(work)):
            return "", missing
        done = Path(work) / "done"
        done.mkdir()
        for name in PROGRAMS:
            shutil.copy(Path(work) / "build/bin" / name, done)
        try:
            done.rename(cache)
        except OSError:  # another process was first
            if not _is_ours(cache, program):
                return "", f"no place for it: {cache} is taken"
    return str(cache / program), ""


def _is_ours(cache: Path, program: str) -> bool:
    """Whether the program is there; one of somebody else's is not run."""
    return (cache / program).exists() and cache.stat().st_uid == os.getuid()


def _build(work: Path) -> str:
    """Build the programs in work/build/bin; what is missing, or an empty string."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "kenlm", f"kenlm=={VERSION}", "-d", str(work)]
    if not _runs(pip):
        return "KenLM's source, which pip could not download"
    with tarfile.open(work / f"kenlm-{VERSION}.tar.gz") as source:
        source.extractall(work, filter="data")
    configure = [
        "cmake",
        "-S",
        str(work / f"kenlm-{VERSION}"),
        "-B",
        str(work / "build"),
        "-DCMAKE_BUILD_TYPE=Release",
        "-DKENLM_MAX_ORDER=6",
    ]
    if not _runs(configure):
        return "a library that KenLM's build asks for (the headers of Boost, zlib)"
    if not _runs(["cmake", "--build", str(work / "build"), "--target", *PROGRAMS, "--parallel", "2"]):
        return "a compiler that builds KenLM"
    return ""


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=400, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
