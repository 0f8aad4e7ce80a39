"""What more examples are worth: the learning curve of the taught ones, and how it goes on. Pure.

Heads are fitted to random parts of every label's examples and asked about the rest; the whole is measured by
leave-one-out. With f the share taught, the share of errors is fitted by an inverse power law with a floor ::

    e(f) = c + a f^(−b)        a ≥ 0, 0.15 ≤ b ≤ 1.2, 0 ≤ c ≤ 0.95 e(1)

and twice as many examples of every label are worth e(1) − e(2) = a (1 − 2^−b). The 95 % interval comes from drawing the
examples anew (bootstrap, within labels), and is widened to cover what was measured when the examples really came
(docs/trust.md). Bursts are taught or asked about whole. Below `NEEDED` examples of a label nothing is said.

Sources: Cortes, Jackel, Solla, Vapnik, Denker, "Learning Curves: Asymptotic Values and Rate of Convergence", NIPS 1993
(the law); Efron & Tibshirani, "An Introduction to the Bootstrap", 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.head.fit import Examples, Fit, fit, groups_of

NEEDED = 8  # independent examples of every label
POINTS = 4  # parts that are taught, before the whole
DRAWS = 100  # of the bootstrap
WIDER = 2.5  # what the bootstrap's interval of a gain must be widened by: measured
SHARED = 1.2  # and of an accuracy: leave-one-out answers share their examples, as in edge/metrics/evaluate.py
_WORK = 1200  # examples in the refits of one part, all draws of it together
_MOST = 4  # draws of one part
_RATES = np.linspace(0.15, 1.2, 12)
_FLOORS = np.linspace(0.0, 0.95, 12)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Worth:
    """What `more` examples would add to a share of right answers, with its 95 % interval."""

    more: int
    gain: float
    interval: tuple[float, float]

    @property
    def sure(self) -> bool:
        """Whether it is surely more than nothing."""
        return self.interval[0] > 0.001


@dataclass(frozen=True)
class Curve:
    """A learning curve of n examples.

    Args:
        shares: (S,) ascending, the last one 1.
        right: (n, S) how often each example was named rightly by heads not taught it, 0–1; NaN where never asked.
        columns: (n,) its label, 0…C−1.
        counts: (C,) independent examples of each label.
        drawn: (DRAWS, S) the shares of errors of the examples drawn anew.
    """

    shares: Floats
    right: Floats
    columns: NDArray[np.int64]
    counts: NDArray[np.int64]
    drawn: Floats

    @property
    def sizes(self) -> Floats:
        """(S,) examples per label on the mean."""
        return np.asarray(self.shares * self.counts.mean())

    @property
    def accuracy(self) -> Floats:
        """(S,) share of right answers."""
        return np.asarray(np.nanmean(self.right, axis=0))

    @property
    def interval(self) -> Floats:
        """(2, S) 95 % interval of `accuracy`."""
        return _widened(self.accuracy, 1 - self.drawn, SHARED)

    def at(self, shares: Floats) -> Floats:
        """The fitted accuracy at shares, those beyond 1 included."""
        a, b, c = _law(self.shares, 1 - self.accuracy[None])[0]
        return np.asarray(1 - c - a * shares**-b)

    def doubled(self) -> Worth:
        """What twice as many examples of every label would be worth."""
        return _worth(self.shares, 1 - self.accuracy, self.drawn, int(self.counts.sum()), 1.0)

    def doubled_label(self, column: int, rng: np.random.Generator) -> Worth:
        """What twice as many of one label would be worth, in right answers to all labels, each counting alike."""
        mine = self.right[self.columns == column]
        errors = 1 - np.nanmean(mine, axis=0)
        return _worth(self.shares, errors, _redrawn([mine], rng), int(self.counts[column]), 1 / len(self.counts))


def learning_curve(
    local: Examples, result: Fit, rng: np.random.Generator, factory: Examples | None = None
) -> Curve | None:
    """Measure how accuracy grew with the local examples; None if there are too few to tell.

    Args:
        local: n examples taught on the device.
        result: the fit to all of them and the factory's.
        rng: draws the parts.
        factory: the bundle's examples, taught every time.
    """
    names = sorted(set(local.labels))
    columns = np.array([names.index(label) for label in local.labels], np.int64)
    groups = groups_of(local.sessions or (None,) * len(local))
    counts = np.array([len(set(groups[columns == c])) for c in range(len(names))], np.int64)
    if len(result.head.labels) < 2 or not len(counts) or counts.min() < NEEDED:
        return None
    shares = np.unique(np.round(np.geomspace(3, counts.min() / 2, POINTS))) / counts.min()
    measured = [_asked(local, factory, columns, groups, counts, share, rng) for share in shares]
    labels = np.array(result.head.labels)
    loo = result.loo[: len(local)]
    whole = np.where(np.isnan(loo).any(axis=1), np.nan, labels[loo.argmax(axis=1)] == np.array(local.labels))
    right = np.column_stack([*measured, whole])
    parts = [right[columns == c] for c in range(len(names))]
    return Curve(np.append(shares, 1.0), right, columns, counts, _redrawn(parts, rng))


def _asked(
    local: Examples,
    factory: Examples | None,
    columns: NDArray[np.int64],
    groups: NDArray[np.int64],
    counts: NDArray[np.int64],
    share: float,
    rng: np.random.Generator,
) -> Floats:
    """(n,) how often heads taught a share of every label's groups name the others rightly."""
    right, asked = np.zeros(len(local)), np.zeros(len(local))
    many = share * len(local) + len(factory or ())
    for _ in range(int(np.clip(_WORK // many, 1, _MOST))):
        place = rng.permutation(int(groups.max()) + 1)[groups]  # each group's place in a random order
        taught = np.zeros(len(local), bool)
        for column, count in enumerate(counts):
            mine = columns == column
            places = np.unique(place[mine])[: max(2, round(share * int(count)))]
            taught |= mine & np.isin(place, places)
        rows, rest = np.flatnonzero(taught), np.flatnonzero(~taught)
        part = Examples(
            local.embeddings[rows],
            tuple(local.labels[row] for row in rows),
            tuple(local.sessions[row] for row in rows) if local.sessions else (),
        )
        head = fit(part, factory).head
        names = np.array(head.labels)[head.scores(local.embeddings[rest]).argmax(axis=1)]
        right[rest] += names == np.array(local.labels)[rest]
        asked[rest] += 1
    return np.where(asked > 0, right / np.maximum(asked, 1), np.nan)


def _redrawn(parts: Sequence[Floats], rng: np.random.Generator) -> Floats:
    """(DRAWS, S) shares of errors when each label's examples are drawn anew."""
    drawn = []
    for _ in range(DRAWS):
        rows = np.concatenate([part[rng.integers(0, len(part), len(part))] for part in parts])
        asked = ~np.isnan(rows)
        drawn.append(1 - np.where(asked, rows, 0.0).sum(axis=0) / np.maximum(asked.sum(axis=0), 1))
    return np.array(drawn)


def _worth(shares: Floats, errors: Floats, drawn: Floats, more: int, scale: float) -> Worth:
    """What doubling is worth by the law fitted to (S,) errors, and to (DRAWS, S) drawn anew."""
    gain = scale * _gain(_law(shares, errors[None]))[0]
    low, high = _widened(np.array([gain]), scale * _gain(_law(shares, drawn))[:, None], WIDER)[:, 0]
    return Worth(more, float(gain), (float(low), float(high)))


def _gain(laws: Floats) -> Floats:
    return np.asarray(laws[:, 0] * (1 - 2 ** -laws[:, 1]))


def _law(shares: Floats, errors: Floats) -> Floats:
    """(M, 3) a, b, c of the law nearest to (M, S) errors; the larger shares count more, as √f."""
    weights = np.sqrt(shares)
    best, laws = np.full(len(errors), np.inf), np.zeros((len(errors), 3))
    for b in _RATES:
        curve = shares**-b
        for floor in _FLOORS:
            c = floor * errors[:, -1:]
            a = np.maximum((weights * curve * (errors - c)).sum(axis=1) / (weights * curve**2).sum(), 0.0)
            cost = (weights * (errors - c - a[:, None] * curve) ** 2).sum(axis=1)
            nearer = cost < best
            best[nearer] = cost[nearer]
            laws[nearer] = np.column_stack([a, np.full(len(a), b), c[:, 0]])[nearer]
    return laws


def _widened(middle: Floats, drawn: Floats, factor: float) -> Floats:
    """(2, S) 95 % interval about (S,) values from (DRAWS, S) drawn ones."""
    ends = np.percentile(drawn, [2.5, 97.5], axis=0)
    wide = middle + factor * (ends - middle)
    return np.stack([np.minimum(wide[0], middle), np.maximum(wide[1], middle)])
