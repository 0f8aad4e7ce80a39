"""Who made a bundle: an Ed25519 signature over its manifest, in OpenSSH's form.

A manifest names the SHA-256 of every other entry, so that a signature over its bytes covers the whole bundle. A
SHA-256 alone says that nothing was damaged on the way; only a signature says who sent it.

Keys are OpenSSH's, `ssh-ed25519 AAAA… comment`: every workstation and Pi has `ssh-keygen` to make them, and a public
one is a line that can be pasted. The signature is what `ssh-keygen -Y sign -n edge-bundle` writes, and
`ssh-keygen -Y verify` checks it as well::

    signature = armour("SSHSIG" · version · public key · namespace · "" · hash · Ed25519(signed))
    signed    = "SSHSIG" · namespace · "" · hash · SHA-512(manifest.json)

where · joins, each string behind its length as a big-endian uint32. The namespace keeps a signature that was made for
something else from counting here.

Source: OpenSSH, PROTOCOL.sshsig and PROTOCOL.key; RFC 8709 (Ed25519 keys); RFC 8032. minisign's form was the other
candidate: nothing reads its keys but its own tool, which neither a Pi nor the library we need brings.
"""

import base64
import binascii
import hashlib
import importlib.util
import re
import struct
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import RuntimeMissing, SignatureError

NAMESPACE = b"edge-bundle"
REMEDY = "run pip install 'edge-transfer[trust]'"

_KIND = b"ssh-ed25519"
_PREAMBLE = b"SSHSIG"
_VERSION = struct.pack(">I", 1)
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_MAX_KEY = 10_000  # bytes of a file that holds one
_MAX_COMMENT = 100  # characters


@dataclass(frozen=True)
class Key:
    """A public key: `public` (32 bytes), and what its owner calls it, which says nothing of who that is.

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
        """Read OpenSSH's one line.

        Raises:
            SignatureError: it is no key, a private one, or one of another kind.
        """
        kind, _, rest = line.strip().partition(" ")
        text, _, comment = rest.strip().partition(" ")
        if "PRIVATE KEY" in line:
            raise SignatureError("this is a private key, which stays on the workstation; give the public one (.pub)")
        if kind != _KIND.decode():
            raise SignatureError(f"'{kind[:40]}' is no key that can be pinned; {_make()}")
        try:
            parts = _strings(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError, struct.error):
            parts = []
        if len(parts) != 2 or parts[0] != _KIND or len(parts[1]) != 32:
            raise SignatureError("this key is cut short or was changed; copy its line again, or give its .pub file")
        shown = "".join(c for c in comment if unicodedata.category(c)[0] != "C")
        return cls(parts[1], shown.strip()[:_MAX_COMMENT])

    @property
    def blob(self) -> bytes:
        """The key as OpenSSH packs it."""
        return packed(_KIND, self.public)

    @property
    def fingerprint(self) -> str:
        """What `ssh-keygen -l` shows of it."""
        return _fingerprint(self.blob)

    def __str__(self) -> str:
        return f"{_KIND.decode()} {base64.b64encode(self.blob).decode()} {self.comment}".strip()


def read_key(word: str) -> Key:
    """Read a public key: from a file that holds one, or from the line itself.

    Raises:
        SignatureError: there is no such file, or it holds no such key.
    """
    if word.startswith("ssh-"):
        return Key.parse(word)
    try:
        with Path(word).open("rb") as file:
            text = file.read(_MAX_KEY).decode("utf-8", "replace")
    except OSError as error:
        raise SignatureError(f"{word} cannot be read ({error.strerror}); give a .pub file, or its line") from None
    except ValueError:  # a zero byte
        raise SignatureError("this is neither a file nor a key; give a .pub file, or its line") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 and "PRIVATE KEY" not in text:
        raise SignatureError(f"{word} holds {len(lines)} lines, one key is expected; {_make()}")
    try:
        return Key.parse(text if "PRIVATE KEY" in text else lines[0])
    except SignatureError as error:
        raise SignatureError(f"{word}: {error}") from None


def verify(message: bytes, signature: bytes, keys: Iterable[Key]) -> Key:
    """Return which of the keys signed a message.

    Args:
        message: the bytes that were signed.
        signature: armoured, as `signature_of` and ssh-keygen write it.
        keys: those that count.

    Raises:
        RuntimeMissing: the library that checks signatures is not here; nothing is ever taken unchecked.
        SignatureError: none of them did, or the message was changed since.
    """
    need_library()
    parts = _opened(signature)
    blob, namespace, reserved, kind = parts[:4]
    key = next((key for key in keys if key.blob == blob), None)
    if key is None:
        raise SignatureError(f"signed by {_fingerprint(blob)}, a key that is not trusted here")
    if namespace != NAMESPACE or kind not in _HASHES:
        raise SignatureError("its signature was made for another purpose than a bundle")
    inner = _strings_or_none(parts[4])
    if len(inner) != 2 or inner[0] != _KIND or len(inner[1]) != 64:
        raise SignatureError("its signature is damaged")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    digest = _HASHES[kind](message).digest()
    try:
        signed = _PREAMBLE + packed(namespace, reserved, kind, digest)
        Ed25519PublicKey.from_public_bytes(key.public).verify(inner[1], signed)
    except (InvalidSignature, ValueError):
        raise SignatureError("its signature does not fit it: the bundle was changed after it was signed") from None
    return key


def to_sign(message: bytes) -> bytes:
    """Return the bytes that the private key signs, for `armour`."""
    return _PREAMBLE + packed(NAMESPACE, b"", b"sha512", hashlib.sha512(message).digest())


def armour(key: Key, raw: bytes) -> bytes:
    """Write a key's raw signature (64 bytes) of `to_sign(message)` as OpenSSH does."""
    blob = _PREAMBLE + _VERSION + packed(key.blob, NAMESPACE, b"", b"sha512", packed(_KIND, raw))
    text = base64.b64encode(blob).decode()
    return "\n".join([_BEGIN, *re.findall(".{1,70}", text), _END, ""]).encode()


