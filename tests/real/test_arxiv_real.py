"""A hundred real papers in a tar as arXiv's, and what RedPajama's own cleaner has published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from curate.batch import Batch
from curate.stage import Bad, Skip
from curate.worker import outcome
from stages.latex import Clean
from stages.read.arxiv import Arxiv

ARXIV = Path(__file__).parents[3] / "shared" / "corpus" / "arxiv"
DEFINED = re.compile(r"\\(?:re|provide)?newcommand\*?\s*\{?\\([A-Za-z]+)|\\def\s*\\([A-Za-z]+)")
WORDS = re.compile(r"(?<!\\)(?:\\\\)*\\([A-Za-z]+)")
LEFT = {"tj": "delimiters", "abs": "made from itself"}  # macros of these papers that cannot be written out, and why


@pytest.fixture(scope="module")
def papers() -> list[pa.RecordBatch]:
    if not ARXIV.exists():
        pytest.skip("the shared corpus is not beside the repository")
    source = Arxiv((f"{ARXIV}/*.tar",))
    items = [item for shard in source.shards(1 << 20) for item in source.read(shard)]
    assert not any(isinstance(item, Bad | Skip) for item in items)
    return [item for item in items if isinstance(item, pa.RecordBatch)]


@pytest.fixture(scope="module")
def kept(papers: list[pa.RecordBatch]) -> list[tuple[str, str]]:
    """(before, after) of the papers that stay."""
    out = []
    for paper in papers:
        after, checks, _ = outcome(Clean(), Batch.of(paper), None)
        assert all(check.passed.all() for rule, check in checks.items() if rule != "no_section")
        passed = checks["no_section"].passed
        rows = zip(paper["text"].to_pylist(), after.text.to_pylist(), passed.tolist(), strict=True)
        out += [(before, text) for before, text, stays in rows if stays]
    return out


def test_all_papers_are_read_and_those_with_sections_stay(papers: list[pa.RecordBatch], kept: list[tuple[str, str]]) -> None:
    assert sum(map(len, papers)) == 100
    assert len(kept) >= 90  # the others are letters without sections


def test_nothing_is_left_of_comments_inputs_definitions_and_bibliographies(kept: list[tuple[str, str]]) -> None:
    for before, text in kept:
        assert re.match(r"\s*\\(?:part|chapter|(?:sub)*section)\b", text)
        assert not re.search(r"(?<!\\)%", re.sub(r"\\(?:url|href)\{[^}]*\}", "", text))
        assert not re.search(r"\\(?:input|include|newcommand|renewcommand|def|bibliography|appendix|iffalse|fi)\b", text)
        names = {name for found in DEFINED.findall(before) for name in found}
        assert names & set(WORDS.findall(text)) <= set(LEFT)


def test_what_redpajama_has_published_is_clean_for_its_mode() -> None:
    """All but one paper, into which the value of a macro has brought a comment."""
    if not ARXIV.exists():
        pytest.skip("the shared corpus is not beside the repository")
    texts = [json.loads(line)["text"] for line in (ARXIV / "jsonl" / "arxiv.jsonl").read_text().splitlines()]
    data = pa.record_batch({"text": pa.array(texts, pa.large_string()), "encoding": ["utf-8"] * len(texts)})
    after, _, _ = outcome(Clean(mode="redpajama", files=None), Batch.of(data), None)
    changed = [before for before, text in zip(texts, after.text.to_pylist(), strict=True) if before != text]
    assert len(changed) == 1
    assert re.search(r"\}    %\{", changed[0])
