"""Fit a head to more examples than fit in memory: several passes over chunks, with no more than D×D numbers kept.

The first pass sums the moments. The second takes an even sample of the groups that are left out together; all choices
are made on this sample and the factory's examples. The third computes the held-out probabilities of every example. In
memory are the Gram matrix (D, D), its eigenvectors, the sample, one chunk, and the result (N, C) float32; the factory's
examples are read a few at a time.

The head depends on the order of the chunks only through the sample: if they are read in a fixed order (by label, then
picture, as a database can), the head depends only on what was taught.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.head.fit import FACTORY_WEIGHTS, Examples, Fit, fit
from edge.head.lda import Floats, Ints, spectrum_of_moments
from edge.head.leave_out import leave_out
from edge.head.linear import softmax
from edge.head.matrix import DesignMatrix, chunks
from edge.head.moments import Moments
from edge.head.tune import METHODS, Choice, choose, far, walk

SAMPLE = 4096  # up to so many examples everything is done in memory; beyond, the choices are made on 1 to 2 × as many
TABLE = 1 << 20  # scores in the sample: of many labels, fewer examples are enough to choose on
CHUNK = 2048

Read = Callable[[], Iterable[Examples]]


def fit_chunks(read: Read, factory: Examples | None = None, *, sample: int = SAMPLE) -> Fit:
    """Fit a head to local examples that come in chunks; for up to `sample` examples this is the same as `fit`.

    Examples of one session must be in one chunk.

    Args:
        read: returns the same chunks in the same order each time it is called.
        sample: the least number of examples on which choices are made.

    Raises:
        NotEnough: there is no example, or there are fewer than two labels.

    >>> chunk = Examples(np.array([[1, 0], [3, 1], [0, 2], [1, 3]], np.float32), ("a", "a", "b", "b"))
    >>> result = fit_chunks(lambda: [chunk, chunk])
    >>> result.head.labels, result.loo.argmax(axis=1).tolist()
    (('a', 'b'), [0, 0, 1, 1, 0, 0, 1, 1])
    """
    few = _if_few(read(), sample)
    if few is not None:
        return fit(few, factory)
    method = METHODS["lda"]
    local = _sums(read())
    factory = factory or Examples(np.empty((0, len(local.gram)), np.float32), ())
    if factory.embeddings.shape[1] != len(local.gram):
        raise BundleError(
            "embeddings-mismatch",
            f"embeddings of {len(local.gram)} and {factory.embeddings.shape[1]} features cannot be combined; "
            "use one backbone",
        )
    shared = np.isin(factory.labels, local.labels)
    parts = [local, _moments(factory, shared), _moments(factory, ~shared)]
    labels = _pooled(parts, (1.0, 1.0, 1.0)).labels
    column = {label: place for place, label in enumerate(labels)}
    some, columns, groups = _sample(read(), column, local.examples // min(sample, TABLE // len(labels)))
    ours = np.concatenate(
        [np.full(len(some), local.examples / len(some)), np.zeros(len(factory))]
    )  # the sample speaks for all
    countable = np.concatenate([np.ones(len(some)), factory.counts])
    x = DesignMatrix([some, factory.embeddings])
    columns = np.concatenate([columns, _columns(factory, column)])
    groups = np.concatenate([groups, groups.max() + 1 + factory.groups])

    def choice(weight: float) -> Choice:
        spectrum = spectrum_of_moments(_pooled(parts, (1.0, weight, 1.0)), method.beta)
        weights = np.ones(len(x))
        weights[len(x) - len(factory) :] = np.where(shared, weight, 1.0)
        points = spectrum.points(x, columns, weights)
        counts = np.where(ours > 0, ours, weights * countable)
        found = choose(spectrum, lambda t: leave_out(spectrum, points, groups, t), counts, ours, method)
        return replace(found, factory_weight=weight, cost=found.cost + far(weight, FACTORY_WEIGHTS))

    best = walk(FACTORY_WEIGHTS, choice) if shared.any() else choice(1.0)
    spectrum, tau = best.spectrum, best.shrinkage * best.spectrum.unit

    loo = np.empty((local.examples + len(factory), len(labels)), np.float32)

    def answer(part: Examples, weights: Floats, out: NDArray[np.float32]) -> None:
        points = spectrum.points(DesignMatrix([part.embeddings], precise=True), _columns(part, column), weights)
        held_out = leave_out(spectrum, points, part.groups, tau)
        for rows in chunks(len(part)):
            out[rows] = softmax(held_out.take(rows).scores(best.nu) / best.temperature)

    at = 0
    for chunk in read():
        answer(chunk, np.ones(len(chunk)), loo[at : at + len(chunk)])
        at += len(chunk)
    if len(factory):
        answer(factory, np.where(shared, best.factory_weight, 1.0), loo[at:])
    return Fit(best.head(labels), "lda", loo, best.shrinkage, best.nu, best.factory_weight)


def whole_sessions(sessions: Sequence[str | None], size: int = CHUNK) -> Iterator[slice]:
    """Divide examples, sorted by session, into chunks of about `size` without dividing a session.

    >>> list(whole_sessions([None, None, None, "a", "a", "b"], 2))
    [slice(0, 2, None), slice(2, 5, None), slice(5, 6, None)]
    """
    start = 0
    for end in range(1, len(sessions) + 1):
        if end == len(sessions) or (
            end - start >= size and (sessions[end] is None or sessions[end] != sessions[end - 1])
        ):
            yield slice(start, end)
            start = end


def _if_few(parts: Iterable[Examples], most: int) -> Examples | None:
    """Return all examples together if they are at most `most`, else None."""
    kept: list[Examples] = []
    for chunk in parts:
        kept.append(chunk)
        if sum(map(len, kept)) > most:
            return None
    return Examples(
        np.concatenate([chunk.embeddings for chunk in kept]) if kept else np.empty((0, 0), np.float32),
        tuple(label for chunk in kept for label in chunk.labels),
        tuple(session for chunk in kept for session in chunk.sessions),
    )


def _columns(part: Examples, column: dict[str, int]) -> Ints:
    return np.array([column[label] for label in part.labels], np.int64)


def _sums(parts: Iterable[Examples]) -> Moments:
    """The moments of all chunks."""
    moments = (Moments.of(chunk.embeddings[:], chunk.labels) for chunk in parts)
    return functools.reduce(operator.add, moments)


def _sample(examples: Iterable[Examples], column: dict[str, int], step: int) -> tuple[NDArray[np.float32], Ints, Ints]:
    """Every step-th group: raw embeddings (n, D); columns; numbers of groups."""
    parts: list[tuple[NDArray[np.float32], Ints, Ints]] = []
    seen = 0
    for chunk in examples:
        numbers = chunk.groups + seen
        seen = int(numbers.max()) + 1
        rows = np.flatnonzero(numbers % step == 0)
        own = _columns(chunk, column)[rows]
        parts.append((chunk.embeddings[rows], own, numbers[rows]))
    x, columns, groups = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return x, columns, groups


def _moments(examples: Examples, mask: NDArray[np.bool_]) -> Moments | None:
    """The moments of the examples in a mask, or None if there are none."""
    rows = np.flatnonzero(mask)
    return _sums(examples.take(rows[part]) for part in chunks(len(rows), CHUNK)) if len(rows) else None


def _pooled(parts: Sequence[Moments | None], weights: Sequence[float]) -> Moments:
    """The moments of all parts, each multiplied by its weight."""
    counted = [(part, weight) for part, weight in zip(parts, weights, strict=True) if part and weight > 0]
    labels = sorted({label for part, _ in counted for label in part.labels})
    first, factor = counted[0]
    gram = factor * first.gram
    for part, weight in counted[1:]:
        for some in chunks(len(gram)):
            gram[some] += weight * part.gram[some]
    counts, sums = np.zeros(len(labels)), np.zeros((len(labels), len(gram)))
    for part, weight in counted:
        place = [labels.index(label) for label in part.labels]
        counts[place] += weight * part.counts
        sums[place] += weight * part.sums
    return Moments(tuple(labels), counts, sums, gram)
