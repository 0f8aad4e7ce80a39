"""Fit a head to examples, with every choice made by leave-one-out: no learning rate, no epochs, no luck.

`fit` sorts the examples (label, then bytes of the embedding, then session) before any sum, so the head depends on
what was taught and not on the order: forgetting an example gives byte for byte the head that never saw it. τ and ν
minimise the label-balanced log-loss of the held-out scores, plus a weak prior that decides where there are too few to
tell; the same scores give the temperature, and the probabilities in `Fit.loo`.

Each factory example (of the bundle) counts `factory_weight`, in the sums and in the choice of τ and ν. That number in
[0, 1] and the temperature are chosen on the local examples alone. Factory examples of labels without a local example
count fully, because nothing else represents these labels.

Examples that the backbone itself was trained on are in the sums, but have no part in any choice as long as there are
others: training has moved them together by label, so their held-out scores are better than those of new pictures.

The mathematics and its sources are in edge/head/lda.py, edge/head/leave_out.py and edge/head/tune.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, LabelError, NotEnough
from edge.head.lda import Points, Spectrum, spectrum_of_examples, spectrum_of_moments
from edge.head.leave_out import leave_out
from edge.head.linear import Head
from edge.head.matrix import DesignMatrix, Matrix, chunks
from edge.head.moments import Moments, indices
from edge.head.tune import METHODS, Choice, Grid, choose, far, walk

FACTORY_WEIGHTS = Grid((0.0, 0.03, 0.1, 0.3, 1.0), 0.3)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Examples:
    """Labelled embeddings.

    Raises:
        LabelError: the numbers of labels, sessions or marks and embeddings differ.
        BundleError: the embeddings are not a matrix of finite numbers.
    """

    # (N, D) real numbers, raw from the backbone; an array, or a matrix that is read a few rows at a time
    embeddings: NDArray[np.float32] | Matrix
    labels: tuple[str, ...]  # N names
    # N times a name or None; examples of one session (frames of one burst) are left out together; () for N times None
    sessions: tuple[str | None, ...] = ()
    # () or N bools: whether the backbone was trained on the example. If so, it has no part in choices.
    trained_on: NDArray[np.bool_] | tuple[()] = ()

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise BundleError(
                "embeddings-mismatch",
                f"embeddings have shape {self.embeddings.shape}, expected (examples, features)",
            )
        for kind, values in (("labels", self.labels), ("sessions", self.sessions), ("marks", self.trained_on)):
            if len(values) != len(self.embeddings) and (values or kind == "labels"):
                raise LabelError(
                    "labels-mismatch",
                    f"there are {len(self.embeddings)} embeddings but {len(values)} {kind}; give one for each",
                )
        object.__setattr__(self, "sessions", self.sessions or (None,) * len(self))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Ints) -> Examples:
        """Read some of the examples into memory."""
        return Examples(
            self.embeddings[rows],
            tuple(self.labels[row] for row in rows),
            tuple(self.sessions[row] for row in rows),
            self.trained_on[rows] if isinstance(self.trained_on, np.ndarray) else (),
        )

    @property
    def groups(self) -> Ints:
        """(N,) the number of each example's group; a group is left out together."""
        return groups_of(self.sessions)

    @property
    def counts(self) -> Floats:
        """(N,) 1.0 for each example that takes part in choices, else 0.0."""
        return 1.0 - np.asarray(self.trained_on, np.float64) if len(self.trained_on) else np.ones(len(self))


@dataclass(frozen=True)
class Fit:
    """A head and what is known about it."""

    head: Head
    method: str  # "lda" or "nearest-mean"
    # (N, C) float32 held-out probabilities of the local examples, then of the factory's, in the order given; NaN if an
    # example is the only one of its label
    loo: NDArray[np.float32]
    shrinkage: float  # τ in units of the spread
    trust: float  # ν, how many examples a label needs until half of its mean is believed
    factory_weight: float  # the weight of one of the bundle's examples compared with a local one; 1.0 if there are none


