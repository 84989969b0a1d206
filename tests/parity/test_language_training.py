"""Training a model of languages: lid.176's settings, on documents whose language is known."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from language_model import SENTENCES, UNSEEN

from classifiers import fasttext_model
from classifiers.language import FastText, Train
from curate.batch import Batch
from curate.errors import CurateError, RecipeError
from curate.stage import Model, Totals

SETTINGS: dict[str, Any] = {"bucket": 540_700, "epoch": 20, "lr": 0.5}


def batch_of(texts: list[str], languages: list[str | None]) -> Batch:
    ids = pa.array([f"web/a:{n}" for n in range(len(texts))], pa.string())
    data = {"id": ids, "text": pa.array(texts, pa.large_string()), "language": pa.array(languages, pa.string())}
    return Batch.of(pa.record_batch(data))


def corpus() -> Batch:
    """Halves of sentences, put together at random."""
    rng = random.Random(0)
    rows = []
    for language, sentences in SENTENCES.items():
        halves = [" ".join(s.split()[at : at + 5]) for s in sentences for at in (0, 5)]
        rows += [("\n".join(rng.choice(halves) for _ in range(3)), language) for _ in range(60)]
    rng.shuffle(rows)
    return batch_of([t for t, _ in rows], [language for _, language in rows])


def totals(batch: Batch) -> Totals:
    return Totals(len(batch), int(batch.size.sum()))


def trained(folder: Path, trainer: Train, batch: Batch) -> tuple[Model, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    thirds = [batch.where(np.arange(len(batch)) % 3 == n) for n in range(3)]
    selected = [trainer.select(part, "documents", totals(batch)) for part in thirds]
    return Model(str(folder)), trainer.train({"documents": selected}, str(folder))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, dict[str, Any]]:
    return trained(tmp_path_factory.mktemp("model"), Train(**SETTINGS), corpus())


def test_the_settings_are_those_of_lid_176():
    t = Train()
    assert (t.dim, t.minn, t.maxn, t.loss) == (16, 2, 4, "hs")


def test_a_trained_model_identifies_sentences_that_it_has_not_seen(model: tuple[Model, dict[str, Any]]):
    stage = FastText(model[0])
    stage.check()
    found = stage.apply(batch_of(list(UNSEEN.values()), [None] * len(UNSEEN)))
    assert found["language"].to_pylist() == list(UNSEEN)
    scores = found["language_score"].to_numpy()
    assert ((scores > 0.5) & (scores <= 1)).all()


def test_a_card_says_how_many_of_each_language_and_how_many_were_right(model: tuple[Model, dict[str, Any]]):
    card = model[1]
    assert card["labels"] == ["de", "en", "fr"]
    assert card["train"] + card["held_out"] == 180
    assert 5 <= card["held_out"] <= 40
    for language in card["labels"]:
        own = card["languages"][language]
        assert own["train"] + own["held_out"] == 60
    right = sum(own["held_out"] * (own["accuracy"] or 0) for own in card["languages"].values())
    assert card["accuracy"] == pytest.approx(right / card["held_out"])
    assert card["accuracy"] > 0.9
    json.dumps(card, allow_nan=False)


def test_training_gives_the_same_bytes_twice(model: tuple[Model, dict[str, Any]], tmp_path: Path):
    again, card = trained(tmp_path / "again", Train(**SETTINGS), corpus())
    first, second = (hashlib.sha256(Path(fasttext_model.file_of(m)).read_bytes()).hexdigest() for m in (model[0], again))
    assert first == second
    assert card == model[1]


def test_the_first_characters_of_documents_with_a_language_are_learnt():
    batch = batch_of(["ab\ncdéf", "g", "h", "i"], ["en", None, "", "de"])
    for newline, text in (("delete", "abcdé\n"), ("space", "ab cdé\n")):
        trainer = Train(chars=6, newline=newline)  # type: ignore[arg-type]
        found = trainer.select(batch, "documents", totals(batch)).to_pylist()
        assert [(row["label"], row["text"]) for row in found] == [("en", text), ("de", "i\n")]


def test_of_many_documents_a_sample_is_learnt_from():
    batch = batch_of([f"t{n}" for n in range(10_000)], ["en", "de"] * 5000)
    assert 400 < len(Train(examples=500).select(batch, "documents", totals(batch))) < 600


def test_rare_languages_are_left_out(tmp_path: Path):
    batch = batch_of(["some words"] * 20 + ["ein paar"] * 20 + ["deux mots"] * 3, ["en"] * 20 + ["de"] * 20 + ["fr"] * 3)
    model, card = trained(tmp_path, Train(**SETTINGS), batch)
    assert card["left_out"] == {"fr": 3}
    assert sorted(fasttext_model.labels_of(fasttext_model.load(model))) == ["de", "en"]
    with pytest.raises(CurateError, match=r"1 languages with min_examples = 10 documents or more.*de \(2\), en \(20\)"):
        trained(tmp_path, Train(), batch_of(["words"] * 22, ["en"] * 20 + ["de"] * 2))
    with pytest.raises(CurateError, match="found: none"):
        trained(tmp_path, Train(), batch_of([], []))


@pytest.mark.parametrize("language", ["en us", "__label__en", "e\nn", "\x00"])
def test_a_language_that_can_be_no_label_is_named(language: str):
    batch = batch_of(["text"], [language])
    with pytest.raises(CurateError, match="column language holds"):
        Train().select(batch, "documents", totals(batch))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bucket": 1000}, "bucket: expected 540,672 or more for dim 16"),
        ({"held_out": 1.0}, "held_out: expected a share"),
        ({"examples": 0}, "examples: expected 1 or more"),
        ({"seed": 2**31}, "seed: expected 0 to"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=message):
        Train(**given)
