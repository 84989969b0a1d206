"""Perplexity: against SentencePiece and KenLM themselves on models made here, hostile models, buckets, and training."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import kenlm
import language_model
import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
import support
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import kenlm_model, kenlm_training
from classifiers.normalise import normalise
from classifiers.perplexity import Buckets, Keep, KenLM, Published, Train
from curate.batch import Batch
from curate.errors import CurateError, RecipeError
from curate.stage import Model, Totals

HOSTILE = Path(__file__).parents[3] / "shared/corpus/models/kenlm"
TOTALS = Totals(1, 1)


def batch_of(texts: list[str], language: list[str | None] | str = "en", **columns: pa.Array) -> Batch:
    languages = [language] * len(texts) if isinstance(language, str) else language
    ids = pa.array([f"web:{n}" for n in range(len(texts))], pa.string())
    data = {"id": ids, "text": pa.array(texts, pa.large_string()), "language": pa.array(languages, pa.string()), **columns}
    return Batch.of(pa.record_batch(data))


def corpus() -> Batch:
    """English prose of few words, and German sentences in every order of three."""
    english = [support.prose(random.Random(n), 100) for n in range(250)]
    rng = random.Random(1)
    german = [". ".join(rng.sample(language_model.SENTENCES["de"], 3)).capitalize() + "." for _ in range(200)]
    return batch_of(english + german, ["en"] * len(english) + ["de"] * len(german))


SMALL: dict[str, Any] = {"pieces": 300, "order": 3, "estimator": "own", "memory": 1e7}


def trained(folder: Path, batch: Batch, **changes: Any) -> dict[str, Any]:
    stage = Train(**{**SMALL, **changes})
    stage.check()
    return stage.train({"documents": [stage.select(batch, "documents", TOTALS)]}, str(folder))


@pytest.fixture(scope="module")
def card_and_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("models")
    return trained(folder, corpus()), folder


@pytest.fixture(scope="module")
def models(card_and_models: tuple[dict[str, Any], Path]) -> Path:
    return card_and_models[1]


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    """Models that a test may damage."""
    return Path(shutil.copytree(models, tmp_path / "copy"))


def scored(stage: KenLM, batch: Batch) -> list[Any]:
    column = stage.apply(batch)["perplexity"]
    assert column.type == pa.float32()
    return column.to_pylist()  # type: ignore[no-any-return]


@pytest.fixture
def arpa(copy: Path) -> Path:
    """Models of which the English language model is an ARPA file."""
    stage, pieces = Train(**SMALL), kenlm_model.load_pieces(str(copy / "en.sp.model"))
    texts = kenlm_training.Texts([stage.select(corpus(), "documents", TOTALS)], "en", 2**64 - 1, kenlm_training.HELD_OUT_OF_FEW)
    (copy / "en.arpa.bin").unlink()
    kenlm_training.estimate((" ".join(pieces.encode(t, out_type=str)) for t in texts.learnt()), str(copy / "en.arpa"), str(copy), SMALL)
    return copy


def lm_of(models: Path) -> str:
    return str(models / "en.arpa.bin")


def same(found: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(np.array([np.nan if v is None else v for v in found], np.float32), np.array(expected, np.float32))


TEXTS = [
    support.prose(random.Random(1000), 120),
    "The harbour and the lantern.",
    "Grüße aus Köln: “naïve” — 1234…",
    "漢字かな交じり文。",
    "x" * 3000,
    "word " * 2000,
    "one\ntwo\n\nthree\n",
    "<s> and </s> and <unk> and ▁",
    "\U0001f600 \u200b \ufeff",
]


# -- scoring ------------------------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_sentencepiece_and_kenlm(models: Path):
    pieces, lm = sentencepiece.SentencePieceProcessor(model_file=str(models / "en.sp.model")), kenlm.Model(lm_of(models))
    expected = []
    for text in TEXTS:
        tokens = pieces.encode_as_pieces(normalise(text))
        expected.append(round(10.0 ** (-lm.score(" ".join(tokens)) / (len(tokens) + 1)), 1))
    same(scored(KenLM(Model(str(models))), batch_of(TEXTS)), expected)


@pytest.mark.parametrize(
    "settings_of_pieces",
    [
        {},
        {"model_type": "bpe", "normalization_rule_name": "identity"},
        {"byte_fallback": True},
        {"user_defined_symbols": ["river", "漢字"], "add_dummy_prefix": False, "remove_extra_whitespaces": False},
    ],
)
def test_pieces_are_those_of_sentencepiece_unknown_ones_too(settings_of_pieces: dict[str, Any]):
    """Of an unknown piece SentencePiece gives the characters, which a language model may know."""
    model = io.BytesIO()
    sentences = iter(corpus().text.to_pylist())
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=model, vocab_size=400, hard_vocab_limit=False, minloglevel=2, **settings_of_pieces
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pair = kenlm_model.Pair(processor, None, "")

    some = st.sampled_from("river stonéä漢字\U0001f600<>▁\u00a0\u200b")

    @given(st.text(st.one_of(some, st.characters(exclude_categories=("Cs",)))))
    def holds(text: str) -> None:
        expected = processor.encode(text, out_type=str)
        assert pair.encode(text.encode()) == (" ".join(expected).encode(), len(expected))

    holds()
    for text in TEXTS:
        holds.hypothesis.inner_test(text)  # type: ignore[attr-defined]


def test_the_formula():
    """10 to the -(-50) / 20 is 316.2."""

    class Fixed:
        def score(self, _: bytes) -> float:
            return -50.0

    class Nineteen(kenlm_model.Pair):
        def encode(self, _: bytes) -> tuple[bytes, int]:
            return b" ".join([b"p"] * 19), 19

    assert round(Nineteen(None, Fixed(), "").perplexity(kenlm_model.as_utf8("any"), "delete") or 0, 1) == 316.2


def test_line_feeds_are_deleted_as_ccnet_does_or_become_spaces_or_end_sentences(models: Path):
    text = "The river and the\nstone bridge.\n\nA winter morning\n"
    pieces, lm = sentencepiece.SentencePieceProcessor(model_file=str(models / "en.sp.model")), kenlm.Model(lm_of(models))

    def by_hand(lines: list[str]) -> float:
        tokens = [pieces.encode_as_pieces(line) for line in lines]
        return round(10.0 ** (-sum(lm.score(" ".join(t)) for t in tokens) / sum(len(t) + 1 for t in tokens)), 1)

    expected = {
        "delete": by_hand(["the river and thestone bridge.a winter morning"]),
        "space": by_hand(["the river and the stone bridge.  a winter morning"]),
        "lines": by_hand(["the river and the", "stone bridge.", "a winter morning"]),
    }
    assert len(set(expected.values())) == 3
    for newline, value in expected.items():
        same(scored(KenLM(Model(str(models)), newline=newline), batch_of([text])), [value])  # type: ignore[arg-type]


def test_documents_without_a_model_or_without_text_have_no_score(models: Path):
    batch = batch_of(["the river", "the river", "the river", "", "\n\x00 ", "\u200b"], ["en", "fr", None, "en", "en", "en"])
    found = scored(KenLM(Model(str(models))), batch)
    assert [v is None for v in found] == [False, True, True, True, True, True]


def test_a_language_that_is_a_path_finds_no_model(models: Path):
    odd = ["../en", str(models / "en"), "en\x00", "EN"]
    assert scored(KenLM(Model(str(models))), batch_of(["the river"] * 4, list(odd))) == [None] * 4


def test_each_document_is_scored_by_the_model_of_its_language_or_of_one_language(models: Path):
    english, german = support.prose(random.Random(7), 60), language_model.SENTENCES["de"][0]
    own = scored(KenLM(Model(str(models))), batch_of([english, german], ["en", "de"]))
    by_english = KenLM(Model(str(models)), language="en")
    assert by_english.reads == ()
    found = scored(by_english, batch_of([english, german], ["de", None]))
    assert found[0] == own[0]
    assert found[1] > 5 * own[1]


@pytest.mark.parametrize("order", [2, 3])
def test_long_texts_are_scored_in_parts_as_if_whole(models: Path, tmp_path: Path, order: int, monkeypatch: pytest.MonkeyPatch):
    folder = models
    if order == 2:
        trained(tmp_path, corpus(), order=2, languages=("en",))
        folder = tmp_path
    pair = kenlm_model.load(str(folder / "en.sp.model"), lm_of(folder), order)
    text = "  " + " ".join(normalise(support.prose(random.Random(n), 400)) for n in range(3)) + "   naïve\n\n café\n"
    whole = pair.score(text)
    for window in (20, 21, 100, 1000):
        monkeypatch.setattr(kenlm_model, "WINDOW", window)
        parts = pair.score(text)
        assert parts[1] == whole[1]
        assert parts[0] == pytest.approx(whole[0], rel=1e-5)


@given(st.text("ab \n", max_size=60), st.integers(1, 12))
def test_windows_hold_the_text_but_for_the_spaces_at_which_it_is_cut(text: str, size: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kenlm_model, "WINDOW", size)
        found = list(kenlm_model.windows(text))
    assert all(len(w) <= size for w in found)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
    if all(len(word) < size for word in text.split(" ")):
        assert " ".join(found) == text


# -- models that are none -----------------------------------------------------------------------------------------------------------


def refused(folder: Path, match: str, **parameters: Any) -> None:
    """Before anything starts, and where that was not asked, when it is loaded."""
    with pytest.raises(CurateError, match=match):
        KenLM(Model(str(folder)), **parameters).check()
    with pytest.raises(CurateError, match=match):
        KenLM(Model(str(folder)), **parameters).apply(batch_of(["the river"]))


def test_models_that_are_whole_pass(models: Path):
    KenLM(Model(str(models)), order=3).check()
    KenLM(Model(str(models)), language="de").check()
    KenLM(Model("")).check()  # trained in the run


def test_a_folder_without_models(tmp_path: Path):
    refused(tmp_path, r"expected a folder with en\.sp\.model and en\.arpa\.bin.*no such file")
    refused(tmp_path / "none", "No such file or directory")


def test_half_a_pair(copy: Path):
    Path(lm_of(copy)).unlink()
    refused(copy, r"en\.sp\.model is there without a language model")
    shutil.move(copy / "en.sp.model", copy / "x")
    (copy / "de.sp.model").unlink()
    refused(copy, r"de\.arpa\S* is there without de\.sp\.model")


def test_a_language_that_is_not_there(models: Path):
    refused(models, "has no model of 'fr'; it has those of de, en", language="fr")


def test_another_order(models: Path):
    refused(models, "is a model of order 3; expected 5", order=5)


def test_a_pointer(copy: Path):
    for path in (Path(lm_of(copy)), copy / "en.sp.model"):
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
        refused(copy, rf"{path.name} is a Git LFS pointer")


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.99999])
def test_pieces_that_are_cut_off(copy: Path, part: float):
    path = copy / "en.sp.model"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refused(copy, r"en\.sp\.model is no SentencePiece model, or it is cut off")


def test_pieces_that_are_cut_off_between_two_pieces(copy: Path):
    """SentencePiece would take it, and then neither normalise nor know the pieces that are missing."""
    path = copy / "en.sp.model"
    data = path.read_bytes()
    at = 0
    for _ in range(20):
        at += 2 + data[at + 1]
    path.write_bytes(data[:at])
    assert sentencepiece.SentencePieceProcessor(model_file=str(path)).vocab_size() == 20
    refused(copy, r"en\.sp\.model is no SentencePiece model, or it is cut off")


def loads(folder: Path) -> float:
    return scored(KenLM(Model(str(folder))), batch_of(["the river and the stone"]))[0]


def test_an_arpa_file_scores_like_a_binary_one_and_is_refused_where_it_is_cut_off(models: Path, arpa: Path):
    copy, whole = arpa, loads(models)
    data = (copy / "en.arpa").read_bytes()
    assert loads(copy) == whole
    for part in (0.0, 0.0005, 0.01, 0.5, 0.99):
        (copy / "en.arpa").write_bytes(data[: int(len(data) * part)])
        with pytest.raises(CurateError, match=r"en\.arpa.*cut off"):
            loads(copy)
    (copy / "en.arpa").unlink()
    (copy / "en.arpa.gz").write_bytes(gzip.compress(data))
    KenLM(Model(str(copy)), order=3).check()
    assert loads(copy) == whole
    (copy / "en.arpa.gz").write_bytes(gzip.compress(data)[:-2000])
    with pytest.raises(CurateError, match=r"en\.arpa\.gz: KenLM cannot read it"):
        loads(copy)


def refused_where_it_is_damaged(copy: Path) -> None:
    binary = copy / "en.arpa.bin"
    data = binary.read_bytes()
    for part in (0.0, 0.0001, 0.001, 0.3, 0.8):
        binary.write_bytes(data[: int(len(data) * part)])
        refused(copy, r"en\.arpa\.bin.*(KenLM|build_binary).*")
    for at in (10, 60, 88, 112, 113):  # of the header
        binary.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        refused(copy, r"en\.arpa\.bin.*get it again")


def test_a_binary_file_that_is_cut_off_or_garbled(copy: Path):
    refused_where_it_is_damaged(copy)


@pytest.mark.skipif(not shutil.which("build_binary"), reason="KenLM's build_binary is not on the PATH")
def test_a_trie_scores_like_a_hash_table_and_is_refused_where_it_is_damaged(models: Path, arpa: Path):
    subprocess.run(["build_binary", "trie", str(arpa / "en.arpa"), str(arpa / "en.arpa.bin")], check=True, capture_output=True)
    KenLM(Model(str(arpa))).check()
    assert loads(arpa) == loads(models)
    refused_where_it_is_damaged(arpa)


def test_a_language_model_of_other_pieces(copy: Path, tmp_path: Path):
    other = tmp_path / "other.arpa"
    words = [f"word{n} word{n * 7 % 100} word{n * 3 % 50}" for n in range(300)]
    kenlm_training.estimate(words, str(other), str(tmp_path), {"order": 3, "memory": 1e7, "estimator": "own", "pieces": 100})
    Path(lm_of(copy)).unlink()
    shutil.move(other, copy / "en.arpa")
    with pytest.raises(CurateError, match=r"en\.arpa was not trained on the pieces of .*en\.sp\.model: it knows 0 of"):
        loads(copy)


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="KenLM's own test models are not here")
@pytest.mark.parametrize("name", ["test.arpa", "test_nounk.arpa"])
def test_kenlms_own_test_models_are_read_and_refused(copy: Path, name: str):
    Path(lm_of(copy)).unlink()
    shutil.copy(HOSTILE / name, copy / "en.arpa")
    with pytest.raises(CurateError, match="was not trained on the pieces of"):
        loads(copy)
    refused(copy, "is a model of order 5; expected 4", order=4, language="en")


def test_a_model_of_impossible_probabilities_scores_nothing(copy: Path):
    pair = kenlm_model.load(str(copy / "en.sp.model"), lm_of(copy), None)

    class Damaged:
        order = 3

        def score(self, _: bytes, **_whole: bool) -> float:
            return float("nan")

    with pytest.raises(CurateError, match="is damaged"):
        kenlm_model.Pair(pair.pieces, Damaged(), "x").perplexity(kenlm_model.as_utf8("the river"), "delete")


# -- buckets ------------------------------------------------------------------------------------------------------------------------


def with_perplexity(values: list[float | None], language: list[str | None] | str = "en") -> Batch:
    return batch_of([""] * len(values), language, perplexity=pa.array(values, pa.float32()))


def test_published_cut_offs():
    batch = with_perplexity([339.9, 340.0, 519.9, 520.0, 1.0, float("nan"), None], "en")
    assert Published().apply(batch)["bucket"].to_pylist() == ["head", "middle", "middle", "tail", "head", "all", "all"]
    batch = with_perplexity([100.0, 100.0, 369.9, 370.0], ["xx", None, "de", "de"])
    assert Published().apply(batch)["bucket"].to_pylist() == ["all", "all", "head", "middle"]
    assert Published(language="fr").apply(batch)["bucket"].to_pylist() == ["head", "head", "tail", "tail"]


def test_a_cut_off_that_32_bits_cannot_hold_is_compared_as_what_it_means():
    batch = with_perplexity([339.8, 339.9, 340.1, 340.2])
    assert Published({"en": (339.9, 340.1)}).apply(batch)["bucket"].to_pylist() == ["head", "middle", "tail", "tail"]


def test_cut_offs_in_the_wrong_order_are_refused():
    with pytest.raises(RecipeError, match="cutoffs: en: 520 and 340"):
        Published({"en": (520.0, 340.0)}).check()
    with pytest.raises(RecipeError, match="head: 60, middle: 30"):
        Buckets(head=60.0, middle=30.0).check()
    with pytest.raises(RecipeError, match="buckets: heads"):
        Keep(("heads",)).check()


def verdict_of(stage: Buckets, shards: list[Batch]) -> pa.Table:
    keys = []
    for number, batch in enumerate(shards):
        table = pa.Table.from_batches([stage.emit(batch)])
        doc = pa.array(table["row"].to_numpy() + (number << 32))
        keys.append(stage.combine(table.set_column(table.column_names.index("row"), "doc", doc)))
    together = pa.concat_tables(keys).sort_by([("key", "ascending"), ("doc", "ascending")])
    middle = np.searchsorted(together["key"].to_numpy(), np.uint64(1 << 63))
    return stage.settle(pa.concat_tables([stage.reduce(together.slice(0, middle)), stage.reduce(together.slice(middle))]))


PERPLEXITIES = st.lists(st.one_of(st.integers(10, 60).map(lambda n: n / 10), st.floats(1, 1e6, width=32)), min_size=1, max_size=80)


@given(PERPLEXITIES, st.sampled_from([0.0, 6.25, 25.0, 50.0, 75.0, 100.0]), st.sampled_from([0.0, 25.0, 50.0, 93.75, 100.0]))
def test_cut_offs_are_percentiles_by_nearest_rank(values: list[float], one: float, two: float):
    head, middle = sorted((one, two))
    verdict = verdict_of(Buckets(head=head, middle=middle), [with_perplexity(list(values[::2])), with_perplexity(list(values[1::2]))])
    rounded = np.round(np.array(values, np.float32).astype(np.float64), 1).astype(np.float32)
    expected = [float(np.percentile(rounded, p, method="inverted_cdf")) for p in (head, middle)]
    assert verdict.to_pylist() == [{"language": "en", "head": expected[0], "middle": expected[1], "documents": len(values)}]


@given(PERPLEXITIES, st.integers(0, 1000).map(lambda n: n / 10))
@settings(max_examples=50)
def test_up_to_the_cut_off_are_that_many_and_before_it_fewer(values: list[float], percent: float):
    verdict = verdict_of(Buckets(head=0.0, middle=percent), [with_perplexity(list(values))])
    cut = verdict["middle"][0].as_py()
    rounded = np.round(np.array(values, np.float32).astype(np.float64), 1).astype(np.float32)
    tenths = round(percent * 10)
    assert (rounded <= np.float32(cut)).sum() * 1000 >= tenths * len(values)
    assert (rounded < np.float32(cut)).sum() * 1000 < tenths * len(values) or (rounded >= np.float32(cut)).all()


def test_buckets_are_made_for_each_language_by_itself():
    values: list[float | None] = [float(n) for n in range(1, 11)] + [float(n) for n in range(100, 200)] + [None, float("nan")]
    languages: list[str | None] = ["en"] * 10 + ["de"] * 100 + ["de", None]
    batch, stage = with_perplexity(values, languages), Buckets()
    verdict = verdict_of(stage, [batch])
    assert verdict.to_pylist() == [
        {"language": "de", "head": 129.0, "middle": 159.0, "documents": 100},
        {"language": "en", "head": 3.0, "middle": 6.0, "documents": 10},
    ]
    bucket = stage.apply(batch, verdict)["bucket"].to_pylist()
    assert bucket[:10] == ["head"] * 2 + ["middle"] * 3 + ["tail"] * 5
    assert Counter(bucket[10:110]) == {"head": 29, "middle": 30, "tail": 41}
    assert bucket[110:] == ["all", "all"]
    assert verdict_of(Buckets(language="xx"), [batch])["documents"].to_pylist() == [110]


def test_where_nothing_is_scored_all_is_all():
    batch = with_perplexity([None, None])
    for verdict in (verdict_of(Buckets(), [batch]), pa.table({"doc": pa.array([], pa.int64()), "row": pa.array([], pa.int64())})):
        assert Buckets().apply(batch, verdict)["bucket"].to_pylist() == ["all", "all"]


def test_keys_are_as_many_as_perplexities_that_differ():
    batch = with_perplexity([1.0, 2.0, 1.0, 1.04, None] * 100)
    keys = pa.Table.from_batches([Buckets().emit(batch)]).rename_columns({"row": "doc"})
    assert len(Buckets().combine(keys)) == 2


def test_kept_are_head_and_middle():
    batch = with_perplexity([1.0, 2.0, 3.0, None]).with_column("bucket", pa.array(["head", "middle", "tail", "all"]))
    check = Keep().keep(batch)["other_bucket"]
    assert list(check.passed) == [True, True, False, False]  # type: ignore[union-attr]
    np.testing.assert_array_equal(check.value, np.array([1, 2, 3, np.nan], np.float32))  # type: ignore[union-attr]
    assert list(Keep(("all",)).keep(batch)["other_bucket"].passed) == [False, False, False, True]  # type: ignore[union-attr]


# -- training -----------------------------------------------------------------------------------------------------------------------


def test_what_the_card_says(card_and_models: tuple[dict[str, Any], Path]):
    card, folder = card_and_models
    assert card["left_out"] == {}
    assert card["warnings"] == []
    assert set(card["languages"]) == {"de", "en"}
    english = card["languages"]["en"]
    assert english["documents"] + english["held_out"]["documents"] == 250
    assert english["sentences"] == english["documents"]
    assert english["estimator"] == "own"
    lm = kenlm.Model(lm_of(folder))
    assert len(english["ngrams"]) == lm.order == 3
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "en.sp.model"))
    assert english["pieces"] == pieces.vocab_size() <= 300
    assert english["tokens"] > english["documents"] * 100


def test_held_out_text_is_less_perplexing_than_its_words_in_another_order(tmp_path: Path):
    rng = random.Random(3)
    texts = [" ".join(rng.choice(language_model.SENTENCES["en"]) for _ in range(5)) for _ in range(600)]
    held = trained(tmp_path, batch_of(texts))["languages"]["en"]["held_out"]
    assert held["documents"] > 0
    assert held["ordered_right"] == 1.0
    assert held["perplexity_of_shuffled"] > 3 * held["perplexity"]


def test_the_same_documents_make_the_same_bytes(models: Path, tmp_path: Path):
    stage = Train(**SMALL)
    parts = [stage.select(Batch.of(corpus().data.slice(n, 37)), "documents", TOTALS) for n in range(0, 450, 37)]
    stage.train({"documents": parts}, str(tmp_path))
    for path in sorted(models.iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert sorted(p.name for p in models.iterdir()) == sorted(p.name for p in tmp_path.iterdir())


def test_pieces_learn_from_all_of_a_long_document(tmp_path: Path):
    """SentencePiece leaves out lines above 4,192 bytes."""
    rng = random.Random(5)
    long = " ".join(rng.choice(support.WORDS) for _ in range(4000)) + " zyzzyva" * 50
    trained(tmp_path, batch_of([long, *(f"short text {n}" for n in range(20))]))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "en.sp.model"))
    assert pieces.encode("z") != [pieces.unk_id()]
    assert len(pieces.encode("zyzzyva")) < 4


@given(st.text(st.sampled_from("aé漢😀 "), max_size=80), st.integers(4, 30))
def test_cut_sentences_hold_the_text_but_for_the_spaces_at_which_it_is_cut(text: str, most: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kenlm_training, "LONGEST", most)
        found = list(kenlm_training.cut(text))
    assert all(0 < len(s.encode()) <= most for s in found)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


def test_only_so_many_documents_are_learnt_from_whatever_shards_they_lie_in(tmp_path: Path):
    texts = [f"{support.prose(random.Random(n), 30)}" for n in range(300)]
    card = trained(tmp_path, batch_of(texts), documents=100)["languages"]["en"]
    assert card["documents"] + card["held_out"]["documents"] == 100


def test_what_is_selected_is_about_ten_times_what_is_needed_at_most():
    batch = batch_of(["the river"] * 2000)
    stage = Train(documents=20)
    assert 120 < len(stage.select(batch, "documents", Totals(2000, 1))) < 280
    assert len(stage.select(batch, "documents", Totals(100, 1))) == 2000


def test_of_each_language_as_many_as_are_asked_for_are_selected_however_rare_it_is():
    languages = ["en"] * 20_000 + ["de"] * 400 + ["is"] * 30
    batch, stage = batch_of(["the river"] * len(languages), list(languages)), Train(documents=200)
    assert stage.counts == "language"
    totals = Totals(len(batch), 1, Counter(languages))
    found = Counter(stage.select(batch, "documents", totals)["language"].to_pylist())
    assert found["is"] == 30
    assert 200 <= found["de"] <= 400
    assert 200 <= found["en"] < 500
    found = Counter(Train(documents=200, languages=("en", "is")).select(batch, "documents", totals)["language"].to_pylist())
    assert found["is"] == 30
    assert 200 <= found["en"] < 500
    assert set(found) == {"en", "is"}


def test_what_is_trained_on_does_not_depend_on_how_many_more_are_selected():
    """The documents of the least ranks, whether one in a few or all were selected."""
    stage, batch = Train(documents=50), batch_of(["the river"] * 5000)
    few, all_of_them = (stage.select(batch, "documents", totals) for totals in (Totals(5000, 1, {"en": 5000}), TOTALS))
    assert len(few) < 200 < len(all_of_them) == 5000
    assert kenlm_training.limits([few], 50)["en"][0] == kenlm_training.limits([all_of_them], 50)["en"][0]


def test_documents_of_a_language_that_was_not_counted_are_few():
    batch = batch_of(["the river"] * 4000, [None] * 2000 + ["en"] * 2000)
    found = Train(documents=10).select(batch, "documents", Totals(4000, 1, {"en": 2000}))
    assert Counter(found["language"].to_pylist())[""] < 40


def texts_of(texts: list[str]) -> kenlm_training.Texts:
    selected = Train().select(batch_of(texts), "documents", TOTALS)
    parts = [selected.slice(n, 7) for n in range(0, len(selected), 7)]
    return kenlm_training.Texts(parts, "en", 2**64 - 1, kenlm_training.HELD_OUT_OF_FEW)


@given(st.lists(st.text("ab é", min_size=1, max_size=40), max_size=60), st.integers(1, 1500))
@settings(max_examples=50, deadline=None)
def test_pieces_are_learnt_from_so_many_bytes_at_most(texts: list[str], most: int):
    whole = texts_of([f"{n}a{text}" for n, text in enumerate(texts)])
    learnt = list(whole.learnt())
    drawn = list(whole.for_pieces(most).learnt())
    sizes = [len(text.encode()) for text in learnt]
    size = sum(len(text.encode()) for text in drawn)
    assert set(drawn) <= set(learnt)
    assert size <= most or len(drawn) == 1
    assert drawn == learnt if sum(sizes) <= most else size + max(sizes) > most  # one more might not fit
    assert bool(drawn) == bool(learnt)


def test_the_card_says_what_the_pieces_were_learnt_from(card_and_models: tuple[dict[str, Any], Path], tmp_path: Path):
    card, folder = card_and_models
    texts = texts_of(corpus().text.to_pylist()[:250])
    assert card["languages"]["en"]["pieces_bytes"] == sum(len(text.encode()) for text in texts.learnt())
    fewer = trained(tmp_path, corpus(), pieces_bytes=20_000.0)["languages"]["en"]
    assert 15_000 < fewer["pieces_bytes"] <= 20_000
    assert fewer["documents"] == card["languages"]["en"]["documents"]  # of the n-grams
    assert (tmp_path / "en.sp.model").read_bytes() != (folder / "en.sp.model").read_bytes()


def test_the_opening_is_what_is_selected():
    batch = batch_of(["Élan vital.\nThe rest.", "No opening"], opening_chars=pa.array([11, 0], pa.int64()))
    stage = Train(opening=True)
    assert stage.reads == ("language", "opening_chars")
    assert stage.select(batch, "documents", TOTALS)["text"].to_pylist() == ["elan vital."]


def test_languages_without_documents_are_left_out_and_none_is_an_error(tmp_path: Path):
    texts = batch_of([support.prose(random.Random(n), 50) for n in range(40)])
    card = trained(tmp_path, texts, languages=("en", "fr"))
    assert set(card["languages"]) == {"en"}
    assert card["left_out"] == {"fr": "it has no documents with text"}
    assert card["warnings"] == ["`languages` names fr, but it has no documents with text: its pages will get the bucket `all`"]
    empty = batch_of([*texts.text.to_pylist(), "\n", ""], ["en"] * 40 + ["de"] * 2)
    (warning,) = trained(tmp_path, empty, languages=("en", "de"))["warnings"]
    assert "names de" in warning
    assert trained(tmp_path, empty)["warnings"] == []  # nobody named it
    with pytest.raises(CurateError, match="no language model can be trained: 'fr': it has no documents with text"):
        trained(tmp_path, texts, languages=("fr",))
    with pytest.raises(CurateError, match="there is no document with text"):
        trained(tmp_path, batch_of(["", "\n"]))
    with pytest.raises(CurateError, match=r"no language model can be trained: '\.\./x': it is no name for a file"):
        trained(tmp_path, batch_of(["some text"] * 5, "../x"))


def test_a_language_of_too_little_text_is_left_out_unless_it_was_asked_for(tmp_path: Path):
    texts = [support.prose(random.Random(n), 50) for n in range(40)]
    batch = batch_of([*texts, "aa"], ["en"] * 40 + ["xx"])
    card = trained(tmp_path, batch, hard_limit=True, pieces=60)
    assert set(card["languages"]) == {"en"}
    assert "SentencePiece cannot learn 60 pieces" in card["left_out"]["xx"]
    assert sorted(p.name.split(".")[0] for p in tmp_path.iterdir()) == ["en", "en"]
    with pytest.raises(CurateError, match="language xx: SentencePiece cannot learn"):
        trained(tmp_path, batch, hard_limit=True, pieces=60, languages=("en", "xx"))


def test_a_language_whose_estimate_fails_leaves_no_half_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = kenlm_training.estimate

    def failing(sentences: Any, path: str, *rest: Any) -> None:
        if Path(path).name == "de.arpa":
            raise CurateError("no room")
        whole(sentences, path, *rest)

    monkeypatch.setattr(kenlm_training, "estimate", failing)
    assert trained(tmp_path, corpus())["left_out"] == {"de": "no room"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["en.arpa.bin", "en.sp.model"]


def test_what_estimates_is_part_of_the_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Train().identity == Train(estimator="own").identity
    with pytest.raises(CurateError, match="lmplz is not on the PATH"):
        Train(estimator="lmplz").check()
    (tmp_path / "lmplz").write_text("#!/bin/sh\necho 'out of memory' >&2\nexit 3\n")
    (tmp_path / "lmplz").chmod(0o755)
    assert Train().identity == Train(estimator="lmplz").identity != Train(estimator="own").identity
    with pytest.raises(CurateError, match="lmplz ended with status 3: out of memory"):
        trained(tmp_path, batch_of([support.prose(random.Random(n), 50) for n in range(40)]), estimator="auto", languages=("en",))


def test_settings_that_make_no_sense_are_refused():
    odd = ({"order": 1}, "order: 1"), ({"documents": 0}, "above 0"), ({"languages": ("../x",)}, "codes such as en")
    sizes = tuple(({name: v}, f"{name}: {v:g}") for name in ("memory", "pieces_bytes") for v in (0.0, -1.0, float("nan")))
    for parameters, match in odd + sizes:
        with pytest.raises(RecipeError, match=match):
            Train(**parameters).check()


@pytest.mark.skipif(not shutil.which("lmplz"), reason="KenLM's lmplz is not on the PATH")
def test_lmplz_makes_the_same_scores(models: Path, tmp_path: Path):
    trained(tmp_path, corpus(), estimator="lmplz", memory=1e8)
    found, expected = (scored(KenLM(Model(str(folder))), batch_of(TEXTS[:4])) for folder in (tmp_path, models))
    np.testing.assert_allclose(found, expected, rtol=0.01)
