"""Signatures of bundles: Ed25519 over the manifest, made and checked by OpenSSH's `ssh-keygen`.

The manifest contains the SHA-256 of every other entry, so a signature over the manifest covers the whole bundle. A
SHA-256 alone detects damage; only a signature shows who made the bundle.

Keys are OpenSSH's, `ssh-ed25519 AAAA… comment`: every workstation and Pi has `ssh-keygen` to make them, and a public
key is one line that can be pasted. The signature is the output of `ssh-keygen -Y sign -n edge-bundle`: base64 between
two lines, of ::

    "SSHSIG" · version · public key · namespace · "" · hash · Ed25519("SSHSIG" · namespace · "" · hash · SHA(message))

This module reads only the key and the namespace from it; `ssh-keygen -Y verify` does the rest. The namespace keeps a
signature that was made for another purpose from being accepted here.

Source: OpenSSH, PROTOCOL.sshsig and PROTOCOL.key; RFC 8709 (Ed25519 keys).
"""

import base64
import hashlib
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import RuntimeMissing, SignatureError, disk_errors_as

NAMESPACE = "edge-bundle"
FLEET = "edge-fleet"  # namespace for a device's contributions

_KIND = "ssh-ed25519"
_KEY = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"  # precedes the 32 bytes of a public key
_SIGNATURE = b"SSHSIG\0\0\0\1"  # version 1
_SIGNED_BY = _SIGNATURE + b"\0\0\0\x33" + _KEY
_SIGNED_FOR = b"\0\0\0\x0bedge-bundle\0\0\0\0"  # follows that public key
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_GIVE = "give an ssh-ed25519 one, as ssh-keygen -t ed25519 makes"
_MAKE = "make one with: ssh-keygen -t ed25519 -f NAME"
_MAX_KEY = 10_000  # bytes of a key file
_MAX_COMMENT = 100  # characters


