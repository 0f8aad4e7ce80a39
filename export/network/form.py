"""The size in which a network takes its pictures, and the fingerprint of everything that an embedding depends on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


CROP = 7 / 8  # as ImageNet's networks are usually tested


def short_side(size: int, crop: float = CROP) -> int:
    """Pixels to which a photo's short side is resized, so that the centre square of `size` is a fraction `crop` of it.

    Example:
        >>> short_side(224)
        256
    """
    return round(size / crop)


def fingerprint(embedder: nn.Module, size: int, fit: str = "crop", crop: float = CROP) -> str:
    """SHA-256 of everything that an embedding depends on: weights, normalisation, input size, crop and fit."""
    import numpy as np  # here: `--help` needs the table of backbones, and no arrays

    digest = hashlib.sha256(f"{size} {cut(size, fit, crop)}".encode())
    for key, tensor in sorted(embedder.state_dict().items()):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def cut(size: int, fit: str, crop: float = CROP) -> str:
    """The part of the fingerprint for crop and fit; it is that of version 0.1.0 if the fit is `crop`."""
    return f"{short_side(size, crop)}" if fit == "crop" else f"{short_side(size, crop)} {fit}"
