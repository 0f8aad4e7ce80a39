"""Which devices are undone: left out of every merge from now on, without a byte of theirs being deleted.

An order to undo a device, or to take that back, is an object of its own, `undone/<device>/<number>.json`, which is
never changed; the one with the highest number counts. So two people at once cannot overwrite each other, and the store
tells who was undone when.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from edge.errors import FleetError, StoreError
from edge.fleet.header import canonical
from edge.fleet.names import DEVICES, Named
from edge.fleet.remote import Remote
from edge.metrics.figures import read_json

UNDONE = "undone/"
_NAME = re.compile(r"undone/([0-9a-f]{32}|[0-9a-f]{64})/([0-9]{6})\.json")
_MOST = 10_000  # bytes
_TRIES = 5  # orders of others that may come in between


class Order(NamedTuple):
    """An order: of which device, which number, whether it is undone or taken back, and when."""

    device: str
    number: int
    undone: bool
    when: str


def undone(remote: Remote) -> dict[str, Order]:
    """Return the orders that count now, of devices that are undone.

    Raises:
        StoreError: the store cannot be read.
        FleetError: an order is damaged.
    """
    newest = _newest(remote.names(UNDONE))
    return {device: order for device, number in newest.items() if (order := _read(remote, device, number)).undone}


def undo(remote: Remote, device: str, when: str, back: bool = False) -> bool:
    """Undo a device, or take that back; returns whether anything changed.

    Args:
        remote: the store.
        device: its id.
        when: ISO 8601.
        back: take it back.

    Raises:
        StoreError: the store cannot be read or written.
        FleetError: the newest order is damaged.
    """
    for _ in range(_TRIES):
        number = _newest(remote.names(f"{UNDONE}{device}/")).get(device, 0)
        if (number > 0 and _read(remote, device, number).undone) is not back:
            return False
        order = Order(device, number + 1, not back, when)
        try:
            remote.put(_name(device, number + 1), canonical(order._asdict()))
        except StoreError as error:
            if error.code != "store-name-taken":
                raise
            continue
        return True
    raise StoreError("store-name-taken", f"{remote.url}: others undo {device} at the same time; try again")


def find_device(remote: Remote, word: str) -> str:
    """Return the one device whose id begins so.

    Raises:
        FleetError: there is none, or more than one.
    """
    devices = {found.device for name in remote.names(DEVICES) if (found := Named.parse(name))}
    fitting = sorted(device for device in devices if device.startswith(word.lower()))
    if word and len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise FleetError(
            "device-unknown",
            f"{len(fitting)} devices in {remote.url} have an id that begins with {word!r}; give more of it",
        )
    raise FleetError(
        "device-unknown",
        f"{remote.url} holds no contribution of a device {word!r}; edge-export fleet status lists them",
    )


def _name(device: str, number: int) -> str:
    return f"{UNDONE}{device}/{number:06}.json"


def _newest(names: Iterable[str]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for name in names:
        if match := _NAME.fullmatch(name):
            newest[match[1]] = max(newest.get(match[1], 0), int(match[2]))
    return newest


def _read(remote: Remote, device: str, number: int) -> Order:
    name = _name(device, number)
    try:
        raw = read_json(remote.get(name, _MOST))
        order = Order(**raw) if isinstance(raw, dict) and raw.keys() == set(Order._fields) else None
    except ValueError:
        order = None
    if order is None or type(order.undone) is not bool or (order.device, order.number) != (device, number):
        raise FleetError(
            "order-damaged",
            f"{remote.url}: {name} is damaged; give the order again: edge-export fleet undo URL {device}",
        )
    return order
