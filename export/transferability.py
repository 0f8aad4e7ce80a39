"""LogME: how well a linear layer on frozen embeddings would explain the labels, without fitting one by validation.

For each class c with targets y ∈ {0, 1}ᴺ and embeddings F (N, D), a Bayesian linear model w ~ N(0, α⁻¹I),
y | w ~ N(Fw, β⁻¹I) has the evidence::

    log p(y | F, α, β) = N/2·log β + D/2·log α − N/2·log 2π − β/2·‖Fm − y‖² − α/2·‖m‖² − 1/2·log|A|
    A = αI + βFᵀF,   m = βA⁻¹Fᵀy

α and β maximise it (MacKay's fixed point); the score is the mean over classes, per example. Larger is better; only
differences on the same photos mean anything.

Source: You, Liu, Wang, Long, "LogME: practical assessment of pre-trained models for transfer learning", ICML 2021;
the fixed point: MacKay, "Bayesian interpolation", Neural Computation 1992.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.head import unit

STEPS = 50  # of the fixed point, which settles in about ten


def logme(embeddings: NDArray[np.float32], names: Sequence[str]) -> float:
    """Score embeddings by the evidence of their labels.

    Args:
        embeddings: (N, D) real numbers; scaled to length one first, as before every head.
        names: N labels.

    Returns:
        Nats per example and class.

    Example:
        >>> clear = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
        >>> logme(clear, "aabb") > logme(clear, "abab")
        True
    """
    features = unit(embeddings).astype(np.float64)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    scores = [_evidence(left, singular, features.shape[1], np.array([n == c for n in names])) for c in set(names)]
    return float(np.mean(scores))


def _evidence(
    left: NDArray[np.float64], singular: NDArray[np.float64], dimension: int, member: NDArray[np.bool_]
) -> float:
    """The largest log evidence of one class's targets, per example."""
    target = member.astype(np.float64)
    n = len(target)
    along, power = (left.T @ target) ** 2, singular**2
    outside = max(float(target @ target - along.sum()), 0.0)  # of y, what no direction of F reaches
    alpha = beta = 1.0
    for _ in range(STEPS):
        t = alpha / beta
        used = float((power / (power + t)).sum())
        norm = float((power * along / (power + t) ** 2).sum())
        residual = float((along * (t / (power + t)) ** 2).sum()) + outside
        alpha, beta = max(used, 1e-12) / max(norm, 1e-12), max(n - used, 1e-12) / max(residual, 1e-12)
        if abs(alpha / beta - t) < 1e-6 * t:
            break
    t = alpha / beta
    norm = float((power * along / (power + t) ** 2).sum())
    residual = float((along * (t / (power + t)) ** 2).sum()) + outside
    determinant = float(np.log(alpha + beta * power).sum()) + (dimension - len(power)) * np.log(alpha)
    evidence = n * np.log(beta) + dimension * np.log(alpha) - n * np.log(2 * np.pi) - determinant
    return float((evidence - beta * residual - alpha * norm) / 2 / n)
