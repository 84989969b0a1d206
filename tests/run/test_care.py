"""What a run must never do to a user: lose what is theirs, take half for whole, read itself, mix two recipes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import support

from curate import care, store, worker
from curate import plan as planning
from curate import recipe as recipes
from curate import run as running
from curate.batch import Batch, Mask
from curate.errors import BudgetError, CurateError, RecipeError, StageError
from curate.runner import Local
from curate.stage import Filter


def test_a_folder_with_files_of_somebodys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "documents" / "mine").mkdir(parents=True)
    (tmp_path / "documents" / "mine" / "thesis.docx").write_text("years of work")
    with pytest.raises(RecipeError, match=r"holds documents, but no run"):
        care.check_ours(str(tmp_path))


def test_files_that_no_run_writes_stay(recipe: str, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    notes = [tmp_path / "out" / kind / "notes.txt" for kind in ("documents/web", "tokens", "quarantine/web")]
    stale = tmp_path / "out" / "documents" / "web" / "99999.parquet"
    for note in notes:
        note.write_text("what I saw in it")
    stale.write_bytes(b"of another recipe")
    support.run(recipe, tmp_path / "out")
    assert all(note.read_text() == "what I saw in it" for note in notes)
    assert not stale.exists()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_file_that_is_not_as_it_was_written_is_made_again(recipe: str, undisturbed: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    victims = list((tmp_path / "out" / "passes").glob("*/1-*/00000.parquet"))
    assert victims
    for victim in victims:
        if damage == "missing":
            victim.unlink()
        else:
            victim.write_bytes(b"" if damage == "empty" else victim.read_bytes()[:-100])
    support.run(recipe, tmp_path / "out")
    assert support.digests(tmp_path / "out") == support.digests(undisturbed)


def test_what_a_living_worker_is_writing_is_not_swept(tmp_path: Path) -> None:
    with store.commit(str(tmp_path / "00000.parquet")) as temporary:
        Path(temporary).write_bytes(b"half")
        store.sweep(str(tmp_path))
        assert Path(temporary).exists()
    assert (tmp_path / "00000.parquet").read_bytes() == b"half"


def test_a_file_that_should_be_there_and_is_not_is_no_commit(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), store.commit(str(tmp_path / "00000.parquet")):
        pass


class Stops(Local):
    """Dies before the pass that applies the corpus barrier to one source."""

    def __init__(self, source: str):
        self.source = source

    def map(self, work, items, resources):  # noqa: ARG002
        for item in items:
            placed = getattr(getattr(work, "work", None), "settings", None)
            if placed and placed[item.pass_].pass_.enter and placed[item.pass_].pass_.source == self.source:
                raise KeyboardInterrupt
            yield work(item)


@pytest.mark.parametrize("source", ["web", "books"])
def test_sources_in_another_order_are_another_corpus(corpus: Path, tmp_path: Path, source: str) -> None:
    """The first copy survives; a run resumed with its sources swapped must not mix the verdicts of both orders."""
    steps = {
        "web": [{"read.jsonl.Jsonl": {"paths": ["${data}/web"], "max_bad": 0.05}}],
        "books": [{"read.parquet.Parquet": {"paths": ["${data}/books"]}}],
    }
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    settings: dict[str, object] = {"corpus": ["dedup.exact.Exact"], "mix": None, "tokens": None}
    one = support.write_recipe(tmp_path / "one", corpus, sources=steps, **settings)
    other = support.write_recipe(tmp_path / "other", corpus, sources=dict(reversed(steps.items())), **settings)
    with pytest.raises(KeyboardInterrupt):
        support.run(one, tmp_path / "out", executor=Stops(source))
    support.run(other, tmp_path / "out")
    support.run(other, tmp_path / "fresh")
    assert support.digests(tmp_path / "out") == support.digests(tmp_path / "fresh")


def test_only_takes_its_part_of_the_mix(recipe: str) -> None:
    mix = recipes.load(recipe, only=["books"]).mix
    assert mix is not None
    assert mix.weights == {"books": 0.3}
    assert mix.max_epochs == {"books": 8}
    assert mix.tokens == pytest.approx(2700)


def test_a_run_does_not_read_what_it_writes(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "some text"}) + "\nbad\n")
    sources = {"a": [{"read.jsonl.Jsonl": {"paths": ["${data}/**/*.jsonl"], "max_bad": 1}}]}
    recipe = support.write_recipe(tmp_path, tmp_path, sources=sources, corpus=[], mix=None, tokens=None)
    support.run(recipe, tmp_path / "out")
    with pytest.raises(RecipeError, match="which is this run's own"):
        care.check_apart(planning.plan(recipes.load(recipe)), str(tmp_path / "out"))


def test_an_input_that_changes_under_the_run_fails_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "some text"}) + "\n")
    sources = {"a": [{"read.jsonl.Jsonl": {"paths": [str(path)]}}]}
    recipe = support.write_recipe(tmp_path, tmp_path, sources=sources, corpus=[], mix=None, tokens=None)
    made = planning.plan(recipes.load(recipe))
    path.write_text(path.read_text() * 3)
    with pytest.raises(CurateError, match="has changed while the run was reading it"):
        running.run(made, str(tmp_path / "out"), Local(), support.Lines())


def test_a_kept_pass_is_not_joined_by_stages_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    sources = {"web": [{"read.jsonl.Jsonl": {"paths": ["${data}/web"]}}, {"length.Chars": {"keep": True}}]}
    recipe = support.write_recipe(tmp_path, corpus, sources=sources, corpus=["length.Words"], mix=None, tokens=None)
    passes = planning.plan(recipes.load(recipe)).passes
    assert [[s.name for s in p.stages] for p in passes] == [["length.Chars"], ["length.Words"]]


def test_a_wrong_field_fails_the_run_long_before_its_end(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number:02d}.jsonl").write_text((json.dumps({"content": "misnamed"}) + "\n") * 1000)
    sources = {"a": [{"read.jsonl.Jsonl": {"paths": [str(tmp_path)]}}]}
    recipe = support.write_recipe(tmp_path, tmp_path, sources=sources, corpus=[], mix=None, tokens=None, engine={"shard_bytes": 25_000})
    with pytest.raises(BudgetError, match=r"of 10,000 records are bad \(100\.00%\), and 16\.7% of the input is read"):
        support.run(recipe, tmp_path / "out")


@dataclass(frozen=True)
class OneForAll(Filter):
    """Answers for the batch instead of for its documents."""

    def keep(self, batch: Batch) -> Mask:  # noqa: ARG002
        return np.array([False])


def test_a_mask_of_another_length_is_a_bug_of_the_stage(corpus: Path, tmp_path: Path) -> None:
    sources = {"web": [{"read.jsonl.Jsonl": {"paths": ["${data}/web/0.jsonl"]}}, "test_care.OneForAll"]}
    recipe = support.write_recipe(tmp_path, corpus, sources=sources, corpus=[], mix=None, tokens=None)
    with pytest.raises(StageError, match=r"test_care\.OneForAll failed .* a bool for each of"):
        support.run(recipe, tmp_path / "out")


def test_memory_of_bad_records_is_bounded(tmp_path: Path) -> None:
    bad = worker.Quarantine(str(tmp_path / "bad.jsonl"))
    for number in range(100):
        bad.add(f"a:{number}", "no text", b"x" * 1_000_000)
    bad.close()
    rows = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [r["bytes"] for r in rows] == [1_000_000] * 100
    assert (tmp_path / "bad.jsonl").stat().st_size < 100 * 100_000


BROKEN = b"7z\xbc\xaf\x27\x1c\x00\x04" + b"\xff" * 500


def sites(folder: Path, good: int, broken: int, **options: object) -> Path:
    """A recipe over sites, each with a bad row among twelve, and archives that cannot be opened."""
    pytest.importorskip("py7zr")
    rows = [f'<row Id="{n}" PostTypeId="1" Title="T" Body="b" Score="{"x" if n == 1 else 1}" />\n' for n in range(1, 13)]
    for n in range(good):
        (folder / f"a{n}.example").mkdir()
        (folder / f"a{n}.example" / "Posts.xml").write_text("<posts>\n" + "".join(rows) + "</posts>")
    for n in range(broken):
        (folder / f"b{n}.example.7z").write_bytes(BROKEN)
    sources = {"sites": [{"read.stackexchange.Posts": {"paths": [str(folder)], "max_bad": 0.1, **options}}]}
    return support.write_recipe(folder, folder, sources=sources, corpus=[], mix=None, tokens=None)


def test_a_damaged_archive_among_good_ones_costs_itself(tmp_path: Path) -> None:
    result = support.run(sites(tmp_path, good=2, broken=2), tmp_path / "out")
    assert (result.rows[0].docs_out, result.rows[0].quarantined, result.rows[0].bad_files) == (22, 4, 2)
    lines = [json.loads(line) for path in (tmp_path / "out/quarantine/sites").iterdir() for line in path.read_text().splitlines()]
    assert sorted(line["where"] for line in lines if line.get("whole_file")) == ["sites/b0.example.7z:0", "sites/b1.example.7z:0"]


def test_too_many_unreadable_files_are_told_by_the_first_of_them(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"nothing could be read of 2 files \(sites/b0.example.7z:0: no 7z archive.*max_bad_files is 1"):
        support.run(sites(tmp_path, good=1, broken=2, max_bad_files=1), tmp_path / "out")


def test_a_source_of_which_nothing_can_be_read_fails_the_run_whatever_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"nothing could be read at all, of 1 file \(sites/b0.example.7z:0: no 7z archive"):
        support.run(sites(tmp_path, good=0, broken=1, max_bad_files=9), tmp_path / "out")
