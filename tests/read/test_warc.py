"""WARC: pages come out of HTTP, encodings and charsets whole, and no page can take the reader down."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import time
import zlib
from pathlib import Path

import brotli
import pytest
import zstandard

from curate.stage import Bad, Skip
from stages.read import warc
from stages.read.warc import Warc

CORPUS = Path(__file__).parents[3] / "shared/corpus/commoncrawl"
TEXT = "Grüße aus Köln — and a sentence that is long enough to be a paragraph of its own."
HTML = f"<html><head><title>A  title</title></head><body><p>{TEXT}</p></body></html>"


def response(
    body: bytes,
    http: str = "Content-Type: text/html; charset=utf-8",
    status: str = "HTTP/1.1 200 OK",
    kind: str = "response",
    **more: str,
) -> bytes:
    block = "\r\n".join([status, *([http] if http else [])]).encode() + b"\r\n\r\n" + body
    fields = {
        "WARC-Type": kind,
        "WARC-Target-URI": "<http://a.example/>",
        "WARC-Date": "2024-01-01T00:00:00Z",
        "WARC-Payload-Digest": "sha1:P",
        "Content-Type": "application/http; msgtype=response",
        **{k.replace("_", "-"): v for k, v in more.items()},
    }
    head = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    return f"WARC/1.0\r\n{head}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"


def reads(tmp_path: Path, *records: bytes, **options):
    """(documents, reasons of skips, bads)"""
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(map(gzip.compress, records)))
    source = Warc(paths=(str(path),), **options)
    items = [i for shard in source.shards(1 << 60) for i in source.read(shard)]
    rows = [row for i in items if not isinstance(i, Bad | Skip) for row in i.to_pylist()]
    return rows, [i.reason for i in items if isinstance(i, Skip)], [i for i in items if isinstance(i, Bad)]


def test_a_page_becomes_a_document_with_its_title(tmp_path):
    (row,), _, _ = reads(tmp_path, response(HTML.encode()))
    assert row == {
        "id": "a.warc.gz:0",
        "text": TEXT,
        "url": "http://a.example/",
        "date": "2024-01-01T00:00:00Z",
        "title": "A title",
        "digest": "sha1:P",
        "charset": "utf-8",
        "truncated": None,
    }


def test_plain_text_stays_as_it_is(tmp_path):
    (row,), _, _ = reads(tmp_path, response(b"a <b> \n  c", "Content-Type: text/plain"))
    assert (row["text"], row["title"]) == ("a <b> \n  c", None)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (response(b"x", status="HTTP/1.1 404 Not Found"), "http_4xx"),
        (response(b"x", status="HTTP/1.0 302"), "http_3xx"),
        (response(b"x", status="HTTP/2 500 "), "http_5xx"),
        (response(b"x", "Content-Type: image/png"), "not_text"),
        (response(b"%PDF-1.4", "Content-Type: text/html"), "not_text"),
        (response(b"\x89PNG\0\0", "Content-Type: text/html"), "not_text"),
        (response(b"plain", ""), "not_text"),
        (response(b"<p></p>"), "empty"),
        (response(b"", kind="revisit"), "revisit"),
        (response(b"", kind="request"), "type_request"),
        (response(b"", Content_Type="text/dns"), "not_http"),
        (response(HTML.encode(), kind="resource", Content_Type="image/gif"), "not_text"),
        (response(HTML.encode(), kind="resource", Content_Type="text/plain", WARC_Target_URI="metadata://gnu.org/x"), "type_resource"),
    ],
)
def test_what_is_no_page_is_left_out_by_reason(tmp_path, record, reason):
    assert reads(tmp_path, record) == ([], [reason], [])


@pytest.mark.parametrize("status", ["HTTP/1.1 200", "HTTP/1.0 200 ", "HTTP/2 200", "HTTP/1.1  203 Non\tAuth", "http/1.1 200 OK"])
def test_a_status_line_may_lack_its_text(tmp_path, status):
    rows, _, bads = reads(tmp_path, response(HTML.encode(), status=status))
    assert (len(rows), bads) == (1, [])


def test_a_response_without_a_status_is_bad(tmp_path):
    _, _, (bad,) = reads(tmp_path, response(b"x", status="<html>"))
    assert "no HTTP status line" in bad.reason
    assert bad.raw.startswith(b"<html>")


def test_headers_may_end_in_bare_line_feeds(tmp_path):
    body = HTML.encode("latin-1", "ignore")
    record = response(b"", "").replace(b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\nContent-type: text/html;charset=latin1\n\n" + body)
    record = record.replace(b"Content-Length: 19", b"Content-Length: %d" % (55 + 1 + len(body)))
    (row,), _, _ = reads(tmp_path, record)
    assert row["text"].startswith("Grüße aus Köln")


def chunked(data: bytes, size: int = 40) -> bytes:
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("body", [chunked(HTML.encode()), HTML.encode(), chunked(HTML.encode()).replace(b"0\r\n\r\n", b"")])
def test_chunks_are_undone_unless_the_crawler_did_it(tmp_path, body):
    (row,), _, _ = reads(tmp_path, response(body, "Content-Type: text/html;charset=utf-8\r\nTransfer-Encoding: chunked"))
    assert row["text"] == TEXT


def test_text_that_begins_like_a_chunk_is_none():
    body = b"5\r\n beef and cook"
    assert warc.dechunk(body) == body
    assert warc.dechunk(b"5\r\nhelloworld") == b"5\r\nhelloworld"


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


ENCODERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress, "deflate": zlib.compress}


@pytest.mark.parametrize(
    ("names", "body"),
    [
        *((name, encode(HTML.encode())) for name, encode in ENCODERS.items()),
        ("deflate", raw_deflate(HTML.encode())),
        *((name, HTML.encode()) for name in [*ENCODERS, "utf-8", "none", ""]),
        ("gzip, br", brotli.compress(gzip.compress(HTML.encode()))),
        ("GZIP", gzip.compress(HTML.encode())),
    ],
)
def test_content_encodings_are_undone_and_false_claims_forgiven(tmp_path, names, body):
    (row,), _, _ = reads(tmp_path, response(body, f"Content-Type: text/html;charset=utf-8\r\nContent-Encoding: {names}"))
    assert row["text"] == TEXT


@pytest.mark.parametrize("name", list(ENCODERS))
def test_a_cut_body_gives_what_is_there(tmp_path, name):
    rng = random.Random(1)
    words = " ".join(str(rng.random()) for _ in range(20_000))
    body = ENCODERS[name](f"<p>{words}</p>".encode())
    http = f"Content-Type: text/html\r\nContent-Encoding: {name}"
    (row,), _, _ = reads(tmp_path, response(body[: len(body) * 2 // 3], http, WARC_Truncated="length"))
    assert words.startswith(row["text"][:1000])
    assert len(row["text"]) > len(words) / 3
    assert row["truncated"] == "length"
    assert reads(tmp_path, response(body, http, WARC_Truncated="length"), truncated="skip")[1] == ["truncated"]


@pytest.mark.parametrize("name", [*ENCODERS, ""])
def test_a_bomb_costs_itself(tmp_path, name):
    bomb = ENCODERS.get(name, bytes)(b" " * (40 << 20))
    http = f"Content-Type: text/html\r\nContent-Encoding: {name}"
    rows, _, (bad,) = reads(tmp_path, response(bomb, http), response(HTML.encode()), max_html_bytes=1 << 20)
    assert len(rows) == 1
    assert "larger than 1048576 bytes" in bad.reason
    assert len(bad.raw) <= 1 << 20


RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний."


@pytest.mark.parametrize(
    ("body", "http", "charset"),
    [
        (b"\xef\xbb\xbf" + RUSSIAN.encode(), "text/html;charset=latin1", "utf-8"),
        (RUSSIAN.encode("utf-16"), "text/html", "utf-16-le"),
        (RUSSIAN.encode("koi8-r"), 'text/html; charset="KOI8-R"', "koi8-r"),
        (b"<meta charset=windows-1251>" + RUSSIAN.encode("cp1251"), "text/html", "cp1251"),
        (
            b'<META http-equiv="x" content="text/html; charset=windows-1251">' + RUSSIAN.encode("cp1251"),
            "text/html; charset=bogus",
            "cp1251",
        ),
        (b'<?xml version="1.0" encoding="windows-1251"?>' + RUSSIAN.encode("cp1251"), "text/html", "cp1251"),
        (RUSSIAN.encode("cp1251"), "text/html", "cp1251"),
        (RUSSIAN.encode("cp1251"), "text/html; charset=utf-8", "cp1251"),
        (b"<meta charset=utf-16>" + RUSSIAN.encode(), "text/html", "utf-8"),
    ],
)
def test_the_charset_is_found_in_the_order_of_trust(tmp_path, body, http, charset):
    (row,), _, _ = reads(tmp_path, response(body, f"Content-Type: {http}"))
    assert row["text"] == RUSSIAN
    assert row["charset"].replace("_", "-") == charset


@pytest.mark.parametrize("label", ["hex", "rot13", "idna", "utf-7", "unicode_escape", "base64", "x" * 40, "undefined", "mbcs", "\u0131"])
def test_a_charset_that_is_none_never_raises(label):
    rng = random.Random(2)
    for body in (b"", b"plain", rng.randbytes(3000), b"\xff\xfe\x00", b"\xed\xa0\x80"):
        text, _ = warc.decode(body, label)
        text.encode()


N = 1_000_000
HOSTILE = {
    "div": "'<div>' * N",
    "inline": "'<b>' * N",
    "angles": "'<' * (16 << 20)",
    "ampersands": "'&' * (16 << 20)",
    "attributes": "'<div ' + ' '.join(f'a{i}=1' for i in range(N)) + '>text'",
    "quoted": "'<div ' + ' '.join(f'a{i}=\">\"' for i in range(N)) + '>text'",
    "misnested": "'<a><b><i><u>' * N",
    "unmatched": "'<x>' * N + '</y>' * N",
    "blocks": "'<x>' * N + '<div></div>' * N",
    "options": "'<select>' + '<option>' * N",
    "comment": "'<!--' * (4 * N)",
    "tables": "'<table>' * N",
    "open quotes": "'<a b=\"<a b=' * N",
    "hidden": "'<div><!--</div>-->' * (N // 2)",
    "script": "'<script><div>' * N",
    "nul": "'<p>' + 'a\\0' * N",
    "long word": "'<p>' + 'x' * (15 << 20)",
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_no_page_crashes_the_reader_or_stops_it_for_long(name):
    code = f"""
