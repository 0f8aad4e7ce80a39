"""Judge a head by the examples it was fitted to, each left out in its turn. Pure.

Whose examples count: those taught on the device alone, as soon as there are two labels of them with enough each; until
then the factory's as well, except the ones that its backbone was adapted on, which would flatter.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.evaluate import ENOUGH, Evaluation, evaluate
from edge.fit import Fit

SCOPES = {"local": "the examples taught here", "all": "all examples"}


@dataclass(frozen=True)
class Judged:
    """A fit with what may honestly be said of it; `scope` is a key of `SCOPES`."""

    fit: Fit
    evaluation: Evaluation
    scope: str

    @property
    def reason(self) -> str:
        """Why there is no figure to show; "" if there is one."""
        return "" if self.scope == "local" else self.evaluation.reason


@dataclass(frozen=True)
class Mistake:
    """A local example (by its row) that the head, with it left out, would name otherwise, and how surely."""

    row: int
    guess: str
    probability: float


def judge(result: Fit, local: Sequence[str], factory: Sequence[str], countable: NDArray[np.bool_]) -> Judged:
    """Evaluate the leave-one-out answers of a fit to local, then factory examples.

    Args:
        result: the fit.
        local: labels of the examples taught on the device; may be empty.
        factory: labels of the bundle's; may be empty.
        countable: (F,) which of the factory's may count in figures.
    """
    n, counts = len(local), Counter(local)
    if len(counts) >= 2 and min(counts.values()) >= ENOUGH:
        return Judged(result, evaluate(result.loo[:n], local, result.head.labels), "local")
    counted = np.concatenate([np.ones(n, bool), countable])
    truths = [truth for truth, counts in zip((*local, *factory), counted, strict=True) if counts]
    return Judged(result, evaluate(result.loo[counted], truths, result.head.labels), "all")


def mistakes(result: Fit, local: Sequence[str], most: int) -> list[Mistake]:
    """List the local examples (their labels are `local`) that are named wrongly, the surest mistakes first."""
    columns = {label: i for i, label in enumerate(result.head.labels)}
    found = []
    for row, (label, probabilities) in enumerate(zip(local, result.loo, strict=False)):
        guess = int(np.argmax(probabilities))
        if np.isfinite(probabilities).all() and guess != columns[label]:
            margin = float(probabilities[guess] - probabilities[columns[label]])
            found.append((-margin, row, Mistake(row, result.head.labels[guess], float(probabilities[guess]))))
    return [mistake for _, _, mistake in sorted(found, key=lambda item: item[:2])[:most]]
