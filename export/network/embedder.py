"""The graph that is exported: a trunk together with normalisation before it and pooling behind it.

A trunk is a sequence of blocks; an embedding is the global mean of the last block's feature map::

    image uint8 (N, H, W, 3), RGB 0–255  →  (image/255 − mean)/std  →  trunk (N, K, h, w)  →  mean over h, w (N, K)

With `taps`, the embedding also contains the mean and the deviation over h, w of some earlier maps, less their usual
values, each part with a scale of its own, at no extra cost (Evci et al., "Head2Toe: utilizing intermediate
representations for better transfer learning", ICML 2022)::

    joined = ((mean₁, deviation₁, …, mean) − centre)·weight        (N, J)

Two optional steps may follow. Directions in which generic photos of one thing vary are weakened: with B (R, J) the main
ones, and gains g (R,) below 0 (edge/unknown/gate.py has the mathematics)::

    whitened = joined + (joined @ Bᵀ · g) @ B                      (N, J)

And the embedding is reduced to fewer numbers: with P (D, J)::

    embedding = whitened @ Pᵀ                                      (N, D)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from edge.errors import BundleError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

JOINING = ("centre", "weight", "basis", "gains", "projection")  # tensors of a weights file beside the trunk's
SMALLEST = 1e-5  # variance: keeps the deviation of a map that is the same everywhere smooth


class Normalisation(NamedTuple):
    """Mean and standard deviation of red, green and blue (0 to 1) in a network's training."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalised(self, pictures: torch.Tensor) -> torch.Tensor:
        """Normalise pictures (N, 3, H, W), 0 to 1, for the network."""
        import torch

        mean, std = (torch.tensor(value, device=pictures.device).view(3, 1, 1) for value in self)
        return (pictures - mean) / std


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # −1 to 1


class Activations(NamedTuple):
    """The state between two blocks: the feature map (N, K, h, w), and the statistics of earlier maps (N, S)."""

    maps: torch.Tensor
    statistics: tuple[torch.Tensor, ...] = ()


def embedder(trunk: nn.Module, taps: tuple[int, ...] = (), pixels: Normalisation = IMAGENET) -> nn.Module:
    """Wrap a trunk into the graph that is exported: uint8 NHWC in, float32 embeddings out.

    Args:
        trunk: float32 (N, 3, H, W), normalised → float32 (N, K, h, w).
        taps: Numbers of the blocks whose maps' means and deviations join the embedding.
        pixels: Mean and deviation of the trunk's input.

    Returns:
        A module in evaluation mode: uint8 (N, H, W, 3) → float32 (N, D). Its three steps are `begin`, `through` and
        `end`, so that the activations in front of a block can be computed once and kept.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    class Embedder(nn.Module):
        scale: torch.Tensor
        shift: torch.Tensor
        centre: torch.Tensor
        weight: torch.Tensor
        basis: torch.Tensor | None
        gains: torch.Tensor | None
        projection: torch.Tensor | None

        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk
            # (x/255 − mean)/std = x·scale + shift: one multiply and one add per pixel, constants of the graph
            std = torch.tensor(pixels.std)
            self.register_buffer("scale", 1.0 / (255.0 * std))
            self.register_buffer("shift", -torch.tensor(pixels.mean) / std)
            if taps:
                self.register_buffer("centre", torch.zeros(()))
                self.register_buffer("weight", torch.ones(()))
            for name in ("basis", "gains", "projection"):
                self.register_buffer(name, None)

        def begin(self, image: torch.Tensor) -> Activations:
            pixels = image.to(torch.float32) * self.scale + self.shift
            return Activations(pixels.permute(0, 3, 1, 2))

        def through(self, seen: Activations, start: int = 0, stop: int | None = None) -> Activations:
            maps, statistics = seen
            for number, block in list(enumerate(blocks(self.trunk)))[start:stop]:
                maps = block(maps)
                if number in taps:
                    mean = maps.mean((2, 3), keepdim=True)
                    deviation = ((maps - mean).square().mean((2, 3)) + SMALLEST).sqrt()
                    statistics = (*statistics, mean.flatten(1), deviation)
            return Activations(maps, statistics)

        def end(self, seen: Activations) -> torch.Tensor:
            mean = seen.maps.mean((2, 3))
            if not taps:
                return mean
            return self.finished((torch.cat([*seen.statistics, mean], 1) - self.centre) * self.weight)

        def finished(self, joined: torch.Tensor) -> torch.Tensor:
            if self.basis is not None and self.gains is not None:
                joined = joined + (functional.linear(joined, self.basis) * self.gains) @ self.basis
            return joined if self.projection is None else functional.linear(joined, self.projection)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.end(self.through(self.begin(image)))

    return Embedder().eval()


def blocks(trunk: nn.Module) -> list[nn.Module]:
    """The blocks of a trunk; a network of timm that is not a sequence is a single block."""
    from torch import nn

    row: tuple[tuple[str, ...], ...] | None = getattr(trunk, "row", None)  # of timm: export/network/timm_networks.py
    if row is not None:
        parts = [[trunk.get_submodule(name) for name in block] for block in row]
        return [part[0] if len(part) == 1 else nn.Sequential(*part) for part in parts] or [trunk]
    children = list(trunk.children())
    return list(children[0].children()) if len(children) == 1 else children


def dimension(network: nn.Module, size: int) -> int:
    """D of an embedder, found by embedding a picture of size × size pixels."""
    import torch

    with torch.inference_mode(), swift():
        return int(network(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1])


@contextlib.contextmanager
def swift() -> Iterator[None]:
    """Round the tiniest numbers to 0 meanwhile: untrained networks produce many, and processors are slow with them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the setting holds for one thread alone
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def watched(modules: Iterable[tuple[str, nn.Module]], look: Callable[[str, object], None]) -> Iterator[None]:
    """Call a function with the name and the output of each of these modules that runs meanwhile."""

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda _module, _inputs, output: look(name, output)

    hooks = [module.register_forward_hook(hook(name)) for name, module in modules]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of an embedder for a weights file: the trunk's, and with taps those that join them."""
    joining = {key: tensor for key, tensor in network.state_dict().items() if key in JOINING}
    return {**network.get_submodule("trunk").state_dict(), **joining}


def check_answers(network: nn.Module, images: NDArray[np.uint8], source: str) -> None:
    """Refuse a network that gives NaN or infinity, naming the first layer that does.

    Args:
        images: uint8 (N, S, S, 3).
        source: The origin of its weights, for the error.

    Raises:
        BundleError: It gives NaN or infinity for one of the images.
    """
    import torch

    first: list[str] = []

    def look(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor) and not torch.isfinite(output).all():
            first.append(name)

    layers = ((name, module) for name, module in network.named_modules() if name)
    with watched(layers, look), torch.inference_mode():
        broken = not bool(torch.isfinite(network(torch.from_numpy(images))).all())
    if broken:
        where = f" from layer {first[0].removeprefix('trunk.')!r} on" if first else ""
        raise BundleError(
            "model-not-numbers",
            f"the network with weights from {source} gives values that are not numbers (NaN or infinity){where}; "
            "the weights are damaged: take other ones",
        )
