"""What workers do on the way from documents to token shards: train, encode, find a cut, spread, write.

Each is a callable over jobs whose result is also a `.json`, written last: the commit and the resume marker. Tokens pass an exchange
as keys pass a barrier, one record batch per token shard; memory is bounded by a batch and a spill on the way in, and by one shard on
the way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import mix as mixing
from curate import store
from curate.batch import Array
from curate.documents import read_documents
from curate.exchange import open_arrow, split
from curate.tokens import formats
from curate.tokens.config import Tokens
from curate.tokens.layout import add_edges, edges, token_type
from curate.tokens.tokenizer import Tokenizer, load
from curate.tokens.training import Training, train
from curate.worker import Part

ENCODE_ROWS = 512  # documents handed to the tokenizer at once
RANK_PARTITIONS = 256  # of a source's documents by rank; one of them is looked at row by row
SPILL_BYTES = 64 << 20  # of tokens held before they are spread
GATHER_ROWS = 16_384  # documents of a shard put in order at once


@dataclass(frozen=True)
class Train:
    """Trains the run's own tokenizer on documents drawn by hash from all sources."""

    settings: Training
    seed: int
    parts: tuple[tuple[str, Part], ...]
    path: str

    def __call__(self, _: int) -> None:
        """Writes the model."""
        size = sum(p.size for _, p in self.parts)
        share = min(self.settings.sample_bytes / size, 1.0) if size else 1.0
        train(self._texts(np.uint64(min(int(share * 2.0**64), 2**64 - 1))), self.settings, self.path)

    def _texts(self, limit: np.uint64) -> Iterator[str]:
        for source, part in self.parts:
            for batch in read_documents(part.path, ENCODE_ROWS, ["id", "text"]):
                yield from batch.where(mixing.sample_key("tokenizer", self.seed, source, batch["id"]) <= limit).text.to_pylist()


@dataclass(frozen=True)
class Encoded:
    """One document shard, tokenized."""

    source: str
    number: int
    docs: int
    tokens: int  # BOS and EOS included

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.source}-{self.number:05d}"


@dataclass(frozen=True)
class Encode:
    """Tokenizes document shards, BOS and EOS included."""

    tokens: Tokens
    trained: str | None
    seed: int
    home: str

    def __call__(self, job: tuple[str, Part]) -> Encoded:
        """The counts of one shard; its tokens are in `home`."""
        source, part = job
        at = store.join(self.home, f"{source}-{part.number:05d}")
        if store.exists(f"{at}.json"):
            return Encoded(**{k: v for k, v in store.read_json(f"{at}.json").items() if k != "partitions"})
        tokenizer = self._tokenizer()
        around = edges(self.tokens.layout, tokenizer)
        narrow = np.dtype(np.uint16 if tokenizer.vocabulary <= 1 << 16 else np.int32)
        schema = pa.schema([("id", pa.string()), ("row", pa.int64()), ("ids", pa.large_list(pa.from_numpy_dtype(narrow)))])
        docs, sums = 0, np.zeros(RANK_PARTITIONS, np.int64)
        with store.commit(f"{at}.arrow") as temporary, pa.ipc.new_file(temporary, schema) as out:
            for batch in read_documents(part.path, ENCODE_ROWS, ["id", "text"]):
                encoded = add_edges(tokenizer.encode(batch.text.to_pylist()), around)
                ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(encoded.lengths)])
                ids = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(encoded.ids.astype(narrow)))
                row = pa.array(np.arange(docs, docs + len(batch)))
                out.write_batch(pa.RecordBatch.from_arrays([batch["id"], row, ids], schema=schema))
                docs += len(batch)
                sums += mixing.partition_tokens(mixing.rank_key(self.seed, source, batch["id"]), encoded.lengths, RANK_PARTITIONS)
        done = Encoded(source, part.number, docs, int(sums.sum()))
        store.write_json(f"{at}.json", {**asdict(done), "partitions": sums.tolist()})
        return done

    def _tokenizer(self) -> Tokenizer:
        if "loaded" not in self.__dict__:  # once per worker, and never pickled
            self.__dict__["loaded"] = load(self.tokens.tokenizer, self.trained)
        loaded: Tokenizer = self.__dict__["loaded"]
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "loaded"}


def read_encoded(home: str, encoded: Encoded) -> Iterator[pa.RecordBatch]:
    """Batches of id, row and ids."""
    with open_arrow(store.join(home, f"{encoded.name}.arrow")) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


@dataclass(frozen=True)
class FindCut:
    """Looks at the one partition of a source's documents in which its partial copy ends."""

    seed: int
    home: str

    def __call__(self, job: tuple[mixing.Share, tuple[Encoded, ...]]) -> tuple[str, mixing.Cut | None]:
        """(source, the last document of the partial copy)."""
        share, some = job
        sums = np.zeros(RANK_PARTITIONS, np.int64)
        for e in some:
            sums += np.array(store.read_json(store.join(self.home, f"{e.name}.json"))["partitions"])  # tokens by partition of the rank
        at, _ = mixing.locate(sums, share.fraction)
        ranks, addresses, tokens = [], [], []
        for e in some:
            for batch in read_encoded(self.home, e):
                rank = mixing.rank_key(self.seed, share.source, batch["id"])
                mine = mixing.partition(rank, RANK_PARTITIONS) == at
                ranks.append(rank[mine])
                addresses.append(address(e, batch)[mine])
                tokens.append(lengths(batch)[mine])
        cut = mixing.cut_in_partition(np.concatenate(ranks), np.concatenate(addresses), np.concatenate(tokens), sums, share.fraction)
        return share.source, cut


