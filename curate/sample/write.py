"""The raw formats of the sample, one writer each: what a crawl or a hub would hand out, byte for byte the same for the same documents.

A writer returns for each document the number of its record in the file, counted from 0 with all others: the line of a JSONL file, the row
of a Parquet file, the record of a WARC or WET file.
"""

from __future__ import annotations

import gzip
import io
import json
from base64 import b32encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha1
from pathlib import Path
from random import Random
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from curate import store
from curate.sample.documents import Document

SAYS = "curate sample"
BAD_UTF8 = b"\xff\xfe\xc3\x28\xa0\xa1 \xe2\x28\xa1 \xf0\x28\x8c\xbc"


def wet(path: Path, documents: Sequence[Document], rng: Random) -> list[int]:
    """A WET file: a warcinfo record, then a conversion record for each page, every record a gzip member of its own."""
    members = [information(path.name, record_id(rng), "Software-Info: curate sample, plain text of pages that were never on the web\r\n")]
    for document in documents:
        payload = wet_text(document).encode("utf-8", "replace")
        if document.rule == "utf8":
            middle = len(payload) // 2
            payload = payload[:middle] + BAD_UTF8 + payload[middle:]
        length = {"length_long": str(len(payload) + 4000), "length_short": str(len(payload) // 3), "length_word": "unknown"}
        headers = [
            ("WARC-Type", "conversion"),
            ("WARC-Target-URI", document.url),
            ("WARC-Date", date(document.date)),
            ("WARC-Record-ID", record_id(rng)),
            ("WARC-Refers-To", record_id(rng)),
            ("WARC-Block-Digest", digest(payload)),
            ("WARC-Identified-Content-Language", THREE_LETTERS.get(document.language, "eng")),
            ("Content-Type", "text/plain"),
            ("Content-Length", length.get(document.rule or "", str(len(payload)))),
        ]
        members.append(member(headers, payload))
    store.write_bytes(str(path), cut_last(members, documents))
    return list(range(1, len(documents) + 1))


def wet_text(document: Document) -> str:
    """What a WET record holds: the title, then every line of the page with what its site prints around it."""
    host = document.host
    lines = [document.title, *(host.above if host.menu else ())]
    if host.menu:
        lines.append(f"Home > {document.url.split('/')[-2]} > {document.title.rsplit(' - ', 1)[0]}")
    for line in document.body:
        lines += [part.strip() for part in line.text.split("\n") if part.strip()]
    if host.menu:
        lines.append(f"Last updated on {document.date.day - 1} {document.date:%B %Y}")
    return "\n".join([*lines, *host.footer]) + "\n"


def jsonl(path: Path, documents: Sequence[Document]) -> list[int]:
    """gzip JSON lines as C4 has them: text, timestamp, url."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as file:
        for document in documents:
            row = {"text": document.text, "timestamp": date(document.date), "url": document.url}
            line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
            if document.rule == "json":
                line = line[: 2 * len(line) // 3]
            elif document.rule == "utf8":
                line = line[:40] + BAD_UTF8 + line[40:]
            elif document.rule == "cut":  # what stands before it can be read to its end
                file.flush()
                intact = buffer.tell()
            file.write(line + b"\n")
    data = buffer.getvalue()
    if documents and documents[-1].rule == "cut":
        data = data[: (intact + len(data)) // 2]
    store.write_bytes(str(path), data)
    return list(range(len(documents)))


def parquet(path: Path, documents: Sequence[Document]) -> list[int]:
    """Code as a table: text, path, package, licence."""
    columns = {
        "text": pa.array([d.text for d in documents], pa.large_string()),
        "path": pa.array([d.url for d in documents], pa.string()),
        "package": pa.array([d.package for d in documents], pa.string()),
        "licence": pa.array([d.licence for d in documents], pa.string()),
    }
    with store.commit(str(path)) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd", row_group_size=64)
    return list(range(len(documents)))


THREE_LETTERS = {
    "de": "deu", "fr": "fra", "es": "spa", "it": "ita", "pt": "por", "nl": "nld", "ru": "rus", "zh": "zho", "ja": "jpn", "th": "tha"
}  # fmt: skip


def information(name: str, identity: str, says: str) -> bytes:
    """The record at the head of a file, under its own id."""
    payload = (
        f"{says}isPartOf: {SAYS}\r\noperator: {SAYS}\r\ndescription: Made-up crawl for trying curate\r\npublisher: {SAYS}\r\n\r\n".encode()
    )
    headers = [
        ("WARC-Type", "warcinfo"),
        ("WARC-Date", "2024-05-31T01:16:46Z"),
        ("WARC-Filename", name),
        ("WARC-Record-ID", identity),
        ("Content-Type", "application/warc-fields"),
        ("Content-Length", str(len(payload))),
    ]
    return member(headers, payload)


def member(headers: Sequence[tuple[str, str]], payload: bytes) -> bytes:
    """One record as one gzip member."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return gzip.compress(f"WARC/1.0\r\n{head}\r\n".encode() + payload + b"\r\n\r\n", 6, mtime=0)


def cut_last(members: list[bytes], documents: Sequence[Document]) -> bytes:
    """The file; it ends in the middle of its last record where that is to be cut off."""
    if documents and documents[-1].rule == "cut":
        members[-1] = members[-1][: len(members[-1]) // 2]
    return b"".join(members)


def record_id(rng: Random) -> str:
    return f"<urn:uuid:{UUID(int=rng.getrandbits(128), version=4)}>"


def digest(data: bytes) -> str:
    return "sha1:" + b32encode(sha1(data).digest()).decode()


def date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
