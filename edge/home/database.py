"""The home's database as a file: make transactions, check it, and report SQLite's errors in one line.

A write-ahead log, synced at each commit (`synchronous=FULL`), ensures that a power cut loses only changes that were not
acknowledged. `secure_delete` overwrites forgotten data. SQLite notices damage to the file's structure.

Source: sqlite.org on WAL, `PRAGMA synchronous` and `PRAGMA secure_delete`.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from edge.errors import HomeBusy, HomeError, HomeMissing
from edge.home import schema
from edge.home.lock import turn

FILE = "learner.db"
TURN = "turn.lock"
FOLDER = "own_folder"
"""Whether we made the home's folder ("1", in the table meta): the permissions of one that was there are its owner's."""
WAIT = 30.0  # seconds for another process's lock

_PUT = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_DAMAGED = "it is damaged ({}); restore a backup (edge restore FILE), or move it away and run edge init again"


class Database:
    """An open database. Use as a context manager; group changes with `transaction`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self.path = path
        self._changing = False  # inside a transaction

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the last process to close it folds in the write-ahead log."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes inside it one transaction: all are kept or, after an error, none. Nested ones join the
        outer.

        Raises:
            HomeBusy, HomeError: the database cannot be written; the message says why.
        """
        if self._changing:
            yield
            return
        with explained(self.path), turn(self.path.with_name(TURN), WAIT):
            self._db.execute("BEGIN IMMEDIATE")
            self._changing = True
            try:
                schema.check(self._db, self.path)  # a newer program may have come since we opened it
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._changing = False

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the home inside it, while other processes may write; no process waits for it."""
        with explained(self.path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")

    def get(self, key: str) -> str | None:
        """Return a meta value, or None."""
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else str(self._typed(row, str)[0])

    def meta(self, key: str) -> str:
        """Return a meta value that every home has.

        Raises:
            HomeError: the value is missing, so the database is damaged.
        """
        value = self.get(key)
        if value is None:
            raise self.damaged(f"it has no {key}", "restore a backup, or run edge init again")
        return value

    def put(self, key: str, value: str) -> None:
        """Set a meta value."""
        self._db.execute(_PUT, (key, value))

    def note(self, key: str, value: str) -> None:
        """Set a meta value that may be lost, without syncing, which would wear the card, and without waiting.

        If the disk refuses it, or another process holds the lock, no error is raised.
        """
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA busy_timeout = 100")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self.put(key, value)
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA busy_timeout = {int(1000 * WAIT)}")

    def version(self) -> int:
        """Return a number that changes with every change, by this or another process."""
        return self._number("PRAGMA data_version") << 32 | self._db.total_changes

    def damaged(self, how: str, remedy: str) -> HomeError:
        """Return the error for something in the database that was not written there."""
        return HomeError("home-damaged", f"{self.path} is damaged ({how}); {remedy}")

    def damage(self) -> str:
        """Check the whole file; return the first damage found, or ""."""
        found = self.damages(1, "quick_check")
        return found[0] if found else ""

    def damages(self, most: int, check: str = "integrity_check") -> list[str]:
        """Check the whole file and, unless `check` is "quick_check", its indexes; return the damage found."""
        found = [" ".join(str(row[0]).split()) for row in self._all(f"PRAGMA {check}({most})")]
        return [] if found == ["ok"] else found

    def rebuild_indexes(self) -> None:
        """Rebuild every index from its table, inside a transaction."""
        with explained(self.path):
            self._db.execute("REINDEX")

    def copy_to(self, path: Path) -> None:
        """Copy one state of the database to a new file, while other processes may write.

        Raises:
            HomeError: the database cannot be read, or the disk refuses.
        """
        path.touch(mode=0o600)
        with explained(self.path):
            copy = sqlite3.connect(path)
            try:
                self._db.backup(copy)
            finally:
                copy.close()

    def scrub(self) -> None:
        """Fold the write-ahead log into the file and empty it, so that forgotten data is in neither.

        Raises:
            HomeError: the disk refuses, or another process reads for too long; the last to close the home does it.
        """
        try:
            with explained(self.path):
                done = self._one("PRAGMA wal_checkpoint(TRUNCATE)")  # (1, …) if others are in the way
        except HomeError as error:
            raise self._unscrubbed(str(error)) from error
        if done is not None and done[0]:
            raise self._unscrubbed("another program is reading it")

    def _unscrubbed(self, why: str) -> HomeError:
        return HomeError(
            "forget-unscrubbed",
            f"the examples are forgotten, but their bytes remain in {self.path}-wal until the last program "
            f"closes this home ({why})",
        )

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        with explained(self.path):
            row: tuple[Any, ...] | None = self._db.execute(sql, values).fetchone()
            return row

    def _number(self, sql: str, *values: object) -> int:
        """Return the number of a query that always gives one."""
        with explained(self.path):
            return int(self._db.execute(sql, values).fetchone()[0])

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with explained(self.path):
            return self._db.execute(sql, values).fetchall()

    def _typed(self, row: tuple[Any, ...], *kinds: Any) -> tuple[Any, ...]:
        """Return a row after checking the types of its values, which damage may have changed.

        Raises:
            HomeError: a value has another type.
        """
        for value, kind in zip(row, kinds, strict=True):
            if not isinstance(value, kind):
                told = f"it contains {value!r:.40} instead of {getattr(kind, '__name__', kind)}"
                raise self.damaged(told, "to check it, run: edge verify")
        return row


def closed(home: Path) -> HomeError:
    """The error for a home that the program itself has closed."""
    return HomeError("home-closed", f"{home} was closed; open it again: Learner({str(home)!r})")


def missing(home: Path) -> HomeMissing:
    """The error for a missing home, with the command that creates it."""
    return HomeMissing(
        "home-missing", f"there is no home at {home}; to create it, run: edge --home {home} init NAME.edge"
    )


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line each that says what to do."""
    busy = f"{path} has been locked by another process for {WAIT:.0f} s; try again"
    try:
        yield
    except TimeoutError as error:
        raise HomeBusy("home-busy", busy) from error
    except UnicodeDecodeError as error:  # what SQLite says of the damage quotes it
        raise HomeError("home-damaged", f"{path}: {_DAMAGED.format('its schema is not text')}") from error
    except sqlite3.Error as error:
        if "closed database" in str(error):
            raise closed(path.parent) from error
        code, told = primary(error), " ".join(str(error).split())
        if code == sqlite3.SQLITE_IOERR and not os.statvfs(path.parent).f_bavail:
            code = sqlite3.SQLITE_FULL
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise HomeBusy("home-busy", busy) from error
        kind, advice = {
            sqlite3.SQLITE_READONLY: (
                "home-unwritable",
                "it is read-only; make it writable, or choose another one with --home",
            ),
            sqlite3.SQLITE_CANTOPEN: (
                "home-unwritable",
                "it cannot be opened; check its permissions, or choose another one with --home",
            ),
            sqlite3.SQLITE_FULL: (
                "home-unwritable",
                "the disk is full and nothing was changed; free some space and run the command again",
            ),
            sqlite3.SQLITE_IOERR: (
                "home-unwritable",
                f"the disk reports an error ({told}); save a copy of the folder and check the card",
            ),
            sqlite3.SQLITE_CORRUPT: ("home-damaged", _DAMAGED.format(told)),
            sqlite3.SQLITE_NOTADB: (
                "home-foreign",
                "it is not a database of edge; move it away and run edge init again",
            ),
        }.get(code, ("home-damaged", f"it cannot be used ({told}); to check it, run: edge verify"))
        raise HomeError(kind, f"{path}: {advice}") from error


def primary(error: sqlite3.Error) -> int:
    """Return the primary result code, which is the low byte of the extended one."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
