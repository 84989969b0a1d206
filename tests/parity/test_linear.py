"""Linear classifiers: RedPajama's rules, what a training promises, and the choice by score."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import fasttext_model, held_out
from classifiers.linear import Keep, Score, Scorer, Top, Train, highest, in_order
from curate.batch import Batch, Check
from curate.errors import CurateError, RecipeError
from curate.stage import Model, Totals

GOOD = ["theory", "harmonic", "measured", "evidence", "archive", "treaty", "species", "lattice", "orbit", "enzyme"]
PLAIN = ["buy", "cheap", "click", "here", "sale", "shoes", "login", "cookie", "price", "offer"]
BOTH = ["the", "of", "and", "a", "in", "to", "for", "with", "on", "that"]
SMALL = {"dim": 8, "lr": 0.5, "min_chars": 0, "min_positives": 20}


def page(rng: random.Random, own: Sequence[str], words: int = 40) -> str:
    return "\n".join(" ".join(rng.choice(own if rng.random() < 0.4 else BOTH) for _ in range(words // 4)) for _ in range(4))


def pages(seed: int, own: Sequence[str], count: int) -> list[str]:
    rng = random.Random(seed)
    return [page(rng, own) for _ in range(count)]


def batch_of(texts: Sequence[str], prefix: str = "web/a", **columns: pa.Array) -> Batch:
    ids = pa.array([f"{prefix}:{n}" for n in range(len(texts))], pa.string())
    return Batch.of(pa.record_batch({"id": ids, "text": pa.array(texts, pa.large_string()), **columns}))


def totals(batch: Batch) -> Totals:
    return Totals(len(batch), int(batch.size.sum()))


def trained(folder: Path, trainer: Train, positives: list[str], negatives: list[str]) -> tuple[Model, dict[str, Any]]:
    """As a run does it: selected in two batches of each role, the card beside the model."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {"positives": batch_of(positives, "wiki/a"), "negatives": batch_of(negatives, "web/a")}
    selected = {}
    for role, batch in given.items():
        half = np.arange(len(batch)) < len(batch) // 2
        selected[role] = [trainer.select(batch.where(rows), role, totals(batch)) for rows in (half, ~half)]
    card = trainer.train(selected, str(folder))
    (folder / "card.json").write_text(json.dumps(card))
    return Model(str(folder)), card


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, dict[str, Any]]:
    trainer = Train(**SMALL, threshold=0.5)
    return trained(tmp_path_factory.mktemp("model"), trainer, pages(1, GOOD, 300), pages(2, PLAIN, 400))


def digest(model: Model) -> str:
    return hashlib.sha256(Path(fasttext_model.file_of(model)).read_bytes()).hexdigest()


def scores(model: Model, texts: Sequence[str], **given: Any) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = Score(model, **given).apply(batch_of(texts))[given.get("column", "quality")].to_numpy()
    return found


# -- RedPajama's rules --------------------------------------------------------------------------------------------------------------


class Says:
    """Stands for a fastText model that gives one label and its probability."""

    def __init__(self, label: str, probability: float):
        self.f, self.answer = self, (label, probability)

    def multilinePredict(self, lines: list[bytes], *_: object) -> tuple[list[list[str]], list[Any]]:  # noqa: N802
        label, probability = self.answer
        return [[f"__label__{label}"]] * len(lines), [np.array([probability], np.float32)] * len(lines)


@pytest.mark.parametrize(
    ("label", "probability", "score", "kept"),
    [("cc", 0.75, 0.25, True), ("cc", 0.76, 0.24, False), ("wiki", 0.51, 0.51, True), ("cc", 1.00001, 0.0, False)],
)
def test_the_probability_of_wiki_is_what_the_other_label_leaves(label: str, probability: float, score: float, kept: bool):
    found = Scorer(Says(label, probability), "wiki", pair=True)(pa.array(["text\n"], pa.large_string()))
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(score, abs=1e-6)
    check = Keep().keep(batch_of(["text"]).with_column("quality", found))["low_quality"]
    assert isinstance(check, Check)
    assert list(check.passed) == [kept]
    assert check.limit == 0.25


def test_positives_have_a_thousand_characters_negatives_any():
    texts = ["x" * 999, "x" * 1000, "é" * 999, "é" * 1000, "x" * 10]
    batch = batch_of(texts)
    chosen = {role: Train().select(batch, role, totals(batch))["text"].to_pylist() for role in ("positives", "negatives")}
    assert chosen["positives"] == [texts[1] + "\n", texts[3] + "\n"]
    assert chosen["negatives"] == [t + "\n" for t in texts]


def test_defaults_are_those_of_redpajama():
    t = Train()
    assert (t.dim, t.lr, t.epoch, t.word_ngrams, t.min_count, t.loss) == (100, 0.1, 5, 1, 1, "softmax")
    assert (2 * t.examples, t.min_chars, t.threshold) == (300_000, 1000, 0.25)


# -- training -----------------------------------------------------------------------------------------------------------------------


def test_a_trained_model_tells_its_classes_apart(model: tuple[Model, dict[str, Any]]):
    good, plain = (scores(model[0], pages(9, own, 100)) for own in (GOOD, PLAIN))
    assert held_out.auc(good, plain) > 0.99
    assert good.dtype == np.float32
    assert ((good >= 0) & (good <= 1)).all()


def test_the_score_is_the_probability_that_fasttext_itself_gives(model: tuple[Model, dict[str, Any]]):
    import fasttext

    texts = [*pages(7, GOOD, 20), *pages(8, PLAIN, 20), "", "unheard of"]
    loaded = fasttext.load_model(fasttext_model.file_of(model[0]))
    expected = []
    for text in texts:
        labels, found = loaded.predict(text.strip().replace("\n", " "), k=2)
        expected.append(dict(zip(labels, found, strict=True))["__label__positive"])
    np.testing.assert_allclose(scores(model[0], texts), expected, atol=3e-5)  # fastText adds 1e-5 to each


def test_a_card_says_what_was_learnt_and_how_well(model: tuple[Model, dict[str, Any]]):
    card = model[1]
    assert card["selected"] == {"positive": 300, "negative": 400}
    for label in ("positive", "negative"):
        assert card["train"][label] + card["held_out"][label] == 300  # balanced
        assert 10 <= card["held_out"][label] <= 60
    assert 0.95 < card["auc_interval"][0] <= card["auc"] <= card["auc_interval"][1] <= 1 or card["auc"] == 1
    assert card["auc_interval"][0] < 1
    assert card["threshold"] == card["kept"]["threshold"] == 0.5
    assert [point["threshold"] for point in card["curve"]] == pytest.approx([n / 20 for n in range(1, 20)])
    for role in ("positives", "negatives"):
        shares = [point[role] for point in card["curve"]]
        assert shares == sorted(shares, reverse=True)
    json.dumps(card, allow_nan=False)


def test_nothing_of_the_held_out_part_is_learnt(tmp_path: Path):
    """A word that stands in one document only is known to the model if, and only if, it has learnt from the document."""
    texts = {role: [f"{t} {role}{n}" for n, t in enumerate(pages(3, GOOD, 60))] for role in ("p", "n")}
    model, card = trained(tmp_path, Train(**SMALL, held_out=0.3), texts["p"], texts["n"])
    words = set(fasttext_model.load(model).get_words())
    unknown = {role: [n for n in range(60) if f"{role}{n}" not in words] for role in texts}
    assert {"positive": len(unknown["p"]), "negative": len(unknown["n"])} == card["held_out"]
    assert len(unknown["p"]) > 5


ELSEWHERE = """
import sys; sys.path[:0] = [{tests!r}]
from pathlib import Path
import test_linear as t
junk = [bytes([n % 251]) * (n * 17) for n in range(3000)]; del junk[::2]
print(t.digest(t.trained(Path({folder!r}), t.Train(**t.SMALL, {settings}), t.pages(1, t.GOOD, 60), t.pages(2, t.PLAIN, 60))[0]))
"""


