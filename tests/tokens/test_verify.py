"""Shards that were written as they should be are proven; anything wrong with them is named, with its shard."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_tokenizer import byte_level, saved, texts

from curate.errors import CurateError
from curate.tokens import manifest
from curate.tokens.tokenizer import Encoded, TokenizerSpec, load
from curate.tokens.training import Training, train
from curate.tokens.verify import verify


def only(out: str) -> str:
    """The one problem that there is."""
    problems = verify(out).problems
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize("layout", ["none", "eos", "bos", "bos_eos"])
@pytest.mark.parametrize("form", ["npy", "megatron"])
def test_sound_shards_are_proven(write_run, form, layout):
    report = verify(write_run(form, layout))
    assert report.problems == []
    assert (report.shards, report.documents, report.compared, report.normalised) == (3, 90, 90, 0)
    assert "proven" in report.text()


def test_a_tokenizer_whose_beginning_is_its_end_is_proven_too(write_run, tmp_path):
    path = saved(tmp_path, byte_level(("<|endoftext|>",)))
    one = load(TokenizerSpec(huggingface=path, bos="<|endoftext|>"))
    assert verify(write_run(by=one)).problems == []


def test_documents_that_spell_special_tokens_are_proven(write_run):
    assert verify(write_run(text=lambda i: f"</s> {i} <s></s>")).problems == []


def test_text_that_the_tokenizer_normalises_is_equal_after_normalisation(write_run, tmp_path):
    spec = byte_level()
    spec["normalizer"] = {"type": "NFC"}
    out = write_run(by=load(TokenizerSpec(huggingface=saved(tmp_path, spec))), text=lambda i: f"cafe\u0301 {i}")
    report = verify(out)
    assert (report.problems, report.compared, report.normalised) == ([], 90, 90)


@pytest.mark.parametrize("name", ["00001.bin", "00001.idx", "00001.documents.parquet"])
def test_a_flipped_bit_is_named(write_run, name):
    out = write_run("megatron")
    path = Path(out, "tokens", name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert only(out).startswith(f"{name}: sha256 ")


@pytest.mark.parametrize("name", ["00002.bin", "00002.idx", "00002.documents.parquet"])
def test_a_truncated_file_is_named(write_run, name):
    out = write_run("megatron")
    path = Path(out, "tokens", name)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-2])
    assert only(out) == f"{name}: {size - 2:,} bytes; expected {size:,}"


@pytest.mark.parametrize("name", ["00000.npy", "00000.documents.parquet"])
def test_a_missing_file_is_named(write_run, name):
    out = write_run()
    Path(out, "tokens", name).unlink()
    assert only(out).startswith(f"{name}: is missing; expected ")


def test_a_file_too_many_is_named(write_run):
    out = write_run()
    Path(out, "tokens", "00003.npy").write_bytes(b"")
    assert only(out) == "00003.npy: is in the folder, but not in the manifest"


def drop_first(number: int, documents: Encoded) -> Encoded:
    """Shard 1 loses the BOS of its fourth document."""
    if number != 1:
        return documents
    at = int(documents.lengths[:3].sum())
    lengths = documents.lengths.copy()
    lengths[3] -= 1
    return Encoded(np.delete(documents.ids, at), lengths)


def drop_last(number: int, documents: Encoded) -> Encoded:
    """Shard 1 loses the EOS of its fourth document."""
    if number != 1:
        return documents
    at = int(documents.lengths[:4].sum()) - 1
    lengths = documents.lengths.copy()
    lengths[3] -= 1
    return Encoded(np.delete(documents.ids, at), lengths)


def put(token: int, place: int):
    """Shard 2 has a token in its sixth document that was not there."""

    def change(number: int, documents: Encoded) -> Encoded:
        ids = documents.ids.copy()
        if number == 2:
            ids[int(documents.lengths[:5].sum()) + place] = token
        return Encoded(ids, documents.lengths)

    return change


@pytest.mark.parametrize("form", ["npy", "megatron"])
@pytest.mark.parametrize(
    ("change", "start", "rest"),
    [
        (drop_first, "00001.", "documents do not begin with BOS (1), first document 3 ("),
        (drop_last, "00001.", "documents do not end with EOS (2), first document 3 ("),
        (put(2, 3), "00002.", "1 special ids within documents, first 2 at token "),
        (put(1, 3), "00002.", "1 special ids within documents, first 1 at token "),
    ],
)
def test_a_document_without_its_edges_or_with_one_too_many_is_named(write_run, form, change, start, rest):
    out = write_run(form, change=change)
    found = [p for p in verify(out).problems if rest in p]
    assert len(found) == 1
    assert found[0].startswith(start)


def test_one_wrong_token_is_seen_in_the_text(write_run, tokenizer):
    out = write_run(change=put(tokenizer.encode(["Z"]).ids.tolist()[-1], 3))
    problem = only(out)
    assert problem.startswith("00002.npy: document 5 (")
    assert "it decodes to" in problem
    assert "Z" in problem


def test_swapped_documents_are_seen_in_the_text(write_run):
    def swap(number: int, documents: Encoded) -> Encoded:
        parts = np.split(documents.ids, np.cumsum(documents.lengths)[:-1])
        parts[0], parts[1] = (parts[1], parts[0]) if number == 0 else (parts[0], parts[1])
        return Encoded(np.concatenate(parts), np.array([len(p) for p in parts]))

    problems = verify(write_run(change=swap)).problems
    assert any(p.startswith("00000.npy: document 0 (") for p in problems)
    assert any(p.startswith("00000.npy: document 1 (") for p in problems)


def test_documents_out_of_the_order_of_the_shuffle_are_named(write_run):
    problems = verify(write_run(order=lambda rows: rows[::-1])).problems
    assert len(problems) == 3
    assert all(p.startswith(f"0000{n}.documents.parquet: document 0 (") for n, p in enumerate(problems))
    assert all("are not in the order of the shuffle" in p for p in problems)


def test_a_document_that_is_written_twice_is_named(write_run):
    problems = verify(write_run(order=lambda rows: [*rows[:6], *rows[5:]])).problems
    assert [p.split(" (")[0] for p in problems] == [f"0000{n}.documents.parquet: document 5" for n in range(3)]
    assert all(p.endswith("is there twice") for p in problems)


def test_shards_that_have_changed_places_are_named(write_run):
    out = write_run()
    shards = manifest.read(str(Path(out, "tokens"))).shards
    rewrite(out, shards=[shards[1], shards[0], shards[2]])
    problems = verify(out).problems
    assert [p.split(":")[0] for p in problems] == ["00001.documents.parquet", "00000.documents.parquet"]
    assert "which shard 00001 should hold" in problems[0]


def rewrite(out: str, **fields) -> None:
    """The manifest says something else."""
    folder = str(Path(out, "tokens"))
    manifest.write(folder, dataclasses.replace(manifest.read(folder), **fields))


def test_ids_beyond_the_vocabulary_are_named(write_run):
    out = write_run()
    made = manifest.read(str(Path(out, "tokens")))
    rewrite(out, tokenizer=dataclasses.replace(made.tokenizer, vocabulary=300))
    problems = verify(out).problems
    assert "manifest.json: tokenizer: vocabulary 300; tokenizer.model has 360" in problems
    assert sum("expected less than 300" in p for p in problems) == 3


def test_a_swapped_tokenizer_is_named(write_run):
    out = write_run()
    train(texts(), Training(vocabulary=330), str(Path(out, "tokens", "tokenizer.model")))
    assert only(out).startswith("tokenizer.model: another tokenizer: sha256 ")
    Path(out, "tokens", "tokenizer.model").unlink()
    assert only(out) == "tokenizer.model: is missing; nothing can be decoded"


def test_counts_that_the_shards_do_not_have_are_named(write_run):
    out = write_run()
    made = manifest.read(str(Path(out, "tokens")))
    rewrite(out, mix=[dataclasses.replace(r, tokens=r.tokens + (r.source == "web")) for r in made.mix])
    assert only(out).startswith("manifest.json: mix, web: ")
    rewrite(out, mix=made.mix, tokens=made.tokens + 5)
    assert only(out) == f"manifest.json: {made.tokens + 5:,} tokens; the shards have {made.tokens:,}"
    moved = dataclasses.replace(made.shards[0], sources={"web": made.shards[0].tokens})
    rewrite(out, tokens=made.tokens, shards=[moved, *made.shards[1:]])
    assert only(out).startswith("00000.documents.parquet: tokens by source ")


def test_another_type_than_the_index_has_is_named(write_run):
    out = write_run("megatron")
    rewrite(out, dtype="int32")
    assert verify(out).problems == [f"0000{n}.bin: its index says uint16; the manifest int32" for n in range(3)]


def test_text_that_was_changed_moved_or_lost_is_named(write_run):
    out = write_run()
    path = Path(out, "documents", "web", "00001.parquet")
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "text", pa.array(["other"] * len(table), pa.large_string())), path)
    assert len(verify(out).problems) == len(table)
    assert all("has 'other'" in p for p in verify(out).problems)
    pq.write_table(table.take(list(reversed(range(len(table))))), path)
    assert all("of documents/web/00001.parquet is document web.jsonl:" in p for p in verify(out).problems)
    pq.write_table(table.slice(0, len(table) - 1), path)
    assert only(out).endswith(f"of documents/web/00001.parquet, cannot be read: the file has {len(table) - 1} rows")
    path.unlink()
    assert all("of documents/web/00001.parquet, cannot be read: is missing" in p for p in verify(out).problems)


def test_a_sample_is_drawn_over_all_shards_and_is_always_the_same(write_run):
    out = write_run()
    assert verify(out, sample=10).compared == 10
    path = Path(out, "documents", "web", "00000.parquet")
    path.unlink()
    assert verify(out, sample=20).problems == verify(out, sample=20).problems
    assert 0 < len(verify(out, sample=20).problems) < 20


def test_shards_without_a_manifest_are_not_complete(write_run):
    out = write_run()
    path = Path(out, "tokens", "manifest.json")
    value = json.loads(path.read_text())
    path.unlink()
    assert "it is written last, so these shards are not complete" in only(out)
    path.write_text(json.dumps({**value, "seed": "many"}))
    with pytest.raises(CurateError, match=r"manifest.json: seed: "):
        manifest.read(str(path.parent))


def test_a_manifest_is_read_as_it_was_written(write_run):
    folder = str(Path(write_run(), "tokens"))
    before = Path(folder, "manifest.json").read_bytes()
    manifest.write(folder, manifest.read(folder))
    assert Path(folder, "manifest.json").read_bytes() == before
    value = json.loads(before)
    assert sum(s["tokens"] for s in value["shards"]) == value["tokens"] == sum(r["tokens"] for r in value["mix"])
    for row in value["mix"]:
        assert row["tokens"] == sum(s["sources"].get(row["source"], 0) for s in value["shards"])
