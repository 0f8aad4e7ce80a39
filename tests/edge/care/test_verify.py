"""A home is looked at to the last byte; what can be mended is, what cannot is named; a damaged head never serves."""

import os
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from edge.answers import Answer, Verified
from edge.care.verify import verify
from edge.errors import HomeError, HomeMissing
from edge.home.database import FILE
from edge.home.ours import own_bundles, put_own_bundles
from edge.home.store import open_store
from edge.learner import Learner
from tests.edge.conftest import write_pictures
from tests.refused import refused


@pytest.fixture
def home(tmp_path: Path, tiny_bundle: Path, clock: Callable[[], datetime]) -> Path:
    """A home of three generations, 8 examples of coins and 4 of brick."""
    pictures = write_pictures(tmp_path / "pictures", {"coins": 8, "brick": 4}, first=300)
    with Learner.init(tmp_path / "home", tiny_bundle, clock=clock) as learner:
        for label in ("coins", "brick"):
            learner.teach(label, [pictures / label])
            assert learner.retrain().promoted
    return tmp_path / "home"


@pytest.fixture
def database(home: Path) -> Iterator[sqlite3.Connection]:
    """Its database, past all that edge makes sure of."""
    connection = sqlite3.connect(home / FILE, isolation_level=None)
    yield connection
    connection.close()


def checks(found: Verified) -> dict[str, bool]:
    return {finding.check: finding.ok for finding in found.findings}


def flip(database: sqlite3.Connection, table: str, column: str, where: str) -> None:
    """Change one bit of a value, as a card that forgets does."""
    ((value,),) = database.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchall()
    changed = bytearray(value)
    changed[len(changed) // 2] ^= 1
    database.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (bytes(changed),))


def classify(home: Path, warned: list[str]) -> int:
    pictures = write_pictures(home.parent / "new", {"grass": 1}, first=900)
    with Learner(home, warn=warned.append) as learner:
        (answer,) = learner.classify(sorted((pictures / "grass").iterdir()))
        assert isinstance(answer, Answer)
        return answer.generation


def test_a_whole_home_is_whole(home: Path) -> None:
    found = verify(home)
    assert checks(found) == {"database": True, "bundle": True, "examples": True, "heads": True}
    assert found.mended == ()


def test_there_must_be_a_home(tmp_path: Path) -> None:
    with refused("home-missing", HomeMissing):
        verify(tmp_path / "nowhere")


def test_an_unreadable_number_of_the_serving_head_is_said_too(home: Path, database: sqlite3.Connection) -> None:
    database.execute("UPDATE meta SET value = 'x' WHERE key = 'serving'")
    database.commit()
    warned: list[str] = []
    assert classify(home, warned) == 3
    assert [line[:43] for line in warned] == ["ATTENTION: the number of the generation, wh"]


def test_a_single_bit_in_the_serving_head_makes_the_last_good_one_serve_and_says_so(
    home: Path, database: sqlite3.Connection
) -> None:
    flip(database, "heads", "head", "generation = 3")
    warned: list[str] = []
    assert classify(home, warned) == 2
    assert len(warned) == 1
    assert "generation 3, which should be in use, is damaged; generation 2 is used instead" in warned[0]
    with Learner(home) as learner:
        assert [(e.generation, e.serving, e.usable) for e in learner.history()] == [
            (1, False, True),
            (2, True, True),
            (3, False, False),
        ]
        assert learner.status().generation == 2


def test_verify_makes_the_fall_back_last(home: Path, database: sqlite3.Connection) -> None:
    flip(database, "heads", "head", "generation = 3")
    found = verify(home)
    assert checks(found)["heads"]
    assert found.mended == (
        "generation 3 was damaged; generation 2 is used instead; to train a new one, run: edge retrain",
    )
    warned: list[str] = []
    assert classify(home, warned) == 2
    assert warned == []
    assert verify(home).mended == ()
    with Learner(home) as learner:
        assert learner.retrain().generation == 4


@pytest.mark.parametrize("column", ["gate", "own", "labels"])
def test_no_part_of_a_head_is_changed_unnoticed(home: Path, database: sqlite3.Connection, column: str) -> None:
    if column == "labels":
        database.execute("UPDATE heads SET labels = replace(labels, '1', '2') WHERE generation = 3")
    else:
        flip(database, "heads", column, "generation = 3")
    warned: list[str] = []
    assert classify(home, warned) == 2
    assert len(warned) == 1


