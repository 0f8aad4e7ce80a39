"""All examples of one fit, read a few rows at a time, because a bundle may contain more than a board's memory can hold.

Pure. Rows are returned on the grid of edge/head/moments.py, in float32, which represents it exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.head.moments import fixed

KEPT = 1 << 24  # numbers, at most, that one step keeps in memory: 64 MB in float32
SMALL = 1 << 22  # numbers up to which the examples themselves are kept
CHUNK = 512  # examples that are calculated with at a time
_PREFIX = 64  # features by which examples are told apart at first
_READ = 128  # examples read at a time: they are float64 for a moment

Rows = NDArray[np.float32] | NDArray[np.float64]
Ints = NDArray[np.int64]


class Matrix(Protocol):
    """Rows of numbers (N, D) that are read only when they are needed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""

    @property
    def ndim(self) -> int:
        """2."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return some rows: by a slice, by their numbers, or by a mask."""


class DesignMatrix:
    """The design matrix of a fit: several matrices of raw embeddings as one on the grid, in any order.

    Args:
        parts: matrices with the same number of columns.
        order: (N,) row numbers, counted through the parts; None to keep the order.
        precise: whether computations with the rows use float64.

    >>> DesignMatrix([np.float32([[3, 4]]), np.float32([[0, 2]])], np.array([1, 0]))[:1].tolist()
    [[0.0, 1.0]]
    """

    def __init__(self, parts: Sequence[Matrix], order: Ints | None = None, *, precise: bool = False) -> None:
        self._parts = parts
        self.dtype = np.dtype(np.float64 if precise else np.float32)
        self._order = np.arange(sum(map(len, parts))) if order is None else order
        self._kept: Rows | None = None
        if len(self) * self.shape[1] <= SMALL:
            self._kept = self._read(self._order)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return (len(self._order), self._parts[0].shape[1])

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: slice | Ints) -> Rows:
        return self._read(self._order[rows]) if self._kept is None else self._kept[rows]

    def _read(self, wanted: Ints) -> Rows:
        found: Rows = np.empty((len(wanted), self.shape[1]), self.dtype)
        first = 0
        for part in self._parts:
            mine = np.flatnonzero((wanted >= first) & (wanted < first + len(part)))
            for some in chunks(len(mine), _READ):
                found[mine[some]] = fixed(part[wanted[mine[some]] - first])
            first += len(part)
        return found

    def ordered(self, order: Ints) -> DesignMatrix:
        """The same rows in another order."""
        return DesignMatrix(self._parts, self._order[order])

    def ranks(self) -> Ints:
        """(N,) the place of each row among all, sorted by their bytes; equal rows share one."""
        place = np.zeros(len(self), np.int64)
        for first in range(0, self.shape[1], _PREFIX):
            tied = np.flatnonzero(np.bincount(place)[place] > 1)
            if not len(tied):
                break
            block = np.empty((len(tied), min(_PREFIX, self.shape[1] - first)), np.float32)
            for some in chunks(len(tied)):
                block[some] = self[tied[some]][:, first : first + _PREFIX]
            _, later = np.unique(block.view(f"V{4 * block.shape[1]}"), return_inverse=True)
            finer = place * (len(self) + 1)
            finer[tied] += later.ravel()
            _, place = np.unique(finer, return_inverse=True)
            place = place.ravel()
        return place


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Cut 0…count into pieces of bounded length.

    >>> list(chunks(600))
    [slice(0, 512, None), slice(512, 600, None)]
    """
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
