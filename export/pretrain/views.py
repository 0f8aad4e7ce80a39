"""Pictures for pretraining, one array per source, and the random views of them that make a batch.

A view is a crop of random place, size and shape, perhaps mirrored, in slightly different light. If the pictures of a
source are smaller than the views, they would only be shown enlarged, without sharp detail; so every other view of it is
cropped from a mosaic of k × k pictures, which keeps their sharpness.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from edge.answers import Files
from edge.errors import DatasetError, ImageError
from edge.picture.count import Left, count
from export.photos.folders import decoded, find_photos

LARGEST = 256  # pixels per side that photos from folders are kept at; they are kept smaller where most are smaller
AREA = 0.25, 1.0  # of the picture that a view shows
SHAPE = 3 / 4, 4 / 3  # width : height of what a view shows
LIGHT = 0.6, 1.4  # factors of brightness, contrast and saturation
NO_LABEL = -1
NONE = Files(0, 0)


@dataclass(frozen=True)
class Pictures:
    """One source."""

    images: NDArray[np.uint8]  # (N, S, S, 3), RGB
    labels: NDArray[np.int64] | None  # (N,)
    classes: int  # number of labels; 0 if there are none
    files: Files = NONE  # the files of a folder that were read and left out

    @classmethod
    def read(cls, path: Path) -> Pictures:
        """Read folders of photos, one per label, or a packed array.

        An array is an `.npz` file with `images` (N, S, S, 3) and perhaps `labels` (N,), or an `.npy` file of images,
        which stays on the disk, so that several processes share its memory. Photos that cannot be read are left out.

        Raises:
            DatasetError: The path is neither.
        """
        if path.is_dir():
            return cls._read_folder(path)
        labels = None
        try:
            if path.suffix == ".npy":
                images = np.load(path, mmap_mode="r", allow_pickle=False)
            else:
                with np.load(path, allow_pickle=False) as file:
                    images = file["images"]
                    labels = file["labels"].astype(np.int64) if "labels" in file else None
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, SyntaxError, TokenError) as error:
            raise DatasetError(
                "arrays-invalid",
                f"{path} is neither a folder of label folders nor an .npz with 'images', nor an .npy ({error})",
            ) from error
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise DatasetError(
                "arrays-invalid", f"{path}: images are {images.dtype} {images.shape}, expected uint8 (N, S, S, 3)"
            )
        if labels is not None and (labels.shape != images.shape[:1] or not len(labels) or labels.min() < 0):
            raise DatasetError(
                "arrays-invalid",
                f"{path}: there are {len(images)} images but labels of shape {labels.shape}; give one ≥ 0 for each",
            )
        return cls(images, labels, 0 if labels is None else int(labels.max()) + 1)

    @classmethod
    def _read_folder(cls, path: Path) -> Pictures:
        photos = find_photos(path)
        side = min(LARGEST, _usual_side(photos.paths))
        images = np.empty((len(photos.paths), side, side, 3), np.uint8)
        kept = np.zeros(len(images), np.bool_)
        left = list(photos.left)
        for row, pixels in enumerate(decoded(photos.paths, side, side)):
            if isinstance(pixels, ImageError):
                left.append(Left(photos.paths[row], pixels.reason))
            else:
                images[row], kept[row] = pixels, True
        if not kept.any():
            raise DatasetError("too-few-photos", f"no photo in {path} can be read; add some")
        files = count(int(kept.sum()), left)
        return cls(images[kept], photos.targets[kept].astype(np.int64), len(photos.labels), files)


@dataclass(frozen=True)
class Batch:
    """N views: pixels float32 (N, 3, H, H), 0 to 1; labels int64 (N,)."""

    pixels: torch.Tensor
    labels: torch.Tensor


def draw(
    sources: Sequence[Pictures],
    count: int,
    size: int,
    random: torch.Generator,
    mosaics: bool = True,
    part: slice = slice(None),
) -> Batch:
    """Draw random views, the sources in turn; the labels of the second source follow those of the first.

    Args:
        sources: At least one.
        count: Number of views.
        size: Pixels per side.
        random: Source of all random numbers.
        mosaics: Whether every other view of small pictures comes from a mosaic, which has no label.
        part: The views to compute.

    Returns:
        The views of `part`; the label is −1 if there is none.
    """
    chosen = torch.randperm(count, generator=random)[part]  # so that each process gets some of everything
    wanted = torch.zeros(count, dtype=torch.bool)
    wanted[chosen] = True
    pixels, labels, offset, start = [], [], 0, 0
    for place, source in enumerate(sources):
        share = len(range(place, count, len(sources)))
        tiles = -(-size // source.images.shape[1])
        mixed = share // 2 if mosaics and tiles > 1 else 0
        for views, side in ((share - mixed, 1), (mixed, tiles)):
            if not views:
                continue
            mine = wanted[start : start + views]
            start += views
            every = torch.randint(len(source.images), (views, side * side), generator=random)
            crops, light = _view(views, random)
            rows = every[mine].numpy()
            if not len(rows):
                continue
            pixels.append(_seen(source.images[rows], size, crops[mine], light[:, mine]))
            if source.labels is None or side > 1:
                labels.append(torch.full((len(rows),), NO_LABEL))
            else:
                labels.append(torch.from_numpy(source.labels[rows[:, 0]] + offset))
        offset += source.classes
    order = (wanted.cumsum(0) - 1)[chosen]
    together = torch.cat(pixels)[order]
    return Batch(together.contiguous(memory_format=torch.channels_last), torch.cat(labels)[order])


def _usual_side(paths: Sequence[Path]) -> int:
    """The median of the short sides of a hundred photos, in pixels."""
    sides = []
    for path in paths[:: max(1, len(paths) // 100)]:
        try:
            with Image.open(path) as image:
                sides.append(min(image.size))
        except (OSError, Image.DecompressionBombError):
            continue
    return int(np.median(sides)) if sides else LARGEST


def _view(n: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random affine maps (n, 2, 3), and random factors (3, n) of brightness, contrast and saturation."""

    def between(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=random)

    area, shape = between(*AREA), torch.exp(between(*(float(np.log(s)) for s in SHAPE)))
    width, height = (area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)
    mirror = torch.where(torch.rand(n, generator=random) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    across = torch.stack([width * mirror, zero, (1 - width) * between(-1, 1)], 1)
    down = torch.stack([zero, height, (1 - height) * between(-1, 1)], 1)
    return torch.stack([across, down], 1), torch.stack([between(*LIGHT) for _ in range(3)])


def _seen(tiles: NDArray[np.uint8], size: int, crops: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """One view of every canvas: uint8 (n, k², S, S, 3) → float32 (n, 3, size, size), 0 to 1."""
    n, squares, side = tiles.shape[:3]
    k = round(squares**0.5)
    canvas = tiles.reshape(n, k, k, side, side, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, k * side, k * side, 3)
    pictures = torch.from_numpy(canvas).permute(0, 3, 1, 2).float() / 255
    brightness, contrast, saturation = light.view(3, n, 1, 1, 1)
    grid = functional.affine_grid(crops, [n, 3, size, size], align_corners=False)
    seen = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    seen = seen * brightness
    seen = torch.lerp(seen.mean((1, 2, 3), keepdim=True), seen, contrast)
    return torch.lerp(seen.mean(1, keepdim=True), seen, saturation).clamp(0, 1)
