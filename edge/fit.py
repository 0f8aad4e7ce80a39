"""From examples to a head, with every choice made by leave-one-out: no learning rate, no epochs, no luck.

`fit` sorts the examples (label, then bytes of the embedding, then session) before any sum, so the head depends on
what was taught and not on the order: forgetting an example gives byte for byte the head that never saw it. The
shrinkage τ and the factory weight minimise the label-balanced log-loss of the local examples' held-out scores; the
same scores give the temperature, and the probabilities in `Fit.loo`.

Factory examples (the bundle's) count `factory_weight` each, a number in (0, 1] chosen on the local examples only. The
smallest weight only keeps those labels alive that no local example has.

Sources: edge/lda.py for the mathematics; Guo et al. 2017 for the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, LabelError, NotEnough
from edge.head import Head, softmax
from edge.lda import Points, Spectrum, leave_out, spectrum_of_examples, spectrum_of_moments
from edge.moments import Moments, fixed, indices

SHRINKAGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # τ in units of the spread
FACTORY_WEIGHTS = (1e-4, 0.01, 0.1, 0.3, 1.0)
METHODS = ("auto", "lda", "nearest-mean")
_NEAREST = 1e6  # a τ so large that A is the identity
_UNMEASURED = 0.25  # temperature where nothing can be left out, in units of the scores' own spread

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Labelled embeddings.

    Args:
        embeddings: (N, D) real numbers, raw as the backbone gave them.
        labels: N names.
        sessions: () or N names or None; examples of one session (frames of one burst) are left out together.

    Raises:
        LabelError: as many labels or sessions as embeddings are needed.
        BundleError: embeddings that are no matrix of finite numbers.
    """

    embeddings: NDArray[np.float32]
    labels: tuple[str, ...]
    sessions: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise BundleError(f"embeddings have shape {self.embeddings.shape} but (examples, features) is expected")
        for kind, values in (("labels", self.labels), ("sessions", self.sessions)):
            if len(values) != len(self.embeddings) and (values or kind == "labels"):
                raise LabelError(f"{len(self.embeddings)} embeddings came with {len(values)} {kind}; give one for each")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Fit:
    """A head and what is known about it.

    Args:
        head: the head.
        method: "lda" or "nearest-mean".
        loo: (N, C) float32 held-out probabilities of the local examples, then of the factory's, in the order given;
            NaN where an example was the last of its label.
        shrinkage: τ in units of the spread.
        factory_weight: what one factory example counts beside a local one; 1.0 if there is none.
    """

    head: Head
    method: str
    loo: NDArray[np.float32]
    shrinkage: float
    factory_weight: float


@dataclass(frozen=True)
class _Candidate:
    """One choice of shrinkage and factory weight with its held-out scores and their log-loss."""

    spectrum: Spectrum
    scores: Floats
    shrinkage: float
    factory_weight: float
    loss: float
    temperature: float