from stages.read.warc import Warc
N = {N}
html = {HOSTILE[name]}
block = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/html;charset=utf-8\\r\\n\\r\\n" + html.encode()[:16 << 20]
out = Warc(paths=()).page({{"warc-type": "response", "content-type": "application/http"}}, block)
print(type(out).__name__)
"""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip() in ("tuple", "Skip", "str")
    assert time.perf_counter() - start < 60


def test_ordinary_large_pages_are_not_taken_for_hostile():
    row = "<tr><td class=a><a href='/x' title=\"a > b\"><b>x</b></a><td>text<p>more<br></tr>"
    assert not warc.too_tangled("<html><body><div><table>" + row * 50_000)
    assert not warc.too_tangled("<ul>" + "<li>item" * 200_000)
    assert not warc.too_tangled("<script>" + "if (a<b) { x('<div>') }" * 100_000 + "</script>")


def test_random_bytes_never_raise(tmp_path):
    rng = random.Random(5)
    http = "Content-Type: text/html\r\nTransfer-Encoding: chunked\r\nContent-Encoding: "
    heads = (b"", b"\x1f\x8b\x08", b"\x78\x9c", b"\x28\xb5\x2f\xfd", b"5\r\n")
    records = [response(head + rng.randbytes(200), http + n) for head in heads for n in ("gzip", "deflate", "br", "zstd", "a,b,gzip")]
    rows, skips, bads = reads(tmp_path, *records)
    assert len(rows) + len(skips) + len(bads) == len(records)


@pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpus is not beside this repository")
class TestReal:
    @pytest.mark.timeout(60)
    def test_no_file_of_the_corpus_raises(self):
        for path in sorted([*CORPUS.glob("real/*"), *CORPUS.glob("edge_cases/*")]):
            source = Warc(paths=(str(path),))
            assert [i for shard in source.shards(50_000) for i in source.read(shard)], path.name

    def test_every_page_becomes_a_document_a_skip_or_a_bad(self):
        lib = pytest.importorskip("fastwarc.warc")
        for path in sorted(CORPUS.glob("packed_warc/*.gz"))[:2]:
            with open(path, "rb") as file:
                expected = sum(1 for _ in lib.ArchiveIterator(file, parse_http=False))
            source = Warc(paths=(str(path),))
            items = [i for shard in source.shards(3_000_000) for i in source.read(shard)]
            assert sum(1 if isinstance(i, Bad) else i.count if isinstance(i, Skip) else len(i) for i in items) == expected
            assert sum(len(i) for i in items if not isinstance(i, Bad | Skip)) > 0.95 * expected


@pytest.mark.timeout(60)
@pytest.mark.parametrize("filler", ["\r" * 2_000_000, " " * 2_000_000, "\n " * 1_000_000, "charset=" + " " * 2_000_000])
def test_a_header_without_end_does_not_hold_a_worker(tmp_path, filler):
    """It would for hours, were an expression to look at every pair of its characters."""
    rows, skips, bads = reads(tmp_path, response(b"<p>never reached", http=f"Content-Type: text/html; {filler}"), response(HTML.encode()))
    assert len(rows) + len(skips) + len(bads) == 2
    assert [r["title"] for r in rows][-1] == "A title"
