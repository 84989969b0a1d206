"""Language identification: a model of our own whose answers are known, and lid.176 where it lies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import language_model
import numpy as np
import pyarrow as pa
import pytest

from classifiers.language import FastText, Keep
from curate.batch import Batch
from curate.errors import CurateError
from curate.stage import Model

ROOT = Path(__file__).parents[2]
LANGID = ROOT.parent / "shared/corpus/langid/lingua_testdata"
PLACES = [Path(p) for p in [os.environ.get("CURATE_LID", "")] if p] + [ROOT / "sample/models/lid.176.ftz"]

# sentences of our own, without names or words that several languages share
KNOWN = {
    "en": "The committee has not yet decided whether the meeting should be held in the spring or in the autumn.",
    "fr": "Le comité n'a pas encore décidé si la réunion devait avoir lieu au printemps ou en automne.",
    "de": "Der Ausschuss hat noch nicht entschieden, ob die Sitzung im Frühling oder im Herbst stattfinden soll.",
    "es": "El comité todavía no ha decidido si la reunión debe celebrarse en primavera o en otoño.",
    "it": "Il comitato non ha ancora deciso se la riunione debba tenersi in primavera o in autunno.",
    "nl": "De commissie heeft nog niet besloten of de vergadering in het voorjaar of in het najaar moet plaatsvinden.",
    "ru": "Комитет ещё не решил, должно ли заседание состояться весной или осенью.",
    "el": "Η επιτροπή δεν έχει αποφασίσει ακόμη αν η συνεδρίαση θα γίνει την άνοιξη ή το φθινόπωρο.",
    "ja": "委員会は、会議を春に開くか秋に開くかをまだ決めていません。",
    "zh": "委员会还没有决定会议应该在春天还是在秋天举行。",
    "ko": "위원회는 회의를 봄에 열지 가을에 열지 아직 결정하지 않았다.",
    "ar": "لم تقرر اللجنة بعد ما إذا كان ينبغي عقد الاجتماع في الربيع أم في الخريف.",
}


def batch_of(texts: Sequence[str]) -> Batch:
    ids = [str(n) for n in range(len(texts))]
    return Batch.of(pa.record_batch({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.large_string())}))


def identified(stage: FastText, texts: Sequence[str]) -> tuple[list[str], np.ndarray[Any, Any]]:
    batch = stage.apply(batch_of(texts))
    return batch["language"].to_pylist(), batch["language_score"].to_numpy()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    return language_model.train(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def lid() -> FastText:
    found = next((p for p in PLACES if p.is_file()), None)
    if found is None:
        pytest.skip(f"no lid.176 model: set CURATE_LID, or `curate sample` {PLACES[-1].parents[1].name}")
    return FastText(Model(str(found)))


# -- with our own model -------------------------------------------------------------------------------------------------------------


def test_sentences_that_the_model_has_not_seen_get_their_language(own: str):
    languages, scores = identified(FastText(Model(own)), list(language_model.UNSEEN.values()))
    assert languages == list(language_model.UNSEEN)
    assert (scores > 0.5).all()


def test_labels_and_scores_are_those_of_fasttext_itself(own: str):
    import fasttext

    texts = [s for sentences in language_model.SENTENCES.values() for s in sentences] + ["", "?", "qqq the der"]
    labels, probabilities = fasttext.load_model(own).predict(texts)
    languages, scores = identified(FastText(Model(own)), texts)
    assert languages == [label[0].removeprefix("__label__") for label in labels]
    np.testing.assert_array_equal(scores, [min(p[0], np.float32(1)) for p in probabilities])


def test_scores_are_probabilities(own: str):
    texts = [s * n for sentences in language_model.SENTENCES.values() for s in sentences for n in (1, 50)]
    _, scores = identified(FastText(Model(own)), [*texts, "", "\x00", "👩\u200d💻", " ", "0"])
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()


def test_line_feeds_are_deleted_as_ccnet_does_or_become_spaces(own: str):
    lines, glued, spaced = "le matin\nwas kalt\nund", "le matinwas kaltund", "le matin was kalt und"
    deleting, spacing = FastText(Model(own)), FastText(Model(own), newline="space")
    assert identified(deleting, [lines]) == identified(deleting, [glued])
    assert identified(spacing, [lines]) == identified(spacing, [spaced])
    assert identified(deleting, [lines])[1] != identified(spacing, [lines])[1]


def test_the_model_does_not_travel_with_the_stage(own: str):
    stage = FastText(Model(own))
    assert stage.loaded is stage.loaded
    assert set(stage.__getstate__()) == {"model", "newline"}


def test_a_file_that_is_no_model_is_named(tmp_path: Path):
    (tmp_path / "lid.bin").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(CurateError, match=r"lid\.bin is a Git LFS pointer"):
        _ = FastText(Model(str(tmp_path / "lid.bin"))).loaded


# -- the choice by score ------------------------------------------------------------------------------------------------------------


def kept(stage: Keep) -> dict[str, list[bool]]:
    batch = batch_of("abcd").with_column("language", pa.array(["en", "en", "fr", ""]))
    batch = batch.with_column("language_score", np.array([0.5, 0.49, 0.9, 0.0], np.float32))
    checks = stage.keep(batch)
    return {rule: list(getattr(check, "passed", check)) for rule, check in checks.items()}


def test_the_least_score_is_kept_and_less_dropped():
    assert kept(Keep()) == {"unsure": [True, False, True, False]}
    assert kept(Keep(least=0.0)) == {"unsure": [True] * 4}


def test_the_score_is_rounded_to_two_decimals_before_it_is_compared():
    """CCNet's effective threshold: 0.495 is kept, 0.494 and 0.4949 are not."""
    batch = batch_of("abc").with_column("language", pa.array(["en"] * 3))
    batch = batch.with_column("language_score", np.array([0.495, 0.494, 0.4949], np.float64))
    assert [list(Keep(decimals=d).keep(batch)["unsure"].passed) for d in (2, None)] == [[True, False, False], [False] * 3]  # type: ignore[union-attr]


