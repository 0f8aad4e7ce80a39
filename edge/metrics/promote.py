"""Decide whether a new head may be used, by comparing it with the current one on the same pictures. Pure.

| pictures | how the serving head answers | how the new one does |
|---|---|---|
| *held out* (`teach --holdout`) | as it is | as it is: no head is ever fitted to them |
| *shared*: taught here, both were fitted to them | leave-one-out, kept since it was made | leave-one-out |
| *factory*: the bundle's examples | the same | the same |

Each shared picture is compared with the label that the head was taught, so wrong labels count against the head that
learned them, and corrected ones for it. Pictures taught since are no evidence against the current head: if their labels
were wrong, the new head would be rewarded for learning them. But the bundle's photos come from another place, and a
head that fits this place may be worse there. Therefore gains on pictures taught since, left out, make up for as many
losses on the bundle's. Only labels that both know are compared, with answers among these. A new label makes the task
harder, so its own pictures that the new head classifies correctly make up for losses as well.

**The test.** A head is *clearly worse* if its accuracy is over a point lower and chance explains this with a
probability below 0.35 (exact sign test, one-sided), or below 0.25 if no pictures are held out, because the left-out
answers of heads with common examples have common errors. A session counts once: as a loss if the new head is correct on
fewer of its pictures. The held-out pictures decide if their result is clear; else they and the shared ones together;
else the bundle's. A head that is clearly worse is stored as a candidate. docs/trust.md has measurements of this and
other tests.

Source: Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms", Neural
Computation 1998 (McNemar's test, of which this is the exact, one-sided form).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.metrics.binomial import tail

POINT = 0.01
COIN = 0.25
COIN_HELD_OUT = 0.35
LEAST = 5  # independent pictures, below which nothing is clear


@dataclass(frozen=True)
class Comparison:
    """Two heads on the same pictures."""

    examples: int  # number of pictures
    right: int  # number that the new head classifies correctly
    serving_right: int  # number that the current head classifies correctly
    gained: int  # number of other pictures on which the new head is better, which make up for as many losses
    # lost, won: number of groups of pictures on which the new head is correct less often, and more often
    lost: int
    won: int
    independent: int  # number of groups of pictures
    held_out: bool = False  # whether held-out pictures are among them

    @property
    def clearly_worse(self) -> bool:
        """Whether the new head is."""
        return self._clear(self.serving_right - self.right - self.gained, self.lost, self.won)

    @property
    def clearly_better(self) -> bool:
        """Whether the new head is."""
        return self._clear(self.right - self.serving_right, self.won, self.lost)

    def _clear(self, more: int, against: int, in_favour: int) -> bool:
        if self.independent < LEAST or more <= POINT * self.examples:
            return False
        return tail(against + in_favour, against, 0.5) < (COIN_HELD_OUT if self.held_out else COIN)


@dataclass(frozen=True)
class Pairs:
    """Two heads' answers to the same n pictures."""

    new: NDArray[np.bool_]  # (n,) whether the new head classifies each picture correctly
    serving: NDArray[np.bool_]  # (n,) whether the current head does
    groups: NDArray[np.int64]  # (n,) equal numbers for pictures of one session
    # gained, held_out: as in `Comparison`
    gained: int = 0
    held_out: bool = False

    def __add__(self, other: Pairs) -> Pairs:
        """Combine two sets of pictures, whose sessions are different."""
        groups = np.append(self.groups, other.groups + self.groups.max(initial=-1) + 1)
        new, serving = np.append(self.new, other.new), np.append(self.serving, other.serving)
        return Pairs(new, serving, groups, self.gained + other.gained, self.held_out or other.held_out)


def tally(pairs: Pairs) -> Comparison:
    """Compare two heads.

    >>> new, old = np.array([True, False, False, True]), np.array([True, True, True, True])
    >>> found = tally(Pairs(new, old, np.array([0, 1, 1, 2])))
    >>> found.right, found.serving_right, found.independent, found.lost
    (2, 4, 3, 1)
    """
    _, group = np.unique(pairs.groups, return_inverse=True)
    gain = np.bincount(group, pairs.new.astype(np.float64) - pairs.serving)
    return Comparison(
        examples=len(group),
        right=int(pairs.new.sum()),
        serving_right=int(pairs.serving.sum()),
        gained=pairs.gained,
        lost=int((gain < 0).sum()),
        won=int((gain > 0).sum()),
        independent=len(gain),
        held_out=pairs.held_out,
    )


def refusal(held_out: Pairs | None, shared: Pairs | None, factory: Pairs | None, serving: int) -> str:
    """Return the reason why the new head must not be used, or "".

    Args:
        held_out, shared, factory: answers to these pictures; None if there are none.
    """
    if held_out is not None:
        found = tally(held_out)
        if found.clearly_worse:
            return _reason(found, "held-out pictures", serving)
        if found.clearly_better:
            return ""
    if shared is not None:
        found = tally(shared if held_out is None else held_out + shared)
        which = "taught to both" if held_out is None else "held out or taught to both"
        if found.clearly_worse:
            return _reason(found, f"pictures {which}, each left out,", serving)
    if factory is not None:
        found = tally(factory)
        if found.clearly_worse:
            return _reason(found, "pictures from the bundle, each left out,", serving)
    return ""


def _reason(compared: Comparison, which: str, serving: int) -> str:
    return (
        f"of {compared.examples} {which} it classifies {compared.right} correctly "
        f"({100 * compared.right / compared.examples:.1f} %), generation {serving} classified {compared.serving_right} "
        f"({100 * compared.serving_right / compared.examples:.1f} %)"
    )
