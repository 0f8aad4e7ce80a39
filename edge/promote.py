"""Whether a new head may serve: compared with the serving one on the same pictures, by what neither was taught. Pure.

| pictures | how the serving head answers | how the new one does |
|---|---|---|
| *held out* (`teach --holdout`) | as it is | as it is: no head is ever fitted to them |
| *shared*: both were fitted to them | leave-one-out, kept since it was made | leave-one-out |

Of a label that was taught on this device the bundle's examples do not count: they tell of another place, and a head
that fits this one may well be worse there. What was taught since is no evidence: were its labels wrong, the new head would be praised for believing them. Each
shared picture is judged under the label that the head was taught, so labels turned wrong count against the head that
learned them, and mended ones for it. Only labels that both know are compared, with the answers among these: a new label
makes the task harder, not the head worse.

A head is *clearly worse* if it lost more pictures than it won, so many more that chance (one-sided exact sign test, pictures
of a session together counting once) explains it in under 5 % of cases, and lost more than a point. What is held out decides
if it is clear, for better or worse; else what is shared. One that is clearly worse stays a candidate.

Source: Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms", Neural
Computation 1998 (McNemar's test, of which this is the exact form).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHANCE = 0.05
POINT = 0.01

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """Two heads on the same pictures.

    Args:
        examples: how many pictures.
        right: how many the new head names rightly.
        serving_right: how many the serving one does.
        lost, won: groups of pictures on which the new head is worse, and better.
    """

    examples: int
    right: int
    serving_right: int
    lost: int
    won: int

    @property
    def clearly_worse(self) -> bool:
        """Whether the new head is."""
        return self._clear(self.lost, self.won, self.serving_right - self.right)

    @property
    def clearly_better(self) -> bool:
        """Whether the new head is."""
        return self._clear(self.won, self.lost, self.right - self.serving_right)

    def _clear(self, more: int, fewer: int, drop: int) -> bool:
        return drop > POINT * self.examples and chance(more, fewer) < CHANCE


def compare(right: Bools, serving_right: Bools, groups: NDArray[np.int64]) -> Comparison:
    """Compare the answers of two heads to n pictures.

    Args:
        right: (n,) whether the new head is right.
        serving_right: (n,) whether the serving one is.
        groups: (n,) equal numbers for pictures of one session.

    >>> new, old, groups = np.array([True, False, False]), np.array([True, True, True]), np.array([0, 1, 1])
    >>> compare(new, old, groups)
    Comparison(examples=3, right=1, serving_right=3, lost=1, won=0)
    """
    change = right.astype(np.int64) - serving_right.astype(np.int64)
    net = np.zeros(int(groups.max()) + 1 if len(groups) else 0, np.int64)
    np.add.at(net, groups, change)
    return Comparison(
        len(right), int(right.sum()), int(serving_right.sum()), int((net < 0).sum()), int((net > 0).sum())
    )


def chance(more: int, fewer: int) -> float:
    """How likely at least `more` of `more + fewer` fair coins fall on one given side.

    >>> chance(5, 0)
    0.03125
    """
    total = more + fewer
    return float(sum(math.comb(total, k) for k in range(more, total + 1)) / 2**total)


def refusal(held_out: Comparison | None, shared: Comparison | None, serving: int) -> str:
    """Say why the new head must not serve; "" if it may."""
    if held_out is not None and held_out.clearly_worse:
        return _reason(held_out, "held out", serving)
    if held_out is not None and held_out.clearly_better:
        return ""
    if shared is not None and shared.clearly_worse:
        return _reason(shared, "that both were taught, each left out", serving)
    return ""


def _reason(compared: Comparison, which: str, serving: int) -> str:
    return (
        f"of the {compared.examples} pictures {which}, it names {compared.right} rightly "
        f"({100 * compared.right / compared.examples:.1f} %), generation {serving} named {compared.serving_right} "
        f"({100 * compared.serving_right / compared.examples:.1f} %)"
    )
