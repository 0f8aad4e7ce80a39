"""Several programs on one home: nobody waits for a fit, and a head never learns what was changed meanwhile."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.errors import HomeBusy, HomeError
from edge.home import database, schema
from edge.home.state import Home
from edge.learner import Learner
from edge.network.backbone import Backbone
from edge.retraining import retrain
from edge.retraining.retrain import NewHead
from tests.edge.conftest import write_bundle, write_pictures
from tests.refused import refused

During = Callable[[Callable[[], None]], None]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", {"coins": 8, "brick": 4, "grass": 2}, first=300)


@pytest.fixture
def learner(tmp_path: Path, tiny_bundle: Path, pictures: Path) -> Iterator[Learner]:
    with Learner.init(tmp_path / "home", tiny_bundle) as made:
        made.teach("coins", [pictures / "coins"])
        made.retrain()
        yield made


@pytest.fixture
def other(learner: Learner) -> Iterator[Learner]:
    """Another program on the same home, unwilling to wait."""
    with pytest.MonkeyPatch.context() as impatient:
        impatient.setattr(database, "WAIT", 0.2)
        with Learner(learner.home) as opened:
            yield opened


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> During:
    """Do something while the next fit is at work."""
    real = retrain.fit_anew
    todo: list[Callable[[], None]] = []

    def fit_anew(home: Home, coverage: float) -> NewHead:
        fitted = real(home, coverage)
        while todo:
            todo.pop()()
        return fitted

    monkeypatch.setattr(retrain, "fit_anew", fit_anew)
    return todo.append


def head(learner: Learner) -> bytes | None:
    return learner.store.generation(learner.serving().generation).head


def test_others_teach_while_a_head_is_fitted_and_what_they_teach_counts_as_new(
    learner: Learner, other: Learner, during: During, pictures: Path
) -> None:
    during(lambda: None if other.teach("brick", [pictures / "brick"]).examples else pytest.fail("nothing taught"))
    made = learner.retrain()
    assert made.local_examples == 8
    assert learner.status().untrained_examples == 4
    assert learner.retrain().local_examples == 12
    assert learner.status().untrained_examples == 0


def test_what_is_forgotten_while_a_head_is_fitted_is_not_in_it(
    learner: Learner, other: Learner, during: During
) -> None:
    def forget() -> None:
        assert other.forget(["1"]).examples == 1

    during(forget)
    warned: list[str] = []
    other.warn = warned.append
    made = learner.retrain()
    assert len(warned) == 1
    assert "the examples are forgotten, but their bytes remain in" in warned[0]  # the fit at work still read the log
    assert made.local_examples == 7
    assert head(learner) == head(other)
    assert [entry.usable for entry in learner.history()] == [True, False, True, True]


def test_what_is_relabelled_or_renamed_while_a_head_is_fitted_has_its_new_name_in_it(
    learner: Learner, other: Learner, during: During
) -> None:
    during(lambda: other.rename("brick", "wall"))
    assert learner.retrain().labels == ("coins", "grass", "gravel", "wall")
    during(lambda: None if other.relabel(["1", "2"], "pennies") else pytest.fail("nothing relabelled"))
    assert "pennies" in learner.retrain().labels
    assert set(learner.store.labels().values()) == {"coins", "grass", "gravel", "wall", "pennies"}
    assert learner.status().untrained_examples == 0


def test_a_head_is_compared_with_the_one_that_serves_when_it_is_stored(
    learner: Learner, other: Learner, during: During
) -> None:
    during(lambda: None if other.rollback(1).generation == 1 else pytest.fail("not rolled back"))
    made = learner.retrain()
    assert made.serving == 3
    assert made.shared is None  # generation 1 was taught nothing here


def test_a_head_that_knows_less_never_replaces_one_that_was_made_meanwhile(
    learner: Learner, other: Learner, during: During, pictures: Path
) -> None:
    def overtake() -> None:
        other.teach("brick", [pictures / "brick"])
        assert other.retrain().local_examples == 12

    during(overtake)
    made = learner.retrain()
    assert made.local_examples == 12
    assert made.shared is not None
    assert made.shared.examples == 12
    assert learner.status().untrained_examples == 0


def test_forgetting_is_no_damage(learner: Learner) -> None:
    warned: list[str] = []
    with Learner(learner.home, warn=warned.append) as opened:
        opened.forget(["1"])
    assert warned == []


def test_a_bundle_adopted_meanwhile_is_seen(
    learner: Learner, other: Learner, network: Backbone, pictures: Path, tmp_path: Path
) -> None:
    assert other.bundle.manifest.name == "tiny"
    newer = write_bundle(tmp_path / "newer.edge", pictures, network)
    Learner.init(learner.home, newer).close()
    assert other.bundle.manifest.name == "newer"
    assert other.retrain().factory_examples == 14
    assert len(list(learner.home.glob("*.edge"))) == 1


def test_who_waits_too_long_is_told_in_one_line(learner: Learner, other: Learner, pictures: Path) -> None:
    with learner.store.transaction(), refused("home-busy", HomeBusy, "another process"):
        other.teach("brick", [pictures / "brick"])
    assert len(other.teach("brick", [pictures / "brick"]).examples) == 4


def test_an_older_program_writes_nothing_more_once_a_newer_one_was_there(
    learner: Learner, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_MIGRATIONS", (*schema._MIGRATIONS, "ALTER TABLE heads ADD COLUMN tomorrow BLOB"))
    Learner(learner.home).close()
    monkeypatch.undo()
    count = learner.store.count()
    with refused("too-new", HomeError, "upgrade"):
        learner.teach("brick", [pictures / "brick"])
    with refused("too-new", HomeError, "upgrade"):
        learner.retrain()
    assert learner.store.count() == count


@pytest.mark.parametrize("year", [1970, 2106])
def test_no_answer_depends_on_the_clock(tmp_path: Path, tiny_bundle: Path, pictures: Path, year: int) -> None:
    """A Pi has no clock of its own: it begins in 1970, jumps when the network is there, and back without it."""
    times = [datetime(year, 1, 1, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)]
    calls = iter(times * 100)
    with (
        Learner.init(tmp_path / "jumping", tiny_bundle, clock=lambda: next(calls)) as jumping,
        Learner.init(tmp_path / "steady", tiny_bundle) as steady,
    ):
        for one in (jumping, steady):
            for label in ("coins", "brick"):
                one.teach(label, [pictures / label])
                one.retrain()
            one.rollback()
            one.forget(["1"])
        assert head(jumping) == head(steady)
        kept = [[(e.generation, e.serving, e.usable) for e in one.history()] for one in (jumping, steady)]
        assert kept[0] == kept[1]
        assert jumping.status().untrained_examples == steady.status().untrained_examples
