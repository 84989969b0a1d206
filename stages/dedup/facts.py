"""What a deduplication says of itself: sizes of clusters, the largest, templates, pairs next to the threshold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.batch import Array
from stages.dedup import estimate, keeper

if TYPE_CHECKING:
    from stages.dedup.minhash import MinHash

SHOWN = 10  # clusters, templates and pairs that are named


def sizes(members: Array) -> dict[str, int]:
    """How many clusters there are of each size, by the lower edge of a doubling: 2, 3, 4, 8, 16, ..."""
    edge = np.where(members < 4, members, 1 << np.floor(np.log2(np.maximum(members, 1))).astype(np.int64))
    found, counts = np.unique(edge, return_counts=True)
    return {str(size): int(n) for size, n in zip(found.tolist(), counts.tolist(), strict=True)}


def merged(stage: MinHash, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The facts of all ranges as one, and what is to be said of them."""
    clusters: Counter[str] = Counter()
    for facts in found:
        clusters.update(facts.get("clusters", {}))
    out: dict[str, Any] = {
        "clusters": dict(sorted(clusters.items(), key=lambda c: int(c[0]))),
        "largest": _top([x for f in found for x in f.get("largest", [])]),
        "almost": sorted((x for f in found for x in f.get("almost", [])), key=lambda p: (-p[2], p))[:SHOWN],
        "templates": {
            "bands": sum(f["templates"]["bands"] for f in found if "templates" in f),
            "largest": _top([x for f in found if "templates" in f for x in f["templates"]["largest"]]),
        },
    }
    ranked, lacking = (sum(f.get(name, 0) for f in found) for name in ("ranked", "lacking"))
    says = []
    for facts in found:
        if "sample" in facts:
            out["sample"] = facts["sample"]
            says.append(estimate.said(stage, facts["sample"]))
    if clusters:
        head, size = out["largest"][0]
        says.append(f"{clusters.total():,} clusters; the largest, of {size:,} documents, is that of {head}")
    warns = keeper.warned(lacking, ranked, stage.keeper, stage.score, "documents that bands propose")
    if out["templates"]["bands"]:
        head, size = out["templates"]["largest"][0]
        warns.append(
            f"{out['templates']['bands']:,} bands are shared by more than {stage.compared} kinds of documents: pages of a template, or "
            f"boilerplate; the largest by {size:,}, {head} among them. Each was compared with the first {stage.compared} kept ones of a "
            "band; line dedup before, or longer shingles, part them"
        )
    return out | keeper.counted(lacking, stage.keeper) | {"says": says, "warns": warns}


def _top(named: list[Any]) -> list[Any]:
    return sorted(named, key=lambda x: (-x[1], x[0]))[:SHOWN]
