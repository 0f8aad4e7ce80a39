"""Drift: how the frames classified lately sit against the taught ones. Pure.

What is kept of a frame is how its embedding and its pixels compare: the share of its label's taught pictures that were
less similar to what was taught, in whole per cent, or −1 if it was called unknown; and the word for its look (too dark,
blurred …), or "". The last `WINDOW` of them lie in one value of the home, written once a process.

An alarm takes many frames that are unknown, or one word that most of them have. How similar the known ones are raises
none: the pictures of a label are often of one scene, and another part of that scene, which is always classified
correctly, is less similar than all that was taught (measured: docs/trust.md).
"""

import json
from collections import Counter
from typing import NamedTuple

from edge.answers import Drift
from edge.metrics.figures import read_json
from edge.unknown.domain import WORDS

WINDOW = 200  # frames
_RANKS = range(-1, 101)
FEWEST = 20  # frames, below which nothing is said
MANY = 4  # times as many unknown ones as usual; one label alone has reached 4.6 times in 40 frames, which chance allows
MOST = 0.2  # but no more than this share above the usual one


class FrameNote(NamedTuple):
    """A frame: its rank, −1 to 100, and the word for its look, or ""."""

    rank: int
    look: str


def note(stored: str | None, generation: int, seen: list[FrameNote], expected: float) -> str:
    """Add frames to what is stored; those judged by another generation are dropped.

    >>> note(None, 3, [FrameNote(50, ""), FrameNote(-1, "too dark")], 0.05)
    '{"generation": 3, "expected": 0.05, "ranks": [50, -1], "looks": ["", "too dark"]}'
    """
    ranks, looks = zip(*[*_read(stored, generation).seen, *seen][-WINDOW:], strict=True)
    return json.dumps({"generation": generation, "expected": expected, "ranks": ranks, "looks": looks}, allow_nan=False)


def drift_of(stored: str | None, generation: int) -> Drift | None:
    """Sum up what is stored; None if it is of another generation or too little.

    >>> drift_of(note(None, 3, [FrameNote(50, "")] * 30, 0.05), 3)
    Drift(frames=30, unknown=0.0, expected=0.05, typical=0.5, drifted=False, look='')
    """
    seen, expected = _read(stored, generation)
    count = len(seen)
    if count < FEWEST:
        return None
    unknown = sum(frame.rank < 0 for frame in seen) / count
    typical = max(sorted(frame.rank for frame in seen)[count // 2], 0) / 100
    noise = 3 * (expected * (1 - expected) / count) ** 0.5
    many = unknown > min(min(MANY * expected, expected + MOST) + noise, (1 + expected) / 2)
    word, most = Counter(frame.look for frame in seen).most_common(1)[0]
    look = word if 2 * most > count else ""
    return Drift(count, unknown, expected, typical, many or bool(look), look)


class _Kept(NamedTuple):
    seen: list[FrameNote]
    expected: float


def _read(stored: str | None, generation: int) -> _Kept:
    """What is kept of a generation; nothing where it is of another, or damaged: it is written unsynced."""
    try:
        found = read_json(stored or "{}")
        ranks, expected = found["ranks"], float(found["expected"])
        looks = found.get("looks", [""] * len(ranks))  # 0.1.0 kept none
        fits = all(rank in _RANKS for rank in ranks) and all(look in ("", *WORDS) for look in looks)
        if found["generation"] == generation and 0 <= expected <= 1 and fits:
            return _Kept([FrameNote(*pair) for pair in zip(ranks, looks, strict=True)], expected)
    except (ValueError, TypeError, KeyError):
        pass
    return _Kept([], 0.0)
