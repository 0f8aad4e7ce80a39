"""Linear discriminant analysis by one eigendecomposition, which every amount of shrinkage shares.

Examples x_i of label c_i with weights w_i; n_c, m_c weight and mean of label c, N and m those of all. One matrix::

    A = (1 − κ) W + κ T + τ diag(δ)        δ_j = 1 − β + β r_j / mean(r)        r_j² = Σ_i w_i x_ij² / N

W is the scatter within labels, T the total scatter. τ shrinks towards a diagonal (Friedman 1989; Ledoit & Wolf 2004),
not quite the identity: features that are large everywhere also vary more within a label, which few examples cannot yet
show, so β = 0.7 of it is in proportion to their size r. κ = 0.003 is there for one example per label, where W is empty.
The mean of a label with few examples is mostly noise, and noise puts it farther from everything: it is trusted by ρ_k
only, drawn towards m as the posterior mean of a normal prior would be. docs/head.md says what each of these is worth.
The score of label k is the discriminant with equal priors::

    s_k(x) = ρ_k (x − m)ᵀ A⁻¹ (m_k − m) − ½ ρ_k² (m_k − m)ᵀ A⁻¹ (m_k − m)        ρ_k = n_k / (n_k + ν)

**One eigendecomposition.** A − τ diag(δ) = FᵀF with rows f_i = √w_i (x_i − m_c + √κ (m_c − m)), since the cross terms
of a label sum to zero. With Δ = diag(δ)^−½ and n < D the n×n matrix F Δ² Fᵀ = U e Uᵀ is decomposed, else the D×D one,
Δ FᵀF Δ = V e Vᵀ. In the basis B = Δ V every A⁻¹ is the diagonal 1 / (e + τ), so another τ costs next to nothing. All
x_i − m lie in its span.

Sources: Friedman, "Regularized Discriminant Analysis", JASA 1989; Ledoit & Wolf, "A well-conditioned estimator for
large-dimensional covariance matrices", J. Multivariate Analysis 2004; Hastie & Tibshirani, "Efficient quadratic
regularization for expression arrays", Biostatistics 2004 (the n×n computation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.head.matrix import KEPT, DesignMatrix, Rows, chunks
from edge.head.moments import Moments

_ANSWERS = 20  # numbers of an example and label that are in memory while something is chosen, as float32
KAPPA = 0.003
BETA = 0.7

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Spectrum:
    """The eigendecomposition of A − τ diag(δ), and the labels' means in its basis."""

    origin: Floats  # (D,) the mean m of all examples
    values: Floats  # (R,) eigenvalues e
    rows: Floats | None  # (r, D) and mix: (r, R), whose product rowsᵀ mix is the basis B (D, R); without rows, mix is B
    mix: Floats
    counts: Floats  # (C,) weights n_c of the labels
    means: Floats  # (C, R) coordinates of m_c − m
    spread: float  # mean squared length of Δ (x_i − m): the unit in which τ is given

    @property
    def unit(self) -> float:
        """The unit of τ: the spread, or 1 if all examples are the same."""
        return self.spread or 1.0

    def layer(self, tau: float, nu: float) -> tuple[Floats, Floats]:
        """(D, C) the directions ρ_k A⁻¹ (m_k − m), and (C,) what the scores are at x = 0."""
        trusted = self.means * (self.counts / (self.counts + nu))[:, None]
        scaled = trusted / (self.values + tau)
        lifted = self.mix @ scaled.T
        weights = lifted if self.rows is None else self.rows.T @ lifted
        return weights, np.asarray(-0.5 * (trusted * scaled).sum(axis=1) - self.origin @ weights)

    def points(self, x: DesignMatrix | NDArray[np.float32], columns: Ints, weights: Floats) -> Points:
        """Return examples x (n, D) in this basis, computed in their own precision."""
        return Points(_Seen(x, self), columns, weights)