def test_other_languages_are_dropped_by_a_rule_of_their_own():
    assert kept(Keep(languages=("en",)))["other_language"] == [True, True, False, False]
    assert kept(Keep(languages=("en", "fr")))["other_language"] == [True, True, True, False]


def test_a_bound_that_32_bits_cannot_hold_is_inclusive_too():
    batch = batch_of("a").with_column("language", pa.array(["en"])).with_column("language_score", np.array([0.65], np.float32))
    check = Keep(least=0.65).keep(batch)["unsure"]
    assert list(check.passed) == [True]  # type: ignore[union-attr]


# -- with lid.176 -------------------------------------------------------------------------------------------------------------------


def test_lid_176_knows_these_sentences(lid: FastText):
    """Wrong labels or scores outside of [0, 1] are what a fastText built against another numpy gives."""
    languages, scores = identified(lid, list(KNOWN.values()))
    assert languages == list(KNOWN)
    assert ((scores > 0.5) & (scores <= 1)).all()


def test_lid_176_says_of_many_texts_what_it_says_of_each(lid: FastText):
    together = identified(lid, list(KNOWN.values()))
    alone = [identified(lid, [text]) for text in KNOWN.values()]
    assert together[0] == [languages[0] for languages, _ in alone]
    np.testing.assert_array_equal(together[1], [scores[0] for _, scores in alone])


@pytest.mark.skipif(not LANGID.is_dir(), reason="shared/corpus/langid is not here")
@pytest.mark.parametrize("language", ["en", "fr", "de", "es", "it", "pt", "nl", "ru", "pl", "sv", "tr", "ja", "ko", "zh", "ar", "th"])
def test_lid_176_knows_nearly_all_long_sentences_of_a_corpus(lid: FastText, language: str):
    lines = (LANGID / language / "sentences.txt").read_text("utf-8").splitlines()
    wide = 2 if language in ("ja", "ko", "zh", "th") else 1
    long = [line for line in lines if len(line) * wide >= 80][:200]
    assert len(long) > 50
    languages, scores = identified(lid, long)
    assert languages.count(language) / len(long) >= 0.97
    assert ((scores > 0) & (scores <= 1)).all()
