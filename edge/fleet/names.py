"""What the objects of a fleet's store are called, and which of a device's contributions counts: the newest.

| name | is |
|---|---|
| `devices/<device>/<sequence>-<sha256>.edgefleet` | all that one device was taught; the sequence has 10 digits |
| `devices/<device>/<sequence>-<sha256>.edgefleet.sig` | its signature, if the device has a key |
| `releases/<number>.edge` | a bundle for the devices; the number has 6 digits |
| `plans/<sequence>.json` | which devices shall take which release; the sequence has 6 digits |

Pure. A device's id is 32 hexadecimal digits, drawn once, or the 64 of the SHA-256 of its signing key.
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
    """One contribution by its name: whose, which, and the SHA-256 of its bytes.

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
        """Read a name; None where it is not that of a contribution."""
        found = _CONTRIBUTION.fullmatch(name)
        return cls(found[1], int(found[2]), found[3]) if found else None


def contributions(names: Iterable[str]) -> list[Named]:
    """Return those names that are of contributions, sorted by device and sequence, each once."""
    return sorted({found for name in names if (found := Named.parse(name))})


def newest_of_each(names: Iterable[Named]) -> dict[str, Named]:
    """Return the contribution of each device that counts, in the order of the devices.

    The order and repetition of the names do not matter, and older ones change nothing. Of two with one sequence, which
    `twice` names, the one whose SHA-256 is greater.

    >>> a, b = Named("a" * 32, 1, "0" * 64), Named("a" * 32, 2, "1" * 64)
    >>> newest_of_each([b, a, b]) == {"a" * 32: b}
    True
    """
    newest: dict[str, Named] = {}
    for name in sorted(names):
        newest[name.device] = name
    return newest


def twice(names: Iterable[Named]) -> list[str]:
    """Return the devices of which two contributions have one sequence: two boxes share the id.

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
    """Return the number of a release by its name; None where it is no release's."""
    found = _RELEASE.fullmatch(name)
    return int(found[1]) if found else None


def plan_name(sequence: int) -> str:
    """Return a plan's name: `plans/000003.json`."""
    return f"{PLANS}{sequence:06}.json"


def plan_sequence(name: str) -> int | None:
    """Return the sequence of a plan by its name; None where it is no plan's."""
    found = _PLAN.fullmatch(name)
    return int(found[1]) if found else None
