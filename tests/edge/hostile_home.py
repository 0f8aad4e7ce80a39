"""A home whose database a failing card, or somebody with an editor, has changed; and every command that reads it.

Values are changed through SQLite itself, of any type in any column, the checks of the schema left out and the CRC-32
set right as often as not, so that what is behind them is reached; bytes are changed in the file. Each command runs in
this process from its very entry.
"""

import contextlib
import io
import json
import random
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from edge.cli.app import cli
from edge.errors import EdgeError
from edge.home.database import FILE
from edge.learner import Learner

from .conftest import write_pictures
from .hostile import Target, printable, spoil, spoilt_json

LONGEST = 120.0  # seconds of this process for one command: a hang, not a slow or busy machine
_EXTREMES = (0, 1, -1, 2, 3, 7, 2**31, 2**63 - 1, -(2**63), 0.5, -1e308, float("inf"))
_TEXTS = (
    "",
    "x",
    "3",
    "-1",
    "nan",
    "1e999",
    "\x1b[2J",
    "../../etc/passwd",
    "unknown",
    "é\0b",
    "[]",
    "{}",
    "[[1]]",
    "9" * 5000,
)


@dataclass(frozen=True)
class SpoiltHome(Target):
    """A home of which `spoilt` gives the database.

    Args:
        change: changes a database, a file, by chance.
        folder: for its own use.
    """

    change: Callable[[Path, random.Random], None]
    folder: Path
    questions = 19  # commands

    def spoilt(self, number: int) -> bytes:
        """One damaged database; the same number gives the same damage."""
        path = self.folder / "spoilt.db"
        path.write_bytes(self.corpus[0])
        self.change(path, random.Random(f"{self.name} {number}"))
        return path.read_bytes()


def home_targets(home: Path, folder: Path) -> list[Target]:
    """Damage a home's database in two ways.

    Args:
        home: as `teach_home` makes it; it stays as it is.
        folder: for copies of it.
    """
    whole = (home / FILE).read_bytes()
    found: list[Target] = []
    for name, change, share in (("values", _values, 150), ("bytes", _bytes, 150)):
        place = folder / f"home {name}"
        shutil.copytree(home, place / "home")
        write_pictures(place / "new", {"brick": 1}, first=700)
        ask = _Commands(place).ask
        found.append(SpoiltHome(f"home's database, {name} changed, every command", (whole,), ask, share, change, place))
    return found


def teach_home(learner: Learner, folder: Path) -> None:
    """Put something into every table and column of a new home; it is closed.

    Args:
        learner: its home.
        folder: for pictures.
    """
    pictures = write_pictures(folder / "taught", {"coins": 3, "grass": 2}, first=600)
    held_out = write_pictures(folder / "held out", {"grass": 2}, first=650)
    home = learner.home
    with learner:
        learner.teach("coins", [pictures / "coins"], session="monday")
        learner.teach("grass", [held_out / "grass"], held_out=True)
        learner.retrain()
        learner.teach("grass", [pictures / "grass"])
        learner.retrain(force=True)
        learner.rename("gravel", "stones")
        list(learner.classify([*pictures.rglob("*.png")] * 5))
    with Learner(home) as again:
        again.put_uncertain(folder / "held out")
        again.store.scrub()


# damage ---------------------------------------------------------------------------------------------------------------


def _bytes(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 2, 8, 40))):
        at = chance.randrange(len(data))
        if chance.random() < 0.3:  # where a page begins is what tells of all the rest in it
            at = at // 4096 * 4096 + chance.randrange(120)
        data[at % len(data)] = chance.choice(
            (0, 255, data[at % len(data)] ^ 1 << chance.randrange(8), chance.randrange(256))
        )
    path.write_bytes(data)


