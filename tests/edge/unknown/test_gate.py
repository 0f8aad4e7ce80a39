"""The gate: it keeps the share it promises, refuses what is unlike, and depends on what was taught alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.head.fit import Examples
from edge.unknown.fit_gate import ALIKE, fit_gate, lower_bound
from edge.unknown.gate import Background, Detector, Gate
from tests.refused import refused

D = 64
CENTRES = np.random.default_rng(5).normal(size=(4, D)) * 0.6


def draw(label: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Embeddings of a label: not negative, as a network's are, about a centre of its own."""
    return np.maximum(CENTRES[label] + rng.normal(size=(count, D)) + 2, 0).astype(np.float32)


def taught(k: int, seed: int, labels: int = 3) -> Examples:
    rng = np.random.default_rng(seed)
    rows = np.concatenate([draw(label, k, rng) for label in range(labels)])
    return Examples(rows, tuple(f"{label}" for label in range(labels) for _ in range(k)))


BACKGROUND = Background.of(
    np.maximum(np.random.default_rng(1).normal(size=(2000, D)) * 1.2 + 2, 0).astype(np.float32), rank=12
)


def gate_of(examples: Examples, coverage: float = 0.95, background: Background = BACKGROUND) -> Gate:
    labels, counted = tuple(sorted(set(examples.labels))), np.ones(len(examples), bool)
    gate = fit_gate(lambda: [examples], None, labels, background, counted, coverage)
    assert gate is not None
    return gate


@pytest.mark.parametrize("k", [2, 3, 5, 20, 100])
def test_known_pictures_are_kept_as_often_as_promised(k: int) -> None:
    kept = []
    for seed in range(60):
        judge = Detector(gate_of(taught(k, seed)), BACKGROUND)
        new = taught(30, 1000 + seed).embeddings
        kept.append(np.mean([judge.similarity(x) >= judge.gate.threshold for x in new]))
    assert 0.92 <= np.mean(kept) <= 0.98


def test_a_wish_for_more_coverage_keeps_more() -> None:
    examples = taught(20, 0)
    thresholds = [gate_of(examples, coverage).threshold for coverage in (0.8, 0.9, 0.95, 0.99)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]


def test_what_is_unlike_everything_taught_is_unknown() -> None:
    judge = Detector(gate_of(taught(20, 0)), BACKGROUND)
    for x in draw(3, 30, np.random.default_rng(9)):
        assert judge.unknown(judge.similarity(x), 0)


def test_frames_of_one_burst_do_not_make_the_rest_of_the_world_unknown() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([draw(label, 1, rng) + rng.normal(0, 0.01, (10, D)) for label in range(3)])
    gate = gate_of(Examples(rows.astype(np.float32), tuple("aaaaaaaaaabbbbbbbbbbcccccccccc")))
    assert gate.quantiles.min() > 0.99
    assert gate.threshold == ALIKE


def test_a_session_is_left_out_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    bursts = np.concatenate([draw(label, 3, rng) for label in range(2)]).repeat(5, axis=0)
    bursts = (bursts + rng.normal(0, 0.01, bursts.shape)).astype(np.float32)
    labels = tuple("a" * 15 + "b" * 15)
    alone = gate_of(Examples(bursts, labels))
    together = gate_of(Examples(bursts, labels, tuple(f"{i // 5}" for i in range(30))))
    assert (together.quantiles[:, 10] < alone.quantiles[:, 10] - 0.05).all()


def test_a_label_of_one_example_or_one_session_is_not_judged_yet() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([draw(0, 5, rng), draw(1, 1, rng), draw(2, 4, rng)])
    sessions = (None,) * 6 + ("monday",) * 4
    judge = Detector(gate_of(Examples(rows, tuple("aaaaabcccc"), sessions)), BACKGROUND)
    assert judge.gate.measured.tolist() == [True, False, False]
    assert judge.unknown(-1.0, 0) is True
    assert judge.unknown(-1.0, 1) is None
    assert Detector(judge.gate.reordered([2, 0, 1]), BACKGROUND).unknown(-1.0, 1) is True


