"""The fitters' laws: order is nothing, forgotten is never taught, and held-out scores are what a refit would say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError, EdgeError, LabelError, NotEnough
from edge.head.fit import Examples, Fit, fit
from edge.head.moments import fixed
from edge.head.tune import METHODS
from edge.metrics.evaluate import evaluate
from tests.refused import refused

every_method = pytest.mark.parametrize("method", METHODS)


def some(n: int, d: int, c: int, seed: int, apart: float = 1.0, sessions: bool = False) -> Examples:
    """n examples of d features around c means; every label at least once when n ≥ c."""
    rng = np.random.default_rng(seed)
    columns = np.concatenate([np.arange(c), rng.integers(0, c, max(0, n - c))])[:n]
    means = np.random.default_rng(99).normal(size=(c, d)) * apart
    x = (rng.normal(size=(n, d)) + means[columns]).astype(np.float32)
    bursts = tuple(None if s > 4 else f"s{s}" for s in rng.integers(0, 9, n)) if sessions else ()
    return Examples(x, tuple(f"label{k}" for k in columns), bursts)


def reordered(examples: Examples, order: np.ndarray) -> Examples:
    return Examples(
        examples.embeddings[order],
        tuple(examples.labels[i] for i in order),
        tuple(examples.sessions[i] for i in order) if examples.sessions else (),
    )


def same_bytes(one: Fit, other: Fit) -> bool:
    return one.head.to_bytes() == other.head.to_bytes()


shapes = st.tuples(st.integers(4, 24), st.sampled_from([3, 8, 40]), st.integers(2, 4), st.integers(0, 10_000))


@every_method
@given(shape=shapes, sessions=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_the_order_of_the_examples_is_irrelevant_to_the_byte(
    method: str, shape: tuple[int, int, int, int], sessions: bool, seed: int
) -> None:
    local, factory = some(*shape, sessions=sessions), some(9, shape[1], 3, seed + 1)
    order = np.random.default_rng(seed).permutation(len(local))
    one, other = fit(local, factory, method=method), fit(reordered(local, order), factory, method=method)
    assert same_bytes(one, other)
    moved = np.concatenate([order, np.arange(len(local), len(local) + len(factory))])
    assert one.loo[moved].tobytes() == other.loo.tobytes()


@every_method
@given(shape=shapes)
@settings(max_examples=15)
def test_forgotten_is_never_taught_to_the_byte(method: str, shape: tuple[int, int, int, int]) -> None:
    never = some(*shape)
    extra = some(3, shape[1], 3, shape[3] + 7)
    taught = Examples(np.concatenate([extra.embeddings, never.embeddings]), extra.labels + never.labels)
    forgotten = reordered(taught, np.arange(len(extra), len(taught))[::-1].copy())
    assert same_bytes(fit(forgotten, method=method), fit(never, method=method))


@every_method
def test_permuting_the_labels_permutes_the_answers(method: str) -> None:
    examples = some(20, 8, 3, 0)
    swap = {"label0": "label2", "label1": "label1", "label2": "label0"}
    one = fit(examples, method=method).head
    other = fit(Examples(examples.embeddings, tuple(swap[name] for name in examples.labels)), method=method).head
    assert np.allclose(
        one.probabilities(examples.embeddings)[:, ::-1], other.probabilities(examples.embeddings), atol=1e-4
    )


@every_method
@pytest.mark.parametrize("d", [4, 60])
def test_labels_far_apart_are_learned_and_measured_as_such(method: str, d: int) -> None:
    train, test = some(40, d, 4, 1, apart=4.0), some(200, d, 4, 2, apart=4.0)
    result = fit(train, method=method)
    told = evaluate(result.loo, train.labels, result.head.labels)
    true = evaluate(result.head.probabilities(test.embeddings), test.labels, result.head.labels)
    assert true.accuracy > 0.85
    assert abs(told.accuracy - true.accuracy) < 0.12


def test_the_only_example_of_a_label_is_not_measured_and_the_others_are() -> None:
    examples = some(9, 6, 2, 3)
    lonely = Examples(np.vstack([examples.embeddings, np.ones((1, 6), np.float32)]), (*examples.labels, "rare"))
    unmeasured = np.isnan(fit(lonely).loo).any(axis=1)
    assert unmeasured.tolist() == [False] * 9 + [True]


def test_a_label_that_is_all_one_session_is_not_measured() -> None:
    examples = some(12, 6, 2, 3)
    burst = tuple("night" if label == "label0" else None for label in examples.labels)
    unmeasured = np.isnan(fit(Examples(examples.embeddings, examples.labels, burst)).loo).any(axis=1)
    assert unmeasured.tolist() == [label == "label0" for label in examples.labels]


def test_copies_in_one_session_do_not_vouch_for_each_other() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(10, 30)), 4, axis=0).astype(np.float32)
    labels = tuple("ab"[i // 20] for i in range(40))
    alone = fit(Examples(x, labels))
    burst = fit(Examples(x, labels, tuple(f"s{i // 4}" for i in range(40))))
    assert evaluate(alone.loo, labels, ("a", "b")).accuracy == 1.0
    assert evaluate(burst.loo, labels, ("a", "b")).accuracy < 0.8


def test_one_example_per_label_gives_a_head_and_no_figures() -> None:
    result = fit(Examples(np.eye(3, dtype=np.float32), ("a", "b", "c")))
    assert result.head.probabilities(np.eye(3)).argmax(axis=1).tolist() == [0, 1, 2]
    assert np.isnan(result.loo).all()


def test_labels_only_the_factory_has_still_live() -> None:
    factory, local = some(60, 10, 4, 5, apart=4.0), some(20, 10, 2, 6, apart=4.0)
    result = fit(local, factory)
    assert result.head.labels == ("label0", "label1", "label2", "label3")
    test = some(100, 10, 4, 7, apart=4.0)
    confusion = evaluate(result.head.probabilities(test.embeddings), test.labels, result.head.labels).confusion
    assert (np.diag(confusion) > 0.6 * confusion.sum(axis=1)).all()
    assert len(result.loo) == 80


def test_a_factory_that_mislabels_everything_is_weighed_down() -> None:
    local, factory = some(60, 10, 2, 5, apart=3.0), some(400, 10, 2, 6, apart=3.0)
    liar = {"label0": "label1", "label1": "label0"}
    wrong = Examples(factory.embeddings, tuple(liar[name] for name in factory.labels))
    assert fit(local, wrong).factory_weight <= 0.03
    assert fit(local, factory).factory_weight >= 0.1


def test_a_factory_alone_is_enough() -> None:
    factory = some(20, 6, 2, 1)
    assert same_bytes(fit(Examples(np.zeros((0, 6), np.float32), ()), factory), fit(factory))


def memorised(n: int, seed: int) -> Examples:
    """n examples of 4 labels: three in four as a backbone gives those it knows by heart, far from each other label."""
    honest, means = some(n, 30, 4, seed, apart=0.25), np.random.default_rng(99).normal(size=(4, 30))
    trained_on = np.arange(n) % 4 > 0
    columns = np.array([int(label[-1]) for label in honest.labels])
    drawn = honest.embeddings + 1.5 * means[columns].astype(np.float32) * trained_on[:, None]
    return Examples(drawn, honest.labels, trained_on=trained_on)


def test_what_the_backbone_knows_by_heart_makes_no_head_too_sure() -> None:
    too_sure = []
    for seed in range(6):
        factory, test = memorised(400, seed), some(400, 30, 4, seed + 50, apart=0.25)
        for examples in (Examples(factory.embeddings, factory.labels), factory):
            p = fit(examples).head.probabilities(test.embeddings)
            right = [f"label{column}" for column in p.argmax(axis=1)] == np.array(test.labels)
            too_sure.append(float(p.max(axis=1).mean() - right.mean()))
    unmarked, marked = np.reshape(too_sure, (6, 2)).mean(axis=0)
    assert unmarked > 0.06
    assert abs(marked) < 0.5 * unmarked


def test_what_the_backbone_knows_by_heart_teaches_all_the_same() -> None:
    factory, local = memorised(80, 0), some(8, 30, 2, 8)
    result = fit(local, factory)
    assert result.head.labels == ("label0", "label1", "label2", "label3")
    assert not np.isnan(result.loo).any()


def test_where_there_is_nothing_else_what_is_known_by_heart_must_do() -> None:
    examples = some(40, 12, 3, 4)
    marked = Examples(examples.embeddings, examples.labels, trained_on=np.ones(40, bool))
    assert same_bytes(fit(marked), fit(examples))


@every_method
def test_identical_embeddings_give_a_head_that_does_not_know(method: str) -> None:
    x = np.ones((6, 5), np.float32)
    head = fit(Examples(x, tuple("aabbcc")), method=method).head
    assert np.allclose(head.probabilities(x), 1 / 3, atol=1e-6)


def test_nearest_mean_is_the_nearest_centroid_of_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    train, test = some(30, 12, 3, 0), fixed(some(50, 12, 3, 1).embeddings)
    theirs = neighbors.NearestCentroid().fit(fixed(train.embeddings), train.labels)
    head = fit(train, method="nearest-mean").head
    distances = -2 * test @ theirs.centroids_.T + (theirs.centroids_**2).sum(axis=1)
    ours = test @ head.weights + head.bias
    gaps, expected = ours - ours[:, :1], distances[:, :1] - distances
    scale = (gaps * expected).sum() / (expected**2).sum()
    assert np.allclose(gaps / scale, expected, atol=1e-6 * np.abs(expected).max())
    assert [head.labels[column] for column in ours.argmax(axis=1)] == theirs.predict(test).tolist()


def test_what_cannot_be_fitted_is_refused_by_name() -> None:
    x = np.ones((2, 3), np.float32)
    with refused("too-few-labels", NotEnough, "'a'"):
        fit(Examples(x, ("a", "a")))
    with refused("too-few-examples", NotEnough):
        fit(Examples(np.zeros((0, 3), np.float32), ()))
    with refused("labels-mismatch", LabelError, "2", "1"):
        Examples(x, ("a",))
    with refused("embeddings-mismatch", BundleError, "3", "4"):
        fit(Examples(x, ("a", "b")), Examples(np.ones((1, 4), np.float32), ("a",)))
    with refused("embedding-not-numbers", EdgeError, "not finite"):
        fit(Examples(np.full((2, 3), np.nan, np.float32), ("a", "b")))