@pytest.mark.parametrize("given", [{}, {"word_ngrams": 2, "bucket": 1_100_000}])
def test_training_gives_the_same_bytes_every_time_and_everywhere(given: dict[str, Any], tmp_path: Path):
    data = pages(1, GOOD, 60), pages(2, PLAIN, 60)
    first = digest(trained(tmp_path / "first", Train(**SMALL, **given), *data)[0])
    again = digest(trained(tmp_path / "again", Train(**SMALL, **given), *data)[0])
    keywords = ", ".join(f"{k}={v}" for k, v in given.items())
    code = ELSEWHERE.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "elsewhere"), settings=keywords)
    root = Path(__file__).parents[2]
    # where every row is given, it does not matter what memory held before: glibc fills it with other bytes here
    environment = dict(os.environ) if given else os.environ | {"MALLOC_PERTURB_": "165"}
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd=root, env=environment
    )
    assert first == again == elsewhere.stdout.strip()
    assert first != digest(trained(tmp_path / "seed", Train(**SMALL, **given, seed=1), *data)[0])
    assert sorted(p.name for p in (tmp_path / "first").iterdir()) == ["card.json", "model.bin"]


def test_blocks_in_which_text_is_sorted_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = pages(1, GOOD, 60), pages(2, PLAIN, 60)
    one = digest(trained(tmp_path / "one", Train(**SMALL), *data)[0])
    monkeypatch.setattr("classifiers.drawn._BLOCK", 5000.0)
    monkeypatch.setattr("classifiers.fasttext_model._WORDS", 20)
    assert digest(trained(tmp_path / "many", Train(**SMALL), *data)[0]) == one
    assert digest(trained(tmp_path / "ordered", Train(**SMALL, shuffle=False), *data)[0]) != one


def test_numbers_are_finite_in_rows_that_no_word_has_given(tmp_path: Path):
    model, _ = trained(tmp_path, Train(**SMALL, word_ngrams=2, bucket=1_100_000), pages(1, GOOD, 60), pages(2, PLAIN, 60))
    matrix = fasttext_model.load(model).get_input_matrix()
    assert np.isfinite(matrix).all()
    untouched = matrix[len(matrix) // 5 :]
    assert (untouched == 0).all(axis=1).mean() > 0.99


def test_of_many_documents_a_sample_is_selected_and_of_that_so_many_learnt(tmp_path: Path):
    trainer = Train(**{**SMALL, "examples": 100, "held_out": 0.2})
    batch = batch_of([f"document {n} of many" for n in range(20_000)])
    found = trainer.select(batch, "negatives", totals(batch))
    assert 100 <= len(found) <= 250
    halves = [batch.where(np.arange(20_000) % 2 == n) for n in (0, 1)]
    parts = [trainer.select(half, "negatives", totals(batch))["hash"].to_pylist() for half in halves]
    assert sorted(parts[0] + parts[1]) == sorted(found["hash"].to_pylist())  # each is judged alone
    _, card = trained(tmp_path, trainer, pages(1, GOOD, 300), pages(2, PLAIN, 300))
    assert card["train"]["positive"] + card["held_out"]["positive"] == 100
    assert card["train"]["negative"] + card["held_out"]["negative"] == 100


def test_classes_need_not_be_balanced(tmp_path: Path):
    _, card = trained(tmp_path, Train(**SMALL, balance=False), pages(1, GOOD, 60), pages(2, PLAIN, 200))
    assert card["train"]["negative"] + card["held_out"]["negative"] == 200


def test_a_threshold_may_be_the_share_of_negatives_that_stays(tmp_path: Path):
    trainer = Train(**SMALL, threshold=None, retain=0.2, held_out=0.5)
    mixed = [*pages(2, PLAIN, 90), *pages(4, BOTH, 90)]
    model, card = trained(tmp_path, trainer, pages(1, GOOD, 180), mixed)
    assert card["kept"]["negatives"] == pytest.approx(0.2, abs=0.02)
    assert Keep(least=None, model=model).threshold == card["threshold"]


# -- a column with the classes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positive", "values"),
    [
        (True, pa.array([True, False, None, True])),
        (5, pa.array([5, 3, None, 5], pa.int8())),
        ("hq", pa.array(["hq", "cc", None, "hq"])),
        ("hq", pa.array(["hq", "cc", None, "hq"]).dictionary_encode()),
    ],
)
def test_classes_may_be_the_values_of_a_column(positive: Any, values: pa.Array):
    trainer = Train(label="kind", positive=positive, min_chars=0)
    assert trainer.roles == ("documents",)
    assert trainer.reads == ("kind",)
    batch = batch_of(["a", "b", "c", "d"], kind=values)
    found = trainer.select(batch, "documents", totals(batch)).to_pylist()
    assert [(row["label"], row["text"]) for row in found] == [("positive", "a\n"), ("negative", "b\n"), ("positive", "d\n")]