def address(encoded: Encoded, batch: pa.RecordBatch) -> Array:
    """int64 of each document: shard << 32 | row."""
    rows: Array = batch["row"].to_numpy()
    return rows + (encoded.number << 32)


def lengths(batch: pa.RecordBatch) -> Array:
    """int64: tokens of each document."""
    out: Array = pc.list_value_length(batch["ids"]).to_numpy().astype(np.int64)
    return out


@dataclass(frozen=True)
class Spreaded:
    """What one document shard gives to the token shards, copies counted."""

    source: str
    docs: int
    tokens: int


@dataclass(frozen=True)
class Spread:
    """Sends a document shard's tokens, copy by copy, to the token shards that the shuffle gives them."""

    seed: int
    encoded: str  # folder
    home: str
    shards: int
    copies: dict[str, int]
    cuts: dict[str, mixing.Cut | None]

    def __call__(self, job: Encoded) -> Spreaded:
        """The counts; the tokens are in `home`, a record batch per token shard and spill."""
        at = store.join(self.home, job.name)
        if store.exists(f"{at}.json"):
            return Spreaded(**store.read_json(f"{at}.json"))
        docs = tokens = 0
        with store.commit(f"{at}.arrow", optional=True) as temporary:  # a shard may give nothing
            out = None
            held: list[pa.RecordBatch] = []
            for rows in self._copies(job):
                docs += len(rows)
                tokens += int(lengths(rows).sum())
                held.append(rows)
                if sum(h.nbytes for h in held) >= SPILL_BYTES:
                    out = self._spill(out, temporary, held)
                    held = []
            if held:
                out = self._spill(out, temporary, held)
            if out is not None:
                out.close()
        done = Spreaded(job.source, docs, tokens)
        store.write_json(f"{at}.json", asdict(done))
        return done

    def _copies(self, job: Encoded) -> Iterator[pa.RecordBatch]:
        """Every document as often as it is wanted, with its key of the shuffle."""
        whole, cut = self.copies[job.source], self.cuts[job.source]
        for batch in read_encoded(self.encoded, job):
            partial = mixing.taken(cut, mixing.rank_key(self.seed, job.source, batch["id"]), address(job, batch))
            for copy in range(whole + (cut is not None)):
                rows = batch if copy < whole else batch.filter(pa.array(partial))
                if len(rows):
                    key = mixing.shuffle_key(self.seed, job.source, rows["id"], copy)
                    rows = rows.append_column("key", pa.array(key))
                    yield rows.append_column("copy", pa.array(np.full(len(rows), copy, np.int16)))

    def _spill(self, out: Any, path: str, held: list[pa.RecordBatch]) -> Any:
        table = pa.Table.from_batches(held).combine_chunks()
        out = out or pa.ipc.new_file(path, table.schema)
        shard = (table["key"].to_numpy() % np.uint64(self.shards)).astype(np.int64)
        for batch in split(table, shard, self.shards):
            out.write_batch(batch)
        return out


@dataclass(frozen=True)
class Write:
    """Gathers one token shard, puts it in the order of the shuffle and writes it."""

    tokens: Tokens
    vocabulary: int
    files: tuple[tuple[str, int, str], ...]  # (source, number, path) of what was spread
    shards: int
    home: str

    def __call__(self, number: int) -> formats.Shard:
        """What the manifest says of the shard."""
        done = store.join(self.home, f"{number:05d}.json")
        if store.exists(done):
            value = store.read_json(done)
            return formats.Shard(**{**value, "files": [formats.Piece(**p) for p in value["files"]]})
        dtype = token_type(self.tokens.format, self.vocabulary)
        shard = formats.write(self.tokens.format, self.home, number, dtype, self.vocabulary, self._documents(number))
        store.write_json(done, asdict(shard))
        return shard

    def _documents(self, number: int) -> Iterator[formats.Documents]:
        batches, sources, files = [], [], []
        for source, file, path in self.files:
            with open_arrow(path, mapped=False) as reader:
                for at in range(number, reader.num_record_batches, self.shards):
                    batch = reader.get_batch(at)
                    if len(batch):
                        batches.append(batch)
                        sources.append(pa.repeat(source, len(batch)))
                        files.append(np.full(len(batch), file, np.int32))
        if not batches:
            return
        table = pa.Table.from_batches(batches)
        table = table.append_column("source", pa.chunked_array(sources)).append_column("file", pa.array(np.concatenate(files)))
        by = [(c, "ascending") for c in ("key", "source", "file", "row", "copy")]
        order = pc.sort_indices(table.drop_columns(["ids"]), sort_keys=by)
        for first in range(0, len(order), GATHER_ROWS):
            some = table.take(order[first : first + GATHER_ROWS]).combine_chunks().to_batches()[0]
            about = some.select(list(formats.GIVEN))
            yield formats.Documents(some["ids"].flatten().to_numpy(), lengths(some), about)
