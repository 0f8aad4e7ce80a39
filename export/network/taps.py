"""Earlier maps in the embedding: which ones, on what scale, and which directions count less.

What tells rubbish or hands apart is often not what ImageNet's thousand things are told apart by, and the last map keeps
little else; mean and deviation of earlier maps have it still (Evci et al., "Head2Toe: utilizing intermediate
representations for better transfer learning", ICML 2022). Nothing of the network changes.
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
    """Set an embedder's `centre` and `weight`, so that pictures lie about 0 and no part drowns the others.

    Args:
        network: of `export.network.embedder.embedder`, with taps, not settled yet.
        batches: the pictures, each (n, S, S, 3).

    Returns:
        (N, D), their joined embeddings.
    """
    import torch

    raw: list[NDArray[np.float32]] = []
    parts: list[int] = []
    for batch in batches:
        with torch.inference_mode():
            seen = network.through(network.begin(torch.from_numpy(batch)))  # type: ignore[operator]
            raw.append(network.end(seen).numpy())  # type: ignore[operator]
        parts = [part.shape[1] for part in (*seen.statistics, seen.maps)]
    embeddings = np.concatenate(raw)
    centre = embeddings.mean(0)
    weight = np.empty_like(centre)
    at = 0
    for size, share in zip(parts, [SHARE] * (len(parts) - 1) + [1.0], strict=True):
        part = slice(at, at + size)
        weight[part] = share / max(float(np.linalg.norm(embeddings[:, part] - centre[part], axis=1).mean()), 1e-12)
        at += size
    network.register_buffer("centre", torch.from_numpy(centre))
    network.register_buffer("weight", torch.from_numpy(weight))
    joined: NDArray[np.float32] = (embeddings - centre) * weight
    return joined


def whiten(network: nn.Module, joined: NDArray[np.float32], kinds: Sequence[str]) -> None:
    """Set an embedder's `basis` and `gains`, so that how photos of one thing differ counts less.

    Args:
        network: of `export.network.embedder.embedder`, settled.
        joined: (N, D), generic photos' embeddings.
        kinds: what each one shows, if known.
    """
    import torch

    white = Background.of(joined, kinds).white()
    network.register_buffer("basis", torch.from_numpy(white.basis))
    network.register_buffer("gains", torch.from_numpy(white.gains))
