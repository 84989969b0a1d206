"""What a run does: passes, barriers, books, fates, quarantine, and what it says when something is wrong."""

from __future__ import annotations

import base64
import errno
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import support

from curate import plan as planning
from curate import recipe as recipes
from curate import worker
from curate.batch import Batch, Mask
from curate.errors import BudgetError, LedgerError, StageError
from curate.tokens.verify import verify


def raw(corpus: Path, source: str) -> list[str]:
    """The texts of a source as they lie there, in corpus order."""
    if source == "web":
        lines = [line for n in range(2) for line in (corpus / "web" / f"{n}.jsonl").read_text("utf-8").splitlines() if line != "{not json"]
        return [json.loads(line)["text"] for line in lines]
    return [t for n in range(2) for t in pq.read_table(corpus / "books" / f"{n}.parquet")["text"].to_pylist()]


def fates(out: Path, source: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(p) for p in sorted((out / "passes" / source).rglob("*.fates.parquet"))])


def test_every_document_is_kept_or_has_a_fate(corpus: Path, undisturbed: Path) -> None:
    for source in ("web", "books"):
        kept = support.documents(undisturbed, source)["id"].to_pylist()
        gone = fates(undisturbed, source)["id"].to_pylist()
        assert len(set(kept + gone)) == len(kept + gone) == len(raw(corpus, source))
        assert kept
        assert gone


def test_the_books_say_what_the_files_hold(corpus: Path, undisturbed: Path) -> None:
    rows = {(r["source"], r["stage"]): r for r in support.counts(undisturbed)}
    for source in ("web", "books"):
        reader = next(r for (s, stage), r in rows.items() if s == source and stage.startswith("read."))
        last = [r for (s, _), r in rows.items() if s == source][-1]
        kept = support.documents(undisturbed, source)
        assert reader["docs_out"] == len(raw(corpus, source))
        assert reader["chars_out"] == sum(map(len, raw(corpus, source)))
        assert last["docs_out"] == len(kept)
        assert last["chars_out"] == sum(map(len, kept["text"].to_pylist()))
        written = Counter((r["stage"], r["rule"]) for r in fates(undisturbed, source).to_pylist())
        booked = Counter[tuple[str, str]]()
        for row in support.counts(undisturbed):
            if row["source"] == source and not row["stage"].startswith("read."):
                booked.update({(row["stage"], rule): n for rule, n in row["dropped"].items()})
        assert booked == written


def test_bad_records_are_in_the_quarantine_with_place_and_bytes(undisturbed: Path) -> None:
    rows = [json.loads(line) for p in (undisturbed / "quarantine" / "web").iterdir() for line in p.read_text().splitlines()]
    assert len(rows) == 1
    assert rows[0]["where"].startswith("web/1.jsonl:")
    assert "JSON" in rows[0]["why"]
    assert base64.b64decode(rows[0]["raw"]) == b"{not json"


def test_the_first_copy_in_corpus_order_survives_across_sources(corpus: Path, undisturbed: Path) -> None:
    web, books = (support.documents(undisturbed, s)["text"].to_pylist() for s in ("web", "books"))
    assert len(set(web + books)) == len(web + books)
    in_both = set(raw(corpus, "web")) & set(raw(corpus, "books")) & set(web + books)
    assert in_both
    assert in_both <= set(web)


def test_a_duplicates_fate_names_the_document_kept(undisturbed: Path) -> None:
    """The address is shard << 32 | row among the shards that the barrier took its keys from."""
    before = sorted((undisturbed / "passes" / "web").glob("1-*/*.parquet"))
    shards = {int(p.name[:5]): pq.read_table(p) for p in before if "fates" not in p.name}
    first = [r for r in fates(undisturbed, "web").to_pylist() if r["rule"] == "duplicate" and r["stage"] == "dedup.exact.Exact"]
    by_id = {i: t for table in shards.values() for i, t in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)}
    pass_2 = {r["id"] for p in (undisturbed / "passes" / "web").glob("2-*/*.fates.parquet") for r in pq.read_table(p).to_pylist()}
    checked = 0
    for row in first:
        if row["id"] in pass_2:
            kept = shards[row["kept"] >> 32].slice(row["kept"] & 0xFFFFFFFF, 1).to_pylist()[0]
            assert kept["text"] == by_id[row["id"]]
            assert kept["id"] != row["id"]
            checked += 1
    assert checked


def test_the_mix_is_met_to_a_document_and_the_shards_are_proven(undisturbed: Path) -> None:
    manifest = json.loads((undisturbed / "tokens" / "manifest.json").read_text())
    longest = {}
    for path in (undisturbed / "tokens").glob("*.documents.parquet"):
        table = pq.read_table(path)
        for source in ("web", "books"):
            mine = table.filter(pc.equal(table["source"], source))
            longest[source] = max(longest.get(source, 0), pc.max(mine["tokens"]).as_py() or 0)
    for row in manifest["mix"]:
        assert 0 <= row["tokens"] - row["target_tokens"] < longest[row["source"]]
    assert sum(r["target_tokens"] for r in manifest["mix"]) == 9000
    assert len(manifest["shards"]) == 3
    report = verify(str(undisturbed))
    assert not report.problems
    assert report.tokens == manifest["tokens"]


