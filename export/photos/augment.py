"""The training pictures of `adapt`: in each epoch, every photo is cropped, tilted, mirrored and lit differently.

There is no state: a photo's picture in an epoch depends only on (seed, epoch, photo), not on its batch or process. So a
run that was killed continues as if nothing had happened, and two processes give the result of one.

A photo is cropped by one affine map, target pixel p ∈ [−1, 1]² → source (in the full square)::

    q = R(angle) · diag(flip · s·√a, s/√a) · p + shift        s² the share of the square's area, a its aspect

The device sees the centre square of 7/8 of the side, s² = 0.77; crops are drawn about that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


@dataclass(frozen=True)
class Augment:
    """How much a training picture may differ from the photo."""

    seed: int
    flip: bool = True  # whether mirror images may be shown; not if left and right matter, as for text or hands
    area: tuple[float, float] = (0.45, 1.0)  # smallest and largest fraction of the full square that is cropped
    aspect: float = 1.2  # largest stretch of the crop
    tilt: float = 10.0  # largest rotation in degrees
    light: float = 0.25  # largest relative change of brightness, and of contrast

    def __call__(self, squares: NDArray[np.uint8], photos: NDArray[np.intp], epoch: int, size: int) -> torch.Tensor:
        """Draw pictures.

        Args:
            squares: uint8 (N, S, S, 3), the full squares of these photos.
            photos: int (N,), their numbers in the folder.
            epoch: Number of the epoch.
            size: Pixels per side of the result.

        Returns:
            float32 (N, size, size, 3), 0–255, in the memory layout in which convolutions on processors are fast.

        Example:
            >>> Augment(0)(np.zeros((2, 32, 32, 3), np.uint8), np.arange(2), 0, 28).shape
            torch.Size([2, 28, 28, 3])
        """
        drawn = [self._draw(int(photo), epoch) for photo in photos]
        maps = torch.from_numpy(np.stack([affine for affine, _ in drawn]))
        light = torch.from_numpy(np.array([light for _, light in drawn], np.float32))
        source = torch.from_numpy(squares).permute(0, 3, 1, 2).to(torch.float32)  # channels last in memory
        grid = functional.affine_grid(maps, [len(drawn), 3, size, size], align_corners=False)
        picture = functional.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
        brightness, contrast = light[:, 0, None, None, None], light[:, 1, None, None, None]
        mean = picture.mean((1, 2, 3), keepdim=True)
        picture = ((picture - mean) * contrast + mean * brightness).clamp_(0, 255)
        return picture.permute(0, 2, 3, 1).contiguous()

    def _draw(self, photo: int, epoch: int) -> tuple[NDArray[np.float32], tuple[float, float]]:
        """One photo's affine map (2, 3), and its factors of brightness and contrast."""
        random = np.random.default_rng([self.seed, epoch, photo])
        side = np.sqrt(random.uniform(*self.area))
        stretch = np.sqrt(self.aspect ** random.uniform(-1, 1))
        width, height = min(side * stretch, 1.0), min(side / stretch, 1.0)
        mirror = -1.0 if self.flip and random.random() < 0.5 else 1.0
        angle = np.deg2rad(random.uniform(-self.tilt, self.tilt))
        cos, sin = np.cos(angle), np.sin(angle)
        shift = random.uniform(-1, 1, 2) * (1 - width, 1 - height)
        affine = np.array(
            [[mirror * width * cos, -height * sin, shift[0]], [mirror * width * sin, height * cos, shift[1]]],
            np.float32,
        )
        return affine, (1 + random.uniform(-1, 1) * self.light, 1 + random.uniform(-1, 1) * self.light)
