"""The same recipe and inputs give the same bytes, however the work is cut, wherever it runs, and whatever dies on the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import support

from curate import store
from curate.runner import Ray


@pytest.mark.parametrize("rows", [1, 7, 100_000])
def test_batch_size_changes_nothing(recipe: str, undisturbed: Path, tmp_path: Path, rows: int) -> None:
    support.run(recipe, tmp_path / "out", f"engine.batch_rows={rows}")
    assert support.digests(tmp_path / "out") == support.digests(undisturbed)
    assert support.counts(tmp_path / "out") == support.counts(undisturbed)


@pytest.mark.parametrize("partitions", [2, 8])
def test_partitions_change_nothing(recipe: str, undisturbed: Path, tmp_path: Path, partitions: int) -> None:
    support.run(recipe, tmp_path / "out", f"engine.partitions={partitions}")
    assert support.digests(tmp_path / "out") == support.digests(undisturbed)
    assert support.counts(tmp_path / "out") == support.counts(undisturbed)


@pytest.mark.parametrize("workers", [1, 2])
def test_ray_changes_nothing(recipe: str, undisturbed: Path, tmp_path: Path, workers: int) -> None:
    ray = Ray(workers)
    try:
        support.run(recipe, tmp_path / "out", executor=ray)
    finally:
        ray.close()
    assert support.digests(tmp_path / "out") == support.digests(undisturbed)
    assert support.counts(tmp_path / "out") == support.counts(undisturbed)


def test_the_place_of_the_input_changes_nothing(corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "elsewhere" / "data")
    recipe = support.write_recipe(tmp_path, tmp_path / "elsewhere" / "data")
    support.run(recipe, tmp_path / "out")
    assert support.digests(tmp_path / "out") == support.digests(undisturbed)


class Crash(BaseException):
    """As sudden as a kill: no `except Exception` sees it."""


@contextmanager
def crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[list[int]]:
    """Die while file `number` is being committed: before its name appears if the number is even, else just after."""
    seen = [0]
    real = os.replace

    def replace(source: str, target: str) -> None:
        if seen[0] == number and number % 2 == 0:
            raise Crash
        real(source, target)
        seen[0] += 1
        if seen[0] == number + 1 and number % 2:
            raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        yield seen


def test_a_crash_between_any_two_files_changes_nothing(
    recipe: str, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crash_at(monkeypatch, -1) as seen:
        support.run(recipe, tmp_path / "count")
    files = seen[0]
    assert files > 40
    wanted, books = support.digests(undisturbed), support.counts(undisturbed)
    for number in range(0, files, max(1, files // 45)):
        out = tmp_path / str(number)
        with crash_at(monkeypatch, number), pytest.raises(Crash):
            support.run(recipe, out)
        support.run(recipe, out)
        assert support.digests(out) == wanted, number
        assert support.counts(out) == books, number
        shutil.rmtree(out)


def test_what_a_killed_worker_left_half_written_is_swept(recipe: str, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    folder = next((tmp_path / "out" / "passes" / "web").glob("1-*"))
    leftover = folder / f"{store.TEMPORARY}{store.HOST}-999999999-abc-00000.parquet"
    leftover.write_bytes(b"half a file")
    support.run(recipe, tmp_path / "out")
    assert not leftover.exists()
    assert support.digests(tmp_path / "out") == support.digests(undisturbed)


def test_a_finished_run_does_nothing_again(recipe: str, undisturbed: Path) -> None:
    passes = undisturbed / "passes"
    before = {p: p.stat().st_mtime_ns for p in passes.rglob("*") if p.is_file()}
    support.run(recipe, undisturbed)
    assert {p: p.stat().st_mtime_ns for p in passes.rglob("*") if p.is_file()} == before
