"""The home's database: everything a device has learned, in one SQLite file whose every change is one transaction.

| table | holds |
|---|---|
| labels | id, name: the only place where a label is a number |
| examples | a label with an embedding (float32, little-endian), its backbone, the picture's SHA-256 and 8×8 thumbnail,
  the newest generation there was when it got another label |
| heads | every generation: the head's bytes and its gate's, its columns' label ids, figures, the last example seen,
  what it gave its examples' labels, the CRC-32 of them |
| meta | the adopted bundle, the serving generation, the label ids of the factory's examples, the recent frames' ranks |

A write-ahead log, synced at each commit (`synchronous=FULL`), makes a power cut lose at most what was never
acknowledged; `secure_delete` overwrites what is forgotten. `PRAGMA user_version` numbers the schema. SQLite notices
when a card's damage breaks its structure, and a CRC-32 when it changes an embedding or a head. SQLite does not look
at types when it reads: every row that leaves this module has been looked at here.

Source: sqlite.org on WAL, `PRAGMA synchronous` and `PRAGMA secure_delete`.
"""

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import HomeBusy, HomeError, HomeMissing, LabelError
from edge.figures import read_figures, read_ids
from edge.files import make_folder, sync_folder
from edge.turn import turn

FILE = "learner.db"
TURN = "turn.lock"
WAIT = 30.0  # seconds for another process's lock

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
)
_HEAD = "generation, created, method, backbone, labels, head, figures, last_example, gate, own, crc"
_DAMAGED = "it is damaged ({}); restore a backup (edge restore FILE), or move it away and run edge init again"
_FORGET = "head = NULL, gate = NULL, own = NULL"  # all of a generation that tells of its examples


@dataclass(frozen=True)
class Example:
    """One taught picture, without its embedding."""

    id: int
    label: str
    image: str  # SHA-256 of the file
    session: str | None
    source: str  # the path it was taught from
    created: str


class Labelled(NamedTuple):
    """What a head is fitted to: the example of this id was named so, in this session."""

    id: int
    label: str
    session: str | None


@dataclass(frozen=True)
class Embedded:
    """A picture about to be stored."""

    label: str
    embedding: NDArray[np.float32]  # (D,)
    image: str
    source: str
    thumb: NDArray[np.uint8] | None = None  # (8, 8, 3)
    crop: bytes | None = None  # what the network saw of it, as JPEG


@dataclass(frozen=True)
class Generation:
    """One numbered head. `head` is None once it was scrubbed because it had learned from something forgotten.

    `gate` is None where there is none: too few examples, switched off, scrubbed, or older than gates are.
    """

    generation: int
    created: str
    method: str
    backbone: str
    labels: tuple[str, ...]
    head: bytes | None
    figures: Mapping[str, Any]
    last_example: int  # the newest one that there was
    gate: bytes | None = None
    own: bytes | None = None  # what it gave its examples' labels, each left out: see edge/versus.py
    damaged: bool = False  # what the disk gives back is not what was written


