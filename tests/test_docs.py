"""What the documentation shows is there and works: commands, recipes, links, code."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import support
import typer
import yaml

from curate import assumptions, build, catalogue, cli, recipe
from curate.batch import Batch
from curate.stage import Filter

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = ROOT / "docs" / "recipes.md"


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [text for language, text in found if language in languages]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link into a page can name."""
    headings = re.findall(r"^#+ (.*)", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def mine() -> dict[str, object]:
    """The README's recipe."""
    return next(yaml.safe_load(b) for b in blocks(ROOT / "README.md", "yaml") if "\nsources:" in b)


def own_stage(folder: Path) -> str:
    """Put the stage of docs/recipes.md into a folder; the name of its module."""
    [code] = [b for b in blocks(RECIPES, "python") if b.startswith("# ")]
    name = code.split(".py", 1)[0].removeprefix("# ")
    (folder / f"{name}.py").write_text(code)
    return name


def test_the_page_of_stages_is_what_the_command_prints() -> None:
    assert (ROOT / "docs" / "stages.md").read_text("utf-8").rstrip() == catalogue.markdown().rstrip(), "write it with `make format`"


def test_the_page_of_assumptions_is_what_the_parameters_say() -> None:
    assert (ROOT / "docs" / "assumptions.md").read_text("utf-8").rstrip() == assumptions.markdown().rstrip(), "write it with `make format`"


def test_the_pages_cite_nothing_that_users_do_not_have() -> None:
    assert not re.findall(r"\bspec\b|shared/", "\n".join(p.read_text("utf-8") for p in PAGES))


def test_the_first_lines_are_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert lines[0].startswith("```")
    assert [line.split("#")[0].strip() for line in lines[1:3]] == ["make demo", "make test"]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)


@pytest.mark.parametrize("text", [pytest.param(b, id=f"{p.name}-{n}") for p in PAGES for n, b in enumerate(blocks(p, "yaml"))])
def test_recipes_and_their_sections_are_read_strictly(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a recipe is read in the place of the README's."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    own_stage(tmp_path)
    build.find.cache_clear()
    whole = text if "sources:" in text else yaml.safe_dump(mine() | yaml.safe_load(text))
    (tmp_path / "recipe.yaml").write_text(whole)
    assert recipe.load(str(tmp_path / "recipe.yaml")).sources


def test_commands_and_options_exist() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    seen = set()
    for page in PAGES:
        lines = [line.removeprefix("$ ") for b in blocks(page, "sh", "console") for line in b.splitlines()]
        code = [*lines, *re.findall(r"`([^`\n]+)`", prose(page))]
        for line in code:
            found = re.match(r"(?:\w+=\S+ )?curate(?: +([\w-]+)(.*))?$", line)
            if not found or not found[1]:
                continue
            assert found[1] in commands, f"{page.name}: {line}"
            command = commands[found[1]]
            of_group = re.match(r" +([\w-]+)", found[2]) if hasattr(command, "commands") else None
            command = command.commands.get(of_group[1], command) if of_group else command
            options = {o for p in command.params for o in p.opts}
            for option in re.findall(r"(?<!\S)--[\w-]+", found[2]):
                assert option in options, f"{page.name}: {line}"
            seen.add(found[1])
    assert {"run", "plan", "stats", "verify", "try", "stages", "recipes"} <= seen


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            path, _, anchor = target.partition("#")
            if "://" in path:
                continue
            to = (page.parent / path).resolve() if path else page
            assert to.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(to), f"{page.name}: {target}"


def test_stages_and_parameters_of_the_assumptions_exist() -> None:
    stages = build.catalogue()
    page = ROOT / "docs" / "assumptions.md"
    named = re.findall(r"`((?:\w+\.)+[A-Z]\w*)(?:\.(\w+))?`", page.read_text("utf-8"))
    assert len(named) > 20
    for stage, parameter in named:
        if stage == "Batch":
            continue
        assert stage in stages, stage
        assert not parameter or parameter in {p.name for p in catalogue.parameters(stages[stage])}, (stage, parameter)


def test_the_stage_of_ones_own_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = own_stage(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    stages = [c for c in vars(importlib.import_module(name)).values() if isinstance(c, type) and issubclass(c, Filter) and c is not Filter]
    texts = ["Cookie! cookies, cookie.", "plain " * 200, ""]
    batch = Batch.of(pa.record_batch({"id": ["a", "b", "c"], "text": pa.array(texts, pa.large_string())}))
    [check] = stages[0]().keep(batch).values()  # type: ignore[union-attr]
    assert np.array_equal(check.passed, [False, True, True])


def test_the_code_of_the_pages_reads_a_run(
    recipe: str, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a small run in megatron's format, and the same in npy."""
    support.run(recipe, tmp_path / "runs" / "quickstart", "tokens.format=npy")
    (tmp_path / "runs" / "mine").symlink_to(undisturbed)
    monkeypatch.chdir(tmp_path)
    code = [b for page in PAGES for b in blocks(page, "python") if not b.startswith("# ")]
    assert len(code) >= 4
    capsys.readouterr()
    for block in code:
        exec(block, {})
        assert capsys.readouterr().out
