"""Zip as entries: by the central directory, or, where a file is cut off and has none, by the headers in front of the members.

The framing is ours: Python's zipfile holds the whole directory in memory and reads nothing without one. Stored, deflated and bzip2
members; sums are held to. Output is counted over all members, so that members which share their bytes (a bomb of its own kind) add up.
"""

from __future__ import annotations

import bz2
import calendar
import stat
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from typing import IO, Any, NamedTuple

from stages.read.members import Bounds, Broken, Entry, Kind, Refusal, check_ratio

CENTRAL = struct.Struct("<4s2B5H3I5H2I")
LOCAL = struct.Struct("<4s5H3I2H")
END = struct.Struct("<4s4H2IH")
END_64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR_64 = struct.Struct("<4sIQI")
CENTRAL_MARK, LOCAL_MARK, END_MARK = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
END_64_MARK, LOCATOR_MARK, DESCRIPTOR_MARK = b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"
LONGEST_COMMENT = 1 << 16
BLOCK = 1 << 18  # of the directory: longer than any entry of it
STEP = 64 << 10  # of input, where it is not known how much there is
FULL = 0xFFFFFFFF  # stands in an extra field of 64 bits instead
ENCRYPTED, DESCRIBED, UTF8 = 1, 8, 0x800  # flags; the second: sizes and sum stand behind the data
UNIX, DOS = 3, (0, 10, 11)
STORED, DEFLATED, BZIP2 = 0, 8, 12


class _Header(NamedTuple):
    """What both kinds of header have."""

    name: str
    flags: int
    method: int
    mtime: int | None
    crc: int
    packed: int
    size: int


class _Zip:
    """A file, and how much has come out of it."""

    def __init__(self, file: IO[bytes], bounds: Bounds):
        self.file, self.bounds = file, bounds
        self.length = file.seek(0, 2)
        self.out = 0

    def at(self, offset: int, size: int) -> bytes:
        """Bytes of the file."""
        self.file.seek(offset)
        return self.file.read(size)

    def count(self, size: int) -> None:
        """Raises Broken where all output together passes a bound."""
        self.out += size
        check_ratio(self.out, self.length, self.bounds.ratio)
        if self.out > self.bounds.expanded:
            raise Broken(f"expands to more than {self.bounds.expanded:,} bytes", "bomb")

    def data(self, start: int, header: _Header) -> bytes:
        """What a member holds, that begins at `start`. Raises Refusal."""
        if header.packed > self.bounds.largest + (self.bounds.largest >> 8) + STEP:  # no packing makes it longer
            raise Refusal(f"larger than {self.bounds.largest:,} bytes", "large")
        raw = self.at(start, header.packed)
        if len(raw) < header.packed:
            raise Refusal("cut off within a member", "damaged")
        data = self._unpacked(raw, header.method)
        if zlib.crc32(data) != header.crc:
            raise Refusal("a member that does not match its sum", "damaged")
        return data

    def _unpacked(self, raw: bytes, method: int) -> bytes:
        if method == STORED:
            self.count(len(raw))
            return raw
        decoder: Any = zlib.decompressobj(-15) if method == DEFLATED else bz2.BZ2Decompressor()
        try:
            data: bytes = decoder.decompress(raw, self.bounds.largest + 1)
        except (zlib.error, OSError, EOFError) as error:
            raise Refusal(f"a corrupt member: {error}", "damaged") from None
        self.count(len(data))
        if len(data) > self.bounds.largest:
            raise Refusal(f"larger than {self.bounds.largest:,} bytes", "large")
        if not decoder.eof:
            raise Refusal("a corrupt member: its data has no end", "damaged")
        return data

    def central(self, header: _Header, offset: int) -> bytes:
        """A member by its entry in the directory."""
        local = self.at(offset, LOCAL.size)
        if len(local) < LOCAL.size or not local.startswith(LOCAL_MARK):
            raise Refusal("the directory leads to no member", "damaged")
        name, extra = LOCAL.unpack(local)[-2:]
        return self.data(offset + LOCAL.size + name + extra, header)

    def described(self, start: int) -> tuple[bytes | None, int]:
        """(a deflated member of unknown size, None for one that is too large; where it ends). Raises Broken."""
        inflate = zlib.decompressobj(-15)
        pieces: list[bytes] = []
        size = 0
        while not inflate.eof:
            raw = inflate.unconsumed_tail or self.at(start, STEP)
            start += 0 if inflate.unconsumed_tail else len(raw)
            try:
                piece = inflate.decompress(raw, 16 * STEP)
            except zlib.error as error:
                raise Broken(f"a corrupt member: {error}", "damaged") from None
            if not raw and not piece:
                raise Broken("cut off within a member", "damaged")
            self.count(len(piece))
            size += len(piece)
            if size <= self.bounds.largest:
                pieces.append(piece)
        return b"".join(pieces) if size <= self.bounds.largest else None, start - len(inflate.unused_data)


def entries(file: IO[bytes], bounds: Bounds) -> Iterator[Entry]:
    """The files, and what is none, in the directory's order; folders are passed over. Raises Broken."""
    archive = _Zip(file, bounds)
    directory = _directory(archive)
    yield from _local(archive) if directory is None else _central(archive, *directory)


