"""WARC files of the sample: request, response and metadata of each visit, as a crawler stores them.

HTML in many encodings, some compressed, some in chunks, some cut short by the crawler, and what is no page: 404s, images, revisits.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from curate import store
from curate.sample.documents import Document
from curate.sample.html import Encoding, encoded, encoding_of, not_found, page_of
from curate.sample.write import cut_last, date, digest, information, member, record_id

PROFILE = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
RECORDS = 3  # of each visit


class Answer(NamedTuple):
    """What the server sent."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    encoding: Encoding | None = None


def warc(path: Path, documents: Sequence[Document], rng: Random) -> tuple[list[int], list[dict[str, str]]]:
    """Writes the file; returns the records' numbers and for each document what truth.jsonl says of its encoding."""
    file = record_id(rng)
    members = [information(path.name, file, "software: curate sample\r\nformat: WARC File Format 1.0\r\n")]
    transfers = []
    for document in documents:
        answer, transfer = _answer(document, rng)
        transfers.append(transfer)
        visit = [("WARC-Date", date(document.date)), ("WARC-Warcinfo-ID", file), ("WARC-Target-URI", document.url)]
        asked, answered = record_id(rng), record_id(rng)
        metadata = _metadata(document, answer, rng)
        response = _response(document, answer, [*visit, ("WARC-Concurrent-To", asked), ("WARC-IP-Address", "192.0.2.7")], answered)
        members += [
            _record("request", "application/http; msgtype=request", [*visit, ("WARC-IP-Address", "192.0.2.7")], asked, _request(document)),
            response,
            _record("metadata", "application/warc-fields", [*visit, ("WARC-Concurrent-To", answered)], record_id(rng), metadata),
        ]
    if documents and documents[-1].rule == "cut":
        members.pop()  # so that the file ends within the response
    store.write_bytes(str(path), cut_last(members, documents))
    return [2 + RECORDS * at for at in range(len(documents))], transfers


def _answer(document: Document, rng: Random) -> tuple[Answer, dict[str, str]]:
    if document.kind in ("image", "not_found"):
        body = _png(rng) if document.kind == "image" else not_found(document).encode()
        kind = "image/png" if document.kind == "image" else "text/html; charset=utf-8"
        status = "200 OK" if document.kind == "image" else "404 Not Found"
        return Answer(status, (("Content-Type", kind), ("Content-Length", str(len(body)))), body), {}
    if document.kind == "revisit":
        return Answer("304 Not Modified", (), b""), {}
    encoding = encoding_of(document, rng)
    body = encoded(page_of(document, encoding, rng), encoding)
    if document.kind == "truncated":
        body = body[: len(body) * 3 // 5]
    headers = [("Content-Type", f"text/html; charset={encoding.name}" if encoding.in_header else "text/html")]
    transfer = {"encoding": encoding.name, "declared": "+".join(["header"] * encoding.in_header + ["meta"] * encoding.in_meta)}
    draw = rng.random()
    if document.rule == "content_encoding":  # says gzip and is not
        headers.append(("Content-Encoding", "gzip"))
        body = b"\x1f\x8b\x08" + rng.randbytes(len(body) // 3)
    elif draw < 0.15 and document.kind != "truncated":
        headers.append(("Content-Encoding", "gzip"))
        body = gzip.compress(body, 6, mtime=0)
        transfer["transfer"] = "gzip"
    elif draw < 0.3 and document.kind != "truncated":
        headers.append(("Transfer-Encoding", "chunked"))
        body = _chunked(body, rng)
        transfer["transfer"] = "chunked"
    if not any(name == "Transfer-Encoding" for name, _ in headers):
        headers.append(("Content-Length", str(len(body))))
    return Answer("200 OK", tuple(headers), body, encoding), transfer


def _response(document: Document, answer: Answer, headers: list[tuple[str, str]], identity: str) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    block = (
        f"HTTP/1.1 {answer.status}\r\nServer: nginx\r\nDate: {document.date:%a, %d %b %Y %H:%M:%S} GMT\r\n{head}\r\n".encode() + answer.body
    )
    headers = [*headers, ("WARC-Payload-Digest", digest(answer.body))]
    if document.kind == "revisit":
        headers += [("WARC-Profile", PROFILE), ("WARC-Refers-To-Target-URI", document.url)]
        return _record("revisit", "application/http; msgtype=response", headers, identity, block)
    if document.kind == "truncated":
        headers.append(("WARC-Truncated", "length"))
    headers.append(("WARC-Identified-Payload-Type", "image/png" if document.kind == "image" else "text/html"))
    return _record("response", "application/http; msgtype=response", headers, identity, block)


def _record(kind: str, content: str, headers: Sequence[tuple[str, str]], identity: str, block: bytes) -> bytes:
    length = [("Content-Length", str(len(block))), ("Content-Type", content)]
    first = [("WARC-Type", kind), headers[0], ("WARC-Record-ID", identity)]
    return member([*first, *length, *headers[1:], ("WARC-Block-Digest", digest(block))], block)


def _request(document: Document) -> bytes:
    host, path = document.url.removeprefix("https://").split("/", 1)
    return (
        f"GET /{path} HTTP/1.1\r\nUser-Agent: curate-sample\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"
        f"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip\r\nHost: {host}\r\nConnection: Keep-Alive\r\n\r\n"
    ).encode()


def _metadata(document: Document, answer: Answer, rng: Random) -> bytes:
    lines = [f"fetchTimeMs: {rng.randrange(20, 900)}"]
    if answer.encoding:
        lines.append(f"charset-detected: {answer.encoding.name.upper()}")
        languages = {"reliable": True, "text-bytes": len(document.text), "languages": [{"code": document.language}]}
        lines.append("languages-cld2: " + json.dumps(languages))
    return "".join(f"{line}\r\n" for line in lines).encode()


def _chunked(body: bytes, rng: Random) -> bytes:
    chunks = []
    at = 0
    while at < len(body):
        size = rng.randrange(500, 4000)
        piece = body[at : at + size]
        chunks.append(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        at += size
    return b"".join(chunks) + b"0\r\n\r\n"


def _png(rng: Random) -> bytes:
    """A grey picture of 16 by 16 pixels."""
    rows = b"".join(b"\0" + rng.randbytes(16) for _ in range(16))
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
