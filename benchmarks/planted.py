"""A corpus of real text with duplicates planted in it, and the similarity of all its documents: what `dedup.py` measures on.

Originals are what is found in a folder: WET, JSON lines, Parquet, Wikipedia dumps, and plain text cut into pieces of 300 to 1,500 words.
From those are made, by one seeded generator: copies, rewrapped copies, clusters of 2 to 200 edited documents with up to 40 % of their words
changed, chains edited step by step, templates filled with differing bodies, pages between one header and footer, and documents made of
others' passages. The folder's own duplicates are among them too, so what is true is computed and not taken from what was planted.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from similar import Pairs, shingle_sets, similar_pairs, words

from curate.stage import Source

SHARDS = 16
LEAST_WORDS, MOST_WORDS = 30, 8_000  # of an original
PIECE = (300, 1500)  # words of a piece of a book
ORIGINALS = 0.35  # of the corpus, at most
SHARES = {  # of the rest
    "cluster": 0.36,
    "chain": 0.07,
    "template": 0.13,
    "site": 0.12,
    "quotation": 0.22,
    "rewrapped": 0.03,  # these two of all that has been made before
    "copy": 0.07,
}
CHUNK = re.compile(r"(?:[^\W\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff]+|[\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff])\W*")
UNPARTED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Myanmar, Khmer: words without blanks between
LARGEST = 200  # documents of a cluster
EDITS = 0.4  # share of words changed, at most


@dataclass(frozen=True)
class Planted:
    """A corpus on disk."""

    folder: Path  # has documents/00000.parquet and so on: id, text
    ids: list[str]  # in order of the files
    kinds: list[str]
    bytes: int  # of text
    pairs: Pairs

    @property
    def files(self) -> list[str]:
        """Its documents."""
        return [str(p) for p in sorted((self.folder / "documents").glob("*.parquet"))]


def planted(corpus: str, folder: Path, documents: int, seed: int) -> Planted:
    """Made once for the same folder, number and seed."""
    if not (folder / "done.json").exists():
        found = originals(Path(corpus))
        made = Maker(found, random.Random(seed)).make(documents)
        write(folder, made)
    return load(folder)


def write(folder: Path, made: list[tuple[str, str]]) -> None:
    """Documents, each (kind, text), as Parquet files with ids; and the truth about them."""
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    ids = [f"planted-{n:07d}" for n in range(len(made))]
    each = -(-len(made) // SHARDS)
    for shard, low in enumerate(range(0, len(made), each)):
        texts = pa.array([text for _, text in made[low : low + each]], pa.large_string())
        table = pa.table({"id": ids[low : low + each], "text": texts})
        pq.write_table(table, folder / "documents" / f"{shard:05d}.parquet", row_group_size=1000, compression="zstd")
    pairs = similar_pairs(shingle_sets(text for _, text in made))
    pq.write_table(pa.table({"a": pairs.a, "b": pairs.b, "jaccard": pairs.jaccard}), folder / "pairs.parquet")
    pq.write_table(pa.table({"id": ids, "kind": [kind for kind, _ in made]}), folder / "kinds.parquet")
    size = sum(len(text.encode()) for _, text in made)
    (folder / "done.json").write_text(json.dumps({"documents": len(made), "bytes": size}))


def load(folder: Path) -> Planted:
    """What `write` has written."""
    kinds, pairs = pq.read_table(folder / "kinds.parquet"), pq.read_table(folder / "pairs.parquet")
    ids = kinds["id"].to_pylist()
    columns = [pairs[name].to_numpy() for name in ("a", "b", "jaccard")]
    size = json.loads((folder / "done.json").read_text())["bytes"]
    return Planted(folder, ids, kinds["kind"].to_pylist(), size, Pairs(len(ids), *columns))


# -- originals ------------------------------------------------------------------------------------------------------------------------


def originals(corpus: Path) -> list[list[str]]:
    """Real documents, each as chunks: a word with what follows it up to the next."""
    from stages.read.jsonl import Jsonl
    from stages.read.parquet import Parquet
    from stages.read.wet import Wet
    from stages.read.wikipedia import Wikipedia

    readers: list[tuple[str, type[Source]]] = [
        (r"\.warc\.wet(\.gz)?$", Wet),
        (r"\.jsonl?(\.gz|\.zst)?$", Jsonl),
        (r"\.parquet$", Parquet),
        (r"wiki.*\.xml\.bz2$", Wikipedia),
    ]
    files = sorted(str(p) for p in corpus.rglob("*") if p.is_file())
    out: list[list[str]] = []
    for pattern, reader in readers:
        paths = tuple(p for p in files if re.search(pattern, p))
        out += [CHUNK.findall(text) for text in texts(reader(paths=paths))] if paths else []  # type: ignore[call-arg]
    rng = random.Random(0)
    for path in files:
        if path.endswith(".txt"):
            chunks = CHUNK.findall(Path(path).read_text(encoding="utf-8", errors="replace"))
            while chunks:
                size = rng.randint(*PIECE)
                out.append(chunks[:size])
                chunks = chunks[size:]
    out = [chunks for chunks in out if LEAST_WORDS <= len(chunks) <= MOST_WORDS and parted("".join(chunks))]
    if len(out) < 100:
        raise SystemExit(f"{corpus}: {len(out)} documents found; WET, JSON lines, Parquet, Wikipedia dumps or .txt are looked for")
    return out


def parted(text: str) -> bool:
    """Whether one can say, without a dictionary, what its words are: no two systems agree where one cannot, and nothing would be true."""
    return len(UNPARTED.findall(text)) <= 0.01 * len(text)


def texts(reader: Source) -> Iterator[str]:
    """All documents of a reader; what it cannot read is left out."""
    for shard in reader.shards(1 << 40):
        for item in reader.read(shard):
            if isinstance(item, pa.RecordBatch):
                yield from item["text"].to_pylist()


# -- what is made of them -------------------------------------------------------------------------------------------------------------


class Maker:
    """Makes duplicates of all kinds; all that it draws comes from one generator."""

    def __init__(self, found: list[list[str]], rng: random.Random):
        self.found, self.rng = found, rng
        self.originals: list[list[str]] = []  # those of the found that are in the corpus
        self.made: list[tuple[str, list[str]]] = []

    def make(self, documents: int) -> list[tuple[str, str]]:
        """(kind, text), shuffled."""
        rng = self.rng
        rng.shuffle(self.found)
        self.originals = self.found[: int(ORIGINALS * documents)]
        self.made = [("original", chunks) for chunks in self.originals]
        rest = documents - len(self.made)
        for kind, share in SHARES.items():
            self._fill(kind, min(round(share * rest), documents - len(self.made)))
        self._fill("copy", documents - len(self.made))  # what rounding has left over
        rng.shuffle(self.made)
        return [(kind, "".join(chunks).strip()) for kind, chunks in self.made]

    def _fill(self, kind: str, wanted: int) -> None:
        stop = len(self.made) + wanted
        while len(self.made) < stop:
            for chunks in getattr(self, kind)():
                self.made.append((kind, chunks))
        del self.made[stop:]

    def copy(self) -> list[list[str]]:
        """The same again."""
        return [self.rng.choice(self.made)[1]]

    def rewrapped(self) -> list[list[str]]:
        """The same words in other lines, other case, other punctuation."""
        chunks = self.rng.choice(self.made)[1]
        case = self.rng.choice((str.lower, str.upper, str))
        mark = self.rng.choice((" ", ", ", " - ", "\n"))
        cased = [case(w) if case(w).lower() == w else w for w in words("".join(chunks))]  # some letters do not come back
        return [[w + (mark if self.rng.random() < 0.1 else " ") for w in cased]]

    def cluster(self) -> list[list[str]]:
        """Edited versions of one original, few of them or many, close or not."""
        size = min(LARGEST, int(2 / (1 - self.rng.random()) ** 0.8))
        most = self.rng.choice((0.01, 0.02, 0.05, 0.1, EDITS))
        origin = self._original()
        return [self.edited(origin, self.rng.uniform(0, most)) for _ in range(size - 1)]  # the original is there

    def chain(self) -> list[list[str]]:
        """Each edited from the one before, a little: the ends are far apart."""
        last = self._original(150)
        out = []
        for _ in range(self.rng.randint(6, 15)):
            last = self.edited(last, self.rng.uniform(0.006, 0.018), "scattered")
            out.append(last)
        return out

    def template(self) -> list[list[str]]:
        """One long text with gaps, filled by passages of others: similarity is about 1 / (1 + 2 filled / long)."""
        frame = self._original(150)[: self.rng.randint(150, 800)]
        filled = max(1, round(len(frame) * 2 ** self.rng.uniform(-6, -1)))
        gaps = sorted(self.rng.randrange(len(frame) + 1) for _ in range(self.rng.randint(1, 3)))
        out = []
        for _ in range(self.rng.randint(10, 150)):
            parts, low = [], 0
            for gap in gaps:
                parts += [frame[low:gap], self.passage(max(1, filled // len(gaps)))]
                low = gap
            out.append([c for part in (*parts, frame[low:]) for c in part])
        return out

    def site(self) -> list[list[str]]:
        """Pages of different content between the same header and footer."""
        header, footer = self.passage(self.rng.randint(10, 150)), self.passage(self.rng.randint(20, 300))
        return [header + self._original() + footer for _ in range(self.rng.randint(5, 60))]

    def quotation(self) -> list[list[str]]:
        """Passages of several others in a row, one of them long."""
        parts = [self.passage(self.rng.randint(150, 500))] + [
            self.passage(self.rng.randint(40, 250)) for _ in range(self.rng.randint(1, 6))
        ]
        self.rng.shuffle(parts)
        return [[c for part in parts for c in part]]

    def _original(self, least: int = LEAST_WORDS) -> list[str]:
        while True:
            chunks = self.rng.choice(self.originals)
            if len(chunks) >= least:
                return chunks

    def passage(self, size: int) -> list[str]:
        """Words in a row of some document of the folder, whether or not it is in the corpus."""
        chunks = self.rng.choice(self.found)
        low = self.rng.randrange(max(1, len(chunks) - size))
        return chunks[low : low + size]

    def edited(self, chunks: list[str], share: float, how: str = "") -> list[str]:
        """With a share of its words substituted, deleted, inserted or moved: one by one, in runs, or as blocks that change places."""
        rng = self.rng
        out = list(chunks)
        left = round(share * len(out))
        how = how or rng.choice(("scattered", "scattered", "runs", "blocks"))
        while left > 0 and out:
            at = rng.randrange(len(out))
            size = 1 if how == "scattered" else min(left, rng.randint(2, 40))
            left -= size
            match "move" if how == "blocks" else rng.choice(("substitute", "substitute", "delete", "insert")):
                case "substitute":
                    out[at : at + size] = self.passage(size)
                case "delete":
                    del out[at : at + size]
                case "insert":
                    out[at:at] = self.passage(size)
                case "move":
                    block = out[at : at + size]
                    del out[at : at + size]
                    to = rng.randrange(len(out) + 1)
                    out[to:to] = block
        return out
