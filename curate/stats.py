"""Counts that add up: batch, shard, pass, run. And the ledger, which says whether they do."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from curate.batch import Array
from curate.errors import LedgerError

HISTOGRAM_STEPS = 4  # bins per doubling
REASONS = 4  # that a line of the funnel names


@dataclass
class StageStats:
    """One stage's row of the funnel. A monoid under `+`: shards add up in any order."""

    source: str
    stage: str
    docs_in: int = 0
    docs_out: int = 0
    chars_in: int = 0
    chars_out: int = 0
    chars_rewritten: int = 0  # taken away (or, if negative, added) by rewriting documents that were kept or dropped afterwards
    quarantined: int = 0  # records that could not be read; of a source only
    bad_files: int = 0
    seconds: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)  # rule -> documents that this rule removed first
    dropped_chars: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)  # rule -> documents that fail it at all
    lines: Counter[str] = field(default_factory=Counter)  # rule -> lines that it took out of documents, dropped ones among them
    histograms: dict[str, Counter[str]] = field(default_factory=dict)  # rule -> bin -> documents
    entered: dict[str, Counter[str]] = field(default_factory=dict)  # column -> value -> documents that came in, of what a barrier watches
    lost: dict[str, Counter[str]] = field(default_factory=dict)  # likewise, that were dropped

    def __add__(self, other: StageStats) -> StageStats:
        if (self.source, self.stage) != (other.source, other.stage):
            raise ValueError(f"cannot add the counts of {self.source} {self.stage} and {other.source} {other.stage}")
        sums = {k: getattr(self, k) + getattr(other, k) for k in _ADDED}
        tables: Any = {k: _merged(getattr(self, k), getattr(other, k)) for k in _TABLES}
        return StageStats(self.source, self.stage, **sums, **tables)

    def to_json(self) -> dict[str, Any]:
        """As in stats.json; keys of counters sorted and zeros left out, so that equal counts are equal bytes."""
        row = dict(vars(self))
        for name in _COUNTERS:
            row[name] = {k: int(v) for k, v in sorted(row[name].items()) if v}
        row["histograms"] = {rule: dict(sorted(bins.items(), key=lambda b: float(b[0]))) for rule, bins in sorted(self.histograms.items())}
        for name in ("entered", "lost"):
            row[name] = {column: dict(sorted(counts.items())) for column, counts in sorted(row[name].items())}
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> StageStats:
        counters = {k: Counter(row.get(k, {})) for k in _COUNTERS}
        tables = {k: {name: Counter(counts) for name, counts in row.get(k, {}).items()} for k in _TABLES}
        return cls(**{**row, **counters, **tables})


_COUNTERS = ("dropped", "dropped_chars", "failed", "lines")
_TABLES = ("histograms", "entered", "lost")
_ADDED = [f.name for f in dataclasses.fields(StageStats) if f.name not in ("source", "stage", *_TABLES)]


def _merged(left: dict[str, Counter[str]], right: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    return {name: left.get(name, Counter()) + right.get(name, Counter()) for name in {**left, **right}}


def histogram(values: Array) -> Counter[str]:
    """Documents per bin: the key is the bin's lower edge, four bins per doubling; negative values and NaN count as 0."""
    positive = values[values > 0]
    out = Counter({"0": len(values) - len(positive)}) if len(positive) < len(values) else Counter()
    if len(positive):
        bins, counts = np.unique(np.floor(np.log2(positive.astype(np.float64)) * HISTOGRAM_STEPS), return_counts=True)
        out.update({f"{2.0 ** (b / HISTOGRAM_STEPS):.6g}": int(n) for b, n in zip(bins.tolist(), counts.tolist(), strict=True)})
    return out


def add(left: list[StageStats], right: list[StageStats]) -> list[StageStats]:
    """Row by row; an empty list is the zero."""
    return [a + b for a, b in zip(left, right, strict=True)] if left and right else left or right


def balance(rows: Sequence[StageStats], *, entered: int | None = None, written: int | None = None, fates: int | None = None) -> None:
    """Raise LedgerError unless in = kept + dropped + quarantined in every row, in documents and in characters, from row to row.

    `entered`, `written` and `fates` are counts made elsewhere: documents of the input, of the file written, and rows of fates.
    """
    for row in rows:
        where = f"{row.source}, {row.stage}"
        docs = row.docs_out + sum(row.dropped.values()) + row.quarantined
        if row.docs_in != docs:
            raise _lost(where, "documents", row.docs_in, f"{row.docs_out:,} kept + dropped + quarantined", docs)
        chars = row.chars_out + sum(row.dropped_chars.values()) + row.chars_rewritten
        if row.chars_in != chars:
            raise _lost(where, "characters", row.chars_in, f"{row.chars_out:,} kept + dropped + rewritten", chars)
    for before, after in pairwise(rows):
        for unit, out, into in (("documents", before.docs_out, after.docs_in), ("characters", before.chars_out, after.chars_in)):
            if out != into:
                raise _lost(f"{before.source}, between {before.stage} and {after.stage}", unit, out, "went in", into)
    if not rows:
        return
    name = rows[0].source
    if entered is not None and rows[0].docs_in != entered:
        raise _lost(f"{name}, before {rows[0].stage}", "documents", entered, "went in", rows[0].docs_in)
    if written is not None and rows[-1].docs_out != written:
        raise _lost(f"{name}, after {rows[-1].stage}", "documents", rows[-1].docs_out, "were written", written)
    gone = sum(sum(r.dropped.values()) for r in rows)
    if fates is not None and gone != fates:
        raise _lost(f"{name}, fates", "documents", gone, "have a fate", fates)


def _lost(where: str, unit: str, had: int, what: str, have: int) -> LedgerError:
    return LedgerError(
        f"the ledger does not close: {where}: {had:,} {unit} came in, {have:,} {what}. "
        "Every document must be kept, dropped by a rule or quarantined; this is a bug in that stage or in the engine, not in the data."
    )


def funnel(rows: Sequence[StageStats]) -> str:
    """The table that `curate stats` prints: one line per source and stage."""
    wide = max([len(f"{r.source}  {r.stage}") for r in rows], default=10) + 2
    lines = [f"{'':<{wide}}{'docs in':>11}{'docs out':>11}{'kept':>8}{'Mchars out':>12}{'Mchar/s':>9}  why documents left"]
    for r in rows:
        kept = f"{r.docs_out / r.docs_in:.1%}" if r.docs_in else "-"
        why = Counter(r.dropped)
        if r.quarantined:
            why["quarantined"] = r.quarantined
        named = why.most_common(REASONS if len(why) > REASONS + 1 else None)
        reasons = ", ".join(f"{rule} {n:,}" for rule, n in named)
        if len(named) < len(why):
            reasons += f", {len(why) - len(named)} other rules {why.total() - sum(n for _, n in named):,}"
        rate = f"{max(r.chars_in, r.chars_out) / 1e6 / r.seconds:.0f}" if r.seconds > 0 else "-"
        label = f"{r.source}  {r.stage}"
        lines.append(f"{label:<{wide}}{r.docs_in:>11,}{r.docs_out:>11,}{kept:>8}{r.chars_out / 1e6:>12.2f}{rate:>9}  {reasons}")
    return "\n".join(lines)
