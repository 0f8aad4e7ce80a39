"""The pool: the examples of all devices, as exact sums plus a sample of whole devices that fits into memory.

Devices are added one after another, in any order, and only the devices of the sample are kept: those whose names have
the smallest hashes. As long as all examples together have at most `ALL` numbers, the sample contains every device.
Beyond that, the sums still cover every example, but accuracy and gate are computed from the sample. The sample depends
only on which devices there are.
"""

from __future__ import annotations

import bisect
import hashlib
import mmap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import MAX_LABELS
from edge.errors import BundleError
from edge.head.moments import GRID, fixed
from export.pool.sums import Sums, Whole

ALL = 1 << 24  # limit in numbers up to which every example is kept: 13,000 examples of 1,280
SAMPLE = 1 << 22  # limit in numbers of the sample beyond that


@dataclass(frozen=True)
class Device:
    """The examples of one device that count."""

    name: str  # the device's id
    rows: Whole  # (N, D) embeddings in units of 2⁻¹⁷
    labels: tuple[str, ...]  # N labels
    sessions: tuple[str | None, ...]  # N sessions or None; examples of one session were taken together
    images: NDArray[np.uint8]  # (N, 32) uint8, SHA-256 of the pictures

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Factory:
    """The workstation's own examples, of the bundle that the pool starts from."""

    embeddings: NDArray[np.float32]  # (N, D) float32, raw
    labels: tuple[str, ...]  # N labels
    trained_on: NDArray[np.bool_]  # (N,), whether the backbone was adapted on it; no accuracy is measured on these
    groups: NDArray[np.int32]  # (N,), equal for photos that are left out together, −1 for a single photo

    @classmethod
    def empty(cls, features: int) -> Factory:
        """No examples of this dimension."""
        return cls(np.zeros((0, features), np.float32), (), np.zeros(0, np.bool_), np.zeros(0, np.int32))

    def rows(self) -> Whole:
        """The embeddings (N, D) scaled to length one, in units of 2⁻¹⁷."""
        return whole(self.embeddings)


def whole(embeddings: NDArray[np.float32]) -> Whole:
    """Scale raw embeddings (N, D) to length one, and return them in units of 2⁻¹⁷.

    >>> whole(np.array([[3.0, 4.0]], np.float32)).tolist()
    [[78643, 104858]]
    """
    return np.asarray(np.rint(fixed(embeddings) * GRID), np.int32)


class Pool:
    """All devices' examples.

    Args:
        features: D, the dimension of the embeddings.
        factory: the workstation's own examples, which are always kept.

    >>> row, image = np.array([[131072, 0]], np.int32), np.zeros((1, 32), np.uint8)
    >>> pool = Pool(2)
    >>> pool.add(Device("kitchen", row, ("cup",), (None,), image))
    >>> pool.sums.counts, [device.name for device in pool.devices], pool.everything
    ({'cup': 1}, ['kitchen'], True)
    """

    def __init__(self, features: int, factory: Factory | None = None) -> None:
        self.sums = Sums(features)
        self.factory = factory or Factory.empty(features)
        self.device_count = 0
        self.device_examples = 0
        self.using = Counter[str]()  # the number of devices that use each label
        self.together: set[frozenset[str]] = set()  # the sets of labels used on a device
        self._kept: list[tuple[bytes, str, Device]] = []  # the sample, sorted by hash
        self._rows = 0
        self._most = ALL // features
        self._beyond: bytes | None = None  # the smallest hash that is not kept
        self.sums.add(self.factory.rows(), self.factory.labels)

    @property
    def everything(self) -> bool:
        """Whether the sample contains all devices."""
        return self._beyond is None

    @property
    def devices(self) -> list[Device]:
        """The devices of the sample, sorted by name."""
        return sorted((device for _, _, device in self._kept), key=lambda device: device.name)

    def add(self, device: Device) -> None:
        """Add a device that was not added before.

        Raises:
            BundleError: the embeddings come from another backbone, or there are too many examples or labels.
        """
        self.sums.add(device.rows, device.labels)
        if len(self.sums.counts) > MAX_LABELS:
            raise BundleError(
                "limit-exceeded",
                f"the devices use {len(self.sums.counts)} labels, but a bundle holds {MAX_LABELS}; join some with "
                "--labels FILE",
            )
        self.device_count += 1
        self.device_examples += len(device)
        labels = frozenset(device.labels)
        self.using.update(labels)
        self.together.add(labels)
        place = _place(device.name)
        if self._beyond is not None and place >= self._beyond:
            return
        bisect.insort(self._kept, (place, device.name, replace(device, rows=_apart(device.rows))))
        self._rows += len(device)
        while self._rows > self._most:
            self._most = SAMPLE // self.sums.features
            self._beyond, _, dropped = self._kept.pop()
            self._rows -= len(dropped)


def _apart(rows: Whole) -> Whole:
    """Copy rows into memory of their own, which the system gets back when they are dropped; the heap would keep it."""
    found = np.frombuffer(mmap.mmap(-1, max(rows.nbytes, 1)), rows.dtype, rows.size).reshape(rows.shape)
    found[:] = rows
    return found


def by_hash(names: Sequence[str]) -> list[str]:
    """Sort devices in a pseudo-random order that is always the same, by a hash of their names."""
    return sorted(names, key=lambda name: (_place(name), name))


def _place(name: str) -> bytes:
    return hashlib.sha256(b"edge fleet sample\0" + name.encode()).digest()
