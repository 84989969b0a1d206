"""Which licences of the SPDX list a text holds: run in a process of its own, for the library's patterns can be slow on hostile text.

First by likeness: the words of the text against those of each licence, without lines of copyright, as GitHub's licensee does it. A text
that is no single licence is given to spdx-matcher, whose patterns find several in one file, and the notices that stand for one.
The score is the share of the text's words that the licences found account for. A few words can turn a licence into another: those that
are not in a row with others as the licence has it, and those of the licence that the text lacks, must be few together and without any
that make terms.

On 303 licence files of installed packages: of 113 that stand alone beside one declared licence, 93 give it; the others have other texts
in them, say what else is under other terms, or are one text that two identifiers share. spdx-matcher alone takes most copies of
Apache-2.0 for mere notices. Likeness takes 7 ms a text, the patterns up to 7 s; 60 MB, 0.5 s to start. The other kept library,
scancode-toolkit-mini 32.5, is 731 MB in 79 packages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

COPYRIGHT = re.compile(  # a line that says whose it is; not any that a text was broken into
    r"^[^\w\n]*(?:copyright\b(?=.{0,20}(?:\(c\)|©|[0-9]{4}|<|\[|\bby\b))|\(c\)\W{0,3}[0-9]{4}|©|all rights reserved).*$",
    re.IGNORECASE | re.MULTILINE,
)
WORD = re.compile(r"[a-z0-9]+")
ALIKE = 0.93  # Dice's coefficient of the words; licensee asks for 0.98 of texts with the title and more taken out
MOST = 4  # licences as alike as that are compared word by word
END = re.compile(r"\bEND OF TERMS AND CONDITIONS\b")  # what follows says how to apply the licence, and is often left out
LIMITS = frozenset(  # words that no line of copyright has for long
    ("commercial", "noncommercial", "academic", "evaluation", "proprietary", "confidential", "military", "evil", "prohibited", "forbidden",
    "not", "must", "except", "only", "fee", "fees", "unless", "cannot", "never")
)  # fmt: skip
TERMS = LIMITS.union(  # words that make of a licence another one, added or left out
    ("no", "without", "neither", "nor", "nuclear", "training", "require", "requires", "required", "payment", "pay", "contract", "royalty"),
    ("consent", "approval", "permitted", "restricted", "personal", "subject", "provided", "condition", "agree", "additional", "modify"),
    ("sell", "sublicense", "publish", "redistribute", "merge", "free", "charge", "restriction"),
)
GRAM = 3  # words in a row that are in a licence as they are in a text: one word may be another, as a name is
RUN = 24  # words in a row that are in no such group; ours: a title, who wrote it

Words = Counter[str]


class Matcher:
    """The licences of the SPDX list."""

    def __init__(self) -> None:
        import spdx_matcher  # type: ignore[import-untyped]

        spdx_matcher.normalize = lru_cache(8)(spdx_matcher.normalize)  # it is asked anew for each licence: ten times as slow
        self._analyse: Callable[..., Any] = spdx_matcher.analyse_license_text
        _, known = spdx_matcher._load_license_analyser_cache()
        listed = {key: entry["metadata"] for key, entry in known["licenses"].items()}
        self.headers = {key: words(entry.get("standardLicenseHeader") or "") for key, entry in listed.items()}
        self.texts = {key: words(entry["licenseText"]) for key, entry in sorted(listed.items())}
        current = {key: entry["licenseText"] for key, entry in sorted(listed.items()) if not entry["isDeprecatedLicenseId"]}
        forms = [(key, words(form)) for key, text in current.items() for form in dict.fromkeys((text, END.split(text)[0]))]
        self.forms = {  # whole, without what follows its end, and the notice that stands for it
            key: list(filter(None, (entry["licenseText"], END.split(entry["licenseText"])[0], entry.get("standardLicenseHeader"))))
            for key, entry in sorted(listed.items())
        }
        self.whole = [(key, form, sum(form.values())) for key, form in forms]

    def __call__(self, text: str) -> dict[str, Any]:
        """{licences, score, by: "likeness", "text" or "notice", words: how many, restricts: whether
        it may say more than they, or less, terms: whether any word may make terms}."""
        text = text.replace("\r", "\n")
        found = words(text)
        total = sum(found.values())
        alike = self._alike(found, total)
        same = next((key for key in alike if not self._differs(text, [key])), "")
        licences, by = ([same], "likeness") if same else self._searched(text)
        restricts = not same and self._differs(text, licences)
        if alike and restricts:
            licences, by = alike[:1], "likeness"
        expected: Words = Counter()
        for key in licences:
            expected += self.texts.get(key, Counter()) + self.headers.get(key, Counter())
        left = found - expected
        score = 1 - sum(left.values()) / total if total and licences else 0.0
        return {
            "licences": licences,
            "score": round(score, 4),
            "by": by,
            "words": total,
            "restricts": restricts,
            "terms": not TERMS.isdisjoint(WORD.findall(text.lower())),
        }

    def _differs(self, text: str, licences: list[str]) -> bool:
        """Whether the text may say more than these licences, or less: it must have their words in their order."""
        said = sequence(text)
        forms = [[sequence(form) for form in self.forms[key]] for key in licences]
        if not LIMITS.isdisjoint(WORD.findall(" ".join(COPYRIGHT.findall(text)).lower())):
            return True
        known = {gram for some in forms for form in some for gram in _grams(form)}
        if any(map(_changes, _runs(said, known))):
            return True
        known = set(_grams(said))
        return any(all(any(map(_changes, _runs(form, known))) for form in some) for some in forms)

    def _alike(self, found: Words, total: int) -> list[str]:
        """The licences with about the same words, most alike first; few, as those that are twins of each other."""
        alike: dict[str, float] = {}
        for key, expected, size in self.whole:
            if total and min(size, total) >= (2 * ALIKE - 1) * max(size, total):
                common = sum(min(count, expected[word]) for word, count in found.items() if word in expected)
                if (dice := 2 * common / (total + size)) > ALIKE:
                    alike[key] = max(dice, alike.get(key, 0))
        return sorted(alike, key=lambda key: (-alike[key], key))[:MOST]

    def _searched(self, text: str) -> tuple[list[str], str]:
        for by, notices in (("text", False), ("notice", True)):
            found, _ = self._analyse(text, include_header_match=notices)
            if found["licenses"]:
                return sorted(found["licenses"]), by
        return [], ""


def sequence(text: str) -> list[str]:
    """The words, but for lines that say whose the copyright is."""
    return WORD.findall(COPYRIGHT.sub("", text).lower())


def _grams(found: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(found[n:] for n in range(GRAM)), strict=False)


def _runs(found: list[str], known: set[tuple[str, ...]]) -> Iterator[list[str]]:
    """The runs of words that are in no group of GRAM words that is known."""
    covered = bytearray(len(found))
    for at, gram in enumerate(_grams(found)):
        if gram in known:
            covered[at : at + GRAM] = b"\1" * GRAM
    for is_covered, run in groupby(zip(covered, found, strict=True), itemgetter(0)):
        if not is_covered:
            yield [word for _, word in run]


def _changes(run: list[str]) -> bool:
    return len(run) > RUN or not TERMS.isdisjoint(run)


def words(text: str) -> Words:
    """How often each word comes, but for lines that say whose the copyright is."""
    return Counter(sequence(text))


def matcher(_settings: Any) -> Matcher:
    """For `Apart`."""
    return Matcher()
