"""How good a head is, told honestly: accuracy with an interval, confusion, worst examples.

Given probabilities (N, C), held-out or leave-one-out, and the true names. A row of NaN is *not measured* (the only
example of its label) and is left out of every figure; which labels have enough for a figure is for `left_out` to say.

Sources: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927 (the interval);
Bengio & Grandvalet, "No unbiased estimator of the variance of k-fold cross-validation", JMLR 2004 (why leave-one-out
answers are no independent draws).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.errors import LabelError, NotEnough

SHARED = 0.7  # what one leave-one-out answer is worth: measured, so that 95 % intervals cover the truth
_Z = 1.959963984540054  # 97.5 % point of the normal distribution


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Args:
        accuracy: the share of measured examples that were right.
        interval: its 95 % interval.
        examples: how many were measured.
        labels: C names.
        confusion: (C, C) int64, rows are the truth, columns the answer; true names not in labels have no row.
    """

    accuracy: float
    interval: tuple[float, float]
    examples: int
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]


def evaluate(
    probabilities: ArrayLike, truth: Sequence[str], labels: Sequence[str], *, held_out: bool = False
) -> Evaluation:
    """Compare probabilities with the truth.

    True names that are not in labels are possible (the head does not know them) and count as wrong.

    Args:
        probabilities: (N, C), rows of NaN where not measured.
        truth: N names.
        labels: C names, the columns of probabilities.
        held_out: the examples had no part in any training. Leave-one-out answers share their training examples and
            err together, which makes a binomial interval too narrow: each counts as seven tenths of an example there.

    Raises:
        LabelError: the three do not fit together.
        NotEnough: no example could be measured.

    >>> result = evaluate([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], ["a", "b", "b"], ("a", "b"))
    >>> result.examples, result.confusion.tolist()
    (3, [[1, 0], [1, 1]])
    """
    table, true = _checked(probabilities, truth, labels)
    measured = np.isfinite(table).all(axis=1)
    if not measured.any():
        raise NotEnough("too-few-examples", "no example could be measured; teach more")
    table, true, classes = table[measured], true[measured], len(labels)
    answer = table.argmax(axis=1)
    right, known = answer == true, true >= 0
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (true[known], answer[known]), 1)
    return Evaluation(
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), right.size, 1.0 if held_out else SHARED),
        examples=right.size,
        labels=tuple(labels),
        confusion=confusion,
    )


def margins(probabilities: ArrayLike, truth: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64]:
    """Say how clearly each example was right: probability of its label minus that of the best other one.

    Returns:
        (N,) in [−1, 1]; negative means wrong, NaN not measured, −1 a name the head does not know.

    >>> margins([[0.9, 0.1], [0.75, 0.25]], ["a", "b"], ("a", "b"))
    array([ 0.8, -0.5])
    """
    table, true = _checked(probabilities, truth, labels)
    rows, known = np.arange(len(table)), true >= 0
    others = table.copy()
    others[rows[known], true[known]] = -np.inf
    own = np.where(known, table[rows, true], 0.0)
    best = others.max(axis=1, initial=0.0) if len(labels) == 1 else others.max(axis=1)
    return np.asarray(np.where(known | np.isnan(best), own - best, -1.0))


def worst(probabilities: ArrayLike, truth: Sequence[str], labels: Sequence[str], count: int = 10) -> list[int]:
    """Name the examples to look at first: those of the lowest margins, the worst first, the unmeasured never.

    >>> worst([[0.9, 0.1], [0.75, 0.25]], ["a", "b"], ("a", "b"), count=1)
    [1]
    """
    values = margins(probabilities, truth, labels)
    order = np.argsort(values, kind="stable")
    return [int(row) for row in order[:count] if not np.isnan(values[row])]


def wilson(right: int, total: int, worth: float = 1.0) -> tuple[float, float]:
    """Give the 95 % interval of a share: Wilson's, which is never empty and never leaves [0, 1].

    Args:
        right: how many of
        total: so many were right.
        worth: how much of an independent example each one is.

    >>> tuple(round(end, 3) for end in wilson(10, 10))
    (0.722, 1.0)
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if total == 0:
        return 0.0, 1.0
    share, n = right / total, total * worth
    z2 = _Z * _Z / n
    centre, half = share + z2 / 2, _Z * float(np.sqrt(share * (1 - share) / n + z2 / n / 4))
    low, high = (centre - half) / (1 + z2), (centre + half) / (1 + z2)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # rounding must not push the share itself out


def _checked(
    probabilities: ArrayLike, truth: Sequence[str], labels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The probabilities as float64 and the truth as columns, −1 for names without one."""
    table = np.asarray(probabilities, np.float64)
    if table.shape != (len(truth), len(labels)) or not labels:
        raise LabelError(
            "labels-mismatch",
            f"probabilities have shape {table.shape}, but there are {len(truth)} true labels and {len(labels)} labels",
        )
    columns = {label: column for column, label in enumerate(labels)}
    return table, np.array([columns.get(name, -1) for name in truth], np.int64)
