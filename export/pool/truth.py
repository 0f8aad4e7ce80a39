"""Judges a fleet device by device: which ones gain, which ones harm others, and which ones use labels differently.

Every device is judged by how its own examples would be classified if it had never joined, in closed form:

- *fleet*: how many of them the others' head classifies correctly; *alone*: how many the device's own head does, fitted
  only to its own examples, leaving out one session at a time. The difference is what the device gains by joining.
- *usage*: labels used differently, by export/pool/usage.py.
- *harm*: how much better other devices would be classified without this one. For several other devices, the
  *witnesses*, the loss on their examples is computed twice: with the witness left out, and with both left out. If the
  difference is consistently above 0 over the witnesses, by more than chance, and large enough to matter, the device
  harms others. Each pair costs a solve, so only the most suspicious devices are tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.errors import NotEnough
from edge.head.fit import Examples
from edge.head.fit import fit as fit_alone
from edge.head.lda import Floats
from edge.head.linear import softmax
from edge.head.moments import GRID
from edge.metrics.evaluate import SHARED, wilson
from export.pool import usage
from export.pool.chance import mean_z, normal_tail
from export.pool.fitted import Fitted
from export.pool.pool import Device, by_hash
from export.pool.usage import SURE, Different, Use

TRIED = 200  # devices whose harm is measured, the most suspicious first
WITNESSES = 16  # devices that each of them is tested on
_TOGETHER = 4096  # examples judged at a time
LEAST_HARM = 0.01  # nats per example: smaller harm does not matter, however significant it is
_LEAST = 1e-6  # smallest probability: one confident wrong answer must not outweigh a hundred others

Bools = NDArray[np.bool_]
Read = Callable[[Sequence[str]], Iterable[Device]]


@dataclass(frozen=True)
class Harm:
    """How much better other devices are classified without a device."""

    loss: float  # mean log-loss on the witnesses' examples with the device, minus that without it; positive means harm
    points: float  # the difference in accuracy, as a fraction; positive if more answers are correct without the device
    chance: float  # the probability that a harmless device looks this harmful by chance in a fleet of this size

    @property
    def counts(self) -> bool:
        """Whether the harm is significant and large enough to matter."""
        return self.chance < SURE and self.loss >= LEAST_HARM


@dataclass(frozen=True)
class Judged:
    """The measurements of one device."""

    device: str  # the device's id
    examples: int  # the number of its examples that count
    measured: int  # the number of these whose label other devices use as well
    right: int  # the number of measured examples that the others' head classifies correctly
    # accuracy of the device's own head, leaving out one session at a time, on the examples that both heads could be
    # measured on; None if there are none, or if it was not requested
    alone: float | None = None
    gain: float | None = None  # accuracy of the others' head on these examples, minus `alone`; None without it
    uses: tuple[Use, ...] = ()  # how the device uses each label that others use as well
    different: tuple[Different, ...] = ()  # the labels that the device uses differently
    chance: float = 1.0  # the probability that all its labels together look this different by chance
    harm: Harm | None = None  # the harm to other devices; None if it was not tested

    @property
    def fleet(self) -> float | None:
        """Accuracy of the others' head on the measured examples."""
        return self.right / self.measured if self.measured else None

    @property
    def suspicious(self) -> bool:
        """Whether the device uses its labels differently or harms others, by more than chance."""
        return bool(self.different) or self.chance < SURE or (self.harm is not None and self.harm.counts)

    @property
    def _order(self) -> tuple[bool, float, float, str]:
        harmful = [self.harm.chance] if self.harm and self.harm.counts else []
        chances = [self.chance, *(one.chance for one in self.different), *harmful]
        return not self.suspicious, min(chances), self.fleet if self.fleet is not None else 1.0, self.device


@dataclass(frozen=True)
class Accuracy:
    """Fraction of examples classified correctly by a head that never saw their device, with its 95 % interval.

    Examples of one device tend to be right or wrong together, so they count for less than independent ones; how much
    less is estimated from how accuracy varies between devices.
    """

    accuracy: float
    interval: tuple[float, float]
    examples: int
    devices: int


