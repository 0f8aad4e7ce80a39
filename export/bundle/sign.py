"""Sign a bundle with an Ed25519 key of OpenSSH, so that devices that trust the key know who made the bundle.

edge/bundle/signature.py describes the signed data and its form. `ssh-keygen -t ed25519 -f NAME` makes a key.
"""

from __future__ import annotations

from pathlib import Path

from edge.bundle import archive, signature
from edge.bundle.archive import Bundle


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
    return archive.sign(archive.read(path), when, lambda text: signature.sign(text, key))
