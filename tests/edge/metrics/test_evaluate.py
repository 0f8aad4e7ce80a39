"""Honest reporting: what is counted, what is not, and when the figures may be believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import LabelError, NotEnough
from edge.metrics.evaluate import evaluate, margins, wilson, worst
from tests.refused import refused


def table(rows: int, seed: int) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(3), rows), [str(name) for name in rng.choice(["a", "b", "c", "unheard"], rows)]


@given(st.integers(1, 60), st.integers(0, 99))
def test_accuracy_and_confusion_tell_the_same(rows: int, seed: int) -> None:
    probabilities, truth = table(rows, seed)
    result = evaluate(probabilities, truth, ("a", "b", "c"))
    assert np.isclose(result.accuracy * rows, np.trace(result.confusion))
    assert result.confusion.sum() == rows - truth.count("unheard")
    for k, name in enumerate("abc"):
        assert result.confusion[k].sum() == truth.count(name)
    assert result.interval[0] <= result.accuracy <= result.interval[1]


@given(st.integers(1, 60), st.integers(0, 99))
def test_the_order_of_the_examples_is_irrelevant(rows: int, seed: int) -> None:
    probabilities, truth = table(rows, seed)
    one = evaluate(probabilities, truth, ("a", "b", "c"))
    other = evaluate(probabilities[::-1], truth[::-1], ("a", "b", "c"))
    assert (one.confusion == other.confusion).all()
    assert one.accuracy == other.accuracy


def test_names_the_head_does_not_know_count_as_wrong() -> None:
    assert evaluate([[1.0, 0.0]] * 2, ["a", "zebra"], ("a", "b")).accuracy == 0.5


def test_rows_of_nan_are_in_no_figure() -> None:
    result = evaluate([[np.nan, np.nan], [1, 0]], ["b", "a"], ("a", "b"))
    assert (result.examples, result.accuracy) == (1, 1.0)
    assert result.confusion.tolist() == [[1, 0], [0, 0]]


def test_of_nothing_measured_there_is_no_figure() -> None:
    with refused("too-few-examples", NotEnough):
        evaluate(np.full((2, 2), np.nan), ["a", "b"], ("a", "b"))


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_interval_holds_the_share_and_stays_within_zero_and_one(right: int, wrong: int) -> None:
    low, high = wilson(right, right + wrong)
    assert 0 <= low <= right / (right + wrong) <= high <= 1


def test_the_interval_covers_the_truth_in_about_95_of_100_runs() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 0.99, 4000)
    ends = np.array([wilson(int(hit), 40) for hit in rng.binomial(40, truth)])
    assert 0.93 < np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) < 0.97


def test_the_worst_are_the_surest_mistakes_and_never_the_unmeasured() -> None:
    probabilities = [[0.9, 0.1], [0.1, 0.9], [np.nan, np.nan], [0.4, 0.6]]
    truth = ["a", "a", "a", "a"]
    assert worst(probabilities, truth, ("a", "b"), 10) == [1, 3, 0]
    assert margins(probabilities, truth, ("a", "b"))[1] == pytest.approx(-0.8)
    assert margins([[0.9, 0.1]], ["zebra"], ("a", "b")).tolist() == [-1.0]


def test_probabilities_that_do_not_fit_the_names_are_refused() -> None:
    with refused("labels-mismatch", LabelError, "(1, 2)", "2 labels"):
        evaluate([[0.5, 0.5]], ["a", "b"], ("a", "b"))
