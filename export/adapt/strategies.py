"""Strategies for adapting a network: which of its parts are trained, from nothing to everything.

| name | changes | known in the literature as |
|---|---|---|
| head | nothing; the device's last layer alone learns | linear probing |
| taps | nothing; earlier maps join the embedding | Head2Toe (Evci et al. 2022) |
| last-stages | the blocks at the two lowest resolutions | layer-wise fine-tuning (Lee et al. 2023) |
| full | everything | fine-tuning |

Norms keep their running statistics in every strategy: their scale and shift can express any change of these, small
batches would only add noise, and weight files with folded norms have no statistics to update.

A trunk is a sequence of blocks. The *last stages* begin at the last block but one that lowers the resolution. The part
in front of it is frozen, so its feature maps are computed once and kept. The last stages contain most of a network's
knowledge of objects, and training them takes a third of the time of training everything; `full` is for networks whose
parts are not in sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from export.network.embedder import blocks


@dataclass(frozen=True)
class Strategy:
    """One way to adapt."""

    name: str  # what `--strategy` takes
    summary: str  # what changes, for people
    rate: float = 0.0  # largest learning rate of the network's parameters (Adam), in units of their own size
    epochs: int = 0  # most passes over the photos

    @property
    def trains(self) -> bool:
        """Whether the network itself learns from the photos, so that it may know them by heart."""
        return self.epochs > 0


STRATEGIES = {
    row.name: row
    for row in (
        Strategy("head", "the last layer only"),
        Strategy("taps", "nothing; what earlier layers see counts, too"),
        Strategy("last-stages", "the last two stages", rate=3e-3, epochs=12),
        Strategy("full", "the whole network", rate=1.5e-3, epochs=12),
    )
}  # cheapest first: if two are equally good, the first is kept


def last_stages(trunk: nn.Module, size: int) -> int:
    """Return the index of the block at which the last two stages begin: the last but one that lowers the resolution.

    Args:
        trunk: float32 (N, 3, size, size) → (N, D, h, w).
    """
    row = blocks(trunk)
    lowering, shape = [0, 0], torch.Size((size, size))
    device = next(trunk.parameters()).device
    with torch.inference_mode():
        maps = torch.zeros(1, 3, size, size, device=device)
        for number, block in enumerate(row):
            maps = block(maps)
            if maps.shape[2:] != shape:
                lowering.append(number)
                shape = maps.shape[2:]
    return lowering[-2]


def unfreeze(trunk: nn.Module, strategy: Strategy, size: int) -> dict[str, nn.Parameter]:
    """Freeze a trunk except for the parameters that a strategy trains.

    Returns:
        The trained parameters, by name.
    """
    chosen = {id(parameter) for parameter in trunk.parameters()}
    if not strategy.trains:
        chosen = set()
    elif strategy.name == "last-stages":
        stages = blocks(trunk)[last_stages(trunk, size) :]
        chosen = {id(parameter) for block in stages for parameter in block.parameters()}
    for parameter in trunk.parameters():
        parameter.requires_grad_(id(parameter) in chosen)
    return {name: parameter for name, parameter in trunk.named_parameters() if parameter.requires_grad}
