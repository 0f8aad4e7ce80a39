"""The rows of the home's database: examples, labels, heads, and settings; and how its file is opened.

`schema` defines the tables, `database` makes transactions. SQLite does not check types when it
reads, and a damaged card changes bytes. So `labels`, `examples` and `heads`, which together make a store, check every
row that they read, and a CRC-32 shows whether an embedding or a head is damaged.
"""

import os
import sqlite3
from pathlib import Path

from edge.errors import HomeError, disk_errors_as
from edge.files import make_folder, sync_folder
from edge.home import database, schema
from edge.home.database import FILE, FOLDER, explained, missing, primary
from edge.home.examples import Examples
from edge.home.heads import Heads
from edge.home.ours import close_to_others


class Store(Examples, Heads):
    """An open home's database. Use as a context manager; group changes with `transaction`."""


def open_store(home: Path, create: bool = False) -> Store:
    """Open a home, bringing an older schema up to date.

    Args:
        create: create the folder (0700) and the database (0600) if necessary; an existing folder is not changed.

    Raises:
        HomeMissing: the home does not exist and `create` is False.
        HomeBusy, HomeError: the database cannot be opened, is damaged, or was written by a newer program.
    """
    store = Store(_open(home, create), home / FILE)
    close_to_others(store)
    return store


def _open(home: Path, create: bool) -> sqlite3.Connection:
    path = home / FILE
    made = False
    if create:
        unusable = f"{home} cannot be used as the home"
        with disk_errors_as(HomeError, "home-unwritable", unusable, "choose another one with --home"):
            made = not home.is_dir()
            make_folder(home)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # one that is there is not even touched
            sync_folder(home)
    else:
        _refuse_strangers(home, path)
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise missing(home) from None
    with explained(path):
        try:
            db = _connect(path)
            if made:
                db.execute("INSERT INTO meta VALUES (?, '1') ON CONFLICT DO NOTHING", (FOLDER,))
            return db
        except sqlite3.OperationalError as error:
            if primary(error) not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
                raise
        # Processes share an index of the log in a file of its own. Where a read-only disk has none, nobody writes and
        # none is needed; where a full disk has no room for it, we keep it in memory, alone.
        if os.statvfs(home).f_flag & os.ST_RDONLY:
            return _connect(path, "?immutable=1")
        return _connect(path, first="PRAGMA locking_mode = EXCLUSIVE")


def _refuse_strangers(home: Path, path: Path) -> None:
    """Refuse a home, or the database in a folder that everybody may enter, that is another user's alone."""
    for place, needed in ((home, os.X_OK), (path, os.R_OK)):
        if os.access(place, os.F_OK) and not os.access(place, needed) and place.stat().st_uid != os.getuid():
            as_owner = f"sudo -u '#{place.stat().st_uid}' edge --home {home} …"
            raise HomeError(
                "home-not-yours", f"{home} belongs to another user; run the command as that user: {as_owner}"
            )


def _connect(path: Path, options: str = "", first: str = "") -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}{options}"
    # The home's lock lets one thread at a time use it, whichever: SQLite need not insist on the one that opened it.
    connection = sqlite3.connect(
        address, uri=True, timeout=database.WAIT, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute(first)
        connection.create_function("crc32", -1, schema.crc32, deterministic=True)
        for setting in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {setting}")
        schema.migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection
