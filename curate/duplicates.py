"""`curate dedup-report`: what each deduplication of a run did, told from its fates and the facts that it left; it computes nothing again.

The size of clusters, the largest of them with texts side by side, and the pairs just above and just below the threshold: what one reads
before believing a setting.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import lock, store
from curate.barriers import FACTS_FILE
from curate.errors import CurateError, RecipeError, printable

FILES = 200  # of fates that are read; of more, so many evenly spread
CLUSTERS, PAIRS = 5, 5  # that are shown
WORDS = 400  # of a text in which the first difference is looked for
LINES = 6  # of a text that are shown
LEAD = 8  # words that two texts share, and that are shown before they part


@dataclass
class Pair:
    """A document that goes and the one that stays; or two that both stay, as they are not similar enough."""

    gone: str
    kept: str
    similarity: float | None


@dataclass
class Deduplication:
    """One barrier of a run: counts, and the ids of what is worth reading."""

    stage: str
    sources: list[str]
    done: bool  # else this is what there is so far
    dropped: dict[str, int]  # documents of each source
    of: dict[str, int]
    dropped_chars: dict[str, int]  # likewise characters: of documents that go, and those cut out of others
    of_chars: dict[str, int]
    limit: float | None = None
    clusters: dict[str, int] = field(default_factory=dict)  # size, by the lower edge of a doubling -> how many
    largest: list[tuple[str, int]] = field(default_factory=list)  # id of what stays, documents in all
    examples: dict[str, list[Pair]] = field(default_factory=dict)  # of the largest: some that go
    above: list[Pair] = field(default_factory=list)
    below: list[Pair] = field(default_factory=list)
    says: list[str] = field(default_factory=list)
    read: tuple[int, int] = (0, 0)  # files of fates that were read, of how many
    texts: dict[str, str] = field(default_factory=dict)  # of the documents that are named


def deduplications(out: str) -> list[Deduplication]:
    """All of a run's recipe, in the order in which they happen. Raises CurateError where it has none."""
    path = store.join(out, lock.NAME)
    if not store.exists(path):
        raise RecipeError(f"{out}: no run is here; OUT is the folder that `curate run --out` was given, or runs/NAME")
    barriers = [b for b in store.read_json(path).get("barriers", []) if b.get("deduplicates", True)]
    if not barriers:
        raise CurateError(f"{out}: its recipe has no stage that drops duplicates, such as dedup.exact.Exact or dedup.minhash.MinHash")
    return [_deduplication(out, barrier) for barrier in barriers]


