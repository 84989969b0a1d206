"""The proof behind `curate verify OUT`: every byte of the token shards is read again and held against manifest, sidecars and text.

Of every shard: the files are there, as long as they were and with the same SHA-256; ids lie in the vocabulary; every document begins
and ends as the layout says, holds no special id in between, and stands where the shuffle puts it, once; index and sidecar agree with
the tokens and with the counts of each source.
Of a sample of documents, drawn by hash: decoded, they are the text of OUT/documents. Each failure is one line that names its shard.
Cost: about 100 million tokens a second and core, half of it SHA-256; one shard at a time, mapped where it is local.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import store
from curate.batch import Array
from curate.errors import CurateError
from curate.mix import sample_key, shuffle_key
from curate.tokens import formats, manifest
from curate.tokens.formats import Shard
from curate.tokens.layout import Edges
from curate.tokens.manifest import Manifest
from curate.tokens.tokenizer import Tokenizer, parse

SAMPLE = 256  # documents that are decoded; a share p of wrong ones is missed with probability (1 - p)^256: 0.6 % for p = 2 %
CHUNK = 1 << 22  # tokens looked at in one go


class Drawn(NamedTuple):
    """A document of the sample."""

    key: int
    shard: int
    document: int
    id: str
    source: str
    file: int
    row: int
    ids: Array  # without BOS and EOS


@dataclass
class Report:
    """No problem: proven."""

    problems: list[str] = field(default_factory=list)
    shards: int = 0
    documents: int = 0
    tokens: int = 0
    compared: int = 0  # documents decoded and found equal to their text
    normalised: int = 0  # of these, equal only after the tokenizer's own normalisation

    def text(self) -> str:
        """For the terminal."""
        counts = f"{self.shards:,} shards, {self.documents:,} documents, {self.tokens:,} tokens read; "
        counts += f"{self.compared:,} documents decoded and found equal to their text"
        if self.normalised:
            counts += f", {self.normalised:,} of them after the tokenizer's normalisation"
        return "\n".join([*self.problems, f"{'proven' if not self.problems else f'{len(self.problems)} problems'}: {counts}"])


def verify(out: str, sample: int = SAMPLE) -> Report:
    """Prove the token shards of a run."""
    folder, report = store.join(out, manifest.FOLDER), Report()
    try:
        made = manifest.read(folder)
    except CurateError as error:
        return Report([str(error)])
    tokenizer = _tokenizer(folder, made, report.problems)
    special = tokenizer.special if tokenizer else tuple(i for i in (made.tokenizer.bos, made.tokenizer.eos) if i is not None)
    there = store.listing(folder)
    expected = {manifest.NAME, made.tokenizer.file, *(f.name for s in made.shards for f in s.files)}
    report.problems += [f"{n}: is in the folder, but not in the manifest" for n in sorted(there) if n not in expected and n[0] != "."]
    drawn: list[Drawn] = []
    tokens, documents = Counter[str](), Counter[str]()
    for number, shard in enumerate(made.shards):
        if problems := check_files(folder, shard, there):
            report.problems += problems
            continue
        whole, problems = check_shard(folder, number, made, special)
        report.problems += problems
        if whole is not None:
            table, found = whole
            report.shards, report.documents, report.tokens = report.shards + 1, report.documents + len(table), report.tokens + len(found)
            for row in table.group_by("source").aggregate([("tokens", "sum"), ("tokens", "count")]).to_pylist():
                tokens[row["source"]] += row["tokens_sum"]
                documents[row["source"]] += row["tokens_count"]
            drawn = sorted([*drawn, *draw(table, found, number, made, sample)])[:sample]
    report.problems += check_totals(made, tokens, documents) if report.shards == len(made.shards) else []
    if tokenizer:
        _compare(out, made, tokenizer, drawn, report)
    return report


def _tokenizer(folder: str, made: Manifest, problems: list[str]) -> Tokenizer | None:
    """The one beside the shards, if it is the one that the manifest names."""
    said = made.tokenizer
    try:
        data = store.read_bytes(store.join(folder, said.file))
    except FileNotFoundError:
        problems.append(f"{said.file}: is missing; nothing can be decoded")
        return None
    if (sha256 := hashlib.sha256(data).hexdigest()) != said.sha256:
        problems.append(f"{said.file}: another tokenizer: sha256 {sha256[:12]}; expected {said.sha256[:12]}")
        return None
    found = parse(said.kind, said.file, data, said.bos_token, said.eos_token)
    for what, has, expected in (
        ("vocabulary", found.vocabulary, said.vocabulary),
        ("BOS", found.bos, said.bos),
        ("EOS", found.eos, said.eos),
    ):
        if has != expected:
            problems.append(f"{manifest.NAME}: tokenizer: {what} {expected}; {said.file} has {has}")
    return found


def check_files(folder: str, shard: Shard, there: dict[str, int]) -> list[str]:
    """Presence, length and SHA-256."""
    problems = []
    for piece in shard.files:
        if piece.name not in there:
            problems.append(f"{piece.name}: is missing; expected {piece.bytes:,} bytes")
        elif there[piece.name] != piece.bytes:
            problems.append(f"{piece.name}: {there[piece.name]:,} bytes; expected {piece.bytes:,}")
        elif (found := store.sha256(store.join(folder, piece.name))) != piece.sha256:
            problems.append(f"{piece.name}: sha256 {found[:12]}; expected {piece.sha256[:12]}: its bytes have changed")
    return problems


def check_shard(folder: str, number: int, made: Manifest, special: Iterable[int]) -> tuple[tuple[pa.Table, Array] | None, list[str]]:
    """((sidecar, tokens), problems) of a shard whose files are whole; None where sidecar, index, tokens and manifest disagree."""
    shard = made.shards[number]
    name, side_name = shard.files[0].name, shard.files[-1].name
    dtype = np.dtype(made.dtype).newbyteorder("<")
    problems = []
    try:
        table = formats.read_sidecar(store.join(folder, side_name))
        if made.format == "megatron":
            tokens, lengths = formats.read_megatron(store.join(folder, name))
            if tokens.dtype != dtype:
                return None, [f"{name}: its index says {tokens.dtype.name}; the manifest {dtype.name}"]
            if not np.array_equal(lengths, table["tokens"].to_numpy()):
                problems.append(f"{shard.files[1].name}: its lengths are not those of {side_name}")
        else:
            tokens = formats.read_npy(store.join(folder, name), dtype)
    except (CurateError, pa.ArrowException) as error:
        return None, [f"{side_name}: {error}" if isinstance(error, pa.ArrowException) else str(error)]
    if table.schema.remove_metadata() != formats.SIDECAR:
        return None, [f"{side_name}: columns {', '.join(table.column_names)}; expected {', '.join(formats.SIDECAR.names)}"]
    start, count = table["start"].to_numpy(), table["tokens"].to_numpy().astype(np.int64)
    for what, found, expected in (
        (f"{name}: tokens", len(tokens), shard.tokens),
        (f"{side_name}: documents", len(table), shard.documents),
        (f"{side_name}: tokens", int(count.sum()), shard.tokens),
    ):
        if found != expected:
            problems.append(f"{what}: {found:,}; the manifest says {expected:,}")
    if not np.array_equal(start, np.cumsum(count) - count):
        problems.append(f"{side_name}: documents do not start where those before them end")
    sums = table.group_by("source").aggregate([("tokens", "sum")])
    by_source = dict(zip(sums["source"].to_pylist(), sums["tokens_sum"].to_pylist(), strict=True))
    if by_source != shard.sources:
        problems.append(f"{side_name}: tokens by source {dict(sorted(by_source.items()))}; the manifest says {shard.sources}")
    if problems:
        return None, problems
    problems = check_order(side_name, table, number, made)
    return (table, tokens), problems + check_tokens(
        name, tokens, start, count, table["id"], edges_of(made), made.tokenizer.vocabulary, special
    )


def edges_of(made: Manifest) -> Edges:
    """The ids about each document, as the manifest has them."""
    layout = made.doc_layout
    return Edges(made.tokenizer.bos if "bos" in layout else None, made.tokenizer.eos if "eos" in layout else None)


def check_order(name: str, table: pa.Table, number: int, made: Manifest) -> list[str]:
    """Every document where the shuffle puts it (shard by key, in it by key), which also means that none is there twice."""
    keys = np.zeros(len(table), np.uint64)
    for pair in table.group_by(["source", "copy"]).aggregate([]).to_pylist():
        mask = pc.and_(pc.equal(table["source"], pair["source"]), pc.equal(table["copy"], pair["copy"]))
        rows = np.flatnonzero(mask.to_numpy())
        keys[rows] = shuffle_key(made.seed, pair["source"], table["id"].take(pa.array(rows)).combine_chunks(), pair["copy"])
    strange = np.flatnonzero(keys % np.uint64(len(made.shards)) != number)
    if strange.size:
        d = int(strange[0])
        home = int(keys[d]) % len(made.shards)
        return [
            f"{name}: {len(strange):,} documents of other shards, first document {d} ({table['id'][d]}), which shard {home:05d} should hold"
        ]
    place = ("source", "file", "row", "copy")
    later = keys[1:] > keys[:-1]
    for d in np.flatnonzero(~later).tolist():
        here, after = (tuple(table[c][i].as_py() for c in place) for i in (d, d + 1))
        if keys[d] > keys[d + 1] or here >= after:
            what = "is there twice" if here == after else "are not in the order of the shuffle"
            both = f"document {d} ({table['id'][d]})" + ("" if here == after else f" and the one behind it ({table['id'][d + 1]})")
            return [f"{name}: {both} {what}"]
    return []


def check_tokens(
    name: str, tokens: Array, start: Array, count: Array, ids: Any, around: Edges, vocabulary: int, special: Iterable[int]
) -> list[str]:
    """Ids in the vocabulary; every document with its BOS and EOS, and no special id in between."""
    problems = []
    if (short := np.flatnonzero(count < around.count)).size:
        where = f"document {short[0]} ({ids[int(short[0])]})"
        return [f"{name}: {len(short):,} documents have fewer tokens than BOS and EOS take, first {where}: {count[short[0]]}"]
    for what, verb, token, places in (("BOS", "begin", around.bos, start), ("EOS", "end", around.eos, start + count - 1)):
        if token is None:
            continue
        wrong = np.flatnonzero(tokens[places] != token)
        if wrong.size:
            d = int(wrong[0])
            problems.append(
                f"{name}: {len(wrong):,} of {len(places):,} documents do not {verb} with {what} ({token}), "
                f"first document {d} ({ids[d]}), which has {tokens[places[d]]} at token {places[d]:,}"
            )
    is_special = np.zeros(vocabulary, np.bool_)
    is_special[[s for s in special if s < vocabulary]] = True
    end, inside, first = start + count, 0, -1
    for low in range(0, len(tokens), CHUNK):
        chunk = tokens[low : low + CHUNK]
        if int(chunk.max()) >= vocabulary or int(chunk.min()) < 0:
            at = low + int(np.flatnonzero((chunk >= vocabulary) | (chunk < 0))[0])
            d = int(np.searchsorted(end, at, "right"))
            return [*problems, f"{name}: id {tokens[at]} at token {at:,}, document {d} ({ids[d]}); expected less than {vocabulary:,}"]
        hits = np.flatnonzero(is_special[chunk]) + low
        owner = np.searchsorted(end, hits, "right")
        fine = np.zeros(len(hits), np.bool_)
        if around.bos is not None:
            fine |= (hits == start[owner]) & (tokens[hits] == around.bos)
        if around.eos is not None:
            fine |= (hits == end[owner] - 1) & (tokens[hits] == around.eos)
        if not fine.all():
            first = int(hits[~fine][0]) if first < 0 else first
            inside += int((~fine).sum())
    if inside:
        d = int(np.searchsorted(end, first, "right"))
        problems.append(
            f"{name}: {inside:,} special ids within documents, first {tokens[first]} at token {first:,}, document {d} ({ids[d]})"
        )
    return problems


def check_totals(made: Manifest, tokens: Counter[str], documents: Counter[str]) -> list[str]:
    """The sidecars' sums against the table of the mix and the totals."""
    problems = []
    for what, found, expected in (("tokens", tokens.total(), made.tokens), ("documents", documents.total(), made.documents)):
        if found != expected:
            problems.append(f"{manifest.NAME}: {expected:,} {what}; the shards have {found:,}")
    rows = {r.source: (r.tokens, r.documents) for r in made.mix}
    for source in sorted({*rows, *tokens}):
        said, have = rows.get(source, (0, 0)), (tokens[source], documents[source])
        if said != have:
            written = f"{said[0]:,} tokens in {said[1]:,} documents"
            problems.append(f"{manifest.NAME}: mix, {source}: {written}; the shards have {have[0]:,} in {have[1]:,}")
    return problems


