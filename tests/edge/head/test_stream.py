"""A head from chunks: the same answers in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from edge.errors import BundleError, NotEnough
from edge.head import stream
from edge.head.fit import Examples, fit
from edge.head.stream import fit_chunks
from tests.refused import refused


def chunks(n: int, d: int, classes: int, size: int, sessions: bool = False) -> Iterator[Examples]:
    means = np.random.default_rng(9).normal(size=(classes, d))
    for at in range(0, n, size):
        rng = np.random.default_rng(at)
        columns = rng.integers(0, classes, min(size, n - at))
        bursts = tuple(f"{at}-{i // 3}" for i in range(len(columns))) if sessions else ()
        x = (rng.normal(size=(len(columns), d)) + 0.3 * means[columns]).astype(np.float32)
        yield Examples(x, tuple(f"{k:03}" for k in columns), bursts)


def pooled(parts: list[Examples]) -> Examples:
    return Examples(
        np.concatenate([part.embeddings for part in parts]),
        tuple(label for part in parts for label in part.labels),
        tuple(name for part in parts for name in part.sessions),
    )


@pytest.mark.parametrize("sessions", [False, True])
@pytest.mark.parametrize("factory_labels", [0, 2, 5])
@pytest.mark.parametrize("trained_on", [False, True])
def test_chunks_give_the_head_of_the_whole(factory_labels: int, sessions: bool, trained_on: bool) -> None:
    factory = next(chunks(80, 24, factory_labels, 80)) if factory_labels else None
    if factory and trained_on:
        factory = Examples(3 * factory.embeddings, factory.labels, trained_on=np.arange(80) % 4 > 0)
    whole = fit(pooled(list(chunks(300, 24, 3, 64, sessions))), factory)
    parts = fit_chunks(lambda: chunks(300, 24, 3, 64, sessions), factory, sample=200)  # all are sampled up to 400
    assert parts.head.labels == whole.head.labels
    assert (parts.shrinkage, parts.trust, parts.factory_weight) == (whole.shrinkage, whole.trust, whole.factory_weight)
    assert np.allclose(parts.head.weights, whole.head.weights, rtol=1e-5, atol=1e-6)
    assert np.allclose(parts.loo, whole.loo, atol=1e-5, equal_nan=True)


def test_few_examples_are_fitted_in_memory_to_the_byte() -> None:
    factory = next(chunks(80, 24, 5, 80))
    whole, parts = fit(pooled(list(chunks(90, 24, 3, 64))), factory), fit_chunks(lambda: chunks(90, 24, 3, 64), factory)
    assert parts.head.to_bytes() == whole.head.to_bytes()


def test_a_sample_is_enough_to_choose() -> None:
    parts = fit_chunks(lambda: chunks(3000, 24, 3, 500), sample=300)
    whole = fit(pooled(list(chunks(3000, 24, 3, 500))))
    assert np.allclose(parts.head.temperature, whole.head.temperature, rtol=0.3)
    assert len(parts.loo) == 3000


def test_memory_does_not_grow_with_the_examples() -> None:
    peaks = []
    for n in (4_000, 16_000):
        tracemalloc.start()
        fit_chunks(lambda n=n: chunks(n, 64, 5, 500), sample=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    answer = 12_000 * 5 * 4  # the held-out probabilities themselves
    assert peaks[1] < peaks[0] + 2 * answer


def test_many_labels_are_chosen_on_fewer_examples_in_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks, heads = [], []
    for table in (1 << 20, 1 << 16):
        monkeypatch.setattr(stream, "TABLE", table)
        tracemalloc.start()
        heads.append(fit_chunks(lambda: chunks(3000, 24, 250, 200), sample=1500).head)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 0.5 * peaks[0]
    assert np.allclose(heads[1].temperature, heads[0].temperature, rtol=0.3)


def test_no_chunk_is_refused_by_name() -> None:
    with refused("too-few-examples", NotEnough):
        fit_chunks(lambda: [])


def test_a_factory_of_another_backbone_is_refused_by_name() -> None:
    with refused("embeddings-mismatch", BundleError, "24", "16"):
        fit_chunks(lambda: chunks(300, 24, 3, 64), next(chunks(20, 16, 3, 20)), sample=100)
