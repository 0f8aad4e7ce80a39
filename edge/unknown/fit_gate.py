"""Fit the gate: prototypes of the examples, and the threshold that accepts the wanted fraction of known pictures.

The threshold is set so that the fraction `coverage` of the examples would be accepted, each compared with prototypes
computed without it and the rest of its session.

**Few examples.** A mean of n − 1 examples is noisier than one of n, and a cosine with it lower: with ρ the mean cosine
of two examples of a label, cos(x, mean of n) is proportional to √(n / (1 + (n − 1) ρ)), so that left-out cosines are
multiplied by the ratio of the two. The threshold is Harrell and Davis's estimate of the α-quantile, the mean of all
order statistics weighted as the quantile's place is likely, which strays less than any one of them: measured, at the
same share kept it lets in fewer unknown ones. Where not even two examples lie below it, it is the one-sided prediction
bound of a normal variable, mean − t σ √(1 + 1/n), with the n that they are worth.

**Bursts.** If frames of one scene were taught without a session, leaving one out has no effect: their similarities are
near 1, and their quantile is a threshold that no picture of another day reaches. If their median is above `BURST`, the
threshold is therefore at most `ALIKE`.

Sources: Harrell & Davis, "A new distribution-free quantile estimator", Biometrika 1982; Abramowitz & Stegun 26.7.5
(Student's t from the normal quantile).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.head.fit import Examples
from edge.head.matrix import KEPT, chunks
from edge.head.stream import whole_sessions
from edge.metrics.unmeasured import ENOUGH
from edge.unknown.gate import COVERAGE, KNOTS, Background, Gate

FEWEST = 4  # left-out examples: two labels of two
BURST = 0.9  # median similarity above which the pictures are frames of one scene; those of a sign language reach 0.85
_FINE = 16  # points of the density for each order statistic
ALIKE = 0.6  # a similarity that is then never called unknown; random pictures reach 0.3

Floats = NDArray[np.float64]
Knots = NDArray[np.float32]
Read = Callable[[], Iterable[Examples]]


class Chunk(NamedTuple):
    """Some examples, whether they are local (0) or the bundle's (1), and their places among all."""

    examples: Examples
    origin: int
    places: NDArray[np.int64]


def fit_gate(
    read: Read,
    factory: Examples | None,
    labels: Sequence[str],
    background: Background,
    counted: NDArray[np.bool_],
    coverage: float = COVERAGE,
) -> Gate | None:
    """Fit a gate to the examples of a head.

    Args:
        read: returns the local examples in chunks, the same ones each time it is called.
        labels: the head's labels, in its order.
        counted: (n,) which of all examples, local, then factory, determine the threshold.
        coverage: the fraction of known pictures to accept, in (0, 1).

    Returns:
        The gate, or None if fewer than `FEWEST` examples could be left out.
    """
    white, column = background.white(), {label: i for i, label in enumerate(labels)}
    sums, counts = np.zeros((2 * len(labels), len(background.mean))), np.zeros(2 * len(labels))
    owner = np.empty(len(counted), np.int64)  # of every example, its prototype
    for chunk, origin, places in _both(read, factory):
        own = np.array([column[label] + origin * len(labels) for label in chunk.labels], np.int64)
        member = np.zeros((len(counts), len(chunk)), np.float32)
        member[own, np.arange(len(chunk))] = 1
        sums += member @ white(chunk.embeddings)
        counts += member.sum(axis=1)
        owner[places] = own
    likeness, used = _likeness(sums, counts), np.flatnonzero(counts)
    every = np.empty(len(counted))
    for chunk, _, places in _both(read, factory):
        every[places] = _leave_out(white(chunk.embeddings), owner[places], chunk.groups, sums, counts, used, likeness)
    able = np.isfinite(every)
    measured = np.zeros(len(labels), np.bool_)
    measured[owner[able] % len(labels)] = True
    scores = every[able & counted]
    if len(scores) < FEWEST:
        return None
    bound = lower_bound(scores, coverage, len(np.unique(owner[able & counted])))
    bursts = len(background.basis) > 0 and float(np.median(scores)) > BURST
    unit_means = sums[used] / np.maximum(np.linalg.norm(sums[used], axis=1, keepdims=True), 1e-12)
    return Gate(
        unit_means.astype(np.float16),
        measured,
        _quantiles(every, owner % len(labels), able, counted, len(labels)),
        min(bound, ALIKE) if bursts else bound,
        coverage,
        background.digest(),
    )


def lower_bound(scores: Floats, coverage: float, means: int = 1) -> float:
    """Return the value that the next score, similar to these, exceeds with probability `coverage`.

    Args:
        scores: (n,) scores of examples, each left out.
        coverage: a probability in (0, 1).
        means: the number of means from which the examples were left out. Leaving one out moves the mean the other way,
            so n scores are worth n − means: two examples of a label have the same score.

    >>> round(lower_bound(np.arange(100.0), 0.95), 2)
    4.5
    >>> round(lower_bound(np.array([1.0, 2.0, 3.0, 4.0]), 0.95), 2)
    -0.84
    """
    rank = int((1 - coverage) * (len(scores) + 1) + 1e-9)
    if rank >= 2:
        return _quantile(scores, 1 - coverage)
    from statistics import NormalDist  # 5 ms that only retraining needs

    n = max(len(scores) - means, 1) + 1
    z, dof = NormalDist().inv_cdf(coverage), n - 1
    t = z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    return float(scores.mean() - t * scores.std() * np.sqrt(n / dof * (1 + 1 / n)))


