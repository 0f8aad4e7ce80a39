"""Choosing by leave-one-out: shrinkage τ, trust ν and temperature from held-out scores alone.

The cost of a choice is the log-loss of the held-out scores, every label counting alike whatever its number of examples,
times the number of examples, plus a weak normal prior on ln τ and ln ν: where the examples are too few to tell, the
prior tells. Both are searched on a short grid, walking from the prior's centre for as long as it pays.

The temperature is that of Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, found on
held-out scores instead of a validation set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.head import Head
from edge.lda import HeldOut, Spectrum

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GONE = -1e4  # a gap so wide that its label has probability 0 at any temperature that is tried
_UNMEASURED = 0.25  # temperature where nothing can be left out, in units of the scores' own spread


@dataclass(frozen=True)
class Grid:
    """Values to choose from, ascending, and the one that the prior prefers."""

    values: tuple[float, ...]
    centre: float


@dataclass(frozen=True)
class Method:
    """What a fitter may choose from.

    Args:
        shrinkages: τ in units of the spread.
        trusts: ν in examples.
    """

    shrinkages: Grid
    trusts: Grid


METHODS = {
    "lda": Method(Grid((0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0), 0.3), Grid((1.0, 2.0, 4.0, 8.0, 16.0), 4.0)),
    "nearest-mean": Method(Grid((1e6,), 1e6), Grid((0.0,), 0.0)),  # τ so large that A is the identity
}


@dataclass(frozen=True)
class Choice:
    """One choice of τ and ν: what was held out under it, the temperature, and the cost in nats."""

    spectrum: Spectrum
    held_out: HeldOut
    shrinkage: float
    nu: float
    temperature: float
    cost: float
    factory_weight: float = 1.0

    def head(self, labels: tuple[str, ...]) -> Head:
        """Give the head that was chosen."""
        tau = self.shrinkage * self.spectrum.unit
        weights, bias = self.spectrum.weights(tau, self.nu), self.spectrum.bias(tau, self.nu)
        return Head(labels, weights.astype(np.float32), bias.astype(np.float32), self.temperature)


def choose(
    spectrum: Spectrum, measure: Callable[[float], HeldOut], counted: NDArray[np.bool_], method: Method
) -> Choice:
    """Choose τ, then ν.

    Args:
        spectrum: of all examples.
        measure: gives the held-out measurements of n examples under a τ.
        counted: (n,) which of the n examples the cost is over.
        method: what to choose from.
    """

    def choice(held_out: HeldOut, shrinkage: float, nu: float) -> Choice:
        loss, temperature = calibrate(held_out.scores(nu)[counted], held_out.columns[counted])
        prior = far(shrinkage, method.shrinkages) + far(nu, method.trusts)
        return Choice(spectrum, held_out, shrinkage, nu, temperature, loss * int(counted.sum()) + prior)

    best = walk(method.shrinkages, lambda s: choice(measure(s * spectrum.unit), s, method.trusts.centre))
    return walk(method.trusts, lambda nu: choice(best.held_out, best.shrinkage, nu))


def calibrate(scores: Floats, columns: Ints) -> tuple[float, float]:
    """Find the temperature of the smallest label-balanced log-loss.

    One imagined example is added, as far wrong as the others are clear on average: with n examples all right, nobody
    may be surer than about n / (n + 1). The loss is convex in β = 1 / temperature; Newton steps inside a bracket that
    only ever shrinks cannot fail.

    Args:
        scores: (n, C) held-out scores; rows of NaN count as answered by chance.
        columns: (n,) the true label's column.

    Returns:
        The loss in nats per example, and the temperature.

    >>> loss, temperature = calibrate(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 1, 1]))
    >>> round(loss, 2), round(temperature, 2)
    (0.64, 3.98)
    """
    chance = float(np.log(scores.shape[1]))
    measured = ~np.isnan(scores).any(axis=1)
    if not measured.any():
        finite = scores[np.isfinite(scores)]
        return chance, _UNMEASURED * (float(finite.std()) if finite.size else 1.0) or 1.0
    weights = 1 / np.bincount(columns, minlength=scores.shape[1])[columns]
    weights = weights / weights.sum()
    lost = float(weights[~measured].sum())
    scores, columns, weights = scores[measured], columns[measured], weights[measured]
    gaps = scores - scores[np.arange(len(scores)), columns][:, None]
    others = gaps.copy()
    others[np.arange(len(scores)), columns] = -np.inf
    nearest = np.abs(others.max(axis=1))
    scale = float(weights @ np.where(np.isfinite(nearest), nearest, 0.0)) / (1 - lost) or 1.0
    imagined = np.array([1.0, 0.0] + [_GONE] * (gaps.shape[1] - 2))
    gaps = np.vstack([np.maximum(gaps / scale, _GONE), imagined]).T.copy()  # (C, n + 1): sums over labels run fast
    weights = np.append(weights, (1 - lost) / len(scores))
    gaps -= (tops := gaps.max(axis=0))

    low, high, beta = 0.01, 100.0, 2.0
    for _ in range(12):
        shares = np.exp(beta * gaps)
        shares /= shares.sum(axis=0)
        mean = (shares * gaps).sum(axis=0)
        slope = float(weights @ (mean + tops))
        curve = float(weights @ ((shares * gaps * gaps).sum(axis=0) - mean**2))
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curve if curve > 0 else 0.0
        beta, last = (step if low < step < high else float(np.sqrt(low * high))), beta
        if abs(beta - last) < 1e-4 * beta:
            break
    losses = beta * tops + np.log(np.exp(beta * gaps).sum(axis=0))
    return float(weights[:-1] @ losses[:-1]) + lost * chance, scale / beta


def walk(grid: Grid, choice: Callable[[float], Choice]) -> Choice:
    """Walk up the grid from its centre while the cost falls; if it did not fall at once, down."""
    start = grid.values.index(grid.centre)
    first = best = choice(grid.centre)
    for values in (grid.values[start + 1 :], grid.values[:start][::-1]):
        for value in values if best is first else ():
            found = choice(value)
            if found.cost >= best.cost:
                break
            best = found
    return best


def far(value: float, grid: Grid) -> float:
    """Minus the log of a normal prior on the logarithm, of standard deviation one; nothing counts as a hundredth."""
    return 0.5 * float(np.log(max(value, 0.01) / grid.centre)) ** 2 if grid.centre else 0.0
