"""How good a head is: accuracy with an interval, confusion, worst examples.

The input is probabilities (N, C), held-out or leave-one-out, and the true labels. A row of NaN is *not measured* (the
only example of its label) and is left out of every figure; `left_out` decides which labels have enough examples.

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
    """What was measured."""

    accuracy: float  # the fraction of measured examples that are classified correctly
    interval: tuple[float, float]  # its 95 % interval
    examples: int  # the number of measured examples
    labels: tuple[str, ...]  # C names
    # (C, C) int64, rows are the truth, columns the answer; true names not in labels have no row
    confusion: NDArray[np.int64]


def evaluate(
    probabilities: ArrayLike, truth: Sequence[str], labels: Sequence[str], *, held_out: bool = False
) -> Evaluation:
    """Compare probabilities with the true labels.

    True labels that the head does not know are possible, and count as wrong.

    Args:
        probabilities: (N, C), rows of NaN if not measured.
        truth: N names.
        labels: C names, the columns of probabilities.
        held_out: whether the examples had no part in any training. Leave-one-out answers share their training examples
            and their errors, which makes a binomial interval too narrow; there, each counts as 0.7 examples.

    Raises:
        LabelError: the lengths of the three do not fit.
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
    """Return the margin of each example: the probability of its label minus that of the best other label.

    Returns:
        (N,) in [−1, 1]; negative if wrong, NaN if not measured, −1 for a label that the head does not know.

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
    """Return the rows of the measured examples with the lowest margins, worst first.

    >>> worst([[0.9, 0.1], [0.75, 0.25]], ["a", "b"], ("a", "b"), count=1)
    [1]
    """
    values = margins(probabilities, truth, labels)
    order = np.argsort(values, kind="stable")
    return [int(row) for row in order[:count] if not np.isnan(values[row])]


def wilson(right: int, total: int, worth: float = 1.0) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a fraction, which is never empty and stays within [0, 1].

    Args:
        worth: the weight of each answer, in independent examples.

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
