"""The scores of every example if its group had never been taught, in closed form.

In the notation of edge/head/lda.py: leave out a group B of examples (one example, or one session) of weight b, b_c of
it in label c. δ, which does not depend on labels, stays. Then ::

    W' = W − Σ_c [ Σ_{B∩c} w d dᵀ + s_c s_cᵀ / (n_c − b_c) ]    d = x − m_c, s_c = Σ_{B∩c} w d
    T' = T − [ Σ_B w h hᵀ + s sᵀ / (N − b) ]                    h = x − m,   s = Σ_B w h
    m_c' = m_c − s_c / (n_c − b_c)

a change of rank 2|B| at most, and A'⁻¹ = A⁻¹ + A⁻¹ Eᵀ (H⁻¹ − E A⁻¹ Eᵀ)⁻¹ E A⁻¹ (Sherman & Morrison 1950, Woodbury
1950), with E the rows d and h, and H the block-diagonal matrix of the brackets.

If a group has so many examples that A' itself is smaller than that, A' is solved directly.

Sources: Sherman & Morrison, "Adjustment of an inverse matrix corresponding to a change in one element of a given
matrix", Ann. Math. Statist. 1950; Woodbury, "Inverting modified matrices", Princeton 1950.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge.head.lda import KAPPA, Floats, Ints, Points, Spectrum
from edge.head.matrix import chunks

_BATCH = 1 << 19  # floats in the largest intermediate array


@dataclass(frozen=True)
class HeldOut:
    """Examples measured against the labels' means without the examples' own groups."""

    cross: Floats  # (n, C) products (x − m')ᵀ A'⁻¹ (m_k' − m')
    squares: Floats  # (n, C) products (m_k' − m')ᵀ A'⁻¹ (m_k' − m')
    left: Floats  # (n, C) the remaining counts n_k' of the labels
    columns: Ints  # (n,) the examples' own labels

    def take(self, rows: slice) -> HeldOut:
        """Some of the examples."""
        return HeldOut(self.cross[rows], self.squares[rows], self.left[rows], self.columns[rows])

    def scores(self, nu: float) -> Floats:
        """(n, C) held-out scores; −inf for a label without other examples, a row of NaN if it is the example's own."""
        scores = np.empty(self.cross.shape)
        for rows in chunks(len(scores)):
            left = self.left[rows]
            trust = left / np.where(left > 0, left + nu, 1.0)
            scores[rows] = np.where(left > 0, trust * (self.cross[rows] - 0.5 * trust * self.squares[rows]), -np.inf)
        scores[self.left[np.arange(len(scores)), self.columns] <= 0] = np.nan
        return scores


def leave_out(spectrum: Spectrum, points: Points, groups: Ints, tau: float) -> HeldOut:
    """Measure every example against the labels as if its group had never been taught.

    Args:
        spectrum: the spectrum of all examples; the points must be among them or have weight 0.
        points: n examples; those of weight 0 were not taught, so nothing is left out for them.
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


def _blocks(groups: Ints, width: int) -> Iterator[Ints]:
    """Yield groups of equal size b together, as (g, b) row numbers, in blocks that keep the arrays small."""
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
    coordinates = points.coordinates[:]
    h = coordinates.reshape(g, b, -1)
    hm = (coordinates @ scaled.T).reshape(g, b, -1)  # (g, b, C)
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
    """Leave out one group with so many examples that A' itself (R, R) is smaller than the matrix of the change."""
    h, columns, w = points.coordinates[:], points.columns, points.weights
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
