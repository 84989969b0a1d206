"""C4 on real pages: its own released ones, which its rules must leave as they are, and WET through the whole chain."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import punkt_tables
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support

from curate.batch import Batch
from curate.stage import Model
from curate.worker import outcome
from stages.c4 import Clean, Language, Lines, Split
from stages.read.jsonl import Jsonl

CORPUS = Path(__file__).parents[3] / "shared/corpus"
RELEASED = CORPUS / "c4/c4-sample-700.json.gz"
WET = CORPUS / "commoncrawl/packed_wet"
WORDS = CORPUS / "quality_toxicity/LDNOOBW/en"
pytestmark = pytest.mark.skipif(not RELEASED.exists() or not WET.exists(), reason="the shared corpus is not beside the repository")

RECIPE = """
name: c4
data: DATA
models: {punkt: {path: PUNKT}}
sources:
  c4:
    - read.wet.Wet: {paths: ["${data}/packed-shared-00006.warc.wet.gz"], title: keep, min_chars: 0}
    - dedup.url.Url: {url_key: c4}
    - c4.Clean: {punkt: punkt}
    - c4.Lines: {punkt: punkt}
    - c4.BadWords: {words: WORDS}
    - c4.Split
"""


@pytest.fixture(scope="module")
def trained() -> Model:
    found = punkt_tables.trained()
    if found is None:
        pytest.skip("no punkt_tab.zip: set CURATE_PUNKT to its path")
    return Model(str(found))


@pytest.fixture(scope="module")
def released() -> Batch:
    """700 documents of allenai/c4, as wimbd has them: all of one shard of the validation part."""
    reader = Jsonl((str(RELEASED),))
    return Batch.of(pa.Table.from_batches(list(reader.read(reader.shards(1 << 40)[0]))).combine_chunks().to_batches()[0])


def kept(stage: Clean | Lines | Language, batch: Batch) -> np.ndarray:
    return np.all([check.passed for check in outcome(stage, batch, None)[1].values()], axis=0)


def test_c4s_own_pages_pass_its_rules_and_stay_as_they_are(trained: Model, released: Batch):
    """But for lines that once began with a citation mark: the space behind it is left, and would be stripped off another time."""
    stage = Clean(trained)
    after, _, removed = outcome(stage, released, None)
    assert kept(stage, released).all()
    assert not removed or not any(removed.by_rule.values())
    for before, text in zip(released.text.to_pylist(), after.text.to_pylist(), strict=True):
        assert [line.lstrip() for line in text.split("\n")] == [line.lstrip() for line in before.split("\n")]
    assert sum(a == b for a, b in zip(released.text.to_pylist(), after.text.to_pylist(), strict=True)) >= 690


def test_c4s_own_validation_pages_are_validation_pages_here(released: Batch):
    assert Split(part="validation").keep(released).all()


def test_c4s_own_pages_are_english_by_its_rule(released: Batch):
    assert kept(Language(), Batch.of(released.data.slice(0, 60))).all()


def test_real_pages_go_through_the_chain(trained: Model, tmp_path: Path):
    recipe = tmp_path / "c4.yaml"
    recipe.write_text(RECIPE.replace("DATA", str(WET)).replace("PUNKT", trained.path).replace("WORDS", str(WORDS)))
    result = support.run(str(recipe), tmp_path / "out")
    rows = {row.stage: row for row in result.rows}
    assert rows["c4.Clean"].lines["no_end_mark"] > rows["c4.Clean"].lines["few_words"] > rows["c4.Clean"].lines["policy"] > 0
    assert rows["c4.Lines"].lines["duplicate"] > 0
    booked = Counter(
        rule
        for path in (tmp_path / "out/passes").rglob("*.lines.parquet")
        for of in pq.read_table(path)["rules"].to_pylist()
        for rule in of
    )
    assert booked == rows["c4.Clean"].lines + rows["c4.Lines"].lines
    texts = support.documents(tmp_path / "out", "c4")["text"].to_pylist()
    assert 100 < len(texts) < rows["c4.Clean"].docs_in
    lines = [line for text in texts for line in text.split("\n")]
    assert all(line.endswith((".", "?", "!", '"')) and not line.endswith("...") and len(line.split()) >= 5 for line in lines)
    assert len({line.strip().lower() for line in lines}) == len(lines)
    sentences = Clean(trained).sentences
    assert all(len(sentences.tokenize(text)) >= 3 for text in texts)
