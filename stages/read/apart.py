"""A function run in a process of its own: input that takes too long, takes too much memory or crashes a C library costs itself only.

For parsers that cannot be interrupted from within. `Apart` starts one Python process, gives it items in batches and takes a result for
each; what crosses the pipes is JSON with its length before it. A timer of the kernel ends the process where an item takes too long, and a
limit on its address space where it takes too much; it is then started again behind that item. The timer counts processor time, so that a
machine that is busy or stalls changes no result. By the clock there is far more patience: it is for a process that sleeps or is stopped.
The process ends with its parent, however that ends: it reads the end of its input, or finds itself adopted. Costs 0.1 s per start and
20 µs per item of 5 KB; Unix only.
"""

from __future__ import annotations

import contextlib
import importlib
import math
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
PATIENCE = 20  # times an item's seconds, by the clock, before a process that shows no sign is given up
LEAST_WAIT = 0.05  # seconds: of PATIENCE waits, each is so long at least
START = 300.0  # seconds by the clock, to import what a function needs
MEMORY = b'["memory"]'


class Failed(NamedTuple):
    """What there is instead of a result."""

    reason: str


class _Died(Exception):
    """The process ended instead of answering."""


class _Stalled(_Died):
    """The process neither answers nor ends."""


class Apart:
    """A function in a process of its own, to be used in a `with` statement.

    `function` is spelled `package.module:name`. It is called once per process with `settings`, and returns what is called with each
    item. Settings, items and results are what JSON can hold.
    """

    def __init__(self, function: str, settings: Any, seconds: float, memory: int):
        """`seconds` of processor time for one item, `memory` in bytes of address space for the process; raises ValueError for none."""
        if seconds <= 0 or memory <= 0:
            raise ValueError("an item needs time and memory")
        self.function, self.settings, self.seconds, self.memory = function, settings, seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = 0  # items, by this process
        self._unread = bytearray()  # what it has written and was not yet taken

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

        A crash, a stall or lack of memory may be the fault of items before: it counts only if it comes again in a process that has seen
        nothing else. So results do not depend on how items are put together.
        """
        results: list[Any] = []
        while len(results) < len(items):
            try:
                self._send(items[len(results) :], self._wait)
                while len(results) < len(items):
                    results.append(self._answer())
                    self._answered += 1
            except _Died as died:
                reason, late = self._ended(died)
                if late or not self._answered:
                    results.append(Failed(reason))
                self.close()
        return results

    @property
    def _wait(self) -> float:
        """Seconds by the clock for which the process is waited for, PATIENCE times."""
        return max(self.seconds, LEAST_WAIT)

    def _send(self, message: Any, wait: float) -> None:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        file = self._process.stdin.fileno()
        data = memoryview(_framed(orjson.dumps(message)))
        try:
            while data:
                _ready(file, select.POLLOUT, wait)
                data = data[os.write(file, data) :]
        except BrokenPipeError:
            raise _Died from None

    def _answer(self) -> Any:
        found = self._receive(self._wait)
        if found[0] == "memory":
            raise _Died
        return Failed(found[1]) if found[0] == "error" else found[1]

    def _receive(self, wait: float) -> Any:
        return orjson.loads(self._take(int.from_bytes(self._take(LENGTH, wait), "big"), wait))

    def _take(self, size: int, wait: float) -> bytes:
        """So many bytes of what the process has written."""
        assert self._process is not None
        assert self._process.stdout is not None
        file = self._process.stdout.fileno()
        while len(self._unread) < size:
            _ready(file, select.POLLIN, wait)
            more = os.read(file, 1 << 20)
            if not more:
                raise _Died
            self._unread += more
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    def _start(self) -> None:
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)  # what can be imported here can be imported there
        command = [sys.executable, "-P", "-m", "stages.read.apart"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env={**os.environ, "PYTHONPATH": path}, bufsize=0)
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)  # a process that is stopped reads nothing
        self._answered = 0
        self._unread.clear()
        problem: Any = "it ended before it could say why"
        try:
            self._send([self.function, self.settings, self.seconds, self.memory, os.getpid()], START / PATIENCE)
            problem = self._receive(START / PATIENCE)
        except _Stalled:
            problem = f"it is not ready after {START:g} seconds"
        except _Died:
            pass
        if problem != "ready":
            self.close()
            raise CurateError(f"{self.function} cannot run in a process of its own with {self.memory >> 20} MB of memory: {problem}")

    def _ended(self, died: _Died) -> tuple[str, bool]:
        """Why the process ended, and whether it was for processor time."""
        assert self._process is not None
        stalled = f"takes longer than {self._wait * PATIENCE:g} seconds by the clock", False
        if isinstance(died, _Stalled):
            return stalled
        try:
            code = self._process.wait(self._wait * PATIENCE)
        except subprocess.TimeoutExpired:
            return stalled
        if code == -signal.SIGPROF:
            return f"takes more than {self.seconds:g} seconds of processor time", True
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


def _ready(file: int, event: int, wait: float) -> None:
    """Wait until a pipe can be read or written, or has no other end. Raises _Stalled after PATIENCE waits.

    Of a time in which this process was stopped itself, or the machine, only one wait is lost.
    """
    poll = select.poll()
    poll.register(file, event)
    for _ in range(PATIENCE):
        if poll.poll(math.ceil(wait * 1000)):
            return
    raise _Stalled


def _framed(data: bytes) -> bytes:
    """A message with its length before it."""
    return len(data).to_bytes(LENGTH, "big") + data


def _write(file: IO[bytes], data: bytes) -> None:
    """One message, flushed."""
    file.write(_framed(data))
    file.flush()


def _read(file: IO[bytes]) -> Any:
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
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    source, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the messages
    begun = _read(source)
    if begun is None:
        return 1
    name, settings, seconds, memory, parent = begun
    try:
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_AS, memory)
        module, _, attribute = name.partition(":")
        function = getattr(importlib.import_module(module), attribute)(settings)
    except Exception as error:
        _write(out, orjson.dumps(f"{type(error).__name__}: {error}"))
        return 1
    _write(out, orjson.dumps("ready"))
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
    return _read(source)


def _answer(function: Callable[[Any], Any], item: Any, seconds: float) -> bytes:
    """The message for one item."""
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of all threads, in the kernel as well
    try:
        return orjson.dumps(["result", function(item)])
    except MemoryError:
        return MEMORY
    except Exception as error:
        return orjson.dumps(["error", f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace").decode()])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    sys.exit(main())
