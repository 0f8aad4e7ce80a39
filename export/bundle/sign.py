"""Sign a bundle with an Ed25519 key of OpenSSH, so that devices that trust the key know who made the bundle.

edge/bundle/signature.py describes the signed data and its form. `ssh-keygen -t ed25519 -f NAME` makes a key.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from edge.bundle import archive
from edge.bundle.archive import Bundle
from edge.bundle.signature import NAMESPACE, signer, ssh_keygen
from edge.errors import SignatureError

_MAKE = "make one with: ssh-keygen -t ed25519 -f NAME"


def sign(path: Path, key: Path, when: str) -> Bundle:
    """Sign a bundle in place, replacing an older signature. ssh-keygen asks for a passphrase if there is one.

    Args:
        path: The bundle.
        key: The file of the private key.
        when: ISO 8601, UTC. A device refuses a bundle signed before the newest one that it has installed.

    Raises:
        SignatureError: The file is not a key, or not of this kind, or its passphrase is wrong.
        BundleError: The bundle is damaged, or the path cannot be written.
        RuntimeMissing: ssh-keygen is not installed.
    """
    tool = ssh_keygen()
    try:
        public = key.read_bytes().startswith(b"ssh-")
    except OSError as error:
        raise SignatureError("key-invalid", f"{key} cannot be read ({error.strerror}); {_MAKE}") from None
    if public:
        raise SignatureError("key-invalid", f"{key} is a public key; give the private one: {key.with_suffix('')}")
    return archive.sign(archive.read(path), when, lambda text: _signature(tool, key, text))


def _signature(tool: str, key: Path, message: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        signed = Path(folder, "manifest")
        signed.write_bytes(message)
        command = [tool, "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key.absolute()), str(signed)]
        # stdin is not for passphrases: ssh-keygen asks for one on the terminal itself, if there is one
        told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if told.returncode == 0:
            signature = signed.with_suffix(".sig").read_bytes()
            try:
                signer(signature)
            except SignatureError:
                raise SignatureError(
                    "key-invalid", f"{key} is a private key, but not an ed25519 one; {_MAKE}"
                ) from None
            return signature
    if b"incorrect passphrase" in told.stderr:
        raise SignatureError(
            "key-passphrase",
            f"this is not the passphrase of {key}; try again in a terminal, which can ask for it, "
            "or use a key without one",
        )
    if b"too open" in told.stderr:
        raise SignatureError("key-invalid", f"others can read the private key {key}; run: chmod 600 {key}")
    raise SignatureError("key-invalid", f"{key} is no private key of OpenSSH's; {_MAKE}")
