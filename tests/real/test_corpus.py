"""A recipe over every raw web file of the shared corpus, the broken ones too, from files to proven token shards."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import language_model
import pytest
import support

from curate.tokens.verify import verify

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
RECIPE = Path(__file__).parent / "everything.yaml"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not CORPUS.exists():
        pytest.skip("the shared corpus is not beside the repository")
    folder = tmp_path_factory.mktemp("real")
    model = language_model.train(folder)
    support.run(str(RECIPE), folder / "out", f"data={CORPUS}", f"models.lid.path={model}")
    return folder / "out"


def test_the_shards_are_proven(out: Path) -> None:
    report = verify(str(out))
    assert not report.problems
    assert report.documents > 300


def test_every_file_is_read_or_in_the_quarantine_with_its_reason(out: Path) -> None:
    """A file that gives neither document nor bad record holds only records that no reader of pages is meant to read."""
    rows = {(r["source"], r["stage"]): r for r in support.counts(out)}
    for source in ("real", "edge"):
        row = rows[source, "read.warc.Warc"]
        bad = [json.loads(line) for p in (out / "quarantine" / source).iterdir() for line in p.read_text().splitlines()]
        assert row["quarantined"] == len(bad) > 0
        assert all(b["why"] and b["where"].startswith(f"{source}/") for b in bad)
        assert row["docs_in"] == row["docs_out"] + row["quarantined"] + sum(row["dropped"].values())
    arcs = {b["where"].rsplit(":", 1)[0] for b in bad if "ARC" in b["why"]}
    assert arcs == {"edge/badexample.arc.gz", "edge/example.arc.gz"}


def test_no_page_of_the_well_formed_crawls_is_lost(out: Path) -> None:
    with_index = CORPUS / "commoncrawl" / "packed_index.jsonl.gz"
    with gzip.open(with_index) as lines:
        pages = sum(1 for _ in lines)
    rows = {(r["source"], r["stage"]): r for r in support.counts(out)}
    for source, extra in (("warc", 0), ("wet", 1)):  # wet: and the one page of Common Crawl's own
        row = next(r for (s, stage), r in rows.items() if s == source and stage.startswith("read."))
        info = row["dropped"].get("type_warcinfo", 0)
        assert row["docs_in"] - info == pages + extra
        assert row["quarantined"] == 0
