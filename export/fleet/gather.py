"""The contributions that count: the newest of each device, checked, with labels mapped as a person confirmed.

Nothing is left out silently. A contribution that is damaged, made with another backbone, lacks a required signature, or
contains moments only is refused by name with the reason, and the others are still read. Devices that were undone are
skipped. Several contributions are fetched in parallel, because a store takes some milliseconds per request; their total
size in memory is limited.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from edge.bundle.manifest import BackboneInfo
from edge.errors import FleetError
from edge.fleet.contribution import MAX_BYTES, Contribution, read, sha256
from edge.fleet.header import About, Serves
from edge.fleet.names import DEVICES, SIGNATURE, Named, newest_of_each, twice
from edge.fleet.remote import Entry, Remote
from edge.head.moments import GRID
from export.fleet.signed import Signers
from export.fleet.undo import undone
from export.pool.cap import MOST, capped
from export.pool.pool import Device

_FETCHED = 16  # contributions fetched in parallel
_IN_FLIGHT = 1 << 24  # bytes of the contributions fetched in parallel


class Listed(NamedTuple):
    """A device's newest contribution in the store's listing: its name in parts, size in bytes, time of arrival, and
    whether it is signed. Flat, because a hundred thousand of these must fit in memory."""

    device: str
    sequence: int
    sha256: str
    size: int
    modified: datetime
    signed: bool

    @property
    def name(self) -> Named:
        """The name in the store."""
        return Named(*self[:3])


@dataclass(frozen=True)
class Refused:
    """A contribution that does not count: its device, its name, and the reason as a code and in words."""

    device: str
    name: str
    code: str
    why: str


@dataclass(frozen=True)
class Rules:
    """The rules for which contributions and examples count."""

    backbone: BackboneInfo  # the backbone that all embeddings must come from
    labels: Mapping[str, str] = field(default_factory=dict)  # maps a label to the one that it counts as
    most: int = MOST  # the largest number of examples per device
    signers: Signers | None = None  # the keys that may sign contributions; None if signatures are not required


class Told(NamedTuple):
    """The part of a contribution's header that is kept; a hundred thousand of these must fit in memory."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    taught: str
    serves: Serves


class Contributions:
    """The newest contributions of a store, each read on demand."""

    def __init__(self, remote: Remote, rules: Rules) -> None:
        self._remote, self.rules = remote, rules
        self.undone = undone(remote)
        self.listed, self.doubled = _newest(remote.entries(DEVICES))
        self.refused: dict[str, Refused] = {}
        self.told: dict[str, Told] = {}  # for each contribution that was read and counts
        self._once: dict[Hashable, Any] = {}  # stores what many devices tell alike only once

    @property
    def signed(self) -> int:
        """How many of the contributions that count are signed."""
        return sum(self.listed[device].signed for device in self.told)

    def devices(self, names: Sequence[str] | None = None) -> Iterator[Device]:
        """Yield the devices that count, sorted by name, or only the given ones, in the given order.

        Raises:
            StoreError: the store cannot be read; a problem with one contribution is recorded in `refused` instead.
        """
        wanted = self.listed if names is None else names
        able = [device for device in wanted if device not in self.undone and device not in self.refused]
        for device, data in self._fetch(able):
            try:
                yield self._device(device, data)
            except FleetError as error:
                self.refused[device] = Refused(device, str(self.listed[device].name), error.code, str(error))

    def _fetch(self, devices: Iterable[str]) -> Iterator[tuple[str, bytes | FleetError]]:
        """Read contributions in parallel, and yield them in the given order."""
        waiting: deque[tuple[str, Future[bytes | FleetError]]] = deque()
        in_flight = 0
        with ThreadPoolExecutor(_FETCHED) as pool:
            for device in devices:
                size = self.listed[device].size
                while waiting and (len(waiting) >= _FETCHED or in_flight + size > _IN_FLIGHT):
                    done, future = waiting.popleft()
                    yield done, future.result()
                    in_flight -= self.listed[done].size
                waiting.append((device, pool.submit(self._get, self.listed[device])))
                in_flight += size
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()

    def _get(self, listed: Listed) -> bytes | FleetError:
        """Read a contribution, and its signature if required; returns its problems, but raises the store's errors."""
        name = str(listed.name)
        if listed.size > MAX_BYTES:
            return FleetError("contribution-invalid", f"{name} has {listed.size} bytes, but at most {MAX_BYTES} can be")
        data = self._remote.get(name, MAX_BYTES)
        if sha256(data) != listed.name.sha256:
            return FleetError(
                "contribution-damaged",
                f"{name} is damaged (its SHA-256 is {sha256(data)[:12]}…); contribute again from that device",
            )
        if self.rules.signers is not None:
            try:
                signature = self._remote.get(f"{name}{SIGNATURE}", 10_000) if listed.signed else None
                self.rules.signers.check(name, data, signature)
            except FleetError as error:
                return error
        return data

    def _device(self, device: str, data: bytes | FleetError) -> Device:
        if isinstance(data, FleetError):
            raise data
        name = self.listed[device].name
        contribution = read(str(name), data)
        self._check(name, contribution.about)
        found = counted(contribution, self.rules)
        about = contribution.about
        self.keep(about)
        return found

    def keep(self, about: About) -> None:
        """Keep what is needed later of a contribution's header."""
        labels, counts, serves = (self._once.setdefault(x, x) for x in (about.labels, about.counts, about.serves))
        self.told[about.device] = Told(labels, counts, about.taught, serves)

    def _check(self, name: Named, about: About) -> None:
        if (about.device, about.sequence) != (name.device, name.sequence):
            raise FleetError(
                "contribution-invalid",
                f"{name}: its header is of device {about.device}, sequence {about.sequence}; it was renamed",
            )
        wanted = self.rules.backbone
        if about.fingerprint != wanted.fingerprint or about.dimension != wanted.dimension:
            raise FleetError(
                "contribution-backbone",
                f"{name}: its embeddings are of backbone {about.backbone} ({about.fingerprint[:12]}), but the bundle "
                f"has {wanted.name} ({wanted.fingerprint[:12]}); update that device, or merge with its bundle",
            )
        if about.form != "examples":
            raise FleetError(
                "contribution-moments",
                f"{name} tells moments only, but a bundle ships examples; contribute without --moments",
            )


