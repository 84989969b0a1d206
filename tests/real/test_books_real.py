"""Real books of Project Gutenberg: what is left of each, and which are the same."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import support

from curate.batch import Batch
from stages.dedup.minhash import Books
from stages.dedup.simhash import SimHash
from stages.gutenberg import Strip
from stages.read.gutenberg import Gutenberg

BOOKS = Path(__file__).parents[3] / "shared" / "corpus" / "books"
pytestmark = pytest.mark.skipif(not BOOKS.exists(), reason="the shared corpus is not beside the repository")
OTHERS = re.compile(
    r"\*\*\* *(?:START|END)|^(?:Produced|E-text prepared) by|End of (?:the )?Project Gutenberg|gutenberg\.org|pgdp\.net", re.M
)


@pytest.fixture(scope="module")
def stripped() -> pa.RecordBatch:
    source = Gutenberg(paths=(str(BOOKS),))
    batches = [item for shard in source.shards(1) for item in source.read(shard)]
    assert all(isinstance(batch, pa.RecordBatch) for batch in batches)
    return pa.concat_batches([Strip().apply(Batch.of(batch))[0].data for batch in batches])


def name(place: str) -> str:
    return place.removesuffix(":0")


def test_every_raw_book_is_told_by_its_header(stripped: pa.RecordBatch) -> None:
    raw = [row for row in stripped.to_pylist() if row["id"].startswith("gutenberg_raw/")]
    assert len(raw) == 42
    assert all(row["title"] and row["author"] and row["date"] and row["url"] for row in raw)
    assert {row["language"] for row in raw} == {"en", "fr", "es"}


def test_nothing_of_a_header_or_footer_is_left_and_a_clean_book_is_not_touched(stripped: pa.RecordBatch) -> None:
    for row in stripped.to_pylist():
        assert not OTHERS.search(row["text"]), row["id"]
        if row["id"].startswith("litbank_clean/"):
            assert row["text"] == (BOOKS / name(row["id"])).read_text("utf-8-sig"), row["id"]


@pytest.mark.parametrize(("raw", "clean"), [("11-0", "11_alices_adventures_in_wonderland"), ("pg174", "174_the_picture_of_dorian_gray")])
def test_a_stripped_book_begins_and_ends_as_where_others_have_stripped_it(stripped: pa.RecordBatch, raw: str, clean: str) -> None:
    texts = {name(row["id"]): row["text"].split() for row in stripped.to_pylist()}
    ours, theirs = texts[f"gutenberg_raw/{raw}.txt"], texts[f"litbank_clean/{clean}.txt"]
    assert ours[-20:] == theirs[-20:]
    assert 0 <= len(ours) - len(theirs) < 500  # theirs lacks the title page


def test_the_books_that_go_are_those_that_are_there_twice(stripped: pa.RecordBatch, tmp_path: Path) -> None:
    batch = Batch.of(stripped.append_column("source", pa.array(["books"] * len(stripped))))
    alike = {}
    for stage in (Books(bands=60, rows=3), SimHash()):
        folder = tmp_path / stage.name
        folder.mkdir()
        [verdict] = support.decided(stage, [[batch]], folder)
        check = stage.apply(batch, verdict.rows(0, len(batch)))["near_duplicate"]  # type: ignore[index,call-overload]
        ids = [name(i) for i in batch["id"].to_pylist()]
        alike[stage.name] = {ids[n]: name(check.kept_id[n].as_py()) for n in np.flatnonzero(~check.passed).tolist()}
    for pairs in alike.values():
        for gone, kept in pairs.items():
            assert {number(gone), number(kept)} in ({11}, {16}, {36}, {45}, {120}, {174}, {1342}, {1661}, {5200}), (gone, kept)
    assert len(alike["dedup.minhash.Books"]) == 13
    # an illustrated edition has a preface and captions: 0.96 of the plain one is in it, and 6 bits differ
    assert len(alike["dedup.simhash.SimHash"]) == 12


def number(file: str) -> int:
    """Of the book, by its file's name."""
    found = re.search(r"/(?:pg)?(\d+)", file)
    return int(found[1]) if found else {"gutenberg_raw/Anne-of-Green-Gables.txt": 45}[file]
