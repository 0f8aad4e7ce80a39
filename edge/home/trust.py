"""The keys that a home trusts: if there are any, only bundles signed with one of them are accepted, and none that was
signed before the newest one installed so far.

The keys and the time of that newest signature are in the home's database, and change in its transactions. The clock of
the device is not used, because a Pi has none. Without a trusted key, all bundles are accepted.

Source: RAUC and Mender, which accept only signed updates, and no older ones. To go back, sign the older bundle again.
"""

import contextlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from edge.answers import Trusted, TrustedKey
from edge.bundle.archive import Bundle
from edge.bundle.signature import Key, ssh_keygen, verify
from edge.errors import HomeMissing, RuntimeMissing, SignatureError
from edge.home.store import Store, open_store
from edge.metrics.figures import read_json

_KEYS, _NEWEST = "trusted_keys", "newest_signed"  # in the table meta


@dataclass(frozen=True)
class Pins:
    """The trusted keys of a home."""

    keys: tuple[Key, ...] = ()  # the trusted keys; if there are none, all bundles are accepted
    newest: str | None = None  # when the newest bundle installed so far was signed, ISO 8601; None if none was signed

    def plus(self, key: Key | None) -> "Pins":
        """Add a key."""
        return self if key is None or key in self.keys else replace(self, keys=(*self.keys, key))

    def minus(self, word: str) -> "Pins":
        """Remove a key, given by its fingerprint, comment or line. With the last key, the time is removed as well.

        Raises:
            SignatureError: no such key is trusted, or several have that comment.
        """
        found = [key for key in self.keys if word in (key.fingerprint, key.comment, str(key))]
        if len(found) != 1:
            what = "several keys are" if found else "no key is"
            raise SignatureError(
                "key-unknown", f"{what} trusted as '{word}'; give the fingerprint printed by edge trust"
            )
        left = tuple(key for key in self.keys if key not in found)
        return Pins(left, self.newest if left else None)

    def check(self, bundle: Bundle) -> Key | None:
        """Refuse a bundle that this home must not accept; returns the key that signed it, or None without trusted keys.

        Raises:
            RuntimeMissing: a key is trusted, and ssh-keygen, which checks signatures, is not installed.
            SignatureError: the bundle is not signed, is signed with another key, was changed since, or is too old.
        """
        if not self.keys:
            return None
        ssh_keygen()
        if not bundle.signature or bundle.manifest.signed is None:
            raise SignatureError(
                "bundle-unsigned", f"{bundle.path} is not signed, but this home accepts only signed bundles; {_SIGN}"
            )
        try:
            key = verify(bundle.text, bundle.signature, self.keys)
        except SignatureError as error:
            raise SignatureError(error.code, f"{bundle.path}: {error}; {_SIGN}, or see: edge trust") from None
        if self.newest and datetime.fromisoformat(bundle.manifest.signed) < datetime.fromisoformat(self.newest):
            raise SignatureError(
                "bundle-older",
                f"{bundle.path} was signed {bundle.manifest.signed}, but this home already had one of {self.newest}; "
                "to go back on purpose, sign it again: edge-export sign",
            )
        return key

    def told(self, bundle: Bundle) -> Trusted:
        """Return these keys, and the signature of the installed bundle."""
        signer, problem = None, ""
        try:
            signer = self.check(bundle)
        except (SignatureError, RuntimeMissing) as error:
            problem = str(error)
        return Trusted(
            keys=tuple(TrustedKey(key.fingerprint, key.comment) for key in self.keys),
            bundle=bundle.manifest.name,
            signed=bundle.manifest.signed if signer else None,
            key=signer.fingerprint if signer else None,
            problem=problem,
        )

    def adopted(self, bundle: Bundle) -> "Pins":
        """Record that a bundle, which passed `check`, was installed."""
        return replace(self, newest=bundle.manifest.signed) if self.keys else self

    def counting(self, bundle: Bundle) -> "Pins":
        """Record the bundle that was installed before there was a trusted key, if it would have passed `check`."""
        if self.newest is None:
            with contextlib.suppress(SignatureError):
                if self.check(bundle):
                    return self.adopted(bundle)
        return self


_SIGN = "to sign it, run: edge-export sign BUNDLE --key KEY"


def pins(store: Store) -> Pins:
    """Read the trusted keys.

    Raises:
        HomeError: the stored keys are damaged; this is never treated as having none.
    """
    kept, newest = store.get(_KEYS), store.get(_NEWEST) or None
    try:
        keys = tuple(Key.parse(line) for line in read_json(kept)) if kept else ()
        if newest:
            datetime.fromisoformat(newest)
    except (ValueError, TypeError, AttributeError) as error:  # a SignatureError is a ValueError
        raise store.damaged("its trusted keys cannot be read", "restore a backup: edge restore FILE") from error
    return Pins(keys, newest)


def pins_of(home: Path) -> Pins:
    """Read the trusted keys of a home that may not exist yet."""
    try:
        with open_store(home) as store:
            return pins(store)
    except HomeMissing:
        return Pins()


def put_pins(store: Store, pins: Pins) -> None:
    """Store the trusted keys, as part of the caller's transaction."""
    store.put(_KEYS, json.dumps([str(key) for key in pins.keys]))
    store.put(_NEWEST, pins.newest or "")
