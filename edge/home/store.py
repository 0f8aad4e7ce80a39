"""The rows of the home's database: what was taught, every head made of it, and what is remembered beside them.

`schema` says which tables there are, `database` opens the file and makes changes whole. SQLite does not look at types
when it reads, and a damaged card changes bytes: every row that leaves this module has been looked at here, and a CRC-32
tells when an embedding or a head is not what was written.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import HomeError, LabelError
from edge.home.database import FILE, Database, connect, explained
from edge.home.ours import close_to_others
from edge.home.schema import crc32
from edge.metrics.figures import read_figures, read_ids
from edge.unknown.domain import STATISTICS, Look

_HEAD = "generation, created, method, backbone, labels, head, figures, last_example, gate, own, crc"
_EACH = "json_each(CASE WHEN json_valid(heads.labels) THEN heads.labels ELSE '[]' END)"  # else damaged
_COLUMNS = f"SELECT value FROM heads, {_EACH} WHERE head IS NOT NULL AND value IS NOT NULL"
_RELABELLED = "relabelled_after = (SELECT coalesce(max(generation), 0) FROM heads)"
_FORGET = "head = NULL, gate = NULL, own = NULL"  # all of a generation that tells of its examples


class Example(NamedTuple):
    """One taught picture, without its embedding."""

    id: int
    label: str
    image: str  # SHA-256 of the file
    session: str | None
    source: str  # the path it was taught from
    created: str
    held_out: bool  # no head is ever fitted to it


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
    look: Look | None = None
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
    own: bytes | None = None  # what it gave its examples' labels, each left out: see edge/learning/contest.py
    damaged: bool = False  # what the disk gives back is not what was written

    @property
    def promoted(self) -> bool:
        """Whether it was let serve; a candidate was not."""
        return bool(self.figures.get("promoted", True))


class Store(Database):
    """An open home. Use as a context manager; group changes with `transaction`."""

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
            raise LabelError(
                "label-taken",
                f"label '{new}' exists already; to make one label of both: edge rename {quote(old)} {quote(new)} "
                "--merge; or choose another name",
            )
        self._db.execute("UPDATE labels SET name = ? WHERE name = ?", (new, old))

    def join_labels(self, gone: int, kept: int) -> int:
        """Make one label of two; what was learned of the first as such is overwritten. Returns how many examples moved.

        Args:
            gone, kept: ids; the first has no row afterwards.
        """
        moved = self._db.execute("UPDATE examples SET label = ?2, " + _RELABELLED + " WHERE label = ?1", (gone, kept))
        self._db.execute("UPDATE factory SET label = ?2 WHERE label = ?1", (gone, kept))
        self.remove_label(self.labels()[gone])
        return moved.rowcount

    def remove_empty_labels(self) -> None:
        """Remove the labels that nothing has: no example, no bundle's label, and no head that could serve."""
        self._db.execute(
            "DELETE FROM labels WHERE id NOT IN (SELECT label FROM examples)"
            " AND id NOT IN (SELECT label FROM factory WHERE label IS NOT NULL)"
            f" AND id NOT IN ({_COLUMNS})"
        )

    def in_a_head(self, label: int) -> bool:
        """Whether a head that could serve has a column for a label."""
        return self._one(f"SELECT 1 WHERE ? IN ({_COLUMNS})", label) is not None

    def factory(self) -> dict[str, int | None]:
        """Return each label that a bundle ever brought, by its name there, and its id here; None: it was forgotten."""
        rows = self._all("SELECT name, label FROM factory")
        return dict(self._typed(row, str, int | None) for row in rows)

    def put_factory(self, labels: Mapping[str, int | None]) -> None:
        """Set what labels of bundles are here, by their names there."""
        self._db.executemany("INSERT OR REPLACE INTO factory VALUES (?, ?)", labels.items())

    # examples -----------------------------------------------------------------------------------------------------

    def add_example(
        self, item: Embedded, backbone: str, session: str | None, created: str, held_out: bool = False
    ) -> int:
        """Store one example, unless its picture is known already, and return the id of the one that is there."""
        label = self.add_label(item.label)
        blob = _to_blob(item.embedding)
        self._db.execute(
            "INSERT INTO examples"
            "(label, embedding, backbone, image, session, source, created, thumb, look, held_out, crop, crc)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (
                label,
                blob,
                backbone,
                item.image,
                session,
                item.source,
                created,
                item.look and item.look.thumb.astype(np.uint8).tobytes(),
                item.look and item.look.statistics.astype("<f4").tobytes(),
                held_out,
                item.crop,
                crc32(blob),
            ),
        )
        row = self._one("SELECT id FROM examples WHERE image = ?", item.image)
        assert row is not None
        return int(row[0])

    def examples(
        self,
        ids: Sequence[int] | None = None,
        label: str | None = None,
        session: str | None = None,
        image: str | None = None,
        held_out: bool | None = None,
    ) -> list[Example]:
        """List examples, oldest first: all, or those that fit everything that is given.

        Args:
            ids: their numbers.
            label: its name today.
            session: its name.
            image: SHA-256 of the file.
            held_out: whether no head is ever fitted to them.
        """
        wanted = {
            "examples.id IN (SELECT value FROM json_each(?))": None if ids is None else json.dumps(list(ids)),
            "labels.name = ?": label,
            "session = ?": session,
            "image = ?": image,
            "held_out = ?": held_out,
        }
        given = {condition: value for condition, value in wanted.items() if value is not None}
        rows = self._all(
            "SELECT examples.id, labels.name, image, session, source, created, held_out FROM examples"
            f" JOIN labels ON labels.id = examples.label WHERE {' AND '.join(given) or 'TRUE'} ORDER BY examples.id",
            *given.values(),
        )
        typed = (self._typed(row, int, str, str, str | None, str, str, int) for row in rows)
        return [Example._make((*about, bool(held_out))) for *about, held_out in typed]

    def walk(self, label: int | None = None) -> Iterator[Example]:
        """Go through the examples, all or one label's, oldest first, a few in memory at a time."""
        page = "SELECT id FROM examples WHERE id > ?1 AND (?2 IS NULL OR label = ?2) ORDER BY id LIMIT 500"
        last = 0
        while ids := [int(row[0]) for row in self._all(page, last, label)]:
            yield from self.examples(ids)
            last = ids[-1]

    def foreign(self, backbone: str, cropless: bool = False) -> list[int]:
        """Return the examples that were taught on another backbone: all, or those whose crop was not kept."""
        rows = self._all(
            "SELECT id FROM examples WHERE backbone != ?1 AND (crop IS NULL OR NOT ?2) ORDER BY id", backbone, cropless
        )
        return [int(row[0]) for row in rows]

    def put_embedding(self, example: int, embedding: NDArray[np.float32], backbone: str) -> None:
        """Give an example the embedding of another backbone."""
        blob = _to_blob(embedding)
        self._db.execute(
            "UPDATE examples SET embedding = ?, backbone = ?, crc = ? WHERE id = ?",
            (blob, backbone, crc32(blob), example),
        )

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
        with explained(self.path):
            for row, example in zip(result, ids, strict=True):
                found = self._db.execute("SELECT embedding, crc FROM examples WHERE id = ?", (example,)).fetchone()
                if found is None:
                    raise HomeError(
                        "home-damaged",
                        f"{self.path}: example {example} is gone; it was just forgotten: repeat the command; or the "
                        "database is damaged: look at it: edge verify",
                    )
                blob, crc = found
                if not _whole(blob, crc, dimension):
                    raise HomeError(
                        "home-damaged",
                        f"{self.path}: example {example} is damaged ({_size(blob)} for {dimension} numbers); "
                        f"run: edge forget {example}",
                    )
                row[:] = np.frombuffer(blob, "<f4")
        return result

    def damaged_examples(self, dimension: int) -> list[int]:
        """Look at every embedding; return the numbers of the examples whose embedding is not what was written."""
        with explained(self.path):
            rows = self._db.execute("SELECT id, embedding, crc FROM examples ORDER BY id")
            return [int(i) for i, blob, crc in rows if not _whole(blob, crc, dimension)]

    def thumbs(self) -> dict[int, NDArray[np.uint8]]:
        """Return the thumbnails (8, 8, 3) of the examples that have one, by example."""
        rows = self._all(
            "SELECT id, thumb FROM examples WHERE typeof(thumb) = 'blob' AND length(thumb) = 192 ORDER BY id"
        )
        return {int(i): np.frombuffer(blob, np.uint8).reshape(8, 8, 3) for i, blob in rows}

    def looks(self, most: int) -> list[NDArray[np.float32]]:
        """Return the statistics (5,) of the newest examples that were measured; `most` of them."""
        size = 4 * len(STATISTICS)
        rows = self._all(
            "SELECT look FROM examples WHERE typeof(look) = 'blob' AND length(look) = ? ORDER BY id DESC LIMIT ?",
            size,
            most,
        )
        found = [np.frombuffer(blob, "<f4").astype(np.float32) for (blob,) in rows]
        return [statistics for statistics in found if np.isfinite(statistics).all()]

    def crop(self, example: int) -> bytes | None:
        """Return what the network saw of an example, as JPEG, if it was kept."""
        row = self._one("SELECT crop FROM examples WHERE id = ?", example)
        return None if row is None else self._typed(row, bytes | None)[0]

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
            "UPDATE examples SET label = ?1, " + _RELABELLED + " WHERE id = ?2 AND label != ?1",
            [(label, i) for i in ids],
        )

    def remove_label(self, name: str) -> None:
        """Forget a label's name and overwrite every head that has a column for it; its examples must be gone."""
        label = self.label_id(name)
        heads = f"SELECT generation FROM heads, {_EACH} WHERE value = ?"
        self._db.execute(f"UPDATE heads SET {_FORGET} WHERE generation IN ({heads})", (label,))
        self._db.execute("DELETE FROM labels WHERE id = ?", (label,))

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
            (
                created,
                method,
                backbone,
                json.dumps(ids),
                head,
                json.dumps(figures, allow_nan=False),
                gate,
                own,
                last_example,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def generation(self, number: int) -> Generation:
        """Return one generation.

        Raises:
            HomeError: there is none of this number.
        """
        row = self._one(f"SELECT {_HEAD} FROM heads WHERE generation = ?", number)
        if row is None:
            raise HomeError("head-damaged", f"generation {number} is missing; run: edge retrain")
        return self._generation(row, self.labels())

    def generation_numbers(self) -> list[int]:
        """Return the number of every generation, oldest first, reading none of them."""
        return [int(row[0]) for row in self._all("SELECT generation FROM heads ORDER BY generation")]

    def has_head(self, generation: int) -> bool:
        """Whether a generation's head was not overwritten."""
        row = self._one("SELECT head IS NOT NULL FROM heads WHERE generation = ?", generation)
        return row is not None and bool(row[0])

    def kept_heads(self, backbone: str) -> set[int]:
        """Return the generations of a backbone whose heads were not overwritten, reading none of them."""
        rows = self._all("SELECT generation FROM heads WHERE head IS NOT NULL AND backbone = ?", backbone)
        return {int(row[0]) for row in rows}

    def overwrite_head(self, generation: int) -> None:
        """Make a generation one that can never serve."""
        self._db.execute(f"UPDATE heads SET {_FORGET} WHERE generation = ?", (generation,))

    def generations(self) -> list[Generation]:
        """Return every generation, oldest first."""
        return list(self.each_generation())

    def each_generation(self) -> Iterator[Generation]:
        """Give every generation, oldest first; one of them is in memory at a time."""
        names = self.labels()
        for number in self.generation_numbers():
            row = self._one(f"SELECT {_HEAD} FROM heads WHERE generation = ?", number)
            if row is not None:
                yield self._generation(row, names)

    def keep_generations(self, numbers: Collection[int]) -> None:
        """Drop every generation but these."""
        kept = json.dumps(sorted(numbers))
        self._db.execute("DELETE FROM heads WHERE generation NOT IN (SELECT value FROM json_each(?))", (kept,))

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
        damaged = head is not None and crc is not None and crc != crc32(labels, head, gate, own)
        return Generation(number, created, method, backbone, columns, head, told, last, gate, own, damaged)


def open_store(home: Path, create: bool = False) -> Store:
    """Open a home, bringing an older schema up to date.

    Args:
        home, create: as `connect`.

    Raises:
        HomeMissing, HomeBusy, HomeError: as `connect`.
    """
    store = Store(connect(home, create), home / FILE)
    close_to_others(store)
    return store


def _size(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else f"{type(value).__name__} {value!r:.40}"


def _whole(blob: object, crc: int | None, dimension: int) -> bool:
    """Whether an embedding is what was written; of one that an older program wrote, as far as can be told."""
    if not isinstance(blob, bytes) or len(blob) != 4 * dimension or (crc is not None and crc32(blob) != crc):
        return False
    return bool(np.isfinite(np.frombuffer(blob, "<f4")).all())


def _to_blob(vector: NDArray[np.float32]) -> bytes:
    if not np.isfinite(vector).all():
        raise LabelError(
            "embedding-not-numbers",
            "an embedding holds values that are not numbers (NaN or infinity); it is not stored",
        )
    return vector.astype("<f4").tobytes()
