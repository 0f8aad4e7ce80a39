"""Weights rounded to eight bits so that what a layer says of photos changes least, not so that each weight does.

Rounding every weight to the nearest step is a poor choice: the errors of one row add up over inputs that rise and fall
together. Where a network compares neighbouring pixels with large weights of both signs, as EfficientNet-Lite0's first
depthwise layer does, this alone leaves 20 dB. So the weights of a row are rounded one after the other, and the error
of each is made good by those that are still free (Frantar et al., "Optimal Brain Compression", NeurIPS 2022, and
"GPTQ", ICLR 2023). With x (d,) the inputs of a row w (d,), its mean μ and its covariance H over photos::

    minimise (w − q)ᵀ H (w − q)      H⁻¹ = UᵀU, U upper triangular      for j = 1 … d:
    q_j = s·round(w_j / s)           w_{j+1…} −= (w_j − q_j) / U_jj · U_{j, j+1…}

What the mean of a row's answer loses is given back by its bias (Nagel et al., "Data-Free Quantization through Weight
Equalization and Bias Correction", ICCV 2019)::

    bias += (w − q)·μ                s = max|w| / 127

The result lies on that grid exactly, so every quantizer that takes s from the largest weight finds it again: the
largest weight of a row stays at ±127. Rows that are dead (the norm folded into them saw no variance: weights of 1e-20
and a constant as the bias) get a step that their bias can be counted in: an int32 counts it in steps of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

LEVELS = 127
FEWEST, MOST = 16, 64  # patches of each picture, by how many numbers one has: neighbouring ones say the same
BLOCK = 32  # columns whose errors wait to be made good by all later ones in one product of matrices
SMALLEST = 1e-12
DAMPING = 0.1  # of the mean variance, added to each: few photos do not know all directions
DEAD = 2.0**-15  # of the bias, what a row's largest weight says at least: 127 · 255 · 2^15 < 2^31


class Shape(NamedTuple):
    """How a convolution walks over its input: groups, and of height and width the stride, the step, the padding."""

    groups: int
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right


class Rounded(NamedTuple):
    """Weights on the grid, as they came, and what the bias (O,) has to be raised by."""

    weight: torch.Tensor
    shift: torch.Tensor


class Inputs:
    """Sums over what a convolution sees: of its patches (G, d), of their products (G, d, d), and the largest value.

    Args:
        shape: Of the convolution.
        inputs: Channels that each output sees.
        kernel: Height and width.
    """

    def __init__(self, shape: Shape, inputs: int, kernel: Sequence[int]) -> None:
        self._shape, self._kernel = shape, tuple(kernel)
        width = inputs * self._kernel[0] * self._kernel[1]
        self._count, self._sum = 0, torch.zeros(shape.groups, width)
        self._origin: torch.Tensor | None = None  # sums about the first picture's mean keep their digits
        self._products = torch.zeros(shape.groups, width, width)
        self._patches = min(max(width // 4, FEWEST), MOST)
        self.peak = 0.0

    def add(self, maps: torch.Tensor) -> None:
        """Count the input (H, W, C) of one more picture."""
        patches = self._seen(maps)
        self.peak = max(self.peak, float(patches.max()), -float(patches.min()))
        if self._origin is None:
            self._origin = patches.mean(1)
        patches = patches - self._origin[:, None, :]
        self._count += patches.shape[1]
        self._sum += patches.sum(1)
        self._products.baddbmm_(patches.transpose(1, 2), patches)

    def moments(self, about_mean: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean (G, d), and the products' mean (G, d, d), about it or about zero; float64."""
        assert self._origin is not None, "no picture was added"
        beside = self._sum.double() / self._count
        mean, products = self._origin.double() + beside, self._products.double() / self._count - _squared(beside)
        return mean, products if about_mean else products + _squared(mean)

    def _seen(self, maps: torch.Tensor) -> torch.Tensor:
        """Some of what the kernel sees, evenly spread: (G, P, d)."""
        groups, strides, dilations, (top, left, bottom, right) = self._shape
        padded = torch.nn.functional.pad(maps, (0, 0, left, right, top, bottom)) if any(self._shape.pads) else maps
        reach = [(size - 1) * step for size, step in zip(self._kernel, dilations, strict=True)]
        rows, columns = (
            (size - far - 1) // stride + 1 for size, far, stride in zip(padded.shape[:2], reach, strides, strict=True)
        )
        chosen = torch.linspace(0, rows * columns - 1, min(self._patches, rows * columns)).long()
        dy, dx = (torch.arange(size) * step for size, step in zip(self._kernel, dilations, strict=True))
        y = (chosen // columns * strides[0])[:, None, None] + dy[:, None]
        x = (chosen % columns * strides[1])[:, None, None] + dx
        return padded[y, x].flatten(1, 2).transpose(1, 2).reshape(len(chosen), groups, -1).transpose(0, 1)


def round_weights(weight: torch.Tensor, bias: torch.Tensor | None, inputs: Inputs, groups: int) -> Rounded:
    """Round the weights of a convolution.

    Args:
        weight: float32 (O, I, h, w), I = channels of the input / groups.
        bias: float32 (O,); None where there is none that could be raised.
        inputs: What it saw of photos.
        groups: Of the convolution.

    Returns:
        Weights on a grid of 255 steps per output channel, in shape (O, I, h, w), and what to add to the bias.
    """
    mean, products = inputs.moments(about_mean=bias is not None)
    rows = weight.double().reshape(groups, len(weight) // groups, -1)
    least = DEAD * (torch.zeros(len(weight)) if bias is None else bias.abs()).double() / max(inputs.peak, SMALLEST)
    largest, pinned = rows.abs().max(2)
    step = torch.maximum(largest, least.reshape(largest.shape)).clamp_min(SMALLEST) / LEVELS
    upper, free, result = _inverse_root(products), rows.clone(), torch.empty_like(rows)
    for start in range(0, rows.shape[2], BLOCK):
        stop = min(start + BLOCK, rows.shape[2])
        error = torch.zeros_like(free[:, :, start:stop])
        for j in range(start, stop):
            level = (free[:, :, j] / step).round().clamp(-LEVELS, LEVELS)
            level = torch.where(pinned == j, torch.where(rows[:, :, j] < 0, -LEVELS, LEVELS), level)
            result[:, :, j] = level * step
            error[:, :, j - start] = (free[:, :, j] - result[:, :, j]) / upper[:, None, j, j]
            free[:, :, j + 1 : stop] -= error[:, :, j - start, None] * upper[:, None, j, j + 1 : stop]
        free[:, :, stop:] -= error @ upper[:, start:stop, stop:]
    shift = ((rows - result) * mean[:, None, :]).sum(2).reshape(-1)
    return Rounded(result.reshape(weight.shape).float(), shift.float())


def _inverse_root(products: torch.Tensor) -> torch.Tensor:
    """U (G, d, d), upper triangular, with UᵀU the inverse of the damped products."""
    spread = products.diagonal(dim1=1, dim2=2).mean(1).clamp_min(SMALLEST)
    damped = products + (DAMPING * spread)[:, None, None] * torch.eye(products.shape[1])
    root: torch.Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    return root


def _squared(rows: torch.Tensor) -> torch.Tensor:
    """The product of each row (d,) with itself: (G, d) → (G, d, d)."""
    return rows[:, :, None] * rows[:, None, :]
