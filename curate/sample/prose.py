"""Where the sample's text comes from: the documentation, docstrings and sources that lie on every machine that runs this.

The standard library first, then the packages that `curate` needs, then whatever else is installed, each in order of name, until there is
enough. Files are parsed, never imported or run; tests and copies of other packages inside a package are passed over. About 6 s for
each 5 MB of prose.
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib import metadata
from pathlib import Path, PurePosixPath
from platform import python_version
from random import Random
from typing import NamedTuple

from curate.sample.rendered import Block, blocks, is_english

MIN_PAGE = 300
MAX_PAGE = 20_000
MAX_SOURCE = 1_000_000
TOPICS = "pydoc_data/topics.py"  # of the standard library: the language reference, as strings of another kind
TESTS = {"test", "tests", "testing", "idle_test", "test_data"}
OTHERS = {"site-packages", "dist-packages", "vendor", "vendored", "_vendor", "third_party", "thirdparty", "thirdparty_files", "lib2to3"}
SPDX = {  # the names of licences that packages without a licence expression declare
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
    "ISC License": "ISC",
}


@dataclass(frozen=True)
class Package:
    """What is installed under one name, with the licence that it declares."""

    name: str
    licence: str
    root: Path
    files: tuple[str, ...]  # below the root, sorted
    description: str = ""


class Page(NamedTuple):
    """A reference page: the docstrings of one module, or a part of them."""

    package: str
    module: str
    title: str
    blocks: tuple[Block, ...]


class Source(NamedTuple):
    """A file of real code."""

    package: str
    path: str
    licence: str
    text: str


def installed() -> Iterator[Package]:
    """The standard library, what `curate` needs, the rest; a package without a list of its files is passed over."""
    yield _standard_library()
    found = {_name(d.metadata["Name"]): d for d in metadata.distributions() if d.metadata["Name"]}
    needed: set[str] = set()
    waiting = ["curate"]
    while waiting:
        name = waiting.pop()
        if name in needed or name not in found:
            continue
        needed.add(name)
        waiting += [_name(r) for r in found[name].requires or () if not re.search(r";.*\bextra\b", r)]
    for name in [*sorted(needed), *sorted(found.keys() - needed)]:
        distribution = found[name]
        files = sorted({str(f) for f in distribution.files or () if _is_wanted(f)})
        if files and name != "curate":
            yield Package(name, _licence(distribution), Path(str(distribution.locate_file(""))), tuple(files), _description(distribution))


class Seen:
    """Remembers passages, to tell a page or a file that repeats an earlier one: only copies made on purpose belong in the sample."""

    def __init__(self, share: float = 0.3):
        self.share = share
        self._hashes: set[bytes] = set()

    def repeats(self, passages: Iterable[str]) -> bool:
        """Whether more than the share of the passages' characters was seen before; remembers them if not."""
        hashes = {blake2b(" ".join(p.split()).encode(), digest_size=8).digest(): len(p) for p in passages if len(p) >= 30}
        known = sum(size for key, size in hashes.items() if key in self._hashes)
        if known > self.share * sum(hashes.values()):
            return True
        self._hashes.update(hashes)
        return False


def pages(packages: Iterable[Package], rng: Random, count: int) -> list[Page]:
    """So many reference pages of 300 to 20,000 characters each, or what the machine has; the longer the likelier."""
    found: list[tuple[float, Page]] = []
    seen = Seen()
    total = 0
    for package in packages:
        for page in _pages_of(package, rng):
            size = sum(len(block.text) for block in page.blocks)
            if not seen.repeats(block.text for block in page.blocks if block.role != "heading"):
                found.append((rng.random() ** (1000 / size), page))
                total += size
        if total >= 3700 * count and len(found) >= count:
            break
    found.sort(key=lambda drawn: drawn[0], reverse=True)
    chosen = [page for _, page in found[:count]]
    rng.shuffle(chosen)
    return chosen


def sources(packages: Iterable[Package], rng: Random, count: int) -> list[Source]:
    """Files of code of 600 to 100,000 bytes, drawn over the packages so that a large one does not crowd out the others."""
    offered = []
    for package in packages:
        files = [f for f in package.files if f.endswith(".py")]
        if files:
            rng.shuffle(files)
            offered.append((package, files))
    found: list[Source] = []
    seen = Seen()
    while offered and len(found) < count:
        at = rng.choices(range(len(offered)), weights=[len(files) ** 0.5 for _, files in offered])[0]
        package, files = offered[at]
        path = files.pop()
        if not files:
            del offered[at]
        text = _read(package.root / path, most=100_000)
        if len(text) >= 600 and not seen.repeats(text.split("\n")):
            found.append(Source(package.name, f"{package.name}/{path}", package.licence, text))
    return found


