"""`edge-export fleet status`: every device of a store, the suspicious ones first, with the reason.

It reads the contributions twice: first to build the pool and its head, then to judge each device by how its examples
would be classified if it had never joined (export/pool/truth.py). Undone devices and refused contributions are listed
as well, without figures.
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
from export.fleet.merge import Step, pooled
from export.fleet.synonyms import Proposal
from export.pool.fitted import fit
from export.pool.truth import Accuracy, Judged, accuracy, judge

ALONE = 1000  # largest number of devices for which each gets its own head


@dataclass(frozen=True)
class Line:
    """One device."""

    device: str  # the device's id
    seen: datetime  # when the store received the newest contribution
    examples: dict[str, int]  # the number of examples of each label in the contribution; empty if it cannot be read
    serves: Serves | None  # the device's verdict on its release; None if the contribution cannot be read
    signed: bool
    judged: Judged | None  # the measurements; None if nothing can be measured
    undone: str  # when the device was undone; "" if it is not
    refused: Refused | None  # why the contribution does not count; None if it does
    doubled: bool  # whether two contributions have the same sequence, which means that two devices share the id

    @property
    def why(self) -> str:
        """The reason for the device's position in the list, in words; "" if nothing is wrong."""
        if self.undone:
            return f"undone on {self.undone[:10]}"
        if self.refused is not None:
            return self.refused.why
        different = self.judged.different if self.judged else ()
        reasons = [f"uses {one.label!r} as others use {one.looks_like!r}" for one in different]
        if self.judged and self.judged.suspicious and not reasons:
            harm = self.judged.harm
            worse = harm is not None and harm.counts and harm.chance < self.judged.chance
            reasons = ["others are answered better without it" if worse else "uses its labels unlike the others"]
        return "; ".join([*reasons, *["two boxes share its id"] * self.doubled])


@dataclass(frozen=True)
class Report:
    """A fleet."""

    lines: tuple[Line, ...]  # the devices, suspicious ones first
    accuracy: Accuracy | None  # accuracy of the fleet's head, leaving out each device; None if it cannot be measured
    proposals: tuple[Proposal, ...]  # labels that may mean the same
    unmeasured: str  # why no device was judged; "" if they were


def report(remote: Remote, base: Path, rules: Callable[[Bundle], Rules], step: Step) -> Report:
    """Report on a fleet.

    Args:
        base: the bundle that the devices run.
        rules: returns the rules for a base.
        step: called after each contribution, in both passes, with (number read, total).

    Raises:
        BundleError: the base cannot be read.
        StoreError: the store cannot be read.
    """
    opened = archive.read(base)
    contributions = Contributions(remote, rules(opened))
    pool = pooled(opened, contributions, step)
    judged: list[Judged] = []
    unmeasured, proposals = "", list[Proposal]()
    try:
        fitted = fit(pool)
    except NotEnough as error:
        unmeasured = str(error)
    else:
        sampled = {device.name for device in pool.devices[:ALONE]}
        judged = judge(fitted, contributions.devices(), contributions.devices, lambda name: name in sampled)
        proposals = synonyms.propose(pool.using, pool.together, _nearer(judged))
    return Report(_lines(contributions, judged), accuracy(judged), tuple(proposals), unmeasured)


def _nearer(judged: Sequence[Judged]) -> dict[tuple[str, str], tuple[int, int]]:
    """Count, for each confused pair of labels, the devices nearer to their own label and those nearer to the other."""
    using, confused = Counter[str](), Counter[tuple[str, str]]()
    for one in judged:
        for use in one.uses:
            using[use.label] += 1
            if use.margin < 0:
                a, b = sorted((use.label, use.looks_like))
                confused[a, b] += 1
    return {(a, b): (using[a] + using[b] - other, other) for (a, b), other in confused.items()}


def _lines(contributions: Contributions, judged: Sequence[Judged]) -> tuple[Line, ...]:
    """List all devices: the suspicious, the refused, the others, and the undone."""
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
