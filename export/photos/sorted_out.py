"""Decide which of the decoded photos are used: of equal files, the first one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.answers import Files
from edge.errors import DatasetError
from edge.picture.count import Left, count
from export.photos.folders import Photos


def sort_out(paths: Sequence[Path], hashes: Sequence[str]) -> tuple[NDArray[np.bool_], list[Left]]:
    """Keep the first of equal files.

    Args:
        paths: N files.
        hashes: N SHA-256 of their bytes.

    Returns:
        bool (N,), true for the photos that are used, and the reasons for the others.

    Example:
        >>> kept, left = sort_out([Path("a"), Path("b"), Path("c")], ["1", "1", "2"])
        >>> kept.tolist(), left[0].detail
        ([True, False, True], 'b is an exact copy of a')
    """
    first: dict[str, int] = {}
    kept = np.array([first.setdefault(image, row) == row for row, image in enumerate(hashes)], np.bool_)
    copies = [
        Left(path, "copy", f"{path} is an exact copy of {paths[first[image]]}")
        for path, image, keep in zip(paths, hashes, kept, strict=True)
        if not keep
    ]
    return kept, copies


def check_labels(photos: Photos, targets: NDArray[np.int32], skipped: Sequence[Left]) -> None:
    """Raise an error if a label has no photo left.

    Args:
        photos: All photos that were found.
        targets: int32 (N,), of the photos that are used.
        skipped: The other photos, with reasons.

    Raises:
        DatasetError: A label has no photo; the message contains the reason of one of its photos.
    """
    of = {path: int(target) for path, target in zip(photos.paths, photos.targets, strict=True)}
    for target, label in enumerate(photos.labels):
        if target not in targets:
            first = next((one for one in skipped if of.get(one.path) == target), None)
            raise DatasetError(
                "too-few-photos", f"no photo of label {label!r} can be read; {first.detail if first else 'add photos'}"
            )


def counted(photos: Photos, read: int, skipped: Sequence[Left]) -> Files:
    """Count the files of a folder that were read and left out."""
    own = set(photos.paths)  # others are generic photos, which are counted elsewhere
    return count(read, [*photos.left, *[one for one in skipped if one.path in own]])