def signer(signature: bytes) -> Key:
    """Return the key that a signature names, whether or not anybody trusts it, and unchecked.

    Raises:
        SignatureError: it is no signature, or not by a key of this kind.
    """
    parts = _strings_or_none(_opened(signature)[0])
    if len(parts) != 2 or parts[0] != _KIND or len(parts[1]) != 32:
        raise SignatureError("its signature is by a key of another kind than ssh-ed25519")
    return Key(parts[1])


def need_library() -> None:
    """Refuse to go on without the library that checks signatures.

    Raises:
        RuntimeMissing: it is not installed; the message says how to install it.
    """
    if importlib.util.find_spec("cryptography") is None:
        raise RuntimeMissing(f"signatures cannot be checked without the package cryptography; {REMEDY}")


def packed(*parts: bytes) -> bytes:
    """Join strings, each behind its length."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _opened(signature: bytes) -> list[bytes]:
    """Take the five strings out of an armoured signature."""
    lines = signature.decode("ascii", "replace").split("\n")
    try:
        if lines[0] != _BEGIN or lines[-2:] != [_END, ""]:
            raise ValueError
        text = "".join(lines[1:-2])
        blob = base64.b64decode(text, validate=True)
        head = len(_PREAMBLE) + len(_VERSION)
        if blob[:head] != _PREAMBLE + _VERSION or base64.b64encode(blob).decode() != text:  # one form only
            raise ValueError
        parts = _strings(blob[head:])
    except (ValueError, IndexError, struct.error):
        parts = []
    if len(parts) != 5:
        raise SignatureError("its signature is damaged")
    return parts


def _strings(data: bytes) -> list[bytes]:
    """Split what `packed` joined; raises struct.error or ValueError where it is no such thing."""
    parts = []
    while data:
        (length,) = struct.unpack_from(">I", data)
        if length > len(data) - 4:
            raise ValueError
        parts.append(data[4 : 4 + length])
        data = data[4 + length :]
    return parts


def _strings_or_none(data: bytes) -> list[bytes]:
    try:
        return _strings(data)
    except (ValueError, struct.error):
        return []


def _fingerprint(blob: bytes) -> str:
    """Name a key, which may be of any kind, as OpenSSH does."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _make() -> str:
    return "give an ssh-ed25519 one, as ssh-keygen -t ed25519 makes"