class Store:
    """An open home. Use as a context manager; group changes with `transaction`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self.path = path

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in by the last to leave."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes inside it one: all of them are kept, or, after an error, none.

        Raises:
            HomeBusy, HomeError: the database cannot be written; the message says why.
        """
        with _explained(self.path), turn(self.path.with_name(TURN), WAIT):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                _schema(self._db, self.path)  # a newer program may have come since we opened it
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the home inside it, whatever others write meanwhile; nobody waits for it."""
        with _explained(self.path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")

    def version(self) -> int:
        """Return a number that is another one after every change, by this or another process."""
        row = self._one("PRAGMA data_version")
        assert row is not None
        return int(row[0]) << 32 | self._db.total_changes

    # meta ---------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> str | None:
        """Return a meta value, or None."""
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else str(self._typed(row, str)[0])

    def put(self, key: str, value: str) -> None:
        """Set a meta value."""
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
        )

    def note(self, key: str, value: str) -> None:
        """Set a meta value that may be lost: not synced, so that it wears no card, and never waited for.

        A disk that refuses it, or another process that holds the lock, is no error.
        """
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA busy_timeout = 100")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self.put(key, value)
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA busy_timeout = {int(1000 * WAIT)}")

    # labels -------------------------------------------------------------------------------------------------------

    def labels(self) -> dict[int, str]:
        """Return all label names by id."""
        rows = self._all("SELECT id, name FROM labels ORDER BY id")
        return {int(i): name for i, name in (self._typed(row, int, str) for row in rows)}

    def label_id(self, name: str) -> int | None:
        """Return a label's id, or None if it is not known."""
        row = self._one("SELECT id FROM labels WHERE name = ?", name)
        return None if row is None else int(row[0])

    def add_label(self, name: str) -> int:
        """Return a label's id, which is new if the label is."""
        self._db.execute("INSERT INTO labels(name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
        found = self.label_id(name)
        assert found is not None
        return found

    def rename_label(self, old: str, new: str) -> None:
        """Give a label another name; every example and head follows, as they hold its id."""
        if self.label_id(new) is not None:
            raise LabelError(f"label '{new}' exists already; choose another name, or relabel the examples of '{old}'")
        self._db.execute("UPDATE labels SET name = ? WHERE name = ?", (new, old))

    # examples -----------------------------------------------------------------------------------------------------

    def add_example(
        self, item: Embedded, backbone: str, session: str | None, created: str, held_out: bool = False
    ) -> int:
        """Store one example, unless its picture is known already, and return the id of the one that is there."""
        label = self.add_label(item.label)
        blob = _to_blob(item.embedding)
        self._db.execute(
            "INSERT INTO examples"
            "(label, embedding, backbone, image, session, source, created, thumb, held_out, crop, crc)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (
                label,
                blob,
                backbone,
                item.image,
                session,
                item.source,
                created,
                _thumb(item.thumb),
                held_out,
                item.crop,
                _crc32(blob),
            ),
        )
        row = self._one("SELECT id FROM examples WHERE image = ?", item.image)
        assert row is not None
        return int(row[0])

    def examples(self, where: str = "TRUE", *values: object) -> list[Example]:
        """List examples, oldest first; `where` is SQL over the columns of `examples` and `labels.name`."""
        rows = self._all(
            "SELECT examples.id, labels.name, image, session, source, created FROM examples"
            f" JOIN labels ON labels.id = examples.label WHERE {where} ORDER BY examples.id",
            *values,
        )
        return [Example(*self._typed(row, int, str, str, str | None, str, str)) for row in rows]

    def labelled(self, held_out: bool = False) -> list[Labelled]:
        """List what heads are fitted to, or never are, in an order that depends on what was taught and not on when."""
        rows = self._all(
            "SELECT examples.id, labels.name, session FROM examples JOIN labels ON labels.id = examples.label"
            " WHERE held_out = ? ORDER BY session, labels.name, image",
            held_out,
        )
        known: dict[str, str] = {}  # one string object for each label and session
        found = (self._typed(row, int, str, str | None) for row in rows)
        return [Labelled(i, *(name and known.setdefault(name, name) for name in names)) for i, *names in found]

    def embeddings(self, ids: Sequence[int], dimension: int) -> NDArray[np.float32]:
        """Return these examples' embeddings (N, D), in this order.

        Raises:
            HomeError: one is not there, or is not what was written; the database is damaged.
        """
        result = np.empty((len(ids), dimension), np.float32)
        with _explained(self.path):
            for row, example in zip(result, ids, strict=True):
                found = self._db.execute("SELECT embedding, crc FROM examples WHERE id = ?", (example,)).fetchone()
                if found is None:
                    raise HomeError(
                        f"{self.path}: example {example} is gone; it was just forgotten: repeat the command; or the "
                        "database is damaged: look at it: edge verify"
                    )
                blob, crc = found
                if not _whole(blob, crc, dimension):
                    raise HomeError(
                        f"{self.path}: example {example} is damaged ({_size(blob)} for {dimension} numbers); "
                        f"run: edge forget {example}"
                    )
                row[:] = np.frombuffer(blob, "<f4")
        return result

    def damaged_examples(self, dimension: int) -> list[int]:
        """Look at every embedding; return the numbers of the examples whose embedding is not what was written."""
        with _explained(self.path):
            rows = self._db.execute("SELECT id, embedding, crc FROM examples ORDER BY id")
            return [int(i) for i, blob, crc in rows if not _whole(blob, crc, dimension)]

    def thumbs(self) -> dict[int, NDArray[np.uint8]]:
        """Return the thumbnails (8, 8, 3) of the examples that have one, by example."""
        rows = self._all(
            "SELECT id, thumb FROM examples WHERE typeof(thumb) = 'blob' AND length(thumb) = 192 ORDER BY id"
        )
        return {int(i): np.frombuffer(blob, np.uint8).reshape(8, 8, 3) for i, blob in rows}

    def crop(self, example: int) -> bytes | None:
        """Return what the network saw of an example, as JPEG, if it was kept."""
        row = self._one("SELECT crop FROM examples WHERE id = ?", example)
        return None if row is None else self._typed(row, bytes | None)[0]

    def known_images(self) -> frozenset[str]:
        """Return the SHA-256 of every taught picture."""
        return frozenset(str(row[0]) for row in self._all("SELECT image FROM examples"))

    def count(self) -> int:
        """Return how many examples there are."""
        row = self._one("SELECT count(*) FROM examples")
        assert row is not None
        return int(row[0])

    def last_example(self) -> int:
        """Return the newest example's number; 0 if there is none."""
        row = self._one("SELECT coalesce(max(id), 0) FROM examples")
        assert row is not None
        return int(row[0])

    def last_fitted(self) -> int:
        """Return the newest example that there was when one of the heads that are left was fitted."""
        row = self._one("SELECT coalesce(max(last_example), 0) FROM heads WHERE head IS NOT NULL")
        assert row is not None
        return int(self._typed(row, int)[0])

    def count_after(self, generation: int) -> int:
        """Return how many examples were taught, or got another label, since a generation was made."""
        row = self._one(
            "SELECT count(*) FROM examples WHERE NOT held_out"
            " AND (id > (SELECT last_example FROM heads WHERE generation = ?1) OR relabelled_after >= ?1)",
            generation,
        )
        assert row is not None
        return int(row[0])

    def remove_examples(self, ids: Sequence[int]) -> None:
        """Delete examples, and overwrite every head that may have learned from one of them."""
        taught = "SELECT min(id) FROM examples WHERE NOT held_out AND id IN (SELECT value FROM json_each(?))"
        self._db.execute(f"UPDATE heads SET {_FORGET} WHERE last_example >= ({taught})", (json.dumps(ids),))
        self._db.executemany("DELETE FROM examples WHERE id = ?", [(i,) for i in ids])

    def relabel_examples(self, ids: Sequence[int], name: str) -> None:
        """Give examples another label."""
        label = self.add_label(name)
        self._db.executemany(
            "UPDATE examples SET label = ?1, relabelled_after = (SELECT coalesce(max(generation), 0) FROM heads)"
            " WHERE id = ?2 AND label != ?1",
            [(label, i) for i in ids],
        )

    def remove_label(self, name: str) -> None:
        """Forget a label's name and overwrite every head that has a column for it; its examples must be gone."""
        label = self.label_id(name)
        heads = "SELECT generation FROM heads, json_each(heads.labels) WHERE json_each.value = ?"
        self._db.execute(f"UPDATE heads SET {_FORGET} WHERE generation IN ({heads})", (label,))
        self._db.execute("DELETE FROM labels WHERE id = ?", (label,))

    def damage(self) -> str:
        """Look through the whole file; return the first damage found, or ""."""
        found = self.damages(1, "quick_check")
        return found[0] if found else ""

    def damages(self, most: int, check: str = "integrity_check") -> list[str]:
        """Look through the whole file and, unless `check` is "quick_check", its indexes; return the damage found."""
        found = [" ".join(str(row[0]).split()) for row in self._all(f"PRAGMA {check}({most})")]
        return [] if found == ["ok"] else found

    def stray_references(self) -> list[str]:
        """Return a line for each thing that names a label that there is not."""
        rows = self._all("PRAGMA foreign_key_check")
        found = [f"row {row} of {table} names no {parent}" for table, row, parent, _ in rows[:10]]
        try:
            factory = read_ids(self.get("factory_labels") or "[]")
        except (ValueError, HomeError):
            return [*found, "the factory's labels cannot be read"]
        known = self.labels()
        return found + [f"the factory's label {i} is missing" for i in factory if i is not None and i not in known]

    def rebuild_indexes(self) -> None:
        """Make every index anew from its table, inside a transaction."""
        with _explained(self.path):
            self._db.execute("REINDEX")

    def copy_to(self, path: Path) -> None:
        """Write one state of the database to a new file while others go on writing.

        Raises:
            HomeError: it cannot be read, or the disk refuses.
        """
        path.touch(mode=0o600)
        with _explained(self.path):
            copy = sqlite3.connect(path)
            try:
                self._db.backup(copy)
            finally:
                copy.close()

    def scrub(self) -> None:
        """Fold the write-ahead log into the file and cut it to nothing: what was forgotten is in neither.

        Raises:
            HomeError: the disk refuses, or others read for longer than we wait; the last to close the home does it.
        """
        try:
            with _explained(self.path):
                done = self._one("PRAGMA wal_checkpoint(TRUNCATE)")  # (1, …) if others are in the way
        except HomeError as error:
            raise self._unscrubbed(str(error)) from error
        if done is not None and done[0]:
            raise self._unscrubbed("another program reads it")

    def _unscrubbed(self, why: str) -> HomeError:
        return HomeError(
            f"it is forgotten, but its bytes stay in {self.path}-wal until the last program closes this home ({why})"
        )

    # heads --------------------------------------------------------------------------------------------------------

    def add_head(
        self,
        head: bytes,
        labels: Sequence[str],
        method: str,
        backbone: str,
        figures: Mapping[str, Any],
        created: str,
        last_example: int,
        gate: bytes | None = None,
        own: bytes | None = None,
    ) -> int:
        """Store a head and its gate as the next generation and return its number.

        Args:
            head, gate, own: bytes.
            labels: of its columns.
            method, backbone, figures, created: what is told of it.
            last_example: the newest one that there was when it was fitted.
        """
        ids = [self.add_label(name) for name in labels]
        cursor = self._db.execute(
            "INSERT INTO heads(created, method, backbone, labels, head, figures, gate, own, last_example, crc)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, crc32(?4, ?5, ?7, ?8))",
            (created, method, backbone, json.dumps(ids), head, json.dumps(figures), gate, own, last_example),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def generation(self, number: int) -> Generation | None:
        """Return one generation, or None."""
        row = self._one(f"SELECT {_HEAD} FROM heads WHERE generation = ?", number)
        return None if row is None else self._generation(row, self.labels())

    def generation_numbers(self) -> list[int]:
        """Return the number of every generation, oldest first, reading none of them."""
        return [int(row[0]) for row in self._all("SELECT generation FROM heads ORDER BY generation")]

    def has_head(self, generation: int) -> bool:
        """Whether a generation's head was not overwritten."""
        row = self._one("SELECT head IS NOT NULL FROM heads WHERE generation = ?", generation)
        return row is not None and bool(row[0])

    def overwrite_head(self, generation: int) -> None:
        """Make a generation one that can never serve."""
        self._db.execute(f"UPDATE heads SET {_FORGET} WHERE generation = ?", (generation,))

    def generations(self) -> list[Generation]:
        """Return every generation, oldest first."""
        names = self.labels()
        return [self._generation(row, names) for row in self._all(f"SELECT {_HEAD} FROM heads ORDER BY generation")]

    def _generation(self, row: tuple[Any, ...], names: Mapping[int, str]) -> Generation:
        """Make a generation of its row; of one that is damaged, only what it is for sure."""
        try:
            self._typed(row, int, str, str, str, str, bytes | None, str, int, bytes | None, bytes | None, int | None)
            number, created, method, backbone, labels, head, figures, last, gate, own, crc = row
            columns = tuple(names.get(i or 0, f"forgotten label {i}") for i in read_ids(labels))
            told = read_figures(figures)
        except (HomeError, ValueError):
            head = row[5] if isinstance(row[5], bytes) else None
            return Generation(int(row[0]), "", "damaged", "", (), head, {}, 0, damaged=True)
        damaged = head is not None and crc is not None and crc != _crc32(labels, head, gate, own)
        return Generation(number, created, method, backbone, columns, head, told, last, gate, own, damaged)

    def _typed(self, row: tuple[Any, ...], *kinds: Any) -> tuple[Any, ...]:
        """Return a row whose values are of these types; the card may have made others of them.

        Raises:
            HomeError: one is not.
        """
        for value, kind in zip(row, kinds, strict=True):
            if not isinstance(value, kind):
                told = f"{value!r:.40} stands where {getattr(kind, '__name__', kind)} should"
                raise HomeError(f"{self.path} is damaged ({told}); look at it: edge verify")
        return row

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        with _explained(self.path):
            row: tuple[Any, ...] | None = self._db.execute(sql, values).fetchone()
            return row

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with _explained(self.path):
            return self._db.execute(sql, values).fetchall()


def open_store(home: Path, create: bool = False) -> Store:
    """Open a home's database, bringing an older schema up to date.

    Args:
        home: the folder.
        create: make folder (0700) and database (0600) if there are none.

    Raises:
        HomeMissing: there is none and `create` is False.
        HomeBusy, HomeError: it cannot be opened, is damaged, or was written by a newer program.
    """
    path = home / FILE
    if create:
        try:
            make_folder(home)
            path.touch(mode=0o600)
            sync_folder(home)
        except OSError as error:
            raise HomeError(f"{home} cannot be used as home ({error.strerror}); choose another with --home") from error
    elif os.access(home, os.F_OK) and not os.access(home, os.X_OK):
        as_owner = f"sudo -u '#{home.stat().st_uid}' edge --home {home} …"
        raise HomeError(f"{home} is another user's; do it as that one: {as_owner}")
    elif not path.exists():
        raise HomeMissing(f"no home at {home}; make one: edge --home {home} init NAME.edge")
    _close_to_others(home)
    with _explained(path):
        try:
            return Store(_connect(path), path)
        except sqlite3.OperationalError as error:
            if _primary(error) not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
                raise
        # Processes share an index of the log in a file of its own. Where a read-only disk has none, nobody writes and
        # none is needed; where a full disk has no room for it, we keep it in memory, alone.
        if os.statvfs(home).f_flag & os.ST_RDONLY:
            return Store(_connect(path, "?immutable=1"), path)
        return Store(_connect(path, first="PRAGMA locking_mode = EXCLUSIVE"), path)


def _close_to_others(home: Path) -> None:
    """Take away what others may do in a home: it holds what was taught. One that is not ours, or read-only, stays."""
    with contextlib.suppress(OSError):
        if home.stat().st_mode & 0o077:
            home.chmod(0o700)
            for file in (*home.glob("learner.*"), *home.glob("*.edge"), *home.glob("watched-*"), *home.glob("*.lock")):
                if file.is_file() and not file.is_symlink():
                    file.chmod(0o600)


def _connect(path: Path, options: str = "", first: str = "") -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}{options}"
    connection = sqlite3.connect(address, uri=True, timeout=WAIT, isolation_level=None)
    try:
        connection.execute(first)
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _schema(db: sqlite3.Connection, path: Path) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(_MIGRATIONS):
        raise HomeError(
            f"{path} has schema {version}, this program knows {len(_MIGRATIONS)}: a newer edge wrote it; upgrade"
        )
    return version


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    version = _schema(db, path)
    db.create_function("crc32", -1, _crc32, deterministic=True)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    if version < len(_MIGRATIONS):
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        version = _schema(db, path)  # another process may have been faster
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            for statement in script.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
        db.execute("COMMIT")


