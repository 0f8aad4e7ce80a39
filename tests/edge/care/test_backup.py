"""A backup is one state of the home, whole; restored it is that home; and it never replaces what is there."""

import json
import sqlite3
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from edge.bundle.signature import Key
from edge.care.backup import backup, restore
from edge.care.verify import verify
from edge.errors import BundleError, HomeError
from edge.home.database import FILE
from edge.learner import Learner
from tests.edge.conftest import write_pictures
from tests.edge.hostile import write_zip
from tests.refused import refused


@pytest.fixture
def home(tmp_path: Path, tiny_bundle: Path, clock: Callable[[], datetime]) -> Path:
    pictures = write_pictures(tmp_path / "pictures", {"coins": 8}, first=300)
    with Learner.init(tmp_path / "home", tiny_bundle, clock=clock) as learner:
        learner.teach("coins", [pictures / "coins"])
        learner.retrain()
    return tmp_path / "home"


@pytest.fixture
def saved(home: Path, tmp_path: Path) -> Path:
    with Learner(home) as learner:
        made = backup(learner, tmp_path / "home.backup")
    assert (made.examples, made.generation) == (8, 2)
    assert made.bytes == (tmp_path / "home.backup").stat().st_size
    return tmp_path / "home.backup"


def test_a_restored_home_is_the_one_that_was_saved(home: Path, saved: Path, tmp_path: Path) -> None:
    restore(saved, tmp_path / "deep" / "again")
    with Learner(home) as old, Learner(tmp_path / "deep" / "again") as new:
        assert new.history() == old.history()
        assert new.store.examples() == old.store.examples()
        assert new.serving().head.to_bytes() == old.serving().head.to_bytes()
        assert new.bundle.manifest == old.bundle.manifest
        new.retrain()
    assert all(finding.ok for finding in verify(tmp_path / "deep" / "again").findings)
    assert (tmp_path / "deep" / "again").stat().st_mode & 0o077 == 0
    assert saved.stat().st_mode & 0o077 == 0