def _directory(archive: _Zip) -> tuple[int, int, int] | None:
    """(where the central directory begins, how many entries it has, what is to be added to offsets)."""
    first = max(0, archive.length - LONGEST_COMMENT - END.size)
    tail = archive.at(first, archive.length)
    found = tail.rfind(END_MARK)
    if found < 0 or len(tail) < found + END.size:
        return None
    *_, count, size, start, _ = END.unpack_from(tail, found)
    end = first + found
    locator = archive.at(end - LOCATOR_64.size, LOCATOR_64.size) if end >= LOCATOR_64.size else b""
    if locator.startswith(LOCATOR_MARK):
        end = LOCATOR_64.unpack(locator)[2]
        record = archive.at(end, END_64.size) if end < archive.length else b""
        if len(record) < END_64.size or not record.startswith(END_64_MARK):
            return None
        *_, count, size, start = END_64.unpack(record)
    before = end - size - start  # bytes in front of the archive: of a program that unpacks itself
    return (end - size, count, before) if before >= 0 and (not count or archive.at(end - size, 4) == CENTRAL_MARK) else None


def _central(archive: _Zip, at: int, count: int, before: int) -> Iterator[Entry]:
    block, held = b"", 0
    for _ in range(count):
        if len(block) - held < BLOCK // 2:
            at += held
            block, held = archive.at(at, BLOCK), 0
        if len(block) - held < CENTRAL.size or block[held : held + 4] != CENTRAL_MARK:
            raise Broken(f"the directory is corrupt at byte {at + held:,}", "damaged")
        fields = CENTRAL.unpack_from(block, held)
        (system, _, flags, method), moment, (crc, packed, size, named, extra, comment) = fields[2:6], fields[6:8], fields[8:14]
        held += CENTRAL.size
        name, more = block[held : held + named], block[held + named : held + named + extra]
        held += named + extra + comment
        mode, offset = fields[-2:]
        size, packed, offset = _wide(more, size, packed, offset)
        header = _Header(_name(name, flags, system), flags, method, _mtime(*moment), crc, packed, size)
        if not header.name.endswith("/"):
            kind, reason = _kind(header, mode >> 16 if system == UNIX else 0)
            yield Entry(header.name, offset, size, header.mtime, kind, reason, partial(archive.central, header, before + offset))


def _local(archive: _Zip) -> Iterator[Entry]:
    """From the front; at the end there is a Broken, as there is no directory."""
    at = 0
    while (block := archive.at(at, LOCAL.size)).startswith(LOCAL_MARK) and len(block) == LOCAL.size:
        _, _, flags, method, *moment, crc, packed, size, named, extra = LOCAL.unpack(block)
        start = at + LOCAL.size + named + extra
        name = archive.at(at + LOCAL.size, named + extra)
        if len(name) < named + extra:
            break
        size, packed, _ = _wide(name[named:], size, packed, 0)
        header = _Header(_name(name[:named], flags, UNIX), flags, method, _mtime(*moment), crc, packed, size)
        kind, reason = _kind(header, 0)
        if flags & DESCRIBED and not packed:
            if method != DEFLATED or flags & ENCRYPTED:
                raise Broken("no directory, and a member of unknown length", "damaged")
            data, end = archive.described(start)
            kind, reason = (kind, reason) if data is not None else ("large", f"larger than {archive.bounds.largest:,} bytes")
            entry = Entry(header.name, at, len(data or b""), header.mtime, kind, reason, partial(_given, data or b""))
            end += _descriptor(archive.at(end, 28))
        else:
            end = start + packed
            if end > archive.length:
                break
            entry = Entry(header.name, at, size, header.mtime, kind, reason, partial(archive.data, start, header))
        if not header.name.endswith("/"):
            yield entry
        at = end
    raise Broken(f"no directory: the archive is cut off, or corrupt at byte {at:,}", "damaged")


def _given(data: bytes) -> bytes:
    return data


def _descriptor(after: bytes) -> int:
    """The length of the sum and sizes behind a member: with or without a mark, of 32 or 64 bits."""
    mark = 4 if after.startswith(DESCRIPTOR_MARK) else 0
    wide = after[mark + 12 : mark + 16] not in (LOCAL_MARK, CENTRAL_MARK, b"") and after[mark + 20 : mark + 24] in (
        LOCAL_MARK,
        CENTRAL_MARK,
    )
    return mark + (20 if wide else 12)


def _kind(header: _Header, mode: int) -> tuple[Kind | None, str]:
    if stat.S_ISLNK(mode):
        return "link", "a link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "special", "no regular file"
    if header.flags & ENCRYPTED:
        return "encrypted", "encrypted"
    if header.method not in (STORED, DEFLATED, BZIP2):
        return "format", f"compressed by method {header.method}"
    return None, ""


def _wide(extra: bytes, *values: int) -> tuple[int, ...]:
    """Values of 32 bits, those that are full from the extra field of 64 bits."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        field = extra[at + 4 : at + 4 + length]
        if tag == 1:
            wide = [n for (n,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]
            break
        at += 4 + length
    return tuple(wide.pop(0) if value == FULL and wide else value for value in values)


def _name(name: bytes, flags: int, system: int) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = name.decode("utf-8", "replace") if flags & UTF8 else name.decode("cp437")
    return text.replace("\\", "/") if system in DOS and "/" not in text else text


def _mtime(time: int, day: int) -> int | None:
    """DOS time, as if it were UTC; None for what is no time."""
    moment = (day >> 9) + 1980, day >> 5 & 15, day & 31, time >> 11, time >> 5 & 63, (time & 31) * 2
    try:
        return calendar.timegm(moment)
    except ValueError:
        return None
