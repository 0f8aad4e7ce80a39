"""Signatures: with an allowed-signers file only what somebody in it signed counts; without one that is said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from edge.bundle.signature import FLEET, sign
from edge.fleet.names import SIGNATURE
from edge.fleet.remote import open_remote
from export.fleet.gather import Rules
from export.fleet.merge import merge
from export.fleet.signed import NAMESPACE, Signers
from tests.export.fleet.devices import base, contribution, device_id, examples
from tests.refused import refused

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def key(folder: Path, name: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    return folder / name


def test_only_what_a_known_key_signed_counts(tmp_path: Path) -> None:
    assert NAMESPACE == FLEET
    known, foreign = key(tmp_path, "known"), key(tmp_path, "foreign")
    signers = tmp_path / "signers"
    signers.write_text(f'kitchen namespaces="{FLEET}" {known.with_suffix(".pub").read_text()}')
    (tmp_path / "store").mkdir()
    remote = open_remote((tmp_path / "store").as_uri())
    for number, with_key in enumerate((known, known, foreign, None)):
        name, data = contribution(number, *examples(number))
        remote.put(str(name), data)
        if with_key:
            remote.put(f"{name}{SIGNATURE}", sign(data if number != 1 else data + b"!", with_key, FLEET))
    bundle, output = base(tmp_path), tmp_path / "made.edge"

    def merged(asked: Signers | None):
        return merge(remote, bundle, output, lambda b: Rules(b.manifest.backbone, signers=asked), lambda done, of: None)

    every = merged(None)
    assert (every.devices, every.signed, every.checked) == (4, 3, False)
    some = merged(Signers(signers))
    assert (some.devices, some.signed, some.checked) == (1, 1, True)
    assert some.bundle.manifest.devices == (device_id(0),)
    assert {one.device: one.code for one in some.refused} == {
        device_id(number): "contribution-unsigned" for number in (1, 2, 3)
    }


def test_a_missing_file_of_signers_is_refused(tmp_path: Path) -> None:
    with refused("file-unreadable"):
        Signers(tmp_path / "nobody")