def _deduplication(out: str, barrier: dict[str, Any]) -> Deduplication:
    files: list[str] = []
    found: dict[str, list[dict[str, Any]]] = {}
    waiting = 0  # documents that have come to the barrier and are not yet behind it
    for source, before, behind in zip(barrier["sources"], barrier["before"], barrier["behind"], strict=True):
        names = store.listing(store.join(out, behind))
        files += [store.join(out, behind, n) for n in sorted(names) if n.endswith(".fates.parquet")]
        rows = [shard["stats"][0] for shard in _shards(out, behind)]
        found[source] = [row for row in rows if row["stage"] == barrier["stage"]]
        waiting += sum(shard["docs"] for shard in _shards(out, before)) - sum(row["docs_in"] for row in found[source])
    some = files if len(files) <= FILES else [files[len(files) * n // FILES] for n in range(FILES)]
    facts_path = store.join(out, barrier["folder"], FACTS_FILE)
    facts = store.read_json(facts_path) if store.exists(facts_path) else []  # of each group
    made = Deduplication(
        barrier["stage"],
        barrier["sources"],
        done=not waiting and (any(found.values()) or store.exists(store.join(out, "stats.json"))),
        dropped={s: sum(sum(r["dropped"].values()) for r in rows) for s, rows in found.items()},
        of={s: sum(r["docs_in"] for r in rows) for s, rows in found.items()},
        dropped_chars={s: sum(r["chars_in"] - r["chars_out"] for r in rows) for s, rows in found.items()},
        of_chars={s: sum(r["chars_in"] for r in rows) for s, rows in found.items()},
        says=[*(s for f in facts for s in f.get("says", [])), *(s for f in facts for s in f.get("warns", []))],
        read=(len(some), len(files)),
    )
    fates = _fates(some, barrier["stage"])
    if len(fates):
        _show(made, fates, facts[0] if facts else {})
        wanted = {i for p in (*made.above, *made.below, *(p for ps in made.examples.values() for p in ps)) for i in (p.gone, p.kept)}
        made.texts = texts(out, barrier["before"], wanted)
    return made


def _show(made: Deduplication, fates: pa.Table, facts: dict[str, Any]) -> None:
    """Clusters and pairs, of fates that name what was kept instead."""
    fates = fates.append_column("head", _heads(fates))
    counts = Counter({c["values"].as_py(): c["counts"].as_py() for c in fates["head"].value_counts()})
    named = [(name, size) for name, size in facts.get("largest", [])] or [
        (name, n + 1) for name, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    ]
    limits = fates["limit"].drop_null()
    made.limit = limits[0].as_py() if len(limits) else None
    made.clusters = facts.get("clusters") or sizes(n + 1 for n in counts.values())
    made.largest = named[:CLUSTERS]
    made.examples = {name: _pairs(fates.filter(pc.equal(fates["head"], name)).slice(0, 2)) for name, _ in made.largest}
    unlike = fates.filter(pc.less(fates["value"], 1.0)).sort_by([("value", "ascending"), ("id", "ascending")])
    made.above = _pairs(unlike.slice(0, PAIRS))
    made.below = [Pair(*row) for row in facts.get("almost", [])[:PAIRS]]


def _shards(out: str, folder: str) -> list[dict[str, Any]]:
    """What each finished shard of a pass says of itself."""
    return [store.read_json(store.join(out, folder, n)) for n in sorted(store.listing(store.join(out, folder))) if n.endswith(".json")]


def _heads(fates: pa.Table) -> pa.ChunkedArray:
    """Of each document that goes the one that stays: where one goes for another that goes itself, as with SemDeDup, that one's."""
    if not pc.any(pc.is_in(fates["kept_id"], fates["id"].combine_chunks())).as_py():
        return fates["kept_id"]
    kept = dict(zip(fates["id"].to_pylist(), fates["kept_id"].to_pylist(), strict=True))
    for name in list(kept):
        chain = [name]
        while chain[-1] in kept:
            chain.append(kept[chain[-1]])
        kept |= dict.fromkeys(chain[:-1], chain[-1])
    return pa.chunked_array([pa.array(kept.values(), pa.string())])


def _fates(files: Sequence[str], stage: str) -> pa.Table:
    tables = []
    for path in files:
        with store.open_input(path) as file:
            table = pq.read_table(file)
        tables.append(table.filter(pc.and_(pc.equal(table["stage"], stage), pc.is_valid(table["kept_id"]))))
    from curate.documents import FATES

    return pa.concat_tables(tables) if tables else FATES.empty_table()


def _pairs(fates: pa.Table) -> list[Pair]:
    return [Pair(row["id"], row["kept_id"] or "", row["value"]) for row in fates.select(["id", "kept_id", "value"]).to_pylist()]


def sizes(members: Iterable[int]) -> dict[str, int]:
    """How many clusters there are of each size, by the lower edge of a doubling."""
    counts: Counter[int] = Counter(n if n < 4 else 1 << (n.bit_length() - 1) for n in members)
    return {str(size): n for size, n in sorted(counts.items())}


def texts(out: str, folders: Sequence[str], ids: set[str]) -> dict[str, str]:
    """The texts of some documents, as they entered the barrier: of each file the ids are looked through, until all are found."""
    found: dict[str, str] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for folder in folders:
        for name in sorted(store.listing(store.join(out, folder))):
            if len(found) == len(ids):
                return found
            if not name.endswith(".parquet") or name.count(".") > 1:
                continue
            with store.open_input(store.join(out, folder, name)) as file, pq.ParquetFile(file, pre_buffer=False) as reader:
                for group in range(reader.num_row_groups):
                    mask = pc.is_in(reader.read_row_group(group, columns=["id"])["id"], wanted)
                    if pc.any(mask).as_py():
                        rows = reader.read_row_group(group, columns=["id", "text"]).filter(mask)
                        found |= dict(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True))
    return found


def report(out: str, as_json: bool = False) -> str:
    """What the command prints."""
    made = deduplications(out)
    if as_json:
        return json.dumps([{**vars(d), **{k: _plain(vars(d)[k]) for k in ("above", "below", "examples")}} for d in made], indent=1)
    return printable("\n\n".join(_told(d) for d in made), "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [vars(p) for p in value]


def _told(made: Deduplication) -> str:
    lines = [f"{made.stage} over {' + '.join(made.sources)}" + ("" if made.done else ": not done yet, this is what there is")]
    for source, count in made.of.items():
        told = f"{made.dropped[source]:,} of {count:,} documents go ({made.dropped[source] / max(count, 1):.1%})"
        chars = f"{made.dropped_chars[source]:,} of {made.of_chars[source]:,} characters"
        lines.append(f"  {source}: {told}, {chars} ({made.dropped_chars[source] / max(made.of_chars[source], 1):.1%})")
    lines += [f"  {line}" for sentence in made.says for line in textwrap.wrap(sentence, _width() - 2)]
    if made.read[0] < made.read[1]:
        lines.append(f"  of {made.read[1]:,} files of fates {made.read[0]:,} were read: examples and sizes below are of those")
    if made.clusters:
        lines += ["", "  clusters by size", *(f"  {_range(size):>15}  {count:,}" for size, count in made.clusters.items())]
        lines += ["", "  largest clusters"]
    for name, size in made.largest:
        lines.append(f"  {size:,} documents, of which {name} stays")
        lines += [line for pair in made.examples.get(name, []) for line in _side_by_side(pair, made.texts)]
    for title, pairs in (("just above the threshold", made.above), ("just below the threshold: both stay", made.below)):
        if pairs:
            lines += ["", f"  {title}" + (f" of {made.limit:g}" if made.limit is not None else "")]
            lines += [line for pair in pairs for line in _side_by_side(pair, made.texts)]
    return "\n".join(lines)


def _range(size: str) -> str:
    return size if int(size) < 4 else f"{int(size):,} to {2 * int(size) - 1:,}"


def _width() -> int:
    return min(shutil.get_terminal_size((120, 24)).columns, 160)


def _side_by_side(pair: Pair, known: dict[str, str]) -> list[str]:
    """Both ids, and both texts from just before they part."""
    wide = (_width() - 7) // 2
    both = [known.get(pair.kept), known.get(pair.gone)]
    alike = f"{pair.similarity:.4f}  " if pair.similarity is not None else ""
    lines = [f"    {alike}{pair.kept}  |  {pair.gone}"]
    if None in both:
        missing = pair.kept if both[0] is None else pair.gone
        return [*lines, f"      ({missing} is of an index, or no longer here)"]
    left, right = (_shown(words, first) for words, first in _parted([str(t).split()[:WORDS] for t in both]))
    columns = [textwrap.wrap(text, wide)[:LINES] for text in (left, right)]
    return lines + [f"    {a:<{wide}} | {b}" for a, b in zip_longest(*columns, fillvalue="")]


def _parted(words: list[list[str]]) -> list[tuple[list[str], int]]:
    """Each text's words, and the number of the one at which they part after the first stretch that they share; 0 where they do not."""
    if words[0] == words[1]:
        return [(words[0], 0), (words[1], 0)]
    shared = SequenceMatcher(None, words[0], words[1], autojunk=False).get_matching_blocks()
    ends = [(m.a + m.size, m.b + m.size) for m in shared if m.size >= LEAD] or [(0, 0)]
    return [(words[0], ends[0][0]), (words[1], ends[0][1])]


def _shown(words: list[str], first: int) -> str:
    begin = max(first - LEAD, 0)
    text = ("... " if begin else "") + " ".join(words[begin : begin + 100])
    return printable(text)
