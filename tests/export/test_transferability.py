"""LogME is the evidence of a Bayesian linear model, at its maximum."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal  # scikit-learn brings it

from edge.head import unit
from export import transferability
from export.transferability import logme


def log_evidence(features: np.ndarray, target: np.ndarray, alpha: float, beta: float) -> float:
    """By the definition: y is normal with covariance FFᵀ/α + I/β."""
    covariance = features @ features.T / alpha + np.eye(len(target)) / beta
    return float(multivariate_normal(np.zeros(len(target)), covariance).logpdf(target))


@pytest.mark.parametrize("shape", [(30, 5), (12, 40)])
def test_it_is_the_largest_evidence_by_definition(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    raw = random.normal(size=shape)
    names = ["a" if row[0] + 0.3 * random.normal() > 0 else "b" for row in raw]
    features = unit(raw).astype(np.float64)
    best = [largest(features, np.array([name == label for name in names], float)) for label in "ab"]
    assert logme(raw, names) == pytest.approx(np.mean(best) / len(names), abs=1e-4)


def largest(features: np.ndarray, target: np.ndarray) -> float:
    """The maximum over α and β, searched from several places."""

    def cost(logs: np.ndarray) -> float:
        return -log_evidence(features, target, *np.exp(logs))

    starts = [(a, b) for a in (-2.0, 1.0, 4.0) for b in (-1.0, 2.0)]
    return -min(minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-4}).fun for start in starts)


def test_labels_that_the_features_explain_score_higher() -> None:
    random = np.random.default_rng(1)
    names = ["a", "b"] * 30
    useful = random.normal(size=(60, 20)) + 3 * np.array([[name == "a"] for name in names])
    assert logme(useful, names) > logme(random.normal(size=(60, 20)), names) + 0.1


def test_the_fixed_point_settles_long_before_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    raw, names = random.normal(size=(50, 10)), ["a", "b"] * 25
    settled = logme(raw + 1.0, names)
    monkeypatch.setattr(transferability, "STEPS", 500)
    assert logme(raw + 1.0, names) == pytest.approx(settled, abs=1e-4)
