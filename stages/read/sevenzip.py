"""One member of a 7z archive as a stream, in bounded memory: Posts.xml of a StackExchange site, a Wikipedia dump.

py7zr finds and unpacks it, and pushes what comes out; a thread of its own does that, a few blocks ahead of who reads. LZMA, LZMA2 and
bzip2, whose decoders are Python's own: that of PPMd has crashed the process, others unpack a block to any length. Those are refused, as
are dictionaries that ask for more memory than `DICTIONARY`, encryption, and output beyond the bounds. Members behind the one that is read
are not unpacked, those before it only where they share its block. Nothing is written to disk. One core: 37 MB/s of XML from
bzip2, 365 from LZMA2 of repetitive XML; at most 128 MB are unpacked at once, of a bomb.
"""

from __future__ import annotations

import importlib.util
import io
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from curate import store
from curate.errors import RecipeError
from curate.stage import File
from stages.read.members import SLACK, Bounds, Broken

MAGIC = b"7z\xbc\xaf\x27\x1c"
BLOCK = 1 << 20  # handed over at once
AHEAD = 8  # blocks that wait to be read
DICTIONARY = 1 << 30  # bytes that a decoder may ask for; the largest preset of 7-Zip is 256 MB
COPY, BZIP2, LZMA, LZMA2 = b"\0", b"\x04\x02\x02", b"\x03\x01\x01", b"\x21"
MACHINE = b"\x03\x03"  # what filters for machine code begin with; they do nothing to text
CRYPTO = b"\x06"  # what methods that encrypt begin with


def check_installed(stage: str) -> None:
    """Raise RecipeError where py7zr is missing."""
    if importlib.util.find_spec("py7zr") is None:
        raise RecipeError(f"{stage} needs py7zr for .7z files; pip install 'py7zr>=1.1'")


def is_7z(head: bytes) -> bool:
    """Whether a file that begins so is a 7z archive."""
    return head.startswith(MAGIC)


def names(file: File) -> list[str]:
    """The members that are files, in the archive's order. Raises Broken."""
    with store.open_input(file.path) as opened, _archive(opened, file.size) as archive:
        return [member.filename for member in archive.files if not member.is_directory]


def open_member(file: File, name: str | None = None, bounds: Bounds | None = None) -> IO[bytes]:
    """A member to be read once from front to back, and to be closed; without a name the only one.

    Raises Broken, here or where what is damaged is read: also at the member's end, where its sum does not match.
    """
    opened = store.open_input(file.path)
    try:
        with _archive(opened, file.size) as archive:
            held = [member.filename for member in archive.files if not member.is_directory]
        if name is None and len(held) == 1:
            name = held[0]
        if name is None or name not in held:
            listed = ", ".join(held[:8]) + (", ..." if len(held) > 8 else "")
            raise Broken(f"no member {name}; there is {listed or 'none'}" if name else f"{len(held)} members, not one: {listed}", "format")
        opened.seek(0)
        return cast(IO[bytes], io.BufferedReader(_Member(opened, file.size, name, bounds or Bounds()), BLOCK))
    except BaseException:
        opened.close()
        raise


class _Enough(Exception):
    """Nobody reads on."""


