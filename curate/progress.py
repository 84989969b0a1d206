"""How far a run is: a bar per pass on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from curate.errors import printable

PLAIN_SECONDS = 10.0  # between two plain lines of one pass


class Bar:
    """A bar per pass, for people."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = [TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[docs]:>12,} docs")]
        self._rich = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
        self._task: Any = None
        self._docs = 0

    def __enter__(self) -> Bar:
        self._rich.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rich.stop()

    def start(self, what: str, total: int, done: int) -> None:
        """A new bar."""
        self._docs = 0
        self._task = self._rich.add_task(printable(what), total=total, completed=done, docs=0)

    def advance(self, docs: int) -> None:
        """One item."""
        self._docs += docs
        self._rich.update(self._task, advance=1, docs=self._docs)

    def say(self, message: str) -> None:
        """Above the bars."""
        self._rich.console.print(printable(message, "\n"), markup=False, highlight=False)

    def warn(self, message: str) -> None:
        """Likewise, to be seen."""
        self._rich.console.print(printable(f"warning: {message}", "\n"), style="yellow", markup=False, highlight=False)


class Lines:
    """A line when a pass begins, every ten seconds, and when it ends: for logs."""

    def __init__(self) -> None:
        self._what, self._total, self._done, self._docs, self._said = "", 0, 0, 0, 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def start(self, what: str, total: int, done: int) -> None:
        """Says what was there already."""
        self._what, self._total, self._done, self._docs, self._said = what, total, done, 0, time.monotonic()
        there = f", {done:,} done before" if done else ""
        self._say(f"{what}: {total:,} to do{there}" if total != done else f"{what}: all {total:,} done before")

    def advance(self, docs: int) -> None:
        """One item."""
        self._done += 1
        self._docs += docs
        if self._done == self._total or time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            self._say(f"{self._what}: {self._done:,} of {self._total:,}" + (f", {self._docs:,} documents" if self._docs else ""))

    def say(self, message: str) -> None:
        """On a line of its own."""
        self._say(message)

    def warn(self, message: str) -> None:
        """Likewise."""
        self._say(f"warning: {message}")

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError):  # whoever listened has gone; the run goes on
            print(printable(line, "\n"), file=sys.stderr, flush=True)


def progress() -> Bar | Lines:
    """What suits where the output goes."""
    return Bar() if sys.stderr.isatty() else Lines()
