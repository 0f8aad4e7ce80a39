"""The networks that can be adapted: one table of facts, where their weights come from, and the graph around them.

A backbone is the convolutional trunk of a torchvision classifier, a row of blocks; its embedding is the global mean of
the last one's feature map::

    image uint8 (N, H, W, 3), RGB 0–255  →  (image/255 − mean)/std  →  trunk (N, K, h, w)  →  mean over h, w (N, K)

One with `taps` says more, at no more cost: it joins to that the mean and the deviation over h, w of some earlier maps,
less what they usually are, each part on a scale of its own (Evci et al., "Head2Toe: utilizing intermediate
representations for better transfer learning", ICML 2022)::

    joined = ((mean₁, deviation₁, …, mean) − centre)·weight        (N, D)

In ours, directions in which generic photos of one thing vary count less than others: with B (R, D) the main ones, and
gains g (R,) below 0 (edge/gate.py has the mathematics)::

    embedding = joined + (joined @ Bᵀ · g) @ B                     (N, D)

`embedder` makes exactly that, so that the exported file needs nobody to normalise or transpose for it. Multiply-adds
are those of convolutions and matrix products in the trunk at the input size (an element-wise product is not counted).

Everything above the line "weights" needs no torch: `edge-export backbones` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge.errors import BundleError
from export.state_dict import check_numbers, misfit, read_state_dict, unwrapped

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

CLASSIFIERS = ("classifier.", "fc.")  # beginnings of tensors' names that an embedder has no use for
JOINING = ("centre", "weight", "basis", "gains")  # tensors of a weights file beside the trunk's
SMALLEST = 1e-5  # variance: keeps the deviation of a map that is the same everywhere smooth
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels / 255; every weight file here uses them
EMBEDDED_FILE = Path(__file__).parent / "weights" / "embedded.safetensors"


@dataclass(frozen=True)
class Backbone:
    """One row of the table: facts of a network, checked against the network itself by a test.

    Args:
        name: What `--backbone` takes.
        architecture: The torchvision builder that makes it.
        embedding: D, the size of its embedding.
        parameters: Of the trunk alone; the classifier is dropped.
        multiply_adds: Of the trunk for one image of `size` × `size` pixels.
        trunk: The modules of the torchvision network that make the last feature map, in order.
        taps: Numbers of the blocks whose maps' means and deviations join the embedding.
        origin: Where `--weights imagenet` (or, for ours, the package) takes its weights from, in words.
        licence: Of those weights.
        size: Input pixels per side.
    """

    name: str
    architecture: str
    embedding: int
    parameters: int
    multiply_adds: int
    trunk: tuple[str, ...] = ("features",)
    taps: tuple[int, ...] = ()
    origin: str = "torchvision, ImageNet-1k"
    licence: str = "BSD-3-Clause (torchvision); ImageNet's terms bind the training images"
    size: int = 224

    @property
    def is_embedded(self) -> bool:
        """Whether its weights ship in this package."""
        return self.name == "embedded"


_SHUFFLE = ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5")

BACKBONES: Mapping[str, Backbone] = {
    row.name: row
    for row in (
        Backbone(
            "embedded", "mobilenet_v3_small", 992, 927_008, 54_896_576, taps=(2, 5, 8, 11),
            origin="this package (docs/embedded.md)", licence="Apache-2.0",
        ),
        Backbone("mobilenet_v3_small", "mobilenet_v3_small", 576, 927_008, 54_896_576),
        Backbone("mobilenet_v3_large", "mobilenet_v3_large", 960, 2_971_952, 214_080_960),
        Backbone("mobilenet_v2", "mobilenet_v2", 1280, 2_223_872, 299_494_272),
        Backbone("efficientnet_b0", "efficientnet_b0", 1280, 4_007_548, 384_534_752),
        Backbone("shufflenet_v2_x1_0", "shufflenet_v2_x1_0", 1024, 1_253_604, 143_883_992, trunk=_SHUFFLE),
        Backbone("squeezenet1_1", "squeezenet1_1", 512, 722_496, 262_623_936),
        Backbone("mnasnet1_0", "mnasnet1_0", 1280, 3_102_312, 313_135_872, trunk=("layers",)),
    )
}  # fmt: skip


def find(name: str) -> Backbone:
    """Look a backbone up by name.

    Raises:
        BundleError: If there is none of that name.

    Example:
        >>> find("mobilenet_v2").embedding
        1280
    """
    try:
        return BACKBONES[name]
    except KeyError:
        raise BundleError(f"no backbone {name!r}; choose one of {', '.join(BACKBONES)}") from None


def is_at_hand(name: str) -> bool:
    """Whether a network's own weights are on this machine, so that nothing would be downloaded."""
    import torch

    from export.torchvision_shim import torchvision_models

    row = find(name)
    if row.is_embedded:
        return True
    url = str(torchvision_models().get_model_weights(row.architecture).DEFAULT.url)
    return (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file()


# --- weights: from here on torch is needed ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """A backbone with its weights: the network that everything exported is compared with.

    Args:
        backbone: The row of the table.
        embedder: uint8 (N, H, W, 3) → float32 (N, D), in evaluation mode.
        origin: Where these weights came from, in words, for the manifest.
        licence: Of these weights, as far as known.
    """

    backbone: Backbone
    embedder: nn.Module
    origin: str
    licence: str

    @property
    def trunk(self) -> nn.Module:
        """The network alone: float32 (N, 3, H, W), normalised → float32 (N, K, h, w)."""
        return self.embedder.trunk  # type: ignore[return-value]


def load(name: str, weights: str = "", progress: bool = False, taps: tuple[int, ...] = ()) -> Loaded:
    """Build a backbone and fill it with weights.

    Args:
        name: A name of the table.
        weights: `imagenet` for torchvision's own (downloaded once, then from its cache), the path of a state dict
            (`.safetensors`, or a torch file, which is read without running any code in it), `random` for untrained
            ones (tests), or empty for the natural choice: ours for `embedded`, else `imagenet`.
        progress: Show torchvision's download bar.
        taps: Those that the file of weights is for, where they are not the table's.

    Returns:
        The network and what to write about it in the manifest.

    Raises:
        BundleError: If the name is unknown, the download fails, or the file does not fit this network.
    """
    backbone = find(name)
    if not weights:
        weights = "embedded" if backbone.is_embedded else "imagenet"
    if (weights == "embedded") != backbone.is_embedded and weights in ("embedded", "imagenet"):
        default = "" if weights == "embedded" else ", which is used unless --backbone names another,"
        other = "take imagenet or a file" if weights == "embedded" else "name one that has: --backbone mobilenet_v2"
        raise BundleError(f"the network {name!r}{default} has no {weights!r} weights; {other}")
    trunk = _trunk(backbone)
    if taps:
        backbone = tapped(backbone, trunk, taps)
    network = embedder(trunk, backbone.taps)
    origin, licence = backbone.origin, backbone.licence
    if weights == "random":
        origin, licence = "random, untrained", "none"
    elif weights == "imagenet":
        _fill(network, backbone, _download(backbone, progress), "the downloaded weights")
    elif weights == "embedded":
        _fill(network, backbone, read_state_dict(EMBEDDED_FILE), EMBEDDED_FILE.name)
    else:
        path = Path(weights)
        _fill(network, backbone, read_state_dict(path), path.name)
        origin, licence = f"file {path.name}", "as that file's"
    return Loaded(backbone, network, origin, licence)


class Seen(NamedTuple):
    """How far pictures have come: the feature map (N, K, h, w), and the statistics taken on the way (N, S)."""

    maps: torch.Tensor
    statistics: tuple[torch.Tensor, ...] = ()


def embedder(trunk: nn.Module, taps: tuple[int, ...] = ()) -> nn.Module:
    """Wrap a trunk into the graph that is exported: uint8 NHWC in, float32 embeddings out.

    Args:
        trunk: float32 (N, 3, H, W), normalised → float32 (N, K, h, w).
        taps: As `Backbone.taps`.

    Returns:
        A module in evaluation mode: uint8 (N, H, W, 3) → float32 (N, D). Its `begin`, `through` and `end` are its three
        steps, so that what lies in front of some block can be computed once and kept.
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

        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk
            # (x/255 − mean)/std = x·scale + shift: one multiply and one add per pixel, constants of the graph
            std = torch.tensor(STD)
            self.register_buffer("scale", 1.0 / (255.0 * std))
            self.register_buffer("shift", -torch.tensor(MEAN) / std)
            if taps:
                self.register_buffer("centre", torch.zeros(()))
                self.register_buffer("weight", torch.ones(()))
            self.register_buffer("basis", None)
            self.register_buffer("gains", None)

        def begin(self, image: torch.Tensor) -> Seen:
            pixels = image.to(torch.float32) * self.scale + self.shift
            return Seen(pixels.permute(0, 3, 1, 2))

        def through(self, seen: Seen, start: int = 0, stop: int | None = None) -> Seen:
            maps, statistics = seen
            for number, block in list(enumerate(blocks(self.trunk)))[start:stop]:
                maps = block(maps)
                if number in taps:
                    mean = maps.mean((2, 3), keepdim=True)
                    deviation = ((maps - mean).square().mean((2, 3)) + SMALLEST).sqrt()
                    statistics = (*statistics, mean.flatten(1), deviation)
            return Seen(maps, statistics)

        def end(self, seen: Seen) -> torch.Tensor:
            mean = seen.maps.mean((2, 3))
            if not taps:
                return mean
            return self.whitened((torch.cat([*seen.statistics, mean], 1) - self.centre) * self.weight)

        def whitened(self, joined: torch.Tensor) -> torch.Tensor:
            if self.basis is None or self.gains is None:
                return joined
            return joined + (functional.linear(joined, self.basis) * self.gains) @ self.basis

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.end(self.through(self.begin(image)))

    return Embedder().eval()


def check_answers(network: nn.Module, images: NDArray[np.uint8], source: str) -> None:
    """Refuse a network whose numbers get lost on the way, naming the layer where that begins.

    Args:
        network: An embedder.
        images: uint8 (N, S, S, 3).
        source: Where its weights come from, for the error.

    Raises:
        BundleError: It gives NaN or infinity for one of them.
    """
    import torch

    first: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            if isinstance(output, torch.Tensor) and not torch.isfinite(output).all():
                first.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        with torch.inference_mode():
            broken = not bool(torch.isfinite(network(torch.from_numpy(images))).all())
    finally:
        for hook in hooks:
            hook.remove()
    if broken:
        where = f" from layer {first[0].removeprefix('trunk.')!r} on" if first else ""
        raise BundleError(
            f"the network with weights from {source} gives values that are not numbers (NaN or infinity){where}; "
            "the weights are damaged: take other ones"
        )


def blocks(trunk: nn.Module) -> list[nn.Module]:
    """The row of blocks that a trunk is."""
    children = list(trunk.children())
    return list(children[0].children()) if len(children) == 1 else children


def tapped(backbone: Backbone, trunk: nn.Module, taps: tuple[int, ...]) -> Backbone:
    """The row of a backbone that has these taps; its embedding is measured."""
    import torch

    with torch.inference_mode():
        embedding = embedder(trunk, taps)(torch.zeros(1, backbone.size, backbone.size, 3, dtype=torch.uint8)).shape[1]
    return replace(backbone, taps=taps, embedding=embedding)


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    """What a weights file holds of an embedder: the trunk's tensors, and with taps how they are joined."""
    joining = {key: tensor for key, tensor in network.state_dict().items() if key in JOINING}
    return {**network.get_submodule("trunk").state_dict(), **joining}


def _trunk(backbone: Backbone) -> nn.Module:
    """The untrained trunk, as one Sequential whose children carry the classifier's own names (so do its keys)."""
    from collections import OrderedDict

    from torch import nn

    from export.torchvision_shim import torchvision_models

    build: Callable[..., nn.Module] = getattr(torchvision_models(), backbone.architecture)
    network = build(weights=None).eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size == 1:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, _mean_pool())
    return nn.Sequential(OrderedDict((part, network.get_submodule(part)) for part in backbone.trunk)).eval()