def fit(local: Examples, factory: Examples | None = None, *, method: str = "auto") -> Fit:
    """Fit the best head, and say how every example would have been answered had it not been taught.

    Args:
        local: examples collected on this device; may be empty if there are factory examples.
        factory: the bundle's own examples.
        method: "auto" (the best known: LDA), "lda", or "nearest-mean" (the baseline).

    Raises:
        NotEnough: fewer than two labels.
        BundleError: embeddings of different length.

    >>> examples = Examples(np.array([[1, 0], [3, 1], [0, 2], [1, 3]], np.float32), ("a", "a", "b", "b"))
    >>> result = fit(examples)
    >>> result.head.labels, result.loo.argmax(axis=1).tolist()
    (('a', 'b'), [0, 0, 1, 1])
    """
    if method not in METHODS:
        raise NotEnough(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
    parts = [part for part in (local, factory) if part is not None and len(part)]
    if len({part.embeddings.shape[1] for part in parts}) > 1:
        one, other = (part.embeddings.shape[1] for part in parts)
        raise BundleError(f"local examples have {one} features but the factory's {other}; use one backbone for both")
    names, columns = indices([label for part in parts for label in part.labels], sum(map(len, parts)))
    if len(names) < 2:
        raise NotEnough(f"only label {names[0]!r} was taught; a head needs two, teach another")
    x = fixed(np.concatenate([part.embeddings for part in parts]))
    sessions = [session for part in parts for session in (part.sessions or (None,) * len(part))]
    is_local = np.arange(len(x)) < (len(local) or len(x))
    order = _canonical(x, columns, sessions, is_local)
    x, columns, is_local = x[order], columns[order], is_local[order]
    groups = _groups([sessions[row] for row in order], is_local)

    shrinkages = (_NEAREST,) if method == "nearest-mean" else SHRINKAGES
    weights = (1.0,) if is_local.all() else FACTORY_WEIGHTS
    best = min(
        (c for weight in weights for c in _candidates(x, columns, groups, is_local, weight, shrinkages)),
        key=lambda c: (c.loss, abs(np.log(c.shrinkage / 0.3)), -c.factory_weight),
    )
    tau = best.shrinkage * (best.spectrum.spread or 1.0)
    directions = best.spectrum.weights(tau)
    head = Head(
        names,
        directions.astype(np.float32),
        best.spectrum.bias(directions, tau).astype(np.float32),
        best.temperature,
    )
    loo = np.empty((len(x), len(names)), np.float32)
    loo[order] = softmax(best.scores / best.temperature)
    return Fit(head, "nearest-mean" if method == "nearest-mean" else "lda", loo, best.shrinkage, best.factory_weight)


def _candidates(
    x: Floats, columns: Ints, groups: Ints, is_local: NDArray[np.bool_], weight: float, shrinkages: Sequence[float]
) -> list[_Candidate]:
    """All shrinkages for one factory weight; their losses are over local examples only."""
    spectrum, points = _spectrum(x, columns, np.where(is_local, 1.0, weight))
    found = []
    for shrinkage in shrinkages:
        scores = leave_out(spectrum, points, groups, shrinkage * (spectrum.spread or 1.0))
        loss, temperature = calibrate(scores[is_local], columns[is_local])
        found.append(_Candidate(spectrum, scores, shrinkage, weight, loss, temperature))
    return found


def _spectrum(x: Floats, columns: Ints, weights: Floats) -> tuple[Spectrum, Points]:
    """Take the smaller of the two matrices apart."""
    if len(x) < x.shape[1]:
        return spectrum_of_examples(x, columns, weights)
    member = np.zeros((int(columns.max()) + 1, len(x)))
    member[columns, np.arange(len(x))] = weights
    names = tuple(f"{column:06}" for column in range(len(member)))
    moments = Moments(names, member.sum(axis=1), member @ x, (x * weights[:, None]).T @ x)
    spectrum = spectrum_of_moments(moments)
    return spectrum, Points((x - spectrum.origin) @ spectrum.mix, columns, weights)


def calibrate(scores: Floats, columns: Ints) -> tuple[float, float]:
    """Find the temperature of the smallest label-balanced log-loss.

    The loss is convex in β = 1 / temperature; Newton steps inside a bracket that only ever shrinks cannot fail.

    Args:
        scores: (n, C) held-out scores; rows of NaN do not count.
        columns: (n,) the true label's column.

    Returns:
        The loss, and the temperature.
    """
    measured = ~np.isnan(scores).any(axis=1)
    if not measured.any():
        finite = scores[np.isfinite(scores)]
        return float(np.log(scores.shape[1])), _UNMEASURED * (float(finite.std()) if finite.size else 1.0) or 1.0
    scores, columns = scores[measured], columns[measured]
    weights = 1 / np.bincount(columns, minlength=scores.shape[1])[columns]
    weights = weights / weights.sum()
    gaps = scores - scores[np.arange(len(scores)), columns][:, None]
    present = np.isfinite(gaps)
    gaps = np.where(present, gaps, 0.0)
    scale = float(np.abs(gaps).max()) or 1.0
    gaps = gaps / scale
    low, high, beta = 1e-3, 1e4, 10.0
    for _ in range(24):
        terms = np.where(present, np.exp(np.minimum(beta * gaps, 700)), 0.0)
        shares = terms / terms.sum(axis=1, keepdims=True)
        mean = (shares * gaps).sum(axis=1)
        slope = float(weights @ mean)
        curve = float(weights @ ((shares * gaps**2).sum(axis=1) - mean**2))
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curve if curve > 0 else 0.0
        beta = step if low < step < high else float(np.sqrt(low * high))
    loss = float(weights @ np.log(np.where(present, np.exp(np.minimum(beta * gaps, 700)), 0.0).sum(axis=1)))
    return loss, scale / beta


def _canonical(x: Floats, columns: Ints, sessions: Sequence[str | None], is_local: NDArray[np.bool_]) -> Ints:
    """The order in which examples are summed, which depends on what they are and not on when they came."""
    keys = [row.tobytes() for row in x.astype(np.float32)]

    def key(row: int) -> tuple[bool, int, bytes, str]:
        session = sessions[row]
        return not is_local[row], int(columns[row]), keys[row], "" if session is None else f"={session}"

    return np.array(sorted(range(len(x)), key=key), np.int64)


def _groups(sessions: Sequence[str | None], is_local: NDArray[np.bool_]) -> Ints:
    """Numbers of the groups that are left out together: a session, or an example of no session alone."""
    numbers: dict[object, int] = {}
    keys = [(local, s) if s is not None else row for row, (local, s) in enumerate(zip(is_local, sessions, strict=True))]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
