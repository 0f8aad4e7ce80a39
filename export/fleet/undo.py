"""Undoes devices: leaves them out of all later merges, without deleting any of their data.

An order to undo a device, or to reverse that, is a separate object, `undone/<device>/<number>.json`, which is never
changed; the order with the highest number counts. So two people cannot overwrite each other's orders, and the store
shows when each device was undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from edge.errors import FleetError, StoreError
from edge.fleet.header import canonical
from edge.fleet.names import DEVICES, contributions
from edge.fleet.remote import Remote
from edge.metrics.figures import read_json

UNDONE = "undone/"
_NAME = re.compile(r"undone/([0-9a-f]{32}|[0-9a-f]{64})/([0-9]{6})\.json")
_MOST = 10_000  # bytes
_TRIES = 5  # attempts, in case other people write orders at the same time


class Order(NamedTuple):
    """An order: the device, the order's number, whether it undoes or restores the device, and the time."""

    device: str
    number: int
    undone: bool
    when: str


def undone(remote: Remote) -> dict[str, Order]:
    """Return the current orders of all devices that are undone.

    Raises:
        StoreError: the store cannot be read.
        FleetError: an order is damaged.
    """
    newest = _newest(remote.names(UNDONE))
    return {device: order for device, number in newest.items() if (order := _read(remote, device, number)).undone}


def undo(remote: Remote, device: str, when: str, back: bool = False) -> bool:
    """Undo or restore a device; returns whether anything changed.

    Args:
        when: the time of the order, ISO 8601.
        back: restore the device instead.

    Raises:
        StoreError: the store cannot be read or written.
    """
    for _ in range(_TRIES):
        number = _newest(remote.names(f"{UNDONE}{device}/")).get(device, 0)
        try:
            now = number > 0 and _read(remote, device, number).undone
        except FleetError:  # the newest order is damaged, so this one takes its place
            now = back
        if now is not back:
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
    """Return the one device whose id begins with the given text.

    Raises:
        FleetError: no device matches, or more than one.
    """
    devices = {name.device for name in contributions(remote.names(DEVICES))}
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
            f"{remote.url}: {name} is damaged; give the order again, with --back or without: edge-export "
            f"fleet undo URL {device}",
        )
    return order
