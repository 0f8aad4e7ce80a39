"""Training twice, on one half of the photos each, so that every photo is answered by a network that was not taught it.

One network learns the first half, another the second; what is kept is the mean of the two in weights, which is a good
network because both began with the same pretrained weights (Wortsman et al., "Model soups", ICML 2022). To judge the
strategy, each half is answered by the network of the other half (cross-fitting), and the photos held out by the mean::

    photos for training, first half    answered by the second network
    photos for training, second half   answered by the first network
    photos held out                    answered by the mean of both, as the device will run it

So all photos for training judge a strategy, where the held-out ones alone, a fifth, would be too few to tell a gain of
two points from luck. Both trainings together take as long as one on all photos, and the judged networks have seen half
of the photos only: what is kept was taught more than what was judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from export.compare.material import Material, Measured
from export.photos.split import split_groups

if TYPE_CHECKING:
    import torch


def split_in_halves(
    material: Material, held: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split the photos that are not held out into two halves of each label; groups stay whole.

    Args:
        material: The photos.
        held: bool (N,), those held out.
        seed: The same seed chooses the same photos.

    Returns:
        bool (N,) twice: the photos of each half.

    Raises:
        DatasetError: A label has one photo, or one group, only.
    """
    rows = np.flatnonzero(~held)
    groups = np.unique(material.groups[rows], return_inverse=True)[1]  # numbered without gaps
    chosen = split_groups(material.targets[rows], groups, material.labels, 0.5, seed)
    first, second = np.zeros_like(held), np.zeros_like(held)
    first[rows[chosen]], second[rows[~chosen]] = True, True
    return first, second


def mean_of(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of networks, number by number.

    Example:
        >>> import torch
        >>> mean_of([{"weight": torch.tensor([1.0])}, {"weight": torch.tensor([2.0])}])
        {'weight': tensor([1.5000])}
    """
    return {name: sum(state[name] for state in states) / len(states) for name in states[0]}  # type: ignore[misc]


def put_together(answers: Sequence[tuple[NDArray[np.bool_], Measured]]) -> Measured:
    """One set of answers from several networks, each for the photos that it was not taught.

    Args:
        answers: Which photos, bool (N,), and who answers them; together all photos, each once.
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
