"""Executors: one process, a Ray of one's own, a cluster that is joined; and what becomes of deaths and errors."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import support

from curate import runner
from curate.errors import BudgetError, CurateError, RecipeError
from curate.runner import Executor, Local, Ray
from curate.stage import Resources

WORKERS = 2


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Pinning is for good in a worker; in this process it is undone."""
    counts, environment = (pa.cpu_count(), pa.io_thread_count()), dict(os.environ)
    yield
    pa.set_cpu_count(counts[0])
    pa.set_io_thread_count(counts[1])
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module")
def own() -> Iterator[Ray]:
    """A Ray that is started here."""
    ray = Ray(WORKERS)
    yield ray
    ray.close()


@dataclass(frozen=True)
class Item:
    label: str
    number: int


def square(item: Item) -> int:
    return item.number**2


def items(count: int) -> list[Item]:
    return [Item(f"shard {n}", n) for n in range(count)]


def settings(_: Item) -> tuple[int, int, str | None, str | None]:
    return pa.cpu_count(), pa.io_thread_count(), os.environ.get("OMP_NUM_THREADS"), os.environ.get("TOKENIZERS_PARALLELISM")


@dataclass(frozen=True)
class Deadly:
    """Dies on one item, so often, and keeps count."""

    folder: str
    number: int
    times: int

    def __call__(self, item: Item) -> int:
        if item.number == self.number:
            deaths = sorted(Path(self.folder).glob("death-*"))
            if len(deaths) < self.times:
                (Path(self.folder) / f"death-{len(deaths)}").touch()
                os._exit(137)
        return item.number


@dataclass(frozen=True)
class Raises:
    error: Exception

    def __call__(self, item: Item) -> int:
        if item.number == 3:
            raise self.error
        return item.number


@dataclass
class Heavy:
    """Counts how often it is loaded: once in each process that needs it."""

    folder: str

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__.update(state)
        (Path(self.folder) / f"{os.getpid()}-{time.monotonic_ns()}").touch()

    def __call__(self, item: Item) -> int:
        time.sleep(0.05)
        return item.number


class Unable:
    """A worker on a machine that lacks something."""

    def __init__(self, _: list[str]):
        raise ModuleNotFoundError("No module named 'curate'")

    def run(self, *_: object) -> None:
        """Never called."""


def all_of(executor: Executor, count: int) -> list[int]:
    return sorted(executor.map(square, items(count), Resources()))


def test_results_are_those_of_one_process(own: Ray) -> None:
    wanted = [n * n for n in range(50)]
    assert list(Local().map(square, items(50), Resources())) == wanted
    for count in (50, 1, 0):
        assert all_of(own, count) == wanted[:count]


def test_nothing_to_do_starts_nothing() -> None:
    ray = Ray(address="nobody.invalid:1")
    assert list(ray.map(square, iter([]), Resources())) == []


def test_items_are_taken_as_they_are_needed(own: Ray) -> None:
    taken = 0

    def endless() -> Iterator[Item]:
        nonlocal taken
        while True:
            taken += 1
            yield Item("more", taken)

    results = own.map(square, endless(), Resources())
    for seen in range(1, 40):
        next(results)
        assert taken <= seen + WORKERS * runner.QUEUED
    results.close()
    assert all_of(own, 5) == [0, 1, 4, 9, 16]  # what was let go is in nobody's way
    local = Local().map(square, endless(), Resources())
    before = taken
    next(local)
    assert taken == before + 1


def test_every_worker_has_one_thread(own: Ray) -> None:
    wanted = {(1, 1, "1", "false")}
    assert set(own.map(settings, items(6), Resources())) == wanted
    assert set(Local().map(settings, items(1), Resources())) == wanted


def test_the_work_is_loaded_once_in_each_worker(own: Ray, tmp_path: Path) -> None:
    assert len(list(own.map(Heavy(str(tmp_path)), items(20), Resources()))) == 20
    loads = [p.name.split("-")[0] for p in tmp_path.iterdir()]
    assert len(loads) == len(set(loads)) == WORKERS


