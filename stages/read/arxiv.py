"""Papers from arXiv's bulk tars of sources (src/arXiv_src_YYMM_NNN.tar, requester pays): their .tex files, whole, as one text.

A tar has an entry for each paper: a .gz of a tar or of one TeX file, or a .pdf, which is left out. The text of a paper is its .tex files
in the order of the tar, joined by line feeds; the column `files` tells them apart, for `latex.Clean`. UTF-16 by its mark, strict UTF-8, or
else Latin-1, file by file: RedPajama (arxiv_cleaner.py) drops papers that are not UTF-8. A gzip bomb, damage or a path out of the archive
within a paper costs that paper; a damaged header of the tar, what lies before the next sound one. A local tar is split among workers: each
walks its headers and reads its own part.
Cost, one core: 110 MB of TeX a second, 1.35 times a bare loop over tarfile and gzip.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pyarrow as pa

from curate import store
from curate.errors import RecipeError
from curate.stage import Bad, Shard, Skip, Source
from stages.read import tarred
from stages.read.members import RAW, YEAR_10000, Bounds, Entry, Refusal, Refused, clean_name, gunzip, members_in
from stages.read.rows import MAX_BYTES, Rows

OLD_ID = re.compile(r"([A-Za-z-]+)(\d{7})")  # hep-th9901001
NEW_ID = re.compile(r"\d{4}\.\d{4,5}")
MONTH = re.compile(r"(?:.*/)?(\d{4})/[^/]+")
WITHDRAWN = re.compile(rb"\s*%\s*auto-ignore")  # what arXiv has instead of a withdrawn source
OTHER_FORMATS = (b"%PDF", b"%!PS", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"<!DOCTYPE", b"<html", b"<HTML")
MOST_FILES = 50_000  # of a paper, of any kind
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # its byte order marks
GZIP = b"\x1f\x8b"
HEAD = 512  # bytes by which a format is told
PAPERS = Bounds(largest=4 << 30, count=10_000_000, expanded=1 << 50)  # of the outer tar: a month may come as one


@dataclass(frozen=True)
class Arxiv(Source):
    """One document for each paper that has TeX sources."""

    paths: tuple[str, ...]  # tars, patterns and folders, local or URLs; of these, what ends in .tar
    suffixes: tuple[str, ...] = (".tex",)  # of the files that are read; RedPajama: exactly so. Others in use: .ltx, .TEX, .inc
    max_paper_bytes: int = 256 << 20  # ours: of a paper unpacked, figures included; arXiv takes 50 MB packed
    max_tex_bytes: int = 16 << 20  # ours: of a paper's TeX files together; the longest of a hundred papers has 1.3 MB

    @property
    def adds(self) -> tuple[str, ...]:
        """`files` is a list of [name, characters] as JSON; `encoding` is latin-1 or utf-16 if a file was read so; `date` is the entry's."""
        return ("url", "date", "arxiv_id", "yymm", "encoding", "files")

    def shards(self, target: int) -> list[Shard]:
        """Local tars are cut into ranges of bytes: a paper belongs to that in which its header begins."""
        for option in ("max_paper_bytes", "max_tex_bytes"):
            if getattr(self, option) <= 0:
                raise RecipeError(f"{self.name}.{option} is {getattr(self, option)}; it must be more than 0")
        if not self.suffixes or not all(self.suffixes):
            raise RecipeError(f"{self.name}.suffixes: expected endings of file names, such as .tex")
        files = [file for file in store.expand(self.paths, f"{self.name}.paths") if file.path.endswith(".tar")]
        if not files:
            raise RecipeError(f"{self.name}.paths: no .tar file in {', '.join(self.paths)}")
        shards = []
        for file in files:
            step = file.size if store.is_remote(file.path) else max(1, target)
            cuts = [*range(0, file.size, step or 1), file.size] if file.size else [0, 0]
            shards += [Shard(file, low, high, high - low) for low, high in itertools.pairwise(cuts)]
        return shards

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """The papers whose headers begin in the shard; what ends the tar is told by the shard that has the last header before it."""
        rows, label = Rows(self.adds), shard.file.label
        seen: dict[str, int] = {}
        place, number = 0, 0
        with store.open_input(shard.file.path) as file:
            try:
                for entry in tarred.entries(file, PAPERS, resume=True):
                    number += 1
                    if entry.place >= shard.high and shard.high < shard.file.size:
                        break
                    place = entry.place
                    if entry.kind == "damaged":
                        if place >= shard.low:
                            yield Bad(f"{label}:#{number}", entry.reason)
                        continue
                    again = seen.get(entry.name, 0)
                    seen[entry.name] = again + 1
                    if place < shard.low:
                        continue
                    paper = self._paper(entry, f"{label}:{entry.name}{f'+{again}' if again else ''}")
                    if isinstance(paper, Bad | Skip):
                        yield paper
                        continue
                    if len(rows) and len(paper[1] or "") > MAX_BYTES:
                        yield rows.take()  # a long one is alone
                    rows.add(*paper)
                    if rows.full:
                        yield rows.take()
            except Refusal as broken:
                if place >= shard.low:
                    yield Bad(f"{label}:#{number}", broken.reason, whole_file=number == 0)
        if len(rows):
            yield rows.take()

    def _paper(self, entry: Entry, place: str) -> tuple[str | None, ...] | Bad | Skip:
        """A row; raises Refusal where the tar itself is at its end."""
        try:
            name = clean_name(entry.name)
        except Refusal as refusal:
            return Bad(f"{place[:200]}", refusal.reason)
        if entry.kind:
            return Bad(place, entry.reason)
        if not name.endswith(".gz"):
            return Skip("pdf" if name.endswith(".pdf") else "other_file")
        if entry.size > self.max_paper_bytes:
            return Bad(place, f"larger than {self.max_paper_bytes:,} bytes")
        packed = entry.data()
        try:
            data = gunzip(packed, self.max_paper_bytes)
        except Refusal as refusal:
            return Bad(place, refusal.reason, packed[:RAW])
        files = self._files(data, place)
        return files if isinstance(files, Bad | Skip) else _row(place, name, entry.mtime, files)

    def _files(self, data: bytes, place: str) -> list[tuple[str, bytes]] | Bad | Skip:
        """The TeX files of what was packed."""
        if not data.strip():
            return Skip("empty")
        if not tarred.is_tar(data[:HEAD]):
            if WITHDRAWN.match(data[:HEAD]):
                return Skip("withdrawn")
            if data.startswith(GZIP):
                return Bad(place, "gzip within gzip", data[:RAW])
            if data[:HEAD].lstrip().startswith(OTHER_FORMATS) or (b"\0" in data[:HEAD] and not data.startswith(UTF_16)):
                return Skip("not_tex")
            return [("", data)] if len(data) <= self.max_tex_bytes else Bad(place, f"more than {self.max_tex_bytes:,} bytes of TeX")
        files = []
        bounds = Bounds(largest=self.max_tex_bytes, count=MOST_FILES, expanded=self.max_tex_bytes)
        for member in members_in(data, place, bounds, wanted=lambda name: name.endswith(self.suffixes)):
            if isinstance(member, Refused):
                return Bad(place, f"{member.place.removeprefix(place)[1:]}: {member.reason}", member.raw)
            files.append((member.key, member.data))
        if not files:
            return Skip("no_tex")
        return files if any(data.strip() for _, data in files) else Skip("empty")


