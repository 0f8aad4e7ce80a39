"""The fleet's head, and how each device's examples would be classified if that device had never joined.

The head is fitted to the pool's sums, which cover every example. Its parameters (shrinkage, trust, temperature) are
chosen on the sample, by the answers to each device's examples with that device left out. The closed form of
edge/head/leave_out.py leaves out a whole device at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import NotEnough
from edge.head.fit import groups_of
from edge.head.lda import Floats, Ints, Spectrum, spectrum_of_moments
from edge.head.leave_out import leave_out
from edge.head.linear import Head
from edge.head.moments import GRID
from edge.head.tune import METHODS, choose
from export.pool.pool import Device, Factory, Pool
from export.pool.sums import Sums

_METHOD = METHODS["lda"]


@dataclass(frozen=True)
class Fitted:
    """A head, with everything needed to compute left-out answers."""

    head: Head  # the head fitted to all examples of the pool
    spectrum: Spectrum  # the spectrum of the pool's sums
    tau: float  # chosen, as `nu` and `temperature` are
    nu: float
    temperature: float

    def left_out(self, devices: list[Device], together: bool = False) -> Floats:
        """Return the scores that devices' examples would get if their device had never joined.

        Args:
            devices: devices that were added to the pool.
            together: whether to leave out all of them at once, or each on its own.

        Returns:
            (N, C) scores in units of the temperature for all examples, device by device. The score is −inf for a label
            that is gone, and the row is NaN if that is the example's own label.
        """
        columns = self.columns([label for device in devices for label in device.labels])
        owners = np.repeat(np.arange(len(devices)), [len(device) for device in devices])
        rows = np.concatenate([device.rows for device in devices]).astype(np.float32) / np.float32(GRID)
        points = self.spectrum.points(rows, columns, np.ones(len(rows)))
        del rows
        groups = np.zeros(len(columns), np.int64) if together else owners
        return leave_out(self.spectrum, points, groups, self.tau).scores(self.nu) / self.temperature

    def columns(self, labels: list[str]) -> Ints:
        """Return the columns (N,) of N labels."""
        place = {label: column for column, label in enumerate(self.head.labels)}
        return np.array([place[label] for label in labels], np.int64)


def fit(pool: Pool, sums: Sums | None = None) -> Fitted:
    """Fit the head of a pool.

    Args:
        pool: a pool with at least two labels.
        sums: the sums to fit to, which must contain the pool's sample; by default the pool's own.

    Raises:
        NotEnough: there are no examples, or fewer than two labels have examples.
    """
    moments = (sums or pool.sums).moments()
    if len(moments.labels) < 2:
        only = f"only label {moments.labels[0]!r} has" if moments.labels else "no label has"
        raise NotEnough("too-few-labels", f"{only} examples, but two labels are needed; teach more on the devices")
    labels, total = moments.labels, float(moments.counts.sum())
    spectrum = spectrum_of_moments(moments, _METHOD.beta)
    del moments
    rows, names, groups, counted = _sample(pool)
    place = {label: column for column, label in enumerate(labels)}
    columns = np.array([place[name] for name in names], np.int64)
    counts = np.where(counted, total / counted.sum(), 0.0) if counted.any() else np.ones(len(names))
    points = spectrum.points(rows, columns, np.ones(len(names)))
    del rows  # the points hold what is needed of them
    best = choose(spectrum, lambda tau: leave_out(spectrum, points, groups, tau), counts, counts, _METHOD)
    return Fitted(best.head(labels), spectrum, best.shrinkage * spectrum.unit, best.nu, best.temperature)


def _sample(pool: Pool) -> tuple[NDArray[np.float32], list[str], Ints, NDArray[np.bool_]]:
    """Return the examples for choosing parameters: rows, labels, groups to leave out, and which of them count."""
    devices, factory = pool.devices, pool.factory
    theirs = [label for device in devices for label in device.labels]
    names = [*theirs, *factory.labels]
    owners = np.repeat(np.arange(len(devices)), [len(device) for device in devices])
    groups = np.concatenate([owners, len(devices) + _alone(factory)])
    own_count = np.zeros(len(factory.labels), np.bool_) if theirs else ~factory.trained_on
    counted = np.concatenate([np.ones(len(theirs), np.bool_), own_count])
    # float32 represents multiples of 2⁻¹⁷ up to one exactly
    rows = np.empty((len(names), pool.sums.features), np.float32)
    start = 0
    for part in (*(device.rows for device in devices), factory.rows()):
        np.divide(part, np.float32(GRID), out=rows[start : start + len(part)], casting="unsafe")
        start += len(part)
    return rows, names, groups, counted


def _alone(factory: Factory) -> Ints:
    """Renumber the factory's groups from 0; each single photo gets its own group."""
    return groups_of([None if group < 0 else str(group) for group in factory.groups.tolist()])
