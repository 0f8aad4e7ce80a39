"""Moments: addition without order, to the byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import BundleError, LabelError, NotEnough
from edge.head.moments import Moments, fixed
from tests.refused import refused


def some(n: int, seed: int, d: int = 6) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), [str(name) for name in rng.choice(["a", "b", "c"], n)]


parts = st.tuples(st.integers(1, 30), st.integers(0, 999))


@given(parts, parts)
def test_merged_is_pooled_to_the_byte(one: tuple[int, int], other: tuple[int, int]) -> None:
    (x, names), (y, more) = some(*one), some(*other)
    assert Moments.of(x, names) + Moments.of(y, more) == Moments.of(np.vstack([x, y]), names + more)


@given(parts, parts)
def test_merging_has_no_order(one: tuple[int, int], other: tuple[int, int]) -> None:
    a, b = Moments.of(*some(*one)), Moments.of(*some(*other))
    assert a + b == b + a


@given(parts)
def test_the_order_of_the_examples_is_irrelevant_to_the_byte(one: tuple[int, int]) -> None:
    x, names = some(*one)
    order = np.random.default_rng(0).permutation(len(x))
    assert Moments.of(x[order], [names[i] for i in order]) == Moments.of(x, names)


def test_the_sums_of_many_examples_are_exact() -> None:
    rng = np.random.default_rng(0)
    x, names = rng.normal(size=(20_000, 8)), [str(name) for name in rng.choice(["a", "b"], 20_000)]
    whole = Moments.of(x, names)
    chunks = [Moments.of(x[i : i + 999], names[i : i + 999]) for i in range(0, 20_000, 999)]
    assert sum(chunks[1:], chunks[0]) == whole


@given(parts)
def test_scatter_is_what_its_name_says(one: tuple[int, int]) -> None:
    x, names = some(*one)
    moments, rows = Moments.of(x, names), fixed(x)
    about_all = rows - rows.mean(axis=0)
    own = np.stack([rows[[other == name for other in names]].mean(axis=0) for name in names])
    assert np.allclose(moments.scatter(1), about_all.T @ about_all, atol=1e-9)
    assert np.allclose(moments.scatter(0), (rows - own).T @ (rows - own), atol=1e-9)


def test_moments_of_another_backbone_do_not_mix() -> None:
    with refused("embeddings-mismatch", BundleError, "2", "3"):
        Moments.of([[1.0, 0]], ["a"]) + Moments.of([[1.0, 0, 0]], ["a"])


def test_examples_without_a_name_are_refused() -> None:
    with refused("label-invalid", LabelError, "empty"):
        Moments.of([[1.0]], [""])
    with refused("labels-mismatch", LabelError, "1", "2"):
        Moments.of([[1.0]], ["a", "b"])
    with refused("too-few-examples", NotEnough):
        Moments.of(np.zeros((0, 3)), [])
