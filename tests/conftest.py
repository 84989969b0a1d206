"""Shared fixtures: a small corpus, a recipe over it, and what an undisturbed run of it gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import support


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of two sources."""
    folder = tmp_path_factory.mktemp("corpus")
    support.write_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def recipe(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The recipe of `support.RECIPE` over that corpus."""
    return support.write_recipe(tmp_path_factory.mktemp("recipe"), corpus)


@pytest.fixture(scope="session")
def undisturbed(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OUT of an undisturbed run in one process."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    support.run(recipe, out)
    return out


RUNS = {"test_llama1", "test_llama1_real", "test_corpus", "test_line_dedup_real", "test_sample", "test_training"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules in which all tests look at one long run stay in one test process, or it would be made in each."""
    for item in items:
        if item.path.stem in RUNS:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by how many they are: a gzip header has the time in it, and two test processes would collect different names."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) and len(val) > 8 else None
