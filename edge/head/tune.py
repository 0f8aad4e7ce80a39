"""Choose shrinkage τ, trust ν and temperature by leave-one-out, from held-out scores alone.

The cost of a choice is the log-loss of the held-out scores, with the same weight for every label, times the number of
examples, plus a weak normal prior on ln τ and ln ν, which decides if there are too few examples. Both are searched on a
short grid, from the prior's centre on for as long as the cost falls.

Because A is a sum over N examples, the scores shrink like 1 / N and so does the temperature. It has a prior about this
natural value, because otherwise five correct examples would demand certainty. It is the temperature of Guo, Pleiss,
Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, on held-out scores instead of a validation set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge.head.lda import BETA, Spectrum
from edge.head.leave_out import HeldOut
from edge.head.linear import Head, softmax
from edge.head.matrix import chunks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GONE = -1e4  # a gap so wide that its label has probability 0 at any temperature that is tried
_NATURAL = 1.8  # the temperature times N, whatever N: measured on ten sets, k = 1 to 300, within a factor of two
_KEPT = 1 << 17  # held-out answers up to which they are kept for every τ; of more, those chosen are worked out anew
_WIDTH = 0.5  # standard deviation of its logarithm


@dataclass(frozen=True)
class Grid:
    """Values to choose from, in ascending order, and the one that the prior prefers."""

    values: tuple[float, ...]
    centre: float


@dataclass(frozen=True)
class Method:
    """The values that a fitter may choose from."""

    shrinkages: Grid  # τ in units of the spread
    trusts: Grid  # ν in examples
    beta: float  # β, how far the diagonal to shrink towards differs from the identity


METHODS = {
    "lda": Method(Grid((0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0), 0.3), Grid((1.0, 2.0, 4.0, 8.0, 16.0), 4.0), BETA),
    "nearest-mean": Method(Grid((1e6,), 1e6), Grid((0.0,), 0.0), 0.0),  # τ so large that A is the identity
}


@dataclass(frozen=True)
class Choice:
    """One choice of τ and ν: the temperature, the cost in nats, and, once all is chosen, the held-out probabilities."""

    spectrum: Spectrum
    shrinkage: float
    nu: float
    temperature: float
    cost: float
    factory_weight: float = 1.0
    loo: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # (n, C)

    def head(self, labels: tuple[str, ...]) -> Head:
        """Return the head of this choice."""
        weights, bias = self.spectrum.layer(self.shrinkage * self.spectrum.unit, self.nu)
        return Head(labels, weights.astype(np.float32), bias.astype(np.float32), self.temperature)


def choose(
    spectrum: Spectrum, measure: Callable[[float], HeldOut], weights: Floats, local: Floats, method: Method
) -> Choice:
    """Choose τ, then ν, on all examples by their weights; then the temperature, on the local ones alone.

    Args:
        measure: returns the held-out measurements of n examples for a τ.
        weights: (n,) the weight of each in the choice of τ and ν.
        local: (n,) its weight in the choice of the temperature, and in the cost by which factory weights are compared.
    """

    def choice(held_out: HeldOut, shrinkage: float, nu: float, counts: Floats) -> Choice:
        natural = 1 / (spectrum.counts.sum() / _NATURAL + shrinkage)  # A grows like N + τ, and scores shrink like 1 / A
        cost, temperature = calibrate(held_out.scores(nu), held_out.columns, counts, natural)
        prior = far(shrinkage, method.shrinkages) + far(nu, method.trusts)
        return Choice(spectrum, shrinkage, nu, temperature, cost + prior)

    kept: dict[float, HeldOut] = {}

    def tried(shrinkage: float) -> Choice:
        held_out = measure(shrinkage * spectrum.unit)
        if held_out.cross.size <= _KEPT:
            kept[shrinkage] = held_out
        return choice(held_out, shrinkage, method.trusts.centre, weights)

    first = walk(method.shrinkages, tried)
    held_out = kept.get(first.shrinkage) or measure(first.shrinkage * spectrum.unit)
    best = walk(method.trusts, lambda nu: choice(held_out, first.shrinkage, nu, weights))
    last = choice(held_out, first.shrinkage, best.nu, local)
    loo = np.empty(held_out.cross.shape, np.float32)
    for rows in chunks(len(loo)):
        loo[rows] = softmax(held_out.take(rows).scores(last.nu) / last.temperature)
    return replace(last, loo=loo)


def calibrate(scores: Floats, columns: Ints, counts: Floats, natural: float) -> tuple[float, float]:
    """Find the temperature with the smallest label-balanced log-loss plus prior.

    The prior is normal on ln(temperature) about the natural one, with standard deviation one half. Newton steps stay
    inside a bracket that only shrinks, so they cannot fail.

    Args:
        scores: (n, C) held-out scores; rows of NaN count as answered by chance.
        columns: (n,) the true label's column.
        counts: (n,) the weight of each example within its label; labels have equal weights.
        natural: the expected temperature.

    Returns:
        The cost in nats (loss plus prior), and the temperature.

    >>> scores = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> cost, temperature = calibrate(scores, np.array([0, 1, 1]), np.ones(3), 1.0)
    >>> round(cost, 2), round(temperature, 2)
    (1.69, 0.99)
    """
    chance, total = float(np.log(scores.shape[1])), float(counts.sum())
    weights = counts / np.maximum(np.bincount(columns, counts, scores.shape[1]), 1e-300)[columns]
    weights = weights * total / weights.sum()
    measured = ~np.isnan(scores).any(axis=1)
    lost = float(weights[~measured].sum())
    counted = measured & (weights > 0)
    if not counted.any():
        return lost * chance, natural
    scores, columns, weights = scores[counted], columns[counted], weights[counted]
    gaps = np.maximum((scores - scores[np.arange(len(scores)), columns][:, None]) / natural, _GONE)
    del scores
    gaps = gaps.T.copy()  # (C, n): sums over labels run fast
    gaps -= (tops := gaps.max(axis=0))
    terms = np.empty(gaps.shape)

    def losses(beta: float) -> tuple[Floats, Floats]:
        np.exp(np.multiply(beta, gaps, out=terms), out=terms)
        return terms, terms.sum(axis=0)

    low, high, log_beta = -5.0, 5.0, 0.0
    for _ in range(30):
        beta = float(np.exp(log_beta))
        terms, sums = losses(beta)
        terms *= gaps
        mean = terms.sum(axis=0) / sums
        first = float(weights @ (mean + tops))
        terms *= gaps
        second = float(weights @ (terms.sum(axis=0) / sums - mean**2))
        slope = beta * first + log_beta / _WIDTH**2
        curve = beta * first + beta**2 * second + 1 / _WIDTH**2
        low, high = (low, log_beta) if slope > 0 else (log_beta, high)
        step = log_beta - slope / curve if curve > 0 else low
        log_beta, last = (step if low < step < high else (low + high) / 2), log_beta
        if abs(log_beta - last) < 1e-4:
            break
    beta = float(np.exp(log_beta))
    loss = float(weights @ (beta * tops + np.log(losses(beta)[1])))
    return loss + lost * chance + 0.5 * (log_beta / _WIDTH) ** 2, natural / beta


def walk(grid: Grid, choice: Callable[[float], Choice]) -> Choice:
    """Go up the grid from its centre while the cost falls; if it does not fall at once, go down."""
    start = grid.values.index(grid.centre)
    best, moved = choice(grid.centre), False
    for values in (grid.values[start + 1 :], grid.values[:start][::-1]):
        for value in () if moved else values:
            found = choice(value)
            worse = found.cost >= best.cost
            if not worse:
                best, moved = found, True
            del found  # a spectrum is large, and the next one needs its room
            if worse:
                break
    return best


def far(value: float, grid: Grid) -> float:
    """Minus the log of a normal prior on the logarithm, of standard deviation one; nothing counts as a hundredth."""
    return 0.5 * float(np.log(max(value, 0.01) / grid.centre)) ** 2 if grid.centre else 0.0
