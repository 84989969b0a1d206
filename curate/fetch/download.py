"""One address to one file: resumed from where it broke off, checked, and there only when it is whole.

What has come so far is `.NAME.part`, hidden from patterns, with `.NAME.part.json` saying which version it is of: a later request asks for
the rest of that version (Range, If-Range) and begins again where the server has another, or gives no parts. A file without a published
checksum is checked by its length, and a .gz by reading it: gzip carries a CRC-32 of each member.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from curate import store
from curate.errors import CurateError
from curate.fetch.wanted import Wanted
from curate.fetch.web import Fault, Refused, Web, length, moment, plain

GZIP = b"\x1f\x8b"
RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")
AS_STORED = {".gz": ("gzip", "x-gzip"), ".bz2": ("bzip2", "x-bzip2")}  # encodings by which servers name what the file is anyway
SPOILED = 2  # whole downloads with a wrong checksum, after which it is the server's


class Download:
    """One file on its way."""

    def __init__(self, web: Web, wanted: Wanted, folder: Path, seen: Callable[[int], None]) -> None:
        self.web, self.wanted, self.seen = web, wanted, seen
        self.file = folder / wanted.path
        self.part = self.file.with_name(f".{self.file.name}.part")
        self.mark = self.file.with_name(f".{self.file.name}.part.json")
        self.counted = self.furthest = self.spoiled = 0
        self.is_checked = bool(wanted.digest) or self.file.name.endswith(".gz")  # by more than its length

    def run(self) -> dict[str, Any]:
        """The file's entry in the manifest. Raises Refused."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        is_like = self.file.is_file() and self.wanted.size in (None, self.file.stat().st_size)
        if is_like and not self.part.exists():  # not in the manifest: nothing says yet that it is whole
            os.replace(self.file, self.part)
            self.mark.unlink(missing_ok=True)
        return self.web.persist(self.wanted.url, self.attempt, lambda: self.furthest)

    def attempt(self) -> dict[str, Any]:
        """One request, from what is there to the end."""
        mark, have = self.read_mark(), self.have()
        known = mark.get("total") if self.wanted.size is None else self.wanted.size
        if have and (not (self.is_checked or validator(mark)) or (known is not None and have > known)):
            self.drop()
            mark, have = {}, 0
        self.count(have)
        if known is not None and have == known and self.part.exists():
            return self.finish(known, mark)
        headers = {"Range": f"bytes={have}-", **({"If-Range": validator(mark)} if validator(mark) else {})} if have else {}
        with self.web.ask(self.wanted.url, headers) as response:
            if response.status == 416:
                return self.past_the_end(response, have, mark)
            start, total = self.place(response, have, mark)
            mark = {"url": plain(self.wanted.url), "etag": response.headers.get("ETag"), "total": total}
            mark["modified"] = response.headers.get("Last-Modified")
            self.check_room(total, start)
            store.write_json(str(self.mark), mark)
            have = self.write(response, start, total)
        if total is not None and have < total:
            raise Fault(f"broke off at {have:,} of {total:,} bytes")
        return self.finish(have, mark)

    def place(self, response: Any, have: int, mark: dict[str, Any]) -> tuple[int, int | None]:
        """(where the body begins, bytes of the whole file)."""
        start, total = 0, length(response)
        if response.status == 206:
            found = RANGE.fullmatch((response.headers.get("Content-Range") or "").strip())
            begins, whole = (found[1], found[3]) if found else (None, "*")
            etag = response.headers.get("ETag")
            changed = mark.get("etag", etag) != etag or (whole.isdigit() and mark.get("total") not in (None, int(whole)))
            if begins is None or int(begins) != have or not have or changed:
                self.drop()
                raise Fault("the server sent another part than it was asked for" if not changed else "the file changed on the server")
            start = have
            total = int(whole) if whole != "*" else (have + total if total is not None else None)
        elif response.status != 200:
            raise Fault(f"HTTP {response.status}, which is no answer to this request")
        elif total is None and not response.chunked and not self.is_checked and self.wanted.size is None:
            raise Refused(f"{plain(self.wanted.url)}: the server does not say how long it is, and nothing else could tell that it is whole")
        encoding = (response.headers.get("Content-Encoding") or "identity").lower()
        if encoding != "identity" and encoding not in AS_STORED.get(self.file.suffix, ()):
            raise Refused(
                f"{plain(self.wanted.url)}: the server sends it as {encoding}, which was not asked for. Name a mirror with --from"
            )
        if total is None:
            return start, self.wanted.size
        if self.wanted.size is not None and total != self.wanted.size:
            raise Fault(f"has {total:,} bytes on the server, and {self.wanted.size:,} in the listing")
        if total > self.wanted.most:
            raise Refused(f"{plain(self.wanted.url)}: {total:,} bytes, more than the {self.wanted.most:,} that such a file may have")
        return start, total

    def write(self, response: Any, start: int, total: int | None) -> int:
        """The body behind what is there: how far it came."""
        have, most = start, self.wanted.most if total is None else total
        with open(self.part, "r+b" if start else "wb") as out:
            out.seek(start)
            out.truncate()
            self.count(start)
            for piece in self.web.pieces(response):
                out.write(piece[: most - have])  # an OSError of the disk ends the command, not the attempt
                out.flush()  # what is killed keeps what came
                excess = have + len(piece) - most
                have = min(have + len(piece), most)
                self.count(have)
                if excess > 0 and total is None:
                    raise Refused(f"{plain(self.wanted.url)}: more than the {most:,} bytes that such a file may have")
                if excess > 0:
                    raise Fault(f"goes on past {most:,} bytes, where it should end")
            os.fsync(out.fileno())
        return have

    def past_the_end(self, response: Any, have: int, mark: dict[str, Any]) -> dict[str, Any]:
        """A Range that the server has nothing for: all is there, or the file is another one."""
        found = RANGE.fullmatch((response.headers.get("Content-Range") or "").strip())
        as_before = self.is_checked or mark.get("total") in (None, have)
        if found and found[3] == str(have) and self.wanted.size in (None, have) and as_before:
            return self.finish(have, mark)
        self.drop()
        raise Fault("it has changed on the server, or its length was told wrong")

    def finish(self, size: int, mark: dict[str, Any]) -> dict[str, Any]:
        """Check the whole file and give it its name."""
        wrong, digest = self.judge(size)
        if wrong:
            self.drop()
            self.spoiled += 1
            if self.spoiled >= SPOILED:
                raise Refused(f"{plain(self.wanted.url)}: {wrong}, {SPOILED} times: the server's file is bad. Name a mirror with --from")
            raise Fault(wrong, 0.0)
        os.replace(self.part, self.file)
        self.mark.unlink(missing_ok=True)
        self.count(size)
        when = moment(mark.get("modified"))
        checked = "published checksum" if self.wanted.digest else "gzip's CRC-32" if self.is_checked else "length"
        entry = {"url": plain(self.wanted.url), "bytes": size, "checksum": digest, "checked": checked}
        return {**entry, "modified": when.isoformat() if when else None}

    def judge(self, size: int) -> tuple[str, str]:
        """(what is wrong with the whole file, its checksum)."""
        if self.have() != size or self.wanted.size not in (None, size):
            return f"{self.have():,} bytes where {size:,} were expected", ""
        algorithm, _, published = self.wanted.digest.partition(":")
        with open(self.part, "rb") as file:
            found = hashlib.file_digest(file, algorithm or "sha256").hexdigest()
        if published and found != published:
            return f"its {algorithm} is {found}, and the publisher's {published}", ""
        if not published and self.is_checked:
            try:
                with gzip.open(self.part) as file:
                    if file.read(2) == GZIP:
                        return "comes gzipped twice, as the server encodes what it was asked to send as it is", ""
                    while file.read(1 << 20):
                        self.web.go_on()
            except (OSError, EOFError, zlib.error) as error:
                return f"is no whole gzip file ({error})", ""
        return "", f"{algorithm or 'sha256'}:{found}"

    def check_room(self, total: int | None, start: int) -> None:
        """Before the first byte."""
        free = shutil.disk_usage(self.file.parent).free
        if total is not None and total - start > free:
            raise NoRoom(
                f"{self.file}: needs {total - start:,} bytes, and {free:,} are free. Make room; the same command goes on from here"
            )

    def have(self) -> int:
        """Bytes that are there."""
        with suppress(FileNotFoundError):
            return self.part.stat().st_size
        return 0

    def count(self, have: int) -> None:
        """Tell who looks how far it is."""
        self.seen(have - self.counted)
        self.counted = have
        self.furthest = max(self.furthest, have)

    def drop(self) -> None:
        """Begin again."""
        self.part.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)
        self.count(0)

    def read_mark(self) -> dict[str, Any]:
        """Which version the part is of; of another address, or unreadable, none."""
        with suppress(OSError, ValueError, RecursionError):
            mark = json.loads(self.mark.read_bytes())
            if isinstance(mark, dict) and mark.get("url") == plain(self.wanted.url):
                return mark
        return {}


class NoRoom(CurateError):
    """The disk is full, or would be: ends the command."""


def validator(mark: dict[str, Any]) -> str:
    """For If-Range: a strong ETag, else the date."""
    etag = mark.get("etag") or ""
    return etag if etag.startswith('"') else mark.get("modified") or ""
