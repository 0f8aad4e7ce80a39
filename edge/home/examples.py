"""The table of examples: an embedding for each, with its label, session, source and time."""

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import HomeError, LabelError
from edge.home.database import explained
from edge.home.labels import FORGET, RELABELLED, Labels
from edge.home.schema import crc32
from edge.text import storable
from edge.unknown.domain import STATISTICS, Look

IDENTITY = "identity"
"""In the table meta: random, drawn with the first example, so that all copies of what was taught have the same one."""


class Example(NamedTuple):
    """One taught picture, without its embedding."""

    id: int
    label: str
    image: str  # SHA-256 of the file
    session: str | None
    source: str  # the path it was taught from
    created: str
    held_out: bool  # no head is ever fitted to it


class LabelledExample(NamedTuple):
    """An example as input of a head: its id, label and session."""

    id: int
    label: str
    session: str | None


@dataclass(frozen=True)
class Embedded:
    """A picture to be stored."""

    label: str
    embedding: NDArray[np.float32]  # (D,)
    image: str
    source: str
    look: Look | None = None
    crop: bytes | None = None  # what the network saw of it, as JPEG


class Examples(Labels):
    """The examples of an open home."""

    def add_example(
        self, item: Embedded, backbone: str, session: str | None, created: str, held_out: bool = False
    ) -> int:
        """Store one example, unless its picture is stored already, and return its id."""
        self._db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING", (IDENTITY, secrets.token_hex(16)))
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
                session and storable(session),
                item.source,
                created,
                item.look and item.look.thumb.astype(np.uint8).tobytes(),
                item.look and item.look.statistics.astype("<f4").tobytes(),
                held_out,
                item.crop,
                crc32(blob),
            ),
        )
        return self._number("SELECT id FROM examples WHERE image = ?", item.image)

    def examples(
        self,
        ids: Sequence[int] | None = None,
        label: str | None = None,
        session: str | None = None,
        images: Sequence[str] | None = None,
        held_out: bool | None = None,
    ) -> list[Example]:
        """List examples, oldest first: all, or those that match every given argument.

        Args:
            label: its name today.
            images: SHA-256 of their files.
            held_out: whether no head is ever fitted to them.
        """
        wanted = {
            "examples.id IN (SELECT value FROM json_each(?))": None if ids is None else json.dumps(list(ids)),
            "labels.name = ?": label,
            "session = ?": session and storable(session),
            "image IN (SELECT value FROM json_each(?))": None if images is None else json.dumps(list(images)),
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

    def newest(self, label: int | None, before: int | None, most: int) -> list[Example]:
        """List the newest examples, all or one label's, with numbers below `before`; newest first, `most` of them."""
        where, given = _page(label, before)
        rows = self._all(f"SELECT id FROM examples WHERE {where} ORDER BY id DESC LIMIT ?", *given, most)
        return self.examples([int(row[0]) for row in rows])[::-1]

    def images(self) -> set[str]:
        """Return the SHA-256 of every picture that was taught."""
        return {str(image) for (image,) in self._all("SELECT image FROM examples")}

    def counts(self, held_out: bool = False) -> Counter[str]:
        """Return how many examples each label has that heads are fitted to, or never are."""
        rows = self._all(
            "SELECT labels.name, count(*) FROM examples JOIN labels ON labels.id = examples.label"
            " WHERE held_out = ? GROUP BY label",
            held_out,
        )
        return Counter(dict(self._typed(row, str, int) for row in rows))

    def walk(self, label: int | None = None) -> Iterator[Example]:
        """Yield the examples, all or those of one label, oldest first, with a few in memory at a time."""
        page = "SELECT id FROM examples WHERE id > ?1 AND (?2 IS NULL OR label = ?2) ORDER BY id LIMIT 500"
        last = 0
        while ids := [int(row[0]) for row in self._all(page, last, label)]:
            yield from self.examples(ids)
            last = ids[-1]

    def foreign(self, backbone: str, cropless: bool = False) -> list[int]:
        """Return the examples that were taught on another backbone: all, or those without a stored crop."""
        rows = self._all(
            "SELECT id FROM examples WHERE backbone != ?1 AND (crop IS NULL OR NOT ?2) ORDER BY id", backbone, cropless
        )
        return [int(row[0]) for row in rows]

    def put_embedding(self, example: int, embedding: NDArray[np.float32], backbone: str) -> None:
        """Replace the embedding of an example by that of another backbone."""
        blob = _to_blob(embedding)
        self._db.execute(
            "UPDATE examples SET embedding = ?, backbone = ?, crc = ? WHERE id = ?",
            (blob, backbone, crc32(blob), example),
        )

    def labelled(self, held_out: bool = False) -> list[LabelledExample]:
        """List the examples for training, or those held out, in an order that depends only on the examples."""
        rows = self._all(
            "SELECT examples.id, labels.name, session FROM examples JOIN labels ON labels.id = examples.label"
            " WHERE held_out = ? ORDER BY session, labels.name, image",
            held_out,
        )
        known: dict[str, str] = {}  # one string object for each label and session
        found = (self._typed(row, int, str, str | None) for row in rows)
        return [LabelledExample(i, *(name and known.setdefault(name, name) for name in names)) for i, *names in found]

    def embeddings(self, ids: Sequence[int], dimension: int) -> NDArray[np.float32]:
        """Return these examples' embeddings (N, D), in this order.

        Raises:
            HomeError: an embedding is missing or damaged.
        """
        result = np.empty((len(ids), dimension), np.float32)
        with explained(self.path):
            for row, example in zip(result, ids, strict=True):
                found = self._db.execute("SELECT embedding, crc FROM examples WHERE id = ?", (example,)).fetchone()
                if found is None:
                    raise HomeError(
                        "home-damaged",
                        f"{self.path}: example {example} is missing; if it was just forgotten, run the "
                        "command again; otherwise the database is damaged: run edge verify",
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
        """Check every embedding; return the numbers of the examples whose embedding is damaged."""
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
        """Return the statistics (5,) of the newest measured examples, at most `most`."""
        size = 4 * len(STATISTICS)
        rows = self._all(
            "SELECT look FROM examples WHERE typeof(look) = 'blob' AND length(look) = ? ORDER BY id DESC LIMIT ?",
            size,
            most,
        )
        found = [np.frombuffer(blob, "<f4").astype(np.float32) for (blob,) in rows]
        return [statistics for statistics in found if np.isfinite(statistics).all()]

    def crop(self, example: int) -> bytes | None:
        """Return the stored crop of an example as JPEG, or None."""
        row = self._one("SELECT crop FROM examples WHERE id = ?", example)
        return None if row is None else self._typed(row, bytes | None)[0]

    def digest(self) -> str:
        """Return the SHA-256 of which examples there are: their pictures, labels and sessions, whatever their order."""
        found = hashlib.sha256()
        for image, label, session, held_out in self._all(
            "SELECT image, labels.name, session, held_out FROM examples JOIN labels ON labels.id = examples.label"
            " ORDER BY image"
        ):
            found.update(json.dumps([image, label, session, held_out]).encode())
        return found.hexdigest()

    def count(self, label: int | None = None, before: int | None = None) -> int:
        """Return how many examples there are: in all, of one label, whose number is below `before`."""
        where, given = _page(label, before)
        return self._number(f"SELECT count(*) FROM examples WHERE {where}", *given)

    def last_example(self) -> int:
        """Return the newest example's number; 0 if there is none."""
        return self._number("SELECT coalesce(max(id), 0) FROM examples")

    def count_after(self, generation: int) -> int:
        """Return how many examples were taught or relabelled since a generation was trained."""
        return self._number(
            "SELECT count(*) FROM examples WHERE held_out = 0"
            " AND (id > (SELECT last_example FROM heads WHERE generation = ?1) OR relabelled_after >= ?1)",
            generation,
        )

    def remove_examples(self, ids: Sequence[int]) -> None:
        """Delete examples, and overwrite every head that may have been trained on one of them."""
        taught = "SELECT min(id) FROM examples WHERE NOT held_out AND id IN (SELECT value FROM json_each(?))"
        self._db.execute(f"UPDATE heads SET {FORGET} WHERE last_example >= ({taught})", (json.dumps(ids),))
        self._db.executemany("DELETE FROM examples WHERE id = ?", [(i,) for i in ids])

    def relabel_examples(self, ids: Sequence[int], name: str) -> None:
        """Change the label of examples."""
        label = self.add_label(name)
        self._db.executemany(
            "UPDATE examples SET label = ?1, " + RELABELLED + " WHERE id = ?2 AND label != ?1",
            [(label, i) for i in ids],
        )


def _page(label: int | None, before: int | None) -> tuple[str, list[int]]:
    """The condition, with its values, of one label's examples and of numbers below one."""
    wanted = {"label = ?": label, "id < ?": before}
    given = {condition: value for condition, value in wanted.items() if value is not None}
    return " AND ".join(given) or "TRUE", list(given.values())


def _size(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else f"{type(value).__name__} {value!r:.40}"


def _whole(blob: object, crc: int | None, dimension: int) -> bool:
    """Whether an embedding is undamaged, as far as this can be checked for one of an older program."""
    if not isinstance(blob, bytes) or len(blob) != 4 * dimension or (crc is not None and crc32(blob) != crc):
        return False
    return bool(np.isfinite(np.frombuffer(blob, "<f4")).all())


def _to_blob(vector: NDArray[np.float32]) -> bytes:
    if not np.isfinite(vector).all():
        raise LabelError(
            "embedding-not-numbers",
            "an embedding contains NaN or infinity and was not stored; to check the network, run: edge doctor",
        )
    return vector.astype("<f4").tobytes()
