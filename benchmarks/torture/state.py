"""What a home holds, as one line to compare, and whether it is whole."""

import hashlib
import json
import sqlite3
from pathlib import Path

from edge.care.verify import verify
from edge.errors import EdgeError
from edge.home.database import FILE, FOLDER
from edge.home.examples import IDENTITY
from edge.learner import Learner

NONE = "no home yet"
# What may differ: an init that was cut off may have made the folder already and noted the file that it was to write
# (which the next one deletes), a contribute what it was to send; who a home is, is drawn at random.
_NOTES = ("recent", FOLDER, "own_bundles", "fleet", IDENTITY)
_PASSING = {"milliseconds"}  # of a head's figures: another in each run


class Damaged(Exception):
    """A home that is not whole."""


def of(home: Path) -> str:
    """Return a digest of everything that a home has learned; `NONE` where no bundle was adopted yet.

    Raises:
        Damaged: it does not open, `verify` finds damage, or it cannot serve.
    """
    if not (home / FILE).exists():
        return NONE
    db = sqlite3.connect(home / FILE)
    try:
        adopted = db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").fetchone()[0]
        if not adopted or db.execute("SELECT value FROM meta WHERE key = 'serving'").fetchone() is None:
            return NONE
    except sqlite3.Error as error:
        raise Damaged(f"the database cannot be read: {error}") from error
    finally:
        db.close()
    try:
        for finding in verify(home).findings:
            if not finding.ok:
                raise Damaged(f"{finding.check}: {finding.seen}")
        warned: list[str] = []
        with Learner(home, warn=warned.append) as learner:
            learner.serving()
            learner.status()
    except EdgeError as error:
        raise Damaged(f"does not open: {error}") from error
    if warned:
        raise Damaged(warned[0])
    return _digest(home)


def images(home: Path) -> frozenset[str]:
    """Return the SHA-256 of every picture that a home was taught."""
    db = sqlite3.connect(home / FILE)
    try:
        return frozenset(row[0] for row in db.execute("SELECT image FROM examples"))
    finally:
        db.close()


def _digest(home: Path) -> str:
    seen = hashlib.sha256()
    db = sqlite3.connect(home / FILE)
    try:
        seen.update(repr(db.execute("PRAGMA user_version").fetchone()).encode())
        for table in ("labels", "examples", "heads", "factory", "meta"):
            for row in db.execute(f"SELECT * FROM {table} ORDER BY 1"):
                values = [_lasting(value) for value in row]
                if values[0] not in _NOTES:
                    seen.update(repr(values).encode())
        noted = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('own_bundles', 'bundle')"))
    finally:
        db.close()
    left = set(noted.get("own_bundles", "").split()) - {noted["bundle"]}  # the next command deletes these
    seen.update(repr(sorted(path.name for path in home.glob("*.edge") if path.name not in left)).encode())
    return seen.hexdigest()[:12]


def _lasting(value: object) -> object:
    """A value without what differs from run to run."""
    if isinstance(value, str) and value.startswith("{"):
        return {k: v for k, v in json.loads(value).items() if k not in _PASSING}
    return value
