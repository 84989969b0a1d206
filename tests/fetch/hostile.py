"""A local HTTP server that fails on command, and a downloader that does not sleep."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from curate.fetch.web import Web

MODIFIED = "Wed, 20 Jul 2022 10:00:00 GMT"


@dataclass
class Quick(Web):
    """Waits are written down, not waited."""

    stall: float = 0.4
    waits: list[float] = field(default_factory=list)

    def rest(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.go_on()


class Server:
    """Serves `files`; the next of a path's `faults` is what its next request gets."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = defaultdict(dict)
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.version: dict[str, int] = defaultdict(int)
        self.sent: dict[str, int] = defaultdict(int)
        self.base = ""
        self.drip = threading.Event()  # ends what drips and hangs

    def requests(self, path: str) -> list[dict[str, str]]:
        """Headers of the requests to a path."""
        return [headers for asked, headers in self.asked if asked == path]


@contextmanager
def serving() -> Iterator[Server]:
    """The server, in threads of its own."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.close_connection = True
            path = urlsplit(self.path).path
            server.asked.append((self.path if self.path in server.files else path, dict(self.headers.items())))
            path = self.path if self.path in server.files else path
            fault = server.faults[path].pop(0) if server.faults[path] else ""
            with suppress(BrokenPipeError, ConnectionResetError):
                answer(self, server, path, *fault.split(":", 1))

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    http = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.base = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        server.drip.set()
        http.shutdown()
        http.server_close()


def answer(to: BaseHTTPRequestHandler, server: Server, path: str, fault: str, detail: str = "") -> None:
    """One response."""

    def head(status: int, headers: dict[str, str]) -> None:
        to.send_response(status)
        for name, value in {"Connection": "close", **server.headers[path], **headers}.items():
            to.send_header(name, value)
        to.end_headers()

    if fault.isdigit():
        head(int(fault), {"Content-Length": "0", **({"Retry-After": detail} if detail else {})})
        return
    if fault == "redirect":
        head(302, {"Location": detail, "Content-Length": "0"})
        return
    if path not in server.files:
        head(404, {"Content-Length": "0"})
        return
    if fault == "changed":  # another version from now on, of the same bytes
        server.version[path] += 1
    data = server.files[path]
    etag = f'"{hashlib.md5(data).hexdigest()}-{server.version[path]}"'
    if fault == "etag_only":
        etag = '"another"'
    start, status, headers = 0, 200, {"ETag": etag, "Last-Modified": MODIFIED}
    wanted = to.headers.get("Range")
    same = to.headers.get("If-Range") in (None, etag) or fault == "etag_only"
    if wanted and same and fault != "ignore_range":
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(data):
            head(416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": "0"})
            return
        status, headers["Content-Range"] = 206, f"bytes {start}-{len(data) - 1}/{len(data)}"
    body = data[start:]
    if fault == "wrong_part" and status == 206:
        headers["Content-Range"] = f"bytes {start + 1}-{len(data) - 1}/{len(data)}"
    if fault == "corrupt" and body:
        body = bytes([body[0] ^ 1]) + body[1:]
    if fault == "shorter":
        body = body[: len(body) // 2]
    if fault == "encoded":
        headers["Content-Encoding"] = "br"
    promised = len(body) + (7 if fault == "longer" else 0)
    if fault in ("chunked", "chunked_drop"):
        head(status, headers | {"Transfer-Encoding": "chunked"})
        half = len(body) // 2
        for piece in (body[:half], body[half:]) if fault == "chunked" else (body[:half],):
            if piece:
                to.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        to.wfile.write(b"0\r\n\r\n" if fault == "chunked" else b"")
        return
    if fault == "no_length":
        head(status, headers)
    else:
        head(status, headers | {"Content-Length": str(promised)})
    if fault == "drop":
        body = body[: int(detail)]
    if fault in ("drip", "hang"):
        for n in range(0 if fault == "drip" else len(body), len(body)):
            to.wfile.write(body[n : n + 1])
            to.wfile.flush()
            if server.drip.wait(0.02):
                return
        server.drip.wait(5)
        return
    server.sent[path] += len(body)
    to.wfile.write(body)


def recorded(call: Callable[[], object]) -> str:
    """The message that a call ends with; empty where it ends well."""
    from curate.errors import CurateError

    try:
        call()
    except CurateError as error:
        return str(error)
    return ""
