"""What of a network may change when it is adapted, from little to all of it.

| name | changes | known in the literature as |
|---|---|---|
| head | nothing; the device's last layer alone learns | linear probing |
| taps | nothing; earlier maps join the embedding | Head2Toe (Evci et al. 2022) |
| norm-bias | scale and shift of every norm, every bias | BitFit (Ben Zaken et al. 2022), TinyTL (Cai et al. 2020), |
| | | norm-only training (Frankle et al. 2021) |
| last-stage | the blocks at the lowest resolution | gradual unfreezing (Howard & Ruder 2018), layer-wise tuning |
| full | everything, drawn back to where it began | fine-tuning with L2-SP (Li, Grandvalet, Davoine 2018) |

Norms keep their running statistics, in every strategy: a norm's scale and shift can express any change of them, small
batches would only add noise, and weight files whose norms were folded have none to update.

A trunk is a row of blocks. The *last stage* begins at the last block that lowers the resolution; what lies in front
of it is frozen, so its feature maps are computed once and kept.
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
        share: Of the time left when its turn comes.
    """

    name: str
    summary: str
    rate: float = 0.0
    epochs: int = 0
    share: float = 0.0

    @property
    def trains(self) -> bool:
        """Whether the network itself learns from the photos, so that it may know them by heart."""
        return self.epochs > 0


STRATEGIES = {
    row.name: row
    for row in (
        Strategy("head", "the last layer only"),
        Strategy("taps", "nothing; what earlier layers see counts, too"),
        Strategy("norm-bias", "norms and biases", rate=5e-3, epochs=16, share=0.25),
        Strategy("last-stage", "the last stage", rate=3e-3, epochs=30, share=0.3),
        Strategy("full", "the whole network", rate=1.5e-3, epochs=16, share=1.0),
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


def last_stage(trunk: nn.Module, size: int) -> int:
    """The number of the block at which the last stage begins.

    Args:
        trunk: float32 (N, 3, size, size) → (N, D, h, w).
        size: Pixels per side of the input.
    """
    import torch

    row = blocks(trunk)
    begin, shape = 0, torch.Size((size, size))
    device = next(trunk.parameters()).device
    with torch.inference_mode():
        maps = torch.zeros(1, 3, size, size, device=device)
        for number, block in enumerate(row):
            maps = block(maps)
            if maps.shape[2:] != shape:
                begin, shape = number, maps.shape[2:]
    return begin


def unfreeze(trunk: nn.Module, strategy: Strategy, size: int) -> dict[str, nn.Parameter]:
    """Freeze a trunk but for what a strategy changes.

    Returns:
        Those parameters by name.
    """
    chosen = {id(parameter) for parameter in trunk.parameters()}
    if not strategy.trains:
        chosen = set()
    elif strategy.name == "norm-bias":
        chosen = {id(parameter) for parameter in trunk.parameters() if parameter.ndim == 1}
    elif strategy.name == "last-stage":
        stage = blocks(trunk)[last_stage(trunk, size) :]
        chosen = {id(parameter) for block in stage for parameter in block.parameters()}
    for parameter in trunk.parameters():
        parameter.requires_grad_(id(parameter) in chosen)
    return {name: parameter for name, parameter in trunk.named_parameters() if parameter.requires_grad}
