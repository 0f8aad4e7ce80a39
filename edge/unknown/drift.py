"""Drift: how the frames classified recently compare with the examples. Pure.

Two values are stored of a frame: the percentage of its label's examples that, left out, were less similar to the others
than the frame is, or −1 if it was unknown; and the word for its look (too dark, blurred …), or "". The last `WINDOW`
of them are in one value of the home, written once per process.

An alarm needs many unknown frames, or one word that applies to most frames. The similarity of known frames raises no
alarm: the examples of a label often show one scene, and another part of that scene, which is classified correctly, is
less similar than all of them (measured: docs/trust.md).
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
    """Add frames to the stored ones; frames of another generation are dropped.

    >>> note(None, 3, [FrameNote(50, ""), FrameNote(-1, "too dark")], 0.05)
    '{"generation": 3, "expected": 0.05, "ranks": [50, -1], "looks": ["", "too dark"]}'
    """
    ranks, looks = zip(*[*_read(stored, generation).seen, *seen][-WINDOW:], strict=True)
    return json.dumps({"generation": generation, "expected": expected, "ranks": ranks, "looks": looks}, allow_nan=False)


def drift_of(stored: str | None, generation: int) -> Drift | None:
    """Summarise the stored frames; None if they are of another generation or too few.

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
    """The stored frames of a generation; none if they are of another one or damaged, as they are not synced."""
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
