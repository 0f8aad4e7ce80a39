"""The names of objects in a fleet's store, and the rule that a device's newest contribution counts.

| name | contents |
|---|---|
| `devices/<device>/<sequence>-<sha256>.edgefleet` | all examples of one device; the sequence has 10 digits |
| `devices/<device>/<sequence>-<sha256>.edgefleet.sig` | the contribution's signature, if the device has a key |
| `releases/<number>.edge` | a bundle for the devices; the number has 6 digits |
| `plans/<sequence>.json` | which devices should install which release; the sequence has 6 digits |

Pure. A device's id is 32 random hexadecimal digits, or the 64 digits of its signing key's SHA-256.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

DEVICES, RELEASES, PLANS = "devices/", "releases/", "plans/"
SIGNATURE = ".sig"
MAX_SEQUENCE = 10**10 - 1
MAX_NUMBER = 10**6 - 1
DEVICE = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")

_CONTRIBUTION = re.compile(r"devices/([0-9a-f]{32}|[0-9a-f]{64})/([0-9]{10})-([0-9a-f]{64})\.edgefleet")
_RELEASE = re.compile(r"releases/([0-9]{6})\.edge")
_PLAN = re.compile(r"plans/([0-9]{6})\.json")


class Named(NamedTuple):
    """A contribution's name in parts: the device, the sequence, and the SHA-256 of the bytes.

    >>> name = Named("0" * 32, 7, "a" * 64)
    >>> str(name) == "devices/" + "0" * 32 + "/0000000007-" + "a" * 64 + ".edgefleet"
    True
    >>> Named.parse(str(name)) == name, Named.parse("devices/notes.txt")
    (True, None)
    """

    device: str
    sequence: int
    sha256: str

    def __str__(self) -> str:
        return f"{DEVICES}{self.device}/{self.sequence:010}-{self.sha256}.edgefleet"

    @classmethod
    def parse(cls, name: str) -> "Named | None":
        """Parse a name; None if it is not a contribution's."""
        found = _CONTRIBUTION.fullmatch(name)
        return cls(found[1], int(found[2]), found[3]) if found else None


def contributions(names: Iterable[str]) -> list[Named]:
    """Return the names of contributions among all names, without duplicates, sorted by device and sequence."""
    return sorted({found for name in names if (found := Named.parse(name))})


def newest_of_each(names: Iterable[Named]) -> dict[str, Named]:
    """Return each device's contribution that counts, sorted by device.

    Order and duplicates of the names do not matter, nor do older contributions. If two have the same sequence (see
    `twice`), the one with the greater SHA-256 counts.

    >>> a, b = Named("a" * 32, 1, "0" * 64), Named("a" * 32, 2, "1" * 64)
    >>> newest_of_each([b, a, b]) == {"a" * 32: b}
    True
    """
    newest: dict[str, Named] = {}
    for name in sorted(names):
        newest[name.device] = name
    return newest


def twice(names: Iterable[Named]) -> list[str]:
    """Return the devices that have two contributions with the same sequence, which means that two devices share the id.

    >>> twice([Named("a" * 32, 1, "0" * 64), Named("a" * 32, 1, "1" * 64), Named("b" * 32, 1, "0" * 64)]) == ["a" * 32]
    True
    """
    seen: dict[tuple[str, int], set[str]] = {}
    for device, sequence, sha256 in names:
        seen.setdefault((device, sequence), set()).add(sha256)
    return sorted({device for (device, _), hashes in seen.items() if len(hashes) > 1})


def release_name(number: int) -> str:
    """Return a release's name: `releases/000012.edge`."""
    return f"{RELEASES}{number:06}.edge"


def release_number(name: str) -> int | None:
    """Return a release's number from its name; None if the name is not a release's."""
    found = _RELEASE.fullmatch(name)
    return int(found[1]) if found else None


def plan_name(sequence: int) -> str:
    """Return a plan's name: `plans/000003.json`."""
    return f"{PLANS}{sequence:06}.json"


def plan_sequence(name: str) -> int | None:
    """Return a plan's sequence from its name; None if the name is not a plan's."""
    found = _PLAN.fullmatch(name)
    return int(found[1]) if found else None
