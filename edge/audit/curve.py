"""The value of more examples: leave-one-out accuracy on parts of the examples, and a rule for twice as many. Pure.

Twice as many examples of every label avoid about a sixth of the errors; twice as many of one label, a ninth of its own.
This was measured on five photo sets with 10, 20 and 40 examples of each label. A power law fitted to the curve (Cortes
et al. 1993) was no better, and chose the wrong label as the one that gains most (docs/trust.md). Bursts are not
divided. Nothing is said if a label has fewer than `NEEDED` examples.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.answers import LearningCurve
from edge.head.fit import Examples, Fit, fit
from edge.metrics.evaluate import SHARED, wilson

NEEDED = 8  # independent examples of every label
POINTS = 4  # parts that are taught, before the whole
DRAWS = 3  # of each part
SPARED, SPARED_ALONE = 1 / 6, 1 / 9  # of the errors
MOST = 0.4  # of the errors, in 95 % of cases


@dataclass(frozen=True)
class Worth:
    """The expected and the largest likely gain in the mean accuracy of the labels from `more` examples."""

    more: int
    gain: float
    most: float


def learning_curve(
    local: Examples, result: Fit, rng: np.random.Generator, factory: Examples | None = None
) -> LearningCurve | None:
    """Measure how accuracy grew with the local examples; None if there are too few.

    Args:
        local: n examples taught on the device.
        result: the fit to all of them and the bundle's.
        rng: draws the parts.
        factory: the bundle's examples, which are always used.
    """
    counts = independent(local)
    least = min(counts.values(), default=0)
    if len(result.head.labels) < 2 or least < NEEDED:
        return None
    shares = np.unique(np.round(np.geomspace(3, least / 2, POINTS))) / least
    points = []
    for share in shares:
        parts = [_part(local, counts, share, rng) for _ in range(DRAWS)]
        points.append(np.concatenate([_right(part, fit(part, factory)) for part in parts]))
    points.append(_right(local, result))
    sizes = np.append(shares, 1.0) * np.mean(list(counts.values()))
    worth = [SHARED / DRAWS] * len(shares) + [SHARED]
    ends = [wilson(int(np.nansum(p)), int((~np.isnan(p)).sum()), own) for p, own in zip(points, worth, strict=True)]
    accuracy = tuple(float(np.nanmean(point)) for point in points)
    return LearningCurve(tuple(sizes.tolist()), accuracy, *zip(*ends, strict=True))


def doubled(local: Examples, result: Fit) -> dict[str | None, Worth]:
    """Estimate the value of twice as many examples: of all labels (None), and of only the label with most errors."""
    counts, right, names = independent(local), _right(local, result), np.array(local.labels)
    wrong = {label: 1 - float(np.nanmean(right[names == label])) for label in sorted(counts)}
    weakest, mean = max(wrong, key=lambda label: wrong[label]), sum(wrong.values()) / len(wrong)
    measured = ~np.isnan(right)
    ceiling = 1 - wilson(int(right[measured].sum()), int(measured.sum()), SHARED)[0]
    share = wrong[weakest] / len(wrong)
    return {
        None: Worth(counts.total(), SPARED * mean, MOST * ceiling),
        weakest: Worth(counts[weakest], SPARED_ALONE * share, MOST * share),
    }


def independent(part: Examples) -> Counter[str]:
    """Count the examples of each label; those of one session count as one."""
    return Counter(label for label, _ in set(zip(part.labels, part.groups.tolist(), strict=True)))


def _part(local: Examples, counts: Counter[str], share: float, rng: np.random.Generator) -> Examples:
    """A random fraction of every label's groups, at least two."""
    groups, names = local.groups, np.array(local.labels)
    place = rng.permutation(int(groups.max()) + 1)[groups]  # each group's place in a random order
    taught = np.zeros(len(local), bool)
    for label, count in counts.items():
        mine = names == label
        taught |= mine & np.isin(place, np.unique(place[mine])[: max(2, round(share * count))])
    return local.take(np.flatnonzero(taught))


def _right(part: Examples, result: Fit) -> NDArray[np.float64]:
    """(n,) whether each example, left out, is classified correctly: 1 or 0; NaN if not measured."""
    loo = result.loo[: len(part)]
    right = np.array(result.head.labels)[loo.argmax(axis=1)] == np.array(part.labels)
    return np.where(np.isnan(loo).any(axis=1), np.nan, right)
