"""What is to be fetched: an address, a place below DIR, and what the publisher says of the file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from curate.errors import RecipeError
from curate.fetch.web import Refused

PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=,~-]{0,199}")  # of a path: no hidden name, none of another folder
DIGEST = re.compile(r"md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}")
LARGEST = 1 << 40  # bytes of a file of which the publisher says nothing


@dataclass(frozen=True)
class Wanted:
    """One file. Raises Refused for a name that leads elsewhere."""

    url: str
    path: str  # below DIR
    size: int | None = None  # bytes, where the listing says
    digest: str = ""  # algorithm:hexadecimal, where the listing says
    most: int = LARGEST  # bytes it may have where the listing does not say

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if not all(PART.fullmatch(part) for part in parts) or len(self.path) > 1000:
            raise Refused(f"{self.path[:200]!r}: a name from the listing of {self.url[:200]} that no file may have here")
        if self.size is not None and not 0 <= self.size <= LARGEST:
            raise Refused(f"{self.path}: the listing says {self.size:,} bytes, which no file here has")
        if self.digest and not DIGEST.fullmatch(self.digest):
            raise Refused(f"{self.path}: {self.digest[:100]!r} in the listing is no checksum that is known here")


def base_address(given: str) -> str:
    """An address from the command line, without a slash at its end."""
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise RecipeError(f"--from {given}: expected an address such as https://host/folder")
    return given.rstrip("/")


def digest(entry: dict[str, object], *algorithms: str) -> str:
    """The first of these checksums that an entry of a listing has."""
    for algorithm in algorithms:
        if value := entry.get(algorithm):
            return f"{algorithm}:{str(value).lower()}"
    return ""


def whole(value: object) -> int | None:
    """A number of bytes of a listing, written as number or as text."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def evenly(count: int, of: int, start: float) -> Sequence[int]:
    """So many of the numbers below `of`, evenly spaced; `start`, from 0 to below 1, shifts them all."""
    return [int((n + start) * of / count) for n in range(count)]
