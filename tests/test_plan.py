"""A plan finds all that can be known to be wrong, cuts the work, and names it by what it depends on; it starts nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import language_model
import pytest

from curate import plan as planning
from curate import recipe as recipes
from curate.errors import RecipeError
from curate.stage import Resources

RECIPE = """\
name: small
data: DATA
models:
  lid: {path: "${data}/lid.bin"}
sources:
  web:
    - read.jsonl.Jsonl: {paths: ["${data}/web"]}
    - length.Chars: {least: 5}
    - dedup.exact.Exact
    - length.Words: {least: 2}
    - language.FastText: {model: lid}
    - language.Keep
  books:
    - read.jsonl.Jsonl: {paths: ["${data}/books"]}
    - length.Chars: {least: 6}
corpus:
  - length.Bytes: {least: 1}
  - dedup.exact.Exact
  - length.Words: {least: 3}
"""


@pytest.fixture(scope="session")
def lid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A language model."""
    return Path(language_model.train(tmp_path_factory.mktemp("lid"))).read_bytes()


@pytest.fixture
def place(tmp_path: Path, lid: bytes) -> Path:
    """A folder of two sources, a model and a recipe."""
    for source in ("web", "books"):
        for number in range(2):
            path = tmp_path / "data" / source / f"{number}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps({"text": f"{source} {number} {n} and so on"}) + "\n" for n in range(20)))
    (tmp_path / "data" / "lid.bin").write_bytes(lid)
    (tmp_path / "r.yaml").write_text(RECIPE.replace("DATA", str(tmp_path / "data")))
    return tmp_path


def load(place: Path, *settings: str) -> recipes.Recipe:
    return recipes.load(str(place / "r.yaml"), settings)


def plan(place: Path, *settings: str) -> planning.Plan:
    return planning.plan(load(place, *settings))


def names(made: planning.Plan) -> dict[str, list[str]]:
    return {s: [p.lineage for p in made.passes if p.source == s] for s in made.inputs}


def changed(before: planning.Plan, after: planning.Plan) -> dict[str, list[int]]:
    """Which passes of each source have new names, by number."""
    return {s: [n for n, (a, b) in enumerate(zip(names(before)[s], names(after)[s], strict=True), 1) if a != b] for s in before.inputs}


def refused(place: Path, *settings: str) -> str:
    with pytest.raises(RecipeError) as error:
        plan(place, *settings)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


def test_passes_are_cut_at_barriers_and_those_of_the_corpus_are_shared(place: Path) -> None:
    made = plan(place)
    cuts = {s: [([x.name for x in p.stages], p.leave.name if p.leave else None) for p in made.passes if p.source == s] for s in made.inputs}
    exact = "dedup.exact.Exact"
    assert cuts == {
        "web": [
            (["length.Chars"], exact),
            (["length.Words", "language.FastText", "language.Keep", "length.Bytes"], exact),
            (["length.Words"], None),
        ],
        "books": [(["length.Chars", "length.Bytes"], exact), (["length.Words"], None)],
    }
    assert [[p.source for p in b.members] for b in made.barriers] == [["web"], ["web", "books"]]
    assert [[(p.source, p.number) for p in level] for level in made.levels] == [
        [("web", 1), ("books", 1)],
        [("web", 2)],
        [("web", 3), ("books", 2)],
    ]


def test_keep_and_other_hardware_cut_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = plan(place, "sources.web.length.Words.keep=true")
    assert [[s.name for s in p.stages] for p in kept.passes if p.source == "web"][1:3] == [
        ["length.Words"],
        ["language.FastText", "language.Keep", "length.Bytes"],
    ]
    gpu: ClassVar[Resources] = Resources(1, 1)
    monkeypatch.setattr(type(load(place).sources["web"][4].stage), "resources", gpu)
    made = [p for p in plan(place).passes if p.source == "web"]
    assert [([s.name for s in p.stages], p.resources.gpus) for p in made] == [
        (["length.Chars"], 0),
        (["length.Words"], 0),
        (["language.FastText"], 1),
        (["language.Keep", "length.Bytes"], 0),
        (["length.Words"], 0),
    ]


