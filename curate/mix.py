"""The mix: how many tokens each source gives, which documents its last partial copy holds, and the order of the shuffle.

Pure arithmetic on counts, ranks and ids. Shares are of tokens, documents only the unit that is drawn; how often a source is
repeated follows from how many tokens it has (Llama 1, Table 1: its epochs are a consequence). A source is written in whole copies, and then
once more in part: its documents in order of a hash, until the budget is met. So a larger share only ever adds documents, and no
machine need see more of a source than the counts of each partition of that hash and the rows of one of them.

Cost: hashing ids runs at 35 million a second and core; the rest is a handful of numbers per source.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, NamedTuple, cast

import numpy as np
import pyarrow as pa

from curate.batch import Array, Mask
from curate.errors import CurateError, RecipeError
from curate.kernels import text as text_kernels

MAX_EPOCHS = 4.0  # Muennighoff et al. 2023, arXiv 2305.16264: up to four passes cost next to nothing
PARTITIONS = 1 << 12  # of ranks: 32 kB of counts per shard, and a 4,096th of a source to be looked at row by row


@dataclass(frozen=True)
class Mix:
    """The `mix:` of a recipe."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
    weights: dict[str, float]  # source -> share of the tokens, of any sum; 0 leaves a source out
    tokens: float | Literal["all"] = "all"  # ours: as many as there are without any source passing its epochs; or a number
    max_epochs: float | dict[str, float] = MAX_EPOCHS  # ours: see MAX_EPOCHS; exceptions by source

    def only(self, sources: Collection[str]) -> Mix:
        """The part of the mix that these sources have: their weights, and of a fixed number of tokens their share."""
        weights = {s: w for s, w in self.weights.items() if s in sources}
        epochs = self.max_epochs
        if isinstance(epochs, dict):
            epochs = {s: e for s, e in epochs.items() if s in sources}
        whole = sum(self.weights.values())
        tokens = self.tokens if self.tokens == "all" or not whole else self.tokens * sum(weights.values()) / whole
        return Mix(weights, tokens, epochs)


@dataclass(frozen=True)
class Share:
    """What one source is to give: `copies` of every document, and documents worth `fraction` tokens once more."""

    source: str
    weight: float  # the weights of a mix add up to one
    available: int  # tokens, as they will be written: BOS and EOS included
    target: int
    copies: int
    fraction: int

    @property
    def epochs(self) -> float:
        """How often the source is seen."""
        return self.target / self.available if self.available else 0.0


class Cut(NamedTuple):
    """The last document of a fractional copy in order of (rank, address), and the tokens up to and with it."""

    rank: int
    address: int
    tokens: int


def check_weights(mix: Mix, sources: Iterable[str]) -> None:
    """Raise RecipeError unless the mix makes sense for these sources; needs no token count."""
    names = list(sources)
    exceptions = mix.max_epochs if isinstance(mix.max_epochs, dict) else {}
    for field, given in (("weights", mix.weights), ("max_epochs", exceptions)):
        for name in given:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {close[0]}?" if close else "."
                raise RecipeError(f"mix.{field}: there is no source {name}{hint} The sources are {', '.join(names)}")
    for name in names:
        if name not in mix.weights:
            raise RecipeError(f"mix.weights: {name} has no weight; give it its share of the tokens, or 0 to leave it out")
    for name, weight in mix.weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise RecipeError(f"mix.weights.{name}: {weight} is no share; a number of at least 0 is expected")
    if not any(mix.weights.values()):
        raise RecipeError("mix.weights: every weight is 0; at least one source must give tokens")
    for name, epochs in exceptions.items() if exceptions else [("", mix.max_epochs)]:
        if not (isinstance(epochs, int | float) and math.isfinite(epochs) and epochs > 0):
            raise RecipeError(f"mix.max_epochs{'.' + name if name else ''}: {epochs} is no number of epochs; a number above 0 is expected")
    if mix.tokens != "all" and not (math.isfinite(mix.tokens) and mix.tokens >= 1):
        raise RecipeError(f"mix.tokens: {mix.tokens} is no number of tokens; a number of at least 1, or `all`, is expected")


