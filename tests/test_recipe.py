"""Recipes are strict: whatever is wrong is one message with file and line; what is right comes back from its resolved form."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import build, catalogue, places
from curate import recipe as recipes
from curate.errors import RecipeError
from curate.stage import Model

RECIPE = """\
name: small
seed: 5
data: /data
models:
  lid: {path: "${data}/lid.bin"}
sources:
  web:
    - read.jsonl.Jsonl: {paths: ["${data}/web/*.jsonl"]}
    - gopher.Quality:
        min_words: 40
        stop_words: [the, be]
    - language.FastText: {model: lid}
  books:
    - read.parquet.Parquet: {paths: ["${here}/books"]}
corpus:
  - dedup.exact.Exact
mix:
  tokens: 9000
  weights: {web: 0.7, books: 0.3}
tokens:
  tokenizer: {train: {vocabulary: 400}}
engine:
  shard_bytes: 6000
"""


def load(folder: Path, text: str = RECIPE, *given: str) -> recipes.Recipe:
    (folder / "r.yaml").write_text(text)
    return recipes.load(str(folder / "r.yaml"), given)


def refused(folder: Path, text: str = RECIPE, *given: str) -> str:
    with pytest.raises(RecipeError) as error:
        load(folder, text, *given)
    return str(error.value)


def stage(recipe: recipes.Recipe, source: str, number: int) -> Any:
    return recipe.sources[source][number].stage


def test_a_recipe_is_its_file_with_places_filled_in(tmp_path: Path) -> None:
    recipe = load(tmp_path)
    assert (recipe.name, recipe.seed) == ("small", 5)
    assert stage(recipe, "web", 0).paths == ("/data/web/*.jsonl",)
    assert stage(recipe, "books", 0).paths == (f"{tmp_path}/books",)
    assert stage(recipe, "web", 1).min_words == 40
    assert stage(recipe, "web", 1).max_words == 100_000  # Rae et al. 2021, A1.1
    assert stage(recipe, "web", 2).model == Model("/data/lid.bin")
    assert recipe.mix.tokens == 9000
    assert recipe.sources["web"][1].place == f"{tmp_path}/r.yaml:9: sources.web[1] gopher.Quality"


WRONG = [  # what is written, what is written instead, the line of the message, what it says
    ("seed: 5", "sede: 5", 2, "did you mean seed?"),
    ("seed: 5", "seed: five", 2, "seed: expected a whole number from 0, found 'five'"),
    ("seed: 5", "seed: -1", 2, "seed: expected a whole number from 0"),
    ("seed: 5", "seed: true", 2, "seed: expected a whole number"),
    ("name: small", "name: 5", 1, "name: expected text"),
    ("name: small", "name: ../../x", 1, "name: expected text that can name a folder"),
    ("name: small", "name: ''", 1, "name: expected text"),
    ("data: /data", "data: 5", 3, "data: expected a folder"),
    ("data: /data\n", "", 4, "${data} stands for the recipe's `data:` folder, which is not given"),
    ("${data}/web", "${dat}/web", 8, "only ${data} and ${here} can be filled in"),
    ("gopher.Quality:", "gopher.Qualty:", 9, "did you mean Quality?"),
    ("gopher.Quality:", "gofer.Quality:", 9, "did you mean gopher.Quality?"),
    ("gopher.Quality:", "Quality:", 9, "a stage is named module.Class"),
    ("gopher.Quality:", "..Quality:", 9, "a stage is named module.Class"),
    ("min_words:", "min_wrds:", 10, "did you mean min_words?"),
    ("min_words: 40", "min_words: '40'", 10, "min_words: expected a valid integer, found '40'"),
    ("min_words: 40", "min_words: 40.5", 10, "min_words: expected a valid integer, found 40.5"),
    ("min_words: 40", "min_words: [40]", 10, "min_words: expected a valid integer, found [40]"),
    ("min_words: 40", "keep: 1", 10, "keep: expected true or false, found 1"),
    ("[the, be]", "[the, 5]", 11, "stop_words[1]: expected text, found 5"),
    ("[the, be]", "the", 11, "stop_words: expected a valid list, found 'the'"),
    ("{model: lid}", "{model: lidd}", 12, "did you mean lid?"),
    ("{model: lid}", "{}", 12, "model: missing"),
    ("{path: ", "{pth: ", 5, "models.lid: expected {path: FILE}"),
    ("- dedup.exact.Exact", "- dedup.exact.Exact: 5", 16, "expected parameters as a mapping, found 5"),
    ("- dedup.exact.Exact", "- 5", 16, "a stage is `module.Class`"),
    ("- dedup.exact.Exact", "- {dedup.exact.Exact: , gopher.Quality: }", 16, "a stage is `module.Class`"),
    ("- dedup.exact.Exact", "- read.jsonl.Jsonl: {paths: [x]}", 16, "is a reader"),
    ("    - gopher.Quality:", "    - read.jsonl.Jsonl: {paths: [x]}\n    - gopher.Quality:", 9, "is a reader; it can only come first"),
    ("- dedup.exact.Exact", "dedup.exact.Exact", 15, "corpus: expected a list of stages"),
    ("  books:\n    - read", "  books:\n    - gopher.Quality\n    - read", 13, "the first stage must be a reader"),
    ("  books:\n", "  bo/oks:\n", 13, "a source's name is letters"),
    ("tokens: 9000", "tokens: lots", 18, "mix.tokens: expected a valid number or 'all', found 'lots'"),
    ("tokens: 9000", "tokens: .inf", 18, "mix.tokens: inf is no number of tokens"),
    ("tokens: 9000", "tokns: 9000", 18, "did you mean tokens?"),
    ("books: 0.3", "boks: 0.3", 19, "did you mean books?"),
    (", books: 0.3", "", 19, "books has no weight"),
    ("books: 0.3", "books: -0.3", 19, "is no share"),
    ("  tokens: 9000", "  max_epochs: {books: many}", 18, "mix.max_epochs.books: expected a valid number, found 'many'"),
    ("{vocabulary: 400}", "{vocabulry: 400}", 21, "tokens.tokenizer.train.vocabulry: no such parameter"),
    ("{train: {vocabulary: 400}}", "{}", 21, "found none"),
    ("tokens:\n  tokenizer: {train: {vocabulary: 400}}\n", "", 17, "a mix is of tokens; add a `tokens:` section"),
    ("shard_bytes: 6000", "shard_bytes: 0", 23, "engine.shard_bytes: expected greater than or equal to 1, found 0"),
    ("shard_bytes: 6000", "shard_bytes: .inf", 23, "less than or equal to"),
    ("shard_bytes: 6000", "batch_rows: 0", 23, "batch_rows: expected greater than or equal to 1"),
    ("shard_bytes: 6000", "partitions: -1", 23, "partitions: expected greater than or equal to 0"),
    ("shard_bytes: 6000", "shard_byte: 6000", 23, "did you mean shard_bytes?"),
]


@pytest.mark.parametrize(("old", "new", "line", "says"), WRONG, ids=[w[3][:50] for w in WRONG])
def test_a_wrong_recipe_is_one_message_with_file_line_and_hint(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in RECIPE
    message = refused(tmp_path, RECIPE.replace(old, new, 1))
    assert message.startswith(f"{tmp_path}/r.yaml:{line}: "), message
    assert says in message
    assert "\n" not in message
    assert message.count("did you mean") <= 1


@pytest.mark.parametrize(("text", "says"), [("", "is empty"), ("- a\n", "is ['a']"), ("5", "is 5"), ("name: x", "no sources")])
def test_what_is_no_recipe_at_all_says_what_one_is(tmp_path: Path, text: str, says: str) -> None:
    message = refused(tmp_path, text)
    assert says in message
    assert message.startswith(f"{tmp_path}/r.yaml:")


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"name: x\nseed: 5  # caf\xe9\n")
    with pytest.raises(RecipeError, match=re.escape(f"{tmp_path}/r.yaml:2: not UTF-8")):
        recipes.load(str(tmp_path / "r.yaml"))


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xef\xbb\xbf" + RECIPE.encode())
    assert recipes.load(str(tmp_path / "r.yaml")).name == "small"


def test_what_was_found_is_shown_only_in_part(tmp_path: Path) -> None:
    assert len(refused(tmp_path, RECIPE.replace("min_words: 40", f"min_words: [{'x, ' * 50_000}]"))) < 400


def test_a_recipe_that_is_not_there_names_those_that_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"quickstrt: no such recipe file.* did you mean quickstart\?"):
        recipes.load("quickstrt")
    (tmp_path / "quickstart").mkdir()  # what `curate sample quickstart` would make
    assert recipes.load("quickstart").name == "quickstart"


SET = [
    ("seed=7", lambda r: r.seed, 7),
    ("engine.batch_rows=9", lambda r: r.engine.batch_rows, 9),
    ("mix.weights={web: 1, books: 3}", lambda r: r.mix.weights, {"web": 1, "books": 3}),
    ("mix.weights.books=1e2", lambda r: r.mix.weights["books"], 100),
    ("mix.tokens=all", lambda r: r.mix.tokens, "all"),
    ("data=/else where", lambda r: stage(r, "web", 0).paths, ("/else where/web/*.jsonl",)),
    ("models.lid.path=/m=1.bin", lambda r: stage(r, "web", 2).model.path, "/m=1.bin"),
    ("sources.web.1.min_words=30", lambda r: stage(r, "web", 1).min_words, 30),
    ("sources.web.gopher.Quality.min_words=30", lambda r: stage(r, "web", 1).min_words, 30),
    ("sources.web.gopher.Quality.stop_words.1=of", lambda r: stage(r, "web", 1).stop_words, ("the", "of")),
    ("sources.web.0.paths=[a, b]", lambda r: stage(r, "web", 0).paths, ("a", "b")),
    ("sources.web.read.jsonl.Jsonl.paths.0=${data}/x", lambda r: stage(r, "web", 0).paths, ("/data/x",)),
    ("sources.web.gopher.Quality.keep=true", lambda r: r.sources["web"][1].keep, True),
    ("sources.books=[read.jsonl.Jsonl: {paths: [x]}]", lambda r: stage(r, "books", 0).name, "read.jsonl.Jsonl"),
    ("corpus.dedup.exact.Exact.keep=true", lambda r: r.corpus[0].keep, True),
    ("corpus.0.keep=true", lambda r: r.corpus[0].keep, True),
    ("corpus=", lambda r: r.corpus, ()),
]


@pytest.mark.parametrize(("setting", "look", "meant"), SET, ids=[s[0] for s in SET])
def test_set_reaches_every_place_of_a_recipe(tmp_path: Path, setting: str, look: Any, meant: object) -> None:
    assert look(load(tmp_path, RECIPE, setting)) == meant


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("seed", "expected path.to.key=value"),
        ("=5", "expected path.to.key=value"),
        ("engine..x=5", "expected path.to.key=value"),
        ("sed=5", "did you mean seed?"),
        ("engin.batch_rows=5", "did you mean engine?"),
        ("engine.batch_row=5", "did you mean batch_rows?"),
        ("sources.wep.0.paths=[x]", "did you mean web?"),
        ("sources.web.gopher.Qualty.min_words=5", "did you mean gopher.Quality?"),
        ("sources.web.9.min_words=5", "sources.web has no 9"),
        ("sources.web.1=5", "names a stage; add the parameter, as in sources.web.1.PARAMETER=value"),
        ("sources.web.gopher.Quality=5", "names a stage"),
        ("sources.web.gopher.Quality.min_wrds=5", "did you mean min_words?"),
        ("sources.web.gopher.Quality.min_words.x=5", "is a value, with nothing below it"),
        ("sources.web.gopher.Quality.min_words=many", "expected a valid integer, found 'many' (given by --set)"),
        ("name.x=5", "is a value, with nothing below it"),
        ("seed=[1", "not YAML"),
        ("seed=*x", "undefined alias"),
        ("seed=" + "9" * 100_000, "is no value of the kind int"),
    ],
)
def test_a_wrong_setting_says_so_once(tmp_path: Path, setting: str, says: str) -> None:
    message = refused(tmp_path, RECIPE, setting)
    assert says in message
    assert "--set" in message
    assert "\n" not in message
    assert len(message) < 700


def test_later_settings_see_earlier_ones(tmp_path: Path) -> None:
    recipe = load(tmp_path, RECIPE, "corpus=[gopher.Quality]", "corpus.gopher.Quality.min_words=3", "corpus.0.max_words=9")
    assert (recipe.corpus[0].stage.min_words, recipe.corpus[0].stage.max_words) == (3, 9)  # type: ignore[attr-defined]


def test_a_setting_of_an_alias_changes_only_the_place_it_names(tmp_path: Path) -> None:
    text = RECIPE.replace("stop_words: [the, be]", "stop_words: &w [the, be]").replace(
        "- language.FastText: {model: lid}", "- gopher.Quality: {stop_words: *w}"
    )
    recipe = load(tmp_path, text, "sources.web.1.stop_words.0=of")
    assert stage(recipe, "web", 1).stop_words == ("of", "be")
    assert stage(recipe, "web", 2).stop_words == ("the", "be")


def test_only_leaves_the_other_sources_out_of_stages_and_mix(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    recipe = recipes.load(str(tmp_path / "r.yaml"), only=["books"])
    assert list(recipe.sources) == list(recipe.mix.weights) == ["books"]
    with pytest.raises(RecipeError, match=r"--only boks: .*it has web, books; did you mean books\?"):
        recipes.load(str(tmp_path / "r.yaml"), only=["boks"])


def reloaded(recipe: recipes.Recipe, folder: Path) -> recipes.Recipe:
    (folder / "resolved.yaml").write_text(places.dump(recipe.resolved))
    return recipes.load(str(folder / "resolved.yaml"))


def same(a: recipes.Recipe, b: recipes.Recipe) -> bool:
    def bare(r: recipes.Recipe) -> Any:
        steps = {s: [(x.stage, x.keep) for x in steps] for s, steps in (r.sources | {"": r.corpus}).items()}
        return r.name, r.seed, steps, r.models, r.mix, r.tokens, r.engine

    return bool(bare(a) == bare(b))


def test_a_resolved_recipe_is_the_same_recipe_with_every_default(tmp_path: Path) -> None:
    recipe = load(tmp_path, RECIPE, "sources.web.1.keep=true")
    assert same(recipe, reloaded(recipe, tmp_path))
    assert recipe.resolved["sources"]["web"][1]["gopher.Quality"]["max_words"] == 100_000
    assert recipe.resolved["engine"]["batch_rows"] == 4096


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    path=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda t: "${" not in t),
    least=st.integers(-(2**63), 2**63 - 1),
    share=st.floats(allow_nan=False),
    words=st.lists(st.sampled_from(["no", "1e5", "~", "null", "010", "the"])),
    keep=st.booleans(),
    weight=st.floats(0, 1e9, exclude_min=True),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_parameters_survive_the_way_out_and_back(tmp_path: Path, **p: Any) -> None:
    quality = {"min_words": p["least"], "min_alphabetic": p["share"], "stop_words": p["words"], "keep": p["keep"]}
    value = yaml.safe_load(RECIPE) | {"seed": p["seed"], "mix": {"weights": {"web": p["weight"], "books": 1}}}
    value["sources"]["web"] = [{"read.jsonl.Jsonl": {"paths": [p["path"]]}}, {"gopher.Quality": quality}]
    recipe = load(tmp_path, places.dump(value))
    assert same(recipe, reloaded(recipe, tmp_path))


def test_a_stage_of_ones_own_lies_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine_beside.py").write_text(
        "from dataclasses import dataclass\nfrom curate.stage import Filter\n\n"
        "@dataclass(frozen=True)\nclass Short(Filter):\n    most: int = 9\n\n"
        "    def keep(self, batch):\n        return batch.chars <= self.most\n"
    )
    recipe = load(tmp_path, RECIPE.replace("dedup.exact.Exact", "mine_beside.Short: {most: 3}"))
    assert recipe.corpus[0].stage.config == {"mine_beside.Short": {"most": 3}}
    assert "did you mean most?" in refused(tmp_path, RECIPE.replace("dedup.exact.Exact", "mine_beside.Short: {mst: 3}"))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import nothing_of_this_name\n", "needs nothing_of_this_name, which is not installed"),
        ("x = 1\ny = 1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
        ("Short = 5\n", "has no stage Short; it has none"),
        ("from curate.stage import Filter\nclass Short(Filter): pass\n", "is abstract"),
    ],
)
def test_a_module_that_cannot_be_used_is_the_recipes_mistake(tmp_path: Path, code: str, says: str) -> None:
    name = f"broken_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    message = refused(tmp_path, RECIPE.replace("dedup.exact.Exact", f"{name}.Short"))
    sys.modules.pop(name, None)
    assert message.startswith(f"{tmp_path}/r.yaml:16: ")
    assert says in message


@given(st.text(max_size=20))
def test_no_name_of_a_stage_is_more_than_a_message(name: str) -> None:
    with pytest.raises(RecipeError):
        build.find(name)


SCHEMA = json.loads(catalogue.schema())


@pytest.mark.parametrize("path", recipes.builtin().values(), ids=list(recipes.builtin()))
def test_the_schema_takes_the_built_in_recipes(path: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(places.parse(Path(path).read_text(), path)[0], SCHEMA)


NO_SCHEMA_KNOWS = re.compile(r"\$\{|gofer|Qualty|lidd|boks|weight|share|reader|found none|a mix is|mix.tokens: inf|\.\./")
WRONG_BY_SCHEMA = [wrong[:2] for wrong in WRONG if not NO_SCHEMA_KNOWS.search(wrong[1] + wrong[3])]


@pytest.mark.parametrize(("old", "new"), WRONG_BY_SCHEMA)
def test_the_schema_refuses_wrong_recipes(old: str, new: str) -> None:
    jsonschema.validate(places.parse(RECIPE, "")[0], SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(places.parse(RECIPE.replace(old, new, 1), "")[0], SCHEMA)