@pytest.mark.parametrize(
    ("positive", "values"), [(1, pa.array([True])), (True, pa.array([1])), ("1", pa.array([1])), (300, pa.array([3], pa.int8()))]
)
def test_a_value_of_another_kind_than_the_column_is_named(positive: Any, values: pa.Array):
    batch = batch_of(["a"], kind=values)
    with pytest.raises(CurateError, match="column kind holds"):
        Train(label="kind", positive=positive).select(batch, "documents", totals(batch))


# -- hostile text -------------------------------------------------------------------------------------------------------------------

HOSTILE = [
    "</s>",
    "__label__positive",
    "__label__cc",
    "____label____label__",
    "__label____label__x",
    "<</s>/s>",
    "\0</s>\0",
    "</s\n>",
    "</s>" * 3,
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("newline", [" ", ""])
def test_no_text_holds_a_mark_of_fasttexts(hostile: str, newline: str):
    texts = [f"{hostile}", f"a {hostile} b", f"a\n{hostile}\nb", f"x{hostile}y {hostile}"]
    for line in fasttext_model.one_line(batch_of(texts), newline).to_pylist():
        assert line.count("\n") == 1
        assert line.endswith("\n")
        for token in line.encode().split():
            assert token != b"</s>"
            assert not token.startswith(b"__label__")


@given(st.lists(st.text("</s>_label \n\0", max_size=40), max_size=5))
def test_no_text_at_all_holds_a_mark(texts: list[str]):
    lines = fasttext_model.one_line(batch_of(texts), "").to_pylist()
    assert [len(line) for line in lines] == [len(t) - t.count("\n") + 1 for t in texts]
    tokens = [token for line in lines for token in line.replace("\0", " ").split()]
    assert not [t for t in tokens if t == "</s>" or t.startswith("__label__")]


def test_text_behind_a_mark_counts(model: tuple[Model, dict[str, Any]]):
    good, plain = pages(11, GOOD, 1)[0], pages(12, PLAIN, 1)[0]
    for hostile in HOSTILE:
        high, low = scores(model[0], [f"{hostile} {good}", f"{hostile} {plain}"])
        assert high > 0.5 > low


def test_marks_make_no_labels_and_end_no_document_in_training(tmp_path: Path):
    positives = [f"</s> __label__other {t} </s> tail" for t in pages(1, GOOD, 60)]
    model, card = trained(tmp_path, Train(**SMALL), positives, pages(2, PLAIN, 60))
    loaded = fasttext_model.load(model)
    assert sorted(fasttext_model.labels_of(loaded)) == ["negative", "positive"]
    assert "tail" in loaded.get_words()
    assert card["auc"] > 0.9


# -- the process that trains --------------------------------------------------------------------------------------------------------

LONG = """
import sys
import pyarrow as pa
from classifiers import fasttext_model
lines = pa.array(["a b c d e f g h\\n"] * 10_000, pa.large_string())
labels = pa.array(["one", "two"] * 5_000)
fasttext_model.train([(labels, lines)], sys.argv[1], epoch=100_000, lr=0.001)
"""


def children(pid: int) -> list[int]:
    """Of a process, those that have not ended."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = place.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(place.parent.name))
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_training_ends_with_the_process_that_asked_for_it(how: signal.Signals, tmp_path: Path):
    root = Path(__file__).parents[2]
    run = subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path / "model.bin")], cwd=root, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (found := children(run.pid)) and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.1)
        assert len(found) == 1
        time.sleep(3)  # it is in fastText's code then
        assert runs(found[0])
        run.send_signal(how)
        run.wait(5)
        deadline = time.monotonic() + 5
        while runs(found[0]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not runs(found[0])
    finally:
        run.kill()
        run.wait()
    if how == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []


def test_weights_that_overflow_are_named(tmp_path: Path):
    with pytest.raises(CurateError, match=r"fastText could not learn from \d+ examples: Encountered NaN.*a lower lr may help"):
        trained(tmp_path, Train(**{**SMALL, "lr": 1e30}), pages(1, GOOD, 60), pages(2, PLAIN, 60))


@pytest.mark.parametrize(
    ("does", "message"),
    [("kill -9 $$", "ended by SIGKILL: memory may have run out"), ("echo no such thing; exit 7", "with status 7: no such thing")],
)
def test_a_training_that_dies_is_an_error(does: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{does}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(CurateError, match=message):
        trained(tmp_path / "model", Train(**SMALL), pages(1, GOOD, 60), pages(2, PLAIN, 60))


# -- what cannot be -----------------------------------------------------------------------------------------------------------------


def test_too_few_positives_are_counted(tmp_path: Path):
    with pytest.raises(CurateError, match=r"19 documents of the role positives.*at least 20"):
        trained(tmp_path, Train(**SMALL), pages(1, GOOD, 19), pages(2, PLAIN, 60))
    with pytest.raises(CurateError, match=r"0 documents of the role positives have min_chars = 1000"):
        trained(tmp_path, Train(), pages(1, GOOD, 200), pages(2, PLAIN, 60))


@pytest.mark.parametrize(("count", "values", "positives"), [(9, ["page", "host"], 29), (10, ["page"], 10)])
def test_a_further_value_is_positive_only_where_the_first_is_rare(count: int, values: list[str], positives: int, tmp_path: Path):
    kinds = ["page"] * count + ["host"] * 20 + ["no"] * 40
    batch = batch_of(pages(3, ("x",), len(kinds)), referenced=pa.array(kinds))
    trainer = Train(**{**SMALL, "min_positives": 10}, label="referenced", positive="page", further="host", balance=False)
    card = trainer.train({"documents": [trainer.select(batch, "documents", totals(batch))]}, str(tmp_path))
    assert card["positive_values"] == values
    assert card["selected"] == {"further": 20, "negative": 40, "positive": count}
    assert card["train"]["positive"] + card["held_out"]["positive"] == positives
    assert card["train"]["negative"] + card["held_out"]["negative"] == len(kinds) - positives


def test_one_class_is_not_enough(tmp_path: Path):
    with pytest.raises(CurateError, match=r"60 positives, and 0 documents of the role negatives"):
        trained(tmp_path, Train(**SMALL), pages(1, GOOD, 60), [])
    with pytest.raises(CurateError, match=r"0 documents of the role positives"):
        trained(tmp_path, Train(**SMALL), [], pages(1, GOOD, 60))
    trainer = Train(**SMALL, label="kind", positive=True)
    batch = batch_of(pages(1, GOOD, 60), kind=pa.array([True] * 60))
    with pytest.raises(CurateError, match=r"60 positives, and 0 documents with another value of kind"):
        trainer.train({"documents": [trainer.select(batch, "documents", totals(batch))]}, str(tmp_path))
    with pytest.raises(CurateError, match=r"0 documents with kind = True"):
        trainer.train({"documents": []}, str(tmp_path))


def test_a_part_without_a_class_is_named(tmp_path: Path):
    with pytest.raises(CurateError, match=r"the held-out part has 0 positives and 0 negatives.*held_out = 1e-06"):
        trained(tmp_path, Train(**SMALL, held_out=1e-6), pages(1, GOOD, 30), pages(2, PLAIN, 30))


def test_documents_without_words_cannot_be_learnt_from(tmp_path: Path):
    with pytest.raises(CurateError, match="no word that occurs min_count = 1 times"):
        trained(tmp_path, Train(**SMALL), [" \n "] * 60, [""] * 60)


def test_more_words_than_fasttext_holds_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fasttext_model, "_MOST_WORDS", 29)
    with pytest.raises(CurateError, match=r"30 distinct words; fastText takes 29\. Raise min_count"):
        trained(tmp_path, Train(**SMALL), pages(1, GOOD, 60), pages(2, PLAIN, 60))


def test_rare_words_are_not_learnt(tmp_path: Path):
    positives = [f"{t} once{n}" for n, t in enumerate(pages(1, GOOD, 60))]
    model, _ = trained(tmp_path, Train(**SMALL, min_count=2), positives, pages(2, PLAIN, 60))
    assert sorted(fasttext_model.load(model).get_words()) == sorted(["</s>", *GOOD, *PLAIN, *BOTH])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": None}, "exactly one of threshold and retain"),
        ({"retain": 0.1}, "exactly one of threshold and retain"),
        ({"label": "kind"}, "label and positive go together"),
        ({"positive": True}, "label and positive go together"),
        ({"held_out": 0.0}, "held_out: expected a share"),
        ({"threshold": None, "retain": 1.5}, "retain: expected a share"),
        ({"dim": 0}, "dim: expected 1 or more"),
        ({"seed": -1}, "seed: expected 0 to"),
        ({"lr": 0.0}, "lr: expected more than 0"),
        ({"lr": float("nan")}, "lr: expected more than 0"),
        ({"lr": float("inf")}, "lr: expected more than 0"),
        ({"bucket": -1}, "bucket: expected 0 or more"),
        ({"min_chars": -1}, "min_chars: expected 0 or more"),
        ({"threshold": 1.5}, "threshold: expected a probability between 0 and 1"),
        ({"threshold": -0.1}, "threshold: expected a probability between 0 and 1"),
        ({"word_ngrams": 2, "bucket": 1000}, "bucket: expected 86,508 or more for dim 100"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=message):
        Train(**given)


def test_a_label_that_a_model_does_not_have_is_named_before_the_run(model: tuple[Model, dict[str, Any]], tmp_path: Path):
    Score(model[0]).check()
    Score(Model("", "", "trained")).check()
    with pytest.raises(CurateError, match=r"has the labels negative, positive; positive = 'wiki' is none of them"):
        Score(model[0], positive="wiki").check()
    bare = tmp_path / "bare.bin"  # a model without a card
    bare.write_bytes(Path(fasttext_model.file_of(model[0])).read_bytes())
    with pytest.raises(CurateError, match="positive = 'wiki' is none of them"):
        Score(Model(str(bare)), positive="wiki").check()
    assert Score(Model(str(bare))).scorer.positive == "positive"
    np.testing.assert_allclose(scores(Model(str(bare)), ["a b"], positive="negative"), 1 - scores(model[0], ["a b"]), atol=1e-6)


def three(folder: Path) -> Model:
    from language_model import train

    return Model(train(folder))


def test_of_a_model_with_many_labels_one_must_be_named(tmp_path: Path):
    model = three(tmp_path)
    with pytest.raises(CurateError, match="name the one that is wanted as `positive`"):
        Score(model).check()
    Score(model, positive="de").check()
    texts = ["she had been reading", "der fluss stand still", ""]
    parts = [scores(model, texts, positive=label) for label in ("en", "de", "fr")]
    np.testing.assert_allclose(np.sum(parts, axis=0), 1, atol=1e-3)
    assert parts[0][0] > 0.5 < parts[1][1]


def test_a_model_whose_numbers_are_no_probabilities_is_refused(model: tuple[Model, dict[str, Any]], tmp_path: Path):
    raw = bytearray(Path(fasttext_model.file_of(model[0])).read_bytes())
    raw[-64:] = np.full(16, np.nan, np.float32).tobytes()  # of the output matrix
    (tmp_path / "model.bin").write_bytes(raw)
    with pytest.raises(CurateError, match=r"model\.bin: fastText: Encountered NaN"):
        fasttext_model.load(Model(str(tmp_path)))


def test_a_library_whose_probabilities_do_not_add_up_is_refused(model: tuple[Model, dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    def doubled(loaded: Any, lines: pa.Array, count: int = 1) -> Any:
        labels, found = real(loaded, lines, count)
        return labels, [s * 2 for s in found]

    real = fasttext_model.predict
    monkeypatch.setattr(fasttext_model, "predict", doubled)
    with pytest.raises(CurateError, match="probabilities do not add up to 1"):
        fasttext_model.load(model[0])


@pytest.mark.parametrize("text", ["{", "[]", "\xff", '{"threshold": true}', '{"threshold": null}', "{}"])
def test_a_card_that_says_no_threshold_is_named(text: str, tmp_path: Path):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(CurateError, match=r"card"):
        Keep(least=None, model=Model(str(tmp_path))).check()


def test_a_threshold_is_given_or_the_models():
    for wrong in ({"least": None}, {"least": 0.5, "model": Model("a")}):
        with pytest.raises(RecipeError, match="exactly one of least and model"):
            Keep(**wrong)  # type: ignore[arg-type]
    Keep(least=None, model=Model("", "", "trained")).check()
    for outside in (-0.01, 1.01, 25.0, float("nan")):
        with pytest.raises(RecipeError, match="least: expected a probability between 0 and 1"):
            Keep(least=outside)
    assert [Keep(least=bound).threshold for bound in (0.0, 1.0)] == [0.0, 1.0]


# -- the measures -------------------------------------------------------------------------------------------------------------------

few = st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1, width=32), min_size=1, max_size=30)


@given(few, few)
def test_the_area_is_the_share_of_pairs_in_order(positives: list[float], negatives: list[float]):
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    p, n = np.array(positives, np.float32), np.array(negatives, np.float32)
    assert held_out.auc(p, n) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    low, high = held_out.interval(held_out.auc(p, n), len(p), len(n))
    assert 0 <= low <= held_out.auc(p, n) <= high <= 1


def test_the_interval_is_that_of_hanley_and_mcneil():
    """Worked by hand: an area of 0.8 of ten and ten has Q1 = 2/3, Q2 = 0.7111 and a variance of (0.16 + 0.24 + 0.64) / 100."""
    low, high = held_out.interval(0.8, 10, 10)
    assert (low, high) == pytest.approx((0.8 - 1.96 * 0.0104**0.5, 0.8 + 1.96 * 0.0104**0.5))


def test_the_interval_is_as_wide_as_areas_of_exponential_scores_scatter():
    """The formula is exact for them; the classes differ in size, so that each has its own part in it."""
    rng = np.random.default_rng(0)
    areas = [held_out.auc(rng.exponential(4, 20), rng.exponential(1, 60)) for _ in range(3000)]
    low, high = held_out.interval(0.8, 20, 60)
    assert np.mean(areas) == pytest.approx(0.8, abs=0.005)
    assert np.std(areas) == pytest.approx((high - low) / 2 / 1.96, rel=0.05)


def test_an_area_of_one_is_not_certain():
    assert held_out.interval(1.0, 10, 500) == (0.7, 1.0)
    assert held_out.interval(0.0, 500, 10) == (0.0, 0.3)


@given(few, few, st.floats(0, 1))
def test_what_a_threshold_keeps(positives: list[float], negatives: list[float], threshold: float):
    found = held_out.kept(np.array(positives), np.array(negatives), threshold)
    p, n = [v for v in positives if v >= threshold], [v for v in negatives if v >= threshold]
    assert found["positives"] == len(p) / len(positives)
    assert found["negatives"] == len(n) / len(negatives)
    assert found["precision"] == (len(p) / (len(p) + len(n)) if p or n else None)


@given(few, st.floats(0.001, 0.999))
def test_a_threshold_for_a_share_keeps_no_fewer_and_only_ties_more(values: list[float], share: float):
    array = np.array(values, np.float32)
    threshold = held_out.threshold_that_retains(array, share)
    wanted = max(1, round(share * len(values)))
    assert (array > threshold).sum() < wanted <= (array >= threshold).sum()


# -- the highest --------------------------------------------------------------------------------------------------------------------


def top(stage: Top, batches: Sequence[Batch]) -> list[bool]:
    """The barrier in one partition."""
    keys = [pa.Table.from_batches([stage.emit(b)]).rename_columns(named(stage)) for b in batches]
    verdict = stage.settle(pa.concat_tables([stage.reduce(k) for k in keys]))
    return [bool(x) for b in batches for x in stage.apply(b, verdict)[f"low_{stage.column}"].passed]  # type: ignore[index, union-attr]


def named(stage: Top) -> list[str]:
    return ["key", "doc", "rank", *(["group"] if stage.by else [])]


def scored(values: Sequence[float | None], prefix: str = "web/a", **columns: pa.Array) -> Batch:
    return batch_of(["t"] * len(values), prefix, quality=pa.array(values, pa.float64()), **columns)


odd = st.sampled_from([0.0, -0.0, 0.5, 1.0, None, float("nan"), float("inf"), -float("inf"), 1e-300]) | st.floats(allow_nan=False)


@settings(deadline=None)
@given(st.lists(odd, min_size=1, max_size=60), st.integers(1, 20))
def test_exactly_the_share_with_the_highest_scores_stays(values: list[float | None], parts: int):
    passed = top(Top(share=parts / 20), [scored(values)])
    assert sum(passed) == -(-len(values) * parts // 20)
    number = [-np.inf if v is None or np.isnan(v) else v for v in values]
    missing = [v is None or np.isnan(v) for v in values]
    kept = [(not m, n) for m, n, p in zip(missing, number, passed, strict=True) if p]
    dropped = [(not m, n) for m, n, p in zip(missing, number, passed, strict=True) if not p]
    assert not dropped or min(kept) >= max(dropped)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["en", "de", None, ""]), st.integers(0, 3)), min_size=1, max_size=60))
def test_each_value_of_a_column_keeps_its_share(rows: list[tuple[str | None, int]]):
    languages = [language for language, _ in rows]
    passed = top(Top(share=0.3, by="language"), [scored([v for _, v in rows], language=pa.array(languages, pa.string()))])
    for group in ("en", "de", ""):
        mine = [p for p, language in zip(passed, languages, strict=True) if (language or "") == group]
        assert sum(mine) == -(-len(mine) * 3 // 10)


def test_ties_are_broken_alike_however_documents_are_dealt():
    values = [0.5] * 100
    whole = scored(values)
    one = top(Top(share=0.37), [whole])
    assert sum(one) == 37
    order = np.random.default_rng(0).permutation(100)
    moved = Batch.of(whole.data.take(pa.array(order)))
    cut = [Batch.of(moved.data.slice(first, 7)) for first in range(0, 100, 7)]
    assert top(Top(share=0.37), cut) == [one[n] for n in order]


@given(st.lists(st.floats(allow_nan=False), min_size=2))
def test_ranks_stand_in_the_order_of_numbers(values: list[float]):
    ranks = in_order(np.array(values))
    for a, ra in zip(values, ranks, strict=True):
        for b, rb in zip(values, ranks, strict=True):
            assert (a < b) == (ra < rb)


whole = st.integers(0, 2**64 - 1) | st.integers(0, 3)


@settings(deadline=None)
@given(st.lists(st.tuples(whole, whole, st.integers(0, 2)), min_size=1, max_size=40, unique=True), st.data())
def test_the_limit_of_the_highest_is_that_of_a_sort(rows: list[tuple[int, int, int]], data: st.DataObject):
    groups = sorted({g for _, _, g in rows})
    of = [sorted(((r, k) for r, k, g in rows if g == group), reverse=True) for group in groups]
    wanted = [data.draw(st.integers(1, len(pairs))) for pairs in of]
    cut = data.draw(st.integers(0, len(rows)))
    pieces = [tuple(np.array(c, np.uint64) for c in zip(*part, strict=True)) for part in (rows[:cut], rows[cut:]) if part]
    rank, key = highest(pieces, np.array(groups, np.uint64), np.array(wanted))  # type: ignore[arg-type]
    for pairs, count, limit in zip(of, wanted, zip(rank.tolist(), key.tolist(), strict=True), strict=True):
        assert [pair for pair in pairs if pair >= limit] == pairs[:count]


def test_a_share_is_of_all_or_less():
    for wrong in (0.0, 1.01, -1.0):
        with pytest.raises(RecipeError, match="share: expected"):
            dataclasses.replace(Top(), share=wrong)


def test_a_rare_class_is_not_thinned_with_the_others():
    """Of 40,000 pages 50 are wanted: all of them are selected, and of the others no more than a sample."""
    kinds = ["page" if n % 800 == 0 else "no" for n in range(40_000)]
    batch = batch_of(["some words"] * len(kinds), referenced=pa.array(kinds))
    trainer = Train(label="referenced", positive="page", examples=100, min_chars=0)
    known = Totals(len(batch), int(batch.size.sum()), {"page": 50, "no": len(kinds) - 50})
    found = trainer.select(batch, "documents", known)["label"].to_pylist()
    assert found.count("positive") == 50
    assert 100 <= found.count("negative") <= 250
