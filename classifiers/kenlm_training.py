"""Training a pair of models as CCNet trains them: SentencePiece unigram pieces, then a KenLM model of them by modified Kneser-Ney.

Both give the same bytes every time: SentencePiece gets its text in order, on one thread, instead of lines that it draws. Where there is
more than it is to hold, it gets whole documents, drawn by hash. It would leave out lines above 4,192 bytes; here they are cut, at a space
if there is one.
The language model is estimated by KenLM's lmplz where that is on the PATH, else by `kneser_ney`, and written in KenLM's binary format.
Cost, on 12 MB: SentencePiece 1.1 MB/s of English, 0.4 MB/s of web text in many scripts, and memory of twenty times the text. lmplz on
34 MB of text: 2.4 MB/s.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import kenlm_model
from classifiers.drawn import other_hash
from classifiers.ngrams import kenlm_binary, kneser_ney
from curate.batch import Array, Mask
from curate.errors import CurateError

LONGEST = 4192  # bytes: SentencePiece's max_sentence_length
RESERVED = frozenset({"<s>", "</s>", "<unk>"})  # words of KenLM's own; as pieces of a text they mean nothing and are left out
HELD_OUT = 100  # one document in so many is not learnt from; of few documents one in HELD_OUT_OF_FEW
FEW, HELD_OUT_OF_FEW = 5000, 10
TRIED = 2000  # of those held out, at most


def limits(documents: Iterable[pa.RecordBatch], most: int) -> dict[str, tuple[int, int]]:
    """{language: (the greatest rank that is used, one document in how many is held out)}, so that there are `most` documents of each
    language, or all there are."""
    ranks: dict[str, list[Array]] = {}
    for batch in documents:
        for language in pc.unique(batch["language"]).to_pylist():
            ranks.setdefault(language, []).append(batch["rank"].filter(pc.equal(batch["language"], language)).to_numpy())
    together = {language: np.concatenate(parts) for language, parts in ranks.items()}
    greatest = {name: int(np.partition(r, most - 1)[most - 1] if len(r) > most else r.max()) for name, r in together.items()}
    return {name: (greatest[name], HELD_OUT if min(len(r), most) > FEW else HELD_OUT_OF_FEW) for name, r in together.items()}


@dataclass(frozen=True)
class Texts:
    """The documents of one language up to a rank, each one or more normalised sentences, one a line."""

    documents: Iterable[pa.RecordBatch]  # with columns language, rank (uint64) and text
    language: str
    limit: int  # of rank
    every: int = HELD_OUT  # one document in so many is held out
    lot: int = 2**64 - 1  # limit of the hash of the rank, where only some are drawn

    def learnt(self) -> Iterator[str]:
        """Those to learn from."""
        return (text for text, _ in self._read(held_out=False))

    def for_pieces(self, most: float) -> Texts:
        """Those to learn pieces from: as many as there are in `most` bytes, at least one, in order of another hash than their rank."""
        hashes, sizes = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for batch, mine in self._batches(held_out=False):
            hashes.append(other_hash(batch["rank"].to_numpy()[mine]))
            sizes.append(pc.binary_length(batch["text"]).to_numpy()[mine])
        together, size = np.concatenate(hashes), np.concatenate(sizes)
        order = np.argsort(together, kind="stable")
        fit = int(np.searchsorted(np.cumsum(size[order]), most, "right"))
        return self if fit >= len(order) else replace(self, lot=int(together[order[max(0, fit - 1)]]))

    def held_out(self) -> Iterator[tuple[str, int]]:
        """(text, rank) of the others."""
        return self._read(held_out=True)

    def _read(self, *, held_out: bool) -> Iterator[tuple[str, int]]:
        for batch, mine in self._batches(held_out=held_out):
            for row in np.flatnonzero(mine).tolist():
                yield batch["text"][row].as_py(), batch["rank"][row].as_py()

    def _batches(self, *, held_out: bool) -> Iterator[tuple[pa.RecordBatch, Mask]]:
        """(documents, which of them are meant)."""
        for batch in self.documents:
            rank = batch["rank"].to_numpy()
            mine = pc.equal(batch["language"], self.language).to_numpy(zero_copy_only=False)
            mine &= (rank <= np.uint64(self.limit)) & ((rank % np.uint64(self.every) == 0) == held_out)
            yield batch, mine & (other_hash(rank) <= np.uint64(self.lot))


def train_pair(texts: Texts, folder: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Write the models of one language into a folder; the fields of perplexity.Train are the settings. What its card says of them."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        pieces, arpa = os.path.join(scratch, texts.language + kenlm_model.PIECES), os.path.join(scratch, texts.language + ".arpa")
        lm = arpa + ".bin"
        card = {"documents": 0, "sentences": 0, "tokens": 0, "pieces": 0, "pieces_bytes": 0}

        def to_cut() -> Iterator[str]:
            for text in texts.for_pieces(settings["pieces_bytes"]).learnt():
                card["pieces_bytes"] += len(text.encode())
                yield from text.split("\n")

        train_pieces(to_cut(), pieces, settings)
        processor = kenlm_model.load_pieces(pieces)
        card["pieces"] = processor.vocab_size()

        def sentences() -> Iterator[str]:
            for text in texts.learnt():
                card["documents"] += 1
                for sentence in text.split("\n"):
                    tokens = [t for w in kenlm_model.windows(sentence) for t in processor.encode(w, out_type=str) if t not in RESERVED]
                    card["sentences"] += 1
                    card["tokens"] += len(tokens)
                    yield " ".join(tokens)

        estimate(sentences(), arpa, scratch, settings)
        ngrams = kenlm_model.arpa_counts(arpa)
        kenlm_binary.build(arpa, lm, memory=settings["memory"])
        held_out = tried(kenlm_model.load(pieces, lm, settings["order"]), texts)
        for path in (pieces, lm):  # both or none
            os.replace(path, os.path.join(folder, os.path.basename(path)))
    return card | {"vocabulary": ngrams[0], "ngrams": ngrams, "estimator": settings["estimator"], "held_out": held_out}


def tried(pair: kenlm_model.Pair, texts: Texts) -> dict[str, Any]:
    """Of documents held out: their perplexity, that of their words in another order, and how often the latter is above the former."""
    log10, pieces, right, documents = np.zeros(2), np.zeros(2), 0, 0
    for text, rank in texts.held_out():
        both = [_scored(pair, t) for t in (text, shuffled(text, rank))]
        log10, pieces = log10 + [b[0] for b in both], pieces + [b[1] for b in both]
        right += both[0][0] / both[0][1] > both[1][0] / both[1][1]
        documents += 1
        if documents == TRIED:
            break
    if not documents:
        return {"documents": 0}
    perplexity, of_shuffled = (10 ** (-log10 / pieces)).round(1).tolist()
    share = round(right / documents, 4)
    return {"documents": documents, "perplexity": perplexity, "perplexity_of_shuffled": of_shuffled, "ordered_right": share}


def _scored(pair: kenlm_model.Pair, text: str) -> tuple[float, int]:
    """(log10 of the probability, pieces and ends of sentences) of a document."""
    found = [pair.score(sentence) for sentence in text.split("\n")]
    return sum(log10 for log10, _ in found), sum(pieces + 1 for _, pieces in found)


def shuffled(text: str, seed: int) -> str:
    """The words of each line in an order of their own, by hash of their place."""
    lines = []
    for line in text.split("\n"):
        words = line.split(" ")
        key = other_hash(np.arange(len(words), dtype=np.uint64) ^ np.uint64(seed))
        lines.append(" ".join(words[n] for n in np.argsort(key)))
    return "\n".join(lines)


def is_name(language: str) -> bool:
    """Whether files can be called so."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", language) is not None


