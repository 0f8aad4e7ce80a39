"""Find examples that need a look: probably mislabelled ones, near-duplicates, contradictions. Pure.

**Mislabelled.** Every example is classified by a head that was trained without it; the less probability its own label
gets, the more suspicious it is. Wrong labels also affect the head that judges them, so it is fitted twice, the second
time without the most suspicious tenth. Probability of the own label, its margin, both calibrated per label, and one to
four rounds were compared: docs/trust.md. With over a thousand examples, one fit does as well.

**Near-duplicates.** Embeddings of length one, at a distance 1 − cosine that is small *for these pictures*: at most a
twentieth of the median distance between any two of them, and never more than 0.05. A picture saved again as JPEG or
moved by 2 % is within this distance, two photos of the same kind of thing are not, for flowers as for hands.

Source: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021
(out-of-sample probabilities of the own label, pruning before the refit).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.head.fit import Examples, Fit, fit
from edge.head.linear import unit

DOUBTED = 0.1  # the share left out of the second fit
LEAST = 3  # examples of a label that stay in it
REFITTED = 1000  # examples up to which it is fitted twice
ALIKE = 0.05  # of the median distance
CLOSE = 0.05  # 1 − cosine beyond which nothing is a near-duplicate
_SAMPLE = 512  # examples that the median is taken on

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Suspicions:
    """How suspicious n local examples are, by held-out probabilities."""

    result: Fit  # the fit to all of them
    probabilities: Floats  # (n, C) held-out, by the head fitted without the most suspicious; NaN if not measured
    own: Floats  # (n,) the probability of each example's own label
    order: tuple[int, ...]  # the rows of the measured examples, the most suspicious first


@dataclass(frozen=True)
class Duplicates:
    """Rows of near-duplicates, the first one leading, and the least cosine between it and another."""

    rows: tuple[int, ...]
    similarity: float


def suspicions(local: Examples, factory: Examples | None = None) -> Suspicions:
    """Rank local examples by how likely their labels are wrong.

    Args:
        local: n examples taught on the device.
        factory: the bundle's examples, whose labels are trusted.

    Raises:
        NotEnough: there are fewer than two labels.

    >>> x = np.array([[9, 1], [8, 1], [9, 2], [1, 9], [1, 8], [9, 1.5]], np.float32)
    >>> suspicions(Examples(x, ("a", "a", "a", "b", "b", "b"))).order[0]
    5
    """
    first = fit(local, factory)
    column = {label: place for place, label in enumerate(first.head.labels)}
    columns = np.array([column[label] for label in local.labels], np.int64)
    rows = np.arange(len(local))
    probabilities = first.loo[: len(local)].astype(np.float64)
    order = _ascending(probabilities[rows, columns])

    left = Counter(local.labels)
    kept = np.ones(len(local), bool)
    doubted = int(np.ceil(DOUBTED * len(local))) if len(local) <= REFITTED else 0
    for row in order[:doubted]:
        if left[local.labels[row]] > LEAST:
            left[local.labels[row]] -= 1
            kept[row] = False
    if not kept.all():
        names = tuple(label for label, keep in zip(local.labels, kept, strict=True) if keep)
        sessions = tuple(s for s, keep in zip(local.sessions, kept, strict=True) if keep)
        second = fit(Examples(local.embeddings[kept], names, sessions), factory)
        probabilities[kept] = second.loo[: len(names)]
        taught = {session for session in sessions if session is not None}
        unseen = ~kept & np.array([s not in taught for s in local.sessions], bool)
        if unseen.any():  # the rest of its session was taught: what was said with all of it left out stands
            probabilities[unseen] = second.head.probabilities(local.embeddings[unseen])
    own = probabilities[rows, columns]
    return Suspicions(first, probabilities, own, tuple(_ascending(own)))


def near_duplicates(embeddings: NDArray[np.float32], labels: Sequence[str]) -> list[Duplicates]:
    """Group nearly identical examples of one label, given raw embeddings (n, D); an example is in one group at most.

    >>> near_duplicates(np.array([[1, 0], [0, 1], [1, 0.01], [0.7, 0.7]], np.float32), ["a", "b", "a", "b"])[0].rows
    (0, 2)
    """
    x, names = unit(embeddings), np.array(labels)
    nearest = 1 - nearness(x)
    free = np.ones(len(x), bool)
    found = []
    for start in range(0, len(x), _SAMPLE):
        cosines = x[start : start + _SAMPLE] @ x.T
        near = (cosines >= nearest) & (names[start : start + _SAMPLE, None] == names[None, :])
        for place in np.flatnonzero(near.sum(axis=1) > 1):  # one is the row itself
            row = start + int(place)
            others = row + 1 + np.flatnonzero(near[place, row + 1 :] & free[row + 1 :])
            if free[row] and len(others):
                free[others] = False
                found.append(Duplicates((row, *others.tolist()), float(cosines[place, others].min())))
    return found


def contradictions(embeddings: NDArray[np.float32], labels: Sequence[str]) -> list[Duplicates]:
    """Pairs that are nearly the same picture, each the other's nearest, under two labels; the nearest pairs first."""
    if len(labels) < 2:
        return []
    x, names = unit(embeddings), np.array(labels)
    nearest = 1 - nearness(x)
    best, cosine = np.empty(len(x), np.int64), np.empty(len(x), np.float32)
    for start in range(0, len(x), _SAMPLE):
        part = slice(start, min(start + _SAMPLE, len(x)))
        cosines = x[part] @ x.T
        cosines[np.arange(len(cosines)), np.arange(part.start, part.stop)] = -np.inf
        best[part] = cosines.argmax(axis=1)
        cosine[part] = cosines.max(axis=1)
    rows = np.flatnonzero(
        (best[best] == np.arange(len(x))) & (best > np.arange(len(x))) & (cosine >= nearest) & (names != names[best])
    )
    pairs = [Duplicates((int(row), int(best[row])), float(cosine[row])) for row in rows]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.rows))


def nearness(unit_rows: NDArray[np.float32]) -> float:
    """The largest distance, as 1 − cosine, of near-duplicates among these pictures (n, D)."""
    x = unit_rows[:: -(-len(unit_rows) // _SAMPLE) or 1]
    pairs = (x @ x.T)[np.triu_indices(len(x), 1)]
    return min(CLOSE, ALIKE * float(np.median(1 - pairs))) if len(pairs) else CLOSE


def _ascending(values: Floats) -> list[int]:
    """Row numbers by ascending value, without those that are not measured."""
    return [int(row) for row in np.argsort(values, kind="stable") if not np.isnan(values[row])]
