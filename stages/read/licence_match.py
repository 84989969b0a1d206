"""Which licences of the SPDX list a text holds: run in a process of its own, for the library's patterns can be slow on hostile text.

First by likeness: the words of the text against those of each licence, without lines of copyright, as GitHub's licensee does it. A text
that is no single licence is given to spdx-matcher, whose patterns find several in one file, and the notices that stand for one.
The score is the share of the text's words that the licences found account for.

On the 383 licence files of 221 installed packages: of 77 that should hold just what the package declares, 71 give that expression; the
others have other texts in them, or are one text that two identifiers share. spdx-matcher alone takes most copies of Apache-2.0 for
mere notices. Likeness takes 7 ms a text, the patterns up to 7 s; 60 MB, 0.5 s to start. The other kept library, scancode-toolkit-mini
32.5, is 731 MB in 79 packages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

COPYRIGHT = re.compile(  # a line that says whose it is; not any that a text was broken into
    r"^[^\w\n]*(?:copyright\b(?=.{0,20}(?:\(c\)|©|[0-9]{4}|<|\[|\bby\b))|\(c\)\W{0,3}[0-9]{4}|©|all rights reserved).*$",
    re.IGNORECASE | re.MULTILINE,
)
WORD = re.compile(r"[a-z0-9]+")
ALIKE = 0.93  # Dice's coefficient of the words; licensee asks for 0.98 of texts with the title and more taken out
END = re.compile(r"\bEND OF TERMS AND CONDITIONS\b")  # what follows says how to apply the licence, and is often left out
RESTRICTS = frozenset(("commercial", "noncommercial", "academic", "evaluation", "proprietary", "confidential", "military", "evil"))

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
        self.whole = [(key, form, sum(form.values())) for key, form in forms]

    def __call__(self, text: str) -> dict[str, Any]:
        """{licences, score, by: "likeness", "text" or "notice", words: how many, restricts: whether what is left sounds like terms}."""
        found = words(text)
        total = sum(found.values())
        one = self._alike(found, total)
        licences, by = ([one], "likeness") if one else self._searched(text)
        expected: Words = Counter()
        for key in licences:
            expected += self.texts.get(key, Counter()) + self.headers.get(key, Counter())
        left = found - expected
        score = 1 - sum(left.values()) / total if total and licences else 0.0
        return {"licences": licences, "score": round(score, 4), "by": by, "words": total, "restricts": not RESTRICTS.isdisjoint(left)}

    def _alike(self, found: Words, total: int) -> str:
        best = (ALIKE, "")
        for key, expected, size in self.whole:
            if total and min(size, total) >= (2 * ALIKE - 1) * max(size, total):
                common = sum(min(count, expected[word]) for word, count in found.items() if word in expected)
                best = max(best, (2 * common / (total + size), key), key=lambda b: b[0])
        return best[1]

    def _searched(self, text: str) -> tuple[list[str], str]:
        for by, notices in (("text", False), ("notice", True)):
            found, _ = self._analyse(text, include_header_match=notices)
            if found["licenses"]:
                return sorted(found["licenses"]), by
        return [], ""


def words(text: str) -> Words:
    """How often each word comes, but for lines that say whose the copyright is."""
    return Counter(WORD.findall(COPYRIGHT.sub("", text).lower()))


def matcher(_settings: Any) -> Matcher:
    """For `Apart`."""
    return Matcher()
