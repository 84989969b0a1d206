"""Models that are known by name: where they are looked for, and that only those are fetched that a recipe uses and that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate import known, recipe
from curate.errors import RecipeError

RECIPE = """
models:
  lid: {known: lid.176.ftz}
sources:
  web:
    - read.jsonl.Jsonl: {paths: ["*.jsonl"]}
    - language.FastText: {model: lid}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path / "models"))
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def test_a_known_model_is_looked_for_in_one_folder_for_all_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recipe.load(str(home / "r.yaml")).given_models == [str(home / "models" / "lid.176.ftz")]
    monkeypatch.delenv("CURATE_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert recipe.load(str(home / "r.yaml")).given_models == ["/somewhere/curate/models/lid.176.ftz"]


def test_a_path_given_beside_it_wins(home: Path) -> None:
    assert recipe.load(str(home / "r.yaml"), ["models.lid.path=/my/lid.bin"]).given_models == ["/my/lid.bin"]


def test_an_unknown_name_is_refused_with_its_place(home: Path) -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml.*models\.lid\.known: no model is known as lid\.177\.ftz; there are lid\.176\.ftz"):
        recipe.load(str(home / "r.yaml"), ["models.lid.known=lid.177.ftz"])


def test_only_what_is_missing_and_known_is_fetched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(known, "fetch", lambda model, _folder: fetched.append(model.name))
    wanted = str(home / "models" / "lid.176.ftz")
    known.fetch_missing(["/elsewhere/lid.176.ftz", str(home / "models" / "other.bin"), wanted])
    assert fetched == ["lid.176.ftz"]
    (home / "models").mkdir()
    Path(wanted).write_bytes(b"here")
    known.fetch_missing([wanted])
    assert fetched == ["lid.176.ftz"]
