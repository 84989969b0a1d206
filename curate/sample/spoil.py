"""What is wrong with some of the sample's documents, by rule: near copies and junk, each named after the check that should find it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from random import Random

from curate.sample.rendered import Block

LATIN = (
    *("lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do", "eiusmod", "tempor", "incididunt", "ut"),
    *("labore", "et", "dolore", "magna", "aliqua", "enim", "minim", "veniam", "quis", "nostrud", "exercitation", "ullamco", "laboris"),
)
SOUP = "#@%&*+=<>|~^$/\\_-:;!?0123456789"
SENTENCES = (
    "Buy now and save up to 70% on all items!",
    "Click here to claim your free bonus today.",
    "Best price guaranteed, order before midnight.",
    "Limited offer, only a few left in stock.",
)
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def near_copy(body: Sequence[Block], vocabulary: Sequence[str], rng: Random) -> tuple[Block, ...]:
    """The same page with up to 4 % of its words replaced, left out or doubled, and at times without one of its lines."""
    share = rng.uniform(0.004, 0.04)
    lines = list(body)
    if len(lines) > 8 and rng.random() < 0.5:
        del lines[rng.randrange(1, len(lines))]
    edited = [Block(line.role, line.text if line.role == "code" else edit(line.text, share, vocabulary, rng)) for line in lines]
    longest = max(range(len(edited)), key=lambda at: len(edited[at].text))
    if tuple(edited) == tuple(body):
        edited[longest] = Block(edited[longest].role, edited[longest].text + " " + rng.choice(vocabulary))
    return tuple(line for line in edited if line.text)


def edit(text: str, share: float, vocabulary: Sequence[str], rng: Random) -> str:
    """A share of the words replaced by others, left out or doubled."""
    words = text.split(" ")
    for at in range(len(words)):
        if rng.random() < share:
            words[at] = rng.choice((rng.choice(vocabulary), "", f"{words[at]} {words[at]}", rng.choice(vocabulary)))
    return " ".join(word for word in words if word)


def near_copy_of_code(text: str, rng: Random) -> str:
    """The same file with a few rare names changed throughout and one comment or blank line less."""
    names = sorted({n for n in re.findall(r"\b[a-z][a-z_]{5,}\b", text) if 1 < text.count(n) < 8})
    for name in rng.sample(names, min(4, len(names))):
        text = re.sub(rf"\b{name}\b", f"{name}_{rng.choice(('new', 'old', 'x', 'value'))}", text)
    lines = text.split("\n")
    droppable = [at for at, line in enumerate(lines) if not line.strip() or line.strip().startswith("#")]
    for at in sorted(rng.sample(droppable, min(3, len(droppable))), reverse=True):
        del lines[at]
    return "\n".join(["# Changed for this project.", *lines])


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the sets of five words in a row."""
    first, second = _shingles(one), _shingles(other)
    return len(first & second) / max(1, len(first | second))


def _shingles(text: str) -> set[int]:
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[at : at + 5])) for at in range(max(1, len(words) - 4))}


def vocabulary_of(texts: Sequence[str]) -> list[str]:
    """The plain words of the texts, without those that the stop-word rule counts; sorted."""
    words = {word for text in texts for word in re.findall(r"\b[a-z]{3,12}\b", text)}
    return sorted(words - STOP_WORDS) or ["nothing"]


def _symbols(_words: Sequence[str], rng: Random) -> list[str]:
    return ["".join(rng.choice(SOUP) for _ in range(rng.randrange(40, 90))) for _ in range(rng.randrange(12, 30))]


def _no_stop_words(words: Sequence[str], rng: Random) -> list[str]:
    return [" ".join(rng.choice(words) for _ in range(rng.randrange(8, 15))) for _ in range(rng.randrange(12, 25))]


def _repeated_lines(words: Sequence[str], rng: Random) -> list[str]:
    lines = [f"The {rng.choice(words)} of the {rng.choice(words)} is to be seen with the {rng.choice(words)}." for _ in range(3)]
    return [rng.choice(lines) for _ in range(rng.randrange(15, 30))]


def _repeated_phrases(_words: Sequence[str], rng: Random) -> list[str]:
    return [" ".join(rng.choice(SENTENCES) for _ in range(rng.randrange(4, 8))) for _ in range(rng.randrange(6, 12))]


def _short(words: Sequence[str], rng: Random) -> list[str]:
    return [f"The {rng.choice(words)} that you have been looking for is to be found {rng.choice(('here', 'there', 'below'))}."]


def _hashes(words: Sequence[str], rng: Random) -> list[str]:
    return [" ".join(f"#{rng.choice(words)}" for _ in range(rng.randrange(8, 14))) for _ in range(rng.randrange(8, 16))]


def _bullets(words: Sequence[str], rng: Random) -> list[str]:
    return [f"• {_clause(words, rng)}" for _ in range(rng.randrange(25, 45))]


def _ellipses(words: Sequence[str], rng: Random) -> list[str]:
    return [f"{_clause(words, rng)} {rng.choice(('...', '…'))}" for _ in range(rng.randrange(20, 40))]


def _no_punctuation(words: Sequence[str], rng: Random) -> list[str]:
    return [f"{rng.choice(words).capitalize()} {rng.choice(words)} ({rng.randrange(1, 400)})" for _ in range(rng.randrange(50, 120))]


def _lorem_ipsum(_words: Sequence[str], rng: Random) -> list[str]:
    lines = [" ".join(rng.choice(LATIN) for _ in range(rng.randrange(20, 60))).capitalize() + "." for _ in range(rng.randrange(5, 10))]
    return ["Lorem ipsum dolor sit amet, consectetur adipiscing elit.", *lines]


def _long_words(_words: Sequence[str], rng: Random) -> list[str]:
    return [b64encode(rng.randbytes(rng.randrange(90, 240))).decode() for _ in range(rng.randrange(8, 18))]


def _clause(words: Sequence[str], rng: Random) -> str:
    return f"The {rng.choice(words)} of the {rng.choice(words)} {rng.choice(words)} and that {rng.choice(words)} with {rng.choice(words)}"


JUNK: dict[str, Callable[[Sequence[str], Random], list[str]]] = {
    "symbols": _symbols,
    "stop_words": _no_stop_words,
    "repeated_lines": _repeated_lines,
    "repeated_phrases": _repeated_phrases,
    "short": _short,
    "hashes": _hashes,
    "bullets": _bullets,
    "ellipses": _ellipses,
    "no_punctuation": _no_punctuation,
    "lorem_ipsum": _lorem_ipsum,
    "long_words": _long_words,
}


def _one_long_line(words: Sequence[str], rng: Random) -> list[str]:
    return ["var t={" + ",".join(f"{rng.choice(words)}:{rng.randrange(1000)}" for _ in range(rng.randrange(300, 900))) + "};"]


def _long_lines(words: Sequence[str], rng: Random) -> list[str]:
    return [f"x = [{', '.join(repr(rng.choice(words)) for _ in range(20))}]" for _ in range(rng.randrange(20, 60))]


def _no_letters(_words: Sequence[str], rng: Random) -> list[str]:
    return ["    " + "".join(rng.choice("{}[]();,.-+*/ |&^%$#@!<>") for _ in range(60)) for _ in range(rng.randrange(20, 60))]


JUNK_CODE: dict[str, Callable[[Sequence[str], Random], list[str]]] = {
    "maximum_line_length": _one_long_line,
    "mean_line_length": _long_lines,
    "alphanumeric_share": _no_letters,
}
