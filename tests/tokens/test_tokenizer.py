"""Text is data: no document can end itself. And whoever trains or loads a tokenizer gets the same one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from curate.errors import CurateError, RecipeError
from curate.tokens.tokenizer import Tokenizer, TokenizerSpec, load
from curate.tokens.training import Training, sentences, train

NEO = Path(__file__).parents[3] / "shared/corpus/models/tokenizers/gpt-neo-test-tokenizer.json"
SPELLED = ["<s>", "</s>", "a</s>b", " <s> <s>", "<unk>", "<|endoftext|>", "x<|endoftext|>y", "<|begin_of_text|><|end_of_text|>", "<0x0A>"]


def texts(n: int = 120) -> list[str]:
    return [f"Line {i} of the text, with {i * i} words and s> </ |> in it.\nA second line {i}." for i in range(n)]


def byte_level(specials: tuple[str, ...] = ("<s>", "</s>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>")) -> dict:
    """A tokenizer.json as GPT-2's or Llama 3's is made."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=330, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts(), trainer)
    return json.loads(made.to_str())


def saved(tmp_path: Path, spec: dict) -> str:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(spec))
    return str(path)


@pytest.fixture(params=["sentencepiece", "huggingface"])
def either(request: pytest.FixtureRequest, tmp_path: Path, tokenizer: Tokenizer) -> Tokenizer:
    return tokenizer if request.param == "sentencepiece" else load(TokenizerSpec(huggingface=saved(tmp_path, byte_level())))


def test_a_document_that_spells_a_special_token_does_not_get_its_id(either):
    assert either.bos in either.special
    assert either.eos in either.special
    for text in SPELLED:
        ids = either.encode([text]).ids.tolist()
        assert ids
        assert not set(ids) & set(either.special)
        assert either.decode(ids) == text


def test_a_pickled_tokenizer_still_takes_special_tokens_for_text(either):
    copy = pickle.loads(pickle.dumps(either))
    assert copy.encode(SPELLED).ids.tolist() == either.encode(SPELLED).ids.tolist()
    assert (copy.bos, copy.eos, copy.sha256, copy.special) == (either.bos, either.eos, either.sha256, either.special)


def test_documents_are_told_apart_by_their_lengths(either):
    batch = ["one", "", "two words", "<s>"]
    together = either.encode(batch)
    alone = [either.encode([t]).ids.tolist() for t in batch]
    assert together.lengths.tolist() == [len(a) for a in alone]
    assert together.ids.tolist() == [i for a in alone for i in a]
    assert int(together.ids.max()) < either.vocabulary
    assert either.encode([]).ids.tolist() == []


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=60))
def test_decoding_gives_the_text_again(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode([text]).ids) == text  # U+2581 stands for a space in SentencePiece, and comes back as one


# What Llama's flags mean, on any vocabulary (spec llama1 §9.5)


def test_ids_are_laid_out_as_llamas(tokenizer):
    assert (tokenizer.bos, tokenizer.eos) == (1, 2)
    assert [tokenizer.token(i) for i in (0, 1, 2, 3, 13, 258)] == ["<unk>", "<s>", "</s>", "<0x00>", "<0x0A>", "<0xFF>"]


def test_digits_stand_alone_newlines_are_bytes_and_unseen_characters_are_spelled_in_bytes(tokenizer):
    pieces = [tokenizer.token(i) for i in tokenizer.encode(["x 2023"]).ids.tolist()]
    assert pieces[-4:] == ["2", "0", "2", "3"]
    assert tokenizer.encode(["a\nb"]).ids.tolist().count(13) == 1
    assert [tokenizer.token(i) for i in tokenizer.encode(["\u4f60"]).ids.tolist()][-3:] == ["<0xE4>", "<0xBD>", "<0xA0>"]
    assert tokenizer.decode(tokenizer.encode(["  a  b"]).ids) == "  a  b"
    assert len(tokenizer.encode([""]).ids) == 0


