"""The files of a LaTeX project: which is the main one, and which file an \\input means."""

from __future__ import annotations

import re
from collections.abc import Mapping

CLASS = re.compile(r"\\document(?:class|style)\s*+(?:\[[^\]]{0,2000}+\]\s*+)?\{\s*+([^{}]{0,200}+)\}")
INPUT = re.compile(
    r"\\(?:input|include|subfile|subfileinclude|(?:sub)?import\s*+\{([^{}]{0,300}+)\})"
    r"(?:\s*+\{([^{}]{1,300}+)\}|[ \t]+([^\s{}\\%]{1,300}+))"
)
HEADING = re.compile(r"\\(?:part|chapter|section|subsection|subsubsection)\*?\s*+[\[{]")
REACH = 1000  # files that are looked at behind one
LOOKED = 1_000_000  # inputs that are looked at behind all
SLIDES = ("beamer", "seminar", "slides", "prosper", "powerdot", "standalone", "sciposter", "baposter", "tikzposter", "letter")


class Project:
    """Texts by name, without their comments."""

    def __init__(self, files: Mapping[str, str]):
        self.files = files
        self._by_path = {normal(name): name for name in files}
        self._by_name: dict[str, str | None] = {}
        for path, name in self._by_path.items():
            last = path.rpartition("/")[2]
            self._by_name[last] = None if last in self._by_name else name

    def find(self, wanted: str, folder: str = "") -> str | None:
        """The file that an \\input means: as named from the main file's `folder`, which is normal, or from the root, or the only one of
        that name."""
        path = normal(wanted.strip().strip('"'))
        if not path:
            return None
        for ending in ("", ".tex"):
            for start in (f"{folder}/", "") if folder else ("",):
                found = self._by_path.get(f"{start}{path}{ending}")
                if found is not None:
                    return found
        last = path.rpartition("/")[2]
        return self._by_name.get(last) or self._by_name.get(f"{last}.tex")

    def roots(self) -> list[str]:
        """The main file, which has a \\documentclass or an input that has one; where none does, all files that are nobody's input.

        Of several main files: no slides, posters or letters if there is anything else, then one with headings, then the one nearest to
        the project's root, then the longest with its inputs, then the first.
        """
        if len(self.files) == 1:
            return list(self.files)
        inputs = {name: self._inputs(name) for name in self.files}
        used = {other for name, others in inputs.items() for other in others if other != name}
        tops = [name for name in self.files if name not in used] or list(self.files)
        classes = {name: found[1] for name, text in self.files.items() if (found := CLASS.search(text))}
        headed = {name for name, text in self.files.items() if HEADING.search(text)}
        ranks = []
        looked = 0
        for name in tops:
            parts, seen = _reachable(name, inputs, LOOKED - looked)
            looked += seen
            kind = next((classes[part] for part in parts if part in classes), None)
            if kind is not None:
                slides, bare = any(mark in kind for mark in SLIDES), headed.isdisjoint(parts)
                ranks.append((slides, bare, normal(name).count("/"), -sum(len(self.files[part]) for part in parts), name))
        return [min(ranks, key=lambda rank: rank[:-1])[-1]] if ranks else tops

    def _inputs(self, name: str) -> list[str]:
        folder = normal(name.rpartition("/")[0])
        found = (self.find(f"{path}/{one or two}", folder) for path, one, two in INPUT.findall(self.files[name]))
        return list(dict.fromkeys(other for other in found if other is not None))


def _reachable(name: str, inputs: Mapping[str, list[str]], most: int) -> tuple[list[str], int]:
    """(the file with those behind it, of how many inputs); of no more than `most` inputs, or it is alone."""
    seen = {name: None}
    pending = [name]
    looked = 0
    while pending and len(seen) < REACH and looked < most:
        others = inputs[pending.pop()]
        looked += len(others)
        for other in others:
            if other not in seen:
                seen[other] = None
                pending.append(other)
    return list(seen), looked


def normal(path: str) -> str:
    """A path without empty parts and dots."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))
