"""Sign a bundle with an Ed25519 key of OpenSSH's, so that devices that pin it know who sent the bundle.

What is signed, and in which form, is told in edge/signature.py. Keys are made by `ssh-keygen -t ed25519 -f NAME`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge import bundle
from edge.bundle import Bundle
from edge.errors import SignatureError
from edge.signature import Key, armour, need_library, to_sign

_MAKE = "make one with: ssh-keygen -t ed25519 -f NAME"


def sign(path: Path, key: Path, when: str, passphrase: Callable[[], str | None]) -> Bundle:
    """Sign a bundle in its place; an older signature is replaced.

    Args:
        path: The bundle.
        key: The private key's file.
        when: ISO 8601, UTC. A device refuses what was signed before the newest bundle it adopted.
        passphrase: Asked only if the key has one; None where nobody can be asked.

    Raises:
        SignatureError: If the key is none, or another kind, or its passphrase does not fit.
        BundleError: If the bundle is damaged, or the path cannot be written.
        RuntimeMissing: If the package cryptography is not installed.
    """
    need_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = _private(key, passphrase)
    if not isinstance(private, Ed25519PrivateKey):
        raise SignatureError(f"{key} is a private key of another kind than ed25519; {_MAKE}")
    public = Key(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    opened = bundle.read(path)
    return bundle.sign(opened, when, lambda text: armour(public, private.sign(to_sign(text))))


def _private(file: Path, passphrase: Callable[[], str | None]) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        data = file.read_bytes()
    except OSError as error:
        raise SignatureError(f"{file} cannot be read ({error.strerror}); {_MAKE}") from None
    if data.startswith(b"ssh-"):
        raise SignatureError(f"{file} is a public key; give the private one: {file.with_suffix('')}")
    try:
        return load_ssh_private_key(data, None)
    except TypeError:  # it has a passphrase
        said = passphrase()
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureError(f"{file} is no private key of OpenSSH's; {_MAKE}") from None
    if said is None:
        raise SignatureError(f"{file} has a passphrase; run this in a terminal, or use a key without one")
    try:
        return load_ssh_private_key(data, said.encode())
    except (ValueError, TypeError):
        raise SignatureError(f"this is not the passphrase of {file}; try again") from None
    except UnsupportedAlgorithm:
        raise SignatureError(
            f"{file} has a passphrase, which needs the package bcrypt; run pip install bcrypt"
        ) from None
