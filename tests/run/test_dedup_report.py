"""`curate dedup-report`: what a deduplication did, with texts that can be read."""

from __future__ import annotations

import json
import random
import re
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


def test_identical_texts_are_shown_from_their_beginning(out: Path):
    told = duplicates.report(str(out))
    first = duplicates.deduplications(str(out))[0].texts["web/a.parquet:0"].split()[:3]
    assert f"\n    {' '.join(first)} " in told


def test_pairs_that_are_identical_are_not_just_above_the_threshold():
    fates = pa.table({"id": ["b", "c"], "kept_id": ["a", "a"], "value": [1.0, 0.9], "limit": [0.8, 0.8]})
    made = duplicates.Deduplication("dedup.minhash.MinHash", ["web"], True, {}, {}, {}, {})
    duplicates._show(made, fates, {})
    assert [p.gone for p in made.above] == ["c"]


def test_what_stays_in_the_end_heads_a_cluster_where_documents_go_for_others_that_go():
    fates = pa.table({"id": ["b", "c", "d"], "kept_id": ["a", "b", "x"], "value": [0.9, 0.9, 0.9], "limit": [0.8] * 3})
    made = duplicates.Deduplication("dedup.semantic.SemDeDup", ["web"], True, {}, {}, {}, {})
    duplicates._show(made, fates, {})
    assert made.largest == [("a", 3), ("x", 2)]
    assert made.clusters == {"2": 1, "3": 1}
    assert [(p.gone, p.kept) for p in made.examples["a"]] == [("b", "a"), ("c", "b")]


def reported(folder: Path, texts: list[str], stages: list[str], *settings: str) -> str:
    """The report of one source."""
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), folder / "a.parquet")
    recipe = f"name: x\nsources: {{web: [{{read.parquet.Parquet: {{paths: ['${{data}}/a.parquet']}}}}, {', '.join(stages)}]}}\n"
    support.run(support.write_recipe(folder, folder, recipe), folder / "out", *settings)
    return duplicates.report(str(folder / "out"))


@pytest.mark.parametrize("stage", ["dedup.exact.Exact", "dedup.minhash.MinHash", "dedup.substring.ExactSubstring"])
@pytest.mark.parametrize("texts", [[], ["one", "two"]], ids=["empty", "unlike"])
def test_where_nothing_repeats_that_is_what_is_told(stage: str, texts: list[str], tmp_path: Path):
    assert f"web: 0 of {len(texts)} documents go (0.0%)" in reported(tmp_path, texts, [stage])


def test_passages_that_were_cut_out_are_told_of(tmp_path: Path):
    passage = " ".join(words(random.Random(5), 60))
    told = reported(tmp_path, [f"{passage} one of its own", f"two more words {passage}"], ["dedup.substring.ExactSubstring"])
    assert "2 spans go, 120 tokens of 2 documents; the longest has 60" in told
    assert re.search(r"web: 0 of 2 documents go \(0.0%\), \d+ of \d+ characters \(9\d\.\d%\)", told)


def test_a_folder_without_a_run_and_a_recipe_without_deduplication_are_named(tmp_path: Path):
    with pytest.raises(RecipeError, match="no run is here"):
        duplicates.report(str(tmp_path))
    with pytest.raises(CurateError, match="has no stage that drops duplicates"):
        reported(tmp_path, ["one"], ["gopher.Quality"])
