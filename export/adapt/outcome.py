"""The result of each strategy, and the choice of the one to keep.

All strategies are judged by the training photos, each classified with itself and its group left out. These are many, so
small gains can be told from chance, and the held-out photos stay untouched. A strategy that trains nothing must give
the correct labels a higher probability, by three standard errors (`clearly_surer`). A strategy that trains classifies
each photo with a network that was not taught it (export/adapt/halves.py). It must classify significantly more photos
correctly, at 1 % (`clearly_better`), and give the correct labels a higher probability on both training and held-out
photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.metrics.evaluate import Evaluation
from export.adapt.strategies import Strategy
from export.adapt.train import Point
from export.bundle.adapted import Adaptation
from export.compare.baselines import Baselines
from export.compare.material import Material, Measured, clearly_better, clearly_surer

CHANCE = 0.01  # probability of keeping a strategy that is not better


@dataclass(frozen=True)
class Outcome:
    """The result of one strategy."""

    strategy: Strategy
    measured: Measured | None  # the answers with each photo left out; None if there was not enough time
    seconds: float
    bytes: int  # size of the network's changed parameters, as float32
    curves: tuple[tuple[Point, ...], ...]  # measurements during the training on each half of the photos
    note: str  # how the strategy ended, in words

    @property
    def changed(self) -> str:
        """The size of what changed, in words."""
        return f"{self.bytes / 1e6:.2f} MB" if self.bytes else "nothing"


@dataclass(frozen=True)
class Adapted:
    """The result of `adapt`, for the terminal and the report."""

    adaptation: Adaptation  # the contents of adapted.json
    folder: Path  # the output folder
    material: Material
    held: NDArray[np.bool_]  # (N,), the photos that are held out
    outcomes: tuple[Outcome, ...]  # the results of all strategies, cheapest first
    kept: str  # the strategy that is kept
    why: str  # the reason for keeping it, in words
    final: Measured  # the kept strategy, measured as the device runs it
    evaluation: Evaluation  # the evaluation of `final`
    baselines: Baselines
    seconds: float  # total time of this run


def choose(outcomes: list[Outcome], forced: bool = False) -> tuple[str, str]:
    """Decide which strategy to keep, and say why.

    Args:
        outcomes: The results, cheapest first; the first one is `head`.
        forced: Keep the last strategy, because the user asked for it, even if it is no better.
    """
    best = outcomes[0]
    measured = [outcome for outcome in outcomes if outcome.measured is not None]
    for outcome in measured[1:]:
        if beats(outcome, best):
            best = outcome
    head, total = measured[0], int(measured[0].measured.held.sum())  # type: ignore[union-attr]
    if forced and len(outcomes) > 1:
        asked = outcomes[-1]
        if asked.measured is None:
            return "head", f"{asked.strategy.name} was chosen, but {asked.note}; nothing was changed"
        gain = _right(asked) - _right(head)
        why = f"it was chosen: {gain:+d} of {total} validation photos compared with head"
        if gain <= 0:
            why += "; it classifies no more photos correctly than the last layer alone: use --strategy head"
        return asked.strategy.name, why
    gain = _right(best) - _right(head)
    if best is head:
        if len(measured) == 1:
            return "head", "there was no time for another" if outcomes[1:] else "no other strategy was chosen"
        return "head", "no other strategy was significantly better"
    one, other = (o.measured.right[~o.measured.held] for o in (best, head))  # type: ignore[union-attr]
    return best.strategy.name, (
        f"of the {len(one)} photos for training, each classified without having been taught it, {one.sum()} are "
        f"correct instead of {other.sum()}, and more certainly; of the {total} validation photos {gain:+d}"
    )


def beats(dear: Outcome, cheap: Outcome) -> bool:
    """Whether the more expensive strategy is significantly better."""
    if dear.measured is None or cheap.measured is None:
        return False
    one, other = dear.measured, cheap.measured
    fair = ~one.held
    if not dear.strategy.trains:
        groups = np.unique(one.groups[fair], return_inverse=True)[1]
        ours, theirs = (np.bincount(groups, m.surprise[fair]).astype(np.float64) for m in (one, other))
        return clearly_surer(ours, theirs)
    surer = one.surprise[fair].mean() < other.surprise[fair].mean() and one.loss < other.loss
    return surer and clearly_better(one.right[fair], other.right[fair], CHANCE)


def _right(outcome: Outcome) -> int:
    return 0 if outcome.measured is None else int(outcome.measured.right[outcome.measured.held].sum())
