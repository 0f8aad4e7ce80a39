"""The classifiers of torchvision: their convolutional parts become trunks, with torchvision's names of tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge.errors import BundleError
from export.network.torchvision_shim import torchvision_models


def trunk(architecture: str, parts: tuple[str, ...]) -> nn.Module:
    """Build an untrained trunk: a Sequential whose children have the classifier's own names.

    Args:
        architecture: The name of the torchvision function that builds it.
        parts: The modules of the classifier that compute the last feature map, in order.
    """
    build: Callable[..., nn.Module] = getattr(torchvision_models(), architecture)
    network = build(weights=None).eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size == 1:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, MeanPool())
    return nn.Sequential(OrderedDict((part, network.get_submodule(part)) for part in parts)).eval()


def pretrained(architecture: str, name: str, progress: bool) -> dict[str, torch.Tensor]:
    """Read torchvision's default weights, from its cache or by download.

    Raises:
        BundleError: The weights cannot be downloaded.
    """
    choice = _weights(architecture)
    try:
        state: dict[str, torch.Tensor] = choice.get_state_dict(progress=progress, check_hash=True)
    except (OSError, HTTPException, RuntimeError) as error:
        raise BundleError(
            "download-failed",
            f"could not download {choice.url} ({error}); fetch it on another machine and name that file: "
            f"--weights FILE (compare: --backbone {name}=FILE)",
        ) from error
    return state


def cached(architecture: str) -> bool:
    """Whether torchvision's cache contains the weights."""
    file = str(_weights(architecture).url).rpartition("/")[2]
    return (Path(torch.hub.get_dir()) / "checkpoints" / file).is_file()


def _weights(architecture: str) -> Any:
    return torchvision_models().get_model_weights(architecture).DEFAULT


class MeanPool(nn.Module):
    """The same numbers as AdaptiveAvgPool2d(1), which becomes `as_strided` (a chain of Gathers) where N is free."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=True)
