"""Models that are trained in a run: from which documents, when, when again, and what is said when it cannot be done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import support
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import care, command, known, store, training
from curate import plan as planning
from curate import recipe as recipes
from curate import run as running
from curate.errors import CurateError, RecipeError, StageError
from curate.finished import write_stats
from curate.progress import Lines
from curate.runner import Local, Ray
from curate.stage import Resources

WEB = {
    "a": ["red green blue", "red green", "sun moon star red", "x"],
    "b": ["blue blue red green", "red green blue", "sun sun sun", "green red moon"],
}
BOOKS = {"a": ["red green moon", "blue y", "star"], "b": ["red red green blue", "z z z"]}

RECIPE = """\
name: taught
seed: 5
data: DATA
models:
  words: {train: own_stages.Vocabulary, from: books}
sources:
  web:
    - read.jsonl.Jsonl: {paths: ["${data}/web"]}
    - length.Words: {least: 2}
    - own_stages.Known: {model: words}
    - length.Words: {least: 3}
  books:
    - read.jsonl.Jsonl: {paths: ["${data}/books"]}
    - length.Words: {least: 2}
engine: {shard_bytes: 60}
"""


def write(folder: Path, files: dict[str, list[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two sources of a few words each, and a recipe in which one is judged by what the other taught."""
    write(tmp_path / "data" / "web", WEB)
    write(tmp_path / "data" / "books", BOOKS)
    return teach(tmp_path, RECIPE)


def teach(place: Path, text: str) -> Path:
    """Put another recipe there."""
    (place / "r.yaml").write_text(text.replace("DATA", str(place / "data")))
    return place


class Watching(Local):
    """Notes which models are trained, and over how many shards documents are selected for one."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.selected = 0

    def map(self, work: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Any]:
        for result in super().map(work, items, resources):
            if isinstance(work, training.Train):
                self.trained.append(work.name)
            self.selected += isinstance(work, training.Select)
            yield result


def plan(place: Path, *settings: str, only: Sequence[str] = (), goal: str = "") -> planning.Plan:
    return planning.plan(recipes.load(str(place / "r.yaml"), settings, only, goal))


def run(place: Path, *settings: str, only: Sequence[str] = (), goal: str = "", out: str = "out", executor: Any = None) -> list[str]:
    """Carry it out; the names of the models that were trained."""
    watching = executor or Watching()
    made = plan(place, *settings, only=only, goal=goal)
    result = running.run(made, str(place / out), watching, Lines())
    if not goal:
        write_stats(result.rows, str(place / out))
    return getattr(watching, "trained", [])


def model(place: Path, name: str = "words", out: str = "out") -> Path:
    [folder] = (place / out / "models").glob(f"{name}-*")
    return folder


def words(place: Path, name: str = "words", out: str = "out") -> list[str]:
    return (model(place, name, out) / "words.txt").read_text().split("\n")


def ids(place: Path, name: str = "words", out: str = "out") -> list[str]:
    return (model(place, name, out) / "ids.txt").read_text().split("\n")


def kept(place: Path, source: str = "web", out: str = "out") -> list[str]:
    return list(support.documents(place / out, source)["text"].to_pylist())


def digests(out: Path) -> dict[str, str]:
    """sha256 of every file that a user is given, models among them, and of the recipe."""
    files = [p for kind in ("documents", "models", "quarantine") for p in sorted((out / kind).rglob("*")) if p.is_file()]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in [*files, out / "recipe.yaml"]}


def fingerprints(made: planning.Plan) -> dict[str, str]:
    return {t.name: t.fingerprint for t in made.trainings}


def refused(place: Path, *settings: str, only: Sequence[str] = (), goal: str = "") -> str:
    with pytest.raises(RecipeError) as error:
        plan(place, *settings, only=only, goal=goal)
    assert "\n" not in str(error.value)
    return str(error.value)


# -- from what a model learns -------------------------------------------------------------------------------------------------------


def test_a_model_learns_from_a_source_as_it_is_left_and_judges_another(place: Path) -> None:
    assert run(place) == ["words"]
    taught = ["red green moon", "blue y", "red red green blue", "z z z"]  # "star" is too short for this source
    assert words(place) == sorted({w for text in taught for w in text.split()})
    assert kept(place) == ["red green blue", "blue blue red green", "red green blue", "green red moon"]
    assert kept(place, "books") == taught


def test_a_card_says_what_the_model_is_made_of(place: Path) -> None:
    run(place)
    card = json.loads((model(place) / training.CARD).read_text())
    files = {n: hashlib.sha256((model(place) / n).read_bytes()).hexdigest() for n in ("ids.txt", "words.txt")}
    size = sum(len(t) for t in ["red green moon", "blue y", "red red green blue", "z z z"])
    assert card == {
        "model": "words",
        "fingerprint": model(place).name.removeprefix("words-"),
        "trained_by": "own_stages.Vocabulary",
        "settings": {"least": 1, "column": ""},
        "documents": 4,
        "told": [[4, size]],  # each selection knows how many documents there are in all, and how long they are
        "bytes": {name: (model(place) / name).stat().st_size for name in files},
        "sha256": files,
    }


def test_a_trainer_is_told_how_many_documents_have_each_value_of_a_column(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Over all shards and sources of the role, before anything is selected; and what its card warns of is said."""
    run(place, "models.tally={train: own_stages.Tally, from: [books, web], column: source}", goal="tally")
    told = json.loads((model(place, "tally") / training.CARD).read_text())["told"]
    run(place, out="whole")
    assert told == [f"books={len(kept(place, 'books', 'whole'))}", f"web={len(kept(place, 'web', 'whole'))}"]
    assert "warning: model tally: it is only a tally" in capfd.readouterr().err