def _newest(entries: Iterable[Entry]) -> tuple[dict[str, Listed], frozenset[str]]:
    """Return each device's newest contribution, sorted by device, and the devices that have two with one sequence.

    A store lists a folder's objects one after another, so that one device's names are in memory at a time, not those
    of all contributions that were ever sent. Should a device come again, its newest one so far is looked at with them.
    """
    newest: dict[str, Listed] = {}
    doubled: set[str] = set()
    for _, folder in groupby(entries, lambda entry: entry.name.split("/")[1]):
        there = {entry.name: entry for entry in folder}
        found = [name for text in there if (name := Named.parse(text))]
        if not found:
            continue
        device = found[0].device
        held = newest.get(device)
        names = found if held is None else [*found, held.name]
        doubled.update(twice(names))
        name = newest_of_each(names)[device]
        signed = f"{name}{SIGNATURE}" in there or (held is not None and held.name == name and held.signed)
        if entry := there.get(str(name)):
            newest[device] = Listed(*name, entry.size, entry.modified, signed)
        elif held is not None:
            newest[device] = held._replace(signed=signed)
    return dict(sorted(newest.items())), frozenset(doubled)


def counted(contribution: Contribution, rules: Rules) -> Device:
    """Return the examples of a contribution that count: at most `most`, and none that its device held out.

    Raises:
        FleetError: the contribution is damaged.
    """
    about = contribution.about
    few = about.examples <= rules.most  # then every embedding is kept anyway; otherwise they are unpacked again
    parts = [part if few else replace(part, embeddings=part.embeddings[:0].copy()) for part in contribution.parts()]
    held, images = _joined([p.held_out for p in parts]).astype(np.bool_), _joined([p.images for p in parts], 32)
    labels = np.array([rules.labels.get(label, label) for label in about.labels] or [""], np.object_)
    names = labels[_joined([p.labels for p in parts])]
    numbers = _joined([p.sessions for p in parts]).tolist()
    sessions = np.array([None if number < 0 else str(number) for number in numbers], np.object_)
    able = np.flatnonzero(~held)
    chosen = able[capped(names[able].tolist(), sessions[able].tolist(), images[able], rules.most)]
    rows = np.empty((len(chosen), about.dimension), np.int32)
    first = 0
    for part in parts if few else contribution.parts():
        mine = np.flatnonzero((chosen >= first) & (chosen < first + len(part)))
        rows[mine] = np.rint(part.embeddings[chosen[mine] - first] * np.float32(GRID))
        first += len(part)
    return Device(about.device, rows, tuple(names[chosen].tolist()), tuple(sessions[chosen].tolist()), images[chosen])


def _joined(parts: Sequence[np.ndarray], columns: int = 0) -> np.ndarray:
    if parts:
        return np.concatenate(parts)
    return np.zeros((0, columns), np.uint8) if columns else np.zeros(0, np.int32)
