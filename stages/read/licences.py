"""The licence of each file of a repository, and the evidence for it: licence files, what metadata declare, and the verdicts on them.

A file is under the licence of the nearest folder above it that has a licence file: a vendored part is judged by its own. Several files in
one folder count all (AND), unless the metadata beside them declare the same licences as a choice. What is left of a text beside known
licences becomes `LicenseRef-unmatched`, which no list of licences to keep will hold; so does a licence file that cannot be had. Metadata
alone decide where there is no licence file, and narrow where there is one above. Of an archive that loses its end nothing is known of
what was in the rest: its files have no licence but what they say of themselves.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from email.parser import BytesHeaderParser
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

import pyarrow as pa

from stages.read.apart import Apart, Failed
from stages.read.members import Member, Refused
from stages.spdx import UNMATCHED, conjunction, is_listed, keys, parsed

TOP = 8192  # characters of a file, in which it says what it is under
TAG = re.compile(r"(?:^|(?<=[\r\n]))([^\r\n]{0,200}?)SPDX-License-Identifier[ \t]*:[ \t]*([^\r\n]{0,600})", re.IGNORECASE)
CLOSES = re.compile(r"\*/|-->|[#*%-]\}|\*\)|\]\]|%>|[\"'`<>]")  # a comment, or a string that holds one
SPACE = re.compile(r"[\W_]+")
GNU = re.compile(  # of the words of a text: what puts a file under one of GNU's licences, and not what only speaks of them
    r"\b(?:terms|under|modify it)\b(?: \w+){0,12}? gnu (?:(lesser|library|affero) )?(?:general )?public licen[cs]e((?: \w+){0,40})"
    r"|\b(?:licen[cs]e[ds]?|released|distributed)(?: (?:under|is|are|by|the|terms|of|a)){0,5}"
    r" (?:gnu )?([al]?)gpl(?= |v?[0-9]|$)((?:v?[0-9])?(?: \w+){0,12})"
)
MOZILLA = re.compile(r"\b(?:terms|under|licen[cs]e[ds]?)\b(?: \w+){0,4}? (?:mozilla public licen[cs]e|mpl)(?: version)?(?: v)? ?v?([12])?")
LATER = re.compile(r"\bor (?:\w+ ){0,5}(?:later|newer|higher)\b")
LONGEST = 64_000  # bytes of a licence file; longer ones quote those of dozens of parts
MOST_NAMED = 80  # characters of the name of a licence
MOST = 20_000  # files of one repository that are looked at
SECONDS, MEMORY = 60.0, 1 << 30  # of processor time for a text: real ones take 7 at most; of address space
CODE = re.compile(
    r"\.(py[a-z]?|[jt]sx?|[cm]js|json|go|c|h|cc|cpp|hpp|cs|java|kt|rb|rs|php|pl|sh|xml|html?|css|ya?ml|toml|png|svg|pdf|csv|tsv|ini|cfg|in|lock|po)$"
)
NAME = re.compile(
    r"(?:un)?licen[cs]es?\b|copying\b|copyright(?:\.(?:txt|md|rst))?$|.*[-_.]licen[cs]e(?:\.(?:txt|md|rst))?$|(?:un)?licen[cs]e_"
)
THIRD_PARTY = re.compile(r"third[-_ ]?part|3rd[-_ ]?part")
NO_LICENCE = re.compile(
    r"header|template|authors|notice|contributors|contributing|conduct|thanks|patents|\.about$|^(?:readme|changes|changelog|history|news)\b(?!.*licen[cs]e)"
)
POINTER = 120  # words of a text that holds no licence, and no terms: it says which other file does, or names one
LICENCES = re.compile(r"licen[cs]es?")  # a folder of licence files
FOLDER = re.compile(r"licen[cs]es?|.*\.(?:dist|egg)-info|meta-inf")  # speaks for the folder that it is in
METADATA = ("metadata", "pkg-info", "package.json", "pyproject.toml", "cargo.toml")
CLASSIFIERS = {"MIT License": "MIT", "ISC License (ISCL)": "ISC", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0"}  # that tell which
GNU_CLASSIFIER = re.compile(r"GNU .*\(([AL]?GPLv[0-9]\+?)\)")
NAMED = {
    "mit license": "MIT",
    "the mit license": "MIT",
    "apache license 2.0": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache2": "Apache-2.0",
}
NAMED |= {
    "apache license, version 2.0": "Apache-2.0",
    "bsd 3-clause": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "bsd 2-clause": "BSD-2-Clause",
}

SCHEMA = pa.schema(
    {"repository": pa.string(), "folder": pa.string(), "file": pa.string(), "sha256": pa.string(), "expression": pa.string()}
    | {"score": pa.float32(), "matched_by": pa.string(), "verdict": pa.string()}
)


class Looked(NamedTuple):
    """One file that was looked at. `verdict` is matched, partial, unknown, unreadable, pointer, notice, third_party, declared or lost."""

    folder: str
    file: str
    sha256: str
    expression: str | None
    score: float | None
    matched_by: str | None
    verdict: str

    def below(self, top: str) -> Looked:
        """As seen from a folder that all are in, named with its slash."""
        return self._replace(folder=f"{self.folder}/".removeprefix(top).rstrip("/"), file=self.file.removeprefix(top))


class Verdict(NamedTuple):
    """The licence of a folder and all below it, down to folders with one of their own."""

    expression: str | None
    score: float | None  # the lowest of its files
    file: str | None  # the first of its files


NONE = Verdict(None, None, None)


def is_evidence(name: str) -> bool:
    """Whether a member, by its name, says something about licences."""
    *folders, base = name.lower().split("/")
    if base in METADATA:
        return base != "metadata" or bool(folders and folders[-1].endswith(".dist-info"))
    if CODE.search(base) or NO_LICENCE.search(base):
        return False
    return bool(NAME.match(base)) or bool(folders and LICENCES.fullmatch(folders[-1]))


def look(found: Iterable[Member | Refused], min_score: float) -> list[Looked]:
    """The evidence in the members of one repository that are some, in their order; last that there is more, if it cannot be had.

    Behind a text on which the matcher fails no more are tried, so that a repository costs one patience at most.
    """
    out: list[Looked] = []
    failed = False
    for member in found:
        if len(out) >= MOST or (isinstance(member, Refused) and not member.name and member.kind != "path"):
            return [*out, Looked("", "", "", None, None, None, "lost")]
        folder = _folder(member.name)
        base = member.name.rsplit("/", 1)[-1].lower()
        if isinstance(member, Refused):
            if member.name and not THIRD_PARTY.search(base):
                out.append(Looked(folder, member.name, "", UNMATCHED, None, None, "unreadable"))
            continue
        digest = sha256(member.data).hexdigest()
        if base in METADATA:
            if expression := declared(base, member.data):
                out.append(Looked(folder, member.name, digest, expression, None, "metadata", "declared"))
            continue
        looked = Looked(folder, member.name, digest, UNMATCHED, None, None, "third_party" if THIRD_PARTY.search(base) else "unreadable")
        if len(member.data) <= LONGEST and not failed:
            result = _matched(digest, member.data)
            failed = isinstance(result, Failed)
            looked = looked if isinstance(result, Failed) else _judged(looked, result, min_score)
            if looked.verdict == "pointer" and (named := _named(member.data.decode("utf-8", "replace"))):
                looked = looked._replace(expression=named)
        out.append(looked)
    return out


def _folder(name: str) -> str:
    """The folder that a file of evidence speaks for."""
    return "/".join(part for part in name.split("/")[:-1] if not FOLDER.fullmatch(part.lower()))


def _judged(looked: Looked, result: dict[str, Any], min_score: float) -> Looked:
    names, score = result["licences"], result["score"]
    whole = bool(names) and score >= min_score and not result["restricts"]
    verdict = "matched" if whole else "partial" if names else "unknown" if result["words"] > POINTER or result["terms"] else "pointer"
    if not names and looked.file.rpartition("/")[2].lower().startswith("copyright") and not result["terms"]:
        verdict = "notice"  # whose it is
    verdict = looked.verdict if looked.verdict == "third_party" else verdict
    expression = " AND ".join(names if whole else [*names, UNMATCHED])
    return looked._replace(expression=expression, score=score, matched_by=result["by"] or None, verdict=verdict)


_KNOWN: dict[str, dict[str, Any] | Failed] = {}  # by digest: most repositories have the same few texts


@cache
def _apart() -> Apart:
    return Apart("stages.read.licence_match:matcher", None, SECONDS, MEMORY)


def _matched(digest: str, data: bytes) -> dict[str, Any] | Failed:
    if digest not in _KNOWN:
        if len(_KNOWN) >= 100_000:
            _KNOWN.clear()
        _KNOWN[digest] = _apart()([data.decode("utf-8", "replace")])[0]
    return _KNOWN[digest]


def verdicts(evidence: Iterable[Looked]) -> dict[str, Verdict]:
    """By folder, of those that have evidence of their own; the root is ""."""
    files: dict[str, list[Looked]] = {}
    said: dict[str, list[Looked]] = {}
    for looked in evidence:
        if looked.verdict == "lost":
            return {}
        if looked.verdict == "declared":
            said.setdefault(looked.folder, []).append(looked)
        elif looked.verdict not in ("third_party", "notice"):
            files.setdefault(looked.folder, []).append(looked)
    out = {folder: _of_files(held, said.get(folder, [])) for folder, held in files.items()}
    for folder, declarations in sorted(said.items()):
        if folder not in files:
            above = of_folder(folder, out)
            both = [above.expression] if above.expression else []
            out[folder] = Verdict(conjunction([*both, *_expressions(declarations)]), above.score, above.file or declarations[0].file)
    return out


def _expressions(found: Sequence[Looked]) -> list[str]:
    return [looked.expression or UNMATCHED for looked in found]


def _family(expression: str) -> frozenset[str]:
    """What an expression names, without which versions of it: one text stands for `-only` and `-or-later`."""
    return frozenset(re.sub(r"-only$|-or-later$|\+$", "", key) for key in keys(expression))


def _of_files(files: Sequence[Looked], said: Sequence[Looked]) -> Verdict:
    """Of those that lie least deep: a folder `LICENSES` beside a file `LICENSE` holds those of parts.

    Metadata beside them choose between the same licences, decide where the files only point, and narrow where they name others.
    """
    depth = min(looked.file.count("/") for looked in files)
    least = [looked for looked in files if looked.file.count("/") == depth]
    least = [looked for looked in least if looked.verdict != "pointer"] or least
    if said and all(looked.verdict == "pointer" for looked in least):
        least = [*(looked for looked in least if looked.expression != UNMATCHED), *said]  # one that names a licence counts
        return Verdict(conjunction(_expressions(least)), None, least[0].file)
    expression = conjunction([UNMATCHED if looked.verdict == "pointer" else looked.expression or UNMATCHED for looked in least])
    if said:
        declared = conjunction(_expressions(said))
        same = _family(declared) == _family(expression)
        expression = declared if same else conjunction([expression, declared])
    return Verdict(expression, min(looked.score or 0.0 for looked in least), least[0].file)


def of_folder(folder: str, found: dict[str, Verdict]) -> Verdict:
    """The verdict of the nearest folder that has one."""
    while folder not in found:
        if not folder:
            return NONE
        folder = folder.rpartition("/")[0]
    return found[folder]


def own(text: str, name: str, above: Verdict) -> Verdict | None:
    """What a file says of itself near its top, by SPDX tags or in the words of GNU's and Mozilla's notices.

    A tag that begins its comment decides, one behind other text adds to what is said above; one that opens a string is only text.
    """
    top = text[:TOP]
    lower = top.lower()
    said = []
    if "spdx-license-identifier" in lower:
        for before, value in TAG.findall(top):
            leads = not any(map(str.isalnum, before))
            if (expression := _tagged(value)) and (leads or before[-1:] not in ("'", '"', "`")):
                said += [expression] if leads or not above.expression else [expression, above.expression]
    if any(word in lower for word in ("gnu", "gpl", "mozilla", " mpl")) and not is_evidence(name):
        said += filter(None, [gnu_or_mozilla(TAG.sub("", top))])
    return Verdict(conjunction(said), None, name) if said else None


def _tagged(value: str) -> str | None:
    """The expression of a tag, unmatched where it names none of the SPDX list; None for nothing."""
    value = CLOSES.split(value, maxsplit=1)[0].strip(" \t*#-;!%/=|.,\\")
    tree = parsed(value)
    return None if not value else str(tree) if tree is not None and is_listed(tree) else UNMATCHED


def gnu_or_mozilla(text: str) -> str | None:
    """The licence of which a text holds the notice, or names it as its licence."""
    text = SPACE.sub(" ", text.lower().replace("+", " or later "))
    if found := GNU.search(text):
        kind = {"lesser": "LGPL", "library": "LGPL", "affero": "AGPL", "l": "LGPL", "a": "AGPL"}.get(found[1] or found[3], "GPL")
        after = found[2] or found[4] or ""
        number = re.search(r"[123](?: [01]\b)?", after)
        version = number[0].replace(" ", ".") if number else "2.0" if kind == "LGPL" else "3.0" if kind == "AGPL" else "1.0"
        version += "" if "." in version else ".0"
        expression = f"{kind}-{version}-{'or-later' if not number or LATER.search(after) else 'only'}"
    elif found := MOZILLA.search(text):
        expression = f"MPL-{found[1] or 2}.0" if found[1] != "1" else "MPL-1.1"
    else:
        return None
    tree = parsed(expression)
    return str(tree) if tree is not None and is_listed(tree) else UNMATCHED


def table(repository: str, evidence: Sequence[Looked]) -> pa.RecordBatch:
    """Rows of the run's table; one that says so for a repository without any evidence."""
    rows = evidence or [Looked("", "", "", None, None, None, "no_licence")]
    columns = [[repository] * len(rows), *([value or None for value in column] for column in zip(*rows, strict=True))]
    columns[1] = [looked.folder for looked in rows]
    columns[5] = [looked.score for looked in rows]
    return pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def declared(base: str, data: bytes) -> str | None:
    """The expression that metadata declare, if it names licences of the SPDX list only."""
    for value in _values(base, data[:LONGEST]):
        if expression := _named(value) if isinstance(value, str) else None:
            return expression
    return None