def test_a_source_may_use_what_its_own_earlier_documents_taught(place: Path) -> None:
    run(place, "models.words={train: own_stages.Vocabulary, from: web, least: 3}")
    taught = [t for f in WEB.values() for t in f if len(t.split()) >= 2]  # what the first filter leaves, the second has not seen
    assert len(ids(place)) == len(taught) == 7
    assert words(place) == ["blue", "green", "red"]
    assert kept(place) == ["red green blue", "blue blue red green", "red green blue"]


def test_documents_come_in_the_order_of_the_sources_named_and_of_the_corpus(place: Path) -> None:
    run(place, "models.words.from=[books, web]", "sources.web.own_stages.Known.least=0.5")
    found = ids(place)
    split = next(n for n, i in enumerate(found) if i.startswith("web/"))
    assert [i.split("/")[0] for i in found] == ["books"] * split + ["web"] * (len(found) - split)
    assert split == 4
    for source in (found[:split], found[split:]):
        at = [(i.split(":")[0], int(i.split(":")[1])) for i in source]
        assert at == sorted(at)


def test_each_role_has_its_sources(place: Path) -> None:
    run(place, "models.words={train: own_stages.Contrast, from: {good: books, bad: [web]}}", "sources.web.own_stages.Known.least=0")
    # web, before its first stage that uses the model, holds all of its documents but "x"
    good = {"red", "green", "moon", "blue", "y", "z"}
    assert words(place) == sorted(good - {w for f in WEB.values() for t in f if t != "x" for w in t.split()})
    card = json.loads((model(place) / training.CARD).read_text())
    assert card["good"] == len(good)


def test_a_source_can_have_two_roles(place: Path) -> None:
    run(place, "models.words={train: own_stages.Contrast, from: {good: books, bad: books}}", "sources.web.own_stages.Known.least=0")
    assert words(place) == [""]


CHAIN = RECIPE.replace(
    "sources:",
    "  inner: {train: own_stages.Within, from: web, model: words}\nsources:",
).replace("own_stages.Known: {model: words}", "own_stages.Known: {model: inner}")


def test_a_trainer_may_use_a_model_that_is_trained_before_it(place: Path) -> None:
    teach(place, CHAIN)
    assert run(place) == ["words", "inner"]
    assert words(place, "inner") == ["blue", "green", "moon", "red"]  # of web's words, before they are judged, those that books know
    assert kept(place) == ["red green blue", "blue blue red green", "red green blue", "green red moon"]


def test_two_models_may_learn_from_one_source_at_different_places(place: Path) -> None:
    first = "  early: {train: own_stages.Vocabulary, from: web, least: 3}\nsources:"
    steps = "own_stages.Known: {model: early, least: 0.3}\n    - length.Words: {least: 3}\n    - own_stages.Known: {model: words}"
    teach(place, RECIPE.replace("sources:", first).replace("from: books", "from: web").replace("own_stages.Known: {model: words}", steps))
    assert sorted(run(place)) == ["early", "words"]
    assert len(ids(place, "early")) == 7
    assert len(ids(place)) == 4  # three words or more, of which a third are red, green or blue


@pytest.mark.parametrize("kind", ["own_stages.Known", "own_stages.OnAccelerator"])
def test_stages_of_the_corpus_may_use_a_model(place: Path, kind: str) -> None:
    teach(place, RECIPE.replace("    - own_stages.Known: {model: words}\n", ""))
    assert run(place, f"corpus=[dedup.exact.Exact, {kind}: {{model: words}}, length.Words: {{least: 3}}]") == ["words"]
    assert ids(place)[0].startswith("books/")
    assert len(ids(place)) == 4  # as the source leaves them, not as the corpus does
    assert kept(place) == ["red green blue", "blue blue red green", "green red moon"]  # the second "red green blue" is a copy
    assert kept(place, "books") == ["red green moon", "red red green blue", "z z z"]


@pytest.mark.parametrize("first", [True, False])
def test_the_first_stage_of_the_corpus_may_use_what_all_sources_taught(place: Path, first: bool) -> None:
    teach(place, RECIPE.replace("    - own_stages.Known: {model: words}\n", ""))
    corpus = ["own_stages.Known: {model: words}", "dedup.exact.Exact"]
    run(
        place,
        "models.words={train: own_stages.Vocabulary, from: [web, books], least: 4}",
        f"corpus=[{', '.join(corpus if first else corpus[::-1])}]",
    )
    everything = [t for f in WEB.values() for t in f if len(t.split()) >= 3] + [t for f in BOOKS.values() for t in f if len(t.split()) >= 2]
    often = [w for w in {w for t in everything for w in t.split()} if sum(w in t.split() for t in everything) >= 4]
    assert words(place) == sorted(often)
    assert kept(place) == ["red green blue", "blue blue red green"]
    assert kept(place, "books") == ["red red green blue"]


@pytest.mark.parametrize("where", ["source", "own", "corpus", "first"])
@pytest.mark.parametrize("asks", ["emit", "apply"])
def test_a_barrier_may_use_a_model(place: Path, where: str, asks: str) -> None:
    barriers(place, where, asks)


