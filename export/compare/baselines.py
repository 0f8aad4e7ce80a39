"""Does pretraining help on these photos? Compare the network with two baselines that know nothing.

*Pixels*: the photo shrunk to 16 × 16 colours, without a network. *Random*: the same network before any training, with
its norms set to the statistics of these photos, which gives its best accuracy (Saxe et al., "On random weights and
unsupervised feature learning", ICML 2011). Each gets the device's own head, and every photo is classified with itself
left out. If the pretrained network is not better than both, it does not see what distinguishes these labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.head import fit
from export.compare.material import Material, embed_rows, fast_inference
from export.network import backbones
from export.photos.folders import pick_calibration
from export.photos.split import in_groups, lone_labels

PHOTOS = 400  # at most so many are asked
GRID = 16
WORTH = 0.02  # share of right answers by which a pretrained network has to be better


@dataclass(frozen=True)
class Baselines:
    """Accuracy on the same photos, each left out."""

    pretrained: float
    random: float
    pixels: float
    photos: int

    @property
    def warning(self) -> str:
        """A warning if pretraining does not help, else ""."""
        rival = max(self.random, self.pixels)
        if self.pretrained > rival + WORTH:
            return ""
        which = "an untrained network" if self.random >= self.pixels else "16 × 16 pixels without any network"
        return (
            f"the pretrained network reaches {100 * self.pretrained:.1f} % and {which} {100 * rival:.1f} %: "
            "it does not see what distinguishes these photos"
        )


def measure_baselines(name: str, material: Material, embeddings: NDArray[np.float32], seed: int = 0) -> Baselines:
    """Compare a pretrained network with the baselines.

    Args:
        embeddings: (N, D), by the pretrained network.
        seed: Random seed for the untrained weights and the sample of photos.
    """
    import torch

    rows = np.sort(pick_calibration(material.targets, PHOTOS, seed))
    lone = lone_labels(material.targets[rows], material.groups[rows], material.labels)
    rows = np.array([row for row in rows.tolist() if material.names[row] not in lone], np.int64)
    names, groups = [material.names[row] for row in rows], material.groups[rows]
    torch.manual_seed(seed)
    network = backbones.load(name, "random").embedder

    def inputs(photos: NDArray[np.intp]) -> torch.Tensor:
        return torch.from_numpy(material.centres[photos])

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over all batches
            module.reset_running_stats()
            module.train()
    with fast_inference("cpu"):
        embed_rows(network, inputs, rows[: min(len(rows), 64)])
        network.eval()
        untrained = embed_rows(network, inputs, rows)
    return Baselines(
        loo_accuracy(embeddings[rows], names, groups),
        loo_accuracy(untrained, names, groups),
        loo_accuracy(tiny_pixels(material.centres[rows]), names, groups),
        len(rows),
    )


def tiny_pixels(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shrink pictures to a grid of mean colours, less the mean of the picture.

    Args:
        pictures: uint8 (N, S, S, 3), S ≥ 16.

    Returns:
        float32 (N, 16 · 16 · 3).

    Example:
        >>> tiny_pixels(np.zeros((2, 32, 32, 3), np.uint8)).shape
        (2, 768)
    """
    edges = np.linspace(0, pictures.shape[1], GRID + 1).astype(np.intp)
    counts = np.diff(edges).astype(np.float32)
    rows = np.add.reduceat(pictures.astype(np.float32), edges[:-1], axis=1) / counts[:, None, None]
    cells = np.add.reduceat(rows, edges[:-1], axis=2) / counts[:, None]
    return np.asarray((cells - cells.mean((1, 2), keepdims=True)).reshape(len(pictures), -1))


def loo_right(
    embeddings: NDArray[np.float32], names: Sequence[str], groups: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Which examples the device's head classifies correctly, each left out with its group: bool (N,)."""
    together = () if groups is None else tuple(None if one < 0 else str(one) for one in in_groups(groups).tolist())
    found = fit.fit(fit.Examples(embeddings, tuple(names), together))
    answers = np.where(np.isnan(found.loo).any(axis=1), -1, found.loo.argmax(axis=1))
    return np.asarray([found.head.labels.index(name) == answer for name, answer in zip(names, answers, strict=True)])


def loo_accuracy(
    embeddings: NDArray[np.float32], names: Sequence[str], groups: NDArray[np.int64] | None = None
) -> float:
    """The fraction of examples that are classified correctly."""
    return float(loo_right(embeddings, names, groups).mean())
