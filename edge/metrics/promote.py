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
makes the task harder, so its own pictures that the new head classifies correctly make up for losses as well.

**The test.** A head is *clearly worse* if it classifies over a point fewer correctly, and a coin would seldom fall so
often against it (exact sign test, one-sided): under 0.35, or 0.25 where nothing is held out, as left-out answers of
heads that share their examples err together. A session counts once: as a loss if the new head is right on fewer of its
pictures. What is held out decides if it is clear, for better or worse; else what is held out and what is shared
together; else the factory's. A head that is clearly worse stays a candidate. What this stops and lets serve, and what a
sharper test would add, is measured in docs/trust.md.

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
    """Two heads on the same pictures.

    Args:
        examples: how many pictures.
        right: how many the new head classifies correctly.
        serving_right: how many the serving one does.
        gained: pictures, not among these, on which the new head is better, and which make up for as many that it loses.
        lost, won: groups of pictures on which the new head is right less often, and more often.
        independent: how many groups of pictures.
        held_out: whether there are pictures among them that no head was fitted to.
    """

    examples: int
    right: int
    serving_right: int
    gained: int
    lost: int
    won: int
    independent: int
    held_out: bool = False

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
    """Two heads' answers to the same n pictures.

    Args:
        new: (n,) whether the new head classifies each picture correctly.
        serving: (n,) whether the serving one does.
        groups: (n,) equal numbers for pictures of one session.
        gained, held_out: as in `Comparison`.
    """

    new: NDArray[np.bool_]
    serving: NDArray[np.bool_]
    groups: NDArray[np.int64]
    gained: int = 0
    held_out: bool = False

    def __add__(self, other: Pairs) -> Pairs:
        """Both together; sessions of one are different from those of the other."""
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
    """Say why the new head must not serve; "" if it may.

    Args:
        held_out, shared, factory: answers to these pictures; None if there are none.
        serving: the serving generation's number.
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