@pytest.mark.parametrize("asks", ["reduce", "settle", "all"])
def test_a_barrier_may_use_a_model_where_keys_meet(place: Path, asks: str) -> None:
    barriers(place, "source", asks)


def barriers(place: Path, where: str, asks: str) -> None:
    stage = f"own_stages.SameWords: {{model: words, asks: {asks}}}"
    text = RECIPE.replace("own_stages.Known: {model: words}", stage if where in ("source", "own") else "length.Chars: {least: 1}")
    teach(place, text)
    taught = {"own": "web", "first": "[web, books]"}.get(where, "books")
    corpus = f"[{stage}]" if where in ("corpus", "first") else "[]"
    assert run(place, f"models.words.from={taught}", f"corpus={corpus}") == ["words"]
    long = [t for f in WEB.values() for t in f if len(t.split()) >= 3]
    if asks in ("emit", "all"):  # "sun" and "star" are words to the model only where it learnt from web
        knows = set(words(place))
        sets = [
            frozenset(t.split()) & knows
            for t in (long if where in ("corpus", "first") else [t for f in WEB.values() for t in f if " " in t])
        ]
        texts = long if where in ("corpus", "first") else [t for f in WEB.values() for t in f if " " in t]
        expected = [t for n, t in enumerate(texts) if sets[n] not in sets[:n] and len(t.split()) >= 3]
    else:
        expected = list(dict.fromkeys(long))
    assert kept(place) == expected


def test_a_model_waits_for_whatever_comes_last(place: Path) -> None:
    """Its own documents are there long before the model that its trainer uses."""
    steps = "length.Words: {least: 2}\n    - dedup.exact.Exact\n    - own_stages.Sized: {keep: true}\n    - dedup.exact.Exact\nengine"
    teach(place, CHAIN.replace("length.Words: {least: 2}\nengine", steps))
    made = plan(place)
    assert {t.name: t.level for t in made.trainings} == {"words": 3, "inner": 3}
    assert [(p.number, p.level) for p in made.passes if p.source == "web"] == [(1, 0), (2, 4)]
    assert run(place) == ["words", "inner"]
    assert kept(place) == ["red green blue", "blue blue red green", "red green blue", "green red moon"]


# -- the promise as a whole, against a plain reading of recipes -----------------------------------------------------------------


class Circle(Exception):
    """A model is needed for its own documents."""


@dataclass
class Reading:
    """What a recipe means, one document after another, with everything in memory."""

    sources: dict[str, list[tuple[str, Any]]]  # (stage, its parameter)
    models: dict[str, tuple[list[str], Any]]  # (sources, least or the name of the model that it uses)
    corpus: list[tuple[str, Any]]
    texts: dict[str, list[str]]
    made: dict[str, list[str]] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def uses(self, step: tuple[str, Any]) -> set[str]:
        """The models behind a step."""
        found, name = set[str](), step[1] if step[0] == "known" else None
        while isinstance(name, str):
            found.add(name)
            name = self.models[name][1]
        return found

    def words(self, name: str) -> list[str]:
        """A model."""
        if name in self.open:
            raise Circle
        if name not in self.made:
            self.open.append(name)
            sources, how = self.models[name]
            inner = set(self.words(how)) if isinstance(how, str) else None
            texts = []
            for source in sources:
                steps = self.sources[source]
                end = next((n for n, step in enumerate(steps) if name in self.uses(step)), len(steps))
                texts += self.through(self.texts[source], steps[:end])
            counts = Counter(w for t in texts for w in set(t.split()))
            self.made[name] = sorted(w for w, n in counts.items() if (n >= how if inner is None else w in inner))
            self.open.pop()
        return self.made[name]

    def through(self, texts: list[str], steps: list[tuple[str, Any]]) -> list[str]:
        """Texts that stages leave."""
        for stage, value in steps:
            match stage:
                case "words":
                    texts = [t for t in texts if len(t.split()) >= value]
                case "exact":
                    texts = list(dict.fromkeys(texts))
                case "known":
                    heard = set(self.words(value))
                    texts = [t for t in texts if not t.split() or 2 * sum(w in heard for w in t.split()) >= len(t.split())]
        return texts

    def documents(self) -> dict[str, list[str]]:
        """What is left of each source."""
        left = {s: self.through(texts, self.sources[s]) for s, texts in self.texts.items()}
        for step in self.corpus:
            if step[0] == "exact":
                seen = set[str]()
                for source, texts in left.items():
                    left[source] = [t for t in dict.fromkeys(texts) if t not in seen]
                    seen |= set(left[source])
            else:
                left = {s: self.through(texts, [step]) for s, texts in left.items()}
        return left

    def recipe(self, data: Path) -> dict[str, Any]:
        """For a recipe file."""

        def entry(step: tuple[str, Any]) -> dict[str, Any]:
            stage, value = step
            spelled = {"words": {"length.Words": {"least": value}}, "exact": {"dedup.exact.Exact": {}}}
            return spelled.get(stage) or {"own_stages.Known": {"model": value, "least": 0.5}}

        models = {
            name: {"train": "own_stages.Within", "from": of, "model": how}
            if isinstance(how, str)
            else {"train": "own_stages.Vocabulary", "from": of, "least": how}
            for name, (of, how) in self.models.items()
        }
        sources = {s: [{"read.jsonl.Jsonl": {"paths": [str(data / s)]}}, *map(entry, steps)] for s, steps in self.sources.items()}
        return {"models": models, "sources": sources, "corpus": [entry(s) for s in self.corpus], "engine": {"shard_bytes": 60}}


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    names = ["web", "books"]
    models: dict[str, tuple[list[str], Any]] = {}
    for name in draw(st.sampled_from([["m"], ["m", "n"], ["m", "n", "o"]])):
        of = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        models[name] = (of, draw(st.sampled_from([1, 2, *models])))
    plain = st.sampled_from([("words", 1), ("words", 2), ("exact", None)])
    steps = st.lists(plain | st.sampled_from(sorted(models)).map(lambda m: ("known", m)), max_size=4)
    text = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4).map(" ".join)
    return Reading({s: draw(steps) for s in names}, models, draw(steps), {s: draw(st.lists(text, min_size=1, max_size=8)) for s in names})


