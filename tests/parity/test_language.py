"""Language identification: a model of our own whose answers are known, and lid.176 where it lies."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import language_model
import numpy as np
import pyarrow as pa
import pytest

from classifiers import fasttext_model
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


# -- models that are cut off or garbled ---------------------------------------------------------------------------------------------

DICTIONARY, ENTRIES = 64, 92  # where fastText's dictionary begins, and its first entry: 14 int32 and a double; 3 int32 and 2 int64
KINDS: dict[str, dict[str, Any]] = {
    "dense": {},
    "quantized": {"qnorm": False},
    "norms": {"qnorm": True, "dsub": 3},
    "output": {"qnorm": True, "qout": True},
    "pruned": {"cutoff": 300, "qnorm": True, "qout": True},
}
WHOLE_LABELS = 300  # fastText quantizes matrices of 256 rows or more


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of each kind of matrix, the pruned one with n-grams."""
    import fasttext

    folder = tmp_path_factory.mktemp("whole")
    names = [f"l{n}" for n in range(WHOLE_LABELS)]
    lines = fasttext_model.one_line(batch_of([f"word{n} thing{n // 2} a b c" for n in range(WHOLE_LABELS)]), " ")
    found = {}
    for kind, options in KINDS.items():
        ngrams = {"dim": 64, "minn": 2, "maxn": 3, "bucket": 140_000} if kind == "pruned" else {"dim": 8}
        path = folder / f"{kind}.bin"
        fasttext_model.train([(pa.array(names), lines)], str(path), epoch=3, **ngrams)
        if options:
            model = fasttext.load_model(str(path))
            model.quantize(input=None, **options)
            model.save_model(str(path))
        found[kind] = path
    return found


def refused(raw: bytes, path: Path) -> str:
    """The message, which is one, names the file, and comes at once."""
    path.write_bytes(raw)
    began = time.monotonic()
    with pytest.raises(CurateError) as before:
        FastText(Model(str(path))).check()
    assert time.monotonic() - began < 2
    with pytest.raises(CurateError) as at_load:
        _ = FastText(Model(str(path))).loaded
    message = str(before.value)
    assert message == str(at_load.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_model_is_known_by_its_labels(kind: str, whole: dict[str, Path]):
    labels = fasttext_model.check(Model(str(whole[kind])))
    assert sorted(labels) == sorted(f"l{n}" for n in range(WHOLE_LABELS))
    assert labels == fasttext_model.labels_of(fasttext_model.load(Model(str(whole[kind]))))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_is_cut_anywhere_is_refused(kind: str, whole: dict[str, Path], tmp_path: Path):
    raw = whole[kind].read_bytes()
    behind = raw.rindex(b"__label__") + 200  # in the first matrix, or in the table of n-grams
    places = [*range(ENTRIES + 30), *range(behind - 200, behind), *range(behind, len(raw), max(1, len(raw) // 150)), len(raw) - 1]
    for size in places:
        message = refused(raw[:size], tmp_path / "cut.bin")
        assert "is cut off or damaged" in message if size >= 4 else "is no fastText model" in message
    for more in (b"\0", b"\0" * 4096):
        assert f"{len(raw) + len(more):,} bytes, expected {len(raw):,}" in refused(raw + more, tmp_path / "cut.bin")


def test_a_model_whose_numbers_are_garbled_is_refused(own: str, tmp_path: Path):
    raw = Path(own).read_bytes()
    numbers = {"version": 4, "dim": 8, "loss": 32, "kind": 36, "size": DICTIONARY, "words": DICTIONARY + 4, "labels": DICTIONARY + 8}
    for name, place in numbers.items():
        for value in (-1, 0, 13, 2**31 - 1, -(2**31)):
            garbled = raw[:place] + struct.pack("<i", value) + raw[place + 4 :]
            assert "is cut off or damaged" in refused(garbled, tmp_path / f"{name}.bin")
    matrix = raw.rindex(b"__label__") + 11 + 10 + 1  # behind the last entry's text, zero, count and kind, and one flag
    assert struct.unpack_from("<q", raw, matrix + 8) == (language_model.DIM,)
    for place in (DICTIONARY + 20, matrix, matrix + 8):
        for value in (-2, 2**40, 2**63 - 1, -(2**63)):
            garbled = raw[:place] + struct.pack("<q", value) + raw[place + 8 :]
            assert "is cut off or damaged" in refused(garbled, tmp_path / "garbled.bin")
    for place, value in ((matrix - 1, 2), (matrix - 2, 0), (ENTRIES + 5 + 8, 1)):  # a flag; the kinds of the last label and of </s>
        assert "is cut off or damaged" in refused(raw[:place] + bytes([value]) + raw[place + 1 :], tmp_path / "garbled.bin")


def test_word_vectors_are_no_model_of_labels(own: str, tmp_path: Path):
    raw = Path(own).read_bytes()
    for kind in (1, 2):  # fastText's cbow and skipgram
        assert "holds word vectors and no labels" in refused(raw[:36] + struct.pack("<i", kind) + raw[40:], tmp_path / "vectors.bin")


def test_n_grams_without_rows_for_them_are_refused(own: str, tmp_path: Path):
    """fastText divides by their number."""
    raw = Path(own).read_bytes()
    for place, value in ((28, 3), (48, 3), (48, -1)):  # wordNgrams, maxn
        assert "its header makes no sense" in refused(raw[:place] + struct.pack("<i", value) + raw[place + 4 :], tmp_path / "ngrams.bin")


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