def test_fewer_than_two_examples_of_two_labels_make_no_gate() -> None:
    examples = taught(1, 0)
    assert fit_gate(lambda: [examples], None, ("0", "1", "2"), BACKGROUND, np.ones(3, bool)) is None


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 29))
def test_neither_the_order_nor_the_chunks_matter(seed: int, cut: int) -> None:
    examples = taught(10, 0)
    order = np.random.default_rng(seed).permutation(len(examples))
    mixed = Examples(examples.embeddings[order], tuple(examples.labels[i] for i in order))
    parts = [
        Examples(mixed.embeddings[part], mixed.labels[part]) for part in (slice(None, cut), slice(cut, None))
    ]  # fmt: skip
    gate, again = gate_of(examples), fit_gate(lambda: parts, None, ("0", "1", "2"), BACKGROUND, np.ones(30, bool))
    assert again is not None
    assert again.threshold == pytest.approx(gate.threshold, abs=1e-5)
    np.testing.assert_allclose(again.prototypes, gate.prototypes, atol=1e-3)


def test_factory_and_local_pictures_of_a_label_are_prototypes_of_their_own() -> None:
    """A device's camera sees otherwise than the workstation's; the mean of both would be like neither."""
    local, factory = taught(10, 0), taught(10, 1)
    factory = replace(factory, embeddings=np.roll(factory.embeddings, 5, axis=1))
    gate = fit_gate(lambda: [local], factory, ("0", "1", "2"), BACKGROUND, np.ones(60, bool))
    assert gate is not None
    assert len(gate.prototypes) == 6
    judge = Detector(gate, BACKGROUND)
    assert np.mean([judge.similarity(x) > judge.gate.threshold for x in taught(10, 2).embeddings]) > 0.8


def test_judging_is_the_formula() -> None:
    judge, x = Detector(gate_of(taught(5, 0)), BACKGROUND), taught(5, 3).embeddings
    expected = (BACKGROUND.white()(x) @ judge.gate.prototypes.astype(np.float32).T).max(axis=1)
    np.testing.assert_allclose([judge.similarity(row) for row in x], expected, atol=2e-3)


def test_without_a_background_it_is_the_plain_cosine() -> None:
    x = taught(5, 0).embeddings
    none = Background.none(D)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(none.white()(x), unit, atol=1e-6)
    judge = Detector(gate_of(taught(20, 0), background=none), none)
    assert np.mean([judge.similarity(row) >= judge.gate.threshold for row in taught(50, 8).embeddings]) > 0.88


def test_a_background_is_the_covariance_and_whitens_it() -> None:
    rows = np.random.default_rng(0).random((500, D)).astype(np.float32)
    full = Background.of(rows, rank=D)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    basis = full.basis.astype(np.float64)
    rebuilt = basis.T @ np.diag(full.values - full.rest) @ basis + full.rest * np.eye(D)
    np.testing.assert_allclose(rebuilt, np.cov(unit.T), atol=2e-5)
    assert full.digest() == Background.of(rows, rank=D).digest()
    assert full.digest() != Background.of(rows, rank=3).digest()


def test_it_is_read_back_as_it_was_written_and_nothing_else_is() -> None:
    gate = gate_of(taught(5, 0))
    blob = gate.to_bytes()
    again = Gate.from_bytes(blob)
    assert again.to_bytes() == blob
    assert (again.threshold, again.coverage, again.background) == (gate.threshold, 0.95, BACKGROUND.digest())
    for damaged in (b"", blob[:-1], blob + b"0", b"EDGEHEAD" + blob[8:], blob[:12] + b"\xff\xff\xff\x7f" + blob[16:]):
        with refused("head-damaged", BundleError, "edge retrain"):
            Gate.from_bytes(damaged)


def test_the_bound_of_few_is_below_all_of_them_and_of_many_their_quantile() -> None:
    few = np.random.default_rng(0).normal(size=8)
    assert lower_bound(few, 0.95) < few.min()
    many = np.random.default_rng(0).normal(size=10_000)
    assert lower_bound(many, 0.95) == pytest.approx(np.quantile(many, 0.05), abs=0.01)


@pytest.mark.parametrize("n", [39, 200, 3000])
def test_the_threshold_is_harrell_and_davis_quantile(n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    scores = np.random.default_rng(n).normal(size=n)
    ends = stats.beta.cdf(np.arange(n + 1) / n, 0.05 * (n + 1), 0.95 * (n + 1))
    assert lower_bound(scores, 0.95) == pytest.approx(np.diff(ends) @ np.sort(scores), abs=1e-3)


def test_the_threshold_strays_less_than_an_order_statistic() -> None:
    draws = np.random.default_rng(0).normal(size=(500, 100))
    ours = [lower_bound(draw, 0.95) for draw in draws]
    assert np.std(ours) < 0.95 * np.std(np.sort(draws, axis=1)[:, 4])
    assert np.mean(ours) == pytest.approx(-1.645, abs=0.06)
