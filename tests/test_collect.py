"""`edge-export fleet collect` over a real sshd on loopback, from a throwaway copy of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from edge.fleet.names import DEVICES, contributions
from edge.fleet.remote import open_remote
from export.deploy.push import deploy
from export.fleet.merge import merge
from tests.export.fleet.devices import rules

from .edge.conftest import write_pictures
from .test_deploy import Machine, kit, machine, make, silent

pytestmark = pytest.mark.kills
__all__ = ["kit", "machine"]


def collected(store: Path, *hosts: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "export", "fleet", "collect", *hosts, "-o", str(store), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer: dict[str, object] = json.loads(done.stdout)
    return done.returncode, answer


def test_what_a_device_was_taught_comes_over_ssh_once_and_is_merged(machine: Machine, tmp_path: Path) -> None:
    bundle = make(tmp_path, "first.edge", write_pictures(tmp_path / "photos", {"brick": 4, "grass": 4}))
    store = tmp_path / "store"
    code, nothing = collected(store, "device")
    assert (code, nothing["hosts"][0]["code"]) == (3, "device-failed"), "edge is not installed yet"  # type: ignore[index]
    deploy(bundle, "device", True, silent)
    machine.box.put(write_pictures(tmp_path / "new", {"coins": 6, "brick": 3}, first=50), "/tmp")
    edge = ("runuser", "-u", "edge", "--", "edge", "--home", "/var/lib/edge")
    for label in ("coins", "brick"):
        done = machine.box.run(*edge, "teach", label, f"/tmp/new/{label}")
        assert done.returncode == 0, done.stderr
    code, first = collected(store, "device", "nobody.invalid")
    assert code == 3, "one of them did not answer"
    told, missing = first["hosts"]  # type: ignore[misc]
    assert (told["host"], told["new"], told["examples"], told["error"]) == ("device", True, 9, None)
    assert (missing["code"], missing["device"]) == ("device-unreachable", None)
    code, again = collected(store, "device")
    assert code == 0
    assert [(one["new"], one["name"]) for one in again["hosts"]] == [(False, told["name"])]  # type: ignore[index]

    assert machine.box.run(*edge, "forget", "--label", "brick").returncode == 0
    assert collected(store, "device")[0] == 0
    remote = open_remote(store.as_uri())
    assert [name.sequence for name in contributions(remote.names(DEVICES))] == [1, 2]
    merged = merge(remote, bundle, tmp_path / "made.edge", rules, lambda done, of: None)
    assert (merged.devices, merged.examples, merged.labels["coins"]) == (1, 6, 6)

    machine.wire.left = 3_000  # the cable is pulled while it answers
    code, cut = collected(store, "device")
    assert code == 3
    assert cut["hosts"][0]["code"] == "device-unreachable"  # type: ignore[index]
