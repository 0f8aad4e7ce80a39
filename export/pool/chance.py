"""Statistics: tails of the normal and of Student's distribution, and robust spreads by medians. Pure.

Source: Wallace, "Bounds on normal approximations to Student's and the chi-square distributions", Ann. Math. Statist.
1959 (Student's t as a normal quantile, good to a few per cent of the probability from 3 degrees of freedom on).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_MAD = 1.4826  # the median deviation of a normal variable times this is its standard deviation


def normal_tail(z: float) -> float:
    """Return the probability that a standard normal variable exceeds z.

    >>> round(normal_tail(1.96), 3)
    0.025
    """
    return 0.5 * math.erfc(z / math.sqrt(2))


def student_z(t: float, dof: float) -> float:
    """Return the normal quantile with the same tail probability as t in Student's distribution.

    >>> round(normal_tail(student_z(2.26, 9)), 3)
    0.025
    """
    size = math.sqrt(dof * math.log1p(t * t / dof)) * (8 * dof + 1) / (8 * dof + 3)
    return math.copysign(size, t)


def middle_and_spread(values: Floats) -> tuple[float, float]:
    """Return the median, and the spread of the values below it as the standard deviation of a normal variable.

    A single outlier changes neither much, so a bad device cannot hide itself. Values above the median are ignored,
    because margins are skewed: a few bad photos are far below, and nothing is far above.

    >>> middle, spread = middle_and_spread(np.array([-100.0, 1.0, 2.0, 3.0, 4.0]))
    >>> middle, round(spread, 2)
    (2.0, 1.48)
    """
    middle = float(np.median(values))
    return middle, _MAD * float(np.median(middle - values[values <= middle]))


def mean_z(values: Floats) -> float:
    """Return how significantly the mean of independent values is above 0, as a normal quantile; 0 if undefined.

    >>> round(mean_z(np.array([1.0, 2.0, 3.0])), 1)
    1.8
    """
    if len(values) < 2:
        return 0.0
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    if error == 0:
        return 0.0 if mean == 0 else math.copysign(math.inf, mean)
    return student_z(mean / error, len(values) - 1)