# Training


def test_training_gives_the_same_bytes_wherever_the_model_is_put(tmp_path):
    paths = [tmp_path / "a.model", tmp_path / "elsewhere" / "b.model"]
    for path in paths:
        train(iter(texts()), Training(vocabulary=330), str(path))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_vocabulary_that_the_text_cannot_fill_is_refused_with_the_one_that_it_can(tmp_path):
    path = str(tmp_path / "t.model")
    with pytest.raises(CurateError, match=r"32,000 pieces asked for, but the text supports (\d+)") as error:
        train(texts(), Training(), path)
    most = int(error.value.args[0].split("supports ")[1].split(":")[0].replace(",", ""))
    assert not Path(path).exists()
    train(texts(), Training(vocabulary=most), path)
    assert load(TokenizerSpec(sentencepiece=path)).vocabulary == most
    train(texts(), Training(hard_vocab_limit=False), path)
    assert load(TokenizerSpec(sentencepiece=path)).vocabulary == most


def test_a_vocabulary_too_small_for_the_characters_is_refused_with_the_least_that_works(tmp_path):
    path = str(tmp_path / "t.model")
    with pytest.raises(CurateError, match="alone need") as error:
        train(texts(), Training(vocabulary=100), path)
    train(texts(), Training(vocabulary=int(error.value.args[0].split("need ")[1].split(":")[0])), path)


def test_no_text_is_one_clear_error(tmp_path):
    with pytest.raises(CurateError, match="no text to learn from"):
        train(["", "\n"], Training(), str(tmp_path / "t.model"))


def test_an_error_in_reading_the_text_is_not_taken_for_one_of_training(tmp_path):
    def broken():
        yield "some text"
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        train(broken(), Training(vocabulary=300), str(tmp_path / "t.model"))


@given(st.text("ab é\u4f60\U0001f999\n", max_size=200), st.integers(4, 40))
def test_long_lines_are_cut_and_never_left_out(text, most):
    parts = list(sentences(text, most))
    assert all(parts)
    assert all(len(p.encode()) <= most for p in parts)
    assert all("\n" not in p for p in parts)
    left = "".join(parts).replace(" ", "")
    assert left == text.replace("\n", "").replace(" ", "")


def test_a_long_line_is_cut_between_words():
    assert list(sentences("aaaa bbbb cccc dddd", 10)) == ["aaaa bbbb", "cccc dddd"]


# What files may hold


def test_a_recipe_names_exactly_one_tokenizer():
    adapter = TypeAdapter(TokenizerSpec)
    assert adapter.validate_json('{"train": {"vocabulary": 500}}').train == Training(vocabulary=500)
    for wrong in ("{}", '{"sentencepiece": "a", "huggingface": "b"}'):
        with pytest.raises(ValidationError, match="a tokenizer is one of"):
            adapter.validate_json(wrong)
    with pytest.raises(ValidationError, match="vocabulry"):
        adapter.validate_json('{"train": {"vocabulry": 500}}')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 499723\n", "Git LFS pointer"),
        (b'{"version": "1.0"}', "it is JSON: a tokenizer.json is given as `huggingface"),
        (b"IQ== 0\nIg== 1\nIw== 2\n", "tiktoken ranks"),
        (b"hello world", "damaged or cut short"),
    ],
)
def test_a_file_that_is_no_sentencepiece_model_says_what_it_is(tmp_path, content, message):
    path = tmp_path / "tokenizer.model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=message) as error:
        load(TokenizerSpec(sentencepiece=str(path)))
    assert str(path) in str(error.value)


def test_a_model_cut_short_anywhere_is_refused(tmp_path, model):
    data, path = Path(model).read_bytes(), tmp_path / "cut.model"
    for size in range(1, len(data), 61):
        path.write_bytes(data[:size])
        with pytest.raises(RecipeError):
            load(TokenizerSpec(sentencepiece=str(path)))