def test_a_changed_stage_gives_only_what_follows_new_names(recipe: str) -> None:
    before = {p.folder for p in planning.plan(recipes.load(recipe)).passes}
    after = [p.folder for p in planning.plan(recipes.load(recipe, ["sources.web.gopher.Quality.min_words=60"])).passes]
    assert after[0] in before  # web 1 ends at the barrier before the change
    assert [f in before for f in after] == [
        True,
        *[False] * 3,
        True,
        *[False] * 2,
    ]  # web 1 to 4, books 1 to 3: behind the corpus barrier all change


def test_a_barrier_that_is_new_reads_what_is_there(recipe: str, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    pass_1 = next((tmp_path / "out" / "passes" / "web").glob("1-*"))
    documents = {p: p.stat().st_mtime_ns for p in pass_1.glob("*.parquet")}
    for keys in pass_1.glob("keys-*"):
        shutil.rmtree(keys)
    support.run(recipe, tmp_path / "out")
    assert {p: p.stat().st_mtime_ns for p in pass_1.glob("*.parquet")} == documents
    assert support.digests(tmp_path / "out") == support.digests(undisturbed)


def test_large_inputs_are_split_and_shrunk_neighbours_joined(recipe: str, tmp_path: Path) -> None:
    setting = "sources.web.length.Chars.least=1500"
    support.run(recipe, tmp_path / "out", setting)
    made = planning.plan(recipes.load(recipe, [setting]))
    assert len(made.inputs["web"]) > 2  # two files
    assert len(made.inputs["books"]) > 2
    before, after = (len(list((tmp_path / "out" / p.folder).glob("*.json"))) for p in made.passes[:2])
    assert after < before


def test_passes_are_cut_after_keep(corpus: Path, tmp_path: Path) -> None:
    recipe = support.write_recipe(tmp_path, corpus)
    plain = planning.plan(recipes.load(recipe))
    kept = planning.plan(recipes.load(recipe, ["sources.web.length.Chars.keep=true"]))
    assert len(kept.passes) == len(plain.passes) + 1
    assert [s.name for s in kept.passes[0].stages] == ["length.Chars"]


def lose_a_row(batch: Batch, keep: Mask) -> Batch:
    keep = keep.copy()
    keep[np.flatnonzero(keep)[:1]] = False
    return WHERE(batch, keep)


WHERE = Batch.where


@pytest.mark.parametrize("room", ["the selection", "the writer", "the fates", "the next pass"])
def test_an_engine_that_loses_one_document_fails_the_run(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: str) -> None:
    if room == "the selection":
        monkeypatch.setattr(Batch, "where", lose_a_row)
    elif room == "the writer":
        real_add = worker.Documents.add
        monkeypatch.setattr(worker.Documents, "add", lambda self, batch: real_add(self, WHERE(batch, np.arange(len(batch)) > 0)))
    elif room == "the fates":
        real_fates = worker.Fates.add
        monkeypatch.setattr(
            worker.Fates,
            "add",
            lambda self, batch, stage, found, rule: real_fates(self, batch, stage, found, np.where(rule == 0, -1, rule)),
        )
    else:
        real_read = worker.read_documents
        monkeypatch.setattr(worker, "read_documents", lambda *a: (WHERE(b, np.arange(len(b)) > 0) for b in real_read(*a)))
    with pytest.raises(LedgerError, match="ledger does not close"):
        support.run(recipe, tmp_path / "out")


def test_a_stage_that_loses_a_document_is_named(corpus: Path, tmp_path: Path) -> None:
    sources = {"web": [{"read.jsonl.Jsonl": {"paths": ["${data}/web/0.jsonl"]}}, "broken_stages.Forgets"]}
    recipe = support.write_recipe(tmp_path, corpus, sources=sources, corpus=[], mix=None, tokens=None)
    with pytest.raises(StageError, match=r"broken_stages\.Forgets failed"):
        support.run(recipe, tmp_path / "out")


def test_a_poisoned_document_names_itself(corpus: Path, tmp_path: Path) -> None:
    sources = {"web": [{"read.jsonl.Jsonl": {"paths": ["${data}/web/0.jsonl"]}}, "broken_stages.Poisoned"]}
    recipe = support.write_recipe(tmp_path, corpus, sources=sources, corpus=[], mix=None, tokens=None)
    position = 0
    for line in (corpus / "web" / "0.jsonl").read_text("utf-8").splitlines():
        if "thunder market" in json.loads(line)["text"]:
            break
        position += len(line.encode()) + 1
    with pytest.raises(StageError) as error:
        support.run(recipe, tmp_path / "out")
    assert f"document web/0.jsonl:{position} of shard 0.jsonl" in str(error.value)
    assert "ZeroDivisionError: no rule for this" in str(error.value)


def test_too_many_bad_records_fail_the_run_and_say_where_they_are(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"1 of 121 records are bad .* max_bad is 0\.10%") as error:
        support.run(recipe, tmp_path / "out", "sources.web.read.jsonl.Jsonl.max_bad=0.001")
    assert "recipe.yaml" in str(error.value)


UNREADABLE = Path("/proc/self/mem")  # opens, and gives an error of input where it is read, as a damaged disk


@pytest.mark.skipif(not UNREADABLE.exists(), reason="no file here that opens and cannot be read")
def test_a_file_that_cannot_be_read_is_one_bad_file_and_named(tmp_path: Path) -> None:
    page = "<page><title>T</title><ns>0</ns><id>1</id><revision><text>Some text.</text></revision></page>"
    readers = {
        "lines": ("read.jsonl.Jsonl", "bad.jsonl", json.dumps({"text": "some text"}) + "\n"),
        "book": ("read.gutenberg.Gutenberg", "bad.txt", "Some text.\n"),
        "wiki": ("read.wikipedia.Wikipedia", "bad.xml", f"<mediawiki>{page}</mediawiki>"),
    }
    sources = {}
    for source, (reader, name, good) in readers.items():
        (tmp_path / name).symlink_to(UNREADABLE)
        (tmp_path / name.replace("bad", "good")).write_text(good)
        paths = [str(tmp_path / name), str(tmp_path / name.replace("bad", "good"))]
        sources[source] = [{reader: {"paths": paths, "max_bad_files": 1}}]
    recipe = support.write_recipe(tmp_path, tmp_path, sources=sources, corpus=[], mix=None, tokens=None)
    support.run(recipe, tmp_path / "out")
    rows = {r["source"]: r for r in support.counts(tmp_path / "out")}
    assert {s: (r["docs_out"], r["quarantined"], r["bad_files"]) for s, r in rows.items()} == dict.fromkeys(readers, (1, 1, 1))
    for source, (_, name, _) in readers.items():
        found = "".join(p.read_text() for p in (tmp_path / "out" / "quarantine" / source).glob("*.jsonl"))
        assert json.loads(found)["where"] == f"{source}/{name}"
        assert "cannot be read: Input/output error" in found
    with pytest.raises(BudgetError, match=re.escape(f"{tmp_path}/bad.txt cannot be read: Input/output error")):
        support.run(recipe, tmp_path / "strict", "sources.book.read.gutenberg.Gutenberg.max_bad_files=0")


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (OSError(errno.EIO, "Input/output error"), "s3://bucket/a.jsonl"),
        (OSError(errno.ENOSPC, "No space left on device"), "/data/a.jsonl"),
        (OSError(errno.EMFILE, "Too many open files", "/data/a.jsonl"), "/data/a.jsonl"),
        (OSError(errno.EIO, "Input/output error", "/tmp/other"), "/data/a.jsonl"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset"), "/data/a.jsonl"),
    ],
)
def test_what_may_pass_is_no_bad_file(error: OSError, path: str) -> None:
    assert not worker._of_the_file(error, path)