def budgets(mix: Mix, available: Mapping[str, int]) -> list[Share]:
    """The shares of all sources in the order of the weights. `available`: tokens of each source as they will be written.

    Raises RecipeError where a source would have to be seen more often than its max_epochs.
    """
    check_weights(mix, available)
    total = sum(_exact(w) for w in mix.weights.values())
    weights = {name: _exact(w) / total for name, w in mix.weights.items()}
    empty = [name for name, w in weights.items() if w and not available[name]]
    if empty:
        raise CurateError(
            f"mix.weights: no token is left of {', '.join(empty)}. "
            "`curate stats` shows where the documents went; a weight of 0 leaves a source out"
        )
    caps = {name: math.floor(_exact(most_epochs(mix, name)) * available[name]) for name, w in weights.items() if w}
    most = math.floor(min(cap / weights[name] for name, cap in caps.items()))
    if most < 1:
        raise CurateError("mix: at these weights not one token can be taken without passing max_epochs: the sources are too small")
    tokens = most if mix.tokens == "all" else int(mix.tokens)
    targets = apportion(weights, tokens)
    short = [name for name, cap in caps.items() if targets[name] > cap]
    if short:
        needs = "; ".join(
            f"{name} {targets[name] / available[name]:.2f} epochs (max_epochs {most_epochs(mix, name):g}; "
            f"it has {available[name]:,} tokens, its share is {targets[name]:,})"
            for name in short
        )
        raise RecipeError(
            f"mix.tokens: {tokens:,} tokens at these weights need of {needs}. "
            f"At most {most:,} tokens work: lower mix.tokens, lower the weight, raise max_epochs, or add data"
        )
    return [_share(name, weights[name], available[name], targets[name]) for name in weights]


def apportion(weights: Mapping[str, float | Fraction], total: int) -> dict[str, int]:
    """Whole numbers that add up to `total`, by largest remainder (Hamilton); equal remainders in order of name."""
    exact = {name: _exact(w) for name, w in weights.items()}
    whole = sum(exact.values())
    quotas = {name: w * total / whole for name, w in exact.items()}
    out = {name: math.floor(q) for name, q in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: (out[name] - quotas[name], name))
    for name in by_remainder[: total - sum(out.values())]:
        out[name] += 1
    return out


def _share(source: str, weight: Fraction, available: int, target: int) -> Share:
    copies, fraction = divmod(target, available) if available else (0, 0)
    return Share(source, float(weight), available, target, copies, fraction)


def _exact(number: float | Fraction) -> Fraction:
    """The decimal that was written: 0.1 is a tenth, not the nearest float."""
    return number if isinstance(number, Fraction) else Fraction(str(number))


def most_epochs(mix: Mix, source: str) -> float:
    """How often a source may be seen."""
    return mix.max_epochs.get(source, MAX_EPOCHS) if isinstance(mix.max_epochs, dict) else mix.max_epochs


# The draw: which documents the fractional copy holds


def rank_key(seed: int, source: str, ids: pa.Array) -> Array:
    """uint64 per document: the order in which documents enter the fractional copy."""
    return _draw("rank", seed, source, 0, ids)


def shuffle_key(seed: int, source: str, ids: pa.Array, copy: int) -> Array:
    """uint64 per document: its place in the shuffled corpus. Every copy has its own, so repeats land far apart."""
    return _draw("shuffle", seed, source, copy, ids)


def sample_key(purpose: str, seed: int, source: str, ids: pa.Array) -> Array:
    """uint64 per document: the order of any other sample, named by what it is for."""
    return _draw(f"sample for {purpose}", seed, source, 0, ids)


def _draw(purpose: str, seed: int, source: str, copy: int, ids: pa.Array) -> Array:
    """Hash of (purpose, seed, source, copy, id): no draw is used for two purposes."""
    if ids.null_count:
        raise ValueError(f"{ids.null_count} documents of {source} have no id")
    if not len(ids):
        return np.empty(0, np.uint64)
    if ids.type != pa.string():
        ids = ids.cast(pa.string())
    _, offsets, values = ids.buffers()
    at = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    data = np.frombuffer(values, np.uint8) if values is not None else np.empty(0, np.uint8)
    word = hashlib.blake2b("\0".join((purpose, str(seed), str(copy), source)).encode(), digest_size=8).digest()
    return cast(Array, text_kernels.hash_documents(data, at[:-1], at[1:], np.uint64(int.from_bytes(word, "little"))))


def partition(ranks: Array, partitions: int = PARTITIONS) -> Array:
    """int64: which partition each rank is in; partitions, a power of two, are in order of rank."""
    bits = partitions.bit_length() - 1
    if partitions != 1 << bits or not bits:
        raise ValueError(f"{partitions} partitions: a power of two above 1 is expected")
    return (ranks >> np.uint64(64 - bits)).astype(np.int64)


