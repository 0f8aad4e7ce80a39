"""Whether a new head may serve: clearly worse ones may not, and chance alone stops nobody."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.metrics.promote import Pairs, refusal, tally


def heads(n: int, wrong: int, serving_wrong: int) -> Pairs:
    """n pictures: the serving head is wrong on the first ones, the new one on the last ones."""
    return Pairs(np.arange(n) < n - wrong, np.arange(n) >= serving_wrong, np.arange(n))


def test_a_head_that_loses_many_pictures_may_not_serve() -> None:
    reason = refusal(None, heads(100, 20, 2), None, 7)
    assert reason == (
        "of 100 pictures taught to both, each left out, it classifies 80 correctly (80.0 %), "
        "generation 7 classified 98 (98.0 %)"
    )


def test_a_head_that_wins_as_many_as_it_loses_may() -> None:
    assert refusal(None, heads(100, 8, 8), None, 1) == ""
    assert refusal(heads(100, 8, 8), None, None, 1) == ""


def test_where_there_is_nothing_to_compare_it_may() -> None:
    assert refusal(None, None, None, 0) == ""


def test_what_is_held_out_decides_where_it_is_clear() -> None:
    worse, better, even = heads(40, 15, 1), heads(40, 1, 15), heads(40, 2, 2)
    assert refusal(better, worse, worse, 1) == ""
    assert "held-out" in refusal(worse, better, better, 1)
    assert "held out or taught to both" in refusal(even, worse, even, 1)
    assert "from the bundle" in refusal(even, even, worse, 1)


@pytest.mark.parametrize("lost", [5, 8])
def test_twenty_pictures_held_out_stop_a_clearly_worse_head_and_let_a_clearly_better_one_serve(lost: int) -> None:
    fine, spoilt = heads(60, 4, 4), heads(60, 12, 4)
    assert "20 held-out pictures" in refusal(heads(20, lost, 0), fine, fine, 1)
    assert refusal(heads(20, 0, lost), spoilt, spoilt, 1) == ""


def test_what_is_held_out_adds_to_what_is_shared_where_neither_is_clear_alone() -> None:
    held_out, shared = heads(30, 2, 0), heads(40, 2, 0)
    assert not tally(held_out).clearly_worse
    assert refusal(None, shared, None, 1) == ""
    assert "70 pictures held out or taught to both" in refusal(held_out, shared, None, 1)


def test_a_new_labels_own_pictures_make_up_for_those_it_loses() -> None:
    pairs = heads(60, 6, 0)
    assert tally(pairs).clearly_worse
    assert not tally(replace(pairs, gained=20)).clearly_worse


def test_a_burst_that_is_lost_counts_once() -> None:
    pairs = heads(60, 30, 0)
    assert tally(pairs).clearly_worse
    assert not tally(replace(pairs, groups=np.minimum(np.arange(60), 30))).clearly_worse


def test_pictures_that_are_all_lost_are_clear_though_they_do_not_vary() -> None:
    assert tally(heads(10, 10, 0)).clearly_worse
    assert tally(heads(10, 0, 10)).clearly_better
    assert not tally(heads(10, 10, 10)).clearly_worse


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.randoms())
def test_comparing_knows_no_order_and_no_favourite(pairs: list[tuple[bool, bool]], random: Random) -> None:
    new, old = np.array(pairs).T
    groups = np.arange(len(pairs))
    found, back = tally(Pairs(new, old, groups)), tally(Pairs(old, new, groups))
    assert (found.right, found.lost) == (back.serving_right, back.won)
    assert found.clearly_worse == back.clearly_better
    random.shuffle(pairs)
    new, old = np.array(pairs).T
    assert tally(Pairs(new, old, groups)) == found


def test_what_is_held_out_needs_less_to_be_believed_than_what_is_left_out() -> None:
    pairs = heads(40, 6, 3)  # nine that one of them alone names, three of them in favour: a chance of 0.25
    assert not tally(pairs).clearly_worse
    assert tally(replace(pairs, held_out=True)).clearly_worse
