"""Executors: the one place that knows where work runs. Results are small; everything else is in files.

An executor maps a callable over items, in any order. `Ray` keeps a pool of actors for the whole run; each holds the callable it was
last sent, and with it the models that its stages have loaded.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Protocol, TypeVar

from curate.errors import CurateError, RecipeError
from curate.stage import Resources

T = TypeVar("T")
R = TypeVar("R")

DEATHS = 3  # of a worker on one and the same item, before the item is given up
CONNECT_SECONDS = 10.0
INLINE_BYTES = 64 << 10
QUEUED = 2  # items a worker holds: one that runs, one that waits, so that it never idles on the driver
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class Executor(Protocol):
    """Applies a callable to items somewhere."""

    def map(self, work: Callable[[T], R], items: Iterable[T], resources: Resources) -> Iterator[R]:
        """Results as they come. An error of the work is raised here, as it was raised there."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


def pin_threads() -> None:
    """One thread per worker: the worker is the unit of parallelism."""
    import pyarrow as pa

    os.environ.update({k: v for k, v in ENVIRONMENT.items() if not k.startswith("RAY")})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


class Local:
    """In this process, one item after another."""

    def map(self, work: Callable[[T], R], items: Iterable[T], resources: Resources) -> Iterator[R]:  # noqa: ARG002
        """Results in the order of the items."""
        pin_threads()
        return map(work, items)

    def close(self) -> None:
        """Nothing is held."""


class Worker:
    """The actor. An error is a result: it is raised in the driver."""

    def __init__(self, path: list[str]):
        sys.path.extend(p for p in path if p not in sys.path)
        pin_threads()
        self._key, self._work = -1, None

    def run(self, key: int, work: bytes, item: Any) -> tuple[bool, Any]:
        """(True, result) or (False, error). The callable is unpickled once per key, so its models stay loaded."""
        try:
            if key != self._key:
                self._key, self._work = key, pickle.loads(work)
            assert self._work is not None
            return True, self._work(item)
        except (CurateError, OSError) as error:
            return False, error
        except Exception as error:
            import traceback

            return False, RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")


def _answers(address: str) -> None:
    """Raise OSError where nothing listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


class Ray:
    """A pool of Ray actors, on this machine or on a cluster at `address`. Dead workers are restarted, and their item run again."""

    def __init__(self, workers: int | None = None, address: str | None = None):
        self.workers, self.address = workers, address
        self._pools: dict[Resources, list[Any]] = {}
        self._key = 0
        self._mine = False

    def start(self) -> None:
        """Start or join Ray; takes seconds, so it can be called while something else is being prepared."""
        os.environ.update(ENVIRONMENT)
        import ray

        if ray.is_initialized():
            return
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        before = signal.getsignal(signal.SIGTERM)
        self._mine = True
        try:
            if self.address:
                _answers(self.address)
                ray.init(address=self.address, **quiet)
            else:
                os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "5")  # a Ray of our own does not come back
                own = {"num_cpus": self.workers or os.cpu_count(), "include_dashboard": False, "object_store_memory": 100 << 20}
                ray.init(address="local", **own, **quiet)  # never a cluster that happens to run here
        except SystemExit:
            raise KeyboardInterrupt from None  # SIGTERM, to Ray's own handler
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).split("\n")[0].rstrip(".")
            if self.address:
                raise RecipeError(
                    f"--ray {self.address}: no Ray cluster answers there: {reason}. `ray status` shows one; --local needs none"
                ) from None
            raise CurateError(f"Ray on this machine did not start: {reason}. --local runs in this process, without Ray") from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray's own handler ends the process where it stands

    def map(self, work: Callable[[T], R], items: Iterable[T], resources: Resources) -> Iterator[R]:
        """Results as they come; nothing larger than a result ever comes back to the driver."""
        import ray

        queue = iter(items)
        first = next(queue, None)
        if first is None:
            return
        self.start()
        self._key += 1
        packed: Any = pickle.dumps(work)  # sent inline with each item: small, and outlives any node
        running: dict[Any, tuple[Any, T]] = {}
        waiting = chain([first], queue)
        try:
            if len(packed) > INLINE_BYTES:  # the paths of very many shards
                packed = ray.put(packed)
            for worker in self._pool(resources) * QUEUED:
                self._send(worker, packed, waiting, running)
            while running:
                (ready,), _ = ray.wait(list(running), num_returns=1)
                worker, item = running.pop(ready)
                try:
                    fine, result = ray.get(ready)
                except ray.exceptions.RayActorError as error:
                    if "creation task" in str(error):
                        reason = str(error).strip().splitlines()[-1]
                        raise CurateError(f"a worker did not start: {reason}. Every machine of a cluster needs this curate") from None
                    where = str(getattr(item, "label", item))[:200]
                    raise CurateError(
                        f"the worker on {where} died {DEATHS + 1} times, most likely out of memory. "
                        "Nothing that is done is lost: the same command goes on from here; fewer --workers leave each more memory"
                    ) from None
                if not fine:
                    raise result
                self._send(worker, packed, waiting, running)
                yield result
        except ray.exceptions.RayError as error:
            reason = str(error).split("\n")[0].rstrip(".")
            raise CurateError(f"Ray went away: {reason}. Nothing that is done is lost: the same command goes on from here") from None
        finally:
            if running:  # what waits there is not to be done any more
                running.clear()
                worker = None
                self._drop()

    def _send(self, worker: Any, packed: Any, waiting: Iterator[T], running: dict[Any, tuple[Any, T]]) -> None:
        item = next(waiting, None)
        if item is not None:
            running[worker.run.remote(self._key, packed, item)] = (worker, item)

    def _pool(self, resources: Resources) -> list[Any]:
        """The actors for these resources, made at first use."""
        import ray

        if resources not in self._pools:
            have = ray.cluster_resources()
            most = int(have.get("CPU", 1) // max(resources.cpus, 0.01))
            if resources.gpus:
                most = min(most, int(have.get("GPU", 0) // resources.gpus))
            if most < 1:
                raise CurateError(f"no machine of this Ray has {resources.cpus:g} CPUs and {resources.gpus:g} GPUs free for one worker")
            actor = ray.remote(Worker).options(num_cpus=resources.cpus, num_gpus=resources.gpus, max_restarts=-1, max_task_retries=DEATHS)
            self._drop()  # actors of other resources are let go: their CPUs are needed
            self._pools[resources] = [actor.remote([p for p in sys.path if p]) for _ in range(min(most, self.workers or most))]
        return self._pools[resources]

    def _drop(self) -> None:
        """Let the actors go. A handle that was collected later would end the actor of its number in the next Ray of this process."""
        if self._pools:
            self._pools = {}
            gc.collect()

    def close(self) -> None:
        """Let the actors go, and stop or leave the Ray that was started or joined here."""
        self._drop()
        if self._mine:
            import ray

            ray.shutdown()
            self._mine = False