def _thumb(pixels: NDArray[np.uint8] | None) -> bytes | None:
    return None if pixels is None else pixels.astype(np.uint8).tobytes()


def _crc32(*parts: bytes | str | None) -> int:
    """Return the CRC-32 of the parts one after another; of a NULL nothing."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part.encode() if isinstance(part, str) else part or b"", crc)
    return crc


def _size(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else f"{type(value).__name__} {value!r:.40}"


def _whole(blob: object, crc: int | None, dimension: int) -> bool:
    """Whether an embedding is what was written; of one that an older program wrote, as far as can be told."""
    if not isinstance(blob, bytes) or len(blob) != 4 * dimension or (crc is not None and zlib.crc32(blob) != crc):
        return False
    return bool(np.isfinite(np.frombuffer(blob, "<f4")).all())


def _to_blob(vector: NDArray[np.float32]) -> bytes:
    return vector.astype("<f4").tobytes()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line each, with the next action."""
    busy = f"{path} has been locked by another process for {WAIT:.0f} s; try again"
    try:
        yield
    except TimeoutError as error:
        raise HomeBusy(busy) from error
    except UnicodeDecodeError as error:  # what SQLite says of the damage quotes it
        raise HomeError(f"{path}: {_DAMAGED.format('its schema is no text')}") from error
    except sqlite3.Error as error:
        code, told = _primary(error), " ".join(str(error).split())
        if code == sqlite3.SQLITE_IOERR and not os.statvfs(path.parent).f_bavail:
            code = sqlite3.SQLITE_FULL
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise HomeBusy(busy) from error
        advice = {
            sqlite3.SQLITE_READONLY: "it is read-only; make it writable or choose another with --home",
            sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check its permissions or choose another with --home",
            sqlite3.SQLITE_FULL: "the disk is full; free some space and repeat the command: nothing was changed",
            sqlite3.SQLITE_IOERR: f"the disk fails ({told}); save a copy of the folder and check the card",
            sqlite3.SQLITE_CORRUPT: _DAMAGED.format(told),
            sqlite3.SQLITE_NOTADB: "it is no database of edge; move it away and run edge init again",
        }.get(code, f"it cannot be used ({told}); look at it: edge verify")
        raise HomeError(f"{path}: {advice}") from error


def _primary(error: sqlite3.Error) -> int:
    """Return the primary result code, which is the low byte of the extended one."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
