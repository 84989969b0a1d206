"""Tokenizers: SentencePiece models and Hugging Face `tokenizer.json` files, behind one small interface.

Text is data. A document that holds "</s>" or "<|endoftext|>" is spelled out with ordinary pieces and never yields the id that ends a
document. SentencePiece does so by itself; a tokenizer.json is told to, is rid of
its truncation, padding and dropout, and every tokenizer is tried with the text of each of its special tokens before it is used.
Cost per core: SentencePiece with 32,000 pieces 3.2 MB/s, tokenizer.json 2.3 MB/s; one thread, whatever the environment says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from curate import store
from curate.batch import Array
from curate.errors import RecipeError
from curate.tokens.training import Training

BEGINS = ("<s>", "<|begin_of_text|>", "<bos>", "[BOS]", "<|startoftext|>")  # looked for in this order
ENDS = ("</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>", "[EOS]")
_RANKS = re.compile(rb"^[A-Za-z0-9+/]+={0,2} \d+\r?\n")  # the first line of tiktoken's files of ranks


@dataclass(frozen=True)
class TokenizerSpec:
    """The `tokenizer:` of a recipe: exactly one of a SentencePiece model, a tokenizer.json, or settings to train one in the run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
    sentencepiece: str | None = None
    huggingface: str | None = None
    train: Training | None = None
    bos: str | None = None  # the token's text, where the file does not say or says otherwise
    eos: str | None = None
    vocabulary: int | None = None  # refuse a tokenizer of any other size

    def __post_init__(self) -> None:
        given = [k for k in ("sentencepiece", "huggingface", "train") if getattr(self, k) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"a tokenizer is one of sentencepiece: PATH, huggingface: PATH or train: {{vocabulary: N}}; found {found}")

    def absolute(self) -> TokenizerSpec:
        """With the path that it has from any working directory."""
        found = [p and store.absolute(p) for p in (self.sentencepiece, self.huggingface)]
        return replace(self, sentencepiece=found[0], huggingface=found[1])


class Encoded(NamedTuple):
    """Documents end to end."""

    ids: Array  # int32
    lengths: Array  # int64, one per document


@dataclass(frozen=True)
class Tokenizer(ABC):
    """Turns text into ids and back; adds nothing."""

    kind: str  # sentencepiece or huggingface
    name: str  # of its file
    sha256: str  # of its file
    data: bytes = field(repr=False)  # its file, to be kept with the shards
    vocabulary: int  # every id is below it
    bos: int | None
    eos: int | None
    special: tuple[int, ...]  # ids that no text yields

    def __reduce__(self) -> tuple[Any, ...]:
        """Read anew where it is unpickled: a copy of a Hugging Face tokenizer forgets that special tokens are text."""
        bos, eos = (None if i is None else self.token(i) for i in (self.bos, self.eos))
        return parse, (self.kind, self.name, self.data, bos, eos)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of each text, without BOS and EOS."""
        lists = self._encode(list(texts))
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        return Encoded(np.fromiter(chain.from_iterable(lists), np.int32, int(lengths.sum())), lengths)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of one document's ids, which hold no BOS or EOS."""

    @abstractmethod
    def token(self, number: int) -> str:
        """How one id is written in the tokenizer's file."""

    @abstractmethod
    def _encode(self, texts: list[str]) -> list[list[int]]: ...


@dataclass(frozen=True)
class _SentencePiece(Tokenizer):
    model: Any

    def decode(self, ids: Iterable[int]) -> str:
        return cast(str, self.model.decode([int(i) for i in ids]))

    def token(self, number: int) -> str:
        return cast(str, self.model.id_to_piece(number))

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return cast(list[list[int]], self.model.encode(texts, out_type=int, add_bos=False, add_eos=False, num_threads=1))


@dataclass(frozen=True)
class _HuggingFace(Tokenizer):
    model: Any

    def decode(self, ids: Iterable[int]) -> str:
        return cast(str, self.model.decode([int(i) for i in ids], skip_special_tokens=False))

    def token(self, number: int) -> str:
        return cast(str, self.model.id_to_token(number))

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self.model.encode_batch_fast(texts, add_special_tokens=False)]


def load(spec: TokenizerSpec, trained: str | None = None) -> Tokenizer:
    """The tokenizer of a recipe; `trained` is the model file where the recipe has it trained. Raises RecipeError."""
    path = spec.sentencepiece or spec.huggingface or trained
    if path is None:
        raise ValueError("a tokenizer that is to be trained was asked for before it was")
    if spec.huggingface and not path.endswith(".json"):
        path = store.join(path, "tokenizer.json")
    data = _read(path)
    return parse("huggingface" if spec.huggingface else "sentencepiece", path, data, spec.bos, spec.eos, spec.vocabulary)


def parse(kind: str, path: str, data: bytes, bos: str | None = None, eos: str | None = None, vocabulary: int | None = None) -> Tokenizer:
    """A tokenizer from the bytes of its file; `path` is for messages."""
    out = (_hugging_face if kind == "huggingface" else _sentence_piece)(path, data, bos, eos)
    if vocabulary is not None and vocabulary != out.vocabulary:
        raise RecipeError(
            f"{path}: a vocabulary of {out.vocabulary:,}; the recipe expects {vocabulary:,}: is this another model's tokenizer?"
        )
    _try(path, out)
    return out


