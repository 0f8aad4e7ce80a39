"""Fetches contributions over ssh, one device after another, for fleets without shared storage.

Each contribution is put into a store, such as a folder, under its device's next number, unless the store has it
already. A device that does not answer is reported, and the others are still collected.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import EdgeError, FleetError
from edge.fleet.contribute import newest
from edge.fleet.contribution import read, renumbered, sha256
from edge.fleet.names import Named
from edge.fleet.remote import Remote as Store
from edge.fleet.remote import open_remote
from export.deploy.device import Device, look
from export.deploy.ssh import Remote
from export.fleet import tell as teller

# bin is a symlink; Python finds its environment only if started from the resolved path
_PYTHON = 'exec "$(readlink -f "$1/bin")/python" - "$2"'


@dataclass(frozen=True)
class Collected:
    """The result for one host."""

    host: str  # the host, as given to ssh
    device: str = ""  # the device's id; "" if it did not answer
    name: str = ""  # the contribution's name in the store; "" if the device did not answer
    new: bool = False  # whether the contribution is new to the store
    examples: int = 0  # the number of examples in it
    error: EdgeError | None = None  # why the fetch failed; None if it succeeded


def collect(hosts: Sequence[str], output: str, hear: Callable[[Collected], None]) -> list[Collected]:
    """Fetch contributions and put them into a store.

    Args:
        hosts: `[USER@]HOST`, as for ssh.
        output: the store's URL, or a folder, which is created if it does not exist.
        hear: called with the result for each host.

    Raises:
        StoreError: the store cannot be opened or refuses; contributions stored so far stay there.
    """
    if "://" not in output:
        Path(output).mkdir(parents=True, exist_ok=True)
        output = Path(output).absolute().as_uri()
    store = open_remote(output)
    found: list[Collected] = []
    for host in dict.fromkeys(hosts):
        try:
            data = fetch(host)
        except EdgeError as error:
            one = Collected(host, error=error)
        else:
            one = put(store, host, data, found)
        found.append(one)
        hear(one)
    return found


def fetch(host: str) -> bytes:
    """Return a device's examples as a contribution.

    Raises:
        RemoteError: the device cannot be reached.
        FleetError: the program or the home is missing on the device, or the data is incomplete.
    """
    with Remote(host) as remote:
        device: Device = look(remote)
        if not device.installed:
            raise FleetError("device-failed", f"{host} has no edge-transfer; run: edge-export deploy BUNDLE {host}")
        script = Path(teller.__file__).read_bytes()
        done = remote.run(*device.as_owner, "sh", "-c", _PYTHON, "sh", device.base, device.home, send=script)
    if done.code:
        raise FleetError("device-failed", f"{host}: {done.why}")
    try:
        return base64.b64decode("".join(done.out.split()), validate=True)
    except binascii.Error as error:
        raise FleetError("contribution-damaged", f"{host}: what it sent is damaged ({error}); try again") from None


def put(store: Store, host: str, data: bytes, before: Sequence[Collected] = ()) -> Collected:
    """Store a contribution under its device's next number, unless the newest one has the same content.

    Args:
        before: the results of the other hosts so far; a host with the id of one of them is refused.
    """
    try:
        told = read(host, data)
        for _ in told.parts():
            pass
        device = told.about.device
        if twin := next((one.host for one in before if one.device == device), None):
            raise FleetError(
                "device-twice",
                f"{host} and {twin} have the same device's id, {device[:8]}, and only {twin} counts; run on one of "
                "them, if it was copied from the other: edge contribute URL --id new",
            )
    except FleetError as error:
        return Collected(host, error=error)
    about = told.about
    there = newest(store, about.device)
    if there is not None and sha256(renumbered(data, about, there.sequence)) == there.sha256:
        return Collected(host, about.device, str(there), False, about.examples)
    sequence = there.sequence + 1 if there else 1
    data = renumbered(data, about, sequence)
    name = Named(about.device, sequence, sha256(data))
    store.put(str(name), data)
    return Collected(host, about.device, str(name), True, about.examples)
