"""Which examples of a device count: a choice that knows no order and no luck, spread over labels and sessions."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from export.pool.cap import capped

Taught = list[tuple[str, str | None]]
TAUGHT = st.lists(st.tuples(st.sampled_from(["cup", "mug", "jar"]), st.sampled_from([None, "a", "b"])), max_size=40)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8)


def chosen(taught: Taught, images: np.ndarray, most: int) -> list[bytes]:
    rows = capped([label for label, _ in taught], [session for _, session in taught], images, most)
    return [images[row].tobytes() for row in rows]


@given(TAUGHT, st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_order_in_which_a_device_was_taught_is_irrelevant(taught: Taught, most: int, random: object) -> None:
    images = pictures(len(taught))
    order = list(range(len(taught)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert chosen(taught, images, most) == chosen([taught[i] for i in order], images[order], most)


@given(TAUGHT, st.integers(1, 20))
def test_as_many_as_may_count_do_and_no_label_has_two_more_than_another_that_has_them(
    taught: Taught, most: int
) -> None:
    rows = capped([label for label, _ in taught], [session for _, session in taught], pictures(len(taught)), most)
    assert len(rows) == len(set(rows.tolist())) == min(most, len(taught))
    every, some = Counter(label for label, _ in taught), Counter(taught[row][0] for row in rows)
    assert all(some[a] + 1 >= min(some[b], every[a]) for a in every for b in every)


@given(TAUGHT, st.integers(1, 20))
def test_a_session_of_many_frames_does_not_push_out_another_of_the_label(taught: Taught, most: int) -> None:
    rows = capped([label for label, _ in taught], [session for _, session in taught], pictures(len(taught)), most)
    every, some = Counter(taught), Counter(taught[row] for row in rows)
    for one in every:
        for other in every:
            if one[0] == other[0]:
                assert some[one] + 1 >= min(some[other], every[one])
