"""Which files in a home's folder are the home's own: other files there are never changed or deleted.

A home may be in a folder with other files. A bundle is ours if the database says that it was copied there; our other
files have names that no other program uses. Partly written files of other programs are not ours either.
"""

import contextlib
import re
from collections.abc import Iterable

from edge.errors import EdgeError
from edge.home.database import FOLDER, Database

_BUNDLE = re.compile(r"[0-9a-f]{16}\.edge")
JOURNAL = re.compile(r"watched-[0-9a-f]{12}\.(jsonl|lock)")
RELEASE = re.compile(r"release-[0-9a-f]{16}\.part")  # of a fleet, on its way here
_BUNDLES = "own_bundles"  # in the table meta, as is


def own_bundles(store: Database) -> list[str]:
    """Return the names of the bundles that were copied into a home."""
    noted = store.get(_BUNDLES)
    noted = store.get("bundle") if noted is None else noted  # an older program noted that one alone
    return [name for name in (noted or "").split() if _BUNDLE.fullmatch(name)]


def put_own_bundles(store: Database, names: Iterable[str]) -> None:
    """Record the bundles that are copied into a home, as part of the caller's transaction."""
    store.put(_BUNDLES, " ".join(sorted(set(names))))


def close_to_others(store: Database) -> None:
    """Remove other users' permissions for a home's own files, unless the disk is read-only."""
    home, name = store.path.parent, store.path.name
    files = [store.path, home / f"{name}-wal", home / f"{name}-shm"]
    with contextlib.suppress(EdgeError, OSError):  # the damage is told by who needs what is damaged
        files += [home / bundle for bundle in own_bundles(store)]
        if store.get(FOLDER) == "1":
            files += [home, home / "turn.lock", *(p for p in home.glob("watched-*") if JOURNAL.fullmatch(p.name))]
    for path in files:
        with contextlib.suppress(OSError):
            if path.stat().st_mode & 0o077 and not path.is_symlink():
                path.chmod(0o700 if path == home else 0o600)
