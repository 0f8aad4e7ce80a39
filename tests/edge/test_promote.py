"""Whether a new head may serve: clearly worse ones may not, and chance alone stops nobody."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.promote import Comparison, compare, critical, refusal


def heads(n: int, wrong: int, serving_wrong: int, sure: float = 0.9) -> Comparison:
    """n pictures: the serving head is wrong on the first ones, the new one on the last ones."""
    new, old = np.full(n, sure), np.full(n, sure)
    new[n - wrong :] = -0.1
    old[:serving_wrong] = -0.1
    return compare(new, old, np.arange(n))


def test_a_head_that_loses_many_pictures_may_not_serve() -> None:
    reason = refusal(None, heads(100, 20, 2), None, 7)
    assert reason == (
        "of 100 pictures that both were taught, each left out, it names 80 rightly (80.0 %), "
        "generation 7 named 98 (98.0 %)"
    )


def test_a_head_that_wins_as_many_as_it_loses_may() -> None:
    assert refusal(None, heads(100, 8, 8), None, 1) == ""
    assert refusal(heads(100, 8, 8), None, None, 1) == ""


def test_where_there_is_nothing_to_compare_it_may() -> None:
    assert refusal(None, None, None, 0) == ""


def test_what_is_held_out_decides_where_it_is_clear() -> None:
    worse, better, even = heads(40, 15, 1), heads(40, 1, 15), heads(40, 2, 2)
    assert refusal(better, worse, worse, 1) == ""
    assert "held out" in refusal(worse, better, better, 1)
    assert "both were taught" in refusal(even, worse, even, 1)
    assert "from the factory" in refusal(even, even, worse, 1)


def test_less_sure_is_not_worse() -> None:
    new, old = np.full(200, 0.55), np.full(200, 0.95)
    found = compare(new, old, np.arange(200))
    assert not found.clearly_worse


def test_a_new_labels_own_pictures_make_up_for_those_it_loses() -> None:
    new, old = np.full(60, 0.8), np.full(60, 0.9)
    new[:6] = -0.2
    assert compare(new, old, np.arange(60)).clearly_worse
    assert not compare(new, old, np.arange(60), gained=20).clearly_worse


def test_a_burst_that_is_lost_counts_once() -> None:
    new, old = np.full(60, 0.9), np.full(60, 0.9)
    new[:30] = -0.1
    assert compare(new, old, np.arange(60)).clearly_worse
    assert not compare(new, old, np.where(np.arange(60) < 30, 0, np.arange(60))).clearly_worse


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=40), st.randoms())
def test_comparing_knows_no_order_and_no_favourite(pairs: list[tuple[float, float]], random: object) -> None:
    new, old = np.array(pairs).T
    found, back = compare(new, old, np.arange(len(pairs))), compare(old, new, np.arange(len(pairs)))
    assert (found.right, found.lost, found.t) == (back.serving_right, back.won, pytest.approx(-back.t))
    assert found.clearly_worse == back.clearly_better
    random.shuffle(pairs)  # type: ignore[attr-defined]
    new, old = np.array(pairs).T
    other = compare(new, old, np.arange(len(pairs)))
    assert (other.right, other.lost, other.won, other.t) == (
        found.right,
        found.lost,
        found.won,
        pytest.approx(found.t, abs=1e-6),
    )


def test_quantiles_are_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (4, 7, 20, 300):
        assert critical(freedom) == pytest.approx(stats.t.ppf(0.95, freedom), abs=0.03)