def test_an_empty_source_is_an_honest_zero(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    sources = {
        "nothing": [{"read.jsonl.Jsonl": {"paths": [str(tmp_path / "empty.jsonl")]}}, "length.Chars", "dedup.exact.Exact"],
        "web": [{"read.jsonl.Jsonl": {"paths": ["${data}/web/0.jsonl"]}}],
    }
    recipe = support.write_recipe(tmp_path, corpus, sources=sources, mix=None)
    support.run(recipe, tmp_path / "out")
    assert "source nothing holds no document" in capsys.readouterr().err
    rows = [r for r in support.counts(tmp_path / "out") if r["source"] == "nothing"]
    assert [r["docs_out"] for r in rows] == [0] * 6
    assert not verify(str(tmp_path / "out")).problems


def test_odd_documents_are_handled_and_counted(tmp_path: Path) -> None:
    odd = ["a\x00b " * 30, "", "x" * 3_000_000, "\ud800 lone " * 20, "\n" * 50]
    lines = [json.dumps({"text": t}) for t in odd] + [json.dumps({"text": None}), json.dumps({"url": "no text"})]
    (tmp_path / "odd.jsonl").write_text("\n".join(lines))
    sources = {
        "odd": [
            {"read.jsonl.Jsonl": {"paths": [str(tmp_path / "odd.jsonl")], "max_bad": 0.5}},
            {"length.Chars": {"least": 0}},
            {"length.Words": {"least": 0}},
            "dedup.exact.Exact",
        ]
    }
    recipe = support.write_recipe(tmp_path, tmp_path, sources=sources, corpus=[], mix=None, tokens=None)
    support.run(recipe, tmp_path / "out")
    reader = support.counts(tmp_path / "out")[0]
    assert (reader["docs_in"], reader["docs_out"], reader["quarantined"]) == (7, 5, 2)
    assert reader["chars_out"] == sum(map(len, odd))
    kept = support.documents(tmp_path / "out", "odd")["text"].to_pylist()
    assert odd[0] in kept
    assert odd[2] in kept
