"""The learning curve: what it tells of more examples holds when they come, and it is silent where it cannot know."""

import numpy as np
import pytest

from edge.answers import LearningCurve
from edge.audit.curve import NEEDED, doubled, learning_curve
from edge.head.fit import Examples, fit

MEANS = np.random.default_rng(9).normal(size=(3, 40))


def clouds(per_label: int, seed: int = 0, noise: float = 2.6) -> Examples:
    rng = np.random.default_rng(seed)
    x = np.concatenate([mean + noise * rng.normal(size=(per_label, 40)) for mean in MEANS])
    return Examples(x.astype(np.float32), tuple(name for name in "abc" for _ in range(per_label)))


def curve(examples: Examples, factory: Examples | None = None) -> LearningCurve | None:
    return learning_curve(examples, fit(examples, factory), np.random.default_rng(0), factory)


def true_accuracy(per_label: int) -> float:
    test = clouds(400, seed=77)
    heads = [fit(clouds(per_label, seed=seed)).head for seed in range(8)]
    return float(np.mean([np.array(h.labels)[h.scores(test.embeddings).argmax(1)] == test.labels for h in heads]))


def test_what_twice_the_examples_are_worth_is_about_what_they_bring() -> None:
    brings = true_accuracy(40) - true_accuracy(20)
    worths = [doubled(examples, fit(examples))[None] for examples in (clouds(20, seed=seed) for seed in range(6))]
    assert abs(np.mean([w.gain for w in worths]) - brings) < 0.03
    assert sum(brings <= w.most for w in worths) >= 4
    assert worths[0].more == 60


def test_the_label_with_most_errors_is_the_one_to_teach() -> None:
    examples = clouds(20)
    result = fit(examples)
    wrong = np.array(result.head.labels)[result.loo.argmax(axis=1)] != np.array(examples.labels)
    errors = [wrong[np.array(examples.labels) == label].mean() for label in "abc"]
    every, (label, alone) = doubled(examples, result).items()
    assert (label, alone.more) == ("abc"[int(np.argmax(errors))], 20)
    assert 0 < alone.gain < every[1].gain == pytest.approx(np.mean(errors) / 6)


def test_where_everything_is_right_more_is_worth_nothing() -> None:
    examples = clouds(20, noise=0.1)
    found = doubled(examples, fit(examples))
    assert all(worth.gain == 0 for worth in found.values())


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
    assert found.sizes[-1] == 12
    assert sorted(set(found.sizes)) == list(found.sizes)
    assert all(low <= share <= high for low, share, high in zip(found.low, found.accuracy, found.high, strict=True))


def test_the_factorys_examples_teach_and_are_not_counted() -> None:
    found = curve(clouds(10, noise=4), clouds(30, seed=5, noise=4))
    alone = curve(clouds(10, noise=4))
    assert found is not None
    assert alone is not None
    assert found.sizes == alone.sizes
    assert found.accuracy[0] > alone.accuracy[0]
