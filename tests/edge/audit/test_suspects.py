"""Suspects: wrong labels come first, repeated pictures are found, and nothing depends on the order of teaching."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audit.suspects import contradictions, near_duplicates, suspicions
from edge.head.fit import Examples

NAMES = ("brick", "grass", "gravel")


def clouds(per_label: int, seed: int = 0, apart: float = 1.0) -> Examples:
    rng = np.random.default_rng(seed)
    means = apart * rng.normal(size=(3, 24))
    x = np.concatenate([mean + rng.normal(size=(per_label, 24)) for mean in means])
    return Examples(x.astype(np.float32), tuple(name for name in NAMES for _ in range(per_label)))


def renamed(examples: Examples, rows: list[int]) -> Examples:
    labels = list(examples.labels)
    for row in rows:
        labels[row] = NAMES[(NAMES.index(labels[row]) + 1) % 3]
    return Examples(examples.embeddings, tuple(labels), examples.sessions)


def test_wrong_labels_come_first() -> None:
    wrong = [3, 17, 25, 44]
    order = suspicions(renamed(clouds(20), wrong)).order
    assert set(order[:4]) == set(wrong)
    assert sorted(order) == list(range(60))


@settings(max_examples=15)
@given(st.randoms())
def test_the_order_of_teaching_changes_no_suspicion(random: object) -> None:
    examples = renamed(clouds(8), [1, 12])
    places = list(range(24))
    random.shuffle(places)  # type: ignore[attr-defined]
    shuffled = Examples(examples.embeddings[places], tuple(examples.labels[place] for place in places))
    assert np.allclose(suspicions(shuffled).own, suspicions(examples).own[places], atol=1e-6)


def test_the_only_example_of_its_label_is_not_measured_and_not_suspected() -> None:
    examples = clouds(6)
    alone = Examples(examples.embeddings, ("coins", *examples.labels[1:]))
    found = suspicions(alone)
    assert np.isnan(found.own[0])
    assert 0 not in found.order


def test_no_label_loses_its_last_three_examples_to_the_second_fit() -> None:
    examples = clouds(10)
    labels = ("coins", "coins", "coins", *examples.labels[3:])  # bricks under another name: all suspicious
    assert "coins" in suspicions(Examples(examples.embeddings, labels)).result.head.labels


def test_the_rest_of_a_burst_does_not_vouch_for_its_label() -> None:
    examples = clouds(12)
    burst = [0, 1, 2, 3, 4]
    sessions = tuple("burst" if row in burst else None for row in range(36))
    labels = tuple("gravel" if row in burst else label for row, label in enumerate(examples.labels))
    found = suspicions(Examples(examples.embeddings, labels, sessions))
    assert set(found.order[:5]) == set(burst)
    assert (found.own[burst] < 0.3).all()


def test_examples_of_the_factory_are_no_suspects() -> None:
    local, factory = clouds(6), clouds(10, seed=1)
    assert sorted(suspicions(local, factory).order) == list(range(18))


@pytest.mark.parametrize("copies", [1, 4])
def test_repeated_pictures_are_one_group_led_by_the_first(copies: int) -> None:
    examples = clouds(10)
    again = examples.embeddings[[5]].repeat(copies, axis=0) * 1.5 + 0.01
    x = np.concatenate([examples.embeddings, again])
    (group,) = near_duplicates(x, (*examples.labels, *["brick"] * copies))
    assert group.rows == (5, *range(30, 30 + copies))
    assert group.similarity > 0.99


def test_photos_of_one_kind_are_no_duplicates() -> None:
    examples = clouds(40, apart=0.5)
    assert near_duplicates(examples.embeddings, examples.labels) == []
    assert contradictions(examples.embeddings, examples.labels) == []


def test_one_picture_under_two_labels_is_a_contradiction_and_no_duplicate() -> None:
    examples = clouds(10)
    x = np.concatenate([examples.embeddings, examples.embeddings[[5]] + 0.01])
    labels = (*examples.labels, "gravel")
    assert [pair.rows for pair in contradictions(x, labels)] == [(5, 30)]
    assert near_duplicates(x, labels) == []


def test_one_example_repeats_nothing() -> None:
    one = np.ones((1, 4), np.float32)
    assert near_duplicates(one, ["brick"]) == []
    assert contradictions(one, ["brick"]) == []
