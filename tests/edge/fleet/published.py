"""Releases in a store, as the workstation publishes them."""

import hashlib
from pathlib import Path

from edge.fleet.names import plan_name, release_name
from edge.fleet.release import Plan
from edge.fleet.remote import Remote


def publish(remote: Remote, sequence: int, release: int, bundle: Path, percent: int = 100, **more: object) -> Plan:
    """Put a release and the plan that names it."""
    data = bundle.read_bytes()
    remote.put(release_name(release), data)
    plan = Plan(release, hashlib.sha256(data).hexdigest(), len(data), percent, **more)  # type: ignore[arg-type]
    remote.put(plan_name(sequence), plan.to_json())
    return plan
