"""Web pages out of WARC files: HTTP, content encodings and charsets undone, HTML to text by resiliparse (Bevendorff et al. 2018).

65 MB/s of HTML per core without the inflating (630 real pages of 100 KB a second), 50 MB/s with it; most of it is resiliparse. Its parser
does not recurse, but takes time in the square of a page's depth and of a tag's attributes: such pages are found beforehand and quarantined.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import brotli
import pyarrow as pa
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree
from zstandard import ZstdDecompressor, ZstdError

from curate import store
from curate.stage import Bad, Shard, Skip, Source
from stages.read import archive
from stages.read.rows import Rows
from stages.read.wet import other_type, target_uri

STATUS = re.compile(rb"\s*HTTP/\d(?:\.\d)?[ \t]+(\d{3})", re.IGNORECASE)
CHUNK_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,256})?\r?\n")
CHARSET = re.compile(r"charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
META = re.compile(rb"<meta[^>]{1,500}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
XML = re.compile(rb"\s*<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]{1,40})[\"']")
META_BYTES = 8192  # a page says its charset in the first 1024 bytes, or not much later
BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
SUPERSETS = {"gbk": "gb18030", "gb2312": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs", "tis-620": "cp874"}
LEAST_SOUND = 0.99  # of characters: a charset that fails on more was declared in error
HTML = ("text/html", "application/xhtml+xml")
TYPES = (*HTML, "text/plain")
GZIP_BITS, ZLIB_BITS, RAW_BITS = 31, 15, -15

TAG = re.compile(
    r"<(?:!--.*?(?:--!?>|\Z)|(/?)([a-zA-Z][^\s/>]*+)((?:[^>\"'=]++|=\s*+(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))|[\"'=])*+)(?:>|\Z))",
    re.DOTALL,
)
ATTRIBUTE = re.compile(r"[^\s/>=][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^\s>]*+))?")
VERBATIM = frozenset(("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"))
FLAT = frozenset(re.findall(r"\w+", "area base br col embed hr img input link meta param source track wbr p li dt dd tr td th"))
FEW_TAGS = 7000  # a page of fewer that is shorter than SMALL takes no more than MOST_STEPS
SMALL = 256 << 10
MOST_STEPS = 100_000_000  # about 4 s of resiliparse


class TooLarge(Exception):
    """A page that is larger than allowed once it is decompressed."""


@dataclass(frozen=True)
class Warc(Source):
    """HTML and plain text of `response` records, and of `resource` records of these types."""

    paths: tuple[str, ...]  # files, patterns and folders, local or URLs
    main_content: bool = True  # leave out navigation, footers and the like; ours, as DCLM
    alt_texts: bool = False  # of images; ours
    list_bullets: bool = True  # a bullet before each item of a list; ours
    types: tuple[str, ...] = TYPES  # by HTTP's Content-Type, else by the crawler's identification; all but text/plain are read as HTML
    statuses: Literal["2xx", "all"] = "2xx"  # HTTP statuses of the pages that are read; ours
    truncated: Literal["keep", "skip"] = "keep"  # pages that the crawler cut; the column `truncated` says why; ours
    max_html_bytes: int = 16 << 20  # ours: a bound on memory; decompressed; larger pages are quarantined
    max_record_bytes: int = archive.LARGEST  # ours: a bound on memory; larger records are skipped over and quarantined

    @property
    def adds(self) -> tuple[str, ...]:
        """`charset` is the one that the page was decoded by."""
        return ("url", "date", "title", "digest", "charset", "truncated")

    def shards(self, target: int) -> list[Shard]:
        """Gzip and plain files are cut."""
        return archive.shards(store.expand(self.paths, "read.warc.Warc paths"), target)

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """One document per page."""
        rows = Rows(self.adds)
        for record in archive.records(shard, self.max_record_bytes):
            if isinstance(record, Bad):
                yield record
                continue
            place = f"{shard.file.label}:{record.offset}"
            try:
                page = self.page(record.headers, record.block)
            except TooLarge:
                reason = f"the page is larger than {self.max_html_bytes} bytes"
                yield Bad(place, reason, record.block[: archive.RAW])
                continue
            if isinstance(page, Skip):
                yield page
            elif isinstance(page, str):
                yield Bad(place, page, record.block[: archive.RAW])
            else:
                rows.add(place, *page)
                if rows.full:
                    yield rows.take()
        if len(rows):
            yield rows.take()

    def page(self, headers: dict[str, str], block: bytes) -> tuple[str | None, ...] | Skip | str:
        """The row of one record without its id; or why there is none, as a Skip or as the reason of a Bad."""
        kind = headers.get("warc-type", "").lower()
        declared = headers.get("content-type", "")
        if kind not in ("response", "resource"):
            return Skip("revisit" if kind == "revisit" else other_type(headers))
        url = target_uri(headers)
        if kind == "resource" and url and url.startswith(("metadata:", "urn:")):  # wget's own log and arguments
            return Skip("type_resource")
        cut = headers.get("warc-truncated")
        if cut and self.truncated == "skip":
            return Skip("truncated")
        http: dict[str, str] = {}
        body = block
        if kind == "response":
            if not declared.startswith("application/http"):
                return Skip("not_http")
            status = STATUS.match(block)
            if not status:
                return f"no HTTP status line: {block[:40]!r}"
            if self.statuses == "2xx" and status[1][:1] != b"2":
                return Skip(f"http_{chr(status[1][0])}xx")
            end = archive.HEADER_END.search(block, 0, archive.LARGEST_HEADER)
            http = archive.parse_headers(block[: end.start() if end else archive.LARGEST_HEADER])
            body = block[end.end() :] if end else b""
            declared = http.get("content-type", "") or headers.get("warc-identified-payload-type", "")
        media = declared.partition(";")[0].strip().lower()
        if media not in self.types and (media or kind == "resource"):
            return Skip("not_text")
        if "chunked" in http.get("transfer-encoding", "").lower():
            body = dechunk(body)
        body = decompress(body, http.get("content-encoding", ""), self.max_html_bytes)
        charset = CHARSET.search(declared)
        label = charset[1] if charset else ""
        if looks_binary(body, label) or not (media or looks_like_html(body)):
            return Skip("not_text")
        html, name = decode(body, label)
        title = None
        if media == "text/plain":
            text = html
        elif too_tangled(html):
            return "HTML nested too deep, or of too many attributes"
        else:
            tree = HTMLTree.parse(html)
            title = tree.title
            text = extract_plain_text(tree, main_content=self.main_content, alt_texts=self.alt_texts, list_bullets=self.list_bullets)
        if not text.strip():
            return Skip("empty")
        digest = headers.get("warc-payload-digest") or headers.get("warc-block-digest")
        return text, url, headers.get("warc-date"), title, digest, name, cut


def dechunk(body: bytes) -> bytes:
    """Undo HTTP's chunks; a body that is not in chunks, as most crawlers leave it, stays as it is; a cut one gives what is there."""
    out = []
    at = 0
    while size := CHUNK_SIZE.match(body, at):
        first, last = size.end(), size.end() + int(size[1], 16)
        if last < len(body) and body[last : last + 1] not in (b"\r", b"\n"):
            break
        out.append(body[first:last])
        at = last
        if last == first or last >= len(body):
            return b"".join(out)
    return b"".join(out) if out and not body[at:].strip() else body