def _mean_pool() -> nn.Module:
    """The same numbers as AdaptiveAvgPool2d(1), which becomes `as_strided` (a chain of Gathers) where N is free."""
    from torch import nn

    class MeanPool(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3), keepdim=True)

    return MeanPool()


def _fill(network: nn.Module, backbone: Backbone, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load the keys that belong to an embedder; a classifier's keys beside them are no error, any other key is."""
    import torch

    trunk, joining = network.get_submodule("trunk"), dict[str, torch.Tensor]()
    state = unwrapped(state, trunk.state_dict(), source)
    if backbone.taps:
        features, rank = backbone.embedding, state["gains"].numel() if "gains" in state else 0
        joining = {"centre": torch.empty(features), "weight": torch.empty(features)}
        joining |= {"basis": torch.empty(rank, features), "gains": torch.empty(rank)} if rank else {}
    wanted = {**trunk.state_dict(), **joining}
    wrong = misfit(state, wanted, CLASSIFIERS)
    if wrong.any:
        others = [name for name in _fitting(state) if name != backbone.name]
        advice = f"it fits {' and '.join(others)}: give --backbone {others[0]}" if others else "check --backbone"
        default = ", which is used unless --backbone names another" if backbone.is_embedded else ""
        raise BundleError(f"{source} does not fit {backbone.name}{default}: {wrong}; {advice}")
    check_numbers({key: state[key] for key in wanted.keys() & state.keys()}, source)
    for key in joining:
        network.register_buffer(key, state[key].clone())
    trunk.load_state_dict({key: state.get(key, value) for key, value in trunk.state_dict().items()})


def _fitting(state: Mapping[str, torch.Tensor]) -> list[str]:
    """The networks of the table that these weights would fit."""
    rows = (row for row in BACKBONES.values() if not row.is_embedded)
    return [row.name for row in rows if not misfit(state, _trunk(row).state_dict(), CLASSIFIERS).any]


def _download(backbone: Backbone, progress: bool) -> dict[str, torch.Tensor]:
    """torchvision's own default weights, from its cache or the network."""
    from http.client import HTTPException

    from export.torchvision_shim import torchvision_models

    choice = torchvision_models().get_model_weights(backbone.architecture).DEFAULT
    try:
        state: dict[str, torch.Tensor] = choice.get_state_dict(progress=progress, check_hash=True)
    except (OSError, HTTPException, RuntimeError) as error:
        raise BundleError(
            f"could not download {choice.url} ({error}); fetch it on another machine and name that file: "
            f"--weights FILE (compare: --backbone {backbone.name}=FILE)"
        ) from error
    return state
