"""Moments: counts, sums and Gram matrix of labelled embeddings, exact in any order.

Embeddings are scaled to length one and rounded to multiples of 2⁻¹⁷, far below what a backbone can tell apart. Products
are then multiples of 2⁻³⁴, and as long as there are fewer than 2¹⁹ = 524,288 examples every sum of them is a float64
without any rounding. So addition has no order, merging two devices gives byte for byte the moments of the pooled
examples. Beyond that, as for a fleet, export/pool/sums.py sums whole numbers and rounds each total once.

With n_c, m_c the count and mean of label c, N and m those of all, the scatter that the head needs is::

    T = Σ_i (x_i − m)(x_i − m)ᵀ          total        = gram − N m mᵀ
    W = Σ_c Σ_{i∈c} (x_i − m_c)(…)ᵀ      within       = gram − Σ_c n_c m_c m_cᵀ
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.errors import BundleError, LabelError, NotEnough
from edge.head.linear import unit

GRID = float(1 << 17)
_FIRST = 8  # numbers of a row that are looked at first
LIMIT = 1 << 19  # examples, beyond which sums of products would round

Floats = NDArray[np.float64]


def fixed(embeddings: ArrayLike) -> Floats:
    """Scale raw embeddings (N, D) to length one and round them to the grid: float64, whose products sum exactly.

    What came out of it once is left as it is: an embedding that is sent on the grid is the same where it arrives.

    >>> once = fixed([[3.0, 4.0], [0.1, 7.0]])
    >>> bool((fixed(once.astype(np.float32)) == once).all())
    True
    """
    rows = np.asarray(embeddings)
    found = np.asarray(np.rint(unit(rows) * GRID) / GRID, np.float64)
    there = np.flatnonzero(_whole(rows[:, :_FIRST]))  # nearly none of raw embeddings
    there = there[_whole(rows[there])]
    kept = rows[there].astype(np.float64)
    round_off = np.sqrt(rows.shape[1]) / GRID  # of the length: half a step in each number would be half of it
    near = np.abs(np.sqrt((kept**2).sum(axis=1)) - 1) <= round_off
    found[there[near]] = kept[near]
    return found


def _whole(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows consist of numbers on the grid."""
    with np.errstate(over="ignore"):
        steps = rows.astype(np.float64) * GRID
    return np.asarray((steps == np.rint(steps)).all(axis=1))


@dataclass(frozen=True)
class Moments:
    """Counts, sums and Gram matrix of labelled embeddings.

    >>> here = Moments.of([[3.0, 4.0]], ["cat"])
    >>> there = Moments.of([[0.0, 2.0], [1.0, 0.0]], ["dog", "cat"])
    >>> pooled = here + there
    >>> pooled.labels, pooled.counts.tolist()
    (('cat', 'dog'), [2.0, 1.0])
    """

    labels: tuple[str, ...]  # C names, sorted
    counts: Floats  # (C,) float64, whole numbers of examples
    sums: Floats  # (C, D) float64
    gram: Floats  # (D, D) float64, the sum of x xᵀ over all labels

    @classmethod
    def of(cls, embeddings: ArrayLike, labels: Sequence[str]) -> Moments:
        """Compute the moments of raw embeddings (N, D) with their N names.

        Raises:
            LabelError: the numbers of names and embeddings differ, or a name is empty.
            NotEnough: there is no example.
        """
        rows = fixed(embeddings)
        names, columns = indices(labels, len(rows))
        member = np.zeros((len(names), len(rows)))
        member[columns, np.arange(len(rows))] = 1.0
        return _exact(cls(names, member.sum(axis=1), member @ rows, rows.T @ rows))

    @property
    def examples(self) -> int:
        """N, how many examples were counted."""
        return int(self.counts.sum())

    @property
    def means(self) -> Floats:
        """(C, D) the mean of every label."""
        return self.sums / self.counts[:, None]

    @property
    def mean(self) -> Floats:
        """(D,) the mean of all examples."""
        return np.asarray(self.sums.sum(axis=0) / self.counts.sum())

    def scatter(self, kappa: float) -> Floats:
        """(D, D) scatter (1 − κ) W + κ T: within the labels for κ = 0, about the mean of all for κ = 1."""
        own = self.sums * np.sqrt((1 - kappa) / self.counts)[:, None]
        every = self.mean * np.sqrt(kappa * self.counts.sum())
        both = np.vstack([own, every])
        scatter: Floats = both.T @ both
        return np.subtract(self.gram, scatter, out=scatter)

    def __add__(self, other: Moments) -> Moments:
        """Merge: the moments of both devices' examples together.

        Raises:
            BundleError: the backbones differ, or there are more examples than can be summed without rounding.
        """
        if self.gram.shape != other.gram.shape:
            raise BundleError(
                "embeddings-mismatch",
                f"moments of {len(self.gram)} and {len(other.gram)} features cannot be combined; use one "
                "backbone for both",
            )
        names = tuple(sorted({*self.labels, *other.labels}))
        counts, sums = np.zeros(len(names)), np.zeros((len(names), len(self.gram)))
        for part in (self, other):
            place = [names.index(label) for label in part.labels]
            counts[place] += part.counts
            sums[place] += part.sums
        return _exact(Moments(names, counts, sums, self.gram + other.gram))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Moments):
            return NotImplemented
        pairs = ((self.counts, other.counts), (self.sums, other.sums), (self.gram, other.gram))
        return self.labels == other.labels and all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]


def _exact(moments: Moments) -> Moments:
    """Refuse moments of so many examples that their sums may have been rounded."""
    if moments.counts.sum() > LIMIT:
        raise BundleError(
            "limit-exceeded", f"there are {moments.examples} examples, but the limit is {LIMIT}; forget some"
        )
    return moments


def indices(labels: Sequence[str], examples: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Turn N names into the sorted distinct names and N columns.

    >>> names, columns = indices(["dog", "cat", "dog"], 3)
    >>> names, columns.tolist()
    (('cat', 'dog'), [1, 0, 1])
    """
    if not examples:
        raise NotEnough("too-few-examples", "there are no examples; teach some")
    if len(labels) != examples:
        raise LabelError(
            "labels-mismatch", f"there are {examples} embeddings but {len(labels)} labels; give one label for each"
        )
    names = tuple(sorted(set(labels)))
    if "" in names:
        raise LabelError("label-invalid", "a label is empty; give every example a label")
    columns = {name: column for column, name in enumerate(names)}
    return names, np.array([columns[name] for name in labels], np.int64)
