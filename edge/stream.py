"""A head from more examples than fit in memory: three passes over chunks, and no more than D×D numbers kept.

The first pass sums the moments. The second takes an even sample of the groups that are left out together and chooses τ,
ν and the temperature on it. The third gives every example its held-out probabilities. What is kept is the Gram matrix
(D, D), its eigenvectors, the sample, one chunk, and the answer (N, C) float32.

The head depends on the chunks' order only through which examples are sampled: read them in an order of their own (by
label, then embedding, as SQLite can) and it depends on what was taught alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from edge.choose import METHODS, choose
from edge.errors import NotEnough
from edge.fit import Examples, Fit, fit, groups_of
from edge.head import softmax
from edge.lda import Floats, Ints, Points, leave_out, spectrum_of_moments
from edge.moments import Moments, fixed

SAMPLE = 4096  # groups on which τ, ν and the temperature are chosen


def fit_chunks(read: Callable[[], Iterable[Examples]], *, method: str = "auto", sample: int = SAMPLE) -> Fit:
    """Fit a head to examples that come in chunks.

    Examples of one session must come in one chunk. With no more examples than features this is `fit`.

    Args:
        read: gives the same chunks in the same order each time it is called.
        method: as in `fit`.
        sample: how many groups to choose on.

    Raises:
        NotEnough: no example, or fewer than two labels.

    >>> chunk = Examples(np.array([[1, 0], [3, 1], [0, 2], [1, 3]], np.float32), ("a", "a", "b", "b"))
    >>> result = fit_chunks(lambda: [chunk, chunk])
    >>> result.head.labels, result.loo.argmax(axis=1).tolist()
    (('a', 'b'), [0, 0, 1, 1, 0, 0, 1, 1])
    """
    moments: Moments | None = None
    singles = 0
    for chunk in read():
        if len(chunk):
            part = Moments.of(chunk.embeddings, chunk.labels)
            moments = part if moments is None else moments + part
            singles += len(set(groups_of(chunk.sessions or (None,) * len(chunk)).tolist()))
    if moments is None:
        raise NotEnough("there is no example; teach some")
    if moments.examples <= len(moments.gram) or len(moments.labels) < 2:
        chunks = [chunk for chunk in read() if len(chunk)]
        return fit(
            Examples(
                np.concatenate([chunk.embeddings for chunk in chunks]),
                tuple(label for chunk in chunks for label in chunk.labels),
                tuple(name for chunk in chunks for name in (chunk.sessions or (None,) * len(chunk))),
            ),
            method=method,
        )
    name = "lda" if method == "auto" else method
    spectrum = spectrum_of_moments(moments)
    columns = {label: column for column, label in enumerate(moments.labels)}

    def points(chunk: Examples) -> Points:
        own = np.array([columns[label] for label in chunk.labels], np.int64)
        return spectrum.points(fixed(chunk.embeddings), own, np.ones(len(own)))

    step, seen = max(1, -(-singles // sample)), 0
    parts: list[Points] = []
    numbers: list[Ints] = []
    for chunk in read():
        groups = groups_of(chunk.sessions or (None,) * len(chunk)) + seen
        seen = int(groups.max(initial=seen - 1)) + 1
        rows = np.flatnonzero(groups % step == 0)
        if rows.size:
            parts.append(points(chunk).take(rows))
            numbers.append(groups[rows])
    sampled = Points(*(np.concatenate([vars(part)[field] for part in parts]) for field in vars(parts[0])))
    drawn = np.concatenate(numbers)
    every = np.ones(len(drawn), np.bool_)
    best = choose(spectrum, lambda tau: leave_out(spectrum, sampled, drawn, tau), every, METHODS[name])

    tau = best.shrinkage * spectrum.unit
    loo = np.empty((moments.examples, len(columns)), np.float32)
    at = 0
    for chunk in read():
        if len(chunk):
            groups = groups_of(chunk.sessions or (None,) * len(chunk))
            scores: Floats = leave_out(spectrum, points(chunk), groups, tau).scores(best.nu)
            loo[at : at + len(chunk)] = softmax(scores / best.temperature)
            at += len(chunk)
    return Fit(best.head(moments.labels), name, loo, best.shrinkage, best.nu, best.factory_weight)
