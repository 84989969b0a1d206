"""How far a download is: bytes, rate and time left; a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from curate.progress import PLAIN_SECONDS


class Shown:
    """Counts bytes and files from many threads, and shows them. Where a listing tells no sizes, those that are done tell of the others."""

    def __init__(self, what: str, files: int, total: int | None) -> None:
        self.what, self.files, self.total = what, files, total
        self.done = self.bytes = self.before = 0
        self._known = total is not None
        self._whole: list[int] = []
        self._lock = threading.Lock()
        self._began = self._said = time.monotonic()
        self._rich: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

            columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[files]} files"), DownloadColumn()]
            self._rich = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._rich.add_task(what, total=total, files=f"0/{files:,}")

    def __enter__(self) -> Shown:
        if self._rich:
            self._rich.start()
        else:
            self.say(f"{self.what}: {self.files:,} files to fetch" + (f", {size(self.total)}" if self.total is not None else ""))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._rich:
            self._rich.stop()

    def seen(self, delta: int, before: bool = False) -> None:
        """So many bytes more, or fewer where a file begins again; `before`: they were there."""
        with self._lock:
            self.bytes += delta
            self.before += delta if before else 0
            self._show(False)

    def file_done(self, size: int | None) -> None:
        """One file more, of so many bytes; None where it failed."""
        with self._lock:
            self.done += 1
            if not self._known and size is not None:
                self._whole.append(size)
                self.total = max(self.bytes, sum(self._whole) * self.files // len(self._whole))
            self._show(self.done == self.files)

    def say(self, line: str) -> None:
        """On a line of its own."""
        if self._rich:
            self._rich.console.print(line, markup=False, highlight=False)
            return
        with suppress(BrokenPipeError):  # whoever listened has gone
            print(line, file=sys.stderr, flush=True)

    def _show(self, at_once: bool) -> None:
        if self._rich:
            self._rich.update(self._task, completed=self.bytes, total=self.total, files=f"{self.done:,}/{self.files:,}")
            return
        now = time.monotonic()
        if not at_once and now - self._said < PLAIN_SECONDS:
            return
        self._said = now
        rate = max(0, self.bytes - self.before) / max(now - self._began, 1e-3)
        of = f" of {'' if self._known else 'about '}{size(self.total)}" if self.total is not None and not at_once else ""
        left = f", {(self.total - self.bytes) / rate / 60:,.0f} min left" if self.total is not None and rate and not at_once else ""
        self.say(f"{self.what}: {self.done:,} of {self.files:,} files, {size(self.bytes)}{of}, {size(int(rate))}/s{left}")


def size(count: int) -> str:
    """Bytes for people."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.1f} {unit}" if unit != "B" else f"{count:,} B"
