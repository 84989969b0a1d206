"""WET: the golden pairs of CCNet's reader, and what is counted of the rest."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from curate.errors import RecipeError
from curate.stage import Bad, Skip
from stages.read.wet import Wet

CORPUS = Path(__file__).parents[3] / "shared/corpus/commoncrawl"
SEPARATOR = b"\r\n\r\n"  # behind each record, and not of it


def page(block: bytes, *more: bytes) -> bytes:
    fields = [b"WARC/1.0", b"WARC-Type: conversion", b"WARC-Target-URI: http://a.example/x", b"WARC-Date: 2020-02-20T02:20:02Z"]
    fields += [b"WARC-Record-ID: <urn:uuid:1>", b"WARC-Refers-To: <urn:uuid:2>", b"WARC-Block-Digest: sha1:ABC", *more]
    fields += [b"Content-Type: text/plain", b"Content-Length: %d" % len(block)]
    return b"\r\n".join(fields) + b"\r\n\r\n" + block + SEPARATOR


INFO = b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 4\r\n\r\nx: y" + SEPARATOR


def reads(tmp_path: Path, *records: bytes, target: int = 1 << 60, **options):
    """(documents, skips, bads)"""
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(b"".join(map(gzip.compress, records)))
    wet = Wet(paths=(str(path),), **options)
    items = [i for shard in wet.shards(target) for i in wet.read(shard)]
    rows = [row for i in items if not isinstance(i, Bad | Skip) for row in i.to_pylist()]
    return rows, [i for i in items if isinstance(i, Skip)], [i for i in items if isinstance(i, Bad)]


W1 = b"Title line\nbody one\n  body two \t\n\n"  # with the separator: three blank lines at the end


@pytest.mark.parametrize("more", [(), (b"WARC-Identified-Content-Language: eng,deu",)], ids=["W1", "W2"])
def test_title_lines_and_tail_are_ccnets_with_or_without_the_language_header(tmp_path, more):
    (row,), _, _ = reads(tmp_path, page(W1, *more), min_chars=0)
    assert row == {
        "id": "a.warc.wet.gz:0",
        "text": "body one\nbody two\n",
        "url": "http://a.example/x",
        "date": "2020-02-20T02:20:02Z",
        "title": "Title line",
        "digest": "sha1:ABC",
    }
    assert len(row["text"].split("\n")) == 3


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (b"t\nbody\n", "body"),  # two empty last lines with the separator: both go
        (b"t\nbody", "body\n"),  # one: stays
        (b"t\nbody\n\n\n", "body\n\n"),
        (b"t\r\nbody\r\nmore\r\n", "body\nmore"),
        (b"t\nbody\n   ", "body"),  # lines are stripped before they are empty
        ("t\n\u3000wide\u00a0\n".encode(), "wide"),
        (b"t\na\0b\n", "a\0b"),
    ],
)
def test_the_tail_goes_only_when_both_last_lines_are_empty(tmp_path, block, text):
    (row,), _, _ = reads(tmp_path, page(block), min_chars=0)
    assert row["text"] == text


@pytest.mark.parametrize(("chars", "kept"), [(299, False), (300, True)])
def test_w3_pages_below_300_characters_of_content_are_left_out_whatever_the_title(tmp_path, chars, kept):
    rows, skips, _ = reads(tmp_path, page(b"title " * 100 + b"\n" + "é".encode() * chars + b"\n"))
    assert [len(r["text"]) for r in rows] == [chars] * kept
    assert skips == [Skip("short", chars=chars)] * (not kept)


@pytest.mark.parametrize("block", [b"", b"\n", b"only a title", b"only a title\n"])
def test_a_page_without_content_is_short(tmp_path, block):
    rows, skips, bads = reads(tmp_path, page(block))
    assert (rows, bads) == ([], [])
    assert [s.reason for s in skips] == ["short"]


def test_the_title_can_stay_and_lines_can_keep_their_indent(tmp_path):
    (row,), _, _ = reads(tmp_path, page(b"Title\n  code\n"), min_chars=0, title="keep", strip_lines=False)
    assert (row["title"], row["text"]) == ("Title", "Title\n  code")


def test_records_that_are_no_pages_are_counted_by_type(tmp_path):
    odd = INFO.replace(b"warcinfo", b"anything at all")
    rows, skips, bads = reads(tmp_path, INFO, page(W1), odd, min_chars=0)
    assert len(rows) == 1
    assert [s.reason for s in skips] == ["type_warcinfo", "type_unknown"]
    assert bads == []


def test_a_line_that_looks_like_a_record_does_not_end_the_page(tmp_path):
    (row,), _, bads = reads(tmp_path, page(b"t\nabout\nWARC/1.0\nfiles\n"), min_chars=0)
    assert row["text"] == "about\nWARC/1.0\nfiles"
    assert bads == []


def test_bytes_that_are_not_utf8_are_quarantined_or_replaced(tmp_path):
    record = page(b"t\ncaf\xe9\n")
    rows, _, (bad,) = reads(tmp_path, record, page(W1), min_chars=0)
    assert len(rows) == 1
    assert bad == Bad("a.warc.wet.gz:0", "not UTF-8 at byte 5", b"t\ncaf\xe9\n")
    (row,), _, _ = reads(tmp_path, record, min_chars=0, bad_utf8="replace")
    assert row["text"] == "caf\ufffd"


def test_cutting_the_file_changes_nothing(tmp_path):
    records = [INFO, *(page(b"t%d\n" % i + b"word " * i * 10 + b"\n") for i in range(60))]
    whole = reads(tmp_path, *records, min_chars=100)
    assert whole == reads(tmp_path, *records, min_chars=100, target=500)
    assert len(whole[0]) == 57
    assert len({r["id"] for r in whole[0]}) == 57


def test_a_shard_of_many_pages_comes_in_bounded_batches(tmp_path):
    path = tmp_path / "a.wet.gz"
    path.write_bytes(gzip.compress(page(b"t\n" + b"x" * 1_000_000 + b"\n") * 40))
    wet = Wet(paths=(str(path),))
    batches = list(wet.read(wet.shards(1 << 60)[0]))
    assert sum(map(len, batches)) == 40
    assert max(b.nbytes for b in batches) < 12 << 20


def test_a_recipe_spells_it_as_json():
    wet = Wet(paths=("x",))
    (config,) = wet.config.values()
    assert TypeAdapter(Wet).validate_json(json.dumps(config)) == wet
    assert wet.name == "read.wet.Wet"


def test_a_path_that_matches_nothing_is_the_recipes_mistake(tmp_path):
    with pytest.raises(RecipeError, match="nothing matches"):
        Wet(paths=(str(tmp_path / "*.gz"),)).shards(1)


@pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpus is not beside this repository")
class TestReal:
    @pytest.mark.timeout(60)
    def test_no_file_of_the_corpus_raises(self):
        for path in sorted([*CORPUS.glob("real/*"), *CORPUS.glob("edge_cases/*")]):
            wet = Wet(paths=(str(path),))
            assert [i for shard in wet.shards(50_000) for i in wet.read(shard)], path.name

    def test_every_page_becomes_a_document_or_is_counted(self):
        warc = pytest.importorskip("fastwarc.warc")
        for path in sorted(CORPUS.glob("packed_wet/*.gz"))[:2]:
            with open(path, "rb") as file:
                kinds = [r.record_type for r in warc.ArchiveIterator(file, parse_http=False)]
            wet = Wet(paths=(str(path),))
            items = [i for shard in wet.shards(1 << 60) for i in wet.read(shard)]
            short = sum(i.count for i in items if isinstance(i, Skip) and i.reason == "short")
            assert not [i for i in items if isinstance(i, Bad)]
            assert sum(len(i) for i in items if not isinstance(i, Skip)) + short == kinds.count(warc.WarcRecordType.conversion)
