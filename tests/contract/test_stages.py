"""What every stage promises, of whatever kind. New stages are found by the catalogue."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import support
from examples import COLUMNS, EXAMPLES, LONG, TEXTS, TYPES

from curate import build
from curate.batch import Batch, Check
from curate.errors import RecipeError
from curate.stage import Bad, Evidence, Filter, Global, Skip, Source, Stage, Trainer
from curate.worker import outcome

CATALOGUE = build.catalogue()
LOCAL = [name for name, cls in CATALOGUE.items() if not issubclass(cls, Source | Global | Trainer)]
BARRIERS = [name for name, cls in CATALOGUE.items() if issubclass(cls, Global)]
SOURCES = [name for name, cls in CATALOGUE.items() if issubclass(cls, Source)]
ROWS = Sequence[tuple[dict[str, Any], dict[str, tuple[Any, ...]]]]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


def built(name: str, home: Path) -> Stage:
    """The stage with its defaults, and the parameters that must be given from EXAMPLES."""
    missing = [f.name for f in dataclasses.fields(CATALOGUE[name]) if f.default is f.default_factory is dataclasses.MISSING]
    if missing and name not in EXAMPLES:
        pytest.fail(f"{name} cannot be built without {', '.join(missing)}: add an example to EXAMPLES in tests/contract/examples.py")
    parameters = home / name / "parameters.json"
    if name in EXAMPLES and not parameters.exists():
        parameters.parent.mkdir(parents=True, exist_ok=True)
        parameters.write_text(json.dumps(EXAMPLES[name](parameters.parent)))
    return build.build(name, json.loads(parameters.read_text()) if name in EXAMPLES else {})


def documents(stage: Stage, texts: Sequence[str]) -> pa.RecordBatch:
    """The columns that every document has, and those that the stage says it reads."""
    ids = pa.array([f"web/a.warc:{n}" for n in range(len(texts))], pa.string())
    data = {"id": ids, "text": pa.array(texts, pa.large_string()), "source": pa.array(["web"] * len(texts), pa.string())}
    for column in stage.reads:
        if column not in COLUMNS:
            pytest.fail(f"{stage.name} reads {column}: add values to COLUMNS in tests/contract/examples.py")
        values = list(itertools.islice(itertools.cycle(COLUMNS[column]), len(texts)))
        data[column] = pa.array(values, TYPES.get(column, pa.string()))
    return pa.record_batch(data)


def judged(stage: Stage, batch: Batch, verdict: pa.Table | None = None) -> ROWS:
    """Per document: its columns afterwards, and what each rule found."""
    after, checks, _ = outcome(stage, batch, verdict)
    assert len(after) == len(batch)
    for rule, check in checks.items():
        assert isinstance(rule, str)
        for part in (check.passed, check.value, check.kept):
            assert part is None or (isinstance(part, np.ndarray) and part.shape == (len(batch),)), rule
        assert check.passed.dtype == np.bool_, rule
        assert check.kept is None or check.kept.dtype == np.int64, rule
        assert check.limit is None or isinstance(check.limit, int | float), rule

    def of(check: Check, row: int) -> tuple[Any, ...]:
        value = None if check.value is None else repr(float(check.value[row]))  # as text: NaN equals itself
        kept_id = None if check.kept_id is None else check.kept_id[row].as_py()
        return bool(check.passed[row]), value, check.limit, None if check.kept is None else int(check.kept[row]), kept_id

    columns = after.data.to_pylist()
    return [(columns[n], {rule: of(c, n) for rule, c in checks.items()}) for n in range(len(batch))]


# -- stages that look at one document -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCAL)
def test_each_document_is_judged_alone(name: str, home: Path):
    stage = built(name, home)
    data = documents(stage, [*TEXTS, LONG])
    together = judged(stage, Batch.of(data))
    alone = [row for n in range(len(data)) for row in judged(stage, Batch.of(data.slice(n, 1)))]
    assert alone == together
    assert judged(stage, Batch.of(data.slice(3, 9))) == together[3:12]
    backwards = data.take(pa.array(range(len(data) - 1, -1, -1)))
    assert judged(stage, Batch.of(backwards)) == together[::-1]


@pytest.mark.parametrize("name", LOCAL)
def test_documents_dropped_before_and_views_computed_before_change_nothing(name: str, home: Path):
    stage = built(name, home)
    batch = Batch.of(documents(stage, TEXTS))
    together = judged(stage, batch)
    keep = np.arange(len(batch)) % 3 != 0
    views = Batch.of(batch.data)
    assert views.words.count.sum() + views.lines.count.sum() + views.chars.sum() + len(views.line_hashes) > 0
    assert judged(stage, views.where(keep)) == [row for row, kept in zip(together, keep, strict=True) if kept]


@pytest.mark.parametrize("name", LOCAL)
def test_an_empty_batch_gives_an_empty_batch_of_the_same_columns(name: str, home: Path):
    stage = built(name, home)
    data = documents(stage, TEXTS)
    for empty in (data.slice(0, 0), documents(stage, [])):
        after, checks, _ = outcome(stage, Batch.of(empty), None)
        assert judged(stage, Batch.of(empty)) == []
        whole, rules, _ = outcome(stage, Batch.of(data), None)
        assert after.data.schema == whole.data.schema
        assert list(checks) == list(rules)
    assert judged(stage, Batch.of(data).where(np.zeros(len(data), np.bool_))) == []


@pytest.mark.parametrize("name", LOCAL)
def test_the_columns_that_come_out_are_those_declared(name: str, home: Path):
    stage = built(name, home)
    before = Batch.of(documents(stage, TEXTS))
    after, _, _ = outcome(stage, before, None)
    assert set(after.names) == {*before.names, *stage.adds}
    one, _, _ = outcome(stage, Batch.of(documents(stage, [""])), None)
    assert one.data.schema == after.data.schema  # types do not depend on what the documents hold
    for column in ("id", "source"):
        assert after[column].equals(before[column])
    assert after.text.null_count == 0
    if isinstance(stage, Filter):
        assert after is before


@pytest.mark.parametrize("name", LOCAL)
def test_a_stage_gives_the_same_twice_and_leaves_its_input_alone(name: str, home: Path):
    stage = built(name, home)
    data = documents(stage, TEXTS)
    copy = pa.RecordBatch.from_pylist(data.to_pylist(), schema=data.schema)
    batch = Batch.of(data)
    assert judged(stage, batch) == judged(stage, batch)
    assert batch.data.to_pylist() == Batch.of(copy).data.to_pylist()


def numbers(stage: Stage) -> Iterator[tuple[str, type]]:
    for field in dataclasses.fields(stage):
        value = getattr(stage, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield field.name, type(value)


def limits_of(stage: Stage, batch: Batch) -> dict[str, Check]:
    return {rule: check for rule, check in outcome(stage, batch, None)[1].items() if check.limit is not None}


@pytest.mark.parametrize("name", LOCAL)
def test_every_threshold_is_inclusive(name: str, home: Path):
    """Each measured value is made the limit in turn: the document that it was measured of must pass."""
    stage = built(name, home)
    batch = Batch.of(documents(stage, TEXTS))
    before = limits_of(stage, batch)
    measured = sorted({float(v) for check in before.values() for v in check.value if np.isfinite(v)})
    moved, met = set(), set()
    for field, kind in numbers(stage):
        for value in measured:
            if kind is int and value != int(value):
                continue
            try:
                other = dataclasses.replace(stage, **{field: kind(value)})
            except (RecipeError, ValueError):
                continue  # no value for this parameter
            for rule, check in limits_of(other, batch).items():
                moved |= {rule} if check.limit != before[rule].limit else set()
                equal = check.value == check.limit
                assert check.passed[equal].all(), f"{rule} drops documents whose value is its limit, {field}={value}"
                met |= {rule} if equal.any() else set()
    assert moved <= met, f"no document has the value that would be the limit of {moved - met}"


# -- every stage --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_stage_is_its_configuration(name: str, home: Path):
    stage = built(name, home)
    assert stage.name == name
    for again in (pickle.loads(pickle.dumps(stage)), build.build(*next(iter(json.loads(json.dumps(stage.config)).items())))):
        assert again == stage
        assert again.identity == stage.identity
        assert again.config == stage.config
    assert json.loads(json.dumps(stage.identity))[0] == name


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_parameter_hides_what_every_stage_has(name: str):
    assert not {f.name for f in dataclasses.fields(CATALOGUE[name])} & {n for n in dir(Stage) if not n.startswith("_")}


@pytest.mark.parametrize("name", LOCAL)
def test_a_stage_that_has_worked_travels_like_one_that_has_not(name: str, home: Path):
    stage = built(name, home)
    batch = Batch.of(documents(stage, TEXTS))
    fresh = pickle.dumps(stage)
    expected = judged(stage, batch)
    assert pickle.dumps(stage) == fresh
    assert judged(pickle.loads(fresh), batch) == expected


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_stage_is_frozen_says_what_it_does_and_refuses_what_it_does_not_know(name: str, home: Path):
    stage = built(name, home)
    assert CATALOGUE[name].__doc__
    assert not CATALOGUE[name].__doc__.startswith(f"{CATALOGUE[name].__name__}(")  # what dataclass writes where there is nothing
    for field in dataclasses.fields(stage):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(stage, field.name, None)
    with pytest.raises(RecipeError, match=r"no_such_parameter.*no such parameter"):
        build.build(name, {**stage.config[name], "no_such_parameter": 1})


# -- barriers -----------------------------------------------------------------------------------------------------------------------

SHARDS = [[*TEXTS[:9], "only here"], [], [*TEXTS], ["a", "b", *TEXTS[5:12]], [LONG], [LONG, "a"]]


def through(stage: Global, folder: Path, *, partitions: int, rows: int, seed: int | None = None) -> list[ROWS]:
    """What the barrier makes of each shard, in batches of so many rows; with a seed, each batch's key rows are shuffled."""
    data = [documents(stage, texts) for texts in SHARDS]
    batches = [[Batch.of(d.slice(first, rows)) for first in range(0, len(d), rows)] for d in data]
    orders = itertools.count() if seed is None else itertools.count(seed)

    def keys(batch: Batch) -> pa.RecordBatch:
        emitted = stage.emit(batch)
        assert emitted.schema.field("key").type == pa.uint64()
        return emitted if seed is None else emitted.take(pa.array(np.random.default_rng(next(orders)).permutation(len(emitted))))

    verdicts = support.decided(stage, batches, folder, partitions=partitions, keys=keys)
    out = []
    for shard, verdict in zip(batches, verdicts, strict=True):
        rows_of = [verdict.rows(at * rows, len(batch)) for at, batch in enumerate(shard)]
        out.append([row for batch, part in zip(shard, rows_of, strict=True) for row in judged(stage, batch, part)])
    return out


