"""Whether a new head may serve: compared with the serving one on the same pictures, by what neither was taught. Pure.

| pictures | how the serving head answers | how the new one does |
|---|---|---|
| *held out* (`teach --holdout`) | as it is | as it is: no head is ever fitted to them |
| *shared*: taught here, both were fitted to them | leave-one-out, kept since it was made | leave-one-out |
| *factory*: the bundle's examples | the same | the same |

Each shared picture is judged under the label that the head was taught, so labels turned wrong count against the head
that learned them, and mended ones for it. What was taught since is no evidence against the serving head: were its
labels wrong, the new one would be praised for believing them. But the bundle's examples tell of another place, and a
head that fits this one may be worse there: what the new head wins on pictures taught since, left out, makes up for as
many of the factory's that it loses. Only labels that both know are compared, with the answers among these; a new label
makes the task harder, so its own pictures that the new head names rightly make up for losses, too.

A head is *clearly worse* if it gives the right labels less probability (Student's t-test of the paired differences,
one-sided at 5 %) and names over a point fewer rightly, with at most one chance in four that the losses and wins are a
coin's (exact sign test); the pictures of a session count once, together. The first is sharp but also sees what only
makes a head more careful, the second is blunt: measured together in docs/trust.md. What is held out decides if it is
clear, for better or worse; else what is shared, then the factory's. A head that is clearly worse stays a candidate.

Sources: Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms", Neural
Computation 1998 (paired tests); Abramowitz & Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5 (the expansion
of t's quantiles).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POINT = 0.01
COIN = 0.25
LEAST = 5  # independent pictures, below which nothing is clear
_Z = 1.6448536269514722  # 95 % point of the normal distribution

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two heads on the same pictures.

    Args:
        examples: how many pictures.
        right: how many the new head names rightly.
        serving_right: how many the serving one does.
        gained: pictures, not among these, on which the new head is better, and which make up for as many that it loses.
        lost, won: groups of pictures on which the new head is right less often, and more often.
        independent: how many groups of pictures.
        t: Student's t of what the new head gives the right labels more; negative: less.
    """

    examples: int
    right: int
    serving_right: int
    gained: int
    lost: int
    won: int
    independent: int
    t: float

    @property
    def clearly_worse(self) -> bool:
        """Whether the new head is."""
        drop = self.serving_right - self.right - self.gained
        return self._clear(-self.t, drop) and chance(self.lost, self.won) < COIN

    @property
    def clearly_better(self) -> bool:
        """Whether the new head is."""
        return self._clear(self.t, self.right - self.serving_right) and chance(self.won, self.lost) < COIN

    def _clear(self, t: float, more: int) -> bool:
        return self.independent >= LEAST and more > POINT * self.examples and t > critical(self.independent - 1)


def compare(new: Floats, serving: Floats, groups: NDArray[np.int64], gained: int = 0) -> Comparison:
    """Compare two heads on n pictures.

    Args:
        new: (n,) the probability that the new head gives each picture's label; negative where it names another.
        serving: (n,) the same of the serving head.
        groups: (n,) equal numbers for pictures of one session.
        gained: as in `Comparison`.

    >>> new, old = np.array([0.9, -0.3, -0.2, 0.6]), np.array([0.9, 0.5, 0.6, 0.7])
    >>> found = compare(new, old, np.array([0, 1, 1, 2]))
    >>> found.right, found.serving_right, found.independent, round(found.t, 2)
    (2, 4, 3, -1.51)
    """
    _, group = np.unique(groups, return_inverse=True)
    change = np.bincount(group, np.abs(new) - np.abs(serving)) / np.bincount(group)
    net = np.bincount(group, (new > 0).astype(np.float64) - (serving > 0))
    count = len(change)
    spread = float(change.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    t = float(change.mean()) / spread if spread > 0 else 0.0
    right, serving_right = int((new > 0).sum()), int((serving > 0).sum())
    return Comparison(len(new), right, serving_right, gained, int((net < 0).sum()), int((net > 0).sum()), count, t)


def chance(more: int, fewer: int) -> float:
    """How likely at least `more` of `more + fewer` coins fall on one given side.

    >>> chance(3, 0), chance(2, 2)
    (0.125, 0.6875)
    """
    total = more + fewer
    return float(sum(math.comb(total, k) for k in range(more, total + 1)) / 2**total)


def critical(freedom: int) -> float:
    """The 95 % point of Student's t.

    >>> round(critical(4), 2), round(critical(100), 2)
    (2.11, 1.66)
    """
    z = _Z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def refusal(held_out: Comparison | None, shared: Comparison | None, factory: Comparison | None, serving: int) -> str:
    """Say why the new head must not serve; "" if it may.

    Args:
        held_out, shared, factory: the comparisons; None where there is nothing to compare.
        serving: the serving generation's number.
    """
    if held_out is not None and held_out.clearly_worse:
        return _reason(held_out, "pictures held out", serving)
    if held_out is not None and held_out.clearly_better:
        return ""
    if shared is not None and shared.clearly_worse:
        return _reason(shared, "pictures that both were taught, each left out,", serving)
    if factory is not None and factory.clearly_worse:
        return _reason(factory, "pictures from the factory, each left out,", serving)
    return ""


def _reason(compared: Comparison, which: str, serving: int) -> str:
    return (
        f"of {compared.examples} {which} it names {compared.right} rightly "
        f"({100 * compared.right / compared.examples:.1f} %), generation {serving} named {compared.serving_right} "
        f"({100 * compared.serving_right / compared.examples:.1f} %)"
    )