@settings(max_examples=int(os.environ.get("CURATE_EXAMPLES", "12")), deadline=None)
@given(readings())
def test_a_run_is_what_its_recipe_says(reading: Reading) -> None:
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for source, texts in reading.texts.items():
            write(place / "data" / source, {"0": texts[:3], "1": texts[3:]} if len(texts) > 3 else {"0": texts})
        (place / "r.yaml").write_text(yaml.safe_dump(reading.recipe(place / "data"), sort_keys=False))
        try:
            expected = reading.documents()
        except Circle:
            assert "learns from documents that it is needed for" in refused(place)
            return
        trained = run(place)
        assert sorted(trained) == sorted(reading.made)
        for source, texts in expected.items():
            files = list((place / "out" / "documents" / source).glob("*.parquet"))
            assert (kept(place, source) if files else []) == texts
        for name, learnt in reading.made.items():
            assert words(place, name) == (learnt or [""])
        for source in reading.texts:
            some = Watching()
            assert run(place, only=[source], executor=some) == []


# -- once, and again when something before it changes ------------------------------------------------------------------------------


def test_a_finished_run_trains_nothing_again(place: Path) -> None:
    run(place)
    before = {p: p.stat().st_mtime_ns for p in (place / "out" / "models").rglob("*")}
    watching = Watching()
    assert run(place, executor=watching) == []
    assert watching.selected == 0
    assert {p: p.stat().st_mtime_ns for p in (place / "out" / "models").rglob("*")} == before


@pytest.mark.parametrize(
    ("settings", "trains"),
    [
        (["sources.web.3.least=1"], []),  # behind the stage that uses it
        (["sources.web.own_stages.Known.least=0.5"], []),  # the stage that uses it
        (["sources.web.1.least=3"], []),  # before it, in a source that it does not learn from
        (["corpus=[dedup.exact.Exact]"], []),
        (["engine.batch_rows=1"], []),
        (["engine.partitions=3"], []),
        (["name=other"], []),
        (["sources.books.1.least=1"], ["words"]),
        (["models.words.least=2"], ["words"]),
        (["models.words.from=[books, books2]", "sources.books2=[read.jsonl.Jsonl: {paths: ['${data}/web']}]"], ["words"]),
        (["models.words.from=web"], ["words"]),
        (["models.words={train: own_stages.Contrast, from: {good: books, bad: books}}"], ["words"]),
    ],
)
def test_a_model_is_trained_again_when_what_it_is_made_of_changes_and_only_then(
    place: Path, settings: list[str], trains: list[str]
) -> None:
    run(place)
    assert run(place, *settings) == trains
    again = Watching()
    assert run(place, executor=again) == []  # and what was trained before is still there
    fresh = place / "fresh"
    run(place, *settings, out="fresh")
    assert run(place, *settings) == []
    assert digests(place / "out").items() >= digests(fresh).items()


def test_a_model_is_trained_again_when_its_documents_change(place: Path) -> None:
    run(place)
    write(place / "data" / "books", {"a": ["red green moon", "blue y", "sun star"]})
    assert run(place) == ["words"]
    before = sorted(p.name for p in (place / "out" / "models").iterdir())
    write(place / "data" / "web", {"b": ["moon moon moon"]})
    assert run(place) == []
    assert sorted(p.name for p in (place / "out" / "models").iterdir()) == before
    assert len(before) == 2


def test_a_model_that_another_was_trained_with_trains_that_one_again(place: Path) -> None:
    teach(place, CHAIN)
    run(place)
    assert run(place, "models.words.least=2") == ["words", "inner"]
    assert run(place, "sources.web.length.Words.least=1", "sources.web.1.least=1") == ["inner"]  # words is of books alone


def test_a_new_version_of_a_trainer_trains_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import own_stages

    run(place)
    monkeypatch.setattr(own_stages.Vocabulary, "version", 2)
    assert run(place) == ["words"]


def test_models_that_nothing_uses_are_not_trained(place: Path) -> None:
    teach(place, RECIPE.replace("sources:", "  unused: {train: own_stages.Fails, from: books}\nsources:"))
    assert run(place) == ["words"]
    assert "unused" not in json.loads((place / "out" / "recipe.lock.json").read_text())["trained"]


# -- the same bytes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 100_000])
def test_batch_size_changes_nothing(place: Path, rows: int) -> None:
    teach(place, CHAIN)
    run(place)
    run(place, f"engine.batch_rows={rows}", out="other")
    ours, theirs = digests(place / "out"), digests(place / "other")
    assert {k: v for k, v in ours.items() if k != "recipe.yaml"} == {k: v for k, v in theirs.items() if k != "recipe.yaml"}