def test_what_is_there_is_never_replaced(home: Path, saved: Path, tmp_path: Path) -> None:
    before = (home / FILE).read_bytes()
    with refused("home-exists", HomeError, "home", "mv"):
        restore(saved, home)
    assert (home / FILE).read_bytes() == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    with refused("home-exists", HomeError, "not empty"):
        restore(saved, tmp_path / "notes")
    assert [p.name for p in (tmp_path / "notes").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    restore(saved, tmp_path / "empty")
    assert (tmp_path / "empty" / FILE).exists()


def test_any_changed_byte_of_a_backup_is_noticed_and_nothing_is_left(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    for at in range(40, len(data), len(data) // 60):
        spoilt = tmp_path / "spoilt.backup"
        spoilt.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        try:
            restore(spoilt, tmp_path / "again")
        except HomeError:
            assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "home.backup", "pictures", "spoilt.backup"]
        else:  # a byte that means nothing, such as a date
            assert all(finding.ok for finding in verify(tmp_path / "again").findings)
            (tmp_path / "again").rename(tmp_path.parent / f"{tmp_path.name}-{at}")


@pytest.mark.parametrize("part", [0, 1, 1000, -1])
def test_what_is_no_backup_is_refused(saved: Path, tiny_bundle: Path, tmp_path: Path, part: int) -> None:
    cut = tmp_path / "cut.backup"
    cut.write_bytes(saved.read_bytes()[:part])
    with refused("backup-damaged", HomeError, "backup"):
        restore(cut, tmp_path / "again")
    with refused("backup-damaged", HomeError, "backup"):
        restore(tiny_bundle, tmp_path / "again")
    with refused("backup-damaged", HomeError, "cannot be read"):
        restore(tmp_path / "nothing", tmp_path / "again")
    assert not (tmp_path / "again").exists()


Files = dict[str, bytes]


def noted(packed: Files, **other: object) -> Files:
    return packed | {"backup.json": json.dumps(json.loads(packed["backup.json"]) | other).encode()}


FORGED: dict[str, Callable[[Files], Files]] = {
    "another file": lambda files: files | {"more": b""},
    "a file less": lambda files: {name: data for name, data in files.items() if name != FILE},
    "no JSON": lambda files: files | {"backup.json": b"{"},
    "a list": lambda files: files | {"backup.json": b"[]"},
    "endless JSON": lambda files: files | {"backup.json": b" " * 1_000_001 + files["backup.json"]},
    "no digests": lambda files: noted(files, files={}),
    "a bundle outside": lambda files: noted(files, bundle="../0123456789abcdef.edge"),
    "a bundle by a number": lambda files: noted(files, bundle=3),
    "another database": lambda files: files | {FILE: b"SQLite format 3\0"},
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_backup_is_refused_and_leaves_nothing(saved: Path, tmp_path: Path, kind: str) -> None:
    with zipfile.ZipFile(saved) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    restore(write_zip(tmp_path / "same.backup", files), tmp_path / "same")  # what is packed here can be restored
    forged = write_zip(tmp_path / "forged.backup", FORGED[kind](files))
    there = sorted(tmp_path.iterdir())
    with refused("backup-damaged", HomeError, forged):
        restore(forged, tmp_path / "again")
    assert sorted(tmp_path.iterdir()) == there
    assert not (tmp_path.parent / "0123456789abcdef.edge").exists()


def test_a_backup_of_a_newer_program_or_a_compressed_one_is_refused(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with refused("too-new", HomeError, 2):
        restore(write_zip(tmp_path / "newer.backup", noted(files, format=2)), tmp_path / "again")
    with refused("backup-damaged", HomeError):
        restore(write_zip(tmp_path / "small.backup", files, zipfile.ZIP_DEFLATED), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_damaged_database_is_not_saved_over_a_good_backup(home: Path, saved: Path) -> None:
    before = saved.read_bytes()
    with closing(sqlite3.connect(home / FILE)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'examples'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with (home / FILE).open("r+b") as file:
        file.seek(size * (page - 1) + size // 2)
        file.write(b"\xff" * (size // 2))
    with Learner(home) as learner, refused("home-damaged", HomeError, "edge verify"):
        backup(learner, saved)
    assert saved.read_bytes() == before


def test_a_backup_is_one_state_while_others_write(home: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "more", {"brick": 60}, first=2000)
    files = sorted((pictures / "brick").iterdir())

    def write() -> None:
        with Learner(home) as learner:
            for file in files:
                learner.teach("brick", [file])

    thread = threading.Thread(target=write)
    thread.start()
    number = 0
    with Learner(home) as learner:
        while thread.is_alive():
            number += 1
            made = backup(learner, tmp_path / f"{number}.backup")
            restore(tmp_path / f"{number}.backup", tmp_path / str(number))
            with Learner(tmp_path / str(number)) as again:
                ids = [example.id for example in again.store.examples()]
                assert ids == list(range(1, made.examples + 1))
    thread.join()
    assert number


def test_a_damaged_home_is_not_saved_over_a_good_backup(home: Path, saved: Path) -> None:
    (adopted,) = home.glob("*.edge")
    data = bytearray(adopted.read_bytes())
    data[len(data) // 2] ^= 1
    adopted.write_bytes(data)
    before = saved.read_bytes()
    with Learner(home) as learner, refused("bundle-damaged", BundleError):
        backup(learner, saved)
    assert saved.read_bytes() == before


def test_a_restored_home_trusts_whom_the_saved_one_did_and_a_home_with_a_pin_is_left_alone(
    home: Path, saved: Path, tmp_path: Path
) -> None:
    pinned, other = Key(bytes(32), "anna"), Key(bytes(range(32)), "bob")
    with Learner(home) as learner:
        learner.trust(pinned)
        backup(learner, tmp_path / "pinned.backup")
    restore(tmp_path / "pinned.backup", tmp_path / "again")
    with Learner(tmp_path / "again") as again:
        assert [key.fingerprint for key in again.trusted().keys] == [pinned.fingerprint]
        again.trust(other)
    with refused("home-exists", HomeError, "home"):
        restore(saved, tmp_path / "again")  # which has no pin
    with Learner(tmp_path / "again") as again:
        assert [key.comment for key in again.trusted().keys] == ["anna", "bob"]
