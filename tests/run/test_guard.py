"""A barrier that takes nearly all of a source, of a language or of a dump fails the run, and says why."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import support

from curate.build import build
from curate.errors import BudgetError, RecipeError

ROW = dict[str, Any]


def recipe(folder: Path, rows: list[ROW], keep: list[str], name: str = "dedup.exact.Exact", **stage: Any) -> str:
    """One source of several shards, deduplicated."""
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "web").mkdir()
    for number in range(3):
        (folder / "web" / f"{number}.jsonl").write_text("".join(lines[number * len(rows) // 3 : (number + 1) * len(rows) // 3]))
    reader = {"read.jsonl.Jsonl": {"paths": [f"{folder}/web/*.jsonl"], "keep": keep}}
    engine = {"shard_bytes": 20_000, "partitions": 3}
    sources = {"web": [reader, {name: stage}]}
    return support.write_recipe(folder, folder, sources=sources, corpus=[], mix=None, tokens=None, engine=engine)


def written(out: Path) -> dict[str, tuple[int, int]]:
    """Every file below `passes`, by when and as which it was made."""
    files = [path for path in (out / "passes").rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_a_source_of_copies_fails_the_run_and_goes_through_where_that_is_allowed(tmp_path: Path):
    source = recipe(tmp_path, [{"text": "the same page of a site that has moved"}] * 2000, [])
    with pytest.raises(BudgetError) as error:
        support.run(source, tmp_path / "out")
    message = str(error.value)
    assert "dedup.exact.Exact drops 1,999 of the 2,000 documents of web" in message
    assert "max_loss is 90.0%" in message
    assert "1,999 in favour of web/0.jsonl:0" in message
    assert "raise dedup.exact.Exact.max_loss" in message
    before = written(tmp_path / "out")
    assert any(name.endswith(".fates.parquet") for name in before)
    support.run(source, tmp_path / "out", "sources.web.dedup.exact.Exact.max_loss=1")
    after = written(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert support.documents(tmp_path / "out", "web")["id"].to_pylist() == ["web/0.jsonl:0"]


@pytest.mark.parametrize("column", ["language", "dump"])
def test_a_language_or_a_dump_of_copies_fails_the_run(column: str, tmp_path: Path):
    rows = [{"text": f"page {n}", column: "one"} for n in range(3000)] + [{"text": "page", column: "other"}] * 1500
    source = recipe(tmp_path, rows, [column])
    with pytest.raises(BudgetError, match=rf"drops 1,499 of the 1,500 documents of web, {column} other \(99\.9%\)"):
        support.run(source, tmp_path / "out")


def test_how_many_of_each_dump_go_is_in_the_books(tmp_path: Path):
    rows = [{"text": f"page {n % 40}", "dump": f"CC-MAIN-20{n // 50}"} for n in range(150)]
    result = support.run(recipe(tmp_path, rows, ["dump"]), tmp_path / "out")
    row = next(row for row in result.rows if row.stage == "dedup.exact.Exact")
    assert row.entered["dump"] == {"CC-MAIN-200": 50, "CC-MAIN-201": 50, "CC-MAIN-202": 50}
    assert row.lost["dump"] == {"CC-MAIN-200": 10, "CC-MAIN-201": 50, "CC-MAIN-202": 50}


def test_a_group_of_less_than_a_thousand_documents_is_not_judged_by_itself(tmp_path: Path):
    rows = [{"text": "few", "language": "xx"}] * 999 + [{"text": f"page {n % 600}", "language": "en"} for n in range(3000)]
    support.run(recipe(tmp_path, rows, ["language"]), tmp_path / "out")
    assert len(support.documents(tmp_path / "out", "web")) == 601


def test_the_limit_is_the_recipes(tmp_path: Path):
    rows = [{"text": f"page {n % 1000}"} for n in range(2000)]
    source = recipe(tmp_path, rows, [], max_loss=0.49)
    with pytest.raises(BudgetError, match=r"drops 1,000 of the 2,000 documents of web \(50\.0%\); max_loss is 49\.0%"):
        support.run(source, tmp_path / "out")
    support.run(source, tmp_path / "out", "sources.web.dedup.exact.Exact.max_loss=0.5")


def letters(number: int) -> str:
    """Digits are all one to line deduplication."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


NOTICE = " ".join(f"word{n}" for n in range(70))


@pytest.mark.parametrize(("name", "limit"), [("dedup.substring.ExactSubstring", "90.0%"), ("dedup.lines.Lines", "95.0%")])
def test_a_stage_that_takes_nearly_all_of_the_text_fails_the_run(name: str, limit: str, tmp_path: Path):
    """Though each document stays, as a few words of its own are left of it."""
    source = recipe(tmp_path, [{"text": f"{NOTICE}\nown {letters(n)}"} for n in range(1200)], [], name)
    with pytest.raises(BudgetError) as error:
        support.run(source, tmp_path / "out")
    message = str(error.value)
    assert re.search(rf"{name} drops \d{{3}},\d{{3}} of the \d{{3}},\d{{3}} characters of web \(9\d\.\d%\); max_loss is {limit}", message)
    assert f"raise {name}.max_loss" in message
    support.run(source, tmp_path / "out", f"sources.web.{name}.max_loss=1")
    assert len(support.documents(tmp_path / "out", "web")) == 1200


def test_what_line_dedup_takes_of_dumps_by_design_goes_through(tmp_path: Path):
    rows = [{"text": f"{NOTICE[:160]}\nan own line of page {letters(n)} of this dump, and so on"} for n in range(1200)]
    support.run(recipe(tmp_path, rows, [], "dedup.lines.Lines"), tmp_path / "out")
    assert len(support.documents(tmp_path / "out", "web")) == 1200


@pytest.mark.parametrize("name", ["dedup.exact.Exact", "dedup.lines.Lines", "dedup.minhash.MinHash", "dedup.substring.ExactSubstring"])
@pytest.mark.parametrize("max_loss", [-0.1, 2, float("nan")])
def test_a_limit_is_a_share(name: str, max_loss: float):
    with pytest.raises(RecipeError, match=rf"{name}.max_loss: expected (greater|less) than or equal to"):
        build(name, {"max_loss": max_loss})