class _Member(io.RawIOBase):
    """What the thread hands over."""

    def __init__(self, file: IO[bytes], size: int, name: str, bounds: Bounds):
        self._file, self._size, self._target, self._bounds = file, size, name, bounds
        self._blocks: queue.Queue[memoryview | BaseException | None] = queue.Queue(AHEAD)
        self._left = memoryview(b"")
        self._end: BaseException | None = None
        self._over = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._unpack, name=f"7z {name}", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._over:
            block = self._blocks.get()
            if isinstance(block, memoryview):
                self._left = block
            else:
                self._over, self._end = True, block
        if self._over and self._end is not None:
            raise self._end
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._stop.set()
            with suppress(queue.Empty):  # wakes a thread that waits to hand over
                self._blocks.get_nowait()
            self._thread.join()
            self._file.close()
        super().close()

    def hand(self, block: memoryview | BaseException | None) -> None:
        """Called by the thread: waits until there is room. Raises _Enough."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._blocks.put(block, timeout=0.1)
                return
        raise _Enough

    def _unpack(self) -> None:
        with suppress(_Enough):
            try:
                with _archive(self._file, self._size, self._bounds) as archive:
                    archive.extract(targets=[self._target], factory=_factory(self))
            except _Enough:
                self.hand(None)
            except BaseException as error:
                self.hand(error)
            else:
                self.hand(None)


def _factory(member: _Member) -> Any:
    """What py7zr asks for a place to write to."""
    import py7zr.io

    class Writer(py7zr.io.Py7zIO):
        written = 0

        def write(self, s: bytes | bytearray) -> int:
            view = memoryview(s)
            for first in range(0, len(view), BLOCK):
                member.hand(view[first : first + BLOCK])
            self.written += len(view)
            return len(view)

        def read(self, size: int | None = None) -> bytes:  # noqa: ARG002
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002
            return 0

        def flush(self) -> None: ...

        def size(self) -> int:
            return self.written

    class Factory(py7zr.io.WriterFactory):
        asked = False

        def create(self, filename: str) -> Writer:  # noqa: ARG002
            if self.asked:  # a second member of the name
                raise _Enough
            self.asked = True
            return Writer()

    return Factory()


@contextmanager
def _archive(file: IO[bytes], size: int, bounds: Bounds | None = None) -> Iterator[Any]:
    """py7zr's archive, its methods looked at. What it raises on damage, whatever that is, becomes Broken."""
    import py7zr

    bounds = bounds or Bounds()
    try:
        most = min(bounds.expanded, int(SLACK + bounds.ratio * size))
        with py7zr.SevenZipFile(cast(Any, file), "r", max_extract_size=most) as archive:
            _check(archive)
            yield archive
    except (Broken, _Enough):
        raise
    except py7zr.exceptions.DecompressionBombError:
        reason = f"{bounds.expanded:,} bytes" if most == bounds.expanded else f"{bounds.ratio:g} times its size"
        raise Broken(f"expands to more than {reason}", "bomb") from None
    except py7zr.exceptions.PasswordRequired:
        raise Broken("encrypted", "encrypted") from None
    except py7zr.exceptions.UnsupportedCompressionMethodError as error:
        raise Broken(f"cannot be unpacked: {error.message}", "format") from None
    except py7zr.exceptions.CrcError:
        raise Broken("a member that does not match its sum", "damaged") from None
    except Exception as error:  # whatever a decoder or the header's parser stumbles over
        if isinstance(error, OSError) and error.errno:  # the disk's or the network's
            raise
        raise Broken(f"no 7z archive, or a damaged one: {store.reason(error)}", "damaged") from None


def _check(archive: Any) -> None:
    """Raise Broken for coders that memory is not bounded for."""
    streams = getattr(archive.header, "main_streams", None)
    for folder in streams.unpackinfo.folders if streams else ():
        methods = [bytes(coder["method"]) for coder in folder.coders]
        for method, coder in zip(methods, folder.coders, strict=True):
            properties = coder.get("properties") or b""
            if method.startswith(CRYPTO):
                raise Broken("encrypted", "encrypted")
            if method not in (COPY, BZIP2, LZMA, LZMA2) and not (method.startswith(MACHINE) and LZMA2 in methods):  # liblzma has both
                raise Broken(f"compressed by method {method.hex()}, which is not read here", "format")
            asked = 0
            if method == LZMA:
                asked = int.from_bytes(properties[1:5], "little")
            elif method == LZMA2 and properties:
                asked = (2 | properties[0] & 1) << (properties[0] // 2 + 11)
            if asked > DICTIONARY:
                raise Broken(f"a dictionary of {asked:,} bytes", "bomb")
