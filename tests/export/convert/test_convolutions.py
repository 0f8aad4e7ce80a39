"""The convolutions of an exported file: the same ones in both formats, and no other numbers are touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edge.network.backbone import find_runtime, open_backbone
from edge.network.parity import measure_parity
from export.convert import convolutions as module
from export.convert.converters import to_onnx, to_tflite
from export.convert.convolutions import round_onnx, round_tflite
from export.convert.parity import golden_images
from export.convert.rounding import Inputs

pytestmark = pytest.mark.converters

PHOTOS = golden_images(32, 16, seed=1)
GOLDEN = golden_images(32)
ROUND: dict[str, Callable[..., bytes]] = {"onnx": round_onnx, "tflite": round_tflite}


def arrays(model: bytes) -> dict[str, Any]:
    return {
        tensor.name: numpy_helper.to_array(tensor).copy() for tensor in onnx.load_from_string(model).graph.initializer
    }


class Odd(nn.Module):
    """One layer of each kind: strided and padded as TensorFlow does it, depthwise, dilated, grouped, used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2, stride=2, bias=False)
        self.twice = nn.Conv2d(12, 12, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = nn.functional.pad(image.float().permute(0, 3, 1, 2) / 255, (0, 1, 0, 1))
        x = self.stem(x).relu()
        x = self.dilated(self.depthwise(x).relu()).relu()
        return self.twice(self.twice(self.grouped(x)).relu()).mean((2, 3))


@pytest.fixture(scope="module")
def odd() -> dict[str, bytes]:
    network = Odd().eval()
    return {"onnx": to_onnx(network, 32), "tflite": to_tflite(network, 32)}


def seen(model: bytes, kind: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Inputs]]:
    """Each convolution of a file, with what it sees of the photos."""
    found: list[tuple[Any, Inputs]] = []

    def look(convolutions: list[Any], maps: Any) -> None:
        inputs = [Inputs(one.shape, one.weight.shape[1], one.weight.shape[2:]) for one in convolutions]
        for photo in maps:
            for one, sums in zip(convolutions, inputs, strict=True):
                sums.add(torch.from_numpy(photo[one.source]))
        found.extend(zip(convolutions, inputs, strict=True))

    monkeypatch.setattr(module, "_round", look)
    ROUND[kind](model, PHOTOS)
    return found


def test_both_formats_have_the_same_convolutions_that_see_the_same(
    odd: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = list(zip(*(seen(odd[kind], kind, monkeypatch) for kind in ROUND), strict=False))
    assert len(pairs) >= 3
    for (a, in_onnx), (b, in_tflite) in pairs[:3]:
        assert (a.shape.groups, a.shape.strides, a.shape.dilations) == (
            b.shape.groups,
            b.shape.strides,
            b.shape.dilations,
        )
        np.testing.assert_allclose(a.weight, b.weight, atol=1e-6)
        np.testing.assert_allclose(a.bias, b.bias, atol=1e-6)
        for x, y in zip(in_onnx.moments(True), in_tflite.moments(True), strict=True):
            assert torch.allclose(x, y, atol=1e-4)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_rounded_file_is_as_it_was_but_for_its_numbers(odd: dict[str, bytes], kind: str) -> None:
    before, after = odd[kind], ROUND[kind](odd[kind], PHOTOS)
    assert after != before
    assert len(after) == len(before)
    runtime = find_runtime({kind})
    parity = measure_parity(open_backbone(after, runtime).embed(GOLDEN), open_backbone(before, runtime).embed(GOLDEN))
    assert parity.cosine > 0.999


def test_weights_that_two_layers_share_are_left_alone(odd: dict[str, bytes]) -> None:
    before, after = arrays(odd["onnx"]), arrays(round_onnx(odd["onnx"], PHOTOS))
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert "twice.weight" in same
    assert not {"stem.weight", "grouped.weight"} & same


def test_a_network_without_convolutions_stays() -> None:
    class Plain(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.float().mean((1, 2))

    model = to_onnx(Plain().eval(), 32)
    assert arrays(round_onnx(model, PHOTOS)).keys() == arrays(model).keys()
