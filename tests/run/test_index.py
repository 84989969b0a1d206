"""An index of one run in the next: what is added to it meets the same fate as if all had been read at once."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from curate import plan as planning
from curate import recipe as recipes
from curate import run as running
from curate.errors import RecipeError
from curate.progress import Lines
from curate.runner import Local, Ray

WORDS = [a + b for a in "bcdfghjklm" for b in ("an", "el", "ir", "on", "ut")]
BARRIER = {"dedup.minhash.MinHash": {"ngram": 2, "bands": 12, "rows": 2, "threshold": 0.6, "compared": 3, "max_loss": 1, "sample": 20}}
RECIPE = "name: x\nsources: {}\nengine: {partitions: 2}\n"


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def dumps(seed: int, sizes: tuple[int, ...]) -> list[list[str]]:
    """Dumps of texts of which many are nearly those of their own dump or of an earlier one."""
    rng = random.Random(seed)
    seen: list[str] = []
    out = []
    for size in sizes:
        dump = []
        for _ in range(size):
            if seen and rng.random() < 0.6:
                words = rng.choice(seen).split()
                for _ in range(rng.randint(0, 4)):
                    words[rng.randrange(len(words))] = rng.choice(WORDS)
                dump.append(" ".join(words))
            else:
                dump.append(text(rng, rng.choice([1, 12, 25])))
            seen.append(dump[-1])
        out.append(dump)
    return out


def write(folder: Path, name: str, texts: list[str]) -> None:
    (folder / name).mkdir(parents=True)
    for shard, at in enumerate(range(0, len(texts), 7)):
        pq.write_table(pa.table({"text": texts[at : at + 7]}), folder / name / f"{shard}.parquet")


def run(folder: Path, out: str, names: list[str], changes: dict[str, Any] | None = None, executor: Any = None) -> Path:
    """Each dump is a source, and they are deduplicated together."""
    barrier = {"dedup.minhash.MinHash": {**BARRIER["dedup.minhash.MinHash"], **(changes or {})}}
    sources = {n: [{"read.parquet.Parquet": {"paths": [f"{folder}/{n}"]}}] for n in names}
    (folder / out).mkdir(parents=True, exist_ok=True)
    recipe = support.write_recipe(
        folder / out, folder, RECIPE, sources=sources, corpus=[barrier], engine={"partitions": 2, "shard_bytes": 500}
    )
    support.run(recipe, folder / out / "run", executor=executor)
    return folder / out / "run"


def kept(out: Path, names: list[str]) -> list[str]:
    return [i for n in names if (out / "documents" / n).exists() for i in support.documents(out, n)["id"].to_pylist()]


def fates(out: Path, source: str) -> dict[str, tuple[str, float]]:
    """Of the run as it stands: its lock names its passes."""
    passes = json.loads((out / "recipe.lock.json").read_text())["passes"]
    files = [f for p in passes if p.startswith(f"passes/{source}/") for f in (out / p).glob("*.fates.parquet")]
    rows = [row for f in files for row in pq.read_table(f).to_pylist()]
    return {row["id"]: (row["kept_id"], round(row["value"], 6)) for row in rows}


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def index_of(out: Path) -> str:
    return str(next((out / "index").iterdir()) / "index.json")


@settings(max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), sizes=st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)))
def test_dumps_added_one_by_one_give_what_all_at_once_gives(seed: int, sizes: tuple[int, ...], tmp_path: Path):
    folder = tmp_path / f"{seed}-{sizes}"
    if folder.exists():
        shutil.rmtree(folder)
    names = ["a", "b", "c"]
    for name, texts in zip(names, dumps(seed, sizes), strict=True):
        write(folder, name, texts)
    whole = run(folder, "whole", names)
    previous: dict[str, Any] = {}
    for name in names:
        out = run(folder, f"run-{name}", [name], {"keep_index": True} | previous)
        assert kept(out, [name]) == kept(whole, [name])
        assert fates(out, name) == fates(whole, name)  # with the ids of what was kept, of whichever dump
        previous = {"index": index_of(out)}


def test_documents_of_which_nothing_is_left_meet_those_of_an_index_by_their_bytes(tmp_path: Path):
    texts = {"a": ["\U0001f600", "...", "1.5 2.5 3.5", ""], "b": ["\U0001f601", "...", "7.5 9.5 8.5", "1.5 2.5 3.5", "!"]}
    for name, some in texts.items():
        write(tmp_path, name, some)
    made = run(tmp_path, "a-alone", ["a"], {"keep_index": True})
    out = run(tmp_path, "b-added", ["b"], {"index": index_of(made)})
    assert kept(out, ["b"]) == ["b/0.parquet:0", "b/0.parquet:2", "b/0.parquet:4"]
    assert fates(out, "b") == {"b/0.parquet:1": ("a/0.parquet:1", 1.0), "b/0.parquet:3": ("a/0.parquet:2", 1.0)}
    assert fates(run(tmp_path, "both", ["a", "b"]), "b") == fates(out, "b")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    for name, texts in zip("ab", dumps(3, (60, 60)), strict=True):
        write(folder, name, texts)
    run(folder, "first", ["a"], {"keep_index": True})
    return folder


def test_an_index_is_used_by_any_number_of_workers(first: Path):
    changes = {"index": index_of(first / "first" / "run"), "keep_index": True}
    local = run(first, "local", ["b"], changes)
    ray = Ray(2)
    try:
        distributed = run(first, "ray", ["b"], changes, ray)
    finally:
        ray.close()
    assert support.digests(distributed) == support.digests(local)
    assert support.counts(distributed) == support.counts(local)
    for made, other in zip(files(local / "index"), files(distributed / "index"), strict=True):
        assert made.name == "index.json" or made.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rows": 3}, "rows is 3 here and 2 there"),
        ({"ngram": 3}, "ngram is 3 here and 2 there"),
        ({"threshold": 0.7}, "threshold is 0.7 here and 0.6 there"),
        ({"ignore": ["case"]}, "ignore is"),
        ({"seed": 9}, "seed is 9 here and 1 there"),
    ],
)
def test_an_index_of_other_settings_is_refused_before_anything_starts(first: Path, changes: dict[str, Any], named: str):
    with pytest.raises(RecipeError, match=rf"recipe\.yaml:\d+: corpus\[0\].*{named}"):
        run(first, "refused", ["b"], {"index": index_of(first / "first" / "run")} | changes)


KEPT = {"dedup.minhash.MinHash": {"keep_index": True}}


def planned(folder: Path, own: dict[str, list[Any]], corpus: list[Any]) -> planning.Plan:
    """Sources of their own stages, each of which reads the dump a."""
    sources = {name: [{"read.parquet.Parquet": {"paths": [f"{folder}/a"]}}, *stages] for name, stages in own.items()}
    return planning.plan(recipes.load(support.write_recipe(folder, folder, RECIPE, sources=sources, corpus=corpus)))


@pytest.mark.parametrize(
    ("own", "corpus", "name", "places"),
    [
        ({"a": [KEPT]}, [KEPT], "a-dedup.minhash.MinHash", (r"corpus\[0\]", r"sources\.a\[1\]")),
        ({"a": [KEPT, KEPT]}, [], "a-dedup.minhash.MinHash", (r"sources\.a\[2\]", r"sources\.a\[1\]")),
        ({"a": [], "b": []}, [KEPT, KEPT], "corpus-dedup.minhash.MinHash", (r"corpus\[1\]", r"corpus\[0\]")),
    ],
)
def test_two_indexes_of_one_name_are_refused(first: Path, own: Any, corpus: Any, name: str, places: tuple[str, str]):
    with pytest.raises(RecipeError, match=rf"{places[0]}.*keeps its index as index/{name}, and so does .*{places[1]}"):
        planned(first, own, corpus)


def test_indexes_of_several_names_are_all_kept(first: Path, tmp_path: Path):
    made = planned(first, {"a": [KEPT], "b": [KEPT]}, [KEPT])
    running.run(made, str(tmp_path), Local(), Lines())
    kept = ["a-dedup.minhash.MinHash", "b-dedup.minhash.MinHash", "corpus-dedup.minhash.MinHash"]
    assert sorted(p.name for p in (tmp_path / "index").iterdir()) == kept


def test_what_is_no_index_is_refused(first: Path, tmp_path: Path):
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(RecipeError, match="is no index"):
        run(first, "refused", ["b"], {"index": str(tmp_path / "index.json")})
    with pytest.raises(RecipeError, match=r"no such model file"):
        run(first, "refused", ["b"], {"index": str(tmp_path / "nowhere" / "index.json")})


@pytest.mark.parametrize("damage", ["missing", "empty", "foreign"])
@pytest.mark.parametrize("end", ["arrow", "parquet"])
def test_an_index_with_a_file_that_is_not_its_own_is_refused_before_anything_is_read(first: Path, tmp_path: Path, damage: str, end: str):
    home = Path(index_of(first / "first" / "run")).parent
    shutil.copytree(home, tmp_path / "copy")
    victim = sorted((tmp_path / "copy").glob(f"*.{end}"))[-1]
    victim.unlink()
    if damage != "missing":
        victim.write_bytes(b"" if damage == "empty" else b"of another run")
    found = {"missing": "it is not there", "empty": "it has 0", "foreign": "it has 14"}[damage]
    with pytest.raises(RecipeError, match=rf"corpus\[0\].*\.index\.{end} is not as .*index\.json says .*: {found}; copy"):
        run(first, f"refused-{tmp_path.name}", ["b"], {"index": str(tmp_path / "copy" / "index.json")})
    assert not (first / f"refused-{tmp_path.name}" / "run" / "passes").exists()


def test_an_index_that_is_no_longer_kept_goes(first: Path):
    out = run(first, "off", ["a"], {"keep_index": True})
    (out / "index" / "mine.txt").write_text("somebody's")
    assert len(list((out / "index").rglob("*.arrow"))) > 1
    run(first, "off", ["a"])
    assert [p.name for p in files(out / "index")] == ["mine.txt"]


def test_a_changed_index_gives_other_passes(first: Path):
    recipe = str(first / "first" / "recipe.yaml")
    plain = planning.plan(recipes.load(recipe))
    other = planning.plan(recipes.load(recipe, [f"corpus.dedup.minhash.MinHash.index={index_of(first / 'first' / 'run')}"]))
    assert plain.passes[-1].lineage != other.passes[-1].lineage
