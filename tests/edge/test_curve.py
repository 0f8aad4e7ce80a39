"""The learning curve: what it tells of more examples holds when they come, and it is silent where it cannot know."""

import numpy as np
import pytest

from edge.audit.curve import NEEDED, Curve, _law, learning_curve
from edge.head.fit import Examples, fit

MEANS = np.random.default_rng(9).normal(size=(3, 40))


def clouds(per_label: int, seed: int = 0, noise: float = 2.6) -> Examples:
    rng = np.random.default_rng(seed)
    x = np.concatenate([mean + noise * rng.normal(size=(per_label, 40)) for mean in MEANS])
    return Examples(x.astype(np.float32), tuple(name for name in "abc" for _ in range(per_label)))


def curve(examples: Examples, factory: Examples | None = None) -> Curve | None:
    return learning_curve(examples, fit(examples, factory), np.random.default_rng(0), factory)


def true_accuracy(per_label: int) -> float:
    test = clouds(400, seed=77)
    heads = [fit(clouds(per_label, seed=seed)).head for seed in range(8)]
    return float(np.mean([np.array(h.labels)[h.scores(test.embeddings).argmax(1)] == test.labels for h in heads]))


def test_what_twice_the_examples_are_worth_is_what_they_bring() -> None:
    brings = true_accuracy(40) - true_accuracy(20)
    told = [curve(clouds(20, seed=seed)) for seed in range(6)]
    worths = [found.doubled() for found in told if found]
    assert len(worths) == 6
    assert abs(np.mean([w.gain for w in worths]) - brings) < 0.03
    assert sum(w.interval[0] <= brings <= w.interval[1] for w in worths) >= 4
    assert worths[0].more == 60


def test_where_everything_is_right_more_is_worth_nothing() -> None:
    found = curve(clouds(20, noise=0.1))
    assert found is not None
    assert found.doubled().gain == pytest.approx(0, abs=0.005)
    assert not found.doubled().sure


def test_too_few_examples_tell_nothing() -> None:
    assert curve(clouds(NEEDED - 1)) is None
    assert curve(clouds(NEEDED)) is not None


def test_a_burst_counts_once() -> None:
    examples = clouds(20)
    bursts = tuple(f"{label}{row // 5}" for row, label in enumerate(examples.labels))
    assert curve(Examples(examples.embeddings, examples.labels, bursts)) is None


def test_the_last_point_is_leave_one_out() -> None:
    examples = clouds(12)
    found, result = curve(examples), fit(examples)
    assert found is not None
    right = np.array(result.head.labels)[result.loo.argmax(axis=1)] == np.array(examples.labels)
    assert found.accuracy[-1] == pytest.approx(right.mean())
    assert found.shares[-1] == 1
    assert (np.diff(found.shares) > 0).all()


def test_the_law_is_found_again() -> None:
    shares = np.array([0.1, 0.2, 0.4, 1.0])
    (a, b, c), *_ = _law(shares, (0.03 + 0.06 * shares**-0.6)[None])
    told = c + a * 2.0**-b
    assert told == pytest.approx(0.03 + 0.06 * 2.0**-0.6, abs=0.004)


def test_the_factorys_examples_teach_and_are_not_counted() -> None:
    local, factory = clouds(10), clouds(30, seed=5)
    found = curve(local, factory)
    assert found is not None
    assert found.right.shape[0] == 30
