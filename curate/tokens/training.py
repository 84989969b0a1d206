"""Training a SentencePiece tokenizer with the settings of the Llama 1 tokenizer, the same bytes every time.

There is no sampling and no shuffling here: the text that comes is all used, in the order in which it comes, on one thread. SentencePiece
learns from lines and silently leaves out those above 4,192 bytes; here they are cut instead, at a space if there is one.
Cost: 12 MB/s, and memory of about ten times the text; 20 MB of books give 32,000 pieces in under 2 seconds.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from curate import store
from curate.errors import CurateError


@dataclass(frozen=True)
class Training:
    """The settings that a recipe may change. Defaults are those of the released Llama 1 tokenizer."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
    vocabulary: int = 32_000  # vocab_size of the released tokenizer.model, as all that follow
    character_coverage: float = 0.99995  # the rest is spelled in bytes
    max_sentence_length: int = 4192  # bytes
    max_piece_length: int = 16  # max_sentencepiece_length
    hard_vocab_limit: bool = True  # false takes as many pieces as the text supports where that is fewer
    sample_bytes: float = 200e6  # of text, drawn by hash over all sources. Ours: Llama's corpus of 200 million lines is not known


LLAMA_1: dict[str, Any] = {  # of the released tokenizer.model, those that a recipe cannot change
    "model_type": "bpe",
    "split_by_unicode_script": True,
    "split_by_whitespace": True,
    "split_by_number": True,
    "split_digits": True,
    "treat_whitespace_as_suffix": False,
    "allow_whitespace_only_pieces": True,
    "byte_fallback": True,
    "use_all_vocab": False,
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
    "unk_surface": " \u2047 ",
    "normalization_rule_name": "identity",
    "add_dummy_prefix": True,
    "remove_extra_whitespaces": False,
}
REPEATABLE: dict[str, Any] = {  # for input_sentence_size 200,000,000 and num_threads 80, which draw lines and depend on the machine
    "input_sentence_size": 0,
    "shuffle_input_sentence": False,
    "num_threads": 1,
    "minloglevel": 2,
}


def train(texts: Iterable[str], settings: Training, out_path: str) -> None:
    """Write a SentencePiece model learnt from documents. Raises CurateError where the text cannot fill the vocabulary."""
    import sentencepiece

    out, raised = io.BytesIO(), []

    def lines() -> Iterator[str]:
        try:
            for text in texts:
                yield from sentences(text, settings.max_sentence_length)
        except BaseException as error:  # SentencePiece would make a RuntimeError of it
            raised.append(error)
            raise

    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines(),
            model_writer=out,
            vocab_size=settings.vocabulary,
            character_coverage=settings.character_coverage,
            max_sentence_length=settings.max_sentence_length,
            max_sentencepiece_length=settings.max_piece_length,
            hard_vocab_limit=settings.hard_vocab_limit,
            **LLAMA_1,
            **REPEATABLE,
        )
    except RuntimeError as error:
        if raised:
            raise raised[0] from None
        raise _explained(str(error), settings) from None
    store.write_bytes(out_path, out.getvalue())


def sentences(text: str, most: int) -> Iterator[str]:
    """The lines of a document that are not empty, those above `most` bytes cut: at a space, which goes, else between characters.

    Every sentence is read as if a space stood before it, so what follows a cut at a space looks as it did.
    """
    for line in text.split("\n"):
        if len(line) * 4 <= most or len(line.encode()) <= most:
            if line:
                yield line
            continue
        data, at = line.encode(), 0
        while len(data) - at > most:
            space = data.rfind(b" ", at + most // 2, at + most + 1)
            end = space if space > at else at + most
            while data[end] & 0xC0 == 0x80:
                end -= 1
            yield data[at:end].decode()
            at = end + 1 if space > at else end
        if at < len(data):
            yield data[at:].decode()


def _explained(message: str, settings: Training) -> CurateError:
    asked = f"tokenizer.train.vocabulary: {settings.vocabulary:,} pieces"
    if most := re.search(r"value <= (\d+)", message):
        return CurateError(
            f"{asked} asked for, but the text supports {int(most[1]):,}: lower it, give more text, "
            "or set hard_vocab_limit: false to take as many as there are"
        )
    if least := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return CurateError(
            f"{asked} asked for, but the 256 bytes, the special tokens and the characters of the text alone need {int(least[1]):,}: "
            "raise it, or lower character_coverage"
        )
    if "sentences_.empty()" in message:
        return CurateError("tokenizer.train: there is no text to learn from")
    return CurateError(f"tokenizer.train: SentencePiece: {message}")
