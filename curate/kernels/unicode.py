"""What each Unicode code point is: one uint16 of flags, for all 1,114,112 of them.

From the general categories of Unicode 14.0 (`unicode14.txt`, run lengths, written by `python -m curate.kernels.unicode`
under a Python whose `unicodedata` is that version), so that the split into words does not change with the Python that runs it.
Costs 2.2 MB and about 2 ms, once per process; text touches only the cache lines of the scripts it is written in.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.resources import files

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
FLAGGED_BLOCKS = ((ALONE_BLOCKS, ALONE), (CLUSTER_BLOCKS, CLUSTER), (LEADING_BLOCKS, LEADING), (COMPLEX_BLOCKS, COMPLEX))


@cache
def flags() -> np.ndarray:
    """uint16[1114112]: the flags of each code point."""
    rows = [line.split() for line in files(__package__).joinpath("unicode14.txt").read_text("ascii").splitlines()]
    lengths = np.array([int(length) for length, _ in rows])
    table = np.repeat(np.array([BY_CATEGORY.get(category, 0) for _, category in rows], np.uint16), lengths)
    table[[*WHITE_CONTROLS, ZERO_WIDTH_SPACE]] = SPACE
    for blocks, flag in FLAGGED_BLOCKS:
        for low, high in blocks:
            block = table[low : high + 1]
            block[(block & LETTER) != 0] |= flag
    table.setflags(write=False)
    return table


def write_categories() -> None:
    """Rewrite `unicode14.txt` from this Python's own tables."""
    import unicodedata
    from itertools import groupby

    if not unicodedata.unidata_version.startswith("14."):
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}; the tables are of version 14.0 (Python 3.11)")
    runs = groupby(map(unicodedata.category, map(chr, range(sys.maxunicode + 1))))
    with open(str(files(__package__).joinpath("unicode14.txt")), "w", encoding="ascii") as out:
        out.writelines(f"{sum(1 for _ in run)} {category}\n" for category, run in runs)


if __name__ == "__main__":
    write_categories()
