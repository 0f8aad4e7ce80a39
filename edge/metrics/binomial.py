"""The tail of the binomial distribution, computed by logarithms, for any number of pictures. Pure."""

import numpy as np


def tail(n: int, least: int, share: float) -> float:
    """Return the probability that at least `least` of n events happen, each with probability `share`.

    >>> round(tail(3, 3, 0.5), 6), round(tail(4, 2, 0.5), 6), tail(100_000, 60_000, 0.05) < 1e-300
    (0.125, 0.6875, True)
    """
    if least <= 0:
        return 1.0
    if least > n or share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])  # of factorials
    k = np.arange(least, n + 1)
    terms = logs[n] - logs[k] - logs[n - k] + k * np.log(share) + (n - k) * np.log1p(-share)
    most = terms.max()
    return float(min(1.0, np.exp(most) * np.exp(terms - most).sum()))
