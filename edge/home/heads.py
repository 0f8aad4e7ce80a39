"""The rows of heads: every generation, with its gate and its figures."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import HomeError
from edge.home.labels import FORGET, Labels
from edge.home.schema import crc32
from edge.metrics.figures import read_figures, read_ids

_HEAD = "generation, created, method, backbone, labels, head, figures, last_example, gate, own, crc"


@dataclass(frozen=True)
class Generation:
    """One numbered head. `head` is None once it was overwritten because it was trained on something forgotten.

    `gate` is None if there were too few examples, it was turned off or overwritten, or an older program made the head.
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
    own: bytes | None = None  # what it gave its examples' labels, each left out: see edge/retraining/contest.py
    damaged: bool = False  # what the disk gives back is not what was written

    @property
    def promoted(self) -> bool:
        """Whether the head was accepted for use; a candidate was not."""
        return bool(self.figures.get("promoted", True))


class Heads(Labels):
    """The generations of an open home."""

    def last_fitted(self) -> int:
        """Return the newest example on which any of the remaining heads was trained."""
        row = self._one("SELECT coalesce(max(last_example), 0) FROM heads WHERE head IS NOT NULL")
        assert row is not None
        return int(self._typed(row, int)[0])

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
            labels: the labels of the head's columns.
            last_example: the newest example when the head was trained.
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
            HomeError: there is no generation with this number.
        """
        row = self._one(f"SELECT {_HEAD} FROM heads WHERE generation = ?", number)
        if row is None:
            raise HomeError("head-damaged", f"generation {number} is missing; run: edge retrain")
        return self._generation(row, self.labels())

    def generation_numbers(self) -> list[int]:
        """Return the number of every generation, oldest first, without reading the heads."""
        return [int(row[0]) for row in self._all("SELECT generation FROM heads ORDER BY generation")]

    def has_head(self, generation: int) -> bool:
        """Whether a generation's head was not overwritten."""
        row = self._one("SELECT head IS NOT NULL FROM heads WHERE generation = ?", generation)
        return row is not None and bool(row[0])

    def kept_heads(self, backbone: str) -> set[int]:
        """Return the generations of a backbone whose heads were not overwritten, without reading the heads."""
        rows = self._all("SELECT generation FROM heads WHERE head IS NOT NULL AND backbone = ?", backbone)
        return {int(row[0]) for row in rows}

    def overwrite_head(self, generation: int) -> None:
        """Overwrite a head, so that its generation can never be used."""
        self._db.execute(f"UPDATE heads SET {FORGET} WHERE generation = ?", (generation,))

    def each_generation(self) -> Iterator[Generation]:
        """Yield every generation, oldest first, with one in memory at a time."""
        names = self.labels()
        for number in self.generation_numbers():
            row = self._one(f"SELECT {_HEAD} FROM heads WHERE generation = ?", number)
            if row is not None:
                yield self._generation(row, names)

    def keep_generations(self, numbers: Collection[int]) -> None:
        """Delete every other generation."""
        kept = json.dumps(sorted(numbers))
        self._db.execute("DELETE FROM heads WHERE generation NOT IN (SELECT value FROM json_each(?))", (kept,))

    def _generation(self, row: tuple[Any, ...], names: Mapping[int, str]) -> Generation:
        """Make a generation from its row; if the row is damaged, use only the values that are certain."""
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