def _row(place: str, name: str, mtime: int | None, files: list[tuple[str, bytes]]) -> tuple[str | None, ...] | Bad:
    texts, encoding = [], "utf-8"
    for _, data in files:
        try:
            text, found = _decoded(data)
        except UnicodeDecodeError:
            return Bad(place, "not the UTF-16 that it begins as", data[:RAW])
        texts.append(text)
        encoding = encoding if found == "utf-8" else found
    known, number = identify(name)
    month = MONTH.fullmatch(name)
    yymm = month[1] if month else re.sub(r"\D", "", number)[:4] if known else None
    date = None if mtime is None or not 0 <= mtime < YEAR_10000 else datetime.fromtimestamp(mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    listed = orjson.dumps([[name, len(text)] for (name, _), text in zip(files, texts, strict=True)]).decode()
    return place, "\n".join(texts), f"https://arxiv.org/abs/{number}" if known else None, date, number, yymm, encoding, listed


def _decoded(data: bytes) -> tuple[str, str]:
    """(text, encoding). Raises UnicodeDecodeError for what only begins as UTF-16."""
    if data.startswith(UTF_16):
        return data.decode("utf-16"), "utf-16"
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def identify(name: str) -> tuple[bool, str]:
    """(whether it is arXiv's, the id) of an entry: hep-th/9901001 of 9901/hep-th9901001.gz; what is none stays as it is."""
    stem = name.rpartition("/")[2].removesuffix(".gz")
    if old := OLD_ID.fullmatch(stem):
        return True, f"{old[1]}/{old[2]}"
    return bool(NEW_ID.fullmatch(stem)), stem
