"""The database: every change whole or not at all; nothing forgotten stays; every refusal says why."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edge.care import doctor
from edge.care.verify import verify
from edge.codes import CODES
from edge.errors import EdgeError, HomeBusy, HomeError, HomeMissing, LabelError
from edge.home import database
from edge.home.database import FILE
from edge.home.examples import Embedded
from edge.home.store import Store, open_store
from tests.edge.conftest import another_user
from tests.refused import refused

NOW = "2026-11-23T12:00:00+00:00"


def item(name: str, label: str = "glass", value: float = 1.0) -> Embedded:
    return Embedded(label, np.full(4, value, np.float32), name, f"/photos/{name}.jpg")


def add(home: Store, *names: str, label: str = "glass", session: str | None = None) -> list[int]:
    with home.transaction():
        return [home.add_example(item(n, label), "backbone", session, NOW) for n in names]


@pytest.fixture
def home(tmp_path: Path) -> Store:
    return open_store(tmp_path / "home", create=True)


def test_what_is_stored_is_there_after_reopening(home: Store) -> None:
    ids = add(home, "a", "b", session="burst")
    home.close()
    with open_store(home.path.parent) as again:
        assert [e.id for e in again.examples()] == ids
        assert [e.session for e in again.examples()] == ["burst", "burst"]
        np.testing.assert_array_equal(again.embeddings(ids, 4), np.ones((2, 4), np.float32))


def test_a_failed_transaction_changes_nothing(home: Store) -> None:
    add(home, "a")
    with pytest.raises(RuntimeError), home.transaction():
        home.add_example(item("b", "tin"), "backbone", None, NOW)
        home.put("serving", "7")
        raise RuntimeError
    assert [e.image for e in home.examples()] == ["a"]
    assert home.get("serving") is None
    assert home.label_id("tin") is None


def test_a_transaction_inside_another_is_part_of_it(home: Store) -> None:
    with pytest.raises(RuntimeError), home.transaction():
        add(home, "a")
        raise RuntimeError
    assert home.count() == 0
    with home.transaction():
        add(home, "a")
        with open_store(home.path.parent) as other:
            assert other.count() == 0, "nothing is kept before the outer one ends"
    assert add(home, "b") == [2]


def test_counts_and_pages_are_those_of_all_examples(home: Store) -> None:
    add(home, "a", "b", "c")
    add(home, "d", "e", label="tin")
    with home.transaction():
        home.add_example(item("f", "tin"), "backbone", None, NOW, held_out=True)
    everything, tin = home.examples(), home.label_id("tin")
    assert home.counts() == {"glass": 3, "tin": 2}
    assert home.counts(held_out=True) == {"tin": 1}
    assert home.images() == {example.image for example in everything}
    assert [e.image for e in home.newest(None, 6, 3)] == ["e", "d", "c"]
    assert [e.image for e in home.newest(tin, 99, 2)] == ["f", "e"]
    assert (home.count(), home.count(tin), home.count(tin, 6), home.count(None, 3)) == (6, 3, 2, 2)
    assert home.examples(images=["e", "nothing", "b"]) == [everything[1], everything[4]]
    assert home.examples(images=[]) == []


def test_what_is_counted_at_each_look_reads_no_example(home: Store) -> None:
    plans = [
        "SELECT labels.name, count(*) FROM examples JOIN labels ON labels.id = examples.label"
        " WHERE held_out = 0 GROUP BY label",
        "SELECT count(*) FROM examples WHERE held_out = 0 AND (id > 3 OR relabelled_after >= 2)",
        "SELECT image FROM examples",
    ]
    for plan in plans:
        steps = [row[3] for row in home._db.execute(f"EXPLAIN QUERY PLAN {plan}") if "examples" in row[3]]
        assert steps, plan
        assert all("COVERING INDEX" in step for step in steps), (plan, steps)


def test_the_same_picture_is_stored_once(home: Store) -> None:
    assert add(home, "a") == add(home, "a", label="tin")
    assert [e.label for e in home.examples()] == ["glass"]


def test_a_renamed_label_takes_its_examples_and_heads_along(home: Store) -> None:
    add(home, "a")
    with home.transaction():
        home.add_head(b"head", ["glass", "tin"], "lda", "backbone", {}, NOW, 1)
        home.rename_label("glass", "bottle")
        with refused("label-taken", LabelError):
            home.rename_label("bottle", "tin")
    assert home.examples()[0].label == "bottle"
    assert next(home.each_generation()).labels == ("bottle", "tin")


def test_forgetting_overwrites_the_heads_that_may_have_learned_from_it(home: Store) -> None:
    heads = []
    for name in "abc":
        add(home, name)
        with home.transaction():
            last = home.last_example()
            heads.append(home.add_head(f"head {name}".encode(), ["glass"], "lda", "backbone", {}, NOW, last))
    with home.transaction():
        home.remove_examples([2])
    assert [g.head for g in home.each_generation()] == [b"head a", None, None]


def test_what_was_forgotten_is_in_no_file_any_more(home: Store) -> None:
    secret = np.frombuffer(b"SECRETSECRETSECR", np.float32)
    with home.transaction():
        home.add_example(Embedded("glass", secret, "x", "s"), "backbone", None, NOW)
    assert any(b"SECRETSECRET" in f.read_bytes() for f in home.path.parent.iterdir())
    with home.transaction():
        home.remove_examples([1])
    home.scrub()
    assert not any(b"SECRETSECRET" in f.read_bytes() for f in home.path.parent.iterdir())


def test_an_id_is_never_given_twice(home: Store) -> None:
    add(home, "a", "b")
    with home.transaction():
        home.remove_examples([2])
    assert add(home, "c") == [3]


def test_a_damaged_embedding_is_named(home: Store) -> None:
    add(home, "a")
    with home.transaction():
        home._db.execute("UPDATE examples SET embedding = x'00'")
    with refused("home-damaged", HomeError, "example 1", "edge forget 1"):
        home.embeddings([1], 4)


def test_a_home_that_is_none_is_refused_by_what_it_is(tmp_path: Path) -> None:
    with refused("home-missing", HomeMissing, "init NAME.edge"):
        open_store(tmp_path / "nowhere")
    (tmp_path / FILE).write_text("this is no database" * 100)
    with refused("home-foreign", HomeError):
        open_store(tmp_path)
    (tmp_path / "file").touch()
    with refused("home-unwritable", HomeError, "cannot be used as"):
        open_store(tmp_path / "file" / "home", create=True)


def test_the_home_of_another_user_is_neither_missing_nor_damaged(home: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    home.close()
    monkeypatch.chdir(home.path.parents[1])
    Path().chmod(0o755)
    folder = Path("home")
    for mode in (0o700, 0o755):  # of the folder; others may never read the database
        folder.chmod(mode)
        for command in (open_store, verify):
            with refused("home-not-yours", HomeError, "home", "'#0'"), another_user():
                command(folder)
        with another_user():
            (found,) = doctor._home(folder, (), ())
        assert found.remedy == CODES["home-not-yours"].remedy, "nothing is to be restored"
    folder.chmod(0)
    os.chown(folder, 54321, -1)
    with pytest.raises(OSError, match="home") as own, another_user():
        open_store(folder)
    assert getattr(own.value, "code", "") != "home-not-yours", "it is that user's own"


def test_a_home_of_a_newer_program_is_left_alone(home: Store) -> None:
    home._db.execute("PRAGMA user_version = 99")
    home.close()
    with refused("too-new", HomeError, "schema 99"):
        open_store(home.path.parent)


def test_a_locked_home_says_so_and_waits_no_longer_than_told(home: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT", 0.1)
    other = open_store(home.path.parent)
    with home.transaction():
        home.put("a", "b")
        with refused("home-busy", HomeBusy, "another process"), other.transaction():
            pass
    with other.transaction():
        other.put("a", "c")
    assert home.get("a") == "c"


def test_readers_see_the_old_state_until_a_writer_is_done(home: Store) -> None:
    add(home, "a")
    with home.transaction():
        home.add_example(item("b"), "backbone", None, NOW)
        with open_store(home.path.parent) as reader:
            assert reader.count() == 1
    assert home.count() == 2


def test_a_full_disk_keeps_what_was_there(home: Store) -> None:
    add(home, "a")
    pages = home._db.execute("PRAGMA page_count").fetchone()[0]
    home._db.execute(f"PRAGMA max_page_count = {pages}")
    with refused("home-unwritable", HomeError, "disk is full"), home.transaction():
        for i in range(1000):
            home.add_example(item(f"new {i}"), "backbone", None, NOW)
    assert [e.image for e in home.examples()] == ["a"]


def test_a_read_only_database_says_so(home: Store) -> None:
    add(home, "a")
    home._db.execute("PRAGMA query_only = ON")
    with refused("home-unwritable", HomeError, "read-only"), home.transaction():
        home.put("a", "b")


def test_others_may_not_look_into_a_home(home: Store) -> None:
    assert home.path.stat().st_mode & 0o077 == 0
    assert home.path.parent.stat().st_mode & 0o077 == 0


def test_errors_of_the_database_are_errors_of_ours(home: Store) -> None:
    with refused("home-damaged", EdgeError) as error, home.transaction():
        home._db.execute("no such statement")
    assert isinstance(error.value.__cause__, sqlite3.Error)


def test_what_cannot_be_scrubbed_yet_is_told(home: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT", 0.1)
    with open_store(home.path.parent) as impatient, open_store(home.path.parent) as reader:
        add(home, "a", "b")
        with reader.snapshot():
            assert reader.count() == 2
            with impatient.transaction():
                impatient.remove_examples([1])
            with refused("forget-unscrubbed", HomeError, "learner.db-wal"):
                impatient.scrub()
        impatient.scrub()
