"""Which of the photos that were read count: of equal files one, and none that lies under two labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.count import Files, Left, count
from edge.errors import DatasetError
from export.dataset import Photos, Skipped


def sort_out(
    paths: Sequence[Path], hashes: Sequence[str], names: Sequence[str]
) -> tuple[NDArray[np.bool_], list[Skipped]]:
    """Keep the first of equal files, and none of those whose labels contradict each other.

    Args:
        paths: N files.
        hashes: N SHA-256 of their bytes.
        names: N labels.

    Returns:
        bool (N,), true where one counts, and why the others do not.

    Example:
        >>> kept, left = sort_out([Path("a"), Path("b"), Path("c")], ["1", "1", "2"], ["cup", "cup", "cup"])
        >>> kept.tolist(), left[0].reason
        ([True, False, True], 'b is an exact copy of a')
    """
    rows: dict[str, list[int]] = {}
    for row, image in enumerate(hashes):
        rows.setdefault(image, []).append(row)
    kept = np.ones(len(paths), np.bool_)
    left: list[Skipped] = []
    for equal in rows.values():
        first, other = equal[0], next((row for row in equal if names[row] != names[equal[0]]), None)
        if other is not None:
            kept[equal] = False
            reason = (
                f"{paths[first]} and {paths[other]} are the same photo under two labels, {names[first]!r} and "
                f"{names[other]!r}; keep it in the folder of its true label"
            )
            left += [Skipped(paths[row], reason, "contradicts") for row in equal]
        else:
            kept[equal[1:]] = False
            left += [
                Skipped(paths[row], f"{paths[row]} is an exact copy of {paths[first]}", "copy") for row in equal[1:]
            ]
    return kept, left


def check_labels(photos: Photos, targets: NDArray[np.int32], skipped: Sequence[Skipped]) -> None:
    """Refuse where a label has no photo left, with the reason of its own photos.

    Args:
        photos: All that were found.
        targets: int32 (N,), of those that count.
        skipped: Why the others do not.

    Raises:
        DatasetError: A label has none.
    """
    of = {path: int(target) for path, target in zip(photos.paths, photos.targets, strict=True)}
    for target, label in enumerate(photos.labels):
        if target not in targets:
            first = next((one for one in skipped if of.get(one.path) == target), None)
            verb = "used" if first and first.kind == "contradicts" else "read"
            reason = first.reason if first else "add photos"
            raise DatasetError(f"no photo of class {label!r} can be {verb}; {reason}")


def counted(photos: Photos, read: int, skipped: Sequence[Skipped]) -> Files:
    """Count what became of all files of a folder."""
    own = set(photos.paths)  # others are generic photos, which are counted elsewhere
    return count(read, [*photos.left, *[Left(one.path, one.kind) for one in skipped if one.path in own]])
