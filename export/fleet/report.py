"""`edge-export fleet status`: every device of a store, the suspicious ones first, with the reason.

Two passes over the contributions: the first makes the pool and its head, the second judges each device by what its
examples would be answered had it never joined (export/pool/truth.py). Undone devices and refused contributions are
listed as well, and have no figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.bundle import archive
from edge.bundle.archive import Bundle
from edge.errors import NotEnough
from edge.fleet.header import Serves
from edge.fleet.remote import Remote
from export.fleet import synonyms
from export.fleet.gather import Contributions, Refused, Rules
from export.fleet.merge import Step, factory_of
from export.fleet.synonyms import Proposal
from export.pool.fitted import fit
from export.pool.pool import Pool
from export.pool.truth import Accuracy, Judged, accuracy, judge
from export.pool.usage import Different

ALONE = 1000  # devices up to which each is fitted a head of its own


@dataclass(frozen=True)
class Line:
    """One device.

    Args:
        device: its id.
        seen: when the store got its newest contribution.
        examples: of each label, as its contribution says; empty if that cannot be read.
        serves: what it serves, and what it said of the last release; None if that cannot be read.
        signed: whether its contribution has a signature beside it.
        judged: what is known of it; None where nothing can be measured.
        undone: since when it is undone; "" if it is not.
        refused: why its contribution does not count; None if it does.
        doubled: whether two contributions have one sequence: two boxes share the id.
    """

    device: str
    seen: datetime
    examples: dict[str, int]
    serves: Serves | None
    signed: bool
    judged: Judged | None
    undone: str
    refused: Refused | None
    doubled: bool

    @property
    def why(self) -> str:
        """Why it stands where it does, in words; "" where nothing is wrong with it."""
        if self.undone:
            return f"undone on {self.undone[:10]}"
        if self.refused is not None:
            return self.refused.why
        reasons = [f"uses {one.label!r} as others use {one.looks_like!r}" for one in _different(self.judged)]
        if self.judged and self.judged.suspicious and not reasons:
            harm = self.judged.harm
            worse = harm is not None and harm.counts and harm.chance < self.judged.chance
            reasons = ["others are answered better without it" if worse else "uses its labels unlike the others"]
        return "; ".join([*reasons, *["two boxes share its id"] * self.doubled])


@dataclass(frozen=True)
class Report:
    """A fleet.

    Args:
        lines: the devices, suspicious ones first.
        accuracy: of the fleet's head, each device left out; None where it cannot be measured.
        proposals: labels that may mean the same.
        unmeasured: why no device was judged; "" if they were.
    """

    lines: tuple[Line, ...]
    accuracy: Accuracy | None
    proposals: tuple[Proposal, ...]
    unmeasured: str


def report(remote: Remote, base: Path, rules: Callable[[Bundle], Rules], step: Step) -> Report:
    """Look at a fleet.

    Args:
        remote: the store.
        base: the bundle that the devices run.
        rules: what counts, by the base.
        step: called after each contribution with how many were read, and how many there are, once for each pass.

    Raises:
        BundleError: the base cannot be read.
        StoreError: the store cannot be read.
    """
    opened = archive.read(base)
    told = rules(opened)
    contributions = Contributions(remote, told)
    pool, devices = Pool(told.backbone.dimension, factory_of(opened, told)), dict[str, int]()
    for number, device in enumerate(contributions.devices(), 1):
        pool.add(device)
        step(number, len(contributions.listed))
        for label in set(device.labels):
            devices[label] = devices.get(label, 0) + 1
    step(len(contributions.listed), len(contributions.listed))
    judged: list[Judged] = []
    unmeasured, proposals = "", list[Proposal]()
    try:
        fitted = fit(pool)
    except NotEnough as error:
        unmeasured = str(error)
    else:
        sampled = {device.name for device in pool.devices[:ALONE]}
        judged = judge(fitted, contributions.devices(), contributions.devices, lambda name: name in sampled)
        proposals = synonyms.propose(devices, pool.together, _nearer(judged))
    return Report(_lines(contributions, judged), accuracy(judged), tuple(proposals), unmeasured)


def _nearer(judged: Sequence[Judged]) -> dict[tuple[str, str], tuple[int, int]]:
    """For each pair of labels that a device confuses: how many devices look like their own one, and how many do not."""
    using, confused = Counter[str](), Counter[tuple[str, str]]()
    for one in judged:
        for use in one.uses:
            using[use.label] += 1
            if use.margin < 0:
                a, b = sorted((use.label, use.looks_like))
                confused[a, b] += 1
    return {(a, b): (using[a] + using[b] - other, other) for (a, b), other in confused.items()}


def _different(judged: Judged | None) -> tuple[Different, ...]:
    return judged.different if judged else ()


def _lines(contributions: Contributions, judged: Sequence[Judged]) -> tuple[Line, ...]:
    """All devices: the suspicious ones, the refused ones, the others, those that are undone."""
    place = {one.device: number for number, one in enumerate(judged)}
    lines = []
    for device, listed in contributions.listed.items():
        about, number = contributions.told.get(device), place.get(device)
        order = contributions.undone.get(device)
        lines.append(
            Line(
                device,
                listed.modified,
                dict(zip(about.labels, about.counts, strict=True)) if about else {},
                about.serves if about else None,
                listed.signed,
                None if number is None else judged[number],
                order.when if order else "",
                contributions.refused.get(device),
                device in contributions.doubled,
            )
        )

    def key(line: Line) -> tuple[int, int, str]:
        if line.undone:
            return 3, 0, line.device
        if line.judged is not None and (line.judged.suspicious or line.doubled):
            return 0, place[line.device], line.device
        if line.judged is None or line.doubled:
            return 1, 0, line.device
        return 2, place[line.device], line.device

    return tuple(sorted(lines, key=key))