def decompress(body: bytes, encodings: str, limit: int) -> bytes:
    """Undo HTTP's content encodings, the last first. A body that is none of what it claims is taken as it is. Raises TooLarge."""
    for encoding in reversed(encodings.lower().split(",")[:4]):
        encoding = encoding.strip()
        if encoding in ("gzip", "x-gzip") and body.startswith(archive.GZIP[:2]):
            body = _inflate(body, GZIP_BITS, limit)
        elif encoding == "deflate":
            zlib_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
            body = (zlib_header and _inflate(body, ZLIB_BITS, limit)) or _inflate(body, RAW_BITS, limit, whole=True) or body
        elif encoding == "br":
            body = _unbrotli(body, limit) or body
        elif encoding == "zstd" and body.startswith(archive.ZSTD):
            body = _unzstd(body, limit) or body
        if len(body) > limit:
            raise TooLarge
    if len(body) > limit:
        raise TooLarge
    return body


def _inflate(body: bytes, bits: int, limit: int, whole: bool = False) -> bytes:
    """What can be inflated, to a little over `limit`; where only a `whole` stream counts, nothing if it has an error."""
    inflate = zlib.decompressobj(bits)
    out, size, at = [], 0, 0
    step = 4096  # an error costs the output of its step
    try:
        while size <= limit and not inflate.eof:
            rest = inflate.unconsumed_tail or body[at : (at := at + step)]
            piece = inflate.decompress(rest, limit + 1 - size)
            if not rest and not piece:
                break
            out.append(piece)
            size += len(piece)
    except zlib.error:
        if whole:
            return b""
    return b"".join(out)


