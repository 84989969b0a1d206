"""The bytes of a dump, unpacked, in cells that can be read alone: bzip2, gzip or plain, told by the first bytes.

A cell is a range of the file as it lies on the disk. Of a plain file it has the bytes; of bzip2 in many streams, as `multistream` dumps
are, the streams that begin in it. A stream is known by its first bytes, and tried: the same bytes may stand within another. bzip2 in one
stream is all in the first cell, and so is gzip. Behind a corrupt stream the next one is looked for. One core unpacks 38 MB/s of XML from
bzip2, pages found among them; by cells of 4 MB it takes 8 % longer than in one go.
"""

from __future__ import annotations

import bz2
import re
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from stages.read.jsonl import pieces
from stages.read.members import Broken

FEED = 4 << 10  # bytes given to a decompressor at once: gzip makes at most 4 MB of them, and so much is lost where a stream breaks
BLOCK = 1 << 20
RAW = 64 << 10  # bytes of what is bad that are kept
MOST_ENDS = 16  # times that a stream may swallow the rest of the file without giving anything
MOST_TRIED = 64  # places that look like the beginning of a stream and are none, before one is believed
BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
GZIP = re.compile(rb"\x1f\x8b\x08[\0-\x1f]")
LONGEST_MAGIC = 16


class Fault(NamedTuple):
    """What could not be read. `offset` is of the file where that is plain, and otherwise of what the cell unpacks to."""

    offset: int
    reason: str
    raw: bytes = b""
    whole_file: bool = False


class Edge:
    """Where a cell of bzip2 begins: at the first stream at or behind a place. Found as far as is asked for, so never far ahead."""

    def __init__(self, file: IO[bytes], place: int):
        self._file, self._from, self._tried = file, place, 0
        self._found: int | None = 0 if place == 0 else None

    def before(self, stop: int | None) -> int | None:
        """The edge, if it comes before `stop`."""
        while self._found is None and (stop is None or self._from < stop):
            found = _find(self._file, self._from, BZIP2, stop)
            if found is None:
                self._from = self._from if stop is None else stop
                return None
            self._tried += 1
            if self._tried > MOST_TRIED or _gives_something(self._file, found):
                self._found = found
            self._from = found + 1
        return self._found if self._found is not None and (stop is None or self._found < stop) else None


def unpacked(file: IO[bytes], low: int = 0, high: int | None = None) -> Iterator[bytes | Fault | None]:
    """A cell and all that follows it, in pieces of bounded size: None where the cell ends, a Fault where something is missing."""
    if not file.seekable():  # a member of an archive
        yield from () if low else _plain(file, 0, None)
        return
    file.seek(0)
    first = file.read(LONGEST_MAGIC)
    if GZIP.match(first):
        file.seek(0)
        yield from () if low else _streams(file, "gzip", lambda: zlib.decompressobj(31), GZIP)
    elif not first.startswith(b"BZh"):
        file.seek(low)
        yield from _plain(file, low, high)
    elif (begin := Edge(file, low).before(high)) is not None:
        file.seek(begin)
        yield from _streams(file, "bzip2", bz2.BZ2Decompressor, BZIP2, None if high is None else Edge(file, high), high)


def _plain(file: IO[bytes], low: int, high: int | None) -> Iterator[bytes | Fault | None]:
    try:
        while block := file.read(BLOCK if high is None else min(BLOCK, high - low)):
            yield block
            low += len(block)
            if low == high:
                yield None
                high = None
    except Broken as broken:
        yield Fault(0, broken.reason)


def _streams(
    file: IO[bytes], name: str, new: Callable[[], Any], magic: re.Pattern[bytes], edge: Edge | None = None, high: int = 0
) -> Iterator[bytes | Fault | None]:
    """Streams one after another. Of a corrupt one, what came before the damage; then the next that can be found."""
    data = b""
    start = 0  # where the stream begins in the file
    decoder: Any = None
    silent = True  # it has given nothing yet
    ends = 0  # how often the end of the file has been reached
    while True:
        data = data or file.read(FEED)
        read, ended = file.tell(), not data
        if decoder is None:
            data = data.lstrip(b"\0")  # tapes pad with zeros
            if ended:
                return
            if not data:
                continue
            start, decoder, silent = read - len(data), new(), True
            if edge and start >= high and edge.before(start + 1) is not None:
                yield None
                edge = None
            file.seek(read)
        reason = f"is cut off at byte {read:,}" if ended else ""
        try:
            for piece in () if ended else pieces(decoder, data):
                silent = silent and not piece
                yield piece
        except (OSError, zlib.error) as error:
            reason = f"is corrupt before byte {read:,}: {error}"
        if not reason:
            data, decoder = (decoder.unused_data, None) if decoder.eof else (b"", decoder)
            continue
        yield Fault(0, f"the {name} stream at byte {start:,} {reason}", data[:RAW])
        ends += ended
        if ended and (not silent or ends > MOST_ENDS):
            return  # a stream without output may have a damaged header, and others behind it
        found = _find(file, start + 1 if ended else max(start + 1, read - len(data)), magic)
        if found is None:
            return
        file.seek(found)
        data, decoder = b"", None


def _gives_something(file: IO[bytes], at: int) -> bool:
    """Whether a stream of bzip2 begins here: its first block is whole, with its sum, or it is empty and whole."""
    file.seek(at)
    decoder = bz2.BZ2Decompressor()
    try:
        while data := file.read(FEED):
            if decoder.decompress(data, 1) or decoder.eof:
                return True
    except OSError:
        pass
    return False


def _find(file: IO[bytes], at: int, magic: re.Pattern[bytes], stop: int | None = None) -> int | None:
    """Where the magic next begins, at `at` or behind and before `stop`."""
    file.seek(at)
    held = b""
    while (stop is None or at < stop) and (block := file.read(4 * FEED)):  # little: the next stream is near, or many that are none are
        held += block
        if found := magic.search(held):
            return at + found.start() if stop is None or at + found.start() < stop else None
        kept = min(len(held), LONGEST_MAGIC)
        at += len(held) - kept
        held = held[-kept:]
    return None