def test_a_damaged_head_that_does_not_serve_never_will(home: Path, database: sqlite3.Connection) -> None:
    flip(database, "heads", "head", "generation = 1")
    assert verify(home).mended == ("generation 1 was damaged and can no longer be used",)
    with Learner(home) as learner, refused("generation-unusable", HomeError, "generation 1"):
        learner.rollback(1)


def test_where_no_head_is_whole_one_is_made_of_what_was_taught(home: Path, database: sqlite3.Connection) -> None:
    for generation in (1, 2, 3):
        flip(database, "heads", "head", f"generation = {generation}")
    with refused("generation-unusable", HomeError, "no other generation"):
        classify(home, [])
    found = verify(home)
    assert not checks(found)["heads"]
    with Learner(home) as learner:
        assert learner.retrain().promoted
    assert classify(home, []) == 4
    assert all(checks(verify(home)).values())


def test_a_single_bit_in_an_embedding_is_noticed_and_named(home: Path, database: sqlite3.Connection) -> None:
    flip(database, "examples", "embedding", "id = 3")
    found = verify(home)
    bad = next(finding for finding in found.findings if not finding.ok)
    assert bad.check == "examples"
    assert "1 damaged: 3 (coins, " in bad.seen
    assert bad.remedy.endswith("edge forget 3")
    with Learner(home) as learner:
        with refused("home-damaged", HomeError, "example 3"):
            learner.retrain()
        learner.forget(["3"])
        assert learner.retrain().promoted
    assert all(checks(verify(home)).values())


def test_a_damaged_index_is_made_anew(home: Path, database: sqlite3.Connection) -> None:
    """The index is hidden from SQLite while an example changes: it then names the wrong label."""
    where = "name = 'examples_by_label'"
    row = database.execute(f"SELECT * FROM sqlite_schema WHERE {where}").fetchone()
    database.execute("PRAGMA writable_schema = ON")
    database.execute(f"DELETE FROM sqlite_schema WHERE {where}")
    database.execute("PRAGMA writable_schema = RESET")
    database.execute("UPDATE examples SET label = (SELECT min(id) FROM labels) WHERE id = 2")
    database.execute("PRAGMA writable_schema = ON")
    database.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
    database.execute("PRAGMA writable_schema = RESET")
    database.close()
    found = verify(home)
    assert found.mended == ("an index of the database was damaged and was rebuilt from its table",)
    assert checks(found)["database"]
    assert verify(home).mended == ()


def test_a_damaged_table_is_told_and_nothing_is_touched(home: Path, database: sqlite3.Connection) -> None:
    (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'labels'").fetchone()
    (size,) = database.execute("PRAGMA page_size").fetchone()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    data = bytearray((home / FILE).read_bytes())
    data[(root - 1) * size : root * size] = bytes(np.random.default_rng(0).integers(0, 256, size, np.uint8))
    (home / FILE).write_bytes(data)
    found = verify(home)
    (finding,) = found.findings
    assert (finding.check, finding.ok) == ("database", False)
    assert "restore" in finding.remedy
    assert (home / FILE).read_bytes() == data


@pytest.mark.parametrize("entry", ["manifest.json", "backbone.onnx", "golden.npz"])
def test_a_changed_bundle_is_told(home: Path, entry: str) -> None:
    (bundle,) = home.glob("*.edge")
    data = bytearray(bundle.read_bytes())
    with zipfile.ZipFile(bundle) as archive:
        data[archive.getinfo(entry).header_offset + 300] ^= 1
    bundle.write_bytes(data)
    finding = next(finding for finding in verify(home).findings if not finding.ok)
    assert finding.check == "bundle"
    assert "edge init" in finding.remedy


def test_what_commands_that_were_cut_off_left_is_deleted(home: Path) -> None:
    (bundle,) = home.glob("*.edge")
    with open_store(home) as store, store.transaction():
        put_own_bundles(store, [*own_bundles(store), "0123456789abcdef.edge"])
    (home / ".0123456789abcdef.edge.999999999.partial").write_bytes(b"x" * 100)
    (home / "0123456789abcdef.edge").write_bytes(b"x" * 100)
    mine = home / f".0123456789abcdef.edge.{os.getpid()}.partial"  # of a command that is at work
    mine.touch()
    assert len(verify(home).mended) == 2
    assert {p.name for p in home.iterdir()} == {FILE, "turn.lock", bundle.name, mine.name}