def _read(path: str) -> bytes:
    try:
        data = store.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"tokenizer: there is no file {path}") from None
    except IsADirectoryError:
        raise RecipeError(f"tokenizer: {path} is a folder; the path of the model file is expected") from None
    except OSError as error:
        raise RecipeError(f"tokenizer: {path}: cannot be read: {error.strerror or error}") from None
    if data.startswith(b"version https://git-lfs"):
        raise RecipeError(f"tokenizer: {path} is a Git LFS pointer of {len(data)} bytes, not the file: fetch it with `git lfs pull`")
    if not data:
        raise RecipeError(f"tokenizer: {path} is empty")
    return data


def _sentence_piece(path: str, data: bytes, bos: str | None, eos: str | None) -> Tokenizer:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor()
    try:
        model.load_from_serialized_proto(data)
    except RuntimeError:
        hint = "it is damaged or cut short, or no SentencePiece model"
        if data.lstrip()[:1] == b"{":
            hint = "it is JSON: a tokenizer.json is given as `huggingface: PATH`"
        elif _RANKS.match(data):
            hint = (
                "it is a file of tiktoken ranks, as Llama 3's tokenizer.model is: give the tokenizer.json beside it as `huggingface: PATH`"
            )
        raise RecipeError(f"tokenizer: {path} cannot be read as a SentencePiece model ({len(data):,} bytes): {hint}") from None
    size = model.vocab_size()

    def number(text: str | None, own: int, field: str) -> int | None:
        if text is None:
            return own if own >= 0 else None
        found = model.piece_to_id(text)
        if model.id_to_piece(found) != text:
            raise RecipeError(f"tokenizer.{field}: {path} has no piece {text}")
        return int(found)

    begin, end = number(bos, model.bos_id(), "bos"), number(eos, model.eos_id(), "eos")
    special = {i for i in range(size) if model.is_control(i)} | {i for i in (begin, end) if i is not None}
    return _SentencePiece("sentencepiece", store.name(path), _sha256(data), data, size, begin, end, tuple(sorted(special)), model)


def _hugging_face(path: str, data: bytes, bos: str | None, eos: str | None) -> Tokenizer:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read at every call
    import tokenizers

    try:
        spec = json.loads(data)
        added = {a["content"]: a for a in spec["added_tokens"]}
        kind = spec["model"]["type"]
    except (ValueError, KeyError, TypeError):
        hint = "give a SentencePiece model as `sentencepiece: PATH`" if data[:1] == b"\n" else "it is damaged, cut short or something else"
        raise RecipeError(f"tokenizer: {path} cannot be read as a tokenizer.json ({len(data):,} bytes): {hint}") from None
    begin, end = _named(path, "bos", bos, BEGINS, added), _named(path, "eos", eos, ENDS, added)
    spec["truncation"] = spec["padding"] = None
    if kind == "BPE":
        spec["model"]["dropout"] = None  # the same text would have other ids each time
    for token in (begin, end):
        if token is not None:
            added[token]["special"] = True
    try:
        model = tokenizers.Tokenizer.from_str(json.dumps(spec))
    except Exception as error:  # the library raises nothing narrower
        raise RecipeError(f"tokenizer: {path} cannot be read as a tokenizer.json: {error}") from None
    model.encode_special_tokens = True
    unknown = spec["model"].get("unk_token") if kind != "Unigram" else spec["model"]["vocab"][spec["model"].get("unk_id") or 0][0]
    special = [a["id"] for content, a in added.items() if a["special"] and content != unknown]
    size = max(model.get_vocab(with_added_tokens=True).values()) + 1
    ids = [None if t is None else int(added[t]["id"]) for t in (begin, end)]
    return _HuggingFace("huggingface", store.name(path), _sha256(data), data, size, ids[0], ids[1], tuple(sorted(special)), model)


def _named(path: str, field: str, text: str | None, usual: Sequence[str], added: dict[str, Any]) -> str | None:
    """The token that begins or ends documents: the one that is given, else the first of the usual ones that the file has."""
    if text is not None and text not in added:
        raise RecipeError(f"tokenizer.{field}: {path} has no added token {text}; it has {', '.join(list(added)[:8]) or 'none'}")
    return text if text is not None else next((t for t in usual if t in added), None)


def _try(path: str, tokenizer: Tokenizer) -> None:
    """Raise RecipeError if the text of a special token yields its id."""
    for number in tokenizer.special:
        text = tokenizer.token(number)
        for ids in tokenizer._encode([text, f"a {text} b", f"a{text}b", text + text]):
            if number in ids:
                raise RecipeError(
                    f"tokenizer: {path} turns the text {text} of a document into the special id {number}, "
                    "so documents could end in their midst; its model has that text as an ordinary piece. Use a tokenizer that does not"
                )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def keep(tokenizer: Tokenizer, folder: str) -> str:
    """Put the tokenizer's file beside its shards, so that they can be read and proven without anything else; returns its name."""
    name = "tokenizer.json" if tokenizer.kind == "huggingface" else "tokenizer.model"
    store.write_bytes(store.join(folder, name), tokenizer.data)
    return name