def fit(local: Examples, factory: Examples | None = None, *, method: str = "auto") -> Fit:
    """Fit the best head, and compute how each example would be classified if it had not been taught.

    Args:
        local: examples collected on this device; may be empty if there are factory examples.
        method: "auto" (the best known: LDA), "lda", or "nearest-mean" (the baseline).

    Raises:
        NotEnough: there are fewer than two labels.
        BundleError: the embeddings differ in length.

    >>> examples = Examples(np.array([[1, 0], [3, 1], [0, 2], [1, 3]], np.float32), ("a", "a", "b", "b"))
    >>> result = fit(examples)
    >>> result.head.labels, result.loo.argmax(axis=1).tolist()
    (('a', 'b'), [0, 0, 1, 1])
    """
    name = "lda" if method == "auto" else method
    if name not in METHODS:
        raise NotEnough("option-invalid", f"there is no method {method!r}; choose auto, {', '.join(METHODS)}")
    parts = [part for part in (local, factory) if part is not None and len(part)]
    if len({part.embeddings.shape[1] for part in parts}) > 1:
        one, other = (part.embeddings.shape[1] for part in parts)
        raise BundleError(
            "embeddings-mismatch",
            f"local examples have {one} features, but the bundle's have {other}; use one backbone for both",
        )
    labels, columns = indices([label for part in parts for label in part.labels], sum(map(len, parts)))
    if len(labels) < 2:
        raise NotEnough(
            "too-few-labels", f"only label {labels[0]!r} has examples, but two labels are needed; teach another one"
        )
    x = DesignMatrix([part.embeddings for part in parts])
    sessions = [session for part in parts for session in part.sessions]
    is_local = np.arange(len(x)) < (len(local) or len(x))
    counts = np.concatenate([part.counts for part in parts])
    counts = counts if counts.any() else np.ones(len(x))
    order = _canonical(x, columns, sessions, is_local, counts)
    x, columns, is_local, counts = x.ordered(order), columns[order], is_local[order], counts[order]
    groups = groups_of([sessions[row] for row in order], is_local.tolist())

    at_home = np.isin(columns, columns[is_local])

    def choice(weight: float) -> Choice:
        weights = np.where(is_local | ~at_home, 1.0, weight)
        spectrum, points = _spectrum(x, columns, weights, METHODS[name].beta)
        every, ours = counts * weights, counts * is_local
        found = choose(spectrum, lambda t: leave_out(spectrum, points, groups, t), every, ours, METHODS[name])
        return replace(found, factory_weight=weight, cost=found.cost + far(weight, FACTORY_WEIGHTS))

    best = choice(1.0) if is_local.all() else walk(FACTORY_WEIGHTS, choice)
    loo = np.empty((len(x), len(labels)), np.float32)
    loo[order] = best.loo
    return Fit(best.head(labels), name, loo, best.shrinkage, best.nu, best.factory_weight)


def _spectrum(x: DesignMatrix, columns: Ints, weights: Floats, beta: float) -> tuple[Spectrum, Points]:
    """Decompose the smaller of the two matrices; examples of weight 0 are only measured."""
    kept = weights > 0
    if kept.sum() < x.shape[1]:
        rows = x[np.flatnonzero(kept)].astype(np.float64)
        spectrum, points = spectrum_of_examples(rows, columns[kept], weights[kept], beta)
        return spectrum, points if kept.all() else spectrum.points(x, columns, weights)
    spectrum = spectrum_of_moments(_weighted_moments(x, columns, weights), beta)
    return spectrum, spectrum.points(x, columns, weights)


def _weighted_moments(x: DesignMatrix, columns: Ints, weights: Floats) -> Moments:
    classes, features = int(columns.max()) + 1, x.shape[1]
    names = tuple(f"{column:06}" for column in range(classes))
    sums, gram = np.zeros((classes, features)), np.zeros((features, features))
    for part in chunks(len(x)):
        rows, own = x[part].astype(np.float64), weights[part]
        member = np.zeros((classes, len(rows)))
        member[columns[part], np.arange(len(rows))] = own
        sums += member @ rows
        rows *= np.sqrt(own)[:, None]
        gram += rows.T @ rows
    return Moments(names, np.bincount(columns, weights, classes).astype(np.float64), sums, gram)


def _canonical(x: DesignMatrix, columns: Ints, sessions: Sequence[str | None], is_local: Bools, counts: Floats) -> Ints:
    """The order in which examples are summed; it depends on the examples, not on when they were taught."""
    names = {name: place for place, name in enumerate(sorted({s for s in sessions if s is not None}))}
    session = np.array([-1 if s is None else names[s] for s in sessions], np.int64)
    return np.lexsort(np.stack([counts, session, x.ranks(), columns, ~is_local]))


def groups_of(sessions: Sequence[str | None], is_local: Sequence[bool] = ()) -> Ints:
    """Number the groups that are left out together: a session, or a single example without a session.

    >>> groups_of(["night", None, "night", None]).tolist()
    [0, 1, 0, 2]
    """
    numbers: dict[object, int] = {}
    sides = is_local if len(is_local) else (True,) * len(sessions)
    keys = [(side, s) if s is not None else row for row, (side, s) in enumerate(zip(sides, sessions, strict=True))]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
