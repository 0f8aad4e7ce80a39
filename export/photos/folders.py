"""Folders of photos, one per label: the label of each photo, the validation photos, the calibration photos.

The layout is that of torchvision's ImageFolder: one folder per label, photos anywhere below it::

    kitchen/cup/1.jpg    kitchen/cup/evening/2.jpg    kitchen/plate/3.png

If the folder has parts (train, val, test) that contain such folders, they are used as parts. Files that are not
pictures are left out and counted (edge/picture/find.py). A photo that cannot be read is skipped and reported, and so is
an exact copy of another: with copies on both sides of the validation split, the accuracy would be too good.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError, ImageError, LabelError
from edge.picture import preprocess
from edge.picture.classes import labelled
from edge.picture.count import Left


@dataclass(frozen=True)
class Photos:
    """The photos of a folder, before any file is opened."""

    labels: tuple[str, ...]  # sorted, cleaned names; a photo's target is an index into them
    paths: tuple[Path, ...]  # N files
    targets: NDArray[np.int32]  # (N,)
    held: NDArray[np.bool_]  # (N,), true for photos in the folder's own validation part
    layout: str  # how the parts of the folder (train, val) were used, in words; "" if it has none
    left: tuple[Left, ...]  # the files that are not among `paths`, with the reason

    @property
    def contradictions(self) -> tuple[Left, ...]:
        """The photos that are in the folders of two labels; none of them is among `paths`."""
        return tuple(one for one in self.left if one.reason == "contradicts")


def find_photos(folder: Path) -> Photos:
    """List the photos of a folder.

    Args:
        folder: A folder with one subfolder per label.

    Returns:
        At least two labels, each with at least one photo.

    Raises:
        DatasetError: The folder is not of this form; the message says what is wrong and what to do.
    """
    try:
        found = labelled(folder)
    except LabelError as error:
        raise DatasetError(error.code, f"{folder}: {error}") from error
    except OSError as error:
        raise DatasetError("folder-unreadable", f"{folder}: {error.strerror}") from error
    if len(found.labels) < 2:
        raise DatasetError(
            "no-label-folders",
            f"{folder} contains photos of only one label ({found.labels[0]!r}); at least two are needed",
        )
    targets = np.array([found.labels.index(name) for name in found.names], np.int32)
    return Photos(found.labels, found.files, targets, np.array(found.held, np.bool_), found.layout, found.left)


def hold_out(targets: NDArray[np.int32], share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Choose the validation photos: the same fraction of each label, at random.

    Each label keeps at least one photo for training; a label with one photo has none for validation.

    Args:
        targets: int (N,).
        share: 0 ≤ share < 1.
        seed: The same seed chooses the same photos.

    Returns:
        bool (N,), true where held out.

    Example:
        >>> int(hold_out(np.zeros(10, np.int32), 0.2).sum())
        2
    """
    random = np.random.default_rng(seed)
    held = np.zeros(len(targets), np.bool_)
    for target in np.unique(targets):
        members = random.permutation(np.flatnonzero(targets == target))
        count = min(int(np.ceil(share * len(members))), len(members) - 1)
        held[members[:count]] = True
    return held


def pick_calibration(targets: NDArray[np.int32], count: int, seed: int = 0) -> NDArray[np.intp]:
    """Choose up to `count` photos, the labels in turn, so that even the smallest label takes part in calibration.

    Returns:
        Indices (≤ count,), neighbours of different classes.
    """
    random = np.random.default_rng(seed)
    ranks = np.empty(len(targets), np.int64)  # of each photo within its class, in random order
    for target in np.unique(targets):
        members = random.permutation(np.flatnonzero(targets == target))
        ranks[members] = np.arange(len(members))
    return np.lexsort((targets, ranks))[:count]


def read_pixels(paths: Sequence[Path], size: int, short_side: int, fit: str = "crop") -> NDArray[np.uint8]:
    """Decode photos: uint8 (N, size, size, 3); those that cannot be read are skipped.

    Args:
        paths: The photos.
        size, short_side, fit: As in `edge.picture.preprocess.load`.
    """
    read = [pixels for pixels in decoded(paths, size, short_side, fit) if not isinstance(pixels, ImageError)]
    return np.stack(read) if read else np.empty((0, size, size, 3), np.uint8)


def decoded(
    paths: Sequence[Path], size: int, short_side: int, fit: str = "crop"
) -> Iterator[NDArray[np.uint8] | ImageError]:
    """Decode photos on all cores, in order: uint8 (size, size, 3), or the error for a photo that cannot be read."""

    def decode(path: Path) -> NDArray[np.uint8] | ImageError:
        try:
            return preprocess.load(path, size, short_side, fit)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(decode, paths)
