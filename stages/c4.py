"""C4 from web pages (Raffel et al. 2020, 2.2), by the rules and in the order of the code that made it: c4_utils.py of TensorFlow Datasets,
version 3.0.1.

Paper and code differ; these are the code's rules, with the paper's and datatrove's as parameters. Its whole chain over WET files, whose
pages it takes with their first line and however short:

    - read.wet.Wet: {title: keep, min_chars: 0}
    - dedup.url.Url: {url_key: c4}
    - c4.Clean: {punkt: punkt}                 # models: {punkt: {known: punkt_tab.zip}}
    - c4.Lines: {punkt: punkt}
    - c4.Language
    - c4.BadWords: {words: LIST}
    - c4.Split

Releases 2.x look for bad words in each line that stays: `c4.BadWords: {words: LIST, boundary: letters}` right behind `c4.Clean`.
Cost per core: c4.Clean 120 MB/s of WET (datatrove's filter: 0.6, and 12 without counting sentences); c4.Lines 50 MB/s to find the lines
and 20 to take them out, for sentences are counted; c4.BadWords 105 MB/s; c4.Language 0.4 MB/s, 8 ms a page, all of it in langdetect.
Sentences are counted in the first 100,000 characters of a line or page (`punkt.LONGEST`): what is behind them makes no page a good one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import md5
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from classifiers import punkt
from curate.batch import Array, Batch, Check, Mask, Removed, at_least, at_most
from curate.errors import CurateError, RecipeError
from curate.kernels import lines as line_kernels
from curate.kernels import membership
from curate.stage import ADDRESS, Checks, Filter, Global, Model, Transform
from stages import c4_kernels as kernels
from stages.dedup.lines import _lines, _looked_up, _removed, _starts
from stages.dedup.url import c4_keys

LANGUAGES = (  # of langdetect 1.0.9
    "af ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr ne nl no pa pl pt ro ru sk sl so sq sv "
    "sw ta te th tl tr uk ur vi zh-cn zh-tw"
)


@dataclass(frozen=True)
class Clean(Transform):
    """Keep the lines that are sentences, and the pages that have some.

    Of a line, in this order: a long word, no end mark or few words drop it; "lorem ipsum" drops its page; "javascript" drops it; a curly
    bracket drops its page; a policy drops it. So what drops a page does so only in a line that has come so far. Citation marks, as [3] or
    [edit], are deleted first, and white space that this leaves at a line's end stays. Lines end where str.splitlines has it.
    As datatrove: `{min_words: 3, min_sentences: 5, count_words: before, headers: [], max_chars: null}`, and the apostrophe as an end mark.
    """

    punkt: Model  # Punkt's parameters, as {known: punkt_tab.zip}; c4_utils: NLTK's trained ones
    language: str = "english"  # of Punkt's parameters; c4_utils: English, whatever the page is written in
    min_words: Annotated[int, Field(ge=0)] = 5  # of a line; c4_utils and today's paper: 5; the paper of 2019 and datatrove: 3
    min_sentences: Annotated[int, Field(ge=0)] = 3  # of a page; c4_utils and today's paper: 3; the paper of 2019 and datatrove: 5
    max_chars: Annotated[int, Field(ge=1)] | None = 190_000  # c4_utils: of a page, without headers, blank lines and space around lines
    max_word: Annotated[int, Field(ge=1)] = 1000  # c4_utils: characters; a line with a longer word goes
    end_marks: str = '.?!"'  # c4_utils; the paper's "end quotation mark" is the ASCII one; datatrove: also the apostrophe
    count_words: Literal["before", "after"] = "after"  # that citation marks are deleted; c4_utils: after, datatrove: before
    headers: tuple[str, ...] = ("WARC", "Content-", "CONTENT-")  # c4_utils: beginnings of lines that are no text, within pages as well
    policies: tuple[str, ...] = (  # c4_utils: phrases of lines that go
        "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
    )  # fmt: skip

    def check(self) -> None:
        punkt.check(self.punkt, self.language)

    def __post_init__(self) -> None:
        if not self.end_marks:
            raise RecipeError("end_marks: without any, no line is kept")
        for name in ("policies", "headers"):
            if not all(getattr(self, name)):
                raise RecipeError(f"{name}: an empty text is part of every line")
        if any(phrase != phrase.lower() for phrase in self.policies):
            raise RecipeError("policies: lines are compared in lower case; write these so too")

    @cached_property
    def sentences(self) -> Any:
        return punkt.load(self.punkt, self.language)

    def apply(self, batch: Batch) -> tuple[Batch, Checks, Removed]:
        """Each line is a sentence at least: so they are counted only in pages of fewer lines, unless another rule drops the page."""
        limits = self.max_word, self.min_words, self.count_words == "before"
        first, last, rule, chars, *written = kernels.judge(*batch.utf8, self.headers, self.end_marks, self.policies, limits)
        cleaned, held = batch.with_text(_texts(*written)), _counted(first, last, rule)
        checks: Checks = {
            "too_long": Check(np.ones(len(batch), np.bool_)) if self.max_chars is None else at_most(chars, self.max_chars),
            "lorem_ipsum": at_most(held[:, kernels.LOREM_IPSUM], 0),
            "curly_bracket": at_most(held[:, kernels.CURLY_BRACKET], 0),
        }
        stays = np.all([check.passed for check in checks.values()], axis=0)
        count = np.where(stays, np.minimum(held[:, kernels.KEPT], self.min_sentences), self.min_sentences)
        unsure = np.flatnonzero((count > 0) & (count < self.min_sentences))
        for row, text in zip(unsure.tolist(), cleaned.text.take(pa.array(unsure)).to_pylist(), strict=True):
            count[row] = min(self.min_sentences, sum(punkt.count(self.sentences, line, self.min_sentences) for line in text.split("\n")))
        checks["few_sentences"] = at_least(count, self.min_sentences)
        return cleaned, checks, _gone(first, last, rule)


def _texts(text: Array, offsets: Array) -> pa.LargeStringArray:
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(text))


def _counted(first: Array, last: Array, rule: Array) -> Array:
    """int64[documents, rules]: lines of each rule."""
    kinds = kernels.HEADER + len(kernels.RULES)
    rows = np.repeat(np.arange(len(first)), last - first)
    return np.bincount(rows * kinds + rule, minlength=len(first) * kinds).reshape(-1, kinds)


def _gone(first: Array, last: Array, rule: Array) -> Removed:
    """All lines that go but for blank ones."""
    gone = np.flatnonzero(rule >= kernels.HEADER)
    number = np.arange(len(rule)) - np.repeat(first, last - first)
    bounds = np.searchsorted(gone, first), np.searchsorted(gone, last)
    return Removed(*bounds, number[gone].astype(np.int32), np.zeros(len(gone), np.int64), rule[gone] - kernels.HEADER, kernels.RULES)


def _digests(batch: Batch) -> list[bytes]:
    """The MD5 of each document's URL as C4 has it; of the empty text for one without."""
    keys = c4_keys(pc.fill_null(batch["url"].cast(pa.string()), ""))
    return [md5(key.encode(), usedforsecurity=False).digest() for key in keys.to_pylist()]


