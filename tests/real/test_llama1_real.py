"""The recipe llama1 on real pages and a real part of Wikipedia: from files to proven shards, and what its models are worth there."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import language_model
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support

from curate import build
from curate import plan as planning
from curate import recipe as recipes
from curate import run as running
from curate.batch import Batch
from curate.finished import write_stats
from curate.progress import Lines
from curate.runner import Local
from curate.stage import Transform
from curate.tokens.make import make
from curate.tokens.verify import verify

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
UNSEEN = CORPUS / "c4" / "c4-sample-700.json.gz"  # pages of which the language model has not seen one
GIVEN = [Path(p) for p in [os.environ.get("CURATE_LID", "")] if p]
LID = [*GIVEN, *(ROOT / place / "models" / "lid.176.ftz" for place in ("sample", ".venv"))]
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpus is not beside the repository")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the crawl alone, with the language model of whole articles: 200 leads are too few."""
    folder = tmp_path_factory.mktemp("real")
    lid = next((str(p) for p in LID if p.is_file()), "") or language_model.train(folder)
    settings = (f"data={CORPUS}", f"models.lid.path={lid}", "models.lm.opening=false")
    plan = planning.plan(recipes.load("llama1", settings, ["commoncrawl"]))
    result = running.run(plan, str(folder / "out"), Local(), Lines())
    write_stats(result.rows, str(folder / "out"))
    make(plan, result.documents, str(folder / "out"), Local(), Lines())
    return folder / "out"


def card(out: Path, name: str) -> dict[str, Any]:
    [folder] = (out / "models").glob(f"{name}-*")
    return dict(json.loads((folder / "card.json").read_text()))


def came_to_the_classifier(out: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(p) for p in sorted((out / "passes" / "commoncrawl").glob("3-*/[0-9]*.parquet")) if p.name.count(".") == 1]
    return list(pa.concat_tables(tables).to_pylist())


def test_the_ledger_closes_and_the_shards_are_proven(out: Path) -> None:
    rows = support.counts(out)
    for row in rows:
        assert row["docs_in"] == row["docs_out"] + sum(row["dropped"].values()) + row["quarantined"], row["stage"]
    crawl = [row for row in rows if row["source"] == "commoncrawl"]
    for before, after in pairwise(crawl):
        assert (before["docs_out"], before["chars_out"]) == (after["docs_in"], after["chars_in"])
    with gzip.open(CORPUS / "commoncrawl" / "packed_index.jsonl.gz") as lines:
        pages = sum(1 for _ in lines) + 1  # and the one page of Common Crawl's own
    assert crawl[0]["docs_in"] == pages + crawl[0]["dropped"]["type_warcinfo"]
    assert crawl[0]["quarantined"] == 0
    gone = (out / "passes" / "commoncrawl").rglob("*.fates.parquet")
    fates = sum(pq.read_metadata(p).num_rows for p in gone)
    assert fates + crawl[-1]["docs_out"] == crawl[0]["docs_out"]
    report = verify(str(out))
    assert not report.problems
    assert {p.name for p in (out / "documents").iterdir()} == {"commoncrawl"}
    assert len(support.documents(out, "commoncrawl")) == crawl[-1]["docs_out"] > 200


def test_real_prose_is_less_perplexing_than_its_words_in_another_order(out: Path) -> None:
    with gzip.open(UNSEEN, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    rng = random.Random(0)
    shuffled = []
    for text in texts:
        words = text.split()
        rng.shuffle(words)
        rest = iter(words)
        shuffled.append(re.sub(r"\S+", lambda _, rest=rest: next(rest), text))  # white space stays where it is
    [folder] = (out / "models").glob("lm-*")
    stage = build.build("perplexity.KenLM", {"models": str(folder), "language": "en"})
    assert isinstance(stage, Transform)
    perplexity = []
    for some in (texts, shuffled):
        batch = stage.apply(Batch.of(pa.record_batch({"id": list(map(str, range(len(some)))), "text": pa.array(some, pa.large_string())})))
        assert isinstance(batch, Batch)
        perplexity.append(batch["perplexity"].to_numpy())
    right = perplexity[0] < perplexity[1]
    assert len(right) >= 200
    assert np.mean(right) >= 0.95


def test_the_references_are_what_the_classifier_learnt_from(out: Path) -> None:
    """Of few pages chance may make a classifier that is worth nothing: only a worse one is wrong."""
    about, came = card(out, "wikiref"), came_to_the_classifier(out)
    assert card(out, "references")["canonical_urls"] > 5000
    marks = [row["referenced"] for row in came]
    assert {"host", "no"} <= set(marks)
    long = [row["referenced"] for row in came if len(row["text"]) >= 1000]
    found = about["selected"]
    assert found.get("positive", 0) == long.count("page")
    assert found["further"] == long.count("host")
    assert found["negative"] == marks.count("no")
    low, high = about["auc_interval"]
    assert low <= about["auc"] <= high
    assert high >= 0.5
    assert about["held_out"]["positive"] > 0 < about["held_out"]["negative"]
    kept = support.documents(out, "commoncrawl")
    assert min(kept["wikiref"].to_pylist()) >= about["threshold"] == 0.25


def test_the_buckets_are_of_real_perplexities(out: Path) -> None:
    came = came_to_the_classifier(out)
    value = {name: [row["perplexity"] for row in came if row["bucket"] == name] for name in ("head", "middle")}
    assert max(value["head"]) < min(value["middle"])
    rows = {row["stage"]: row for row in support.counts(out) if row["source"] == "commoncrawl"}
    scored = rows["perplexity.Buckets"]["docs_out"]
    assert abs(len(value["head"]) / scored - 0.3) < 0.01
    assert abs(len(came) / scored - 0.6) < 0.01
