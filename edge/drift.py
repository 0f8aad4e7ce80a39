"""Drift: how the frames classified lately sit against the taught ones. Pure.

What is kept of a frame is one number: the share of taught pictures that were less similar to what was taught, in whole
per cent, or −1 if it was called unknown. The last `WINDOW` of them lie in one value of the
home, written once a process.
"""

import json
from typing import NamedTuple

from edge.answers import Drift
from edge.figures import read_json

WINDOW = 200  # frames
_RANKS = range(-1, 101)
FEWEST = 20  # frames, below which nothing is said
_USUAL = 0.25  # the median frame of an unchanged camera lies above it


def note(stored: str | None, generation: int, ranks: list[int], expected: float) -> str:
    """Add frames to what is stored; those judged by another generation are dropped.

    >>> note(None, 3, [50, -1], 0.05)
    '{"generation": 3, "expected": 0.05, "ranks": [50, -1]}'
    """
    kept = _read(stored, generation).ranks
    return json.dumps({"generation": generation, "expected": expected, "ranks": [*kept, *ranks][-WINDOW:]})


def drift_of(stored: str | None, generation: int) -> Drift | None:
    """Sum up what is stored; None if it is of another generation or too little.

    >>> drift_of(note(None, 3, [50] * 30, 0.05), 3)
    Drift(frames=30, unknown=0.0, expected=0.05, typical=0.5, drifted=False)
    """
    ranks, expected = _read(stored, generation)
    if len(ranks) < FEWEST:
        return None
    unknown = sum(rank < 0 for rank in ranks) / len(ranks)
    typical = max(sorted(ranks)[len(ranks) // 2], 0) / 100
    noise = 3 * (expected * (1 - expected) / len(ranks)) ** 0.5
    return Drift(len(ranks), unknown, expected, typical, unknown > 2 * expected + noise or typical < _USUAL)


class _Kept(NamedTuple):
    ranks: list[int]
    expected: float


def _read(stored: str | None, generation: int) -> _Kept:
    """What is kept of a generation; nothing where it is of another, or damaged: it is written unsynced."""
    try:
        found = read_json(stored or "{}")
        ranks, expected = found["ranks"], float(found["expected"])
        if found["generation"] == generation and 0 <= expected <= 1 and all(rank in _RANKS for rank in ranks):
            return _Kept(ranks, expected)
    except (ValueError, TypeError, KeyError):
        pass
    return _Kept([], 0.0)
