"""The networks of timm: each that gives a feature map becomes a trunk, with timm's own names of tensors.

A trunk computes timm's `forward_features`. If that simply runs the network's parts one after the other, the trunk is a
sequence of blocks, whose maps and stages are available separately: a block is a part with weights and the norms,
activations and pools behind it. This is tested: the parts, run in sequence, must give the same numbers. A network that
branches or reshapes between its parts is a single block.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge.errors import BundleError
from edge.text import first_line
from export.network.embedder import swift, watched
from export.network.quiet import quiet
from export.network.torchvision_shim import torchvision_models

PREFIX = "timm:"
VERSION = "1.0.31"
EXAMPLE = f"{PREFIX}mobilenetv4_conv_small"


def library() -> Any:
    """Import timm, after making torchvision importable.

    Raises:
        BundleError: timm is not installed.
    """
    torchvision_models()
    try:
        import timm
        import timm.utils
    except ImportError as error:
        raise BundleError(
            "library-missing", f"timm cannot be imported ({error}); run: pip install timm=={VERSION}"
        ) from error
    return timm


def settings(name: str) -> Any:
    """Find a network by timm's name: its input, the origin and licence of its weights, as timm has them.

    Raises:
        BundleError: timm has no such network.
    """
    timm = library()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3)
        advice = f"did you mean {' or '.join(PREFIX + one for one in near)}?" if near else f"one that it has: {EXAMPLE}"
        raise BundleError("backbone-unknown", f"timm has no network {name[:80]!r}; {advice}")
    return timm.get_pretrained_cfg(name)


def trunk(name: str, size: int) -> nn.Module:
    """Build an untrained trunk: float32 (N, 3, H, W), normalised → float32 (N, K, h, w).

    Args:
        name: timm's name of it.
        size: Pixels per side of its input.

    Raises:
        BundleError: It does not give one feature map, or timm cannot build it.
    """
    network = _created(name)
    used: set[str] = set()
    inside = ((part, inner) for part, child in network.named_children() for inner in child.modules())
    picture = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with watched(inside, lambda part, _: used.add(part)), torch.inference_mode(), swift():
            maps = network.forward_features(picture)  # type: ignore[operator]
    except Exception as error:  # whatever a network of others raises
        raise BundleError(
            "model-failed", f"{PREFIX}{name} cannot be run ({first_line(error)}); choose another network"
        ) from error
    if not isinstance(maps, torch.Tensor) or maps.ndim != 4:
        what = f"tokens {tuple(maps.shape)}" if isinstance(maps, torch.Tensor) else "several outputs"
        raise BundleError(
            "backbone-unknown",
            f"{PREFIX}{name} gives {what} instead of one feature map; choose a network that does, such as {EXAMPLE}",
        )
    features = int(getattr(network, "num_features", maps.shape[1]))
    last = maps.shape[1] != features and maps.shape[3] == features  # channels last, as Swin has them
    beside = tuple(f"{part}." for part, _ in network.named_children() if part not in used)
    for part in beside:  # the classifier, and what leads to it
        delattr(network, part[:-1])
    return _as_trunk(network, last, () if last else _row(network, picture, maps), beside)


def pretrained(name: str, progress: bool = False) -> dict[str, torch.Tensor]:
    """Read timm's own weights of a network with its classifier, from the hub's cache or by download.

    Raises:
        BundleError: The weights cannot be downloaded.
    """
    known, file = settings(name), cached(name)
    if not known.hf_hub_id and not known.url:
        raise BundleError("weights-unknown", f"timm has no weights for {name}; give --weights FILE")
    if not file:
        _check_hub(name)
    overlay = {"file": str(file)} if file else None
    try:
        with contextlib.nullcontext() if progress else quiet():
            network = _created(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # of timm, the hub, the network, or torch
        raise _unreachable(name, first_line(error)) from error
    return dict(network.state_dict())


def cached(name: str) -> Path | None:
    """The path of a network's weights in the hub's cache, or None."""
    from huggingface_hub import constants, try_to_load_from_cache

    hub = settings(name).hf_hub_id
    for file in ("model.safetensors", "pytorch_model.bin") if hub else ():
        found = try_to_load_from_cache(hub, file, cache_dir=constants.HF_HUB_CACHE)
        if isinstance(found, str):
            return Path(found)
    return None


def merged(network: nn.Module) -> nn.Module:
    """The network for export: parallel branches that only training needs are merged if timm can."""
    ways = ("fuse", "reparameterize", "switch_to_deploy")
    if not any(hasattr(part, way) for part in network.modules() for way in ways):
        return network
    return library().utils.reparameterize_model(network)  # type: ignore[no-any-return]


def renamed(name: str, tensors: Mapping[str, torch.Tensor], source: str) -> dict[str, torch.Tensor]:
    """Rename tensors that are in timm's order but have other names.

    Raises:
        BundleError: A shape or the number of tensors differs.
    """
    wanted = _created(name).state_dict()
    if [value.shape for value in tensors.values()] != [value.shape for value in wanted.values()]:
        raise BundleError("weights-mismatch", f"{source} does not fit timm's {name}; run: pip install timm=={VERSION}")
    return dict(zip(wanted, tensors.values(), strict=True))


def _created(name: str, **options: Any) -> nn.Module:
    return library().create_model(name, **options).eval()  # type: ignore[no-any-return]


def _row(network: nn.Module, picture: torch.Tensor, maps: torch.Tensor) -> tuple[tuple[str, ...], ...]:
    """The names of the modules of each block; () if running them in sequence does not give the network's maps."""
    row: list[tuple[str, ...]] = []
    seen = picture
    try:
        for name, part in _parts(network):
            with torch.inference_mode(), swift():
                seen = part(seen)
            if row and all(parameter.ndim < 2 for parameter in part.parameters()):
                row[-1] = (*row[-1], name)
            else:
                row.append((name,))
        same = isinstance(seen, torch.Tensor) and seen.shape == maps.shape and torch.allclose(seen, maps, rtol=1e-4)
    except Exception:  # a part wants more than the map before it, or gives more than one
        return ()
    return tuple(row) if same else ()


def _parts(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The children of a network; a plain Sequential is replaced by its own children."""
    for name, child in network.named_children():
        if type(child) is nn.Sequential:
            yield from _parts(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _as_trunk(network: nn.Module, last: bool, row: tuple[tuple[str, ...], ...], beside: tuple[str, ...]) -> nn.Module:
    """Make a network return its feature map when it is called; this is done in its class, so that copies do the same.

    Args:
        network: The network without its classifier.
        last: Whether its channels come last.
        row: The names of the modules of each block.
        beside: Prefixes of the names of the classifier's tensors, which files of weights also contain.
    """
    kind = type(network)

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.forward_features(x)
        return maps.permute(0, 3, 1, 2) if last else maps

    network.__class__ = type(kind.__name__, (kind,), {"forward": forward, "row": row, "beside": beside})
    return network


def _check_hub(name: str) -> None:
    """Check that the hub can be reached; its own client would try for a minute."""
    import requests
    from huggingface_hub import constants

    try:
        requests.head(constants.ENDPOINT, timeout=10)
    except requests.RequestException as error:
        raise _unreachable(name, f"{constants.ENDPOINT} cannot be reached") from error


def _unreachable(name: str, why: str) -> BundleError:
    return BundleError(
        "download-failed",
        f"could not download the weights of {PREFIX}{name} ({why}); fetch them on another machine and name "
        f"that file: --weights FILE (compare: --backbone {PREFIX}{name}=FILE)",
    )