def _values(path: Path, chance: random.Random) -> None:
    db = sqlite3.connect(path)
    rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    schema = dict(rows.fetchall())
    db = _with_schema(db, path, {name: _loose(sql) for name, sql in schema.items()})
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        table = chance.choice(("meta", "meta", "labels", "examples", "heads", "heads"))
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        key, column = columns[0], chance.choice(columns)
        keys = [row[0] for row in db.execute(f"SELECT {key} FROM {table}")]
        if not keys:
            continue
        row = chance.choice(keys)
        if chance.random() < 0.1:
            db.execute(f"DELETE FROM {table} WHERE {key} = ?", (row,))
            continue
        (old,) = db.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (row,)).fetchone()
        with contextlib.suppress(sqlite3.Error, OverflowError):  # a doubled key
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (_changed(old, chance), row))
    if chance.random() < 0.7:
        db.create_function("fits", -1, lambda *parts: zlib.crc32(b"".join(map(_plain, parts))))
        db.execute("UPDATE heads SET crc = fits(labels, head, gate, own)")
        db.execute("UPDATE examples SET crc = fits(embedding)")
    db.commit()
    _with_schema(db, path, schema).close()


def _loose(sql: str) -> str:
    """A table's definition without what it says of types and gaps."""
    return sql.replace("STRICT, ", "").replace("STRICT", "").replace("NOT NULL", "")


def _with_schema(db: sqlite3.Connection, path: Path, schema: dict[str, str]) -> sqlite3.Connection:
    db.execute("PRAGMA writable_schema = ON")
    for name, sql in schema.items():
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, name))
    db.commit()
    db.close()
    return sqlite3.connect(path)


def _plain(part: object) -> bytes:
    return part if isinstance(part, bytes) else b"" if part is None else str(part).encode("utf-8", "surrogateescape")


def _changed(old: object, chance: random.Random) -> object:
    if chance.random() < 0.3:
        return chance.choice(
            (None, chance.choice(_EXTREMES), chance.choice(_TEXTS), chance.randbytes(chance.randrange(40)))
        )
    if isinstance(old, bytes):
        data = bytearray(old)
        spoil(data, chance, (old or b"\0",))
        return bytes(data)
    if isinstance(old, str):
        with contextlib.suppress(ValueError):
            if not isinstance(json.loads(old), int):
                return spoilt_json(old.encode(), chance).decode("utf-8", "replace")
        return chance.choice(_TEXTS)
    return chance.choice(_EXTREMES)


# what is asked --------------------------------------------------------------------------------------------------------


class _Commands:
    """Each command in turn on one damaged home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = {path.name: path.read_bytes() for path in (folder / "home").glob("*.edge")}

    def ask(self, data: bytes) -> None:
        """Run every command; an `EdgeError` is an answer, unless it has more than a line."""
        home, file, new = self._folder / "home", self._folder / "out", self._folder / "new" / "brick"
        shutil.rmtree(home)
        home.mkdir(mode=0o700)
        for name, bundle in self._kept.items():
            (home / name).write_bytes(bundle)
        (home / FILE).write_bytes(data)
        as_json = ["--json"] * (zlib.crc32(data) % 2)
        refused: EdgeError | None = None
        for command in (
            ("status",), ("history",), ("classify", new), ("classify", new, "--explain"), ("trust",),
            ("export", f"{file}.onnx"), ("audit",), ("audit", new), ("backup", f"{file}.backup"),
            ("evaluate", new.parent), ("teach", "brick", new), ("retrain",),
            ("rename", "coins", "money"), ("rollback",), ("verify",), ("status",),
            ("retrain", "--force"), ("forget", "1"), ("forget", "--label", "grass"),
        ):  # fmt: skip
            start = time.process_time()
            try:
                _run(["--home", str(home), *as_json, *map(str, command)])
            except EdgeError as error:
                assert "\n" not in str(error), command
                refused = error
            except Exception as error:
                error.add_note(f"edge {' '.join(map(str, command))}")
                raise
            assert all((home / name).exists() for name in self._kept), f"{command} deleted the bundle"
            assert time.process_time() - start < LONGEST, f"{command} takes long"
        if refused:
            raise refused


def _run(arguments: Sequence[str]) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(click.ClickException):
        cli.main(arguments, "edge", standalone_mode=False)
    assert all(map(printable, out.getvalue().splitlines())), arguments
