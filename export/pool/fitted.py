"""The fleet's head, and what each device's examples would be answered had that device never joined.

The head is fitted to the pool's sums, which hold every example; what has to be chosen (shrinkage, trust, temperature)
is chosen on the sample, by the answers to each device's examples with that device left out. The closed form of
edge/head/leave_out.py takes a whole device away at once.
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
    """A head with what its left-out answers need.

    Args:
        head: the head of all examples of the pool.
        spectrum: of their sums.
        tau, nu, temperature: as they were chosen.
    """

    head: Head
    spectrum: Spectrum
    tau: float
    nu: float
    temperature: float

    def left_out(self, devices: list[Device], together: bool = False) -> Floats:
        """Give the scores of devices' examples had their device never joined.

        Args:
            devices: some that were added to the pool.
            together: whether all of them are left out at once; else each for itself.

        Returns:
            (N, C) scores in units of the temperature, of the examples of all devices, one device after another; −inf
            for a label that is gone, a row of NaN where it is the example's own.
        """
        columns = self.columns([label for device in devices for label in device.labels])
        owners = np.repeat(np.arange(len(devices)), [len(device) for device in devices])
        rows = np.concatenate([device.rows for device in devices]).astype(np.float32) / np.float32(GRID)
        points = self.spectrum.points(rows, columns, np.ones(len(rows)))
        groups = np.zeros(len(rows), np.int64) if together else owners
        return leave_out(self.spectrum, points, groups, self.tau).scores(self.nu) / self.temperature

    def columns(self, labels: list[str]) -> Ints:
        """(N,) the columns of N labels."""
        place = {label: column for column, label in enumerate(self.head.labels)}
        return np.array([place[label] for label in labels], np.int64)


def fit(pool: Pool, sums: Sums | None = None) -> Fitted:
    """Fit the head of a pool.

    Args:
        pool: with at least two labels.
        sums: what to fit it to; the pool's own, unless others are given in which its sample is.

    Raises:
        NotEnough: there are no examples, or fewer than two labels have some.
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
    best = choose(spectrum, lambda tau: leave_out(spectrum, points, groups, tau), counts, counts, _METHOD)
    return Fitted(best.head(labels), spectrum, best.shrinkage * spectrum.unit, best.nu, best.temperature)


def _sample(pool: Pool) -> tuple[NDArray[np.float32], list[str], Ints, NDArray[np.bool_]]:
    """The examples that choices are made on: rows, labels, the groups to leave out, and which of them count."""
    devices, factory = pool.devices, pool.factory
    parts = [device.rows for device in devices]
    names = [label for device in devices for label in device.labels]
    groups = np.repeat(np.arange(len(devices)), [len(device) for device in devices])
    counted = np.ones(len(names), np.bool_)
    if factory is not None:
        parts.append(factory.rows())
        names += factory.labels
        groups = np.concatenate([groups, len(devices) + _alone(factory)])
        counts_here = np.zeros(len(factory.labels), np.bool_) if len(counted) else ~factory.trained_on
        counted = np.concatenate([counted, counts_here])
    # float32 holds a whole number of 2⁻¹⁷ up to one exactly
    rows = np.empty((len(names), pool.sums.features), np.float32)
    start = 0
    for part in parts:
        np.divide(part, np.float32(GRID), out=rows[start : start + len(part)], casting="unsafe")
        start += len(part)
    return rows, names, groups, counted


def _alone(factory: Factory) -> Ints:
    """The factory's groups as numbers from 0 on; a photo that stands alone has one of its own."""
    return groups_of([None if group < 0 else str(group) for group in factory.groups.tolist()])