def why_not(gate: Gate | None, labels: tuple[str, ...], coverage: float) -> str:
    """Say why pictures are not, or not reliably, reported as unknown; "" if they are."""
    if coverage >= 1:
        return "turned off; to turn it on, run: edge retrain --known-coverage 0.95"
    if gate is None:
        return "not possible yet; teach at least two labels with two examples each"
    thin = [label for label, able in zip(labels, gate.measured.tolist(), strict=True) if not able]
    return f"not possible yet for {', '.join(thin)}; a label needs two examples (or sessions)" if thin else ""


def _quantile(scores: Floats, share: float) -> float:
    """The mean of the order statistics weighted by Beta((n + 1) share, (n + 1) (1 − share)) over ((i − 1)/n, i/n)."""
    n = len(scores)
    reach = share + 8 * np.sqrt(share * (1 - share) / n)  # beyond, the weights are nothing
    most = min(n, int(np.ceil(n * reach)))
    place = (np.arange(most * _FINE) + 0.5) / (n * _FINE)
    log_density = ((n + 1) * share - 1) * np.log(place) + ((n + 1) * (1 - share) - 1) * np.log1p(-place)
    weights = np.exp(log_density - log_density.max()).reshape(most, _FINE).sum(axis=1)
    return float(np.sort(scores)[:most] @ weights / weights.sum())


def _both(read: Read, factory: Examples | None) -> Iterator[Chunk]:
    """Yield the local examples in chunks, then the bundle's, without dividing a burst."""
    first = 0
    for part in read():
        yield Chunk(part, 0, np.arange(first, first + len(part)))
        first += len(part)
    if factory and len(factory):
        most = KEPT // factory.embeddings.shape[1]
        if len(factory) <= most:
            yield Chunk(factory, 1, first + np.arange(len(factory)))
            return
        order = sorted(range(len(factory)), key=lambda row: factory.sessions[row] or "")
        for some in whole_sessions([factory.sessions[row] for row in order], most):
            rows = np.array(order[some], np.int64)
            yield Chunk(factory.take(rows), 1, first + rows)


def _likeness(sums: Floats, counts: Floats) -> float:
    """ρ: the mean cosine of two examples of one prototype, over all prototypes of two and more."""
    several = counts > 1
    pairs = (counts * (counts - 1))[several].sum()
    inside = ((sums**2).sum(axis=1) - counts)[several].sum()
    return float(np.clip(inside / pairs, 0.01, 1)) if pairs else 1.0


def _quantiles(
    similarities: Floats, columns: NDArray[np.int64], able: NDArray[np.bool_], counted: NDArray[np.bool_], labels: int
) -> Knots:
    """(labels, KNOTS) of each label's own similarities, those that count or else all; of all labels' where too few."""
    steps = np.linspace(0, 1, KNOTS)
    table = np.tile(np.quantile(similarities[able & counted], steps), (labels, 1))
    for column in range(labels):
        mine = able & (columns == column)
        own = next((s for s in (similarities[mine & counted], similarities[mine]) if len(s) >= ENOUGH), None)
        if own is not None:
            table[column] = np.quantile(own, steps)
    return table.astype(np.float32)


def _leave_out(
    z: NDArray[np.float32],
    own: NDArray[np.int64],
    groups: NDArray[np.int64],
    sums: Floats,
    counts: Floats,
    used: NDArray[np.int64],
    likeness: float,
) -> Floats:
    """(n,) similarities of examples z (n, D), their groups left out; NaN where nothing of their own is left."""
    strength = np.sqrt(counts / (1 + np.maximum(counts - 1, 0) * likeness))  # of a mean of so many
    lengths = np.maximum(np.linalg.norm(sums, axis=1), 1e-12)
    cosines = np.full((len(z), len(sums)), -np.inf)
    means = (sums[used] / lengths[used][:, None]).T
    for part in chunks(len(z)):
        cosines[part, used] = z[part] @ means  # in float64, which all of them at once have no room for
    result = np.empty(len(z))
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        for place in np.unique(own[rows]):
            gone = rows[own[rows] == place]
            left = counts[place] - len(gone)
            if left:
                rest = sums[place] - z[gone].sum(axis=0, dtype=np.float64)
                ratio = strength[place] / np.sqrt(left / (1 + (left - 1) * likeness))
                cosines[rows, place] = ratio * (z[rows] @ rest) / max(float(np.linalg.norm(rest)), 1e-12)
            else:
                cosines[rows, place] = -np.inf
                result[gone] = np.nan
        kept = rows[np.isfinite(cosines[rows, own[rows]])]
        result[kept] = cosines[kept].max(axis=1)
    return result