@dataclass(frozen=True)
class Key:
    """A public key: `public` (32 bytes), and its comment, which proves nothing about the owner.

    >>> key = Key.parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna@bench")
    >>> key.comment, key.fingerprint
    ('anna@bench', 'SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA')
    >>> Key.parse(str(key)) == key
    True
    """

    public: bytes
    comment: str = field(default="", compare=False)

    @classmethod
    def parse(cls, line: str) -> "Key":
        """Parse OpenSSH's one-line format.

        Raises:
            SignatureError: the line is not a public key of this kind.
        """
        kind, _, rest = line.strip().partition(" ")
        text, _, comment = rest.strip().partition(" ")
        if "PRIVATE KEY" in line:
            raise SignatureError(
                "key-invalid", "this is a private key, which stays on the workstation; give the public one (.pub)"
            )
        if kind != _KIND:
            raise SignatureError("key-invalid", f"'{kind[:40]}' is no key that can be pinned; {_GIVE}")
        blob = _decoded(text) or b""
        if not blob.startswith(_KEY) or len(blob) != len(_KEY) + 32:
            raise SignatureError(
                "key-invalid", "this key is cut short or was changed; copy its line again, or give its .pub file"
            )
        shown = "".join(c for c in comment if unicodedata.category(c)[0] != "C")
        return cls(blob[len(_KEY) :], shown.strip()[:_MAX_COMMENT])

    @property
    def blob(self) -> bytes:
        """The key in OpenSSH's binary format."""
        return _KEY + self.public

    @property
    def fingerprint(self) -> str:
        """The fingerprint, as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{_KIND} {base64.b64encode(self.blob).decode()} {self.comment}".strip()


def read_key(word: str) -> Key:
    """Read a public key from a file, or from the line itself.

    Raises:
        SignatureError: the file is missing, or contains no such key.
    """
    if word.startswith("ssh-"):
        return Key.parse(word)
    try:
        with Path(word).open("rb") as file:
            text = file.read(_MAX_KEY).decode("utf-8", "replace")
    except OSError as error:
        raise SignatureError(
            "key-invalid", f"{word} cannot be read ({error.strerror}); give a .pub file, or its line"
        ) from None
    except ValueError:  # a zero byte
        raise SignatureError("key-invalid", "this is neither a file nor a key; give a .pub file, or its line") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 and "PRIVATE KEY" not in text:
        raise SignatureError("key-invalid", f"{word} holds {len(lines)} lines, one key is expected; {_GIVE}")
    try:
        return Key.parse(text if "PRIVATE KEY" in text else lines[0])
    except SignatureError as error:
        raise SignatureError(error.code, f"{word}: {error}") from None


def sign(message: bytes, key: Path, namespace: str = NAMESPACE) -> bytes:
    """Sign a message with a private key; ssh-keygen asks for its passphrase on the terminal.

    Raises:
        SignatureError: the file is not a private key of this kind, or the passphrase is wrong.
        RuntimeMissing: ssh-keygen is not installed.
    """
    tool = ssh_keygen()
    with disk_errors_as(SignatureError, "key-invalid", f"{key} cannot be read", _MAKE):
        public = key.read_bytes().startswith(b"ssh-")
    if public:
        raise SignatureError("key-invalid", f"{key} is a public key; give the private one: {key.with_suffix('')}")
    with tempfile.TemporaryDirectory() as folder:
        signed = Path(folder, "message")
        signed.write_bytes(message)
        command = [tool, "-q", "-Y", "sign", "-n", namespace, "-f", str(key.absolute()), str(signed)]
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


def verify(message: bytes, signature: bytes, keys: Iterable[Key]) -> Key:
    """Return which of the keys signed a message.

    Raises:
        RuntimeMissing: ssh-keygen is not installed, so nothing can be checked.
        SignatureError: none of the keys signed the message, or the message was changed since.
    """
    tool, by = ssh_keygen(), signer(signature)
    key = next((key for key in keys if key == by), None)
    if key is None:
        raise SignatureError("key-untrusted", f"signed by {by.fingerprint}, a key that is not trusted here")
    if not _opened(signature)[len(_SIGNED_BY) + 32 :].startswith(_SIGNED_FOR):
        raise SignatureError("signature-invalid", "its signature was made for another purpose than a bundle")
    try:
        with tempfile.TemporaryDirectory() as folder:  # readable only by this user
            allowed, found = f"{folder}/allowed", f"{folder}/signature"
            Path(allowed).write_text(f"edge {Key(key.public)}\n")
            Path(found).write_bytes(signature)
            command = [tool, "-Y", "verify", "-n", NAMESPACE, "-I", "edge", "-f", allowed, "-s", found]
            told = subprocess.run(command, input=message, capture_output=True)
    except OSError as error:
        raise RuntimeMissing(
            "library-missing", f"signatures cannot be checked: {error.strerror or error}; free some space"
        ) from error
    if told.returncode == 0:
        return key
    if b"incorrect signature" in told.stderr:
        raise SignatureError(
            "signature-invalid", "its signature does not fit it: the bundle was changed after it was signed"
        )
    raise SignatureError(
        "signature-invalid", "its signature is damaged, or ssh-keygen is older than OpenSSH 8.1 and cannot check it"
    )


def signer(signature: bytes) -> Key:
    """Return the key named in a signature, without verifying the signature.

    Raises:
        SignatureError: these bytes are not a signature by a key of this kind.
    """
    blob = _opened(signature)
    if not blob.startswith(_SIGNED_BY):
        raise SignatureError("signature-invalid", f"its signature is by a key of another kind than {_KIND}")
    return Key(blob[len(_SIGNED_BY) :][:32])


def ssh_keygen() -> str:
    """Find the program that makes and checks signatures.

    Raises:
        RuntimeMissing: ssh-keygen is not installed; the message says how to install it.
    """
    found = shutil.which("ssh-keygen")
    if found is None:
        raise RuntimeMissing(
            "library-missing",
            "signatures cannot be checked or made without ssh-keygen; run: sudo apt install openssh-client",
        )
    return found


def _opened(signature: bytes) -> bytes:
    """Remove a signature's armour lines."""
    lines = signature.decode("ascii", "replace").split("\n")
    whole = lines[0] == _BEGIN and lines[-2:] == [_END, ""]
    blob = _decoded("".join(lines[1:-2])) if whole else None
    if blob is None or not blob.startswith(_SIGNATURE) or len(blob) < len(_SIGNED_BY) + 32:
        raise SignatureError("signature-invalid", "its signature is damaged")
    return blob


def _decoded(text: str) -> bytes | None:
    """Decode base64; None if the text is not in canonical form."""
    try:
        blob = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return blob if base64.b64encode(blob).decode() == text else None
