"""The head: its scores, its probabilities, and its bytes that are believed only after they were checked."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.errors import BundleError, LabelError
from edge.head.linear import Head, softmax, unit
from tests.refused import refused

numbers = st.floats(-1e6, 1e6, width=32)


def a_head(features: int = 4, classes: int = 3, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    labels = tuple(sorted(f"l{i}é" for i in range(classes)))
    return Head(
        labels,
        rng.normal(size=(features, classes)).astype(np.float32),
        rng.normal(size=classes).astype(np.float32),
        0.25,
    )


@given(arrays(np.float32, (3, 4), elements=numbers))
def test_unit_rows_have_length_one_and_rows_of_zeros_stay(x: np.ndarray) -> None:
    lengths = np.linalg.norm(unit(x).astype(np.float64), axis=1)
    assert np.allclose(lengths, np.where(np.abs(x).max(axis=1) > 0, 1.0, 0.0), atol=1e-6)


@given(arrays(np.float32, (2, 4), elements=st.floats(0.125, 128, width=32)), st.floats(0.125, 128))
def test_brightness_of_an_embedding_does_not_change_its_scores(x: np.ndarray, factor: float) -> None:
    head = a_head()
    assert np.allclose(head.scores(x * np.float32(factor)), head.scores(x), atol=1e-5)


def test_scores_are_one_matmul_of_unit_rows_and_probabilities_their_softmax() -> None:
    head, x = a_head(), np.random.default_rng(1).normal(size=(5, 4))
    scores = x / np.linalg.norm(x, axis=1, keepdims=True) @ head.weights + head.bias
    assert np.allclose(head.scores(x), scores, atol=1e-6)
    assert np.allclose(head.probabilities(x), softmax(scores / 0.25), atol=1e-6)
    assert np.allclose(head.probabilities(x).sum(axis=1), 1, atol=1e-6)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 5))
def test_saved_and_loaded_is_the_same_head(features: int, classes: int, seed: int) -> None:
    head = a_head(features, classes, seed)
    again = Head.from_bytes(head.to_bytes())
    assert again.labels == head.labels
    assert again.temperature == head.temperature
    assert again.weights.tobytes() == head.weights.tobytes()
    assert again.bias.tobytes() == head.bias.tobytes()


def test_the_bytes_of_a_head_are_golden() -> None:
    head = Head(("a", "é"), np.array([[1, 2]], np.float32), np.array([0, -1], np.float32), 0.5)
    assert head.to_bytes().hex() == (
        "4544474548454144"
        "01000000"
        "01000000"
        "02000000"
        "03000000"
        "000000000000e03f"
        "01000000"
        "02000000"
        "61"
        "c3a9"
        "0000803f"
        "00000040"
        "00000000"
        "000080bf"
    )


@given(st.data())
def test_a_truncated_or_longer_head_is_refused_by_name(data: st.DataObject) -> None:
    blob = a_head().to_bytes()
    cut = data.draw(st.integers(0, len(blob) - 1))
    for damaged in (blob[:cut], blob + b"\0"):
        with refused("head-damaged", BundleError, "bytes"):
            Head.from_bytes(damaged)


@given(st.data())
def test_no_flipped_byte_raises_anything_but_our_own_errors(data: st.DataObject) -> None:
    blob = bytearray(a_head().to_bytes())
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(BundleError, LabelError):
        Head.from_bytes(bytes(blob))


def test_a_head_from_the_future_or_of_a_huge_size_is_refused_by_name() -> None:
    blob = a_head().to_bytes()
    with refused("too-new", BundleError, "2", "1"):
        Head.from_bytes(blob[:8] + b"\2\0\0\0" + blob[12:])
    with refused("head-damaged", BundleError, "limit"):
        Head.from_bytes(blob[:12] + b"\xff\xff\xff\xff" + blob[16:])


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"weights": np.full((4, 3), np.nan, np.float32)}, "not finite"),
        ({"weights": np.zeros((4, 2), np.float32)}, "3 labels"),
        ({"weights": np.zeros((4, 3))}, "float32"),
        ({"temperature": 0.0}, "0.0"),
        ({"temperature": float("nan")}, "nan"),
    ],
)
def test_a_head_that_does_not_fit_together_is_refused(change: dict[str, object], fact: str) -> None:
    head = a_head()
    parts = {"labels": head.labels, "weights": head.weights, "bias": head.bias, "temperature": 1.0} | change
    with refused("head-damaged", BundleError, fact):
        Head(**parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [(), ("b", "a"), ("a", "a"), ("", "a")])
def test_labels_are_distinct_names_in_order(labels: tuple[str, ...]) -> None:
    with refused("labels-mismatch", LabelError):
        Head(labels, np.zeros((1, len(labels)), np.float32), np.zeros(len(labels), np.float32), 1.0)


def test_embeddings_of_another_backbone_are_refused_with_both_numbers() -> None:
    with refused("embeddings-mismatch", BundleError, "4", "5"):
        a_head().scores(np.ones((1, 5)))


def test_an_embedding_that_is_not_finite_is_refused_by_number() -> None:
    with refused("embedding-not-numbers", BundleError, "1", "2"):
        unit([[1.0, 2.0], [np.inf, 0.0]])