def _unbrotli(body: bytes, limit: int) -> bytes:
    decoder = brotli.Decompressor()
    out, size = [], 0
    try:
        piece = decoder.process(body, output_buffer_limit=limit + 1)
        while piece and size <= limit:
            out.append(piece)
            size += len(piece)
            piece = b"" if decoder.is_finished() else decoder.process(b"", output_buffer_limit=limit + 1)
    except brotli.error:
        return b""
    return b"".join(out)


def _unzstd(body: bytes, limit: int) -> bytes:
    out, size = [], 0
    try:
        stream = ZstdDecompressor(max_window_size=1 << 27).stream_reader(body, read_across_frames=True)
        while size <= limit and (piece := stream.read(min(limit + 1, 1 << 18))):
            out.append(piece)
            size += len(piece)
    except (ZstdError, MemoryError):
        pass
    return b"".join(out)


def looks_binary(body: bytes, label: str) -> bool:
    """A NUL near the start of what is not UTF-16, or a PDF."""
    start = body[:1024]
    wide = label.lower().startswith("utf-16") or start.startswith((b"\xff\xfe", b"\xfe\xff"))
    return start.startswith(b"%PDF-") or (not wide and b"\0" in start)


def looks_like_html(body: bytes) -> bool:
    """For pages without a type."""
    start = body[:1024].lower()
    return b"<html" in start or b"<!doctype html" in start


def decode(body: bytes, label: str) -> tuple[str, str]:
    """(text, charset): by byte order mark, HTTP header, the page itself, and else by statistics. Never raises."""
    for mark, name in BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace"), name
    start = body[:META_BYTES]
    inside = META.search(start) or XML.match(start)
    for declared in (label, inside[1].decode() if inside else ""):
        found = map_encoding_to_html5(declared, fallback_utf8=False) if declared else None
        if found:
            name = "utf-8" if declared != label and found.startswith("utf-16") else SUPERSETS.get(found, found)
            text = body.decode(name, "replace")
            if text.count("\ufffd") <= (1 - LEAST_SOUND) * len(text):
                return text, name
    found = detect_encoding(body) or "utf-8"
    name = SUPERSETS.get(found, found)
    return body.decode(name, "replace"), name


def too_tangled(html: str) -> bool:
    """Whether a parser would take long: its steps grow with the depth of every tag, and with the square of a tag's attributes."""
    if len(html) < SMALL and html.count("<") < FEW_TAGS:
        return False
    steps = depth = at = 0
    while tag := TAG.search(html, at):
        at = tag.end()
        closes, name, attributes = tag.groups()
        if name is None:
            continue
        name = name.lower()
        steps += depth
        if len(attributes) > 1000:
            steps += len(ATTRIBUTE.findall(attributes)) ** 2 // 20
        if name in FLAT:
            pass
        elif closes:
            depth -= depth > 0
        elif name in VERBATIM:
            end = html.find("</", at)
            while end >= 0 and html[end + 2 : end + 2 + len(name)].lower() != name:
                end = html.find("</", end + 2)
            at = end if end >= 0 else len(html)
            depth += 1
        else:
            depth += 1
        if steps > MOST_STEPS:
            return True
    return False
