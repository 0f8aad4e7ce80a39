"""Checks contributions' signatures against OpenSSH's allowed-signers file, with `ssh-keygen`.

Source: ssh-keygen(1), ALLOWED SIGNERS: a line for each key, `name@example.org namespaces="…" ssh-ed25519 AAAA…`.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from edge.bundle.signature import FLEET as NAMESPACE
from edge.bundle.signature import ssh_keygen
from edge.errors import FleetError, disk_errors_as


class Signers:
    """The keys that may sign contributions.

    Args:
        path: the allowed-signers file.

    Raises:
        FleetError: the file cannot be read.
        RuntimeMissing: ssh-keygen is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._tool = ssh_keygen()
        with disk_errors_as(FleetError, "file-unreadable", f"{path} cannot be read", "check the path"):
            path.read_bytes()
        self._path = path

    def check(self, name: str, data: bytes, signature: bytes | None) -> None:
        """Refuse a contribution that is not signed by one of them.

        Args:
            name: the contribution's name, for errors.
            signature: the contribution's signature; None if there is none.

        Raises:
            FleetError: it is not signed by an allowed signer, or the bytes were changed since.
        """
        if signature is None:
            raise FleetError("contribution-unsigned", f"{name} is not signed, but --signers {self._path} was given")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "signature")
            file.write_bytes(signature)
            told = self._ask("find-principals", file)
            who = told.stdout.decode("utf-8", "replace").splitlines()
            if told.returncode or not who:
                raise FleetError("contribution-unsigned", f"{name} is signed by a key that is not in {self._path}")
            if self._ask("verify", file, "-n", NAMESPACE, "-I", who[0], message=data).returncode:
                raise FleetError("contribution-unsigned", f"{name}: its signature does not fit it; it was changed")

    def _ask(self, what: str, signature: Path, *more: str, message: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [self._tool, "-Y", what, "-f", str(self._path), "-s", str(signature), *more]
        return subprocess.run(command, input=message, capture_output=True)
