"""Releases and plans: which device should install which bundle.

A release is an ordinary bundle with a number. A plan is a small JSON object. Neither is ever changed: the newest plan
counts, so a release is rolled out further, halted or taken back by publishing another plan::

    {"format":1,"percent":25,"previous":11,"previous_sha256":"…","release":12,"sha256":"…","size":61234567, …}

Each device derives a number from 0 to 100 from its id and the release. Devices whose number is below `percent` install
the release, the others the previous one. So a device that has the release keeps it when `percent` is raised.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from edge.errors import FleetError
from edge.fleet.header import FORMAT, Checks, canonical, hexdigest, parsed, whole
from edge.fleet.names import MAX_NUMBER, PLANS, plan_name, plan_sequence
from edge.fleet.remote import Remote

MAX_PLAN = 10_000  # bytes
MAX_RELEASE = 1 << 30  # bytes


class Release(NamedTuple):
    """A bundle in the store: its number, SHA-256 and size in bytes."""

    number: int
    sha256: str
    size: int


@dataclass(frozen=True)
class Plan:
    """Which release the devices should install."""

    # release, sha256, size: the release's number, SHA-256 and size in bytes
    release: int
    sha256: str
    size: int
    percent: int  # the percentage of devices that should install it, 0 to 100
    # previous, previous_sha256, previous_size: the release for the other devices; None if they keep what they have
    previous: int | None = None
    previous_sha256: str | None = None
    previous_size: int | None = None
    format: int = FORMAT

    def to_json(self) -> bytes:
        """Return the canonical text."""
        return canonical(asdict(self))

    def meant_for(self, device: str) -> Release | None:
        """Return the release that a device should install; None if it keeps what it has.

        >>> plan = Plan(12, "a" * 64, 100, 100)
        >>> plan.meant_for("0" * 32).number
        12
        """
        if draw(device, self.release) < self.percent:
            return Release(self.release, self.sha256, self.size)
        if self.previous is None or self.previous_sha256 is None or self.previous_size is None:
            return None
        return Release(self.previous, self.previous_sha256, self.previous_size)


def draw(device: str, release: int) -> float:
    """Return a number from 0 to 100, fixed for a device and a release, and evenly distributed over devices.

    >>> round(draw("0" * 32, 12), 3)
    59.072
    """
    digest = hashlib.sha256(f"{device} {release}".encode()).digest()
    return 100 * int.from_bytes(digest[:6], "big") / (1 << 48)


def parse(name: str, text: bytes) -> Plan:
    """Read and validate a plan.

    Raises:
        FleetError: the plan is damaged or invalid, or was written by a newer version.
    """
    try:
        plan: Plan = parsed(name, text, Plan, _FIELDS)
    except FleetError as error:
        if error.code == "too-new":
            raise
        raise FleetError("plan-invalid", f"{error}; publish again") from None
    return plan


def newest_plan(remote: Remote) -> tuple[int, Plan] | None:
    """Return the newest plan and its sequence; None if nothing was published yet.

    Raises:
        StoreError: the store cannot be reached or refuses.
        FleetError: the plan cannot be read.
    """
    sequence = max((found for name in remote.names(PLANS) if (found := plan_sequence(name))), default=None)
    if sequence is None:
        return None
    name = plan_name(sequence)
    return sequence, parse(f"{remote.url}: {name}", remote.get(name, MAX_PLAN))


def _together(value: Any, given: dict[str, Any]) -> bool:
    """Whether the three fields of the previous release are all there or all absent."""
    return (value is None) == (given["previous"] is None)


_FIELDS: Checks = {
    "format": lambda value, _: whole(value, 1, FORMAT),
    "release": lambda value, _: whole(value, 1, MAX_NUMBER),
    "sha256": lambda value, _: hexdigest(value),
    "size": lambda value, _: whole(value, 1, MAX_RELEASE),
    "percent": lambda value, _: whole(value, 0, 100),
    "previous": lambda value, _: value is None or whole(value, 1, MAX_NUMBER),
    "previous_sha256": lambda value, given: _together(value, given) and (value is None or hexdigest(value)),
    "previous_size": lambda value, given: _together(value, given) and (value is None or whole(value, 1, MAX_RELEASE)),
}