def test_a_source_without_stages_is_one_pass_of_its_reader(place: Path) -> None:
    made = plan(place, "corpus=", "sources={web: [read.jsonl.Jsonl: {paths: ['${data}/web']}]}")
    assert [(p.stages, p.leave, p.reader is not None) for p in made.passes] == [((), None, True)]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["sources.web=[read.jsonl.Jsonl: {paths: ['${data}/web']}, language.Keep: {}]"], "[1] language.Keep: reads the column language,"),
        (["sources.web=[read.jsonl.Jsonl: {paths: ['${data}/web'], keep: [languag]}, language.Keep: {}]"], "did you mean languag?"),
        (["corpus=[language.Keep: {}]"], "corpus[0] language.Keep: reads the column language, which source books does not have here"),
        (["models.lid.path=/nowhere/lid.bin"], ":11: sources.web[4] language.FastText: model: no such model file: /nowhere/lid.bin"),
        (["models.lid.path=${data}"], "model.bin: cannot be read: No such file"),
        (["models.lid.path=${data}/empty"], "model.bin: cannot be read"),
        (["sources.web.0.paths=['${data}/wep/*.jsonl']"], "wep does not exist)"),
        (["sources.web.0.paths=['${data}/web/*.json']"], "web holds 0.jsonl, 1.jsonl)"),
        (["sources.web.0.paths=['${data}/empty']"], "empty is empty)"),
        (["sources.web.0.paths=['']"], "an empty path"),
        (["sources.web.0.paths=[]"], ":7: sources.web[0] read.jsonl.Jsonl: "),
        (["sources.web.0.paths=['zz://bucket/x']"], "zz"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(place: Path, settings: list[str], says: str) -> None:
    (place / "data" / "empty").mkdir()
    message = refused(place, *settings)
    assert message.startswith(f"{place}/r.yaml:")
    assert says in message


def test_a_model_without_permission_is_named(place: Path) -> None:
    def denied(path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    with pytest.raises(RecipeError, match=r"language\.FastText: model: .*lid\.bin cannot be read: Permission denied"):
        planning.plan(load(place), denied)


CHANGES: list[tuple[str, list[str], dict[str, list[int]]]] = [
    ("nothing", [], {"web": [], "books": []}),
    ("the name", ["name=other"], {"web": [], "books": []}),
    ("the seed", ["seed=9"], {"web": [], "books": []}),
    ("batch_rows", ["engine.batch_rows=3"], {"web": [], "books": []}),
    ("partitions", ["engine.partitions=7"], {"web": [], "books": []}),
    ("a budget for bad records", ["sources.web.0.max_bad=0.5"], {"web": [], "books": []}),
    ("keep on the last stage of a pass", ["sources.books.length.Chars.keep=false"], {"web": [], "books": []}),
    ("a first stage", ["sources.web.length.Chars.least=6"], {"web": [1, 2, 3], "books": [2]}),
    ("a stage behind a barrier", ["sources.web.length.Words.least=9"], {"web": [2, 3], "books": [2]}),
    ("a last stage of one source", ["sources.books.length.Chars.least=7"], {"web": [3], "books": [1, 2]}),
    ("a stage of the corpus", ["corpus.length.Bytes.least=2"], {"web": [2, 3], "books": [1, 2]}),
    ("the last stage of all", ["corpus.length.Words.least=4"], {"web": [3], "books": [2]}),
    ("the reader", ["sources.books.0.text=body"], {"web": [3], "books": [1, 2]}),
    ("shard_bytes", ["engine.shard_bytes=100"], {"web": [1, 2, 3], "books": [1, 2]}),
]


@pytest.mark.parametrize(("settings", "new"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_a_change_renames_what_depends_on_it_and_nothing_else(place: Path, settings: list[str], new: dict[str, list[int]]) -> None:
    assert changed(plan(place), plan(place, *settings)) == new


def grow(place: Path) -> None:
    with open(place / "data" / "books" / "0.jsonl", "a") as file:
        file.write('{"text": "one more"}\n')


def touch(place: Path) -> None:
    os.utime(place / "data" / "books" / "0.jsonl", ns=(1, 1))


def rename(place: Path) -> None:
    (place / "data" / "books" / "1.jsonl").rename(place / "data" / "books" / "2.jsonl")


def retrain(place: Path) -> None:
    path = place / "data" / "lid.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x3c")  # another weight


def move(place: Path) -> None:
    stamps = {p.name: p.stat().st_mtime_ns for p in (place / "data" / "books").iterdir()}
    (place / "data").rename(place / "moved")
    (place / "r.yaml").write_text(RECIPE.replace("DATA", str(place / "moved")))
    assert {p.name: p.stat().st_mtime_ns for p in (place / "moved" / "books").iterdir()} == stamps


def move_model(place: Path) -> None:
    (place / "elsewhere.bin").write_bytes((place / "data" / "lid.bin").read_bytes())
    (place / "r.yaml").write_text((place / "r.yaml").read_text().replace("${data}/lid.bin", str(place / "elsewhere.bin")))


@pytest.mark.parametrize(
    ("change", "new"),
    [
        (grow, {"web": [3], "books": [1, 2]}),
        (touch, {"web": [3], "books": [1, 2]}),
        (rename, {"web": [3], "books": [1, 2]}),
        (retrain, {"web": [2, 3], "books": [2]}),
        (move, {"web": [], "books": []}),
        (move_model, {"web": [], "books": []}),
    ],
)
def test_inputs_and_models_count_by_what_they_hold(place: Path, change: Callable[[Path], None], new: dict[str, list[int]]) -> None:
    before = plan(place)
    change(place)
    assert changed(before, plan(place)) == new


def test_the_order_of_sources_counts_where_it_decides(place: Path) -> None:
    """A shared barrier keeps the first copy in the order of the sources; what comes before it does not know them."""
    recipe = load(place)
    swapped = replace(recipe, sources=dict(reversed(recipe.sources.items())))
    before, after = planning.plan(recipe), planning.plan(swapped)
    assert {s: n[:-1] for s, n in names(before).items()} == {s: n[:-1] for s, n in names(after).items()}
    assert all(names(before)[s][-1] != names(after)[s][-1] for s in before.inputs)


def test_partitions_rename_the_barrier_and_no_documents(place: Path) -> None:
    before, after = plan(place), plan(place, "engine.partitions=7")
    assert [b.partitions for b in before.barriers] == [1, 1]
    assert [b.partitions for b in after.barriers] == [7, 7]
    assert not {b.folder for b in before.barriers} & {b.folder for b in after.barriers}


def test_the_fingerprint_of_a_run_is_of_what_it_makes_and_not_of_where(place: Path) -> None:
    before = plan(place).fingerprint
    assert plan(place, "engine.batch_rows=3").fingerprint == before
    assert plan(place, "sources.web.length.Words.least=9").fingerprint != before
    assert plan(place, "sources.web.0.text=body").fingerprint != before
    assert plan(place, "seed=8").fingerprint != before
    touch(place)
    move(place)
    assert plan(place).fingerprint == before


def test_two_barriers_are_not_confused_by_being_equal(place: Path) -> None:
    made = plan(place, "corpus=[dedup.exact.Exact, dedup.exact.Exact]")
    assert [len(b.members) for b in made.barriers] == [1, 2, 2]


def test_planning_starts_no_ray_and_writes_nothing(place: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in place.rglob("*")}
    code = (
        "import sys\nfrom curate.cli import main\n"
        "sys.argv = ['curate', 'plan', 'r.yaml', '--out', 'out/deep']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'ray' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "barrier dedup.exact.Exact over web + books, 1 partition" in done.stdout
    after = {p: p.stat().st_mtime_ns for p in place.rglob("*") if p != place}
    assert after == {p: t for p, t in before.items() if p != place}
