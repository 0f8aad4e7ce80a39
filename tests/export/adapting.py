"""A network and photos on which adapting takes moments: what the tests of `adapt` share.

The photos are of stripes that lean one way or the other, under noise: mean colours tell nothing, so a head on random
features has something left to gain.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZE = 32
RATE = 0.1
NOISE = 60.0


def tiny_trunk(*_: object) -> object:
    """Three blocks, each of which lowers the resolution: the last stages begin at the second; 16 features."""
    from torch import nn

    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()),
        nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
    ).eval()


def enter_tiny(patch: pytest.MonkeyPatch) -> None:
    """Enter it into the table of backbones, as `tiny`; so small a network learns at larger rates."""
    from export.adapt import strategies
    from export.network import backbones

    row = backbones.Backbone("tiny", "tiny", 16, 0, 0, size=SIZE)
    patch.setattr(backbones, "BACKBONES", {**backbones.BACKBONES, "tiny": row})
    patch.setattr(backbones, "_trunk", tiny_trunk)
    for name, strategy in strategies.STRATEGIES.items():
        patch.setitem(strategies.STRATEGIES, name, replace(strategy, rate=RATE))


def tiny_weights(path: Path) -> Path:
    """Write weights for it, always the same."""
    import torch

    torch.manual_seed(0)
    torch.save(tiny_trunk().state_dict(), path)  # type: ignore[attr-defined]
    return path


def striped_photos(folder: Path, count: int = 40) -> Path:
    """Write `count` photos a class: `folder/left/00.png` …"""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:48]
    for label, slope in (("left", 1), ("right", -1)):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            wave = np.sin((x + slope * y) * random.uniform(0.5, 0.9) + random.uniform(0, 6))
            pixels = 128 + 40 * wave[..., None] + random.normal(0, NOISE, (40, 48, 3))
            picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            picture.save(folder / label / f"{index:02}.png")
    return folder
