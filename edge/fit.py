"""From examples to a head, with every choice made by leave-one-out: no learning rate, no epochs, no luck.

`fit` sorts the examples (label, then bytes of the embedding, then session) before any sum, so the head depends on
what was taught and not on the order: forgetting an example gives byte for byte the head that never saw it. τ,
ν and the factory weight minimise the label-balanced log-loss of the local examples' held-out scores, plus a weak prior
that decides where these are too few to tell; the same scores give the temperature, and the probabilities in `Fit.loo`.

Factory examples (the bundle's) count `factory_weight` each, a number in [0, 1] chosen on the local examples only; those
of labels that no local example has count fully, since nothing else keeps these labels alive.

Sources: edge/lda.py for the mathematics; Guo et al. 2017 for the temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, LabelError, NotEnough
from edge.head import Head, softmax
from edge.lda import HeldOut, Points, Spectrum, leave_out, spectrum_of_examples, spectrum_of_moments
from edge.moments import Moments, fixed, indices

FACTORY_WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Method:
    """What a fitter may choose from: τ in units of the spread, and ν in examples; the first of each is the prior's."""

    shrinkages: tuple[float, ...]
    trusts: tuple[float, ...]


_METHODS = {
    "lda": Method((0.3, 0.03, 0.1, 1.0, 3.0, 10.0, 30.0), (4.0, 1.0, 2.0, 8.0, 16.0)),
    "nearest-mean": Method((1e6,), (0.0,)),  # τ so large that A is the identity
}
METHODS = ("auto", *_METHODS)
_UNMEASURED = 0.25  # temperature where nothing can be left out, in units of the scores' own spread

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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
        trust: ν, how many examples a label needs until half of its mean is believed.
        factory_weight: what one factory example counts beside a local one; 1.0 if there is none.
    """

    head: Head
    method: str
    loo: NDArray[np.float32]
    shrinkage: float
    trust: float
    factory_weight: float


@dataclass(frozen=True)
class Choice:
    """One choice of τ and ν with its held-out scores (n, C), their temperature, and its cost in nats."""

    spectrum: Spectrum
    scores: Floats
    tau: float
    nu: float
    temperature: float
    cost: float

    def head(self, labels: tuple[str, ...]) -> Head:
        """Give the head that was chosen."""
        weights, bias = self.spectrum.weights(self.tau, self.nu), self.spectrum.bias(self.tau, self.nu)
        return Head(labels, weights.astype(np.float32), bias.astype(np.float32), self.temperature)


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
    name = "lda" if method == "auto" else method
    if name not in _METHODS:
        raise NotEnough(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
    parts = [part for part in (local, factory) if part is not None and len(part)]
    if len({part.embeddings.shape[1] for part in parts}) > 1:
        one, other = (part.embeddings.shape[1] for part in parts)
        raise BundleError(f"local examples have {one} features but the factory's {other}; use one backbone for both")
    labels, columns = indices([label for part in parts for label in part.labels], sum(map(len, parts)))
    if len(labels) < 2:
        raise NotEnough(f"only label {labels[0]!r} was taught; a head needs two, teach another")
    x = fixed(np.concatenate([part.embeddings for part in parts]))
    sessions = [session for part in parts for session in (part.sessions or (None,) * len(part))]
    is_local = np.arange(len(x)) < (len(local) or len(x))
    order = _canonical(x, columns, sessions, is_local)
    x, columns, is_local = x[order], columns[order], is_local[order]
    groups = _groups([sessions[row] for row in order], is_local)

    at_home = np.isin(columns, columns[is_local])
    best, factory_weight = None, 1.0
    for weight in (1.0,) if is_local.all() else FACTORY_WEIGHTS:
        found = _choose(x, columns, groups, is_local, np.where(is_local | ~at_home, 1.0, weight), _METHODS[name])
        if best is None or found.cost <= best.cost:
            best, factory_weight = found, weight
    assert best is not None
    loo = np.empty((len(x), len(labels)), np.float32)
    loo[order] = softmax(best.scores / best.temperature)
    return Fit(best.head(labels), name, loo, best.tau / (best.spectrum.spread or 1.0), best.nu, factory_weight)


def _choose(x: Floats, columns: Ints, groups: Ints, local: Bools, weights: Floats, method: Method) -> Choice:
    """Choose τ and ν for examples (n, D) of given weights; their cost is over the local ones only."""
    kept = weights > 0
    spectrum, points = _spectrum(x[kept], columns[kept], weights[kept])
    rows, outside = np.flatnonzero(kept), np.flatnonzero(~kept)

    def scored(tau: float, nu: float, held_out: HeldOut) -> Floats:
        scores = np.empty((len(x), len(spectrum.counts)))
        scores[rows] = held_out.scores(nu)
        scores[outside] = x[outside] @ spectrum.weights(tau, nu) + spectrum.bias(tau, nu)
        return scores

    def measure(tau: float) -> HeldOut:
        return leave_out(spectrum, points, groups[kept], tau)

    return choose(spectrum, measure, scored, columns, local, method)


def choose(
    spectrum: Spectrum,
    measure: Callable[[float], HeldOut],
    scored: Callable[[float, float, HeldOut], Floats],
    columns: Ints,
    local: Bools,
    method: Method,
) -> Choice:
    """Choose first τ, then ν, by the log-loss of the held-out scores and a prior of one nat at a factor e^√2."""
    unit = spectrum.spread or 1.0

    def choice(shrinkage: float, nu: float, held_out: HeldOut) -> Choice:
        tau = shrinkage * unit
        scores = scored(tau, nu, held_out)
        loss, temperature = calibrate(scores[local], columns[local])
        far = np.log(shrinkage / method.shrinkages[0]) ** 2 + (np.log(nu / method.trusts[0]) ** 2 if nu else 0.0)
        return Choice(spectrum, scores, tau, nu, temperature, loss * int(local.sum()) + 0.5 * float(far))

    best, best_held_out = None, None
    for shrinkage in method.shrinkages:
        held_out = measure(shrinkage * unit)
        found = choice(shrinkage, method.trusts[0], held_out)
        if best is None or found.cost < best.cost:
            best, best_held_out = found, held_out
    assert best is not None
    assert best_held_out is not None
    return min([best, *(choice(best.tau / unit, nu, best_held_out) for nu in method.trusts[1:])], key=lambda c: c.cost)


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

    One imagined example is added, as far wrong as the others are right on average: with n examples all right nobody
    may be surer than about n / (n + 1). The loss is convex in β = 1 / temperature; Newton steps inside a bracket that
    only ever shrinks cannot fail.

    Args:
        scores: (n, C) held-out scores; rows of NaN count as answered by chance.
        columns: (n,) the true label's column.

    Returns:
        The loss in nats per example, and the temperature.
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
    gaps = np.maximum(gaps / scale, -1e4)  # −inf, a label that is gone, has probability 0 at any temperature we allow
    gaps = np.vstack([gaps, np.array([1.0, 0.0] + [-1e4] * (gaps.shape[1] - 2))])
    weights = np.append(weights, (1 - lost) / len(scores))

    low, high, beta = 0.01, 100.0, 2.0
    for _ in range(12):
        shares = np.exp(beta * gaps - (beta * gaps).max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        mean = (shares * gaps).sum(axis=1)
        slope = float(weights @ mean)
        curve = float(weights @ ((shares * gaps * gaps).sum(axis=1) - mean**2))
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curve if curve > 0 else 0.0
        beta, last = (step if low < step < high else float(np.sqrt(low * high))), beta
        if abs(beta - last) < 1e-4 * beta:
            break
    top = (beta * gaps).max(axis=1)
    losses = top + np.log(np.exp(beta * gaps - top[:, None]).sum(axis=1))
    return float(weights[:-1] @ losses[:-1]) + lost * chance, scale / beta


def _canonical(x: Floats, columns: Ints, sessions: Sequence[str | None], is_local: Bools) -> Ints:
    """The order in which examples are summed, which depends on what they are and not on when they came."""
    keys = [row.tobytes() for row in x.astype(np.float32)]

    def key(row: int) -> tuple[bool, int, bytes, str]:
        session = sessions[row]
        return not is_local[row], int(columns[row]), keys[row], "" if session is None else f"={session}"

    return np.array(sorted(range(len(x)), key=key), np.int64)


def _groups(sessions: Sequence[str | None], is_local: Bools) -> Ints:
    """Numbers of the groups that are left out together: a session, or an example of no session alone."""
    numbers: dict[object, int] = {}
    keys = [(local, s) if s is not None else row for row, (local, s) in enumerate(zip(is_local, sessions, strict=True))]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
