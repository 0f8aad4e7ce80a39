"""What the workstation's tests share: one sample, one build of it, and a network that is exported in seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from edge.bundle.archive import Bundle
    from export.network.backbones import Loaded

SHARED = Path(__file__).parents[3] / "shared"


class Listener:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.lines: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def doing(self, what: str) -> None:
        self.stages.append(what)

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def said(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights beside the project, which a plain clone does not have."""
    if not (SHARED / "weights").is_dir():
        pytest.skip("needs ../shared, which is not part of the project")
    return SHARED


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from export.photos.sample import write_sample

    folder = tmp_path_factory.mktemp("sample") / "surfaces"
    write_sample(folder)
    return folder


@pytest.fixture(scope="session")
def embedded() -> Loaded:
    from export.network.backbones import load

    return load("embedded")


class Surfaces(NamedTuple):
    """A bundle of the sample's photos, with the embedded backbone for both runtimes in both precisions."""

    bundle: Bundle


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Surfaces:
    """The one that make has built by `edge-export build`, or one that is built here, which takes half a minute."""
    from edge.bundle.archive import read
    from export.bundle.build import build
    from export.bundle.plan import Plan

    if os.environ.get("EDGE_SURFACES"):
        return Surfaces(read(request.getfixturevalue("surfaces") / "surfaces.edge"))
    output = tmp_path_factory.mktemp("built") / "surfaces.edge"
    plan = Plan(sample / "photos", output, "2026-01-01T00:00:00+00:00", "embedded")
    return Surfaces(build(plan, Listener()).bundle)


@pytest.fixture(scope="session")
def golden() -> NDArray[np.uint8]:
    from export.convert.parity import golden_images

    return golden_images(224)


@pytest.fixture(scope="session")
def tiny() -> nn.Module:
    """A network that is exported in seconds: 32 pixels, 12 features, plain and depthwise convolutions, ReLU6."""
    import torch
    from torch import nn

    from export.network.embedder import embedder

    torch.manual_seed(0)
    return embedder(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.ReLU6(),
            nn.Conv2d(8, 12, 1),
            nn.ReLU(),
        )
    )


@pytest.fixture(scope="session")
def tiny_files(tiny: nn.Module, exports: Path) -> dict[str, bytes]:
    from export.convert.converters import to_onnx, to_tflite
    from tests.once import once

    return {"onnx": once(to_onnx, exports)(tiny, 32), "tflite": once(to_tflite, exports)(tiny, 32)}


@pytest.fixture
def photo_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make class folders of small pictures: `photo_folder(cup=3, plate=2)`."""
    import numpy as np
    from PIL import Image

    def make(**counts: int) -> Path:
        random = np.random.default_rng(0)
        for label, count in counts.items():
            (tmp_path / "photos" / label).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{index}.png")
        return tmp_path / "photos"

    return make