def test_a_folder_and_a_damaged_tokenizer_json_are_told_apart(tmp_path, model):
    with pytest.raises(RecipeError, match="is a folder"):
        load(TokenizerSpec(sentencepiece=str(tmp_path)))
    path = saved(tmp_path, byte_level())
    assert load(TokenizerSpec(huggingface=str(tmp_path))).sha256 == load(TokenizerSpec(huggingface=path)).sha256
    Path(path).write_text(Path(path).read_text()[:-200])
    with pytest.raises(RecipeError, match=r"cannot be read as a tokenizer\.json"):
        load(TokenizerSpec(huggingface=path))
    Path(path).write_bytes(Path(model).read_bytes())
    with pytest.raises(RecipeError, match="as `sentencepiece: PATH`"):
        load(TokenizerSpec(huggingface=path))


def test_a_vocabulary_of_another_size_than_the_recipe_expects_is_refused(model):
    with pytest.raises(RecipeError, match="a vocabulary of 360; the recipe expects 32,000"):
        load(TokenizerSpec(sentencepiece=model, vocabulary=32_000))


def test_the_tokens_that_begin_and_end_documents_are_found_or_named(tmp_path):
    gpt_2 = saved(tmp_path, byte_level(("<|endoftext|>",)))
    found = load(TokenizerSpec(huggingface=gpt_2))
    assert (found.bos, found.token(found.eos)) == (None, "<|endoftext|>")
    named = load(TokenizerSpec(huggingface=gpt_2, bos="<|endoftext|>"))
    assert named.bos == named.eos
    with pytest.raises(RecipeError, match=r"tokenizer.eos: .* has no added token <end>; it has <\|endoftext\|>"):
        load(TokenizerSpec(huggingface=gpt_2, eos="<end>"))


def test_truncation_padding_and_dropout_in_a_tokenizer_json_change_nothing(tmp_path):
    spec = byte_level()
    plain = load(TokenizerSpec(huggingface=saved(tmp_path, spec)))
    spec["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    spec["padding"] = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<s>",
    }
    spec["model"]["dropout"] = 0.5
    other = load(TokenizerSpec(huggingface=saved(tmp_path, spec)))
    assert other.encode(texts()).ids.tolist() == plain.encode(texts()).ids.tolist()


def test_an_end_token_that_the_file_calls_ordinary_is_still_text_in_documents(tmp_path):
    spec = byte_level()
    for token in spec["added_tokens"]:
        token["special"] = False
    found = load(TokenizerSpec(huggingface=saved(tmp_path, spec)))
    assert not {found.bos, found.eos} & set(found.encode(["a <s> b</s>"]).ids.tolist())


def test_a_tokenizer_whose_own_model_spells_a_special_token_is_refused(tmp_path):
    spec = byte_level()
    spec["pre_tokenizer"]["use_regex"] = False
    vocabulary, merges = spec["model"]["vocab"], spec["model"]["merges"]
    for left, right in (("<", "s"), ("<s", ">")):
        vocabulary.setdefault(left + right, max(vocabulary.values()) + 1)
        merges.insert(0 if left == "<" else 1, [left, right])
    with pytest.raises(RecipeError, match="turns the text <s> of a document into the special id 0"):
        load(TokenizerSpec(huggingface=saved(tmp_path, spec)))


@pytest.mark.skipif(not NEO.exists(), reason=f"{NEO} is not there")
def test_a_published_tokenizer_json_reads_end_of_text_as_text():
    neo = load(TokenizerSpec(huggingface=str(NEO)))
    assert (neo.bos, neo.eos, neo.vocabulary) == (None, 50279, 50280)
    assert neo.eos not in neo.encode(["one<|endoftext|>two"]).ids.tolist()
    assert neo.decode(neo.encode(["one<|endoftext|>two"]).ids) == "one<|endoftext|>two"
