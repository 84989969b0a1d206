"""Pairs of a SentencePiece model and a KenLM model as files: what is one, loading it, and scoring text with it as CCNet does.

A folder holds, for each language, what CCNet's released models are called: `en.sp.model` and `en.arpa.bin`, or the latter under another
of the endings in LANGUAGE_MODELS. A binary file is mapped into memory, and all workers of a machine share its pages: of two that score with
a model of 428 MB, each has 52 MB to itself. An ARPA file is read by each worker into memory of its own, which takes minutes where it is
large.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from classifiers.normalise import normalise
from curate.errors import CurateError
from curate.stage import Model

PIECES = ".sp.model"
LANGUAGE_MODELS = (".arpa.bin", ".binary", ".arpa", ".arpa.gz")  # where there are several, the first is taken
BINARY = b"mmap lm http://kheafield.com/code format version"  # begins what build_binary writes
POINTER = b"version https://git-lfs"
WINDOW = 1 << 20  # characters that are encoded and scored at once
SAMPLE = 200  # pieces that are looked up in the language model
LEAST_KNOWN = 0.5  # of them; a model that was trained on these pieces knows nearly all
_LENGTH_DELIMITED, _SIZES = 2, {1: 8, 5: 4}  # wire types of protocol buffers
_SPECIFICATIONS = {2, 3}  # fields of a SentencePiece model that stand behind its pieces: how it was trained, how it normalises


@dataclass(frozen=True)
class Pair:
    """The models of one language, loaded."""

    pieces: Any  # sentencepiece.SentencePieceProcessor
    lm: Any  # kenlm.Model
    path: str  # of the language model

    def perplexity(self, text: str, newline: str) -> float | None:
        """That of a text, or None where nothing of it is left to score. `newline` says what becomes of line feeds: see `sentences`."""
        total, length = 0.0, 0
        for sentence in sentences(text, newline):
            log10, pieces = self.score(sentence)
            if pieces:
                total, length = total + log10, length + pieces + 1
        return 10.0 ** (-total / length) if length else None

    def encode(self, text: str) -> list[str]:
        """The pieces of normalised text."""
        return self.pieces.encode(text, out_type=str) if text else []

    def score(self, sentence: str) -> tuple[float, int]:
        """(log10 of the probability, number of pieces) of a sentence that is not yet normalised."""
        if len(sentence) <= WINDOW:
            pieces = self.encode(normalise(sentence))
            return self._log10(" ".join(pieces)), len(pieces)
        context, total, count = ["<s>"], 0.0, 0
        for window in windows(sentence):
            pieces = self.encode(normalise(window))
            total += self._log10(" ".join(context + pieces), bos=False, eos=False) - self._log10(" ".join(context), bos=False, eos=False)
            context, count = (context + pieces)[1 - self.lm.order :], count + len(pieces)
        end = self._log10(" ".join(context), bos=False, eos=True) - self._log10(" ".join(context), bos=False, eos=False)
        return total + end, count

    def _log10(self, pieces: str, **whole: bool) -> float:
        log10 = float(self.lm.score(pieces, **whole))
        if not -float("inf") < log10 <= 0:
            raise CurateError(f"{self.path} is damaged: it gives a text the probability 10^{log10:g}; get or train it again")
        return log10


def sentences(text: str, newline: str) -> list[str]:
    """What the language model takes for a sentence: the text, its line feeds deleted later or made spaces now; or each of its lines."""
    if newline == "lines":
        return text.split("\n")
    return [text.replace("\n", " ") if newline == "space" else text]


def windows(text: str) -> Iterator[str]:
    """The text in parts of at most WINDOW characters, cut at a space, which goes, or anywhere where there is none.

    Pieces begin at spaces, so that those of the parts are those of the whole.
    """
    at = 0
    while len(text) - at > WINDOW:
        end = text.rfind(" ", at + 1, at + WINDOW + 1)
        yield text[at : end if end > 0 else at + WINDOW]
        at = end + 1 if end > 0 else at + WINDOW
    yield text[at:]


def files_of(model: Model) -> dict[str, tuple[str, str]]:
    """{language: (path of the SentencePiece model, path of the language model)}. Raises CurateError where one has no other."""
    what = f"{model.path}: expected a folder with en{PIECES} and en{LANGUAGE_MODELS[0]}, or so for other languages"
    try:
        names = sorted(os.listdir(model.path))
    except OSError as error:
        raise CurateError(f"{what}; {error.strerror}") from None
    pieces = {name.removesuffix(PIECES) for name in names if name.endswith(PIECES)}
    found: dict[str, str] = {}
    for ending in LANGUAGE_MODELS:
        for name in names:
            if name.endswith(ending):
                found.setdefault(name.removesuffix(ending), name)
    if not pieces | set(found):
        raise CurateError(f"{what}; there is no such file in it")
    for language in sorted(pieces ^ set(found)):
        there = language + PIECES if language in pieces else found[language]
        missing = f"a language model ({language} and one of {', '.join(LANGUAGE_MODELS)})" if language in pieces else language + PIECES
        raise CurateError(f"{model.path}: {there} is there without {missing}; add it, or take {there} away")
    return {
        language: (os.path.join(model.path, language + PIECES), os.path.join(model.path, found[language])) for language in sorted(found)
    }


def check(model: Model, language: str, order: int | None) -> None:
    """Raise CurateError where a model cannot be used. Language models of build_binary are tried; of ARPA files the head is read."""
    if not model.path:
        return  # trained in the run
    files = files_of(model)
    if language and language not in files:
        raise CurateError(f"{model.path} has no model of {language!r}; it has those of {', '.join(files)}")
    for pieces, lm in (paths for name, paths in files.items() if language in ("", name)):
        processor = load_pieces(pieces)
        if lm.endswith((".arpa", ".arpa.gz")):
            _expected(lm, len(arpa_counts(lm)), order)
        else:
            _agree(processor, pieces, load_lm(lm, order, "LAZY"), lm)


def load(pieces: str, lm: str, order: int | None) -> Pair:
    """The models of one language. Raises CurateError where they cannot be read, or one does not know what the other speaks."""
    pair = Pair(load_pieces(pieces), load_lm(lm, order, "POPULATE_OR_LAZY"), lm)
    _agree(pair.pieces, pieces, pair.lm, lm)
    return pair


def load_pieces(path: str) -> Any:
    """A sentencepiece.SentencePieceProcessor."""
    import sentencepiece

    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CurateError(f"{path}: cannot be read: {error.strerror}") from None
    _no_pointer(path, data)
    if not _fields(data) >= _SPECIFICATIONS:
        raise CurateError(f"{path} is no SentencePiece model, or it is cut off: get it again (spm_train writes such files)")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=data)
    except (RuntimeError, ValueError) as error:
        raise CurateError(f"{path}: SentencePiece cannot read it: {error}; get it again") from None


def load_lm(path: str, order: int | None, method: str) -> Any:
    """A kenlm.Model, of the order that is expected where one is; `method` is the name of a kenlm.LoadMethod."""
    import kenlm

    _head(path)
    config = kenlm.Config()
    config.load_method = getattr(kenlm.LoadMethod, method)
    config.show_progress, config.arpa_complain = False, kenlm.ARPALoadComplain.NONE
    try:
        lm = kenlm.Model(path, config)
    except (OSError, RuntimeError, ValueError, IndexError, MemoryError) as error:
        reason = str(error).splitlines()[0] if isinstance(error, OSError) else type(error).__name__
        raise CurateError(f"{path}: KenLM cannot read it; it may be cut off or damaged: get it again. KenLM says: {reason}") from None
    _expected(path, lm.order, order)
    return lm


def _expected(path: str, found: int, order: int | None) -> None:
    if order is not None and found != order:
        raise CurateError(f"{path} is a model of order {found}; expected {order}: give the other model, or change `order`")


def _agree(processor: Any, pieces: str, lm: Any, path: str) -> None:
    """Raise CurateError unless the language model knows at least half of the pieces: others would score alike and mean nothing."""
    step = max(1, processor.vocab_size() // SAMPLE)
    special = (processor.is_control, processor.is_unknown, processor.is_unused, processor.is_byte)
    sample = [processor.id_to_piece(i) for i in range(0, processor.vocab_size(), step) if not any(is_so(i) for is_so in special)]
    known = sum(piece in lm for piece in sample)
    if known < LEAST_KNOWN * len(sample) or not sample:
        raise CurateError(
            f"{path} was not trained on the pieces of {pieces}: it knows {known:,} of {len(sample):,} of them; "
            "give the pair that belongs together"
        )


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            head = file.read(200)
    except OSError as error:
        raise CurateError(f"{path}: cannot be read: {error.strerror}") from None
    _no_pointer(path, head)
    if path.endswith((".arpa", ".arpa.gz")) or head.startswith(BINARY):
        return head
    raise CurateError(f"{path} is not what KenLM's build_binary writes; get it again, or name an ARPA file .arpa")


def _no_pointer(path: str, head: bytes) -> None:
    if head.startswith(POINTER):
        raise CurateError(f"{path} is a Git LFS pointer, not the model: fetch it (git lfs pull)")


def arpa_counts(path: str) -> list[int]:
    """How many n-grams of order 1, 2, ... an ARPA file has, by its head: lines `ngram 1=...` between `\\data\\` and the first list."""
    _head(path)
    counts: list[int] = []
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            for _ in range(1000):
                line = file.readline(1000).strip()
                if line.startswith(b"ngram "):
                    counts.append(int(line.partition(b"=")[2]))
                if line == b"\\1-grams:" and counts:
                    return counts
    except (OSError, EOFError, ValueError) as error:
        raise CurateError(f"{path}: cannot be read: {error}; get it again") from None
    raise CurateError(f"{path} is no ARPA file, or it is cut off: expected \\data\\ and a list of n-grams; get it again")


def _fields(data: bytes) -> set[int]:
    """The numbers of the fields of a protocol buffer; none where it does not end where its last field does."""
    at, found = 0, set()
    try:
        while at < len(data):
            tag, at = _number(data, at)
            found.add(tag >> 3)
            if tag & 7 == _LENGTH_DELIMITED:
                size, at = _number(data, at)
                at += size
            elif tag & 7 == 0:
                _, at = _number(data, at)
            else:
                at += _SIZES[tag & 7]
    except (IndexError, KeyError):
        return set()
    return found if at == len(data) else set()


def _number(data: bytes, at: int) -> tuple[int, int]:
    """(varint, position behind it)."""
    value = shift = 0
    while data[at] & 0x80 and shift < 64:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
