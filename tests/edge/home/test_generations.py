"""Generations: how many are kept, which ones, and what is said of the others."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge.cli import wording
from edge.cli.app import cli
from edge.errors import HomeError
from edge.home.store import Store
from edge.learner import Learner
from edge.retraining import retrain
from edge.retraining.retrain import KEPT
from tests.refused import refused


@pytest.fixture
def learner(tmp_path: Path, tiny_bundle: Path) -> Iterator[Learner]:
    with Learner.init(tmp_path / "home", tiny_bundle) as learner:
        yield learner


def numbers(learner: Learner) -> list[int]:
    return [entry.generation for entry in learner.history()]


def test_the_newest_generations_are_kept_and_numbers_go_on(learner: Learner) -> None:
    for _ in range(KEPT + 4):
        made = learner.retrain(force=True).generation
    assert made == KEPT + 5
    assert numbers(learner) == list(range(6, KEPT + 6))
    told = "\n".join(wording.history(learner.history()))
    assert "5 older generations were dropped" in told
    assert learner.rollback().generation == KEPT + 4
    with refused("generation-unknown", HomeError, "generation 2", "dropped"):
        learner.rollback(2)
    with refused("generation-unknown", HomeError, "generation 99"):
        learner.rollback(99)
    assert learner.status().generation == KEPT + 4


def test_the_one_that_serves_and_the_one_to_go_back_to_stay(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain, "KEPT", 2)
    learner.retrain(force=True)
    learner.retrain(force=True)
    assert numbers(learner) == [2, 3]
    monkeypatch.setattr(retrain, "refusal", lambda *_: "it is worse, says the test")
    for _ in range(4):
        assert not learner.retrain().promoted
    assert numbers(learner) == [2, 3, 6, 7]
    assert learner.status().generation == 3
    assert learner.status().candidate == 7
    assert learner.rollback().generation == 2
    learner.retrain()
    assert numbers(learner)[0] == 2


def test_dropped_heads_leave_no_bytes_behind(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain, "KEPT", 1)
    for _ in range(3):
        learner.retrain(force=True)
    assert numbers(learner) == [3, 4]
    assert learner.store.damages(10) == []


def test_what_does_not_need_a_head_reads_none(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(KEPT):
        learner.retrain(force=True)
    big = 1_000_000
    with learner.store.transaction():
        learner.store._db.execute(
            "UPDATE heads SET own = zeroblob(?1), crc = crc32(labels, head, gate, zeroblob(?1))", (big,)
        )
    tracemalloc.start()
    assert len(learner.history()) >= KEPT
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * big  # one at a time
    read: list[Any] = []
    monkeypatch.setattr(Store, "each_generation", lambda *_: read.append(1))
    learner.anything_new()
    learner.status()
    assert read == []


def test_history_says_nothing_where_nothing_was_dropped(learner: Learner) -> None:
    assert "dropped" not in "\n".join(wording.history(learner.history()))
    told = CliRunner().invoke(cli, ["--home", str(learner.home), "history", "--json"], standalone_mode=False)
    assert "dropped" not in told.output


def test_a_home_is_closed_even_if_the_last_note_fails(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise HomeError("home-unwritable", "the disk is full")

    monkeypatch.setattr(learner._answering, "note", fails)
    learner.close()
    with refused("home-closed", HomeError):
        learner.store.count()


def test_a_home_is_closed_even_if_the_last_note_breaks(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(learner._answering, "note", breaks)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        learner.close()
    with refused("home-closed", HomeError):
        learner.store.count()
