"""How good a score is at telling two classes apart, on documents that it has not learnt from.

The area under the ROC curve is exact: the share of pairs, one of each class, that the score puts in order, with ties for half.
Its interval is that of Hanley and McNeil (1982). Cost: a sort of each class.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from curate.batch import Array

_THRESHOLDS = tuple(n / 100 for n in range(5, 100, 5))
_NORMAL = 1.96  # 95 %


def auc(positives: Array, negatives: Array) -> float:
    """The share of pairs in which the positive has the higher score; neither class may be empty."""
    order = np.sort(negatives)
    halves = np.searchsorted(order, positives, "left").sum() + np.searchsorted(order, positives, "right").sum()
    return int(halves) / (2 * len(positives) * len(negatives))


def interval(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % confidence interval of an area that was measured on so many documents.

    The formula gives a width of 0 where every pair is in order. The rule of three speaks there: of n documents without an exception, up to
    3 / n may be exceptions.
    """
    few = min(positives, negatives)
    if area == 1:
        return max(0.0, 1 - 3 / few), 1.0
    if area == 0:
        return 0.0, min(1.0, 3 / few)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    half = _NORMAL * sqrt(max(0.0, variance) / (positives * negatives))
    return max(0.0, area - half), min(1.0, area + half)


def kept(positives: Array, negatives: Array, threshold: float) -> dict[str, Any]:
    """What a threshold keeps: shares of each class, and the share of positives in what is kept, None where that is nothing."""
    p, n = int((positives >= threshold).sum()), int((negatives >= threshold).sum())
    precision = p / (p + n) if p + n else None
    return {"threshold": threshold, "positives": p / len(positives), "negatives": n / len(negatives), "precision": precision}


def curve(positives: Array, negatives: Array) -> list[dict[str, Any]]:
    """`kept` for thresholds from 0.05 to 0.95."""
    return [kept(positives, negatives, threshold) for threshold in _THRESHOLDS]


def threshold_that_retains(scores: Array, share: float) -> float:
    """The threshold that keeps this share of the documents as nearly as it can: at least one, and all that tie with the last."""
    count = min(len(scores), max(1, round(share * len(scores))))
    return float(np.sort(scores)[len(scores) - count])