@dataclass(frozen=True)
class Lines(Global):
    """Of each line keep one copy, in the page whose URL has the smallest MD5, where it stands first; drop pages with few sentences left.

    Lines are the same if they are so without white space around them and in lower case. They travel as 64-bit hashes: among the five
    billion of C4 one false pair is to be expected, which costs one page a line. Of the MD5, of the URL as `dedup.url` knows it by `url_key:
    c4`, the first 64 bits travel; of pages that agree in them the first in corpus order keeps the line.
    """

    punkt: Model  # c4_utils; as of c4.Clean
    language: str = "english"  # c4_utils; as of c4.Clean
    min_sentences: Annotated[int, Field(ge=0)] = 3  # c4_utils: of the page that is left, counted anew over its text

    @property
    def reads(self) -> tuple[str, ...]:
        return ("url",)

    def check(self) -> None:
        punkt.check(self.punkt, self.language)

    @cached_property
    def sentences(self) -> Any:
        return punkt.load(self.punkt, self.language)

    def emit(self, batch: Batch) -> pa.RecordBatch:
        lines = _lines(batch)
        row, key = membership.distinct_in_documents(lines.first, lines.last, kernels.hash_lines(batch.utf8[0], lines.start, lines.end))
        rank = np.array([int.from_bytes(digest[:8], "big") for digest in _digests(batch)], np.uint64)
        return pa.record_batch({"key": key, "row": row, "rank": rank[row], "count": np.ones(len(key), np.uint32)})

    def combine(self, keys: pa.Table) -> pa.Table:
        """A row for each line: how many documents hold it, and which of them keeps it."""
        key, doc, rank, count = (keys[c].to_numpy() for c in ("key", "doc", "rank", "count"))
        order = np.argsort(key, kind="stable")
        first = _starts(key[order])
        size = np.diff(first, append=len(key))
        shared = np.repeat(size > 1, size)
        rows = order[shared]
        order[shared] = rows[np.lexsort((doc[rows], rank[rows], key[rows]))]
        best = order[first]
        total = np.add.reduceat(count[order], first, dtype=np.uint32) if len(key) else count
        return pa.table({"key": key[best], "doc": doc[best], "rank": rank[best], "count": total})

    def reduce(self, keys: pa.Table) -> pa.Table:
        """The lines of several documents: how many hold each, and which keeps it."""
        found = self.combine(keys)
        found = found.filter(pc.greater(found["count"], 1))
        return pa.table({"key": found["key"], "count": found["count"].cast(pa.int64()), "until": found["doc"]})

    def apply(self, batch: Batch, verdict: pa.Table) -> tuple[Batch, Checks, Removed]:
        lines = _lines(batch)
        hashes = kernels.hash_lines(batch.utf8[0], lines.start, lines.end)
        others, keeper = _looked_up(hashes, verdict)
        address = int(verdict.schema.metadata[ADDRESS]) + np.repeat(np.arange(len(batch)), lines.count)
        keep = ((others < 0) | (keeper == address)) & membership.first_in_document(lines.first, lines.last, hashes)
        *written, left = line_kernels.rewrite(batch.utf8[0], lines.first, lines.last, lines.start, lines.end, keep)
        after = batch.with_text(_texts(*written))
        count = after.score(lambda text: punkt.count(self.sentences, text, self.min_sentences))
        checks: Checks = {"no_line_left": Check(left > 0), "few_sentences": at_least(count, self.min_sentences)}
        return after, checks, _removed(lines, keep, others)


