"""Trains twice, on one half of the photos each, so that every photo is classified by a network that was not taught it.

One network is trained on the first half, another on the second. The result is the mean of their weights, which is a
good network because both started from the same pretrained weights (Wortsman et al., "Model soups", ICML 2022). To judge
the strategy, each half is classified by the other half's network (cross-fitting), and the held-out photos by the mean::

    photos for training, first half    classified by the second network
    photos for training, second half   classified by the first network
    photos held out                    classified by the mean of both, as the device will run it

So all training photos are used to judge a strategy; the held-out photos alone, a fifth, would be too few to tell a gain
of two points from chance. Both trainings together take as long as one on all photos. The judged networks have seen only
half of the photos, so the network that is kept has seen more than those that were judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from export.compare.material import Material, Measured
from export.photos.split import split_groups


def split_in_halves(
    material: Material, held: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split the training photos of each label into two halves without dividing groups.

    Args:
        held: bool (N,), the photos that are held out.

    Returns:
        bool (N,) twice: the photos of each half.

    Raises:
        DatasetError: A label has only one photo or group.
    """
    rows = np.flatnonzero(~held)
    groups = np.unique(material.groups[rows], return_inverse=True)[1]  # numbered without gaps
    chosen = split_groups(material.targets[rows], groups, material.labels, 0.5, seed)
    first, second = np.zeros_like(held), np.zeros_like(held)
    first[rows[chosen]], second[rows[~chosen]] = True, True
    return first, second


def mean_of(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the mean of networks' weights.

    Example:
        >>> mean_of([{"weight": torch.tensor([1.0])}, {"weight": torch.tensor([2.0])}])
        {'weight': tensor([1.5000])}
    """
    return {name: sum(state[name] for state in states) / len(states) for name in states[0]}  # type: ignore[misc]


def put_together(answers: Sequence[tuple[NDArray[np.bool_], Measured]]) -> Measured:
    """Combine the answers of several networks, each for the photos that it was not taught.

    Args:
        answers: For each network, a mask (N,) of its photos and its answers; together the masks cover each photo once.
    """
    first = answers[0][1]
    whole = replace(
        first, probabilities=first.probabilities.copy(), right=first.right.copy(), surprise=first.surprise.copy()
    )
    for photos, measured in answers[1:]:
        whole.probabilities[photos] = measured.probabilities[photos]
        whole.right[photos] = measured.right[photos]
        whole.surprise[photos] = measured.surprise[photos]
    return whole
