"""Earlier maps in the embedding: which ones, with which scale, and which directions are weakened or dropped.

The features that distinguish kinds of rubbish or hand signs are often not those that distinguish ImageNet's thousand
labels. The last map contains little else, but the mean and deviation of earlier maps still have them (Evci et al.,
"Head2Toe: utilizing intermediate representations for better transfer learning", ICML 2022). The network is unchanged.

Directions in which generic photos hardly differ can be dropped: with w₁ ≥ w₂ ≥ … the eigenvalues of their joined
embeddings' covariance, and v the eigenvectors, number i of the D that are kept is::

    (w_i/w₁)^(−WHITE/2) · v_iᵀ joined        WHITE = 0: unchanged, 1: all directions count the same
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.unknown.gate import Background
from export.network.embedder import blocks

if TYPE_CHECKING:
    from torch import nn

SHARE = 0.3  # of an earlier map's mean or deviation in the embedding, as length beside the last map's mean
WHITE = 0.3  # chosen on classes of Caltech-101 that had no part in it: docs/backbones.md
EVERY = 3  # blocks from one tap to the next: neighbours say much the same


def every_third(trunk: nn.Module) -> tuple[int, ...]:
    """Numbers of the blocks to tap: every third before the last.

    Example:
        >>> from torch import nn
        >>> every_third(nn.Sequential(*(nn.Identity() for _ in range(10))))
        (3, 6)
    """
    last = len(blocks(trunk)) - 1
    return tuple(range(last % EVERY or EVERY, last, EVERY))


def settle(network: nn.Module, batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Set an embedder's `centre` and `weight` from pictures, as in `scale`.

    Args:
        network: an embedder with taps, not settled yet.
        batches: the pictures, each (n, S, S, 3).

    Returns:
        (N, J), their joined embeddings.
    """
    import torch

    raw: list[NDArray[np.float32]] = []
    size = 0
    for batch in batches:
        size = batch.shape[1]
        with torch.inference_mode():
            raw.append(network(torch.from_numpy(batch)).numpy())
    return scale(network, np.concatenate(raw), size)


def scale(network: nn.Module, raw: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Set an embedder's `centre` and `weight`, so that embeddings are centred and no part dominates.

    Args:
        network: an embedder with taps, not settled yet.
        raw: (N, J), its output for pictures.
        size: pixels per side of its input.

    Returns:
        (N, J), their joined embeddings.
    """
    import torch

    with torch.inference_mode():
        seen = network.through(network.begin(torch.zeros(1, size, size, 3, dtype=torch.uint8)))  # type: ignore[operator]
    parts = [part.shape[1] for part in (*seen.statistics, seen.maps)]
    centre = raw.mean(0)
    weight = np.empty_like(centre)
    at = 0
    for length, share in zip(parts, [SHARE] * (len(parts) - 1) + [1.0], strict=True):
        part = slice(at, at + length)
        weight[part] = share / max(float(np.linalg.norm(raw[:, part] - centre[part], axis=1).mean()), 1e-12)
        at += length
    network.register_buffer("centre", torch.from_numpy(centre))
    network.register_buffer("weight", torch.from_numpy(weight))
    joined: NDArray[np.float32] = (raw - centre) * weight
    return joined


def whiten(network: nn.Module, joined: NDArray[np.float32], kinds: Sequence[str]) -> None:
    """Set an embedder's `basis` and `gains`, so that differences between photos of the same thing count less.

    Args:
        network: a settled embedder.
        joined: (N, D), embeddings of generic photos.
        kinds: the thing that each shows, if known.
    """
    import torch

    white = Background.of(joined, kinds).white()
    network.register_buffer("basis", torch.from_numpy(white.basis))
    network.register_buffer("gains", torch.from_numpy(white.gains))


def project(network: nn.Module, joined: NDArray[np.float32], dimension: int) -> None:
    """Set an embedder's `projection`: the main directions of generic photos' embeddings, the weaker ones lengthened.

    Args:
        network: a settled embedder.
        joined: (N, J), embeddings of generic photos.
        dimension: D, how many directions to keep, at most J.
    """
    import torch

    rows = joined.astype(np.float64)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    values, basis = values[: -dimension - 1 : -1], vectors.T[: -dimension - 1 : -1]
    basis *= np.where(basis[np.arange(dimension), np.abs(basis).argmax(axis=1)] < 0, -1, 1)[:, None]
    gains = (np.maximum(values, 1e-12 * values[0]) / values[0]) ** (-WHITE / 2)
    network.register_buffer("projection", torch.from_numpy((gains[:, None] * basis).astype(np.float32)))
