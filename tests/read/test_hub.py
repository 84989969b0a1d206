"""read.hub on local folders, with the network cut off, and on data sets that would run code or read what is not theirs."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import RecipeError
from curate.stage import Bad
from stages.read import hub
from stages.read.hub import Hub

datasets = pytest.importorskip("datasets")
CORPUS = Path(__file__).parents[3] / "shared/corpus"
TARGET = 1 << 20


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise OSError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    hub._open.cache_clear()


def read(source):
    items = [item for shard in source.shards(TARGET) for item in source.read(shard)]
    batches = [item for item in items if isinstance(item, pa.RecordBatch)]
    assert all(batch.schema.names == ["id", "text", *source.adds] for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()], [item for item in items if isinstance(item, Bad)]


def folder(tmp_path, name="data"):
    (tmp_path / name).mkdir()
    return tmp_path / name


def jsonl(path, records):
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_raw_files_are_shards_in_order_of_name(tmp_path):
    data = folder(tmp_path)
    for n in (1, 0, 2):
        jsonl(data / f"train-{n}.jsonl", [{"text": f"{n}{i}", "url": "u", "id": i} for i in range(3)])
    jsonl(data / "test-0.jsonl", [{"text": "other", "url": "u", "id": 9}])
    source = Hub(str(data), keep=("id",))
    assert [(s.low, s.high, s.size) for s in source.shards(TARGET)] == [
        (n, n + 1, (data / f"train-{n}.jsonl").stat().st_size) for n in range(3)
    ]
    rows, bad = read(source)
    assert [(row["id"], row["text"], row["source_id"]) for row in rows] == [
        (f"data/default/train:{n}-{i}", f"{n}{i}", str(i)) for n in range(3) for i in range(3)
    ]
    assert not bad
    assert [row["text"] for row in read(Hub(str(data), split="test"))[0]] == ["other"]


def test_ids_do_not_know_where_the_folder_lies(tmp_path, monkeypatch):
    ids = []
    for place in ("here", "there"):
        data = folder(folder(tmp_path, place))
        jsonl(data / "train.jsonl.gz", [{"text": "a"}])
        ids.append([row["id"] for row in read(Hub(str(data)))[0]])
    monkeypatch.chdir(tmp_path / "here")
    ids.append([row["id"] for row in read(Hub("data"))[0]])
    assert ids == [["data/default/train:0-0"]] * 3


def test_parquet_streams_in_bounded_tables_whatever_the_row_group(tmp_path, monkeypatch):
    data = folder(tmp_path)
    texts = [f"text {n}" for n in range(5000)]
    pq.write_table(pa.table({"text": texts}), data / "train.parquet", row_group_size=5000)
    seen = []
    real = hub.documents
    monkeypatch.setattr(hub, "documents", lambda batch, *rest: seen.append(len(batch)) or real(batch, *rest))
    rows, _ = read(Hub(str(data)))
    assert [row["text"] for row in rows] == texts
    assert [row["id"] for row in rows] == [f"data/default/train:0-{n}" for n in range(5000)]
    assert max(seen) <= hub.ROWS


@pytest.mark.parametrize("shards", [1, 3])
def test_what_save_to_disk_wrote_is_read(tmp_path, shards):
    texts = [f"text {n}" for n in range(10)]
    datasets.Dataset.from_dict({"text": texts, "n": list(range(10))}).save_to_disk(tmp_path / "saved", num_shards=shards)
    source = Hub(str(tmp_path / "saved"), keep=("n",))
    assert len(source.shards(TARGET)) == shards
    rows, _ = read(source)
    assert [(row["text"], row["n"]) for row in rows] == [(text, str(n)) for n, text in enumerate(texts)]
    assert len({row["id"] for row in rows}) == 10


def test_a_saved_dictionary_of_splits_is_read_by_split(tmp_path):
    splits = {name: datasets.Dataset.from_dict({"text": [name]}) for name in ("train", "test")}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    assert [row["text"] for row in read(Hub(str(tmp_path / "saved"), split="test"))[0]] == ["test"]
    with pytest.raises(RecipeError, match="train, test"):
        Hub(str(tmp_path / "saved"), split="validation").shards(TARGET)


def test_configurations_of_a_folder_are_chosen_by_name(tmp_path):
    data = folder(tmp_path)
    jsonl(data / "a.jsonl", [{"text": "in a"}])
    jsonl(data / "b.jsonl", [{"text": "in b"}])
    (data / "README.md").write_text(
        "---\nconfigs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files: b.jsonl\n---\n"
    )
    assert [(row["id"], row["text"]) for row in read(Hub(str(data), subset="b"))[0]] == [("data/b/train:0-0", "in b")]
    with pytest.raises(RecipeError, match="'a', 'b'"):
        Hub(str(data), subset="c").shards(TARGET)


def test_rows_without_text_are_bad_records(tmp_path):
    data = folder(tmp_path)
    jsonl(data / "train.jsonl", [{"text": "a"}, {"text": None}, {"text": "c"}])
    rows, (bad,) = read(Hub(str(data)))
    assert [row["id"] for row in rows] == ["data/default/train:0-0", "data/default/train:0-2"]
    assert (bad.place, bad.reason, bad.whole_file) == ("data/default/train:0-1", "text is null", False)


def test_a_broken_file_is_a_bad_file_and_the_others_are_read(tmp_path):
    data = folder(tmp_path)
    (data / "train-0.jsonl").write_text('{"text": \n')
    jsonl(data / "train-1.jsonl", [{"text": "fine"}])
    rows, (bad,) = read(Hub(str(data)))
    assert [row["text"] for row in rows] == ["fine"]
    assert bad.whole_file
    assert bad.place.startswith("data/default/train:0-")


def test_what_cannot_be_found_is_said_before_anything_starts(tmp_path):
    data = folder(tmp_path)
    jsonl(data / "train.jsonl", [{"content": "a", "n": 1}])
    for source, word in [
        (Hub(str(data), split="validation"), "it has train"),
        (Hub(str(data), text="contents"), "did you mean content"),
        (Hub(str(data), text="n"), "int64"),
        (Hub(str(data), text="content", keep=("lang",)), "no column lang"),
        (Hub(str(tmp_path / "nowhere")), "no folder"),
        (Hub(str(folder(tmp_path, "empty"))), "data files"),
        (Hub("nobody/nothing"), "cannot be read"),
    ]:
        with pytest.raises(RecipeError, match=word):
            source.shards(TARGET)


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(RecipeError, match=r"pip install 'curate\[hub\]'"):
        Hub(str(tmp_path)).shards(TARGET)


def test_nothing_of_a_data_set_is_executed(tmp_path):
    ran = tmp_path / "ran"
    code = f"import pathlib; pathlib.Path({str(ran)!r}).touch()"
    script = folder(tmp_path, "script")
    (script / "script.py").write_text(code)
    jsonl(script / "train.jsonl", [{"text": "a"}])
    pickled = folder(tmp_path, "pickled")
    (pickled / "train.pkl").write_bytes(b"cpathlib\nPath\n(V" + str(ran).encode() + b"\ntR.")
    other = folder(tmp_path, "other")
    (other / "setup.py").write_text(code)
    (other / "train.xml").write_text("<a/>")
    for data in (script, pickled, other):
        with pytest.raises(RecipeError):
            Hub(str(data)).shards(TARGET)
    assert not ran.exists()


@pytest.mark.parametrize("absolute", [True, False])
def test_a_description_cannot_name_files_outside_of_the_data_set(tmp_path, absolute):
    jsonl(tmp_path / "secret.jsonl", [{"text": "secret"}])
    data = folder(tmp_path)
    named = tmp_path / "secret.jsonl" if absolute else "../secret.jsonl"
    (data / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files: {named}\n---\n")
    with pytest.raises(RecipeError, match="not its own"):
        Hub(str(data)).shards(TARGET)


def test_reading_a_folder_writes_nothing_into_the_home_folder(tmp_path):
    data, home = folder(tmp_path), folder(tmp_path, "home")
    jsonl(data / "train.jsonl", [{"text": "a"}])
    code = "import sys; from stages.read.hub import Hub; s = Hub(sys.argv[1]); print(sum(len(b) for p in s.shards(1) for b in s.read(p)))"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    env |= {"HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(data)], env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_changed_file_changes_the_stamp(tmp_path):
    data = folder(tmp_path)
    jsonl(data / "train.jsonl", [{"text": "a"}])
    before = Hub(str(data)).shards(TARGET)[0].file.stamp
    assert Hub(str(data)).shards(TARGET)[0].file.stamp == before
    jsonl(data / "train.jsonl", [{"text": "ab"}])
    assert Hub(str(data)).shards(TARGET)[0].file.stamp != before


def test_a_hub_name_is_pinned_to_the_commit_of_its_revision(monkeypatch):
    asked = []
    stream = datasets.Dataset.from_dict({"text": ["a", "b"]}).to_iterable_dataset(num_shards=2)
    monkeypatch.setattr(hub, "_commit", lambda *asked_for: {("someone/corpus", "v1"): "0123abcd"}[asked_for])
    monkeypatch.setattr(hub, "_open", lambda *how: asked.append(how) or (stream, []))
    rows, _ = read(Hub("someone/corpus", subset="en", revision="v1"))
    assert [row["id"] for row in rows] == ["someone/corpus/en/train:0-0", "someone/corpus/en/train:1-0"]
    assert set(asked) == {("someone/corpus", "en", "train", "0123abcd")}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="shared/corpus is not here")
def test_a_real_corpus_is_read_as_json_reads_it(tmp_path):
    data = folder(tmp_path)
    raw = (CORPUS / "c4/c4-sample-700.json.gz").read_bytes()
    (data / "train.json.gz").symlink_to(CORPUS / "c4/c4-sample-700.json.gz")
    rows, bad = read(Hub(str(data)))
    expected = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
    assert [(row["text"], row["url"], row["date"]) for row in rows] == [(r["text"], r["url"], r["date"]) for r in expected]
    assert not bad
