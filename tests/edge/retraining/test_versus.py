"""Promotion over a home: worse heads stay candidates, what is held out is never taught, every way back is open."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import archive
from edge.bundle.archive import FactoryExamples
from edge.errors import HomeError
from edge.home import schema
from edge.home.database import FILE
from edge.home.store import open_store
from edge.learner import Learner
from tests.edge.conftest import COLOURS, write_pictures
from tests.refused import refused

Clock = Callable[[], datetime]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("taught"), dict.fromkeys(COLOURS, 12), first=200)


@pytest.fixture(scope="session")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("more"), dict.fromkeys(COLOURS, 12), first=600)


@pytest.fixture
def learner(tmp_path: Path, tiny_bundle: Path, pictures: Path, clock: Clock) -> Iterator[Learner]:
    with Learner.init(tmp_path / "home", tiny_bundle, clock=clock) as made:
        for label in COLOURS:
            made.teach(label, [pictures / label])
        made.retrain()
        yield made


def spoil(learner: Learner) -> dict[str, str]:
    """Turn every third label; return what they were."""
    labels = sorted(COLOURS)
    examples = learner.store.examples(held_out=False)[::3]
    for e in examples:
        learner.relabel([str(e.id)], labels[labels.index(e.label) - 1])
    return {str(e.id): e.label for e in examples}


def head(learner: Learner, generation: int) -> bytes | None:
    return learner.store.generation(generation).head


def test_a_head_taught_wrong_labels_stays_a_candidate_and_the_mended_one_serves(learner: Learner) -> None:
    right = spoil(learner)
    result = learner.retrain()
    assert (result.generation, result.promoted, result.serving) == (3, False, 2)
    assert "generation 2 classified" in result.refusal
    assert result.shared is not None
    assert result.shared.right < result.shared.serving_right
    assert (learner.serving().generation, learner.status().candidate) == (2, 3)
    assert [(e.serving, e.promoted) for e in learner.history()] == [(False, True), (True, True), (False, False)]
    assert learner.history()[-1].refusal == result.refusal
    for example, label in right.items():
        learner.relabel([example], label)
    mended = learner.retrain()
    assert (mended.promoted, mended.refusal, learner.serving().generation) == (True, "", 4)
    assert learner.status().candidate is None
    assert head(learner, 4) == head(learner, 2)


def test_a_better_taught_head_takes_over_from_a_badly_taught_one(learner: Learner) -> None:
    right = spoil(learner)
    assert learner.retrain(force=True).promoted
    for example, label in right.items():
        learner.relabel([example], label)
    assert learner.retrain().promoted


def test_force_lets_a_worse_head_serve_and_rollback_undoes_it_past_candidates(learner: Learner) -> None:
    spoil(learner)
    assert not learner.retrain().promoted
    forced = learner.retrain(force=True)
    assert (forced.generation, forced.promoted, learner.serving().generation) == (4, True, 4)
    assert learner.rollback().generation == 2
    assert learner.rollback(3).generation == 3


def test_nothing_new_is_not_worse(learner: Learner) -> None:
    again = learner.retrain()
    assert again.promoted
    assert again.shared is not None
    assert again.shared.right == again.shared.serving_right
    assert again.shared.examples == 48


def test_no_head_is_fitted_to_what_is_held_out(learner: Learner, more: Path) -> None:
    taught = learner.teach("coins", [more / "grass"], held_out=True)  # wrong on purpose: it must not matter
    assert taught.held_out
    result = learner.retrain()
    assert head(learner, result.generation) == head(learner, 2)
    counts = {c.label: (c.local, c.held_out) for c in learner.status().labels}
    assert counts["coins"] == (12, 12)
    assert learner.status().untrained_examples == 0
    entry = learner.history()[-1]
    assert entry.held_out_examples == 12
    assert entry.held_out_accuracy is not None
    assert entry.held_out_accuracy < 0.5


def test_forgetting_what_is_held_out_overwrites_no_head(learner: Learner, more: Path) -> None:
    ids = learner.teach("coins", [more / "coins"], held_out=True).examples
    learner.retrain()
    gone = learner.forget([str(i) for i in ids])
    assert (gone.examples, gone.overwritten) == (12, ())
    assert all(e.usable for e in learner.history())


def test_what_is_held_out_stops_labels_swapped_in_new_examples(
    tiny_bundle: Path, tmp_path: Path, pictures: Path, more: Path
) -> None:
    """Swapped throughout, they look consistent: only pictures that are never taught can tell."""
    verdicts = []
    for number, canaries in enumerate((False, True)):
        with Learner.init(tmp_path / str(number), tiny_bundle) as learner:
            if canaries:
                for label in ("brick", "grass", "gravel"):
                    learner.teach(label, [pictures / label], held_out=True)
            for label, shown in (("brick", "grass"), ("grass", "brick")):
                learner.teach(label, [more / shown])
            verdicts.append(learner.retrain())
    assert [v.promoted for v in verdicts] == [True, False]
    assert "held-out" in verdicts[1].refusal


def test_a_new_label_is_not_stopped_because_the_task_is_harder(
    tiny_bundle: Path, tmp_path: Path, pictures: Path
) -> None:
    with Learner.init(tmp_path / "home", tiny_bundle) as learner:
        learner.teach("coins", [pictures / "coins"])
        result = learner.retrain()
    assert result.promoted
    assert result.shared is None
    assert result.factory is not None
    assert result.factory.examples == 30


def test_forgetting_what_the_serving_head_never_saw_lets_it_go_on_if_the_new_one_is_worse(
    learner: Learner, more: Path
) -> None:
    for label, shown in (("brick", "gravel"), ("grass", "brick"), ("gravel", "grass")):
        learner.teach(label, [more / shown])
    assert not learner.retrain().promoted
    newest = learner.store.examples()[-1].id
    gone = learner.forget([str(newest)])
    assert (gone.generation, gone.refitted, gone.overwritten) == (2, False, (3,))
    assert learner.serving().generation == 2


def test_a_generation_of_an_older_program_is_compared_on_what_is_held_out_alone(learner: Learner, more: Path) -> None:
    learner.teach("coins", [more / "coins"], held_out=True)
    with learner.store.transaction():
        learner.store._db.execute("UPDATE heads SET own = NULL, crc = NULL")
    spoil(learner)
    result = learner.retrain()
    assert result.shared is None
    assert result.held_out is not None


def test_a_bundle_without_examples_of_its_own_is_no_trouble(tiny_bundle: Path, tmp_path: Path, pictures: Path) -> None:
    opened = archive.read(tiny_bundle)
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    few = FactoryExamples(*(part[:20] for part in vars(opened.examples()).values()))
    archive.write(tmp_path / "few.edge", opened.manifest, models, opened.golden(), few)
    with Learner.init(tmp_path / "home", tmp_path / "few.edge") as learner:
        for label in COLOURS:
            learner.teach(label, [pictures / label])
        assert learner.retrain().promoted
        again = learner.retrain()
        assert again.shared is not None
        assert again.shared.examples == 48


def test_a_home_of_the_first_schema_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(schema, "_MIGRATIONS", schema._MIGRATIONS[:1])
        open_store(tmp_path, create=True).close()
        old = sqlite3.connect(tmp_path / FILE)
        old.execute("INSERT INTO heads VALUES (1, 'then', 'lda', 'x', '[]', x'00', '{}', 0)")
        old.commit()
        old.close()
    with open_store(tmp_path) as opened:
        (generation,) = opened.each_generation()
        assert (generation.head, generation.own) == (b"\0", None)
    with monkeypatch.context() as older, refused("too-new", HomeError, "upgrade"):
        older.setattr(schema, "_MIGRATIONS", schema._MIGRATIONS[:1])
        open_store(tmp_path)


def test_what_a_generation_keeps_is_two_bytes_an_example(learner: Learner) -> None:
    serving = learner.serving_generation()
    assert serving is not None
    assert serving.own is not None
    own = np.frombuffer(serving.own, "<f2")
    assert len(own) == 48 + 30
    assert ((np.abs(own) <= 1) | np.isnan(own)).all()
