"""Releases: which bundle a merge starts from, and which devices should install which one.

Objects in the store are never changed. A release is stored before the plan that names it, so an interruption leaves
either the old plan or the new one; a release that no plan names yet is recognised by its bytes and reused. The newest
plan counts: a larger percentage rolls a release out further, 0 takes it back, and devices that had installed it return
to the previous one. Devices choose by a hash of their id (edge/fleet/release.py).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edge.bundle import archive
from edge.errors import FleetError, StoreError
from edge.fleet.contribution import sha256
from edge.fleet.names import DEVICES, RELEASES, contributions, plan_name, release_name, release_number
from edge.fleet.release import MAX_RELEASE, Plan, newest_plan
from edge.fleet.remote import Remote


@dataclass(frozen=True)
class Published:
    """The result of publishing."""

    plan: Plan  # the plan that counts now
    sequence: int  # the plan's number
    changed: bool  # whether the plan is new; False if it was the newest already
    devices: tuple[int, int]  # the number of devices that should install the release, and of all devices in the store


@contextlib.contextmanager
def base(remote: Remote, given: Path | None) -> Iterator[Path]:
    """Yield the path of the bundle to start from: the given one, or a temporary copy of the newest release.

    Raises:
        FleetError: no bundle is given, and the store contains no release.
        StoreError: the store cannot be read.
    """
    if given is not None:
        yield given
        return
    numbers = _numbers(remote)
    if not numbers:
        raise FleetError(
            "release-unknown", f"{remote.url} holds no release yet; give the bundle that the devices run: --base BUNDLE"
        )
    with tempfile.TemporaryDirectory(prefix="edge-") as folder:
        path = Path(folder, f"release-{max(numbers)}.edge")
        path.write_bytes(remote.get(release_name(max(numbers)), MAX_RELEASE))
        yield path


def publish(remote: Remote, bundle: Path | None, percent: int) -> Published:
    """Publish a bundle for a percentage of the devices.

    Args:
        bundle: the bundle; None to change the percentage of the newest plan's release.
        percent: the percentage of devices, 0 to 100; a larger one includes all devices of a smaller one.

    Raises:
        BundleError: the bundle is damaged; nothing was published.
        FleetError: there is no plan whose percentage could be changed.
        StoreError: the store cannot be reached or refuses, or somebody else published at the same time.
    """
    found = newest_plan(remote)
    if bundle is None:
        if found is None:
            raise FleetError("release-unknown", f"{remote.url} holds no plan yet; give the bundle to publish")
        plan = replace(found[1], percent=percent)
    else:
        plan = _planned(remote, bundle, percent, found[1] if found else None)
    sequence = found[0] if found else 0
    changed = found is None or plan != found[1]
    if changed:
        sequence += 1
        try:
            remote.put(plan_name(sequence), plan.to_json())
        except StoreError as error:
            if error.code != "store-name-taken":
                raise
            raise StoreError(
                error.code, f"{remote.url}: somebody else published plan {sequence} just now; look, and try again"
            ) from None
    devices = {name.device for name in contributions(remote.names(DEVICES))}
    taking = sum((meant := plan.meant_for(device)) is not None and meant.number == plan.release for device in devices)
    return Published(plan, sequence, changed, (taking, len(devices)))


def _planned(remote: Remote, bundle: Path, percent: int, before: Plan | None) -> Plan:
    """Return the next plan for a bundle, after storing the bundle as a release if necessary."""
    opened = archive.read(bundle)
    opened.verify()
    data = bundle.read_bytes()
    digest = sha256(data)
    if len(data) > MAX_RELEASE:
        raise FleetError("limit-exceeded", f"{bundle} has {len(data)} bytes, but a release has at most {MAX_RELEASE}")
    if before is not None and before.sha256 == digest:
        return replace(before, percent=percent)
    number = _put(remote, data)
    if before is None:
        return Plan(number, digest, len(data), percent)
    if before.percent == 100:  # the other devices keep the release that all devices have
        return Plan(number, digest, len(data), percent, before.release, before.sha256, before.size)
    return replace(before, release=number, sha256=digest, size=len(data), percent=percent)


def _put(remote: Remote, data: bytes) -> int:
    """Store a release under the next number, or find the one with the same bytes."""
    numbers = _numbers(remote)
    for number in sorted(numbers, reverse=True):
        if remote.size(release_name(number)) == len(data) and remote.get(release_name(number), len(data)) == data:
            return number
    number = max(numbers, default=0) + 1
    remote.put(release_name(number), data)
    return number


def _numbers(remote: Remote) -> list[int]:
    return [number for name in remote.names(RELEASES) if (number := release_number(name)) is not None]
