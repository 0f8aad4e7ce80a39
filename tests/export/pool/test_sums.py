"""Laws of exact sums: order is irrelevant, parts give the sums of the whole, and nothing is ever rounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.head.moments import GRID, Moments, fixed
from export.pool import sums
from export.pool.sums import LIMIT, MOST, Sums
from tests.refused import refused

Part = tuple[NDArray[np.int32], list[str]]


def parts(count: int, features: int = 5) -> st.SearchStrategy[list[Part]]:
    """Some devices' examples: unit vectors on the grid, with labels of three."""

    def made(seed: int, sizes: list[int]) -> list[Part]:
        random = np.random.default_rng(seed)
        rows = [np.rint(fixed(random.normal(size=(n, features))) * GRID).astype(np.int32) for n in sizes]
        return [(part, random.choice(["cup", "mug", "jar"], len(part)).tolist()) for part in rows]

    return st.builds(made, st.integers(0, 2**32), st.lists(st.integers(1, 9), min_size=count, max_size=count))


def summed(given: list[Part], features: int = 5) -> Sums:
    total = Sums(features)
    for rows, labels in given:
        total.add(rows, labels)
    return total


@given(parts(4), st.permutations(range(4)))
def test_the_order_of_devices_is_irrelevant_to_the_last_bit(given: list[Part], order: list[int]) -> None:
    one, other = summed(given).moments(), summed([given[i] for i in order]).moments()
    assert one == other
    assert one.gram.tobytes() == other.gram.tobytes()


@given(parts(3))
def test_sums_of_parts_are_the_sums_of_the_pooled_examples(given: list[Part]) -> None:
    rows = np.concatenate([part for part, _ in given])
    labels = [label for _, names in given for label in names]
    pooled = summed(given).moments()
    assert pooled == summed([(rows, labels)]).moments()
    names = tuple(sorted(set(labels)))
    member = np.array([[label == name for label in labels] for name in names], np.float64)
    exact = rows / GRID
    assert pooled == Moments(names, member.sum(axis=1), member @ exact, exact.T @ exact)


def test_totals_stay_exact_where_float64_would_round() -> None:
    """2²⁰ times the largest product, and one unit: float64 loses the unit, whole numbers keep it."""
    many = Sums(1)
    many.add(np.full((1 << 20, 1), MOST, np.int32), ["cup"] * (1 << 20))
    before = int(many._gram[0, 0])
    assert before == (1 << 20) * MOST * MOST
    assert float(before) + 1.0 == float(before), "else this would prove nothing"
    many.add(np.array([[1]], np.int32), ["cup"])
    assert int(many._gram[0, 0]) == before + 1
    assert many.examples == (1 << 20) + 1


def test_the_largest_sum_of_the_most_examples_fits_in_a_whole_number() -> None:
    assert LIMIT * MOST * MOST < 2**63 - 1
    assert (LIMIT + 1) * MOST * MOST > 2**63 - 1
    assert sums.CHUNK * MOST * MOST <= 2**53, "a chunk's products are summed as float64"


def test_more_examples_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "LIMIT", 2)
    total = Sums(1)
    total.add(np.ones((2, 1), np.int32), ["cup", "mug"])
    with refused("limit-exceeded"):
        total.add(np.ones((1, 1), np.int32), ["cup"])


def test_what_is_no_unit_vector_is_refused() -> None:
    total = Sums(2)
    with refused("embeddings-mismatch"):
        total.add(np.array([[MOST + 1, 0]], np.int32), ["cup"])
    with refused("embeddings-mismatch"):
        total.add(np.zeros((1, 3), np.int32), ["cup"])
    with refused("labels-mismatch"):
        total.add(np.zeros((1, 2), np.int32), [])
