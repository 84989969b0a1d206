"""`curate stats --faithful`: what is published of a corpus against what this run has, source by source and step by step.

Sizes of a small corpus are those of a small corpus; what can be compared at any size are shares, epochs, bytes per token and document, and
what each step keeps. Beside each step stand the parameters that the papers leave open: a difference has its reason there, or in the input.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq
from pydantic import TypeAdapter

from curate import build, catalogue, finished, lock, places, store
from curate.errors import CurateError
from curate.published import Published
from curate.stage import Source, Stage
from curate.stats import StageStats
from curate.tokens import manifest

LANGUAGES = 25  # of a source that are shown, the most frequent first
SHOWN_CHOICES = 6  # of a step


@dataclass(frozen=True)
class Size:
    """One source as this run has it, each document once."""

    documents: int
    bytes: int  # of UTF-8 text
    tokens: float | None = None  # None without token shards
    share: float | None = None  # of the tokens that were written
    epochs: float | None = None
    languages: Mapping[str, float] | None = None  # share of the documents


@dataclass(frozen=True)
class Line:
    """A line of the table: one figure as somebody has published it, and as it is here."""

    source: str
    step: str  # a stage; empty for the source as a whole
    figure: str
    ours: float | None
    published: float | None = None
    by: str = ""
    open: tuple[str, ...] = ()  # parameters of the step that the papers leave open, with their values

    @property
    def ratio(self) -> float | None:
        """Ours to the published one."""
        return self.ours / self.published if self.ours is not None and self.published else None


def compare(
    published: Mapping[str, Sequence[Published]],
    rows: Sequence[StageStats],
    sizes: Mapping[str, Size],
    choices: Mapping[tuple[str, str], tuple[str, ...]],
) -> list[Line]:
    """Every published figure beside ours, and for each step what it keeps, whoever has published it."""
    out: list[Line] = []
    for source, size in sizes.items():
        figures = published.get(source, ())
        told = [list(_of_source(source, figure, size)) for figure in figures]
        names = dict.fromkeys(line.figure for lines in told for line in lines)  # of one name together, whoever says so
        out += [line for name in names for lines in told for line in lines if line.figure == name]
        named = {language for figure in figures for language in figure.languages}
        out += [Line(source, "", f"language {name}", share) for name, share in (size.languages or {}).items() if name not in named]
        for row in (r for r in rows if r.source == source):
            out += _of_step(row, [f for f in figures if f.stage == row.stage], choices.get((source, row.stage), ()))
    return out


def _of_source(source: str, figure: Published, size: Size) -> Iterator[Line]:
    line = Line(source, "", "", None, by=figure.by)
    pairs: dict[str, tuple[float | None, float | None]] = {
        "share of tokens": (size.share, figure.share),
        "epochs": (size.epochs, figure.epochs),
        "tokens": (size.tokens, figure.tokens),
        "bytes": (size.bytes, figure.bytes),
        "documents": (size.documents, figure.documents),
        "bytes per token": (_over(size.bytes, size.tokens), _over(figure.bytes, figure.tokens)),
        "bytes per document": (_over(size.bytes, size.documents), _over(figure.bytes, figure.documents)),
    }
    for name, (ours, theirs) in pairs.items():
        if theirs is not None:
            yield replace(line, figure=name, ours=ours, published=theirs)
    for language, share in figure.languages.items():
        yield replace(line, figure=f"language {language}", ours=(size.languages or {}).get(language, 0.0), published=share)


def _of_step(row: StageStats, figures: Sequence[Published], choices: tuple[str, ...]) -> Iterator[Line]:
    kept = {"documents kept": _over(row.docs_out, row.docs_in), "characters kept": _over(row.chars_out, row.chars_in)}
    for name, ours in kept.items():
        line = Line(row.source, row.stage, name, ours, open=choices)
        theirs = [(f, getattr(f, name.replace(" ", "_"))) for f in figures]
        said = [replace(line, published=share, by=f.by) for f, share in theirs if share is not None]
        yield from said or [line]


def _over(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None


def report(out: str, as_json: bool = False) -> str:
    """The table of a finished run, for people or as JSON."""
    rows = finished.read_stats(out)
    recipe = _read(out, "recipe.yaml")
    stages = {
        (s, name): config for s, steps in recipe["sources"].items() for step in (*steps, *recipe["corpus"]) for name, config in step.items()
    }
    choices = {at: tuple(_choices(build.find(at[1]), config)) for at, config in stages.items()}
    published = TypeAdapter(dict[str, list[Published]]).validate_json(json.dumps(recipe.get("published", {})))
    results = [source for source in recipe["sources"] if source not in recipe.get("feeding", ())]
    lines = compare(published, rows, _sizes(out, results), choices)
    if as_json:
        return json.dumps([{**asdict(line), "ratio": line.ratio} for line in lines], indent=1, ensure_ascii=False)
    return table(lines)


def _choices(cls: type[Stage], config: Mapping[str, Any]) -> Iterator[str]:
    """The parameters of a step that the papers leave open, but for those that every reader has, which make no difference to a document."""
    for p in catalogue.left_open(cls):
        if p.name not in Source.__dataclass_fields__:
            yield f"{p.name} {_short(config.get(p.name))}"


def _read(out: str, name: str) -> dict[str, Any]:
    value, _ = places.parse(store.read_bytes(store.join(out, name)).decode(), store.join(out, name))
    if not isinstance(value, dict):
        raise CurateError(f"{store.join(out, name)}: not what a run writes; `curate run RECIPE --out {out}` writes it anew")
    return value


def _sizes(out: str, sources: Sequence[str]) -> dict[str, Size]:
    """Of each source whose documents are a result; folders of an earlier recipe's may lie beside theirs."""
    mixed = {}
    if store.exists(store.join(out, manifest.FOLDER, manifest.NAME)):
        mixed = {a.source: a for a in manifest.read(store.join(out, manifest.FOLDER)).mix}
    last: dict[str, str] = {}
    for folder in store.read_json(store.join(out, lock.NAME))["passes"]:
        last[folder.split("/")[1]] = folder  # in the order of their numbers
    sizes = {}
    for source in sources:
        home = store.join(out, last[source])
        done = [store.read_json(store.join(home, name)) for name in store.listing(home) if name.endswith(".json")]
        size = Size(sum(d["docs"] for d in done), sum(d["size"] for d in done), languages=_languages(store.join(out, "documents", source)))
        if (a := mixed.get(source)) is not None:
            size = replace(size, tokens=a.tokens / a.epochs if a.epochs else None, share=a.share, epochs=a.epochs)
        sizes[source] = size
    return sizes