def test_ray_changes_nothing(place: Path) -> None:
    teach(place, CHAIN + "corpus: [own_stages.SameWords: {model: inner}]\n")
    run(place)
    ray = Ray(2)
    try:
        run(place, out="other", executor=ray)
    finally:
        ray.close()
    assert digests(place / "other") == digests(place / "out")
    assert support.counts(place / "other") == support.counts(place / "out")


def test_the_place_of_the_run_changes_nothing(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    teach(place, CHAIN)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(place / "data", elsewhere / "data")  # with its times
    teach(elsewhere, CHAIN)
    run(place)
    run(elsewhere, out="deep/out")
    ours, theirs = digests(place / "out"), digests(elsewhere / "deep" / "out")
    assert {k: v for k, v in ours.items() if k != "recipe.yaml"} == {k: v for k, v in theirs.items() if k != "recipe.yaml"}
    assert plan(place).fingerprint == plan(elsewhere).fingerprint


class Crash(BaseException):
    """As sudden as a kill: no `except Exception` sees it."""


@contextmanager
def crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[list[int]]:
    """Die while file or folder `number` is given its name: before if the number is even, else just after."""
    seen = [0]

    def dying(real: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def moved(source: str, target: str) -> None:
            if seen[0] == number and number % 2 == 0:
                raise Crash
            real(source, target)
            seen[0] += 1
            if seen[0] == number + 1 and number % 2:
                raise Crash

        return moved

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying(os.replace))
        patched.setattr(os, "rename", dying(os.rename))
        yield seen


def test_a_crash_between_any_two_files_changes_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teach(place, CHAIN + "corpus: [own_stages.SameWords: {model: inner}]\n")
    with crash_at(monkeypatch, -1) as seen:
        run(place)
    wanted, books, files = digests(place / "out"), support.counts(place / "out"), seen[0]
    assert files > 30
    for number in range(files):
        with crash_at(monkeypatch, number), pytest.raises(Crash):
            run(place, out=str(number))
        run(place, out=str(number))
        assert digests(place / str(number)) == wanted, number
        assert support.counts(place / str(number)) == books, number
        assert not list((place / str(number) / "models").glob(f"{store.TEMPORARY}*")), number


@pytest.mark.parametrize("verb", ["select", "train"])
def test_a_crash_inside_a_trainer_changes_nothing(place: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    import own_stages

    teach(place, CHAIN)
    run(place)
    for moment in range(2):
        calls = [0]
        real = getattr(own_stages.Within, verb)

        def dying(*given: Any, moment: int = moment, calls: list[int] = calls, real: Any = real) -> Any:
            if calls[0] == moment or verb == "train":
                raise Crash
            calls[0] += 1
            return real(*given)

        with monkeypatch.context() as patched:
            patched.setattr(own_stages.Within, verb, dying)
            with pytest.raises(Crash):
                run(place, out=f"{moment}")
        assert run(place, out=f"{moment}") == ["inner"]  # words is there
        assert digests(place / f"{moment}") == digests(place / "out")


def test_what_a_killed_training_left_half_written_is_swept(place: Path) -> None:
    half = place / "out" / "models" / f"{store.TEMPORARY}{store.HOST}-999999999-abc-words-0123456789ab"
    half.mkdir(parents=True)
    (half / "words.txt").write_text("half a mod")
    run(place)
    assert not half.exists()
    assert len(list((place / "out" / "models").iterdir())) == 1


def test_what_was_selected_is_gone_once_the_model_is_there(place: Path) -> None:
    run(place)
    assert not [p for p in (place / "out" / "passes" / "models").rglob("*") if p.is_file()]


def test_what_was_selected_is_gone_once_a_run_is_finished_that_was_killed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(training.Train, "__call__", killed_after(training.Train.__call__))
        with pytest.raises(Crash):
            run(place)
    run(place)
    assert not [p for p in (place / "out" / "passes" / "models").rglob("*") if p.is_file()]


def killed_after(real: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, and the end."""

    def work(*given: Any) -> Any:
        real(*given)
        raise Crash

    return work


# -- a part of a recipe -------------------------------------------------------------------------------------------------------------


def test_only_trains_what_it_needs_and_publishes_what_was_asked(place: Path) -> None:
    assert run(place, only=["web"], out="web") == ["words"]
    run(place)
    assert {p.parent.name for p in (place / "web" / "documents").rglob("*.parquet")} == {"web"}
    assert kept(place, out="web") == kept(place)
    assert words(place, out="web") == words(place)
    assert run(place, only=["books"], out="books") == []
    assert {p.parent.name for p in (place / "books" / "documents").rglob("*.parquet")} == {"books"}
    assert not (place / "books" / "models").exists()


def test_only_goes_on_with_what_the_whole_run_has_done_and_the_other_way_round(place: Path) -> None:
    corpus = "corpus=[dedup.exact.Exact]"
    run(place, corpus)
    assert run(place, corpus, only=["web"]) == []
    assert not list((place / "out" / "documents" / "books").glob("*.parquet"))
    assert run(place, corpus, only=["web"], out="other") == ["words"]
    assert run(place, corpus, out="other") == []
    run(place, corpus, out="fresh")
    assert digests(place / "other") == digests(place / "fresh")


def test_a_source_that_only_feeds_is_not_in_the_mix_nor_in_the_barriers_of_the_corpus(place: Path) -> None:
    write(place / "data" / "books", {"a": ["red green blue", "sun moon star red"]})
    changes = ["corpus=[dedup.exact.Exact]", "tokens={tokenizer: {train: {vocabulary: 300}}}", "mix={weights: {web: 1, books: 1}}"]
    made = plan(place, *changes, only=["web"])
    assert made.recipe.mix is not None
    assert made.recipe.mix.weights == {"web": 1}
    assert [[m.source for m in b.members] for b in made.barriers] == [["web"]]
    assert [p.number for p in made.passes if p.source == "books"] == [1]


def test_a_chain_brings_all_its_sources_along(place: Path) -> None:
    write(place / "data" / "letters", {"a": ["red y"]})
    chain = CHAIN.replace("from: web, model: words", "from: letters, model: words").replace(
        "engine:", "  letters:\n    - read.jsonl.Jsonl: {paths: ['${data}/letters']}\nengine:"
    )
    teach(place, chain)
    made = plan(place, only=["web"])
    assert list(made.inputs) == ["web", "books", "letters"]
    assert made.recipe.feeding == ("books", "letters")
    assert list(plan(place, only=["letters"]).inputs) == ["letters"]
    assert [t.name for t in plan(place, goal="words").trainings] == ["words"]
    assert list(plan(place, goal="words").inputs) == ["books"]
    assert list(plan(place, goal="inner").inputs) == ["books", "letters"]


@pytest.mark.parametrize("text", [RECIPE, CHAIN, RECIPE.replace("from: books", "from: web")])
@pytest.mark.parametrize("corpus", ["[]", "[dedup.exact.Exact]", "[own_stages.Known: {model: words}, dedup.exact.Exact]"])
def test_a_model_has_one_fingerprint_whatever_part_is_asked_for(place: Path, text: str, corpus: str) -> None:
    teach(place, text)
    whole = fingerprints(plan(place, f"corpus={corpus}"))
    for other in (plan(place, f"corpus={corpus}", only=["web"]), plan(place, f"corpus={corpus}", only=["books"])):
        assert fingerprints(other).items() <= whole.items()
    for name in whole:
        assert fingerprints(plan(place, f"corpus={corpus}", goal=name))[name] == whole[name]


@pytest.mark.parametrize("only", [[], ["web"]])
def test_train_then_run_trains_nothing_again(place: Path, only: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = str(place / "r.yaml"), str(place / "out")
    options: dict[str, Any] = {"workers": None, "address": None, "local": True}
    command.train(recipe, "words", out, [], **options)
    said = capsys.readouterr().out
    card = json.loads(said[: said.index("\n}\n") + 3])
    assert card["model"] == "words"
    assert said.rstrip().endswith(f"{model(place)}")
    assert not list((place / "out" / "documents").rglob("*.parquet"))
    assert run(place, only=only) == []
    run(place, only=only, out="fresh")
    assert digests(place / "out") == digests(place / "fresh")


def test_training_leaves_the_results_of_a_run_alone(place: Path) -> None:
    run(place)
    before = {k: v for k, v in digests(place / "out").items() if k.startswith("documents")}
    assert run(place, goal="words") == []
    assert (place / "out" / "stats.json").exists()
    assert {k: v for k, v in digests(place / "out").items() if k.startswith("documents")} == before


# -- what is written down -----------------------------------------------------------------------------------------------------------


def test_the_lock_names_each_model_and_the_digests_of_its_files(place: Path) -> None:
    teach(place, CHAIN)
    run(place)
    lock = json.loads((place / "out" / "recipe.lock.json").read_text())
    assert list(lock["trained"]) == ["words", "inner"]
    for name, entry in lock["trained"].items():
        folder = model(place, name)
        assert entry["path"] == f"models/{folder.name}"
        files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != training.CARD}
        assert entry["sha256"] == files
    assert lock["trained"]["words"]["identity"] == ["own_stages.Vocabulary", 1, {"least": 1, "column": ""}]
    assert lock["trained"]["inner"]["identity"][2]["model"] == model(place).name.removeprefix("words-")


@pytest.mark.parametrize("corpus", ["[]", "[own_stages.SameWords: {model: inner}]"])
def test_the_resolved_recipe_loads_again_to_the_same_plan(place: Path, corpus: str) -> None:
    teach(place, CHAIN)
    made = plan(place, f"corpus={corpus}")
    run(place, f"corpus={corpus}")
    again = planning.plan(recipes.load(str(place / "out" / "recipe.yaml")))
    assert again.fingerprint == made.fingerprint
    assert fingerprints(again) == fingerprints(made)
    assert [p.folder for p in again.passes] == [p.folder for p in made.passes]
    assert again.recipe.resolved == made.recipe.resolved


@pytest.mark.parametrize(
    ("only", "goal"),
    [
        (["books"], ""),
        (["web"], ""),
    ],
)
def test_the_resolved_recipe_of_a_part_loads_again(place: Path, only: list[str], goal: str) -> None:
    teach(place, RECIPE.replace("sources:", "  other: {train: own_stages.Vocabulary, from: web}\nsources:"))
    run(place, only=only, goal=goal)
    again = planning.plan(recipes.load(str(place / "out" / "recipe.yaml")))
    assert fingerprints(again).items() >= fingerprints(plan(place, only=only, goal=goal)).items()


def test_the_resolved_recipe_of_a_part_of_a_mix_loads_again(place: Path) -> None:
    mix = ["tokens={tokenizer: {train: {vocabulary: 300}}}", "mix={weights: {web: 1, books: 1}}"]
    run(place, *mix, only=["web"])
    again = planning.plan(recipes.load(str(place / "out" / "recipe.yaml")))
    assert again.fingerprint == plan(place, *mix, only=["web"]).fingerprint


def test_which_model_a_stage_uses_is_part_of_the_fingerprint_of_a_run(place: Path) -> None:
    both = RECIPE.replace("sources:", "  other: {train: own_stages.Vocabulary, from: books, least: 2}\nsources:").replace(
        "{model: words}", "{model: words}\n    - own_stages.Known: {model: other, least: 0}\n    - own_stages.Known: {model: words}"
    )
    one = plan(teach(place, both))
    last = both[::-1].replace("{model: words}"[::-1], "{model: other}"[::-1], 1)[::-1]
    two = plan(teach(place, last))
    assert two.passes[0].folder != one.passes[0].folder
    assert two.fingerprint != one.fingerprint


def test_what_feeds_and_what_is_asked_for_are_told_apart_by_the_fingerprint(place: Path) -> None:
    assert plan(place, only=["web"]).fingerprint != plan(place).fingerprint


def test_a_plan_shows_what_is_trained_on_what(place: Path) -> None:
    def shown(trained: bool) -> str:
        return command.describe(plan(place), lambda _: 0, lambda _: trained)

    assert f"model words-{fingerprints(plan(place))['words']}: own_stages.Vocabulary on books 1" in shown(False)
    assert "(trained)" not in shown(False)
    assert "(trained)" in shown(True)


# -- what goes wrong ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("mistake", CurateError, r"^model words: too few documents to learn from$"),
        ("bug", StageError, r"own_stages\.Fails failed.*ZeroDivisionError: no rule for this"),
        ("select", StageError, r"own_stages\.Fails failed on .*, at books/.*ZeroDivisionError: no example of this"),
        ("disk", OSError, r"No space left on device"),
    ],
)
def test_a_training_that_fails_is_one_message_and_leaves_no_folder(place: Path, how: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as found:
        run(place, f"models.words={{train: own_stages.Fails, from: books, how: {how}}}")
    assert "\n" not in str(found.value)
    assert not list((place / "out" / "models").glob("*"))
    assert run(place) == ["words"]


@pytest.mark.parametrize("how", ["card", "nothing"])
def test_a_card_that_is_none_is_a_bug_of_the_trainer(place: Path, how: str) -> None:
    with pytest.raises(StageError, match=r"own_stages\.Fails"):
        run(place, f"models.words={{train: own_stages.Fails, from: books, how: {how}}}")
    assert not list((place / "out" / "models").glob("*"))


@pytest.mark.parametrize("how", ["bug", "select", "nothing"])
def test_a_bug_in_a_trainer_names_the_model(place: Path, how: str) -> None:
    with pytest.raises(StageError, match="model words"):
        run(place, f"models.words={{train: own_stages.Fails, from: books, how: {how}}}")


def test_a_source_without_documents_teaches_nothing_and_breaks_nothing(place: Path) -> None:
    assert run(place, "sources.books.1.least=100") == ["words"]
    assert json.loads((model(place) / training.CARD).read_text())["documents"] == 0
    assert not list((place / "out" / "documents" / "web").glob("*.parquet"))


def test_a_model_whose_card_is_gone_is_trained_again(place: Path) -> None:
    run(place)
    wanted = digests(place / "out")
    (model(place) / training.CARD).unlink()
    assert run(place) == ["words"]
    assert digests(place / "out") == wanted


def test_a_model_that_is_not_as_it_was_written_is_trained_again(place: Path) -> None:
    run(place)
    wanted = digests(place / "out")
    (model(place) / "words.txt").write_text("red")
    for old in (place / "out" / "passes" / "web").glob("*/*"):
        old.unlink()
    assert run(place) == ["words"]
    assert digests(place / "out") == wanted


def test_a_worker_that_dies_with_its_model_done_is_run_again_in_vain(place: Path) -> None:
    """Ray runs an item again whose worker died after the folder had its name."""
    made = plan(place)

    class Twice(Local):
        def map(self, work: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Any]:
            for item in items:
                yield from super().map(work, [item], resources)
                if isinstance(work, training.Train):
                    work(item)

    running.run(made, str(place / "out"), Twice(), Lines())
    assert len(list((place / "out" / "models").iterdir())) == 1


def test_a_remote_out_is_refused(place: Path) -> None:
    with pytest.raises(RecipeError, match=r"--out memory://bucket/out: this recipe trains models"):
        running.run(plan(place), "memory://bucket/out", Local(), Lines())


def test_a_folder_of_somebodys_models_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(RecipeError, match=r"holds models, but no run"):
        care.check_ours(str(tmp_path))


MODELS = "words: {train: own_stages.Vocabulary, from: books}"


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        ((MODELS, "words: {train: own_stages.Vocabulary, from: boks}"), 5, "no source boks; there are web, books; did you mean books?"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: [books, boks]}"), 5, "no source boks"),
        ((MODELS, "words: {train: own_stages.Vocabulary}"), 5, "`from` is the sources of documents"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: []}"), 5, "expected a source or a list of sources"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: 5}"), 5, "`from` is the sources of documents, found 5"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: {good: books}}"), 5, "`from` is the sources of documents"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: {documents: 5}}"), 5, "expected a source or a list of sources"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: [5]}"), 5, "each once, found [5]"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: [[books]]}"), 5, "from"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: [{books: 1}]}"), 5, "from"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: [books, books]}"), 5, "books"),
        ((MODELS, "words: {train: own_stages.Contrast, from: books}"), 5, "`from` is a mapping with the sources of good and of bad"),
        (
            (MODELS, "words: {train: own_stages.Contrast, from: {good: books}}"),
            5,
            "`from` is a mapping with the sources of good and of bad",
        ),
        ((MODELS, "words: {train: own_stages.Known, from: books, model: .}"), 5, "own_stages.Known does not train a model"),
        ((MODELS, "words: {train: own_stages.Vocabularies, from: books}"), 5, "has no stage Vocabularies"),
        ((MODELS, "words: {train: 5, from: books}"), 5, "expected the name of a stage that trains, found 5"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: books, leest: 2}"), 5, "no such parameter"),
        ((MODELS, "words: {train: own_stages.Vocabulary, from: books, least: two}"), 5, "least"),
        ((MODELS, "words: {train: own_stages.Within, from: books, model: words}"), 5, "no model words"),
        ((MODELS, "words: {known: lid.177.ftz}"), 5, "no model is known as lid.177.ftz; there are lid.176.ftz"),
        ((MODELS, "words: {from: books}"), 5, "expected {path: FILE}, {known: NAME} or {train: STAGE, from: SOURCE}"),
        ((MODELS, "wor/ds: {train: own_stages.Vocabulary, from: books}"), 5, "a model's name is letters, digits, - and _"),
        (
            (MODELS, "words: {train: own_stages.Vocabulary, from: books, column: language}"),
            5,
            "reads the column language, which source books",
        ),
        (("{model: words}", "{model: wrds}"), 10, "no model wrds under `models:`"),
        (("{model: words}", "{model: {path: x, name: wrds}}"), 10, "model"),
        (
            ("own_stages.Known: {model: words}", "own_stages.Vocabulary"),
            10,
            "own_stages.Vocabulary trains a model; it belongs under `models:`",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(place: Path, change: tuple[str, str], line: int, says: str) -> None:
    assert change[0] in RECIPE
    message = refused(teach(place, RECIPE.replace(*change)))
    assert message.startswith(f"{place}/r.yaml:{line}: ")
    assert says in message


def test_columns_are_those_that_are_there_where_the_model_learns(place: Path) -> None:
    text = RECIPE.replace("from: books", "from: web, column: size").replace(
        "    - length.Words: {least: 2}\n", "    - own_stages.Sized\n", 1
    )
    run(teach(place, text))
    late = text.replace("    - own_stages.Sized\n", "").replace("    - length.Words: {least: 3}", "    - own_stages.Sized")
    message = refused(teach(place, late))
    assert message.startswith(f"{place}/r.yaml:5: ")
    assert "reads the column size, which source web does not have here" in message


def test_a_circle_is_refused(place: Path) -> None:
    text = RECIPE.replace("sources:", "  others: {train: own_stages.Vocabulary, from: web}\nsources:")
    circle = text.replace("    - length.Words: {least: 2}\nengine", "    - own_stages.Known: {model: others}\nengine")
    assert circle != text
    message = refused(teach(place, circle))
    assert message.startswith(f"{place}/r.yaml:")
    assert "learns from documents that it is needed for" in message
    assert "words" in message
    assert "others" in message
    for only in (["web"], ["books"]):
        assert "learns from documents that it is needed for" in refused(place, only=only)
    assert "learns from documents that it is needed for" in refused(place, goal="words")


def test_a_model_that_is_not_trained_here_cannot_be_asked_for(place: Path) -> None:
    assert refused(place, goal="wrds") == "wrds: the recipe trains no such model; it trains words; did you mean words?"
    assert "trains none" in refused(place, "models.words={path: r.yaml}", goal="words")


def test_a_given_model_of_a_trainer_must_be_there(place: Path) -> None:
    text = RECIPE.replace(MODELS, "words: {train: own_stages.Within, from: books, model: /nowhere/words}")
    message = refused(teach(place, text))
    assert message.startswith(f"{place}/r.yaml:5: ")
    assert "no such model file: /nowhere/words" in message


def test_a_model_trained_before_can_be_given_by_its_folder(place: Path) -> None:
    run(place)
    text = RECIPE.replace(MODELS, f"words: {{path: {model(place)}}}")
    teach(place, text)
    assert run(place, out="other") == []
    assert kept(place, out="other") == kept(place)
    lock = json.loads((place / "other" / "recipe.lock.json").read_text())
    assert [m["sha256"] for m in lock["models"]] == [store.sha256(str(model(place)))]


def test_a_known_model_is_fetched_where_a_stage_uses_it_and_only_then(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, fetched = tmp_path_factory.mktemp("models"), list[str]()

    def fetch(model: known.Known, into: Path) -> Path:
        fetched.append(str(into / model.name))
        return into / model.name

    monkeypatch.setenv("CURATE_MODELS", str(home))
    monkeypatch.setattr(known, "fetch", fetch)
    teach(place, RECIPE.replace(MODELS, "words: {known: lid.176.ftz}\n  other: {known: lid.176.ftz}"))
    recipe = str(place / "r.yaml")
    command.load(recipe, None, [], ["books"])
    assert fetched == []
    loaded, _ = command.load(recipe, None, [], [])
    assert fetched == [str(home / "lid.176.ftz")]
    assert loaded.resolved["models"]["words"] == {"path": str(home / "lid.176.ftz")}
    (home / "lid.176.ftz").write_bytes(b"any")
    command.load(recipe, None, [], [])
    assert len(fetched) == 1