def _named(text: str) -> str | None:
    """The licence that a few words name."""
    text = text.strip()
    tree = parsed(NAMED.get(text.lower(), text.replace("/", " OR ")))
    if tree is not None and is_listed(tree):
        return str(tree)
    return gnu_or_mozilla(f"license: {text}") if len(text) <= MOST_NAMED else None


def _values(base: str, data: bytes) -> list[Any]:
    with suppress(ValueError, RecursionError, KeyError, AttributeError, TypeError):
        if base in ("metadata", "pkg-info"):
            headers = BytesHeaderParser().parsebytes(data)
            last = [str(c).rpartition(" :: ")[2] for c in headers.get_all("Classifier", [])]
            classifiers = [_named(gnu[1]) if (gnu := GNU_CLASSIFIER.fullmatch(c)) else CLASSIFIERS.get(c) for c in last]
            return [headers.get("License-Expression"), headers.get("License"), " AND ".join(filter(None, classifiers))]
        if base == "package.json":
            licence = json.loads(data).get("license")
            return [licence.get("type") if isinstance(licence, dict) else licence]
        document = tomllib.loads(data.decode())
        licence = document[{"cargo.toml": "package"}.get(base, "project")].get("license")
        return [licence.get("text") if isinstance(licence, dict) else licence]
    return []