def estimator(wanted: str) -> str:
    """What estimates: lmplz or own."""
    return wanted if wanted != "auto" else "lmplz" if shutil.which("lmplz") else "own"


def train_pieces(texts: Iterable[str], path: str, settings: dict[str, Any]) -> None:
    """Write a SentencePiece model learnt from normalised texts. Raises CurateError where they are too small for one."""
    import sentencepiece

    out, raised = io.BytesIO(), []

    def lines() -> Iterator[str]:
        try:
            for text in texts:
                yield from cut(text)
        except BaseException as error:  # SentencePiece would make a RuntimeError of it
            raised.append(error)
            raise

    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines(),
            model_writer=out,
            model_type="unigram",
            vocab_size=settings["pieces"],
            hard_vocab_limit=settings["hard_limit"],
            character_coverage=settings["character_coverage"],
            max_sentence_length=LONGEST,
            input_sentence_size=0,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        if raised:
            raise raised[0] from None
        raise CurateError(
            f"SentencePiece cannot learn {settings['pieces']:,} pieces from this text: give more text, or ask for fewer. It says: {error}"
        ) from None
    with open(path, "wb") as file:
        file.write(out.getvalue())


def cut(text: str) -> Iterator[str]:
    """A text without line feeds in parts of at most LONGEST bytes: cut at spaces, which go, else between characters."""
    data, at = text.encode(), 0
    while len(data) - at > LONGEST:
        space = data.rfind(b" ", at + LONGEST // 2, at + LONGEST + 1)
        end = space if space > at else at + LONGEST
        while data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[at:end].decode()
        at = end + 1 if space > at else end
    if at < len(data):
        yield data[at:].decode()


def estimate(sentences: Iterable[str], path: str, scratch: str, settings: dict[str, Any]) -> None:
    """Write the ARPA file of sentences of pieces."""
    order, memory = settings["order"], settings["memory"]
    if settings["estimator"] == "own":
        kneser_ney.estimate(sentences, path, order=order, memory=memory, folder=scratch, fallback=(0.5, 1.0, 1.5))
        return
    command = [found("lmplz"), "-o", str(order), "--discount_fallback", "--vocab_estimate", str(settings["pieces"])]
    command += ["-S", f"{int(memory)}b", "-T", os.path.join(scratch, "sort-"), "--arpa", path]
    with open(os.path.join(scratch, "lmplz.log"), "w+b") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log)
        try:
            _give(process.stdin, sentences)
        except BaseException:
            process.kill()
            raise
        finally:
            status = process.wait()
        if status:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
            said = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
            raise CurateError(f"lmplz ended with status {status}: {' '.join(said[-3:]) or 'it says nothing'}")


def _give(program: Any, sentences: Iterable[str]) -> None:
    """Write sentences to a program's input. One that ends early is not waited for: its status says why."""
    try:
        for sentence in sentences:
            program.write(sentence.encode() + b"\n")
    except BrokenPipeError:
        pass
    finally:
        with suppress(BrokenPipeError):
            program.close()


def found(program: str) -> str:
    """The path of one of KenLM's programs. Raises CurateError where it is not there."""
    path = shutil.which(program)
    if path is None:
        raise CurateError(f"{program} is not on the PATH: build it (github.com/kpu/kenlm), or choose the estimator `own`")
    return path
