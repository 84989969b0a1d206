"""The files of one source: what is missing of them, several at once, and the manifest of what is there.

DIR/fetched/SOURCE.json has, for each file, its address, bytes, checksum, by what it was checked and the server's Last-Modified.
It lies apart from the data, which recipes name by patterns and folders.
"""

from __future__ import annotations

import fcntl
import queue
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate import store
from curate.errors import CurateError, Interrupted, RecipeError
from curate.fetch.download import Download
from curate.fetch.shown import Shown, size
from curate.fetch.wanted import Wanted
from curate.fetch.web import Refused, Stopped, Web

WRITTEN_SECONDS = 5.0  # between two manifests
PATIENCE_SECONDS = 3.0  # for downloads to end after an interrupt; what they have written stays good
SHOWN_FAILURES = 10


class Manifest:
    """What is there, by path below DIR."""

    def __init__(self, path: Path) -> None:
        self.path, self._written = path, 0.0
        try:
            self.files: dict[str, Any] = store.read_json(str(path))["files"]
            known = all(isinstance(e, dict) and isinstance(e.get("bytes"), int) for e in self.files.values())
        except FileNotFoundError:
            self.files, known = {}, True
        except (ValueError, KeyError, TypeError, AttributeError):
            known = False
        if not known:
            raise RecipeError(
                f"{path}: is no manifest of `curate fetch`. Remove it: what is there is looked at again, and kept if it is whole"
            )

    def has(self, wanted: Wanted, folder: Path) -> bool:
        """Whether a file is there as the manifest says, and is the one that the listing has now."""
        entry, file = self.files.get(wanted.path), folder / wanted.path
        if entry is None or not file.is_file() or file.stat().st_size != entry["bytes"] or wanted.size not in (None, entry["bytes"]):
            return False
        algorithm = wanted.digest.partition(":")[0]
        return not str(entry.get("checksum")).startswith(f"{algorithm}:") or entry["checksum"] == wanted.digest or not algorithm

    def add(self, path: str, entry: dict[str, Any]) -> None:
        """One file more; written now and then."""
        self.files[path] = entry
        if time.monotonic() - self._written > WRITTEN_SECONDS:
            self.write()

    def write(self) -> None:
        """As JSON, at once."""
        self._written = time.monotonic()
        store.write_json(str(self.path), {"files": dict(sorted(self.files.items()))})


def fetch(source: str, wanted: Sequence[Wanted], folder: Path, web: Web, parallel: int) -> str:
    """Download what is missing; a line that says what is there. Raises CurateError when some could not be had, Interrupted on Ctrl-C."""
    if len({w.path for w in wanted}) != len(wanted):
        raise Refused(f"{source}: its listing names a file twice. Name a mirror with --from")
    with alone(folder, source):
        manifest = Manifest(folder / "fetched" / f"{source}.json")
        missing = [w for w in wanted if not manifest.has(w, folder)]
        for w in missing:
            manifest.files.pop(w.path, None)
        check_room(missing, folder)
        failures: list[str] = []
        if missing:
            try:
                failures = run(source, missing, folder, web, parallel, manifest)
            finally:
                manifest.write()
        there = [manifest.files[w.path]["bytes"] for w in wanted if w.path in manifest.files]
    before = f", {len(wanted) - len(missing):,} of them before" if len(missing) < len(wanted) else ""
    line = f"{folder / source}: {len(there):,} files, {size(sum(there))}{before}"
    if failures:
        more = [f"... and {len(failures) - SHOWN_FAILURES:,} more"] if len(failures) > SHOWN_FAILURES else []
        told = "\n  ".join(sorted(failures)[:SHOWN_FAILURES] + more)
        raise CurateError(f"{len(failures):,} of {len(wanted):,} files could not be fetched; {line}\n  {told}")
    return line


def run(source: str, missing: Sequence[Wanted], folder: Path, web: Web, parallel: int, manifest: Manifest) -> list[str]:
    """The missing files, `parallel` at once: what failed, and why."""
    waiting: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[Wanted, dict[str, Any] | BaseException]] = queue.SimpleQueue()
    for w in missing:
        waiting.put(w)
    sizes = [w.size for w in missing]
    total = sum(s for s in sizes if s is not None) if None not in sizes else None

    with Shown(source, len(missing), total) as shown:

        def work() -> None:
            while not web.stop.is_set():
                try:
                    w = waiting.get_nowait()
                except queue.Empty:
                    return
                first = True

                def seen(delta: int) -> None:
                    nonlocal first
                    shown.seen(delta, before=first)  # a download first tells what is there
                    first = False

                try:
                    ended.put((w, Download(web, w, folder, seen).run()))
                except BaseException as error:  # goes to who waits for it
                    ended.put((w, error))

        threads = [threading.Thread(target=work, daemon=True, name=f"fetch-{n}") for n in range(min(parallel, len(missing)))]
        failures = []
        try:
            for thread in threads:
                thread.start()
            for _ in missing:
                w, result = ended.get()
                if isinstance(result, dict):
                    manifest.add(w.path, result)
                elif isinstance(result, Refused):
                    failures.append(str(result))
                    shown.say(f"failed: {w.path}")
                else:
                    raise result
                shown.file_done(result["bytes"] if isinstance(result, dict) else None)
        except (KeyboardInterrupt, Stopped):
            raise Interrupted from None
        finally:
            web.stop.set()
            until = time.monotonic() + PATIENCE_SECONDS
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, until - time.monotonic()))
            while not ended.empty():  # whole by now
                w, result = ended.get()
                if isinstance(result, dict):
                    manifest.add(w.path, result)
    return failures


def check_room(missing: Sequence[Wanted], folder: Path) -> None:
    """Before anything starts, as far as sizes are known."""
    need = sum((w.size or 0) - partly(folder / w.path) for w in missing if w.size)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise CurateError(
            f"{folder}: {size(need)} are to be fetched, and {size(free)} are free. Make room, or fetch less; nothing was started"
        )


def partly(file: Path) -> int:
    """Bytes that an earlier download left."""
    part = file.with_name(f".{file.name}.part")
    return part.stat().st_size if part.is_file() else 0


@contextmanager
def alone(folder: Path, source: str) -> Iterator[None]:
    """Nobody else fetches this source into this folder meanwhile."""
    try:
        (folder / "fetched").mkdir(parents=True, exist_ok=True)
        lock = open(folder / "fetched" / f".{source}.lock", "w")  # noqa: SIM115
    except OSError as error:
        raise RecipeError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CurateError(f"{folder}: another `curate fetch {source}` is at work here; wait for it, or name another folder") from None
        except OSError:  # a filesystem without locks
            pass
        yield
