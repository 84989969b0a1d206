"""What each Unicode code point is: one uint16 of flags, for all 1,114,112 of them.

From the general categories of Unicode 14.0 (`unicode14.txt`, run lengths, written by `python -m curate.kernels.unicode`
under a Python whose `unicodedata` is that version), so that the split into words does not change with the Python that runs it.
Costs 2.2 MB and about 2 ms, once per process; text touches only the cache lines of the scripts it is written in.
Beside it, frozen likewise, what str.lower does: the lower case of each code point (`lower14.txt`, runs `first count step delta`),
and the two sets that tell where a capital sigma ends a word.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from itertools import count, groupby

import numpy as np

LETTER = np.uint16(1)  # L*: what str.isalpha accepts
DIGIT = np.uint16(2)  # Nd: what \d matches
MARK = np.uint16(4)  # M* and Cf: extends the character before it
SPACE = np.uint16(8)  # what str.isspace accepts, and the zero width space
PUNCTUATION = np.uint16(16)  # P* and S*
UPPER = np.uint16(32)  # Lu and Lt
LOWER = np.uint16(64)  # Ll
ALONE = np.uint16(128)  # Han, Hiragana and Bopomofo: written without spaces, one character is one word
CLUSTER = np.uint16(256)  # Thai, Lao, Myanmar, Khmer: written without spaces, begins an orthographic cluster
LEADING = np.uint16(512)  # Thai and Lao vowels written before the consonant that they belong to
JOIN = np.uint16(1024)  # Pc (the underscore): part of a word
NUMBER = np.uint16(2048)  # Nl and No
CONTROL = np.uint16(4096)  # Cc that is not white space: separates, and is no word itself
COMPLEX = np.uint16(8192)  # letters of Thai, Lao, Myanmar and Khmer: form words with one another only

BY_CATEGORY = {
    "Lu": LETTER | UPPER, "Lt": LETTER | UPPER, "Ll": LETTER | LOWER, "Lm": LETTER, "Lo": LETTER,
    "Nd": DIGIT, "Nl": NUMBER, "No": NUMBER, "Mn": MARK, "Mc": MARK, "Me": MARK, "Cf": MARK, "Cc": CONTROL,
    "Pc": PUNCTUATION | JOIN, "Pd": PUNCTUATION, "Ps": PUNCTUATION, "Pe": PUNCTUATION, "Pi": PUNCTUATION,
    "Pf": PUNCTUATION, "Po": PUNCTUATION, "Sm": PUNCTUATION, "Sc": PUNCTUATION, "Sk": PUNCTUATION, "So": PUNCTUATION,
    "Zs": SPACE, "Zl": SPACE, "Zp": SPACE,
}  # fmt: skip
WHITE_CONTROLS = (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x1F, 0x85)  # Cc, yet str.isspace
ZERO_WIDTH_SPACE = 0x200B
ALONE_BLOCKS = (
    (0x3040, 0x309F), (0x3100, 0x312F), (0x31A0, 0x31BF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0x1B000, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
CLUSTER_BLOCKS = (  # consonants, independent vowels and leading vowels
    (0x0E01, 0x0E2E), (0x0E40, 0x0E44), (0x0E81, 0x0EAE), (0x0EC0, 0x0EC4), (0x0EDC, 0x0EDF),
    (0x1000, 0x102A), (0x103F, 0x103F), (0x1050, 0x1055), (0x1780, 0x17B3),
)  # fmt: skip
LEADING_BLOCKS = ((0x0E40, 0x0E44), (0x0EC0, 0x0EC4))
COMPLEX_BLOCKS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
CASED_BLOCKS = (  # Other_Uppercase and Other_Lowercase, less the modifier letters: cased, yet no Lu, Ll or Lt
    (0xAA, 0xAA), (0xBA, 0xBA), (0x2160, 0x217F), (0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189),
)  # fmt: skip
CASED_CATEGORIES = ("Lu", "Ll", "Lt")
IGNORABLE_CATEGORIES = ("Mn", "Me", "Cf", "Lm", "Sk")
IGNORABLE_PUNCTUATION = (  # MidLetter, MidNumLet and Single_Quote of annex 29: what may stand inside a word
    0x27, 0x2E, 0x3A, 0xB7, 0x0387, 0x055F, 0x05F4, 0x2018, 0x2019, 0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A,
)  # fmt: skip
CASED, IGNORABLE = np.uint8(1), np.uint8(2)
FLAGGED_BLOCKS = ((ALONE_BLOCKS, ALONE), (CLUSTER_BLOCKS, CLUSTER), (LEADING_BLOCKS, LEADING), (COMPLEX_BLOCKS, COMPLEX))


@cache
def flags() -> np.ndarray:
    """uint16[1114112]: the flags of each code point."""
    table = _by_category(BY_CATEGORY, np.uint16)
    table[[*WHITE_CONTROLS, ZERO_WIDTH_SPACE]] = SPACE
    for blocks, flag in FLAGGED_BLOCKS:
        for low, high in blocks:
            block = table[low : high + 1]
            block[(block & LETTER) != 0] |= flag
    table.setflags(write=False)
    return table


@cache
def lower() -> np.ndarray:
    """int32[1114112]: the lower case of each code point by itself.

    That of U+0130 is the one mapping to two code points, and stands here as the first, "i"; U+0307 follows it in str.lower.
    """
    table = np.arange(sys.maxunicode + 1, dtype=np.int32)
    for line in _file("lower14.txt"):
        first, count, step, delta = map(int, line.split())
        table[first : first + count * step : step] += delta
    table.setflags(write=False)
    return table


@cache
def sigma_context() -> np.ndarray:
    """uint8[1114112]: CASED, IGNORABLE or 0, as the rule of the final sigma asks for (Unicode 14.0, 3.13, table 3-17).

    A capital sigma becomes the final one if the next character before it that is not IGNORABLE is CASED and the next one behind it is
    not. A character that Unicode counts as both is IGNORABLE here.
    """
    table = _by_category(dict.fromkeys(CASED_CATEGORIES, CASED) | dict.fromkeys(IGNORABLE_CATEGORIES, IGNORABLE), np.uint8)
    for low, high in CASED_BLOCKS:
        table[low : high + 1] = CASED
    table[list(IGNORABLE_PUNCTUATION)] = IGNORABLE
    table.setflags(write=False)
    return table


def _file(name: str) -> list[str]:
    return files(__package__).joinpath(name).read_text("ascii").splitlines()


def _by_category(values: Mapping[str, np.integer], dtype: type[np.integer]) -> np.ndarray:
    """The value of each code point's general category, or 0."""
    rows = [line.split() for line in _file("unicode14.txt")]
    return np.repeat(np.array([values.get(category, 0) for _, category in rows], dtype), [int(length) for length, _ in rows])