class _Seen:
    """Examples x (n, D) seen in the basis of a spectrum: (n, R), worked out once, or, of very many, when asked for."""

    def __init__(self, x: DesignMatrix | NDArray[np.float32], spectrum: Spectrum) -> None:
        basis = spectrum.mix if spectrum.rows is None else spectrum.rows.T @ spectrum.mix
        self._x, self._origin, self._basis = x, spectrum.origin @ basis, basis.astype(x.dtype, copy=False)
        self._kept: Rows | None = None
        if len(x) * (basis.shape[1] + _ANSWERS * len(spectrum.counts)) <= KEPT:
            self._kept = np.empty((len(x), basis.shape[1]), x.dtype)
            for part in chunks(len(x)):
                np.matmul(x[part], self._basis, out=self._kept[part])
            del self._x, self._basis

    def __getitem__(self, rows: slice | Ints) -> Floats:
        product = self._x[rows] @ self._basis if self._kept is None else self._kept[rows]
        return np.asarray(np.subtract(product, self._origin))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)


@dataclass(frozen=True)
class Points:
    """Examples in the basis of a spectrum: coordinates (n, R) of x − m, their columns (n,) and weights (n,)."""

    coordinates: Floats | _Seen
    columns: Ints
    weights: Floats

    def take(self, rows: Ints) -> Points:
        """Return some of the points, with their coordinates as an array, without a copy if they are neighbours."""
        part: slice | Ints = rows
        if len(rows) == rows[-1] - rows[0] + 1 and (np.diff(rows) == 1).all():
            part = slice(int(rows[0]), int(rows[-1]) + 1)
        return Points(self.coordinates[part], self.columns[part], self.weights[part])


def spectrum_of_examples(x: Floats, columns: Ints, weights: Floats, beta: float = BETA) -> tuple[Spectrum, Points]:
    """Decompose the n×n matrix of n examples: for n < D. x (n, D), columns (n,) in 0…C−1, weights (n,) positive."""
    classes = int(columns.max()) + 1
    member = np.zeros((classes, len(x)))
    member[columns, np.arange(len(x))] = weights
    counts = member.sum(axis=1)
    means = member @ x / counts[:, None]
    origin = counts @ means / counts.sum()
    root, shrink = np.sqrt(weights)[:, None], np.sqrt(KAPPA)
    scale = np.sqrt(_target(np.einsum("i,ij,ij->j", weights, x, x) / counts.sum(), beta))
    rows = x - ((1 - shrink) * means + shrink * origin)[columns]
    rows *= root
    rows /= scale
    values, vectors = np.linalg.eigh(rows @ rows.T)
    rows /= scale
    first = int(np.searchsorted(values, 1e-10 * max(values[-1], 1e-300), side="right"))
    values, vectors = values[first:], vectors[:, first:]
    # f_i has coordinates U_i √e; the label's mean of f/√w is √κ (m_c − m), and f/√w less that is x − m_c
    coordinates = vectors * np.sqrt(values)
    coordinates /= root
    shrunk = member @ coordinates / counts[:, None]
    coordinates += ((1 / shrink - 1) * shrunk)[columns]
    spread = float(np.einsum("i,ij,ij->", weights, coordinates, coordinates) / counts.sum())
    spectrum = Spectrum(origin, values, rows, vectors / np.sqrt(values), counts, shrunk / shrink, spread)
    return spectrum, Points(coordinates, columns, weights)


def spectrum_of_moments(moments: Moments, beta: float = BETA, kappa: float = KAPPA) -> Spectrum:
    """Decompose the D×D matrix of moments: for n ≥ D, or if the examples are not in memory."""
    squares, origin = np.diag(moments.gram) / moments.counts.sum(), moments.mean
    scale = np.sqrt(_target(squares, beta))
    scatter, counts, means = moments.scatter(kappa), moments.counts, moments.means
    del moments  # (D, D) numbers, which eigh needs room for
    scatter /= scale
    scatter /= scale[:, None]
    values, basis = np.linalg.eigh(scatter)
    del scatter
    basis /= scale[:, None]
    spread = max(0.0, float(((squares - origin**2) / scale**2).sum()))
    return Spectrum(origin, np.maximum(values, 0), None, basis, counts, (means - origin) @ basis, spread)


def _target(squares: Floats, beta: float) -> Floats:
    """δ (D,): the diagonal to shrink towards, from the features' mean squares (D,)."""
    sizes = np.sqrt(squares)
    return 1 - beta + beta * sizes / (sizes.mean() or 1.0)
