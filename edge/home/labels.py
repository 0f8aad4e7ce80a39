"""The tables of labels: those taught here, those of bundles, and their names today."""

from collections.abc import Mapping
from shlex import quote

from edge.errors import HomeError, LabelError
from edge.home.database import Database
from edge.metrics.figures import read_ids

_EACH = "json_each(CASE WHEN json_valid(heads.labels) THEN heads.labels ELSE '[]' END)"  # else damaged
_COLUMNS = f"SELECT value FROM heads, {_EACH} WHERE head IS NOT NULL AND value IS NOT NULL"
RELABELLED = "relabelled_after = (SELECT coalesce(max(generation), 0) FROM heads)"
FORGET = "head = NULL, gate = NULL, own = NULL"  # all of a generation that tells of its examples


class Labels(Database):
    """The labels of an open home."""

    def labels(self) -> dict[int, str]:
        """Return all label names by id."""
        rows = self._all("SELECT id, name FROM labels ORDER BY id")
        return {int(i): name for i, name in (self._typed(row, int, str) for row in rows)}

    def label_id(self, name: str) -> int | None:
        """Return a label's id, or None if it is not known."""
        row = self._one("SELECT id FROM labels WHERE name = ?", name)
        return None if row is None else int(row[0])

    def add_label(self, name: str) -> int:
        """Return the id of a label, adding the label if it is new."""
        self._db.execute("INSERT INTO labels(name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
        found = self.label_id(name)
        assert found is not None
        return found

    def rename_label(self, old: str, new: str) -> None:
        """Rename a label, also for every example and head, because they refer to its id."""
        if self.label_id(new) is not None:
            raise LabelError(
                "label-taken",
                f"label '{new}' already exists; to merge the two, run: edge rename {quote(old)} {quote(new)} "
                "--merge; otherwise choose another name",
            )
        self._db.execute("UPDATE labels SET name = ? WHERE name = ?", (new, old))

    def join_labels(self, gone: int, kept: int) -> int:
        """Merge label `gone` into `kept` (ids) and overwrite heads with `gone`; returns how many examples moved."""
        moved = self._db.execute("UPDATE examples SET label = ?2, " + RELABELLED + " WHERE label = ?1", (gone, kept))
        self._db.execute("UPDATE factory SET label = ?2 WHERE label = ?1", (gone, kept))
        self.remove_label(self.labels()[gone])
        return moved.rowcount

    def remove_empty_labels(self) -> None:
        """Remove the labels without an example, a label of a bundle, or a head that could be used."""
        self._db.execute(
            "DELETE FROM labels WHERE id NOT IN (SELECT label FROM examples)"
            " AND id NOT IN (SELECT label FROM factory WHERE label IS NOT NULL)"
            f" AND id NOT IN ({_COLUMNS})"
        )

    def in_a_head(self, label: int) -> bool:
        """Whether a head that could be used has a column for a label."""
        return self._one(f"SELECT 1 WHERE ? IN ({_COLUMNS})", label) is not None

    def factory(self) -> dict[str, int | None]:
        """Return the labels of all bundles so far, by their names there, with their ids here; None if forgotten."""
        rows = self._all("SELECT name, label FROM factory")
        return dict(self._typed(row, str, int | None) for row in rows)

    def put_factory(self, labels: Mapping[str, int | None]) -> None:
        """Set the ids here of labels of bundles, by their names there."""
        self._db.executemany("INSERT OR REPLACE INTO factory VALUES (?, ?)", labels.items())

    def remove_label(self, name: str) -> None:
        """Forget a label's name and overwrite every head that has a column for it; its examples must be gone."""
        label = self.label_id(name)
        heads = f"SELECT generation FROM heads, {_EACH} WHERE value = ?"
        self._db.execute(f"UPDATE heads SET {FORGET} WHERE generation IN ({heads})", (label,))
        self._db.execute("DELETE FROM labels WHERE id = ?", (label,))

    def stray_references(self) -> list[str]:
        """Return one line for each reference to a label that does not exist."""
        rows = self._all("PRAGMA foreign_key_check")
        found = [f"row {row} of {table} names no {parent}" for table, row, parent, _ in rows[:10]]
        try:
            factory = read_ids(self.get("factory_labels") or "[]")
        except (ValueError, HomeError):
            return [*found, "the factory's labels cannot be read"]
        known = self.labels()
        return found + [f"the factory's label {i} is missing" for i in factory if i is not None and i not in known]
