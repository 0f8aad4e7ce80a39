"""Rounding: on a grid that every quantizer finds again, with what photos tell about the layer's answers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from export.convert.rounding import DEAD, LEVELS, Inputs, Rounded, Shape, round_weights

pytestmark = pytest.mark.converters
POINTWISE = Shape(1, (1, 1), (1, 1), (0, 0, 0, 0))


def seen(values: torch.Tensor) -> Inputs:
    """What a pointwise convolution sees of pictures (N, C) of one pixel each."""
    inputs = Inputs(POINTWISE, values.shape[1], (1, 1))
    for row in values:
        inputs.add(row.reshape(1, 1, -1))
    return inputs


def related(seed: int, channels: int = 12) -> torch.Tensor:
    """Inputs that rise and fall together, about a mean that is large beside that."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(3, channels, generator=random)
    return torch.randn(400, 3, generator=random) @ mix + 0.1 * torch.randn(400, channels, generator=random) + 5


def rounded(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Rounded:
    return round_weights(weight[:, :, None, None], bias, seen(values), 1)


@given(st.integers(0, 999), st.booleans())
def test_rounded_weights_lie_on_the_grid_of_their_largest(seed: int, has_bias: bool) -> None:
    weight = torch.randn(5, 12, generator=torch.Generator().manual_seed(seed))
    result = rounded(related(seed), weight, torch.zeros(5) if has_bias else None).weight.flatten(1)
    levels = result / result.abs().amax(1, keepdim=True) * LEVELS
    assert (levels - levels.round()).abs().max() < 1e-3
    assert torch.allclose(result.abs().amax(1), weight.abs().amax(1))


@given(st.integers(0, 999))
def test_answers_change_less_than_with_each_weight_rounded_to_the_nearest_step(seed: int) -> None:
    values, weight = related(seed), torch.randn(8, 12, generator=torch.Generator().manual_seed(seed))
    result = rounded(values, weight, torch.zeros(8))
    step = weight.abs().amax(1, keepdim=True) / LEVELS
    nearest = (weight / step).round() * step

    def off(other: torch.Tensor, shift: torch.Tensor | float) -> float:
        return float((values @ (other - weight).T + shift).square().mean())

    assert off(result.weight.flatten(1), result.shift) < off(nearest, -(values @ (nearest - weight).T).mean(0))


@given(st.integers(0, 999))
def test_the_mean_answer_stays(seed: int) -> None:
    values, weight = related(seed), torch.randn(8, 12, generator=torch.Generator().manual_seed(seed))
    result = rounded(values, weight, torch.zeros(8))
    assert torch.allclose(
        values.mean(0) @ result.weight.flatten(1).T + result.shift, values.mean(0) @ weight.T, atol=1e-3
    )


@given(st.integers(0, 999), st.sampled_from([0.0, 1e-6, 1e-3]), st.booleans())
def test_inputs_that_hardly_vary_are_rounded_too(seed: int, spread: float, has_bias: bool) -> None:
    random = torch.Generator().manual_seed(seed)
    values = 1000 + spread * torch.randn(60, 40, generator=random)
    weight = torch.randn(4, 40, generator=random)
    result = rounded(values, weight, torch.zeros(4) if has_bias else None)
    answers, exact = values @ result.weight.flatten(1).T + result.shift * has_bias, values @ weight.T
    assert float((answers - exact).abs().max()) < 1000 * float(weight.abs().max()) / LEVELS


@given(st.floats(-8, 8), st.floats(0, 1e-15), st.floats(1e-3, 100))
def test_a_dead_rows_bias_can_be_counted_in_int32(bias: float, largest: float, peak: float) -> None:
    """An int32 counts a bias in steps of the input, its range over 255, times steps of the weights."""
    values = torch.rand(50, 4) * peak
    values[0, 0] = peak
    weight = torch.full((1, 4), largest)
    result = rounded(values, weight, torch.tensor([bias]))
    steps = abs(bias) * LEVELS * 255 / (float(result.weight.abs().max()) * peak)
    assert steps < 2**31
    answers = values @ result.weight.flatten(1).T + result.shift
    assert float(answers.abs().max()) <= 2 * DEAD * abs(bias) + 1e-6


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
@pytest.mark.parametrize("dilations", [(1, 1), (1, 2)])
def test_inputs_are_what_torch_unfolds(groups: int, strides: tuple[int, int], dilations: tuple[int, int]) -> None:
    maps = torch.randn(6, 5, 6, generator=torch.Generator().manual_seed(0))
    kernel, pads = (3, 2), (1, 0)
    patches = nn.functional.unfold(maps[None], kernel, dilations, pads, strides)[0]
    patches = patches.reshape(groups, -1, patches.shape[1]).double()
    inputs = Inputs(Shape(groups, strides, dilations, (pads[0], pads[1], pads[0], pads[1])), 6 // groups, kernel)
    inputs._patches = 1000
    inputs.add(maps.permute(1, 2, 0))
    mean, products = inputs.moments(about_mean=False)
    assert torch.allclose(mean, patches.mean(2), atol=1e-6)
    assert torch.allclose(products, patches @ patches.transpose(1, 2) / patches.shape[2], atol=1e-5)