def draw(table: pa.Table, tokens: Array, shard: int, made: Manifest, sample: int) -> list[Drawn]:
    """The documents of a shard that may be in the sample: the lowest by hash, the same on every machine."""
    keys = np.zeros(len(table), np.uint64)
    for source in pc.unique(table["source"]).to_pylist():
        rows = np.flatnonzero(pc.equal(table["source"], source).to_numpy())
        keys[rows] = sample_key("verify", made.seed, source, table["id"].take(pa.array(rows)).combine_chunks())
    chosen, around = np.argsort(keys, kind="stable")[:sample], edges_of(made)
    out = []
    for d, r in zip(chosen.tolist(), table.take(pa.array(chosen)).to_pylist(), strict=True):
        ids = tokens[r["start"] + (around.bos is not None) : r["start"] + r["tokens"] - (around.eos is not None)]
        out.append(Drawn(int(keys[d]), shard, d, r["id"], r["source"], r["file"], r["row"], np.array(ids)))
    return out


def _compare(out: str, made: Manifest, tokenizer: Tokenizer, drawn: list[Drawn], report: Report) -> None:
    """Decode the sample and hold it against the text that it was made from."""
    for one in sorted(drawn, key=lambda d: (d.source, d.file, d.row, d.shard)):
        name, text_name = made.shards[one.shard].files[0].name, f"documents/{one.source}/{one.file:05d}.parquet"
        where = f"{name}: document {one.document} ({one.id})"
        try:
            found_id, text = read_document(store.join(out, text_name), one.row)
        except (OSError, IndexError, KeyError, pa.ArrowException) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else str(error)
            report.problems.append(f"{where}: its text, row {one.row:,} of {text_name}, cannot be read: {reason}")
            continue
        if found_id != one.id:
            report.problems.append(f"{where}: row {one.row:,} of {text_name} is document {found_id}")
            continue
        decoded = tokenizer.decode(one.ids.tolist())
        if decoded != text and not np.array_equal(one.ids, tokenizer.encode([text]).ids):
            at = next((i for i, (a, b) in enumerate(zip(decoded, text, strict=False)) if a != b), min(len(decoded), len(text)))
            report.problems.append(
                f"{where}: from character {at:,} on it decodes to {decoded[at : at + 30]!r}; "
                f"row {one.row:,} of {text_name} has {text[at : at + 30]!r}"
            )
            continue
        report.compared += 1
        report.normalised += decoded != text


def read_document(path: str, row: int) -> tuple[str, str]:
    """(id, text) of one row: reads one row group."""
    with store.open_input(path) as file:
        parquet = pq.ParquetFile(file)
        first = 0
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if row < first + rows:
                table = parquet.read_row_group(group, columns=["id", "text"])
                return table["id"][row - first].as_py(), table["text"][row - first].as_py()
            first += rows
    raise IndexError(f"the file has {first:,} rows")