@pytest.mark.parametrize("where", ["local", "ray"])
@pytest.mark.parametrize(
    "error", [BudgetError("too many bad records"), RecipeError("a wrong word"), OSError(28, "No space left on device", "/full/disk")]
)
def test_what_goes_wrong_there_is_raised_here_as_it_was(own: Ray, where: str, error: Exception) -> None:
    executor: Executor = own if where == "ray" else Local()
    with pytest.raises(type(error)) as raised:
        list(executor.map(Raises(error), items(9), Resources()))
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)
    assert all_of(executor, 3) == [0, 1, 4]


def test_a_bug_there_is_shown_with_its_kind_and_place(own: Ray) -> None:
    with pytest.raises(RuntimeError, match=r"KeyError: 'gone'\n(.|\n)*test_runner\.py"):
        list(own.map(Raises(KeyError("gone")), items(9), Resources()))


def test_a_worker_that_dies_once_costs_nothing(own: Ray, tmp_path: Path) -> None:
    work = Deadly(str(tmp_path), 4, 1)
    assert sorted(own.map(work, items(12), Resources())) == list(range(12))
    assert len(list(tmp_path.iterdir())) == 1


def test_an_item_that_kills_every_worker_is_named_and_given_up(own: Ray, tmp_path: Path) -> None:
    work = Deadly(str(tmp_path), 4, 99)
    with pytest.raises(CurateError, match=r"the worker on shard 4 died 4 times, most likely out of memory") as raised:
        list(own.map(work, items(12), Resources()))
    assert raised.value.exit_code == 1
    assert "the same command goes on from here" in str(raised.value)
    assert len(list(tmp_path.iterdir())) == runner.DEATHS + 1
    assert all_of(own, 3) == [0, 1, 4]


def test_a_machine_that_cannot_hold_a_worker_says_why(own: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    own.close()
    with monkeypatch.context() as patched:
        patched.setattr(runner, "Worker", Unable)
        with pytest.raises(CurateError, match="a worker did not start: ModuleNotFoundError: No module named"):
            list(own.map(square, items(3), Resources()))
    assert all_of(own, 3) == [0, 1, 4]


def test_resources_that_nobody_has_are_a_message(own: Ray) -> None:
    with pytest.raises(CurateError, match="no machine of this Ray has 1 CPUs and 100 GPUs"):
        list(own.map(square, items(1), Resources(1, 100)))
    with pytest.raises(CurateError, match="no machine of this Ray has 1000 CPUs"):
        list(own.map(square, items(1), Resources(1000)))
    assert all_of(own, 2) == [0, 1]


def test_a_request_to_stop_is_still_ours_beside_ray(own: Ray) -> None:
    """Ray's own handler would end the process without a word."""
    own.start()
    assert all_of(own, 1) == [0]
    assert signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.default_int_handler)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nobody.invalid:6379"])
def test_a_cluster_that_does_not_answer_is_the_commands_mistake(own: Ray, address: str) -> None:
    own.close()
    began = time.monotonic()
    with pytest.raises(RecipeError, match=f"--ray {address}: no Ray cluster answers there"):
        list(Ray(address=address).map(square, items(1), Resources()))
    assert time.monotonic() - began < 60


def test_a_cluster_that_is_there_is_joined_and_left_running(own: Ray, recipe: str, undisturbed: Path, tmp_path: Path) -> None:
    own.close()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "include_dashboard": False, "object_store_memory": 100 << 20})
    try:
        for where in ("--ray", "beside"):  # without --ray it is not touched, though Ray would take it
            out = tmp_path / where
            join = [where, cluster.address] if where == "--ray" else []
            command = [sys.executable, "-m", "curate.cli", "run", recipe, "--out", str(out), "--workers", "2", *join]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            assert support.digests(out) == support.digests(undisturbed)
        host, port = cluster.address.rsplit(":", 1)
        socket.create_connection((host, int(port)), 5).close()
    finally:
        cluster.shutdown()
