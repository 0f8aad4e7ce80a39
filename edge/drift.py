"""Drift: how the frames classified lately sit against the taught ones. Pure.

What is kept of a frame is one number: the share of taught pictures that were less similar to what was taught, in whole
per cent, or −1 if it was called unknown. The last `WINDOW` of them lie in one value of the
home, written once a process.
"""

import json

from edge.answers import Drift

WINDOW = 200  # frames
FEWEST = 20  # frames, below which nothing is said
_USUAL = 0.25  # the median frame of an unchanged camera lies above it


def note(stored: str | None, generation: int, ranks: list[int], expected: float) -> str:
    """Add frames to what is stored; those judged by another generation are dropped.

    >>> note(None, 3, [50, -1], 0.05)
    '{"generation": 3, "expected": 0.05, "ranks": [50, -1]}'
    """
    before = json.loads(stored) if stored else {}
    kept = before.get("ranks", []) if before.get("generation") == generation else []
    return json.dumps({"generation": generation, "expected": expected, "ranks": [*kept, *ranks][-WINDOW:]})


def drift_of(stored: str | None, generation: int) -> Drift | None:
    """Sum up what is stored; None if it is of another generation or too little.

    >>> drift_of(note(None, 3, [50] * 30, 0.05), 3)
    Drift(frames=30, unknown=0.0, expected=0.05, typical=0.5, drifted=False)
    """
    found = json.loads(stored) if stored else {}
    ranks = found.get("ranks", [])
    if found.get("generation") != generation or len(ranks) < FEWEST:
        return None
    unknown, expected = sum(rank < 0 for rank in ranks) / len(ranks), float(found["expected"])
    typical = max(sorted(ranks)[len(ranks) // 2], 0) / 100
    noise = 3 * (expected * (1 - expected) / len(ranks)) ** 0.5
    return Drift(len(ranks), unknown, expected, typical, unknown > 2 * expected + noise or typical < _USUAL)
