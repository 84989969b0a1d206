"""The MassiveText quality and repetition rules (Rae et al. 2021, arXiv 2112.11446, section A1.1 and Table A1).

The paper leaves much open, and implementations differ; these are the semantics of datatrove, which FineWeb was made with, on our own
words: symbols are words too, the first copy of a line is no duplicate, n-grams are measured in characters of the whole text. An empty
text passes the repetition rules and fails the quality rules.
Cost, one core: quality 600 MB/s and repetition 60 MB/s behind the shared words (150 MB/s).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from curate.batch import Batch, at_least, at_most
from curate.kernels import unicode
from curate.stage import Checks, Filter
from stages import gopher_kernels as kernels


@dataclass(frozen=True)
class Quality(Filter):
    """Word count, mean word length, symbols, bullet and ellipsis lines, words with a letter, stop words. Bounds are inclusive."""

    min_words: int = 50  # A1.1: between 50 and 100,000 words; symbols do not count, as in datatrove
    max_words: int = 100_000
    min_mean_word: float = 3.0  # A1.1: mean word length of 3 to 10 characters; symbols do not count
    max_mean_word: float = 10.0
    max_hashes: float = 0.1  # A1.1: symbol-to-word ratio of 0.1, for the hash
    max_ellipses: float = 0.1  # A1.1: symbol-to-word ratio of 0.1, for the ellipsis; each of the two by itself, as datatrove
    max_bullet_lines: float = 0.9  # A1.1: 90 % of lines starting with a bullet point
    max_ellipsis_lines: float = 0.3  # A1.1: 30 % of lines ending with an ellipsis
    min_alphabetic: float = 0.8  # A1.1: 80 % of words contain a letter; symbols count as words
    min_stop_words: int = 2  # A1.1: two of the stop words; distinct ones, in lower case as datatrove has it
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")  # A1.1

    def keep(self, batch: Batch) -> Checks:
        words, lines = batch.words, batch.lines
        stop = kernels.hash_of(self.stop_words)
        facts = kernels.quality(batch.utf8[0], *words, *lines, np.sort(stop), unicode.flags())
        count, mean, hashes, ellipses, bullet_lines, ellipsis_lines, alphabetic, stops = facts.T
        return {
            "few_words": at_least(count, self.min_words),
            "many_words": at_most(count, self.max_words),
            "short_words": at_least(mean, self.min_mean_word),
            "long_words": at_most(mean, self.max_mean_word),
            "hashes": at_most(hashes, self.max_hashes),
            "ellipses": at_most(ellipses, self.max_ellipses),
            "bullet_lines": at_most(bullet_lines, self.max_bullet_lines),
            "ellipsis_lines": at_most(ellipsis_lines, self.max_ellipsis_lines),
            "not_alphabetic": at_least(alphabetic, self.min_alphabetic),
            "few_stop_words": at_least(stops, self.min_stop_words),
        }


@dataclass(frozen=True)
class Repetition(Filter):
    """Repeated paragraphs, lines and word n-grams. Thresholds of Table A1; a document above any of them is dropped."""

    paragraphs: float = 0.30  # share of paragraphs that stood before
    paragraph_chars: float = 0.20  # share of characters in them
    lines: float = 0.30  # share of lines that stood before
    line_chars: float = 0.20  # share of characters in them
    top_2: float = 0.20  # share of characters in the most frequent 2-gram
    top_3: float = 0.18  # ... 3-gram
    top_4: float = 0.16  # ... 4-gram
    duplicate_5: float = 0.15  # share of characters in 5-grams that stood before, each character counted once
    duplicate_6: float = 0.14
    duplicate_7: float = 0.13
    duplicate_8: float = 0.12
    duplicate_9: float = 0.11
    duplicate_10: float = 0.10

    def keep(self, batch: Batch) -> Checks:
        words = batch.words
        shares = kernels.repetition(*batch.utf8, batch.chars, words.first, words.last, words.chars, words.hash, unicode.flags())
        return {f.name: at_most(shares[:, n], getattr(self, f.name)) for n, f in enumerate(fields(self))}
