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

**One test of both kinds of evidence.** On each picture i, d_i is 1, 0 or −1 as the new head alone, both or neither, or
the serving head alone names it rightly; e_i is how much more probability the new head gives its label. d is what counts
but is seldom not 0; e speaks on every picture. Summed, each in units of its root mean square ::

    s_i = d_i / rms(d) + e_i / rms(e)

they make one paired t-test (O'Brien's), one-sided at 5 %; the pictures of a session count once, by their mean. A head
is *clearly worse* if the test says so, it names over a point fewer rightly, and losses and wins are a coin's with a
small chance (exact sign test), for e also sees what only makes a head more careful: under 0.35, or 0.25 where nothing
is held out, as left-out answers of heads that share their examples err together. What is held out decides if it is
clear, for better or worse; else what is held out and what is shared together; else the factory's. A head that is
clearly worse stays a candidate. What this stops and lets serve is measured in docs/trust.md.

Sources: O'Brien, "Procedures for comparing samples with multiple endpoints", Biometrics 1984 (the sum of standardised
endpoints); Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms",
Neural Computation 1998 (paired tests); Abramowitz & Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5 (the
expansion of t's quantiles).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.binomial import tail

POINT = 0.01
COIN = 0.25
COIN_HELD_OUT = 0.35
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
        t: Student's t of both kinds of evidence; negative: the new head is worse.
        held_out: whether there are pictures among them that no head was fitted to.
    """

    examples: int
    right: int
    serving_right: int
    gained: int
    lost: int
    won: int
    independent: int
    t: float
    held_out: bool = False

    @property
    def clearly_worse(self) -> bool:
        """Whether the new head is."""
        drop = self.serving_right - self.right - self.gained
        return self._clear(-self.t, drop, chance(self.lost, self.won))

    @property
    def clearly_better(self) -> bool:
        """Whether the new head is."""
        return self._clear(self.t, self.right - self.serving_right, chance(self.won, self.lost))

    def _clear(self, t: float, more: int, luck: float) -> bool:
        if self.independent < LEAST or more <= POINT * self.examples:
            return False
        return t > critical(self.independent - 1) and luck < (COIN_HELD_OUT if self.held_out else COIN)


@dataclass(frozen=True)
class Pairs:
    """Two heads' answers to the same n pictures.

    Args:
        new: (n,) the probability that the new head gives each picture's label; negative where it names another.
        serving: (n,) the same of the serving head.
        groups: (n,) equal numbers for pictures of one session.
        gained, held_out: as in `Comparison`.
    """

    new: Floats
    serving: Floats
    groups: NDArray[np.int64]
    gained: int = 0
    held_out: bool = False

    def __add__(self, other: Pairs) -> Pairs:
        """Both together; a session of the one is none of the other."""
        groups = np.append(self.groups, other.groups + self.groups.max(initial=-1) + 1)
        new, serving = np.append(self.new, other.new), np.append(self.serving, other.serving)
        return Pairs(new, serving, groups, self.gained + other.gained, self.held_out or other.held_out)


def compare(pairs: Pairs) -> Comparison:
    """Compare two heads.

    >>> new, old = np.array([0.9, -0.3, -0.2, 0.6]), np.array([0.9, 0.5, 0.6, 0.7])
    >>> found = compare(Pairs(new, old, np.array([0, 1, 1, 2])))
    >>> found.right, found.serving_right, found.independent, round(found.t, 2)
    (2, 4, 3, -1.25)
    """
    _, group = np.unique(pairs.groups, return_inverse=True)
    sizes = np.bincount(group)
    rightness = np.bincount(group, (pairs.new > 0).astype(np.float64) - (pairs.serving > 0)) / sizes
    sureness = np.bincount(group, np.abs(pairs.new) - np.abs(pairs.serving)) / sizes
    evidence = _in_units(rightness) + _in_units(sureness)
    lost, won = int((rightness < 0).sum()), int((rightness > 0).sum())
    right, serving_right = int((pairs.new > 0).sum()), int((pairs.serving > 0).sum())
    t, held_out = _student(evidence), pairs.held_out
    return Comparison(len(group), right, serving_right, pairs.gained, lost, won, len(sizes), t, held_out)


def chance(more: int, fewer: int) -> float:
    """How likely at least `more` of `more + fewer` coins fall on one given side.

    >>> round(chance(3, 0), 6), round(chance(2, 2), 6)
    (0.125, 0.6875)
    """
    return tail(more + fewer, more, 0.5)


def critical(freedom: int) -> float:
    """The 95 % point of Student's t.

    >>> round(critical(4), 2), round(critical(100), 2)
    (2.11, 1.66)
    """
    z = _Z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def refusal(held_out: Pairs | None, shared: Pairs | None, factory: Pairs | None, serving: int) -> str:
    """Say why the new head must not serve; "" if it may.

    Args:
        held_out, shared, factory: answers to such pictures; None where there are none.
        serving: the serving generation's number.
    """
    if held_out is not None:
        found = compare(held_out)
        if found.clearly_worse:
            return _reason(found, "pictures held out", serving)
        if found.clearly_better:
            return ""
    if shared is not None:
        found = compare(shared if held_out is None else held_out + shared)
        which = "that both were taught" if held_out is None else "held out or taught to both"
        if found.clearly_worse:
            return _reason(found, f"pictures {which}, each left out,", serving)
    if factory is not None:
        found = compare(factory)
        if found.clearly_worse:
            return _reason(found, "pictures from the factory, each left out,", serving)
    return ""


def _reason(compared: Comparison, which: str, serving: int) -> str:
    return (
        f"of {compared.examples} {which} it names {compared.right} rightly "
        f"({100 * compared.right / compared.examples:.1f} %), generation {serving} named {compared.serving_right} "
        f"({100 * compared.serving_right / compared.examples:.1f} %)"
    )


def _in_units(values: Floats) -> Floats:
    size = float(np.sqrt((values**2).mean()))
    return values / size if size > 0 else values


def _student(values: Floats) -> float:
    """Student's t of a mean; ±inf where all are the same and not 0."""
    mean, count = float(values.mean()), len(values)
    spread = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    if spread < 1e-9:
        return float(np.sign(mean) * np.inf) if abs(mean) > 1e-9 else 0.0
    return mean / spread
