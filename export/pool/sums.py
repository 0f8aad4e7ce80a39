"""Exact moments of up to 2²⁹ examples: integers, so the order of adding does not matter.

A contribution contains embeddings of length one as integer multiples k of 2⁻¹⁷, |k| ≤ 2¹⁷. A product of two of them is
an integer multiple of 2⁻³⁴, of at most 2³⁴ units. Therefore

- a sum of up to 2¹⁹ products stays within 2⁵³: every partial sum is a float64 without rounding, in whatever order the
  matrix product adds. A chunk is smaller than that.
- a sum of fewer than 2²⁹ = 536,870,912 products stays within 2⁶³: totals are int64, which add exactly.

A head is fitted to moments in float64: each total is rounded once, at the end, so they depend only on the
totals. Up to 2¹⁹ examples nothing is rounded, and they are byte for byte `Moments.of` of the pooled examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, LabelError
from edge.head.moments import GRID, Moments

LIMIT = (1 << 29) - 1  # examples
MOST = 1 << 17  # |k|: an embedding of length one has no larger number
CHUNK = 1024  # examples whose products are summed at a time; anything up to 2¹⁹ is exact

Whole = NDArray[np.int32]
Totals = NDArray[np.int64]


class Sums:
    """Counts, sums and Gram matrix of labelled embeddings, as integers.

    Args:
        features: D, the dimension of the embeddings.

    >>> sums = Sums(2)
    >>> sums.add(np.array([[131072, 0], [0, 131072]], np.int32), ["cat", "dog"])
    >>> sums.add(np.array([[78643, 104858]], np.int32), ["cat"])
    >>> sums.counts
    {'cat': 2, 'dog': 1}
    """

    def __init__(self, features: int) -> None:
        self.counts: dict[str, int] = {}
        self._sums: dict[str, Totals] = {}  # (D,) for each label, in units of 2⁻¹⁷
        self._total = np.zeros((features, features), np.int64)  # in units of 2⁻³⁴, without the waiting examples
        self._waiting = np.empty((0, features))  # examples whose products are summed once there are enough
        self._waits = 0

    @property
    def examples(self) -> int:
        """How many examples were added."""
        return sum(self.counts.values())

    @property
    def features(self) -> int:
        """D, the dimension of the embeddings."""
        return len(self._total)

    @property
    def _gram(self) -> Totals:
        """The sum of all products (D, D), in units of 2⁻³⁴."""
        rows, self._waits = self._waiting[: self._waits], 0
        self._waiting = self._waiting[:0].copy()  # the next ones get memory anew, so that a fit need not share it
        if len(rows):
            self._total += (rows.T @ rows).astype(np.int64)
        return self._total

    def add(self, rows: Whole, labels: Sequence[str]) -> None:
        """Add examples (N, D), in units of 2⁻¹⁷, with their N labels.

        Raises:
            BundleError: the embeddings have another dimension or are not of length one, or there are too many.
            LabelError: the numbers of labels and examples differ.
        """
        self._check(rows, labels)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            if self._waits + len(part) > CHUNK:
                _ = self._gram
            if not len(self._waiting):
                self._waiting = np.empty((CHUNK, self.features))
            self._waiting[self._waits : self._waits + len(part)] = part
            self._waits += len(part)
        names = np.array(labels, np.object_)
        for label in sorted(set(labels)):
            own = rows[names == label]
            self.counts[label] = self.counts.get(label, 0) + len(own)
            self._sums[label] = self._sums.get(label, 0) + own.sum(axis=0, dtype=np.int64)

    def _check(self, rows: Whole, labels: Sequence[str]) -> None:
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise BundleError(
                "embeddings-mismatch",
                f"embeddings have shape {rows.shape}, but those summed so far have {self.features} features; "
                "use one backbone for all",
            )
        if len(labels) != len(rows):
            raise LabelError(
                "labels-mismatch", f"there are {len(rows)} embeddings but {len(labels)} labels; give one for each"
            )
        if len(rows) and max(int(rows.max()), -int(rows.min())) > MOST:
            raise BundleError(
                "embeddings-mismatch",
                f"an embedding contains {max(int(rows.max()), -int(rows.min()))} units, but at most {MOST} are "
                "possible; its length must be one",
            )
        if self.examples + len(rows) > LIMIT:
            raise BundleError(
                "limit-exceeded",
                f"there are {self.examples + len(rows)} examples, but the limit is {LIMIT}; merge fewer of each device",
            )

    def moments(self) -> Moments:
        """Return the moments that a head is fitted to, each number rounded once."""
        labels = tuple(sorted(self.counts))
        counts = np.array([self.counts[label] for label in labels], np.float64)
        sums = np.array([self._sums[label] for label in labels], np.float64).reshape(len(labels), self.features)
        return Moments(labels, counts, sums / GRID, self._gram.astype(np.float64) / GRID**2)
