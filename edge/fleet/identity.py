"""A device's id in its fleet: random and stored in the home, or derived from the key that it signs with.

The random one is drawn with the first example, long before it is needed: homes made from one backup have the same
examples and the same id, whether or not it was ever sent, so that the second of them to contribute is noticed.
"""

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from edge.bundle.signature import FLEET, Key, sign, signer
from edge.errors import FleetError, HomeError
from edge.fleet import notes
from edge.fleet.names import DEVICE
from edge.home.examples import IDENTITY
from edge.home.factory import DEVICE as _KEY

if TYPE_CHECKING:
    from edge.home.state import Home


def _stored(home: "Home", key: str) -> str | None:
    kept = home.recall(key)
    if kept is None or DEVICE.fullmatch(kept):
        return kept
    raise HomeError(
        "home-damaged",
        f"{home.home} is damaged ({kept!r:.40} is no device's id); draw another: edge contribute URL --id new",
    )


def unasked(home: "Home") -> str:
    """Return a home's id without asking for the key that it may sign with; if there is none yet, take the random one.

    Raises:
        HomeError: the stored id is damaged.
    """
    return _stored(home, _KEY) or device_of(home, None, fresh=False)


def device_of(home: "Home", key: Path | None, fresh: bool) -> str:
    """Return a home's id; if there is none yet, take the one drawn with its first example, or derive it from the key.

    Args:
        key: the private key that contributions are signed with.
        fresh: create a new id, and forget the contributions under the old one.

    Raises:
        FleetError: the home's id is not the key's, or earlier contributions were signed and no key is given now.
        SignatureError, RuntimeMissing: the key cannot sign.
    """
    signs = device_by(signer(sign(b"", key, FLEET))) if key else None
    store = home.store
    with store.transaction():
        known = None if fresh else _stored(home, _KEY)
        if known is None:
            known = signs or (None if fresh else _stored(home, IDENTITY)) or secrets.token_hex(16)
            store.put(_KEY, known)
            notes.forget(store)
    if signs is None and len(known) == 64:
        raise FleetError(
            "device-key", f"device {known[:8]} signs what it contributes; give its private key with --key, or --id new"
        )
    if signs not in (None, known):
        raise FleetError(
            "device-key",
            f"this home contributed as device {known[:8]} so far, but the key's id is {str(signs)[:8]}; take that id "
            f"with --id new, and drop the old one: edge-export fleet undo {known[:8]}",
        )
    return known


def device_by(key: Key) -> str:
    """Return the id of a device that signs with a key: 64 hexadecimal digits."""
    return hashlib.sha256(key.blob).hexdigest()
