"""Tar as a stream of entries: ustar, GNU and PAX, plain or in any compression that JSON lines may have.

The framing is ours, so that no header makes us hold more than 1 MB: Python's tarfile holds whatever length a PAX header claims, and
every member that it has met. Header blocks are parsed by `tarfile.TarInfo.frombuf`, which holds them to their checksums.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator
from functools import partial
from typing import IO

from stages.read.jsonl import Corrupt, unpack
from stages.read.members import Bounds, Broken, Entry, Kind, check_ratio

BLOCK = 512
READ = 1 << 20
LONGEST = 1 << 20  # bytes of a PAX header or a long name; real ones have hundreds
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "target"}
PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
USED, SPARSE = (b"path", b"size", b"mtime"), b"GNU.sparse."  # of PAX
LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
WITHOUT_DATA = (*LINKS, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
MAGIC, MAGIC_AT = b"ustar", 257  # of ustar, GNU and PAX
ZEROS = bytes(BLOCK)
SPARSE_MORE, EXTENSION_MORE = 482, 504  # where a sparse header, and an extension of it, say that an extension follows


def is_tar(head: bytes) -> bool:
    """Whether bytes begin with a tar header, or with the end mark of an empty tar."""
    try:
        _parse(head[:BLOCK])
    except tarfile.HeaderError:
        return False
    return True


def entries(file: IO[bytes], bounds: Bounds, resume: bool = False) -> Iterator[Entry]:
    """The files, and what is none, in order; directories are passed over. Raises Broken.

    With `resume`, a damaged header costs what lies before the next sound one: there is an entry of the kind `damaged` for that stretch.
    """
    stream = _Stream(file, bounds)
    shared: dict[str, str] = {}  # of a global PAX header
    own: dict[str, str] = {}
    while True:
        place = stream.place
        try:
            header = stream.header()
            if header is not None and header.type in NAMES:
                own[NAMES[header.type]] = _text(stream.extension(header.size).partition(b"\0")[0])
                continue
            if header is not None and header.type in PAX:
                records = _records(stream.extension(header.size))
                (shared if header.type == tarfile.XGLTYPE else own).update(records)
                continue
            entry = None
            if header is not None and header.type != tarfile.DIRTYPE:
                entry = _entry(stream, header, shared | own, place, bounds.largest)
                if resume and entry.size > bounds.largest:
                    raise Broken(f"an entry of {entry.size:,} bytes at byte {place:,}", "damaged")
        except Broken as broken:
            if not resume or stream.fault or stream.place - place < BLOCK:  # the compression, or the end
                raise
            more, own = stream.resume(), {}
            if not more and not place:
                raise
            reason = broken.reason if broken.kind != "format" else "corrupt at byte 0"
            yield _lost(place, stream.place, reason)
            if not more:
                return
            continue
        if header is None:
            # the end; or that of a tar to which another was appended; or zeros where a header was
            more = resume and stream.resume()
            if stream.passed:
                yield _lost(place, stream.place, f"zeros at byte {place:,} in the place of a header")
            if not more:
                return
            continue
        own = {}
        if entry is not None:
            yield entry
        stream.finish()


def _lost(place: int, end: int, reason: str) -> Entry:
    return Entry("", place, end - place, None, "damaged", f"{reason}; {end - place:,} bytes are lost", bytes)


def _entry(stream: _Stream, header: tarfile.TarInfo, known: dict[str, str], place: int, largest: int) -> Entry:
    size = 0 if header.type in WITHOUT_DATA else _number(known.get("size"), header.size)
    name = known.get("path") or _text(header.name.encode("utf-8", "surrogateescape"))
    kind: Kind | None = None if header.type in FILES else "link" if header.type in LINKS else "special"
    if header.type == tarfile.GNUTYPE_SPARSE or "sparse" in known:
        kind = "special"
    if header.type == tarfile.GNUTYPE_SPARSE:
        stream.pass_extensions()
    reason = {"link": "a link", "special": "no regular file: a device, a pipe or a sparse file"}.get(kind or "", "")
    stream.pending = size
    mtime = _number(known.get("mtime", "").partition(".")[0], int(header.mtime))
    return Entry(name, place, size, mtime, kind, reason, partial(stream.data, min(size, largest)))


class _Stream:
    """The bytes of a tar in order; of those that a header announces, `pending` are left."""

    def __init__(self, file: IO[bytes], bounds: Bounds):
        self.file, self.bounds = file, bounds
        head = file.read(6)
        file.seek(0)
        self.packed = next((kind for mark, kind in PACKED.items() if head.startswith(mark)), "")
        self.blocks: Iterator[bytes] = unpack(file, self.packed) if self.packed else iter(partial(file.read, READ), b"")
        self.held, self.at = b"", 0
        self.offset = self.pending = 0
        self.fault, self.block = "", b""
        self.found = b""  # a header, by `resume`
        self.passed = False  # whether `resume` has passed over anything but zeros

    def take(self, size: int, keep: bool = True) -> bytes:
        """The next `size` bytes, fewer at the end."""
        pieces = []
        while size and (self.at < len(self.held) or self._more()):
            piece = self.held[self.at : self.at + size] if keep else b""
            step = min(size, len(self.held) - self.at)
            self.at, self.offset, size = self.at + step, self.offset + step, size - step
            pieces.append(piece)
        return b"".join(pieces)

    def _more(self) -> bool:
        """Whether there is another block."""
        try:
            self.held, self.at = next(filter(None, self.blocks), b""), 0  # an empty one may stand before a fault
        except Corrupt as error:
            self.held, self.at, self.fault = b"", 0, str(error)
        size = self.offset + len(self.held)
        if self.packed:
            check_ratio(size, self.file.tell(), self.bounds.ratio)
            if size > self.bounds.expanded:
                raise Broken(f"expands to more than {self.bounds.expanded:,} bytes", "bomb")
        return bool(self.held)

    def header(self) -> tarfile.TarInfo | None:
        """The next one, or None at the end mark. Raises Broken."""
        place = self.place
        block, self.found = self.found or self.take(BLOCK), b""
        try:
            header = _parse(block)
        except tarfile.HeaderError as error:
            if not place and not self.fault:
                nothing = f"an empty file{f', packed by {self.packed}' if self.packed else ''}"
                raise Broken(f"neither a tar nor a zip: it begins with {block[:16]!r}" if block else nothing, "format") from None
            reason = f"cut off at byte {self.offset:,}" if len(block) < BLOCK else f"corrupt at byte {place:,}: {error}"
            raise Broken(self.fault or reason, "damaged") from None
        self.block = block
        return header

    @property
    def place(self) -> int:
        """Where the next header begins."""
        return self.offset - len(self.found)

    def resume(self) -> bool:
        """Go on to the next block that is a header by its magic and its checksum; whether there is one."""
        self.passed, self.pending = False, 0
        while len(block := self.take(BLOCK)) == BLOCK:
            if block.startswith(MAGIC, MAGIC_AT) and is_tar(block):
                self.found = block
                return True
            self.passed = self.passed or block != ZEROS
        self.passed = self.passed or bool(block.strip(b"\0"))
        return False

    def extension(self, size: int) -> bytes:
        """The data of a header that says more of the next one."""
        if size > LONGEST:
            raise Broken(f"a header of {size:,} bytes", "bomb")
        self.pending = size
        data = self.data(size)
        self.finish()
        return data

    def data(self, size: int) -> bytes:
        """The first bytes of what is pending. Raises Broken where there are fewer."""
        data = self.take(size)
        self.pending -= len(data)
        if len(data) < size:
            raise Broken(self.fault or f"cut off at byte {self.offset:,}, within a member", "damaged")
        return data

    def finish(self) -> None:
        """Pass over what is pending, and its padding."""
        end = self.offset + self.pending
        self.take(self.pending + -end % BLOCK, keep=False)
        self.pending = 0

    def pass_extensions(self) -> None:
        """The blocks that follow the header of a sparse file."""
        more = self.block[SPARSE_MORE]
        while more and len(block := self.take(BLOCK)) == BLOCK:
            more = block[EXTENSION_MORE]


def _parse(block: bytes) -> tarfile.TarInfo | None:
    """None for the end mark. Raises tarfile.HeaderError."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        if len(block) == BLOCK and not block.strip(b"\0"):
            return None
        raise
    if header.size < 0:
        raise tarfile.HeaderError("a negative size")
    return header


def _records(data: bytes) -> dict[str, str]:
    """Of a PAX header: `length key=value` lines. Raises Broken."""
    out: dict[str, str] = {}
    data = data.rstrip(b"\0")
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        length = data[at:space] if space > at else b""
        end = at + int(length) if length.isdigit() else 0
        key, equals, value = data[space + 1 : end].partition(b"=")
        if not equals or end > len(data):
            raise Broken("a PAX header with wrong lengths", "damaged")
        if key in USED or key.startswith(SPARSE):  # nothing else is held, however much there is
            out["sparse" if key.startswith(SPARSE) else key.decode()] = _text(value.removesuffix(b"\n"))
        at = end
    return out


def _number(text: str | None, otherwise: int) -> int:
    """A PAX value, if it is a number."""
    with contextlib.suppress(ValueError):
        return max(0, int(text or ""))
    return otherwise


def _text(name: bytes) -> str:
    """UTF-8, or else Latin-1, which all bytes are."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
