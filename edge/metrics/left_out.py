"""Measure a head by the examples to which it was fitted, each left out in turn. Pure.

Only examples taught on the device count, as soon as two labels have enough of them that could be left out. Until then
the bundle's examples count as well, except those on which its backbone was trained, which would be too good. A label of
which too few examples could be left out (one picture, or a single burst) has no part in the figure, and is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.answers import Unmeasured
from edge.head.fit import Fit, groups_of
from edge.metrics.evaluate import Evaluation, evaluate
from edge.metrics.unmeasured import ENOUGH, Missing, note, told

SCOPES = {"local": "the examples taught here", "all": "all examples"}


@dataclass(frozen=True)
class Judged:
    """A fit with its leave-one-out accuracy."""

    fit: Fit
    # on the examples that count or, if there is no figure, on all that could be left out; else None
    evaluation: Evaluation | None
    scope: str  # a key of `SCOPES`
    missing: tuple[Missing, ...]  # the labels that have no part in the figure
    counted: NDArray[np.bool_]  # (N,) which examples count in it

    @property
    def measurable(self) -> bool:
        """Whether at least two labels could be measured."""
        return len(self.fit.head.labels) - len(self.missing) >= 2

    @property
    def accuracy(self) -> float | None:
        """The accuracy, or None if it cannot be measured."""
        return self.evaluation.accuracy if self.evaluation and self.measurable else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95 % interval."""
        return self.evaluation.interval if self.evaluation and self.measurable else None

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(C, C) rows are the truth, columns the answer."""
        classes = len(self.fit.head.labels)
        return self.evaluation.confusion if self.evaluation else np.zeros((classes, classes), np.int64)

    @property
    def unmeasured(self) -> tuple[Unmeasured, ...]:
        """The labels that have no part in the figure, with the reason."""
        return told(self.missing, self.fit.head.labels)

    @property
    def note(self) -> str:
        """Why there is no accuracy, or which labels it does not cover; "" if all were measured."""
        return note(self.unmeasured, self.measurable)


@dataclass(frozen=True)
class Mistake:
    """A local example (by its row) that is misclassified when it is left out, and with which probability."""

    row: int
    guess: str
    probability: float


def judge(
    result: Fit,
    local: Sequence[str],
    factory: Sequence[str],
    countable: NDArray[np.bool_],
    sessions: Sequence[str | None] = (),
) -> Judged:
    """Evaluate the leave-one-out answers of a fit to local, then factory examples.

    Args:
        local: labels of the examples taught on the device; may be empty.
        factory: labels of the bundle's examples; may be empty.
        countable: (F,) which of the bundle's examples may count in figures.
        sessions: sessions of the local examples, then of the bundle's; () or None for examples without a session.
    """
    labels, truths = result.head.labels, [*local, *factory]
    column = {label: place for place, label in enumerate(labels)}
    columns = np.array([column[truth] for truth in truths], np.int64)
    ours = np.arange(len(truths)) < len(local)
    measured = np.isfinite(result.loo).all(axis=1)
    scope = "local" if (_counts(columns[ours & measured], labels) >= ENOUGH).sum() >= 2 else "all"
    counting = ours if scope == "local" else np.concatenate([np.ones(len(local), bool), countable])
    enough = _counts(columns[counting & measured], labels) >= ENOUGH
    groups = groups_of(sessions or (None,) * len(truths), ours.tolist())
    missing = tuple(
        _missing(int(place), columns == place, counting, groups, scope) for place in np.flatnonzero(~enough)
    )
    counted = counting & measured & enough[columns]
    shown = counted if enough.sum() >= 2 else counting & measured
    names = [truths[row] for row in np.flatnonzero(shown)]
    evaluation = evaluate(result.loo[shown], names, labels) if names else None
    return Judged(result, evaluation, scope, missing, counted)


def mistakes(result: Fit, local: Sequence[str], most: int) -> list[Mistake]:
    """List the misclassified local examples (their labels are `local`), the most certain mistakes first."""
    columns = {label: i for i, label in enumerate(result.head.labels)}
    found = []
    for row, (label, probabilities) in enumerate(zip(local, result.loo, strict=False)):
        guess = int(np.argmax(probabilities))
        if np.isfinite(probabilities).all() and guess != columns[label]:
            margin = float(probabilities[guess] - probabilities[columns[label]])
            found.append((-margin, row, Mistake(row, result.head.labels[guess], float(probabilities[guess]))))
    return [mistake for _, _, mistake in sorted(found, key=lambda item: item[:2])[:most]]


def _missing(
    place: int, own: NDArray[np.bool_], counting: NDArray[np.bool_], groups: NDArray[np.int64], scope: str
) -> Missing:
    """The reason why a label has no part in the figure; `own` are its examples, `counting` those in scope."""
    examples = int((own & counting).sum())
    if not examples:
        return Missing(place, 0, "untaught") if scope == "local" else Missing(place, int(own.sum()), "adapted")
    one = examples > 1 and len(np.unique(groups[own & counting])) == 1
    return Missing(place, examples, "session" if one else "few")


def _counts(columns: NDArray[np.int64], labels: Sequence[str]) -> NDArray[np.int64]:
    return np.bincount(columns, minlength=len(labels))