def judge(fitted: Fitted, devices: Iterable[Device], read: Read, alone: Callable[[str], bool]) -> list[Judged]:
    """Judge all devices; the most suspicious ones come first.

    Args:
        fitted: the head of a pool.
        devices: all devices of that pool, one after another; none is kept in memory.
        read: returns some of the devices again, by name.
        alone: takes a device's name and returns whether to fit its own head.
    """
    judged: list[Judged] = []
    for part in batches(devices):
        scores = fitted.left_out(part)
        start = 0
        for device in part:
            own = scores[start : start + len(device)]
            start += len(device)
            columns = fitted.columns(list(device.labels))
            measured = _measured(own)
            right = measured & (np.where(np.isnan(own), -np.inf, own).argmax(axis=1) == columns)
            uses = tuple(usage.uses(own, columns, fitted.head.labels))
            one = Judged(device.name, len(device), int(measured.sum()), int(right.sum()), uses=uses)
            judged.append(_beside_alone(one, device, measured, right) if alone(device.name) else one)
    compared = usage.compare([one.uses for one in judged])
    judged = [
        replace(one, different=beside.different, chance=beside.chance)
        for one, beside in zip(judged, compared, strict=True)
    ]
    judged.sort(key=lambda one: one._order)
    return sorted(_harmful(fitted, judged, read), key=lambda one: one._order)


def accuracy(judged: Sequence[Judged]) -> Accuracy | None:
    """Return a fleet's accuracy over all examples, leaving out each device; None if none can be measured."""
    counts = np.array([one.measured for one in judged], np.float64)
    rights = np.array([one.right for one in judged], np.float64)
    total, right = counts.sum(), rights.sum()
    if not total:
        return None
    share = right / total
    devices = int((counts > 0).sum())
    worth = SHARED
    if devices > 1:
        spread = devices / (devices - 1) * ((rights - share * counts) ** 2).sum() / total**2
        worth = min(worth, share * (1 - share) / total / spread) if spread > 0 else worth
    return Accuracy(float(share), wilson(int(right), int(total), max(worth, devices / total)), int(total), devices)


def batches(devices: Iterable[Device]) -> Iterator[list[Device]]:
    """Yield devices in batches of a good size for one matrix product."""
    part: list[Device] = []
    for device in devices:
        part.append(device)
        if sum(map(len, part)) >= _TOGETHER:
            yield part
            part = []
    if part:
        yield part


def _beside_alone(one: Judged, device: Device, measured: Bools, right: Bools) -> Judged:
    """Add the accuracy of the device's own head, on the examples that both heads can be measured on."""
    try:
        loo = fit_alone(Examples((device.rows / GRID).astype(np.float32), device.labels, device.sessions)).loo
    except NotEnough:  # the device has only one label
        return one
    names = sorted(set(device.labels))
    columns = np.array([names.index(label) for label in device.labels])
    both: Bools = measured & np.isfinite(loo).all(axis=1)
    if not both.any():
        return one
    alone = float((loo.argmax(axis=1) == columns)[both].mean())
    return replace(one, alone=alone, gain=float(right[both].mean()) - alone)


def _harmful(fitted: Fitted, judged: Sequence[Judged], read: Read) -> list[Judged]:
    """Measure the harm of the most suspicious devices."""
    tried = [one.device for one in judged if one.examples][:TRIED]
    names = by_hash([one.device for one in judged if one.measured > 1])[: WITNESSES + 1]
    if len(names) < 3:
        return list(judged)
    witnesses = list(read(names))
    before = {one.name: _loss(fitted.left_out([one]), fitted, one) for one in witnesses}
    found = {}
    for device in read(tried):
        losses, rights = [], []
        for witness in witnesses:
            if witness.name == device.name:
                continue
            after = _loss(fitted.left_out([witness, device], together=True)[: len(witness)], fitted, witness)
            both = np.isfinite(after[0]) & np.isfinite(before[witness.name][0])
            if both.any():
                losses.append(float((before[witness.name][0] - after[0])[both].mean()))
                rights.append(float((after[1] - before[witness.name][1])[both].mean()))
        chance = min(1.0, len(tried) * normal_tail(max(mean_z(np.array(losses)), 0.0)))
        if losses:
            found[device.name] = Harm(float(np.mean(losses)), float(np.mean(rights)), chance)
    return [replace(one, harm=found.get(one.device)) for one in judged]


def _loss(scores: Floats, fitted: Fitted, device: Device) -> tuple[Floats, Floats]:
    """Return the log-losses (N,) of a device's examples, NaN if not measured, and (N,) with 1.0 for correct answers."""
    columns = fitted.columns(list(device.labels))
    able = _measured(scores)
    probabilities = softmax(np.where(able[:, None], scores, 0.0))
    own = probabilities[np.arange(len(columns)), columns].astype(np.float64)
    right = (probabilities.argmax(axis=1) == columns).astype(np.float64)
    return np.where(able, -np.log(np.maximum(own, _LEAST)), np.nan), right


def _measured(scores: Floats) -> Bools:
    """Return a mask (N,) of the examples whose label other devices use as well."""
    return np.asarray(~np.isnan(scores).any(axis=1))
