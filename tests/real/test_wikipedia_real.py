"""All 143 wikis of the shared corpus, and what is left of markup in them."""

from __future__ import annotations

import bz2
import itertools
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from edited_wikitext import edited

from curate.stage import Bad, Skip
from stages.read import wikipedia
from stages.read import wikipedia_namespaces as namespaces
from stages.read.wikipedia import Wikipedia
from stages.read.wikipedia_dump import Fragment, fragments, parse
from stages.read.wikitext import Cleaner

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "wikipedia"
ENGLISH = CORPUS / "enwiki" / "enwiki-wp2txt-testdata_en.shared-pages.xml.bz2"
PAPER = [language for language in namespaces.LOCAL_MEDIA if (CORPUS / "minidumps" / f"{language}wiki").exists()]  # not all are there
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpus is not beside the repository")


def read(source: Wikipedia, target: int = 1 << 60) -> tuple[list[dict[str, Any]], Counter[str], list[Bad]]:
    items = [item for shard in source.shards(target) for item in source.read(shard)]
    skips: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Skip):
            skips[item.reason] += item.count
    rows = [row for item in items if isinstance(item, pa.RecordBatch) for row in item.to_pylist()]
    return rows, skips, [item for item in items if isinstance(item, Bad)]


def checked(path: Path) -> int:
    """Pages of one file: each is a document or counted, and the only fault is that some files have no end."""
    data = path.read_bytes()
    data = bz2.decompress(data) if data.startswith(b"BZh") else data
    rows, skips, bads = read(Wikipedia(paths=(str(path),), references="all"))
    unended = not data.rstrip().endswith(b"</mediawiki>")
    assert [bad.reason for bad in bads] == ["the file ends before </mediawiki>: some pages are missing"] * unended, path.name
    assert len(rows) + sum(skips.values()) == len(re.findall(rb"<page[\s>]", data)), path.name
    for row in rows:
        assert row["text"].strip()
        assert 0 <= row["opening_chars"] <= len(row["text"])
        assert row["url"].startswith("https://")
    return len(rows)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("folder", ["enwiki", "jawiki", "smallwiki", "minidumps"])
def test_every_page_of_the_corpus_becomes_a_document_or_is_counted(folder: str) -> None:
    files = sorted(path for path in (CORPUS / folder).rglob("*") if path.is_file())
    with ThreadPoolExecutor(2) as pool:  # pages are cleaned in processes
        assert sum(pool.map(checked, files)) > 0  # some of the small dumps are of items of Wikidata only


@pytest.fixture(scope="module")
def small() -> list[dict[str, Any]]:
    """The articles of the paper's languages in small dumps."""
    assert len(PAPER) >= 10
    return read(Wikipedia(paths=tuple(str(CORPUS / "minidumps" / f"{language}wiki" / "*") for language in PAPER)))[0]


def test_every_language_of_the_paper_has_articles_with_its_own_addresses(small: list[dict[str, Any]]) -> None:
    assert {row["language"] for row in small} == set(PAPER)
    assert len({row["id"] for row in small}) == len(small)
    for row in small:
        assert row["url"].startswith(f"https://{row['language']}.wikipedia.org/wiki/")


@pytest.mark.parametrize("language", PAPER)
def test_walking_the_tree_of_real_pages_comes_to_the_same_as_editing_it(language: str) -> None:
    """So what markup is left, of what a page does not close, is what the data set's procedure leaves."""
    media, category = namespaces.media(language), namespaces.category(language)
    clean = Cleaner(media, category)
    with bz2.open(CORPUS / "minidumps" / f"{language}wiki" / f"{language}wiki.xml.bz2") as file:
        for item in fragments(file, 1 << 24):
            if isinstance(item, Fragment) and len(item.data) < 60_000:  # all were compared once; the longest take long
                text = parse(item.data).text or ""
                assert clean.clean(text)[0] == edited(text, media, category)


def test_parts_of_a_real_dump_are_the_dump_whether_its_streams_are_many_or_it_is_plain(tmp_path: Path) -> None:
    data = bz2.decompress(ENGLISH.read_bytes())
    ends = [match.end() for match in re.finditer(rb"</page>\n", data)][9:42:8]
    data = data[: ends[-1]] + b"</mediawiki>\n"
    cuts = [0, data.index(b"<page>"), *ends, len(data)]
    streams = [bz2.compress(data[a:b]) for a, b in itertools.pairwise(cuts)]
    (tmp_path / "enwiki-a.xml").write_bytes(data)
    (tmp_path / "enwiki-b.xml.bz2").write_bytes(b"".join(streams))
    found = []
    for name, cell in (("enwiki-a.xml", 1 << 30), ("enwiki-b.xml.bz2", 60_000), ("enwiki-a.xml", 300_000)):
        with patch.object(wikipedia, "CELL", cell):
            source = Wikipedia(paths=(str(tmp_path / name),))
            assert cell == 1 << 30 or len(source.shards(1)) > 1
            rows, skips, bads = read(source, 1)
            found.append(([{**row, "id": row["id"].rpartition(":")[2]} for row in rows], skips, [bad.reason for bad in bads]))
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) > 5


def test_redirects_of_a_dump_without_the_element_are_told_by_their_text() -> None:
    rows, skips, _ = read(Wikipedia(paths=(str(CORPUS / "jawiki" / "jawiki-wp2txt-testdata_ja-2018.shared-pages.xml.bz2"),)))
    assert not [row["text"] for row in rows if row["text"].upper().startswith("REDIRECT")]
    assert skips["redirect"] > 0
