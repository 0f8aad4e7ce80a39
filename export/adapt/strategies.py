"""What of a network may change when it is adapted, from little to all of it.

| name | changes | known in the literature as |
|---|---|---|
| head | nothing; the device's last layer alone learns | linear probing |
| taps | nothing; earlier maps join the embedding | Head2Toe (Evci et al. 2022) |
| last-stages | the blocks at the two lowest resolutions | layer-wise fine-tuning (Lee et al. 2023) |
| full | everything | fine-tuning |

Norms keep their running statistics, in every strategy: a norm's scale and shift can express any change of them, small
batches would only add noise, and weight files whose norms were folded have none to update.

A trunk is a row of blocks. The *last stages* begin at the last block but one that lowers the resolution; what lies in
front of it is frozen, so its feature maps are computed once and kept. They hold most of what a network knows of things
and take a third of the time that training all of it takes; `full` is for networks whose parts are not in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.errors import DatasetError
from export.network.embedder import blocks

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Strategy:
    """One way to adapt.

    Args:
        name: What `--strategy` takes.
        summary: What changes, for people.
        rate: Largest learning rate of the network's parameters (Adam), in units of their own size.
        epochs: Most passes over the photos.
    """

    name: str
    summary: str
    rate: float = 0.0
    epochs: int = 0

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
}  # the cheap first: of two that are equally good the first is taken


def find(name: str) -> Strategy:
    """Look a strategy up by name.

    Raises:
        DatasetError: There is none of that name.

    Example:
        >>> find("full").summary
        'the whole network'
    """
    try:
        return STRATEGIES[name]
    except KeyError:
        raise DatasetError(
            "option-invalid", f"there is no strategy {name!r}; choose auto, {', '.join(STRATEGIES)}"
        ) from None


def last_stages(trunk: nn.Module, size: int) -> int:
    """The number of the block at which the last two stages begin: the last but one that lowers the resolution.

    Args:
        trunk: float32 (N, 3, size, size) → (N, D, h, w).
        size: Pixels per side of the input.
    """
    import torch

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
    """Freeze a trunk but for what a strategy changes.

    Returns:
        Those parameters by name.
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