def _standard_library() -> Package:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in TESTS | OTHERS]
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        files += [str(inside / name) for name in names if _is_wanted(inside / name)]
    return Package(f"python-{python_version()}", "PSF-2.0", root, tuple(sorted(files)))


def _name(requirement: str) -> str:
    """The normal form of a distribution's name, from the name or from a requirement."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match.group() if match else requirement).lower()


def _is_wanted(path: PurePosixPath) -> bool:
    if path.suffix not in (".py", ".pyi", ".md", ".rst") or path.is_absolute() or ".." in path.parts:
        return False
    return (TESTS | OTHERS).isdisjoint(path.parts) and not path.name.startswith(("test_", "conftest"))


def _licence(distribution: metadata.Distribution) -> str:
    """The declared licence: its expression, else its short name, else its classifier; as SPDX where that is certain."""
    declared = distribution.metadata.get_all("License-Expression") or distribution.metadata.get_all("License") or [""]
    licence: str = declared[0].strip()
    if not licence or "\n" in licence or len(licence) > 60:
        classifiers = distribution.metadata.get_all("Classifier") or []
        licence = next((c.split(" :: ")[-1] for c in classifiers if c.startswith("License ::")), "unknown")
    return SPDX.get(licence, licence)


def _description(distribution: metadata.Distribution) -> str:
    """The long description: what follows the headers of the metadata."""
    written = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    return written.partition("\n\n")[2]


def _read(path: Path, most: int = MAX_SOURCE) -> str:
    """The text of a file, with line feeds; empty where it is missing, too large or not UTF-8."""
    try:
        if path.stat().st_size > most:
            return ""
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n").replace("\0", "")
    except (OSError, UnicodeDecodeError):
        return ""


def _pages_of(package: Package, rng: Random) -> Iterator[Page]:
    yield from _cut(package.name, package.name, package.name, blocks(package.description), rng)
    for path in package.files:
        text = _read(package.root / path)
        module = ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")
        if path.endswith((".md", ".rst")):
            yield from _cut(package.name, module, PurePosixPath(path).stem.replace("_", " "), blocks(text), rng)
        elif path == TOPICS or _documented_characters(text) > max(MIN_PAGE, 0.1 * len(text)):
            yield from _cut(package.name, module, module, _documented(text, path), rng)


def _documented_characters(text: str) -> int:
    """About how many there are in docstrings: which files are worth parsing, at the cost of a search."""
    return sum(map(len, text.split('"""')[1::2]))


def _documented(text: str, path: str) -> list[Block]:
    """The docstrings of a module in the order of the source, each under its signature; also long strings of prose at its top level."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[Block] = []
    _collect(tree, "", found)
    return found


def _collect(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, owner: str, found: list[Block]) -> None:
    docstring = ast.get_docstring(node) or ""
    name = "" if isinstance(node, ast.Module) else f"{owner}{node.name}"
    if len(docstring) >= 60 and is_english(docstring):
        if not isinstance(node, ast.Module):
            found.append(Block("heading", name + _signature(node)))
        found += blocks(docstring)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not child.name.startswith("_") or child.name == "__init__":
                _collect(child, f"{name}." if name else "", found)
        elif isinstance(node, ast.Module) and isinstance(child, ast.Expr | ast.Assign) and not isinstance(child.value, ast.Constant):
            for part in ast.walk(child.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and len(part.value) >= 400 and is_english(part.value):
                    found += blocks(part.value)


def _signature(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    if isinstance(node, ast.ClassDef):
        return ""
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
    return f"({', '.join(names)})"


def _cut(package: str, module: str, title: str, found: list[Block], rng: Random) -> Iterator[Page]:
    """Pages of blocks, each ended at the first heading past a length drawn for it; a rest too short for a page is left out."""
    page: list[Block] = []
    size = 0
    wanted = _length(rng)
    for block in found:
        full = size + len(block.text) > MAX_PAGE
        if page and (full or (size >= wanted and block.role == "heading") or size >= 2 * wanted):
            if size >= MIN_PAGE:
                yield Page(package, module, _title(page, title), tuple(page))
            page, size, wanted = [], 0, _length(rng)
        if len(block.text) <= MAX_PAGE:
            page.append(block)
            size += len(block.text)
    if size >= MIN_PAGE:
        yield Page(package, module, _title(page, title), tuple(page))


def _length(rng: Random) -> float:
    """Log-normal, as pages of the web are: half of them below 3,200 characters."""
    return min(max(rng.lognormvariate(8.07, 0.8), 2 * MIN_PAGE), 0.8 * MAX_PAGE)


def _title(page: list[Block], title: str) -> str:
    first = page[0]
    return f"{first.text.split('(')[0].strip()} ({title})" if first.role == "heading" else title
