"""Whether a new head may serve: clearly worse ones may not, and chance alone stops nobody."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.promote import Pairs, compare, critical, refusal


def heads(n: int, wrong: int, serving_wrong: int, sure: float = 0.9) -> Pairs:
    """n pictures: the serving head is wrong on the first ones, the new one on the last ones."""
    new, old = np.full(n, sure), np.full(n, sure)
    new[n - wrong :] = -0.1
    old[:serving_wrong] = -0.1
    return Pairs(new, old, np.arange(n))


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
    assert "held out or taught to both" in refusal(even, worse, even, 1)
    assert "from the factory" in refusal(even, even, worse, 1)


@pytest.mark.parametrize("lost", [5, 8])
def test_twenty_pictures_held_out_stop_a_clearly_worse_head_and_let_a_clearly_better_one_serve(lost: int) -> None:
    fine, spoilt = heads(60, 4, 4), heads(60, 12, 4)
    assert "20 pictures held out" in refusal(heads(20, lost, 0), fine, fine, 1)
    assert refusal(heads(20, 0, lost), spoilt, spoilt, 1) == ""


def test_what_is_held_out_adds_to_what_is_shared_where_neither_is_clear_alone() -> None:
    held_out, shared = heads(30, 2, 0), heads(40, 2, 0)
    assert not compare(held_out).clearly_worse
    assert refusal(None, shared, None, 1) == ""
    assert "70 pictures held out or taught to both" in refusal(held_out, shared, None, 1)


def test_less_sure_is_not_worse() -> None:
    new, old = np.full(200, 0.55), np.full(200, 0.95)
    assert not compare(Pairs(new, old, np.arange(200))).clearly_worse
    new[:4] *= -1
    old[4:6] *= -1  # wins and losses as a coin gives them
    assert not compare(Pairs(new, old, np.arange(200))).clearly_worse


def test_how_sure_of_the_right_label_it_is_tells_what_few_lost_pictures_cannot() -> None:
    rng = np.random.default_rng(0)
    old = rng.uniform(0.6, 0.99, 40)
    torn = np.where(np.arange(40) < 12, 0.45 * old, old)
    torn[:2] *= -1
    alone = old.copy()
    alone[:2] *= -1
    assert compare(Pairs(torn, old, np.arange(40), held_out=True)).clearly_worse
    assert not compare(Pairs(alone, old, np.arange(40), held_out=True)).clearly_worse


def test_a_new_labels_own_pictures_make_up_for_those_it_loses() -> None:
    new, old = np.full(60, 0.8), np.full(60, 0.9)
    new[:6] = -0.2
    assert compare(Pairs(new, old, np.arange(60))).clearly_worse
    assert not compare(Pairs(new, old, np.arange(60), gained=20)).clearly_worse


def test_a_burst_that_is_lost_counts_once() -> None:
    new, old = np.full(60, 0.9), np.full(60, 0.9)
    new[:30] = -0.1
    assert compare(Pairs(new, old, np.arange(60))).clearly_worse
    assert not compare(Pairs(new, old, np.where(np.arange(60) < 30, 0, np.arange(60)))).clearly_worse


def test_pictures_that_are_all_lost_are_clear_though_they_do_not_vary() -> None:
    assert compare(heads(10, 10, 0)).clearly_worse
    assert compare(heads(10, 0, 10)).clearly_better
    assert compare(heads(10, 10, 10)).t == 0


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=40), st.randoms())
def test_comparing_knows_no_order_and_no_favourite(pairs: list[tuple[float, float]], random: object) -> None:
    new, old = np.array(pairs).T
    groups = np.arange(len(pairs))
    found, back = compare(Pairs(new, old, groups)), compare(Pairs(old, new, groups))
    assert (found.right, found.lost, found.t) == (back.serving_right, back.won, pytest.approx(-back.t))
    assert found.clearly_worse == back.clearly_better
    random.shuffle(pairs)  # type: ignore[attr-defined]
    new, old = np.array(pairs).T
    other = compare(Pairs(new, old, groups))
    assert (other.right, other.t) == (found.right, pytest.approx(found.t, rel=1e-6, abs=1e-6))


def test_quantiles_are_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (4, 7, 20, 300):
        assert critical(freedom) == pytest.approx(stats.t.ppf(0.95, freedom), abs=0.03)


def test_what_is_held_out_needs_less_to_be_believed_than_what_is_left_out() -> None:
    pairs = heads(40, 6, 3)
    pairs.new[7:34] *= 0.8  # less sure of many, too
    assert not compare(pairs).clearly_worse
    assert compare(replace(pairs, held_out=True)).clearly_worse
