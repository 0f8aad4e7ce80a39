"""Which examples of a device count: all, or, of a device that has very many, as many of every label and session.

A device with 5,000 frames must not drown 199 others. Of each label as many are chosen as of the others, and within a
label as many of each session, as far as there are that many; among the frames of one session, those whose picture has
the smallest SHA-256. So the choice depends on which pictures were taught and on nothing else: not on their order, and
not on luck.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST = 256  # examples of one device that count, unless another number is asked for


def capped(
    labels: Sequence[str], sessions: Sequence[str | None], images: NDArray[np.uint8], most: int = MOST
) -> NDArray[np.int64]:
    """Choose at most so many of a device's examples.

    Args:
        labels: of N examples.
        sessions: of N examples; those of None are one more session.
        images: (N, 32) SHA-256 of their pictures.
        most: how many to choose.

    Returns:
        Their numbers, sorted by picture: an order that every device and every run agrees on.

    >>> images = np.arange(6, dtype=np.uint8)[:, None].repeat(32, axis=1)
    >>> capped(["cup", "cup", "cup", "cup", "cup", "mug"], [None] * 6, images, most=3).tolist()
    [0, 1, 5]
    """
    order = np.lexsort(images.T[::-1])  # by the first byte first
    if len(labels) <= most:
        return np.asarray(order, np.int64)
    turn: dict[tuple[str, str | None], int] = {}
    ranked = []
    for place, row in enumerate(order.tolist()):
        session = (labels[row], sessions[row])
        turn[session] = turn.get(session, 0) + 1
        ranked.append((labels[row], turn[session], place, row))
    ranked.sort(key=lambda item: item[1:])  # of each label: the first of every session, then the second of every …
    taken: dict[str, int] = {}
    rounds = []
    for label, _, place, row in ranked:
        taken[label] = taken.get(label, 0) + 1
        rounds.append((taken[label], place, row))
    chosen = sorted(rounds)[:most]  # the first of every label, then the second of every label, …
    return np.array([row for _, _, row in sorted(chosen, key=lambda item: item[1])], np.int64)