@dataclass(frozen=True)
class Language(Transform):
    """Keep pages of one language by langdetect (Shuyo 2010), and add what it finds: `language` and `language_score`.

    It draws n-grams at random: each page is begun with the same seed, so that what is found does not depend on what came before.
    """

    language: str = "en"  # c4_utils: en; of the languages of langdetect
    least: Annotated[float, Field(ge=0, le=1)] = 0.99  # c4_utils and 2.2: the probability of the likeliest language
    seed: int = 0  # c4_utils

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES.split():
            raise RecipeError(f"language: expected one that langdetect knows, found {self.language!r}; those are {LANGUAGES}")

    @property
    def adds(self) -> tuple[str, ...]:
        return "language", "language_score"

    @cached_property
    def detectors(self) -> Any:
        """Makes the detector of each page."""
        from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

        factory = DetectorFactory()
        factory.load_profile(PROFILES_DIRECTORY)
        factory.seed = self.seed
        return factory

    def apply(self, batch: Batch) -> tuple[Batch, Checks]:
        found = [self._likeliest(text) for text in batch.text.to_pylist()]
        language = np.array([name for name, _ in found], object)
        score = np.array([score for _, score in found], np.float64)
        checks: Checks = {
            "no_language": Check(language != ""),  # too little text, or none that is likely at all
            "unsure": at_least(score, self.least),
            "other_language": Check(language == self.language, score),
        }
        return batch.with_column("language", pa.array(language, pa.string())).with_column("language_score", score), checks

    def _likeliest(self, text: str) -> tuple[str, float]:
        from langdetect.lang_detect_exception import LangDetectException

        detector = self.detectors.create()
        try:
            detector.append(text)
            found = detector.get_probabilities()
        except LangDetectException:
            return "", 0.0
        return (found[0].lang, found[0].prob) if found else ("", 0.0)


@dataclass(frozen=True)
class BadWords(Filter):
    """Drop pages in which a word of a list stands by itself, in any letter case.

    C4's list is LDNOOBW (List of Dirty, Naughty, Obscene, and Otherwise Bad Words), its file `en` at commit 25e679f; it is not part of this
    project. A page that merely quotes or studies such a word goes as well.
    """

    words: Model  # path of a text file, a word or phrase on each line; c4_utils: LDNOOBW's for English
    boundary: Literal["word", "letters"] = "word"  # c4_utils 3.x: text's end or no \w; 2.x: a character of the line that is not a to z
    language: str = ""  # of the list: pages of another by their column `language` stay; ours: empty, so that all are looked at

    @property
    def reads(self) -> tuple[str, ...]:
        return ("language",) if self.language else ()

    def check(self) -> None:
        if self.words.path:
            self.listed()

    def listed(self) -> list[str]:
        """The words, in lower case. Raises CurateError where there are none."""
        try:
            with open(self.words.path, encoding="utf-8") as file:
                found = {line.strip().lower() for line in file}
        except (OSError, UnicodeDecodeError) as error:
            raise CurateError(f"{self.words.path}: cannot be read as a list of words, one a line in UTF-8 ({error})") from error
        if not found - {""}:
            raise CurateError(f"{self.words.path}: expected a list of words, one a line; found none")
        return sorted(found - {""})

    @cached_property
    def index(self) -> Any:
        return kernels.index_of(self.listed())

    def keep(self, batch: Batch) -> Checks:
        bad = kernels.holds_word(*batch.utf8, self.index, self.boundary == "letters")
        if self.language:
            other = pc.not_equal(batch["language"].cast(pa.string()), self.language)
            bad &= ~pc.fill_null(other, True).to_numpy(zero_copy_only=False)
        return {"bad_word": Check(~bad)}


@dataclass(frozen=True)
class Split(Filter):
    """Keep the pages of one part: validation is one of `parts` by the MD5 of the URL as `dedup.url` knows it by `url_key: c4`."""

    part: Literal["train", "validation"] = "train"  # ours: what models learn from
    parts: Annotated[int, Field(ge=1)] = 1000  # ours, as c4.py of TensorFlow Datasets: the MD5 as a number, modulo 1000, is 0

    @property
    def reads(self) -> tuple[str, ...]:
        return ("url",)

    def keep(self, batch: Batch) -> Mask:
        held_out = np.array([int.from_bytes(digest, "big") % self.parts == 0 for digest in _digests(batch)], np.bool_)
        return held_out if self.part == "validation" else ~held_out
