"""A function run in a process of its own: input that takes too long, takes too much memory or crashes a C library costs itself only.

For parsers that cannot be interrupted from within. `Apart` starts one Python process, gives it items in batches and takes a result for
each; what crosses the pipes is JSON with its length before it. A timer of the kernel ends the process where an item takes too long, and a
limit on its address space where it takes too much; it is then started again behind that item. The process ends with its parent, however
that ends: it reads the end of its input, or finds itself adopted. Costs 0.1 s per start and 20 µs per item of 5 KB; Unix only.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import IO, Any, NamedTuple

import orjson

from curate.errors import CurateError

LENGTH = 4  # bytes of a message's length
ADOPTED = 5.0  # seconds between looks at whose child this is: a forked sibling may hold our input open
MEMORY = b'["memory"]'


class Failed(NamedTuple):
    """What there is instead of a result."""

    reason: str


class _Died(Exception):
    """The process ended instead of answering."""


class Apart:
    """A function in a process of its own, to be used in a `with` statement.

    `function` is spelled `package.module:name`. It is called once per process with `settings`, and returns what is called with each
    item. Settings, items and results are what JSON can hold.
    """

    def __init__(self, function: str, settings: Any, seconds: float, memory: int):
        """`seconds` by the clock for one item, `memory` in bytes of address space for the process; raises ValueError for none."""
        if seconds <= 0 or memory <= 0:
            raise ValueError("an item needs time and memory")
        self.function, self.settings, self.seconds, self.memory = function, settings, seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = 0  # items, by this process

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """For each item what the function returned, or Failed. Raises CurateError if the function cannot be had at all.

        A crash or lack of memory may be the fault of items before: it counts only if it comes again in a process that has seen nothing
        else. So results do not depend on how items are put together.
        """
        results: list[Any] = []
        while len(results) < len(items):
            try:
                self._send(items[len(results) :])
                while len(results) < len(items):
                    results.append(self._answer())
                    self._answered += 1
            except _Died:
                reason, late = self._ended()
                if late or not self._answered:
                    results.append(Failed(reason))
                self.close()
        return results

    def _send(self, items: Sequence[Any]) -> None:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            write(self._process.stdin, items)
        except BrokenPipeError:
            raise _Died from None

    def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        found = read(self._process.stdout)
        if found is None or found[0] == "memory":
            raise _Died
        return Failed(found[1]) if found[0] == "error" else found[1]

    def _start(self) -> None:
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)  # what can be imported here can be imported there
        command = [sys.executable, "-P", "-m", "stages.read.apart"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, bufsize=-1
        )
        self._answered = 0
        assert self._process.stdout is not None
        problem: Any = "it ended before it could say why"
        try:
            self._send([self.function, self.settings, self.seconds, self.memory, os.getpid()])
            problem = read(self._process.stdout) or problem
        except _Died:
            pass
        if problem != "ready":
            self.close()
            raise CurateError(f"{self.function} cannot run in a process of its own with {self.memory >> 20} MB of memory: {problem}")

    def _ended(self) -> tuple[str, bool]:
        """Why the process ended, and whether it was for the time."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.stdout.read()
        code = self._process.wait()
        if code == -signal.SIGALRM:
            return f"takes longer than {self.seconds:g} seconds", True
        if code == 0:
            return f"takes more than {self.memory >> 20} MB of memory", False
        return f"ends its process by {signal.Signals(-code).name if code < 0 else f'status {code}'}", False

    def close(self) -> None:
        """End the process. Another call starts a new one."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what was not yet written cannot be any more
                    if pipe:
                        pipe.close()


def write(file: IO[bytes], message: Any) -> None:
    """One message, flushed."""
    _write(file, orjson.dumps(message))


def _write(file: IO[bytes], data: bytes) -> None:
    file.write(len(data).to_bytes(LENGTH, "big"))
    file.write(data)
    file.flush()


def read(file: IO[bytes]) -> Any:
    """One message; None at the end."""
    size = file.read(LENGTH)
    if len(size) < LENGTH:
        return None
    length = int.from_bytes(size, "big")
    data = file.read(length)
    return orjson.loads(data) if len(data) == length else None


def main() -> int:
    """What the process does: answer until the input ends. Returns its exit status: 0 also where memory ran out, which it has then said."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    source, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the messages
    begun = read(source)
    if begun is None:
        return 1
    name, settings, seconds, memory, parent = begun
    try:
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_AS, memory)
        module, _, attribute = name.partition(":")
        function = getattr(importlib.import_module(module), attribute)(settings)
    except Exception as error:
        write(out, f"{type(error).__name__}: {error}")
        return 1
    write(out, "ready")
    while (items := _next(source, parent)) is not None:
        for item in items:
            answer = _answer(function, item, seconds)
            _write(out, answer)
            if answer == MEMORY:
                return 0
    return 0


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system has every limit
        resource.setrlimit(what, (value, value))


def _next(source: IO[bytes], parent: int) -> Any:
    """The next batch, or None where there is nobody to send one. A batch is read whole, so nothing waits in the buffer between two."""
    while not select.select([source], [], [], ADOPTED)[0]:
        if os.getppid() != parent:
            return None
    return read(source)


def _answer(function: Callable[[Any], Any], item: Any, seconds: float) -> bytes:
    """The message for one item."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return orjson.dumps(["result", function(item)])
    except MemoryError:
        return MEMORY
    except Exception as error:
        return orjson.dumps(["error", f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace").decode()])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    sys.exit(main())