def write_tables() -> None:
    """Rewrite `unicode14.txt` and `lower14.txt` from this Python's own tables."""
    import unicodedata

    if not unicodedata.unidata_version.startswith("14."):
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}; the tables are of version 14.0 (Python 3.11)")
    _write_categories(unicodedata.category)
    _write_lower()


def _write_categories(category: Callable[[str], str]) -> None:
    runs = groupby(map(category, map(chr, range(sys.maxunicode + 1))))
    with open(str(files(__package__).joinpath("unicode14.txt")), "w", encoding="ascii") as out:
        out.writelines(f"{sum(1 for _ in run)} {name}\n" for name, run in runs)


def _write_lower() -> None:
    deltas = {c: ord(chr(c).lower()[0]) - c for c in range(sys.maxunicode + 1) if chr(c).lower() != chr(c)}
    with open(str(files(__package__).joinpath("lower14.txt")), "w", encoding="ascii") as out:
        while deltas:
            first, delta = next(iter(deltas.items()))
            lengths = {step: next(n for n in count(1) if deltas.get(first + n * step) != delta) for step in (1, 2)}
            step = max(lengths, key=lambda s: lengths[s])
            for n in range(lengths[step]):
                del deltas[first + n * step]
            out.write(f"{first} {lengths[step]} {step} {delta}\n")


if __name__ == "__main__":
    write_tables()
