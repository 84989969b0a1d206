"""`curate dedup-report`: what a deduplication did, with texts that can be read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support

from curate import duplicates
from curate.errors import CurateError, RecipeError

RECIPE = """
name: x
sources:
  web: [{read.parquet.Parquet: {paths: ["${data}/web"]}}]
  books: [{read.parquet.Parquet: {paths: ["${data}/books"]}}]
corpus:
  - dedup.exact.Exact
  - dedup.minhash.MinHash: {threshold: 0.8, bands: 60, rows: 3, max_loss: 1}
"""


def words(rng: random.Random, count: int) -> list[str]:
    return ["".join(rng.choices("abcdefgh", k=5)) for _ in range(count)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of web: a text, its copy, three near copies and a far one; of books: a near copy and another text."""
    folder = tmp_path_factory.mktemp("report")
    rng = random.Random(1)
    base = words(rng, 100)
    near = [[*base[:n], f"\x1b[31mchanged{c}", *base[n + 1 :]] for n, c in ((10, "one"), (50, "two"), (80, "three"), (99, "four"))]
    almost = [base[0], "x", *base[2:30], "y", *base[31:60], "z", *base[61:]]  # 2 + 5 + 5 of 96 shingles differ: 84 of 108 are shared
    texts = {"web": [base, base, *near[:3], almost, words(rng, 50)], "books": [near[3], words(rng, 60)]}
    for source, some in texts.items():
        (folder / source).mkdir()
        pq.write_table(pa.table({"text": [" ".join(t) for t in some]}), folder / source / "a.parquet")
    support.run(support.write_recipe(folder, folder, RECIPE), folder / "out")
    return folder / "out"


def test_each_deduplication_has_its_counts_clusters_and_examples(out: Path):
    exact, minhash = duplicates.deduplications(str(out))
    assert (exact.stage, exact.dropped, exact.of) == ("dedup.exact.Exact", {"web": 1, "books": 0}, {"web": 7, "books": 2})
    assert exact.clusters == {"2": 1}
    assert (minhash.stage, minhash.dropped, minhash.of) == ("dedup.minhash.MinHash", {"web": 3, "books": 1}, {"web": 6, "books": 2})
    assert minhash.clusters == {"4": 1}
    assert minhash.largest == [("web/a.parquet:0", 5)]
    assert [(p.gone, p.kept) for p in minhash.below] == [("web/a.parquet:5", "web/a.parquet:0")]
    assert minhash.below[0].similarity == pytest.approx(84 / 108)
    assert {p.gone for p in minhash.above} == {f"web/a.parquet:{n}" for n in (2, 3, 4)} | {"books/a.parquet:0"}
    assert all(p.similarity >= 0.8 for p in minhash.above)
    assert minhash.texts["web/a.parquet:2"].count("changed") == 1


def test_texts_stand_side_by_side_where_they_part_and_cannot_reach_the_terminal(out: Path):
    told = duplicates.report(str(out))
    assert "dedup.minhash.MinHash over web + books" in told
    assert "web: 3 of 6 documents go (50.0%)" in told
    assert "\x1b" not in told
    assert "changedone" in told
    assert "just below the threshold: both stay of 0.8" in told


def test_the_same_as_json(out: Path):
    exact, minhash = json.loads(duplicates.report(str(out), as_json=True))
    assert exact["dropped"] == {"web": 1, "books": 0}
    assert minhash["below"][0]["gone"] == "web/a.parquet:5"


def test_of_many_files_some_are_read_and_that_is_said(out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duplicates, "FILES", 1)
    assert "of 2 files of fates 1 were read" in duplicates.report(str(out))


def test_a_folder_without_a_run_and_a_run_without_duplicates_are_named(tmp_path: Path):
    with pytest.raises(RecipeError, match="no run is here"):
        duplicates.report(str(tmp_path))
    pq.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "a.parquet")
    recipe = "name: x\nsources: {web: [{read.parquet.Parquet: {paths: ['${data}/a.parquet']}}, dedup.exact.Exact]}\n"
    support.run(support.write_recipe(tmp_path, tmp_path, recipe), tmp_path / "out")
    with pytest.raises(CurateError, match="no deduplication has dropped a document"):
        duplicates.report(str(tmp_path / "out"))
