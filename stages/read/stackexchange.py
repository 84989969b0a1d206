"""StackExchange from its dumps: the posts of each site's Posts.xml, plain or in the site's .7z.

One document for each question and each answer, its text the HTML of the body (`stackexchange.Text` makes text of it, `stackexchange.Pair`
documents of a question with its answers). Rows are found and read by a scanner of our own (`stackexchange_kernels`), so a damaged one
costs itself, neither document types nor entities have any effect, and what stands in comments is no row. Plain files are cut into byte
ranges; a row belongs to the part in which it begins. The order of rows and of attributes does not matter, nor attributes that are not
known here. One core: 320 MB/s of XML, four times ElementTree's C parser; from bzip2 in 7z, whose decoder is the limit, 30.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import store
from curate.batch import Array
from curate.errors import RecipeError, printable
from curate.stage import Bad, Shard, Skip, Source
from stages.read import sevenzip
from stages.read import stackexchange_kernels as kernels
from stages.read.columns import INVALID, RAW, halves, utf8
from stages.read.members import Bounds, Broken

BLOCK = 4 << 20
HEAD = 4 << 10  # bytes in which <posts> is looked for
TAIL = 64  # bytes in which </posts> is
LONGEST = 4 << 20  # bytes of a comment that is passed over
MOST_DUMPS = 16  # that are read of one archive: each may cost unpacking it from its beginning
LARGEST = 1 << 40  # bytes of a Posts.xml in an archive; Stack Overflow's has 100 GB
MOST = 16_384  # rows that are looked at before a batch is made of them
ATTRIBUTES = ("Id", "PostTypeId", "ParentId", "AcceptedAnswerId", "Score", "CreationDate", "Title", "Tags", "Body")
ID, TYPE, PARENT, ACCEPTED, SCORE, DATE, TITLE, TAGS, BODY = range(len(ATTRIBUTES))
NAMES = np.frombuffer("".join(ATTRIBUTES).encode(), np.uint8)
NAME_ENDS = np.cumsum([len(name) for name in ATTRIBUTES])
QUESTION, ANSWER, UNTYPED = 1, 2, 0
OTHER = {3: "orphaned_tag_wiki", 4: "tag_wiki_excerpt", 5: "tag_wiki", 6: "nomination", 7: "wiki_placeholder", 8: "privilege_wiki"}
END = re.compile(rb"</posts\s*>\s*\Z")
ROOT = re.compile(rb"<posts[\s/>]")
ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"'](?!utf-?8[\"']|us-ascii[\"'])([^\"'>]{1,40})", re.IGNORECASE)
UTF16 = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
UNREAD = "a character that XML does not allow, or a reference that it does not know without a document type"
SCHEMA = {"site": pa.string(), "kind": pa.string(), "post": pa.int64(), "parent": pa.int64(), "title": pa.large_string()}
SCHEMA |= {"tags": pa.string(), "score": pa.int64(), "accepted": pa.int64(), "url": pa.string(), "date": pa.string()}


@dataclass(frozen=True)
class Posts(Source):
    """Questions and answers of StackExchange sites. A site is named by the folder of its Posts.xml, or by its archive."""

    paths: tuple[str, ...]  # files, patterns and folders, local or URLs; of these, what ends in Posts.xml or .7z
    site: str = ""  # of all files, whatever they are called
    max_row_bytes: int = 4 << 20  # of XML. A post may have 30,000 characters of Markdown, which escaping makes up to ten times as long
    max_expansion: float = 200.0  # of an archive: output to input. ours: real dumps expand to five times their size
    max_bad_files: int = field(default=20, kw_only=True)  # of which nothing could be read; ours: each is one site of some 360

    @property
    def adds(self) -> tuple[str, ...]:
        """`post`, `parent` and `accepted` are numbers of posts, `kind` is question or answer; tags are separated by spaces."""
        return tuple(SCHEMA)

    def shards(self, target: int) -> list[Shard]:
        for option in ("max_row_bytes", "max_expansion"):
            if getattr(self, option) <= 0:
                raise RecipeError(f"{self.name}.{option} is {getattr(self, option)}; it must be more than 0")
        shards = []
        found = store.expand(self.paths, f"{self.name}.paths")
        dumps = [file for file in found if file.path.lower().endswith(("posts.xml", ".7z"))]
        if not dumps:
            raise RecipeError(f"{self.name}.paths: of {len(found):,} files none ends in Posts.xml or .7z, as the first, {found[0].path}")
        for file in dumps:
            packed = file.path.lower().endswith(".7z")
            if packed:
                sevenzip.check_installed(self.name)
            parts = 1 if packed else max(1, -(-file.size // target))
            cuts = [file.size * part // parts for part in range(parts + 1)]
            shards += [Shard(file, low, high, high - low) for low, high in itertools.pairwise(cuts)]
        return shards

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip]:
        file = shard.file
        dump = _Dump(file.label, site := self.site or site_of(store.absolute(file.path)), self.max_row_bytes)
        if not file.path.lower().endswith(".7z"):
            with store.open_input(file.path) as opened:
                yield from dump.read(opened, shard.low, shard.high, file.size)
            return
        try:
            found = [name for name in sevenzip.names(file) if name.rpartition("/")[2].lower() == "posts.xml"]
            if not found:
                yield Skip("no_posts")  # a site's other tables: stackoverflow.com-Comments.7z
                return
            for number, name in enumerate(dict.fromkeys(found)):
                if number == MOST_DUMPS:
                    break
                if len(found) > 1:
                    plain = printable(name.encode("utf-8", "replace").decode())[:200]
                    dump = _Dump(f"{file.label}:{plain}", self._site_in(plain) or site, self.max_row_bytes)
                with sevenzip.open_member(file, name, Bounds(ratio=self.max_expansion, expanded=LARGEST)) as opened:
                    for item in dump.read(opened):
                        yield replace(item, whole_file=False) if isinstance(item, Bad) and len(found) > 1 else item
            if left := len(found) - min(len(set(found)), MOST_DUMPS):
                reason = f"{left:,} more Posts.xml in the archive: the first of each name is read, of {MOST_DUMPS} names"
                yield Bad(f"{file.label}:#", reason)
        except Broken as broken:
            yield Bad(f"{dump.label}:{dump.base}", broken.reason, whole_file=dump.label == file.label and not dump.base)

    def _site_in(self, name: str) -> str:
        """The site of one Posts.xml of several in an archive: their posts have the same numbers."""
        return self.site or name.rpartition("/")[0].rpartition("/")[2]


def site_of(path: str) -> str:
    """`beer.stackexchange.com` of `.../beer.stackexchange.com/Posts.xml` and of `beer.stackexchange.com.7z`."""
    folder, _, name = path.rpartition("/")
    stem = re.sub(r"(?:\.7z|\.xml)\Z", "", name, flags=re.IGNORECASE)
    return folder.rpartition("/")[2] if stem.lower() == "posts" else re.sub(r"-Posts\Z", "", stem)


class _Dump:
    """One Posts.xml, or a part of it; holds a block, and the row that goes on behind it."""

    def __init__(self, label: str, site: str, largest: int):
        self.label, self.site, self.largest = label, site, largest
        self.base = 0  # where the data that is held begins
        self.faults = {
            kernels.MALFORMED: 'not well-formed: <row name="value" ... /> is expected',
            kernels.CUT: "cut off within a row",
            kernels.LONG: f"a row of more than {largest:,} bytes",
            kernels.ENDLESS: f"a comment, CDATA section, instruction or document type without an end within {LONGEST:,} bytes",
        }

    def read(
        self, file: IO[bytes], low: int = 0, high: int | None = None, size: int | None = None
    ) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """The rows that begin at `low` or behind and before `high`."""
        data = file.read(HEAD)
        if fault := _no_posts(data):
            if not low:
                yield Bad(self.label, fault, data[:RAW], whole_file=True)
            return
        tail = data
        if low:  # what comes before says whether the part begins in a comment
            self.base = max(0, low - LONGEST)
            file.seek(self.base)
            tail = data = b""
        last, cut = False, False
        while not last and (high is None or self.base < high):
            block = file.read(BLOCK)
            last = not block
            tail = (tail + block)[-TAIL:]
            data += block
            at = 0
            while True:
                begin, stop = low - self.base, len(data) if high is None else high - self.base
                view = np.frombuffer(data, np.uint8)
                bounds, fault, spans, at = kernels.rows(view, at, begin, stop, last, self.largest, LONGEST, MOST, NAMES, NAME_ENDS)
                if len(bounds):
                    cut = fault[-1] == kernels.CUT
                    yield from self._posts(view, bounds, fault, spans)
                if len(bounds) < MOST:
                    break
            if at < stop and data[at : at + 4] == b"<row" and len(data) - at > self.largest:
                yield Bad(f"{self.label}:{self.base + at}", self.faults[kernels.LONG], data[at : at + RAW])
                at = int(kernels.find_tag(view, at + 1))
            data = data[at:]
            self.base += at
        if high == size and not cut and not END.search(tail):
            yield Bad(f"{self.label}:{self.base}", "breaks off: </posts> is expected at the end", tail)

    def _posts(self, data: Array, bounds: Array, fault: Array, spans: Array) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """Of the rows of one block."""
        present = spans[:, :, 0] >= 0
        number = {n: kernels.numbers(data, spans[:, n, 0], spans[:, n, 1]) for n in (ID, TYPE, PARENT, ACCEPTED, SCORE)}
        kind = number[TYPE][0]
        kind[~present[:, TYPE]] = UNTYPED
        kind[~present[:, TYPE] & present[:, TITLE]] = QUESTION
        kind[~present[:, TYPE] & present[:, PARENT]] = ANSWER
        wrong = {int(row): self.faults[int(fault[row])] for row in np.flatnonzero(fault != kernels.FINE)}

        def judge(failed: Array, reason: str) -> None:
            for row in np.flatnonzero(failed):
                wrong.setdefault(int(row), reason)

        judge(present[:, TYPE] & ~number[TYPE][1], "PostTypeId is no number")
        is_post = (kind == QUESTION) | (kind == ANSWER)
        judge(is_post & ~number[ID][1], "a post without Id")
        judge(is_post & (number[ID][0] < 1), "Id is no positive number")
        judge(is_post & ~present[:, BODY], "a post without Body")
        judge((kind == QUESTION) & ~present[:, TITLE], "a question without Title")
        judge((kind == ANSWER) & ~number[PARENT][1], "an answer without ParentId")
        judge(is_post & present[:, SCORE] & ~number[SCORE][1], "Score is no number")
        values = {}
        for n in (BODY, TITLE, TAGS, DATE):
            values[n], unread, invalid = _strings(data, spans[:, n], present[:, n] & is_post)
            judge(unread, UNREAD)
            judge(invalid, INVALID)
        for row in sorted(wrong):
            low, high = bounds[row]
            yield Bad(f"{self.label}:{self.base + low}", wrong[row], bytes(data[low : min(high, low + RAW)]))
        good = np.ones(len(bounds), np.bool_)
        good[list(wrong)] = False
        for reason, count in sorted(Counter(OTHER.get(k, "other_type") for k in kind[good & ~is_post].tolist()).items()):
            yield Skip(reason, count)
        blank = is_post & (kind == QUESTION) & good & ~(_has_text(values[TITLE]) | _has_text(values[BODY]))
        if blank.any():
            yield Skip("empty", int(blank.sum()))
        rows = np.flatnonzero(good & is_post & ~blank)
        if not len(rows):
            return

        def integers(n: int) -> pa.Array:
            return pa.array(number[n][0][rows], mask=~(number[n][1] & present[:, n])[rows])

        at, question = pa.array(rows), pa.array(kind[rows] == QUESTION)
        post = integers(ID)
        tags = pc.utf8_trim(pc.replace_substring_regex(values[TAGS].take(at), r"><|\|", " "), "<>| ")
        columns = {
            "id": _joined(f"{self.label}:", pa.array(bounds[rows, 0] + self.base)),
            "text": values[BODY].take(at),
            "site": pa.repeat(self.site, len(rows)),
            "kind": pc.if_else(question, "question", "answer"),
            "post": post,
            "parent": pc.if_else(question, None, integers(PARENT)),
            "title": pc.if_else(question, values[TITLE].take(at), None),
            "tags": tags.cast(pa.string()),
            "score": integers(SCORE),
            "accepted": integers(ACCEPTED),
            "url": _joined(f"https://{self.site}/", pc.if_else(question, "questions/", "a/"), post),
            "date": values[DATE].take(at).cast(pa.string()),
        }
        yield from halves(pa.RecordBatch.from_arrays(list(columns.values()), list(columns)))


def _no_posts(head: bytes) -> str:
    """Why a file is no Posts.xml; "" for one."""
    if not head:
        return "an empty file"
    if head.startswith(UTF16):
        return "UTF-16, where UTF-8 is expected"
    if declared := ENCODING.match(head.removeprefix(b"\xef\xbb\xbf")):
        return f"in {declared[1].decode('latin-1')}, where UTF-8 is expected"
    return "" if ROOT.search(head) else "no Posts.xml: there is no <posts> at its beginning"


def _strings(data: Array, spans: Array, present: Array) -> tuple[pa.Array, Array, Array]:
    """(large_string, which have an unknown reference, which are not UTF-8): null where nothing is present."""
    start, end = np.where(present[:, None], spans, 0).T
    out, ends, fine = kernels.values(data, start, end)
    buffers = [pa.py_buffer(np.packbits(present, bitorder="little")), pa.py_buffer(ends), pa.py_buffer(out)]
    text, wrong = utf8(pa.Array.from_buffers(pa.large_binary(), len(present), buffers))
    invalid = np.zeros(len(present), np.bool_)
    invalid[list(wrong)] = True
    return text, ~fine, invalid


def _has_text(strings: pa.Array) -> Array:
    """Whether there is more than white space in each."""
    found: Array = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(strings), ""), False).to_numpy(zero_copy_only=False)
    return found


def _joined(*parts: str | pa.Array) -> pa.Array:
    strings = [part if isinstance(part, str) else part.cast(pa.string()) for part in parts]
    return pc.binary_join_element_wise(*strings, "").cast(pa.string())
