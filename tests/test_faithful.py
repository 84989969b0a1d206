"""`curate stats --faithful`: published figures beside those of a run, each the one that its name says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import support
import yaml

from curate import faithful
from curate import plan as planning
from curate import recipe as recipes
from curate.errors import RecipeError
from curate.faithful import Line, Size, compare
from curate.published import Published
from curate.stats import StageStats

TABLE_1 = Published("Table 1", share=0.67, epochs=1.1, tokens=852.7e9, bytes=3.3e12)


def test_sizes_are_compared_as_they_are_and_as_ratios_of_each_other() -> None:
    lines = {line.figure: line for line in compare({"web": [TABLE_1]}, [], {"web": Size(10, 4000, 1000.0, 0.67, 2.2)}, {})}
    assert lines["bytes per token"].published == pytest.approx(3.87, abs=0.005), "as the specification works it out"
    assert lines["bytes per token"].ours == 4.0
    assert lines["epochs"].ratio == 2.0
    assert lines["share of tokens"].ratio == 1.0
    assert "documents" not in lines, "nothing is published of them"


def test_every_step_says_what_it_keeps_whether_or_not_that_is_published() -> None:
    rows = [
        StageStats("web", "a.A", docs_in=10, docs_out=9, chars_in=100, chars_out=60),
        StageStats("web", "b.B", docs_in=9, docs_out=9, chars_in=60, chars_out=60),
        StageStats("books", "a.A", docs_in=1, docs_out=1),
    ]
    figures = [Published("CCNet", stage="a.A", characters_kept=0.3), Published("another", stage="a.A", characters_kept=0.6)]
    lines = compare({"web": figures}, rows, {"web": Size(9, 60)}, {("web", "a.A"): ("group 50",)})
    assert lines == [
        Line("web", "a.A", "documents kept", 0.9, open=("group 50",)),
        Line("web", "a.A", "characters kept", 0.6, 0.3, "CCNet", ("group 50",)),
        Line("web", "a.A", "characters kept", 0.6, 0.6, "another", ("group 50",)),
        Line("web", "b.B", "documents kept", 1.0),
        Line("web", "b.B", "characters kept", 1.0),
    ]
    assert [line.ratio for line in lines[:3]] == [None, 2.0, 1.0]


def test_without_tokens_there_is_nothing_of_tokens() -> None:
    lines = {line.figure: line for line in compare({"web": [TABLE_1]}, [], {"web": Size(10, 4000)}, {})}
    assert lines["bytes per token"].ours is lines["epochs"].ours is lines["epochs"].ratio is None
    assert "-" in faithful.table(list(lines.values()))


@pytest.fixture
def figures(tmp_path: Path, corpus: Path) -> str:
    figure = {"by": "Table 9", "share": 0.5, "tokens": 1e9, "bytes": 4e9, "documents": 7}
    step = {"by": "Section 2", "stage": "gopher.Quality", "documents_kept": 0.25}
    return support.write_recipe(tmp_path, corpus, published={"web": [figure, step]})


def test_the_table_of_a_run_has_its_own_counts(tmp_path: Path, figures: str) -> None:
    out = tmp_path / "out"
    support.run(figures, out)
    lines = {(x["source"], x["step"], x["figure"]): x for x in json.loads(faithful.report(str(out), as_json=True))}
    kept = support.documents(out, "web")
    mixed = {a["source"]: a for a in json.loads((out / "tokens" / "manifest.json").read_text())["mix"]}
    assert lines["web", "", "documents"]["ours"] == len(kept)
    assert lines["web", "", "bytes"]["ours"] == sum(len(t.encode()) for t in kept["text"].to_pylist())
    assert lines["web", "", "share of tokens"]["ours"] == mixed["web"]["share"]
    row = next(r for r in support.counts(out) if (r["source"], r["stage"]) == ("web", "gopher.Quality"))
    assert lines["web", "gopher.Quality", "documents kept"]["ours"] == row["docs_out"] / row["docs_in"]  # type: ignore[operator]
    assert lines["web", "gopher.Quality", "documents kept"]["published"] == 0.25
    assert ("books", "gopher.Repetition", "characters kept") in lines
    assert "threshold 0.5" in lines["web", "dedup.minhash.MinHash", "documents kept"]["open"]
    text = faithful.report(str(out))
    assert "Table 9" in text
    assert "Section 2" in text


def test_a_source_that_the_recipe_has_no_more_is_not_told_of(tmp_path: Path, figures: str) -> None:
    out = tmp_path / "out"
    support.run(figures, out)
    value = yaml.safe_load(Path(figures).read_text())
    del value["sources"]["books"], value["mix"], value["published"]
    Path(figures).write_text(yaml.safe_dump(value, sort_keys=False))
    (out / "documents" / "books").mkdir(exist_ok=True)
    support.run(figures, out)
    assert {x["source"] for x in json.loads(faithful.report(str(out), as_json=True))} == {"web"}


def test_what_is_published_decides_nothing(figures: str) -> None:
    with_figures = planning.plan(recipes.load(figures))
    value = yaml.safe_load(Path(figures).read_text())
    del value["published"]
    Path(figures).write_text(yaml.safe_dump(value, sort_keys=False))
    assert planning.plan(recipes.load(figures)).fingerprint == with_figures.fingerprint
    assert [p.folder for p in planning.plan(recipes.load(figures)).passes] == [p.folder for p in with_figures.passes]


@pytest.mark.parametrize(
    ("published", "says"),
    [
        ({"webs": [{"by": "x"}]}, r"published\.webs: no such source; there are web, books; did you mean web\?"),
        ({"web": [{"by": "x", "stage": "gopher.Qualit"}]}, r"web\[0\]\.stage: web has no gopher\.Qualit; .*did you mean gopher\.Quality"),
        ({"web": [{"by": "x", "share": 67}]}, r"published\.web\[0\]\.share: .*less than or equal to 1"),
        ({"web": [{"share": 0.67}]}, r"published\.web\[0\]\.by: missing"),
        ({"web": [{"by": "x", "token": 3}]}, r"published\.web\[0\]\.token: no such parameter; there are by, share"),
        ({"web": {"by": "x"}}, r"published\.web: "),
        (["web"], r"published: "),
    ],
)  # fmt: skip
def test_a_mistake_names_its_place(tmp_path: Path, corpus: Path, published: object, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipes.load(support.write_recipe(tmp_path, corpus, published=published))