def partition_tokens(ranks: Array, tokens: Array, partitions: int = PARTITIONS) -> Array:
    """int64: tokens in each partition. Shards add up."""
    out = np.zeros(partitions, np.int64)
    np.add.at(out, partition(ranks, partitions), tokens.astype(np.int64))
    return out


def locate(sums: Array, budget: int) -> tuple[int, int]:
    """(partition, remaining): where a budget runs out, and how much of it is left for that partition; (-1, 0) for no budget."""
    if budget <= 0:
        return -1, 0
    ends = np.cumsum(sums)
    if budget > int(ends[-1]):
        raise ValueError(f"a budget of {budget:,} tokens; the source has {int(ends[-1]):,}")
    at = int(np.searchsorted(ends, budget, "left"))
    return at, budget - int(ends[at] - sums[at])


def cut_in_partition(ranks: Array, addresses: Array, tokens: Array, sums: Array, budget: int) -> Cut | None:
    """The cut from the rows, in any order, of the one partition that `locate` named."""
    at, remaining = locate(sums, budget)
    if at < 0:
        return None
    found = cut(ranks, addresses, tokens, remaining)
    return found and found._replace(tokens=found.tokens + budget - remaining)


def cut(ranks: Array, addresses: Array, tokens: Array, budget: int) -> Cut | None:
    """Documents in order of (rank, address) until they hold `budget` tokens; None where the budget is nothing.

    A document is in if those before it fall short of the budget: less than one document too many, and more budget only adds documents.
    """
    if budget <= 0:
        return None
    order = np.lexsort((addresses, ranks))
    ends = np.cumsum(tokens[order].astype(np.int64))
    if not len(ends) or budget > int(ends[-1]):
        raise ValueError(f"a budget of {budget:,} tokens; the documents have {int(ends[-1]) if len(ends) else 0:,}")
    last = int(np.searchsorted(ends, budget, "left"))
    return Cut(int(ranks[order[last]]), int(addresses[order[last]]), int(ends[last]))


def taken(at: Cut | None, ranks: Array, addresses: Array) -> Mask:
    """Which documents the fractional copy holds."""
    if at is None:
        return np.zeros(len(ranks), np.bool_)
    rank, address = np.uint64(at.rank), np.int64(at.address)
    return cast(Mask, (ranks < rank) | ((ranks == rank) & (addresses <= address)))


# What became of it


@dataclass(frozen=True)
class Achieved:
    """One source's row of the table: what was asked for, and what was written."""

    source: str
    weight: float
    share: float  # of the tokens that were written
    target_tokens: int
    tokens: int
    documents: int  # copies counted
    epochs: float
    error: float  # tokens / target_tokens - 1


def achieved(shares: Sequence[Share], counts: Mapping[str, tuple[int, int]]) -> list[Achieved]:
    """`counts`: (tokens, documents) written of each source, counted from the shards themselves."""
    total = sum(counts.get(s.source, (0, 0))[0] for s in shares)
    rows = []
    for s in shares:
        tokens, documents = counts.get(s.source, (0, 0))
        share = tokens / total if total else 0.0
        epochs = tokens / s.available if s.available else 0.0
        error = tokens / s.target - 1 if s.target else 0.0
        rows.append(Achieved(s.source, s.weight, share, s.target, tokens, documents, epochs, error))
    return rows


def table(rows: Sequence[Achieved]) -> str:
    """For the terminal: one line per source, and the total."""
    wide = max([len(r.source) for r in rows] + [len("total")]) + 2
    lines = [f"{'':<{wide}}{'weight':>9}{'share':>9}{'target tokens':>20}{'tokens':>20}{'documents':>14}{'epochs':>8}{'error':>10}"]
    for r in rows:
        lines.append(
            f"{r.source:<{wide}}{r.weight:>9.3%}{r.share:>9.3%}{r.target_tokens:>20,}{r.tokens:>20,}{r.documents:>14,}{r.epochs:>8.3f}{r.error:>+10.4%}"
        )
    target, tokens, documents = (sum(getattr(r, f) for r in rows) for f in ("target_tokens", "tokens", "documents"))
    error = tokens / target - 1 if target else 0.0
    lines.append(f"{'total':<{wide}}{'':>18}{target:>20,}{tokens:>20,}{documents:>14,}{'':>8}{error:>+10.4%}")
    return "\n".join(lines)
