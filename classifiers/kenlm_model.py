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
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from classifiers.normalise_kernel import normalise_spans
from curate.batch import Array
from curate.errors import CurateError
from curate.kernels.text import split_lines
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

    def perplexity(self, text: Array, newline: str) -> float | None:
        """That of a text, uint8 of UTF-8, or None where nothing of it is left to score. `newline`: see `sentences`."""
        total, length = 0.0, 0
        for sentence in sentences(text, newline):
            log10, pieces = self._score(sentence)
            if pieces:
                total, length = total + log10, length + pieces + 1
        return 10.0 ** (-total / length) if length else None

    def score(self, sentence: str) -> tuple[float, int]:
        """(log10 of the probability, number of pieces) of a sentence that is not yet normalised."""
        return self._score(next(sentences(as_utf8(sentence), "delete")))

    def _score(self, parts: list[bytes]) -> tuple[float, int]:
        """Of a sentence in normalised parts, each in the context of the one before."""
        if len(parts) == 1:
            pieces, count = self.encode(parts[0])
            return self._log10(pieces), count
        context, total, count = [b"<s>"], 0.0, 0
        for part in parts:
            pieces, more = self.encode(part)
            before = b" ".join(context)
            whole = before + b" " + pieces
            total += self._log10(whole, bos=False, eos=False) - self._log10(before, bos=False, eos=False)
            context, count = whole.split()[1 - self.lm.order :], count + more
        before = b" ".join(context)
        return total + self._log10(before, bos=False, eos=True) - self._log10(before, bos=False, eos=False), count

    def encode(self, text: bytes) -> tuple[bytes, int]:
        """(the pieces of normalised text with spaces between, how many)."""
        if not text:
            return b"", 0
        ids = self.pieces.encode(text, return_type="numpy")
        joined = _join(ids, self.pieces.unk_id(), *self._vocabulary)
        if len(joined) or not len(ids):
            return joined[1:].tobytes(), len(ids)
        pieces = self.pieces.encode(text, out_type=bytes)  # of unknown ones, the characters themselves: a language model may know them
        return b" ".join(pieces), len(pieces)

    @cached_property
    def _vocabulary(self) -> tuple[Array, Array]:
        """(bytes, int64 offsets) of a space and the piece, by id."""
        pieces = [b" " + piece.encode() for piece in self.pieces.id_to_piece(list(range(self.pieces.vocab_size())))]
        return np.frombuffer(b"".join(pieces), np.uint8), np.cumsum([0, *map(len, pieces)])

    def _log10(self, pieces: bytes, **whole: bool) -> float:
        log10 = float(self.lm.score(pieces, **whole))
        if not -float("inf") < log10 <= 0:
            raise CurateError(f"{self.path} is damaged: it gives a text the probability 10^{log10:g}; get or train it again")
        return log10


@njit(cache=True)
def _join(ids, unknown, pieces, offsets):
    """uint8: the pieces one after another, or none at all where one is unknown."""
    size = np.int64(0)
    for n in ids:
        if n == unknown:
            return np.empty(0, np.uint8)
        size += offsets[n + 1] - offsets[n]
    out = np.empty(size, np.uint8)
    o = np.int64(0)
    for n in ids:
        for i in range(offsets[n], offsets[n + 1]):
            out[np.uint64(o)] = pieces[np.uint64(i)]
            o += 1
    return out


def as_utf8(text: str) -> Array:
    """uint8."""
    return np.frombuffer(text.encode(), np.uint8)


def sentences(text: Array, newline: str) -> Iterator[list[bytes]]:
    """What the language model takes for sentences, normalised: the text, its line feeds deleted or made spaces; or each of its lines.

    `text` is uint8 of UTF-8. A sentence of more than WINDOW characters comes in parts, others whole.
    """
    space = newline == "space"
    start, end = spans(text, newline)
    if len(text) <= WINDOW:
        yield from ([sentence] for sentence in normalise_spans(text, start, end, space))
        return
    for low, high in zip(start, end, strict=True):
        sentence = text[low:high].tobytes().decode()
        parts = map(as_utf8, windows(sentence.replace("\n", " ") if space else sentence))
        yield [normalise_spans(part, *spans(part, newline))[0] for part in parts]


def spans(text: Array, newline: str) -> tuple[Array, Array]:
    """(start, end): int32 positions of the sentences in a text."""
    start, end = np.array([[0], [len(text)]], np.int32)
    return split_lines(text, start, end)[2:] if newline == "lines" else (start, end)


def windows(text: str) -> Iterator[str]:
    """The text in parts of at most WINDOW characters, cut at a space, which goes, or anywhere where there is none.

    Pieces begin at spaces, so that those of the parts are those of the whole, but for a cut where there is no space.
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
