"""The closed forms against brute force and against scikit-learn on the same objective."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.head.lda import BETA, KAPPA, Points, Spectrum, spectrum_of_examples, spectrum_of_moments
from edge.head.leave_out import leave_out
from edge.head.moments import Moments, fixed

NU = 2.5


def some(n: int, d: int, classes: int, seed: int, weighted: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    x = fixed(rng.normal(size=(n, d)) + 0.5 * rng.normal(size=(classes, d))[columns])
    return x, columns, np.where(rng.random(n) < 0.5, 0.3, 1.0) if weighted else np.ones(n)


def both(x: np.ndarray, columns: np.ndarray, w: np.ndarray) -> list[tuple[Spectrum, Points]]:
    """By the n×n and by the D×D matrix."""
    member = np.zeros((columns.max() + 1, len(x)))
    member[columns, np.arange(len(x))] = w
    names = tuple(f"{k:03}" for k in range(len(member)))
    dual = spectrum_of_moments(Moments(names, member.sum(axis=1), member @ x, (x * w[:, None]).T @ x))
    return [spectrum_of_examples(x, columns, w), (dual, dual.points(x, columns, w))]


def target(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    sizes = np.sqrt(w @ x**2 / w.sum())
    return np.diag(1 - BETA + BETA * sizes / sizes.mean())


def refit(
    x: np.ndarray, columns: np.ndarray, w: np.ndarray, shrink: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (D, C) and bias (C,) straight from the definition; NaN for a label without examples."""
    counts = np.array([w[columns == k].sum() for k in range(classes)])
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.stack([w[columns == k] @ x[columns == k] for k in range(classes)]) / counts[:, None]
    origin = w @ x / w.sum()
    d, h = x - means[columns], x - origin
    a = (1 - KAPPA) * (d.T * w) @ d + KAPPA * (h.T * w) @ h + shrink
    trusted = (means - origin) * (counts / (counts + NU))[:, None]
    weights = np.linalg.solve(a, trusted.T)
    return weights, -0.5 * (trusted * weights.T).sum(axis=1) - origin @ weights


cases = st.tuples(
    st.integers(6, 25), st.sampled_from([4, 12, 50]), st.integers(2, 4), st.integers(0, 10_000), st.booleans()
)
taus = st.sampled_from([0.01, 0.3, 10.0])


@given(cases, taus)
@settings(max_examples=40)
def test_the_head_is_what_the_definition_says_by_either_matrix(
    case: tuple[int, int, int, int, bool], tau: float
) -> None:
    x, columns, w = some(*case)
    weights, bias = refit(x, columns, w, tau * target(x, w), case[2])
    for spectrum, _ in both(x, columns, w):
        for ours, expected in zip(spectrum.layer(tau, NU), (weights, bias), strict=True):
            assert np.allclose(ours, expected, atol=1e-8 * np.abs(expected).max())


@given(cases, taus, st.booleans())
@settings(max_examples=60)
def test_held_out_scores_are_those_of_a_refit_without_the_group(
    case: tuple[int, int, int, int, bool], tau: float, sessions: bool
) -> None:
    x, columns, w = some(*case)
    rng = np.random.default_rng(case[3])
    alone = np.arange(len(x)) + 100
    groups = np.where(rng.random(len(x)) < 0.6, rng.integers(0, 4, len(x)), alone) if sessions else alone
    expected = np.full((len(x), case[2]), np.nan)
    for group in np.unique(groups):
        out = groups == group
        if out.all():
            continue
        weights, bias = refit(x[~out], columns[~out], w[~out], tau * target(x, w), case[2])
        scores = x[out] @ weights + bias
        scores = np.where(np.isnan(scores), -np.inf, scores)
        scores[np.isinf(scores[np.arange(len(scores)), columns[out]])] = np.nan
        expected[out] = scores
    seen = np.isfinite(expected)

    # a refit's scores are given about its own mean: only their differences between labels mean anything
    def differences(scores: np.ndarray) -> np.ndarray:
        return scores - np.mean(scores, axis=1, where=np.isfinite(scores), keepdims=True)

    seen &= ~np.isnan(expected).any(axis=1)[:, None]
    for spectrum, points in both(x, columns, w):
        scores = leave_out(spectrum, points, groups, tau).scores(NU)
        assert (np.isnan(scores).any(axis=1) == np.isnan(expected).any(axis=1)).all()
        if seen.any():
            with np.errstate(invalid="ignore"):
                gap = np.abs(differences(scores) - differences(expected))[seen].max()
            assert gap <= 1e-8 * max(1.0, np.abs(expected[seen]).max())


def test_what_was_not_taught_is_measured_by_the_whole_head() -> None:
    x, columns, w = some(20, 12, 3, 0, False)
    other, _, _ = some(7, 12, 3, 1, False)
    for spectrum, _ in both(x, columns, w):
        points = spectrum.points(other, columns[:7], np.zeros(7))
        scores = leave_out(spectrum, points, np.array([0, 0, 1, 1, 1, 2, 3]), 0.3).scores(NU)
        weights, bias = spectrum.layer(0.3, NU)
        whole = other @ weights + bias
        assert np.allclose(scores - scores[:, :1], whole - whole[:, :1], atol=1e-9)


def test_shrinkage_lda_of_scikit_learn_is_the_same_objective() -> None:
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    x, columns, w = some(60, 8, 3, 0, False)
    s = 0.4
    model = discriminant.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s, priors=[1 / 3] * 3)
    # there Σ = (1 − s) S + s tr(S)/D I, S the within scatter, labels weighted by their priors: equal counts here
    keep = np.concatenate([np.flatnonzero(columns == k)[: np.bincount(columns).min()] for k in range(3)])
    x, columns, w = x[keep], columns[keep], w[keep]
    model = model.fit(x, columns)
    member = np.eye(3)[columns].T
    moments = Moments(("a", "b", "c"), member.sum(axis=1), member @ x, x.T @ x)
    within, n = moments.scatter(0), len(x)
    spectrum = spectrum_of_moments(moments, beta=0.0, kappa=0.0)
    factor = n / (1 - s)
    tau = s * np.trace(within) / n / x.shape[1] * factor
    weights, bias = spectrum.layer(tau, 0.0)
    ours = (x @ weights + bias) * factor
    theirs = model.decision_function(x)
    assert np.allclose(ours - ours[:, :1], theirs - theirs[:, :1], atol=1e-6 * np.abs(theirs).max())


@given(cases)
@settings(max_examples=20)
def test_moments_of_two_devices_give_the_head_of_the_pooled_data_to_the_byte(
    case: tuple[int, int, int, int, bool],
) -> None:
    x, columns, _ = some(*case)
    names, cut = [f"{column:03}" for column in columns], len(x) // 2
    here, there = Moments.of(x[:cut], names[:cut]), Moments.of(x[cut:], names[cut:])
    merged, pooled = spectrum_of_moments(there + here), spectrum_of_moments(Moments.of(x, names))
    for one, other in zip(merged.layer(0.3, NU), pooled.layer(0.3, NU), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_session_of_thousands_is_left_out_in_little_memory() -> None:
    x, columns, w = some(4000, 16, 3, 0, False)
    _, (spectrum, points) = both(x[:50], columns[:50], w[:50])
    burst = Points(np.tile(points.coordinates, (80, 1)), np.tile(points.columns, 80), np.full(4000, 1 / 160))
    tracemalloc.start()
    leave_out(spectrum, burst, np.zeros(4000, np.int64), 0.3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * burst.coordinates.nbytes