def _languages(folder: str) -> dict[str, float]:
    """Shares of the documents by their column `language`, where there is one."""
    counts: Counter[str] = Counter()
    for name in store.listing(folder):
        with store.open_input(store.join(folder, name)) as file, pq.ParquetFile(file) as reader:
            if "language" not in reader.schema_arrow.names:
                return {}
            for data in reader.iter_batches(columns=["language"]):
                for found in data["language"].cast("string").value_counts():
                    counts[found["values"].as_py() or "unknown"] += found["counts"].as_py()
    total = counts.total()
    return {language: n / total for language, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:LANGUAGES]}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def table(lines: Sequence[Line]) -> str:
    """For the terminal: a line for each figure of a source; of a step one for what it keeps, and one for each that is published."""
    out = [f"{'':<36}{'published':>14}{'here':>14}{'ratio':>11}  by"]
    for source, of_source in groupby(lines, lambda line: line.source):
        out += ["", source]
        for step, found in groupby(of_source, lambda line: line.step):
            figures = list(found)
            if step:
                shares = {line.figure: _number(line, line.ours) for line in figures}
                out.append(f"  {step}: {shares['documents kept']} of the documents, {shares['characters kept']} of the characters kept")
                if figures[0].open:
                    more = len(figures[0].open) - SHOWN_CHOICES
                    out.append(f"      open: {', '.join(figures[0].open[:SHOWN_CHOICES])}{f', {more} more' if more > 0 else ''}")
                figures = [line for line in figures if line.by]
            for line in figures:
                ratio = f"{line.ratio:.3g}" if line.ratio is not None else "-"
                name = f"{'      ' if step else '  '}{line.figure}"
                out.append(f"{name:<36}{_number(line, line.published):>14}{_number(line, line.ours):>14}{ratio:>11}  {line.by}".rstrip())
    out += ["", "`open` are the parameters that the papers leave open: docs/assumptions.md has the reason for each."]
    return "\n".join(out)


def _number(line: Line, value: float | None) -> str:
    if value is None:
        return "-"
    if line.figure.startswith(("share", "language")) or line.figure.endswith("kept"):
        return f"{value:.2%}"
    return f"{value:,.2f}" if line.figure in ("epochs", "bytes per token") else f"{value:,.0f}" if value < 1e9 else f"{value:.4g}"
