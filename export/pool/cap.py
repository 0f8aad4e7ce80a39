"""Limits how many examples of a device count, spread evenly over its labels and sessions.

A device with 5,000 frames must not drown out 199 others. Examples are chosen evenly from all labels and, within a
label, evenly from all sessions, as far as there are enough; within a session, those whose pictures have the smallest
SHA-256. So the choice depends only on which pictures were taught, not on their order or on chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST = 256  # default limit of examples per device


def capped(
    labels: Sequence[str], sessions: Sequence[str | None], images: NDArray[np.uint8], most: int = MOST
) -> NDArray[np.int64]:
    """Choose at most `most` of a device's examples.

    Args:
        labels: the labels of N examples.
        sessions: the sessions of N examples; None counts as one session.
        images: (N, 32) SHA-256 of their pictures.
        most: the limit.

    Returns:
        The indices of the chosen examples, sorted by picture, which gives the same order in every run.

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
    ranked.sort(key=lambda item: item[1:])  # per label: the first of every session, then the second of every session, …
    taken: dict[str, int] = {}
    rounds = []
    for label, _, place, row in ranked:
        taken[label] = taken.get(label, 0) + 1
        rounds.append((taken[label], place, row))
    chosen = sorted(rounds)[:most]  # the first of every label, then the second of every label, …
    return np.array([row for _, _, row in sorted(chosen, key=lambda item: item[1])], np.int64)
