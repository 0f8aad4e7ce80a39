"""A home's record of its fleet, in one value of its database: the contributions it sent and the release it follows.

A contribution is recorded before it is sent, and marked as sent once the store has confirmed it. If the confirmation
was lost, the home asks the store. A contribution under this device's id without a record comes from another device.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.answers import FleetState
from edge.errors import EdgeError, HomeError
from edge.fleet.header import VERDICTS, Checks, canonical, checked, hexdigest, text, whole
from edge.fleet.names import MAX_NUMBER, MAX_SEQUENCE
from edge.home.factory import DEVICE
from edge.metrics.figures import read_json

if TYPE_CHECKING:
    from edge.home.state import Home
    from edge.home.store import Store

KEPT = 16  # contributions that are remembered
_KEY = "fleet"  # in the table meta


@dataclass(frozen=True)
class Sent:
    """A contribution: its sequence and SHA-256, the SHA-256 of its content without the sequence, and the time when the
    store received it, or "" if that is not confirmed yet."""

    sequence: int
    sha256: str
    content: str
    when: str = ""


@dataclass(frozen=True)
class Taken:
    """A release that was meant for this device: its number and SHA-256, the verdict with its reason, and the time.

    `taught` is a SHA-256 over the examples at that time; a refused release is tried again when they have changed.
    """

    release: int
    sha256: str
    verdict: str
    why: str
    when: str
    taught: str


@dataclass(frozen=True)
class Notes:
    """The whole record: contributions with the newest last, the release, and the URL of the last store."""

    url: str = ""
    sent: tuple[Sent, ...] = ()
    taken: Taken | None = None

    def plus(self, one: Sent) -> "Notes":
        """Return the record with a contribution added, or marked as sent."""
        others = [other for other in self.sent if other.sequence != one.sequence]
        ordered = sorted([*others, one], key=lambda each: each.sequence)
        return dataclasses.replace(self, sent=tuple(ordered[-KEPT:]))

    def of(self, sequence: int, sha256: str) -> Sent | None:
        """Return the contribution with this sequence and SHA-256; None if this home did not make it."""
        return next((one for one in self.sent if (one.sequence, one.sha256) == (sequence, sha256)), None)

    @property
    def highest(self) -> int:
        """The highest sequence of any contribution; 0 if there is none."""
        return max((one.sequence for one in self.sent), default=0)


def read(store: "Store") -> Notes:
    """Read the record.

    Raises:
        HomeError: the record is damaged.
    """
    kept = store.get(_KEY)
    if not kept:
        return Notes()
    try:
        raw = read_json(kept)
        if not (isinstance(raw, dict) and raw.keys() == {"url", "sent", "taken"} and text(raw["url"])):
            raise ValueError("it is no notes")
        sent = tuple(checked("sent", one, Sent, _SENT) for one in raw["sent"])
        taken = None if raw["taken"] is None else checked("taken", raw["taken"], Taken, _TAKEN)
        return Notes(raw["url"], sent, taken)
    except (EdgeError, ValueError, TypeError) as error:
        remedy = "restore a backup, or contribute under a new id: edge contribute URL --id new"
        raise store.damaged(f"what it contributed cannot be read: {error}", remedy) from error


def state(home: "Home") -> FleetState | None:
    """Return what a home last did in its fleet; None if it belongs to none.

    Raises:
        HomeError: the record is damaged.
    """
    store = home.store
    noted = read(store)
    if not noted.url:
        return None
    sent = next((one for one in reversed(noted.sent) if one.when), None)
    taken = noted.taken
    return FleetState(
        url=noted.url,
        device=store.get(DEVICE),
        sequence=sent.sequence if sent else None,
        contributed=sent.when if sent else None,
        release=taken.release if taken else None,
        tried=taken.when if taken else None,
        verdict=taken.verdict if taken else None,
        why=taken.why if taken else "",
    )


def put(store: "Store", notes: Notes) -> None:
    """Store the record; part of the caller's transaction."""
    store.put(_KEY, canonical(dataclasses.asdict(notes)).decode())


def forget(store: "Store") -> None:
    """Delete all contributions from the record, even a damaged one; part of the caller's transaction."""
    try:
        put(store, dataclasses.replace(read(store), sent=()))
    except HomeError:
        put(store, Notes())


_SENT: Checks = {
    "sequence": lambda value, _: whole(value, 1, MAX_SEQUENCE),
    "sha256": lambda value, _: hexdigest(value),
    "content": lambda value, _: hexdigest(value),
    "when": lambda value, _: text(value),
}
_TAKEN: Checks = {
    "release": lambda value, _: whole(value, 1, MAX_NUMBER),
    "sha256": lambda value, _: hexdigest(value),
    "verdict": lambda value, _: isinstance(value, str) and value in VERDICTS,
    "why": lambda value, _: text(value),
    "when": lambda value, _: text(value),
    "taught": lambda value, _: hexdigest(value),
}
