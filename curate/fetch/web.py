"""HTTP as a downloader needs it: bounded redirects, what may pass told from what will not, patience between attempts.

The standard library's client: it streams in pieces of bounded size, honours the proxies of the environment and decodes nothing.
Delays are 1, 2, 4, ... 60 seconds, without jitter, or what the server's Retry-After says.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from curate.errors import CurateError

T = TypeVar("T")
PIECE = 1 << 18  # bytes read at once
SLOWEST = 1024  # bytes per second, below which a server is taken to have stalled
LONGEST_DELAY = 60.0  # seconds between two attempts of our own
LONGEST_WAIT = 600.0  # seconds that a server may ask for
FURTHER = 1 << 20  # bytes that make a broken connection a new beginning
MOVED = {301, 302, 303, 307, 308}
NOT_FOLLOWED = "redirects to {}, which is not followed. Name a mirror with --from"
PASSING = {408, 425, 429}  # and all from 500
ADVICE = {
    401: "it wants credentials",
    403: "it refuses: either there is no such file, or it blocks this address for now. Check the name, wait, or name a mirror with --from",
    404: "there is no such file here. Check the name, or name a mirror that keeps it with --from",
    410: "it is kept no longer. Name a mirror that keeps it with --from",
    451: "it may not be served here, for legal reasons",
}


class Fault(Exception):
    """May pass: to be tried again, after `wait` seconds where the server says so."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


class Refused(CurateError):
    """Will not pass: one file fails, with what to do."""


class Stopped(Exception):
    """The command was interrupted."""


class Redirects(HTTPRedirectHandler):
    """A few, to http and https only, never from https to http; what identifies the user stays with the host it was meant for."""

    max_redirections = 5

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """The request that follows."""
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise Refused(f"{plain(req.full_url)}: {NOT_FOLLOWED.format(plain(newurl)[:200])}")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and new.host != req.host:
            new.headers = {k: v for k, v in new.headers.items() if k.lower() != "authorization" and not k.lower().startswith("x-amz-")}
        return new


@dataclass
class Web:
    """How a source is asked."""

    tries: int = 6  # in a row, without getting further
    stall: float = 60.0  # seconds of silence
    pause: float = 0.0  # seconds between two requests, where a source asks for it
    sign: Callable[[str], Mapping[str, str]] | None = None  # headers that identify the user
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._opener = build_opener(Redirects())
        self._turn = threading.Lock()
        self._last = float("-inf")

    def rest(self, seconds: float) -> None:
        """Wait, unless the command is interrupted."""
        if self.stop.wait(seconds):
            raise Stopped

    def go_on(self) -> None:
        """Raises Stopped once the command is interrupted."""
        if self.stop.is_set():
            raise Stopped

    def ask(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        """The response: of status 200, 206 or 416, of a Range that is none. Raises Fault or Refused for any other."""
        self._take_turn()
        signed = self.sign(url) if self.sign else {}
        try:
            request = Request(url, headers={"User-Agent": "curate", "Accept-Encoding": "identity", **(headers or {}), **signed})
            return self._opener.open(request, timeout=self.stall)
        except HTTPError as error:
            if error.code == 416 and headers and "Range" in headers:
                return error
            with error:
                raise judged(url, error) from None
        except (URLError, OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise Refused(f"{plain(url)}: its certificate is not trusted ({reason.verify_message})") from None
            raise Fault(f"cannot be reached ({said(reason)})") from None
        except ValueError as error:
            raise Refused(f"{plain(url)}: is no address that can be asked ({error})") from None

    def _take_turn(self) -> None:
        self.go_on()
        if self.pause:
            with self._turn:
                early = self._last + self.pause - time.monotonic()
                if early > 0:
                    self.rest(early)
                self._last = time.monotonic()

    def pieces(self, response: Any) -> Iterator[bytes]:
        """The body, as it comes. Raises Fault where it breaks off or stalls."""
        since, got = time.monotonic(), 0
        while True:
            self.go_on()
            try:
                piece = response.read1(PIECE)
            except (OSError, HTTPException) as error:
                raise Fault(f"the connection broke ({said(error)})") from None
            if not piece:
                return
            yield piece
            got += len(piece)
            now = time.monotonic()
            if now - since >= self.stall:
                if got < SLOWEST * self.stall:
                    raise Fault(f"stalls: {got:,} bytes in {now - since:.0f} s")
                since, got = now, 0

    def read(self, url: str, most: int) -> tuple[bytes, Mapping[str, str]]:
        """(bytes, headers) of a listing that is no longer than `most`."""

        def attempt() -> tuple[bytes, Mapping[str, str]]:
            with self.ask(url) as response:
                data = bytearray()
                for piece in self.pieces(response):
                    data += piece
                    if len(data) > most:
                        raise Refused(f"{plain(url)}: is longer than the {most:,} bytes that such a listing may have")
                promised = length(response)
                if promised is not None and promised != len(data):
                    raise Fault(f"broke off at {len(data):,} of {promised:,} bytes")
                return bytes(data), response.headers

        return self.persist(url, attempt)

    def persist(self, url: str, attempt: Callable[[], T], reached: Callable[[], int] = lambda: 0) -> T:
        """Attempt until it is done, or has failed `tries` times since `reached` last told of new bytes."""
        failures, furthest = 0, reached()
        while True:
            try:
                return attempt()
            except Fault as fault:
                if reached() >= furthest + FURTHER:
                    failures, furthest = 0, reached()
                failures += 1
                if failures >= self.tries:
                    times = f"{failures} times in a row" if failures > 1 else "once"
                    raise Refused(
                        f"{plain(url)}: {fault}, {times}. The same command goes on from here, or name a mirror with --from"
                    ) from None
                self.rest(min(LONGEST_DELAY, 2.0 ** (failures - 1)) if fault.wait is None else fault.wait)


def judged(url: str, error: HTTPError) -> Exception:
    """What an error of HTTP means for the download."""
    code = error.code
    if code in PASSING or code >= 500:
        wait = retry_after(error.headers)
        if wait is not None and wait > LONGEST_WAIT:
            return Refused(f"{plain(url)}: HTTP {code}: the server asks to come back in {wait / 60:.0f} minutes; run the same command then")
        return Fault(f"HTTP {code}", wait)
    to = (error.headers.get("Location") or "").strip() if code in MOVED else ""
    if to and urlsplit(to).scheme not in ("", "http", "https"):  # the library has not even asked us
        return Refused(f"{plain(url)}: {NOT_FOLLOWED.format(plain(to)[:200])}")
    if 300 <= code < 400:
        return Refused(f"{plain(url)}: HTTP {code}: redirects in a circle, or too often. Name a mirror with --from")
    return Refused(f"{plain(url)}: HTTP {code}: {ADVICE.get(code, 'the server will not give it')}")


def retry_after(headers: Any) -> float | None:
    """Seconds, of either form of the header."""
    value = (headers.get("Retry-After") or "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until, now = moment(value), moment(headers.get("Date"))
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds()) if until else None


def moment(value: str | None) -> datetime | None:
    """A date of HTTP."""
    try:
        when = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def length(response: Any) -> int | None:
    """Content-Length, where there is one."""
    value = (response.headers.get("Content-Length") or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def plain(url: str) -> str:
    """For messages and manifests: without a user's name and password, and without a signed query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def said(error: object) -> str:
    """An error in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join(str(error).split())[:200] or type(error).__name__
