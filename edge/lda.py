"""Linear discriminant analysis whose every held-out score is known in closed form.

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
of a label sum to zero. With Δ = diag(δ)^−½ and n < D the n×n matrix F Δ² Fᵀ = U e Uᵀ is taken apart, else the D×D one,
Δ FᵀF Δ = V e Vᵀ. In the basis B = Δ V every A⁻¹ is the diagonal 1 / (e + τ), so another τ costs next to nothing. All
x_i − m lie in its span.

**Leaving out.** Let a group B of examples (one example, or one session) of weight b, b_c of it in label c, go. δ, which
knows no label, stays. Then ::

    W' = W − Σ_c [ Σ_{B∩c} w d dᵀ + s_c s_cᵀ / (n_c − b_c) ]    d = x − m_c, s_c = Σ_{B∩c} w d
    T' = T − [ Σ_B w h hᵀ + s sᵀ / (N − b) ]                    h = x − m,   s = Σ_B w h
    m_c' = m_c − s_c / (n_c − b_c)

a change of rank 2|B| at most, and A'⁻¹ = A⁻¹ + A⁻¹ Eᵀ (H⁻¹ − E A⁻¹ Eᵀ)⁻¹ E A⁻¹ (Sherman & Morrison 1950, Woodbury
1950), with E the rows d and h, and H the block-diagonal matrix of the brackets.

Sources: Friedman, "Regularized Discriminant Analysis", JASA 1989; Ledoit & Wolf, "A well-conditioned estimator for
large-dimensional covariance matrices", J. Multivariate Analysis 2004; Hastie & Tibshirani, "Efficient quadratic
regularization for expression arrays", Biostatistics 2004 (the n×n computation); Sherman & Morrison, Ann. Math.
Statist. 1950.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.moments import Moments

KAPPA = 0.003
BETA = 0.7
_BATCH = 1 << 19  # floats in the largest intermediate array
_CHUNK = 512  # examples that are calculated with at a time: a board's memory is small

Rows = NDArray[np.float32] | NDArray[np.float64]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Spectrum:
    """A − τ diag(δ) taken apart, and the labels' means in its basis.

    Args:
        origin: (D,) the mean m of all examples.
        values: (R,) eigenvalues e.
        rows: (r, D) and mix: (r, R), whose product rowsᵀ mix is the basis B (D, R); without rows, mix is B.
        counts: (C,) weights n_c of the labels.
        means: (C, R) coordinates of m_c − m.
        spread: mean squared length of Δ (x_i − m): the unit in which τ is given.
    """

    origin: Floats
    values: Floats
    rows: Floats | None
    mix: Floats
    counts: Floats
    means: Floats
    spread: float

    @property
    def unit(self) -> float:
        """What τ is given in: the spread, or 1 if all examples are the same."""
        return self.spread or 1.0

    def layer(self, tau: float, nu: float) -> tuple[Floats, Floats]:
        """(D, C) the directions ρ_k A⁻¹ (m_k − m), and (C,) what the scores are at x = 0."""
        trusted = self.means * (self.counts / (self.counts + nu))[:, None]
        scaled = trusted / (self.values + tau)
        lifted = self.mix @ scaled.T
        weights = lifted if self.rows is None else self.rows.T @ lifted
        return weights, np.asarray(-0.5 * (trusted * scaled).sum(axis=1) - self.origin @ weights)

    def points(self, x: Rows, columns: Ints, weights: Floats) -> Points:
        """Give examples x (n, D) in this basis, calculated in the precision they come in."""
        basis = self.mix if self.rows is None else self.rows.T @ self.mix
        origin, basis = self.origin @ basis, basis.astype(x.dtype, copy=False)
        coordinates = np.empty((len(x), basis.shape[1]))
        for part in chunks(len(x)):
            np.subtract(x[part] @ basis, origin, out=coordinates[part])
        return Points(coordinates, columns, weights)


@dataclass(frozen=True)
class Points:
    """Examples in the basis of a spectrum: coordinates (n, R) of x − m, their columns (n,) and weights (n,)."""

    coordinates: Floats
    columns: Ints
    weights: Floats

    def take(self, rows: Ints) -> Points:
        """Give some of them, without a copy if they are neighbours."""
        if len(rows) == rows[-1] - rows[0] + 1 and (np.diff(rows) == 1).all():
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            return Points(self.coordinates[part], self.columns[part], self.weights[part])
        return Points(self.coordinates[rows], self.columns[rows], self.weights[rows])


@dataclass(frozen=True)
class HeldOut:
    """Examples measured against the labels as they would be without the examples' own groups.

    Args:
        cross: (n, C) products (x − m')ᵀ A'⁻¹ (m_k' − m').
        squares: (n, C) products (m_k' − m')ᵀ A'⁻¹ (m_k' − m').
        left: (n, C) what is left of the labels' counts n_k'.
        columns: (n,) the examples' own labels.
    """

    cross: Floats
    squares: Floats
    left: Floats
    columns: Ints

    def scores(self, nu: float) -> Floats:
        """(n, C) held-out scores; −inf for a label that is gone, a row of NaN if that is the example's own."""
        trust = self.left / np.where(self.left > 0, self.left + nu, 1.0)
        scores = np.where(self.left > 0, trust * (self.cross - 0.5 * trust * self.squares), -np.inf)
        scores[self.left[np.arange(len(scores)), self.columns] <= 0] = np.nan
        return scores


def spectrum_of_examples(x: Floats, columns: Ints, weights: Floats, beta: float = BETA) -> tuple[Spectrum, Points]:
    """Take n examples apart by the n×n matrix: for n < D. x (n, D), columns (n,) in 0…C−1, weights (n,) positive."""
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
    """Take moments apart by the D×D matrix: for n ≥ D, or when the examples are elsewhere."""
    squares, origin = np.diag(moments.gram) / moments.counts.sum(), moments.mean
    scale = np.sqrt(_target(squares, beta))
    scatter = moments.scatter(kappa)
    scatter /= scale
    scatter /= scale[:, None]
    values, basis = np.linalg.eigh(scatter)
    basis /= scale[:, None]
    spread = max(0.0, float(((squares - origin**2) / scale**2).sum()))
    means = (moments.means - origin) @ basis
    return Spectrum(origin, np.maximum(values, 0), None, basis, moments.counts, means, spread)


def leave_out(spectrum: Spectrum, points: Points, groups: Ints, tau: float) -> HeldOut:
    """Measure every example against the labels as they would be had its group never been taught.

    Args:
        spectrum: of all examples; the points must be among them, or weigh nothing.
        points: n examples; those of weight 0 were not taught, so that nothing is left out for them.
        groups: (n,) numbers; equal ones are left out together.
        tau: τ > 0.
    """
    classes = len(spectrum.counts)
    shape = (len(groups), classes)
    out = HeldOut(np.empty(shape), np.empty(shape), np.empty(shape), points.columns)
    inverse = 1 / (spectrum.values + tau)
    scaled = spectrum.means * inverse
    between = scaled @ spectrum.means.T
    for block in _blocks(groups, classes + len(spectrum.values)):
        if 2 * block.shape[1] < len(spectrum.values):
            part = _leave_blocks(spectrum, points.take(block.ravel()), block.shape, inverse, scaled, between)
            out.cross[block], out.squares[block], out.left[block] = (
                part.cross,
                part.squares[:, None],
                part.left[:, None],
            )
            continue
        for rows in block:
            part = _leave_many(spectrum, points.take(rows), tau)
            out.cross[rows], out.squares[rows], out.left[rows] = part.cross, part.squares, part.left
    return out


def chunks(count: int) -> Iterator[slice]:
    """Cut 0…count into pieces of bounded length.

    >>> list(chunks(600))
    [slice(0, 512, None), slice(512, 600, None)]
    """
    return (slice(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK))


def _target(squares: Floats, beta: float) -> Floats:
    """δ (D,): what is shrunk towards, from the features' mean squares (D,)."""
    sizes = np.sqrt(squares)
    return 1 - beta + beta * sizes / (sizes.mean() or 1.0)


def _blocks(groups: Ints, width: int) -> Iterator[Ints]:
    """Groups of equal size b together, as (g, b) row numbers, so many that the arrays stay small."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order[0]] - 1))
    sizes = np.diff(starts, append=len(groups))
    for size in np.unique(sizes):
        rows = order[starts[sizes == size][:, None] + np.arange(size)]
        step = max(1, _BATCH // (int(size) * (width + 4 * int(size))))
        yield from (rows[i : i + step] for i in range(0, len(rows), step))


def _leave_blocks(
    spectrum: Spectrum,
    points: Points,
    shape: tuple[int, ...],
    inverse: Floats,
    scaled: Floats,
    between: Floats,
) -> HeldOut:
    """g groups of b examples: cross (g, b, C), squares (g, C), left (g, C). A name `dm` is d A⁻¹ m; E is d, then h."""
    g, b = shape
    columns, w = points.columns.reshape(g, b), points.weights.reshape(g, b)
    h = points.coordinates.reshape(g, b, -1)
    hm = (points.coordinates @ scaled.T).reshape(g, b, -1)  # (g, b, C)
    hh = (h * inverse) @ h.transpose(0, 2, 1) if b > 1 else (h * h @ inverse)[:, :, None]  # (g, b, b)
    own = hm[np.arange(g)[:, None, None], np.arange(b)[None, :, None], columns[:, None, :]]  # h_i A⁻¹ m_c(j)
    dh = hh - own.transpose(0, 2, 1)
    dd = dh - own + between[columns[:, :, None], columns[:, None, :]]
    dm = hm - between[columns]
    ee = np.concatenate([np.concatenate([dd, dh], 2), np.concatenate([dh.transpose(0, 2, 1), hh], 2)], 1)
    em = np.concatenate([dm, hm], 1)  # (g, 2b, C)

    # what leaves each label and all, and what stays; a label that goes entirely has s_c = 0
    same = columns[:, :, None] == columns[:, None, :]
    left = np.tile(spectrum.counts, (g, 1))
    np.subtract.at(left, (np.arange(g)[:, None], columns), w)
    left = np.where(left > 1e-9 * spectrum.counts, left, 0.0)
    share = _reciprocal(left)[np.arange(g)[:, None], columns]  # (g, b)
    rest = _reciprocal(left.sum(axis=1))  # (g,)
    outer, diagonal = w[:, :, None] * w[:, None, :], w[:, :, None] * np.eye(b)
    middle = np.zeros((g, 2 * b, 2 * b))
    middle[:, :b, :b] = (1 - KAPPA) * (diagonal + same * outer * share[:, :, None])
    middle[:, b:, b:] = KAPPA * (diagonal + outer * rest[:, None, None])
    # (I − H E A⁻¹ Eᵀ)⁻¹ H: the same as (H⁻¹ − E A⁻¹ Eᵀ)⁻¹ without inverting H
    core = np.linalg.solve(np.eye(2 * b) - middle @ ee, middle)

    # the new means about the new origin, m_k' − m' = m_k − Eᵀ moved_k, and x_i − m' = Eᵀ moved_x_i
    moved = np.zeros((g, 2 * b, hm.shape[2]))
    moved[np.arange(g)[:, None], np.arange(b), columns] = w * share
    moved[:, b:] = -(w * rest[:, None])[:, :, None]
    moved_x = np.concatenate([np.zeros((g, b, b)), np.eye(b) + (w * rest[:, None])[:, None, :].repeat(b, 1)], 2)
    em_new = em - ee @ moved
    half = core @ em_new
    squares = np.diag(between) - (moved * (em + em_new)).sum(axis=1) + (em_new * half).sum(axis=1)
    return HeldOut(moved_x @ (em_new + ee @ half), squares, left, columns)


def _leave_many(spectrum: Spectrum, points: Points, tau: float) -> HeldOut:
    """One group of so many examples that A' itself (R, R) is smaller than the matrix of what changes."""
    h, columns, w = points.coordinates, points.columns, points.weights
    member = np.zeros(spectrum.counts.shape + w.shape)
    member[columns, np.arange(len(w))] = w
    left = spectrum.counts - member.sum(axis=1)
    left = np.where(left > 1e-9 * spectrum.counts, left, 0.0)
    share, rest = _reciprocal(left)[:, None], _reciprocal(left.sum())
    d = h - spectrum.means[columns]
    s, total = member @ d, w @ h
    within = (d.T * w) @ d + (s * share).T @ s
    every = (h.T * w) @ h + rest * np.outer(total, total)
    a = np.diag(spectrum.values + tau) - (1 - KAPPA) * within - KAPPA * every
    moved = spectrum.means - s * share + rest * total
    solved = np.linalg.solve(a, moved.T)
    return HeldOut((h + rest * total) @ solved, (moved.T * solved).sum(axis=0), left, columns)


def _reciprocal(counts: Floats) -> Floats:
    """1 / n, and 0 where nothing is left."""
    return np.where(counts > 0, 1 / np.where(counts > 0, counts, 1.0), 0.0)
