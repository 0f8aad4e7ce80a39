"""Finds labels that a device uses differently, as when its "cup" looks like others' "mug", by a significance test.

The score of a label is linear in the embedding, so the mean score of a device's examples of a label is the score of
their mean, compared with the means of all other devices (this device left out). Its *margin* is the score of its own
label less the best of the others: negative where the device's "cup" is nearer to the "mug" of others than to their
"cup". How far margins scatter from device to device is taken from the devices themselves::

    margin of a device = middle of the label + between devices (σ_b) + chance of its n pictures (σ_w / √n)

A device is reported if its margin is negative and so far below the middle that chance would cause this, over all
devices and labels together, in fewer than one of a hundred fleets. The middle and σ_b are a median and a median
deviation (of the values below it), so that a bad device cannot hide itself. The deviations of all of a device's labels
are also combined (Stouffer's method), because a device that has exchanged two labels deviates in both.

Sources: Stouffer et al., "The American Soldier", 1949 (the sum); Bonferroni's bound for many tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.head.lda import Floats, Ints
from export.pool.chance import middle_and_spread, normal_tail, student_z

SURE = 0.01  # probability of accusing any device in a fleet whose devices all agree
FEWEST = 5  # devices that must use a label before any of them can be said to use it differently
PICTURES = 2  # least number of a device's pictures of a label: one odd photo is not enough


@dataclass(frozen=True)
class Use:
    """How one device uses one label, measured with the device left out."""

    label: str
    looks_like: str  # the other label with the highest score
    examples: int  # the number of the device's examples of the label
    margin: float  # mean score of the label minus that of `looks_like`, in units of the temperature
    scatter: float  # variance of the margin between examples; NaN if there is only one example


@dataclass(frozen=True)
class Different:
    """A label that a device uses differently, and the probability of this by chance in a fleet of this size."""

    label: str
    looks_like: str
    examples: int
    chance: float


@dataclass(frozen=True)
class Compared:
    """One device compared with all others: the labels that it uses differently, and the chance for all its labels."""

    different: tuple[Different, ...]
    chance: float


def uses(scores: Floats, columns: Ints, labels: Sequence[str]) -> list[Use]:
    """Measure how a device uses its labels.

    Args:
        scores: (N, C) scores of the device's examples with the device left out; −inf for labels that nobody else has.
        columns: (N,) the columns of the examples' own labels.
        labels: C labels.

    Returns:
        One `Use` for each label that others use as well.
    """
    found = []
    for column in np.unique(columns).tolist():
        own = scores[columns == column]
        own = own[np.isfinite(own[:, column])]
        others = own.copy()
        others[:, column] = -np.inf
        if not len(own) or not np.isfinite(others).any():
            continue
        rival = int(others.mean(axis=0).argmax())
        margins = own[:, column] - own[:, rival]
        scatter = float(margins.var(ddof=1)) if len(own) > 1 else math.nan
        found.append(Use(labels[column], labels[rival], len(own), float(margins.mean()), scatter))
    return found


def compare(fleet: Sequence[Sequence[Use]]) -> list[Compared]:
    """Compare devices with each other.

    Args:
        fleet: for each device, how it uses its labels.

    Returns:
        One `Compared` for each device, in the same order.
    """
    owner = np.repeat(np.arange(len(fleet)), [len(device) for device in fleet])
    z = _deviations([use for device in fleet for use in device])
    tests = max(1, int(np.isfinite(z).sum()))
    found = []
    for number, device in enumerate(fleet):
        own = z[owner == number]
        sure = [
            Different(use.label, use.looks_like, use.examples, chance)
            for use, one in zip(device, own.tolist(), strict=True)
            if use.margin < 0
            and use.examples >= PICTURES
            and math.isfinite(one)
            and (chance := min(1.0, tests * normal_tail(-one))) < SURE
        ]
        measured = own[np.isfinite(own)]
        # only deviations below the middle count: agreeing better than others is not suspicious
        total = float(measured.sum() / math.sqrt(len(measured))) if len(measured) else 0.0
        chance = min(1.0, len(fleet) * normal_tail(-min(total, 0.0)))
        found.append(Compared(tuple(sorted(sure, key=lambda one: one.chance)), chance))
    return found


def _deviations(every: Sequence[Use]) -> Floats:
    """Return each margin's distance (N,) from its label's middle as a normal quantile; NaN if too few use it."""
    names = np.array([use.label for use in every], np.object_)
    margins = np.array([use.margin for use in every])
    counts = np.array([use.examples for use in every], np.float64)
    scatters = np.array([use.scatter for use in every])
    z = np.full(len(every), np.nan)
    for label in sorted(set(names.tolist())):
        mine = names == label
        if mine.sum() < FEWEST:
            continue
        z[mine] = _of_label(margins[mine], counts[mine], scatters[mine])
    return z


def _of_label(margins: Floats, counts: Floats, scatters: Floats) -> NDArray[np.float64]:
    middle, spread = middle_and_spread(margins)
    able = np.isfinite(scatters)
    within = float(np.median(scatters[able])) if able.any() else 0.0
    between = max(0.0, spread**2 - within * float(np.median(1 / counts)))
    error = between + within / counts + 1.57 * spread**2 / len(margins)  # 1.57: variance of a median relative to a mean
    error = np.maximum(error, 1e-12)
    dof = len(margins) - 1
    return np.array([student_z(t, dof) for t in ((margins - middle) / np.sqrt(error)).tolist()])