@pytest.fixture(scope="module")
def plain(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[ROWS]]:
    """Each barrier's outcome in one partition and whole shards."""
    settings = {"partitions": 1, "rows": 10**6}
    return {name: through(built(name, home), tmp_path_factory.mktemp("plain"), **settings) for name in BARRIERS}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BARRIERS)
@pytest.mark.parametrize("partitions", [2, 8])
def test_a_barrier_does_not_depend_on_its_partitions(name: str, partitions: int, home: Path, tmp_path: Path, plain: dict[str, list[ROWS]]):
    assert through(built(name, home), tmp_path, partitions=partitions, rows=10**6) == plain[name]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BARRIERS)
@pytest.mark.parametrize("rows", [1, 7])
def test_a_barrier_does_not_depend_on_batches(name: str, rows: int, home: Path, tmp_path: Path, plain: dict[str, list[ROWS]]):
    assert through(built(name, home), tmp_path, partitions=2, rows=rows) == plain[name]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BARRIERS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_barrier_does_not_depend_on_the_order_of_key_rows(name: str, seed: int, home: Path, tmp_path: Path, plain: dict[str, list[ROWS]]):
    assert through(built(name, home), tmp_path, partitions=3, rows=7, seed=seed) == plain[name]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BARRIERS)
def test_a_barrier_may_shrink_keys_any_number_of_times(
    name: str, home: Path, tmp_path: Path, plain: dict[str, list[ROWS]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("curate.exchange.SPILL_BYTES", 1)
    assert through(built(name, home), tmp_path, partitions=2, rows=3) == plain[name]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BARRIERS)
def test_a_barrier_takes_an_empty_batch(name: str, home: Path):
    stage = built(name, home)
    assert isinstance(stage, Global)
    empty, some = (stage.emit(Batch.of(documents(stage, texts))) for texts in ([], ["a"]))
    assert len(empty) == 0
    assert empty.schema == some.schema


@pytest.mark.parametrize("name", BARRIERS)
def test_a_barrier_adds_the_columns_it_declares(name: str, home: Path, plain: dict[str, list[ROWS]]):
    stage = built(name, home)
    for shard, texts in zip(plain[name], SHARDS, strict=True):
        before = documents(stage, texts).schema.names
        assert all(set(columns) == {*before, *stage.adds} for columns, _ in shard)


# -- sources ------------------------------------------------------------------------------------------------------------------------


def read(source: Source, target: int) -> list[dict[str, Any]]:
    """All documents, in corpus order, by shards that have been pickled on their way."""
    out = []
    for shard in pickle.loads(pickle.dumps(source.shards(target))):
        for item in source.read(shard):
            assert not isinstance(item, Bad), item
            if isinstance(item, Evidence):
                assert item.table in source.tables
            if isinstance(item, Skip | Evidence):
                continue
            assert item.schema.names == ["id", "text", *source.adds]
            assert item["id"].type == pa.string()
            assert item["text"].type == pa.large_string()
            assert item["id"].null_count == item["text"].null_count == 0
            item.validate(full=True)
            out += item.to_pylist()
    return out


def source_of(name: str, home: Path) -> Source:
    source = built(name, home)
    assert isinstance(source, Source)
    return source


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_reads_all_its_documents_under_ids_of_their_own(name: str, home: Path):
    rows = read(source_of(name, home), 1 << 60)
    assert len(rows) >= 3
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["text"] for row in rows)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("target", [1, 700, 5000])
def test_where_files_are_cut_changes_nothing(name: str, target: int, home: Path):
    source = source_of(name, home)
    assert read(source, target) == read(source, 1 << 60)


@pytest.mark.parametrize("name", SOURCES)
def test_ids_are_the_same_on_another_machine(name: str, home: Path, tmp_path: Path):
    elsewhere = read(source_of(name, tmp_path / "mnt" / "data"), 1 << 60)
    assert elsewhere == read(source_of(name, home), 1 << 60)
    assert not any(str(home) in row["id"] for row in elsewhere)
