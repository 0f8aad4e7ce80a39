"""The schema of a home's database, and the migrations from older ones.

| table | contains |
|---|---|
| labels | id, name: the only place where a label is a number |
| examples | a label with an embedding (float32, little-endian), its backbone, the picture's SHA-256, 8×8 thumbnail and
  look (edge/unknown/domain.py), the newest generation there was when it got another label |
| heads | every generation: the head's bytes and its gate's, its columns' label ids, figures, the last example seen,
  what it gave its examples' labels, the CRC-32 of them |
| factory | the labels of all bundles so far, by their names there, with their ids here; NULL: it was forgotten |
| meta | the adopted bundle, its labels' ids, the serving generation, the recent frames' ranks |

`PRAGMA user_version` numbers the schema.
"""

import sqlite3
import zlib
from pathlib import Path

from edge.errors import HomeError

# Each entry takes the schema one version up; only ever append.
_MIGRATIONS = (
    """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE labels(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE examples(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        label INTEGER NOT NULL REFERENCES labels(id),
        embedding BLOB NOT NULL,
        backbone TEXT NOT NULL,
        image TEXT NOT NULL UNIQUE,
        session TEXT,
        source TEXT NOT NULL,
        created TEXT NOT NULL,
        held_out INTEGER NOT NULL DEFAULT 0,
        crop BLOB
    ) STRICT;
    CREATE INDEX examples_by_label ON examples(label);
    CREATE TABLE heads(
        generation INTEGER PRIMARY KEY AUTOINCREMENT,
        created TEXT NOT NULL,
        method TEXT NOT NULL,
        backbone TEXT NOT NULL,
        labels TEXT NOT NULL,
        head BLOB,
        figures TEXT NOT NULL,
        last_example INTEGER NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE heads ADD COLUMN gate BLOB;
    ALTER TABLE examples ADD COLUMN thumb BLOB;
    """,
    "ALTER TABLE heads ADD COLUMN own BLOB;",
    "ALTER TABLE examples ADD COLUMN relabelled_after INTEGER NOT NULL DEFAULT 0;",
    """
    ALTER TABLE examples ADD COLUMN crc INTEGER;
    ALTER TABLE heads ADD COLUMN crc INTEGER;
    UPDATE heads SET crc = crc32(labels, head, gate, own);
    """,  # the older examples would all have to be written anew: theirs stays unknown
    "ALTER TABLE examples ADD COLUMN look BLOB;",
    """
    CREATE TABLE IF NOT EXISTS factory(
        name TEXT PRIMARY KEY, label INTEGER REFERENCES labels(id) ON DELETE SET NULL
    ) STRICT, WITHOUT ROWID;
    """,
    "CREATE INDEX examples_at_a_glance ON examples(held_out, label, relabelled_after);",  # no row is read to count them
)
_TABLES = {"meta", "labels", "examples", "heads"}  # of every version


def check(db: sqlite3.Connection, path: Path) -> int:
    """Return a database's schema version.

    Raises:
        HomeError: a newer program wrote the database.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(_MIGRATIONS):
        raise HomeError(
            "too-new",
            f"{path} has schema {version}, but this version knows only {len(_MIGRATIONS)}: it was written by "
            "a newer version; upgrade edge-transfer",
        )
    return version


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring a database up to date, in one transaction; the function `crc32` must be registered.

    Raises:
        HomeError: a newer or another program made this database; it is not changed.
    """
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    version = check(db, path)  # after its tables: another process may be making them
    ours = tables.issuperset(_TABLES) if version else not tables
    if not ours:
        raise HomeError(
            "home-foreign",
            f"{path} is not the database of a home: another program made it, or it is damaged. It was not changed; "
            "choose another folder with --home, or restore a backup: edge --home DIR restore FILE",
        )
    if version == len(_MIGRATIONS):
        return
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    version = check(db, path)  # another process may have been faster
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        for statement in script.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")
    db.execute("COMMIT")


def crc32(*parts: bytes | str | None) -> int:
    """Return the CRC-32 of the parts one after another, ignoring NULL."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part.encode() if isinstance(part, str) else part or b"", crc)
    return crc
