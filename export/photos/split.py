"""The validation split: the same fraction of every label, with related photos on the same side.

Photos of one burst are nearly the same picture. If some of them were used for training and others for validation, the
accuracy would measure how well a network remembers. A *group* of related photos is therefore kept together. Groups are
recognised by the file's name, its folder, or the time in it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.errors import DatasetError

GROUPINGS = ("prefix", "folder", "session")
PAUSE = 60.0  # seconds between two photos, from which another session begins
_TIME_TAKEN = 36867  # EXIF DateTimeOriginal
_EXIF = 34665  # the block that holds it
_TRAILING_NUMBER = re.compile(r"[\s_.()-]*\d+\)?$")


def check_grouping(by: str) -> str:
    """Check and return a value of `--group-by`.

    Raises:
        DatasetError: The value is neither a word of `GROUPINGS` nor a regular expression.

    Example:
        >>> check_grouping(r"cam(\\d+)")
        'cam(\\\\d+)'
    """
    try:
        re.compile(by)
    except re.error as error:
        raise DatasetError(
            "grouping-invalid", f"{by!r} is neither one of {', '.join(GROUPINGS)} nor a regular expression ({error})"
        ) from None
    return by


def group_photos(paths: Sequence[Path], by: str | None, folder: Path | None = None) -> NDArray[np.int64]:
    """Number the groups of photos.

    Args:
        paths: N files.
        by: `prefix`: the name without its last number, within its folder (`cam1_0007.jpg` → `cam1`); `folder`: the
            folder that the file lies in; `session`: taken within a minute of another by the time in the file; else a
            regular expression, searched in the path below `folder`, whose first group (or whole match) is the same for
            photos of one group; None for no groups.
        folder: The folder with one subfolder per label.

    Returns:
        int64 (N,), numbered by first appearance.

    Raises:
        DatasetError: No photo matches the expression, or contains the time when it was taken.

    Example:
        >>> group_photos([Path("cup/a_1.jpg"), Path("cup/b_1.jpg"), Path("cup/a_2.jpg")], "prefix").tolist()
        [0, 1, 0]
    """
    if by == "prefix":
        keys = [prefix(path) for path in paths]
    elif by == "folder":
        keys = [str(path.parent) for path in paths]
    elif by == "session":
        keys = _sessions(paths)
    elif by is not None:
        keys = _matches(paths, by, folder)
    else:
        keys = [str(path) for path in paths]
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def prefix(path: Path) -> str:
    """A file's path without its last number and suffix.

    Example:
        >>> prefix(Path("cup/cam1_0007.jpg")), prefix(Path("cup/0007.jpg"))
        ('cup/cam1', 'cup/')
    """
    return f"{path.parent}/{_TRAILING_NUMBER.sub('', path.stem)}"


def in_groups(groups: NDArray[np.int64]) -> NDArray[np.int32]:
    """Renumber groups as in a bundle: int32 (N,), −1 for a photo without a group.

    Example:
        >>> in_groups(np.array([4, 7, 4, 5])).tolist()
        [0, -1, 0, -1]
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    numbers = np.where(counts > 1, np.cumsum(counts > 1) - 1, -1)
    return numbers[inverse].astype(np.int32)


def lone_labels(targets: NDArray[np.int32], groups: NDArray[np.int64], labels: Sequence[str]) -> tuple[str, ...]:
    """The labels whose photos are all in one group: if it were held out, none would be left for training.

    Example:
        >>> lone_labels(np.array([0, 0, 1]), np.array([0, 1, 2]), ["cup", "plate"])
        ('plate',)
    """
    return tuple(label for target, label in enumerate(labels) if len(np.unique(groups[targets == target])) < 2)


def split_groups(
    targets: NDArray[np.int32],
    groups: NDArray[np.int64],
    labels: Sequence[str],
    share: float,
    seed: int = 0,
    lenient: bool = False,
) -> NDArray[np.bool_]:
    """Choose the validation photos: about the same fraction of each label, whole groups only.

    Groups are tried in random order, those of the rarest label first. Each is held out if this brings its labels nearer
    to their fraction. Every label keeps photos on both sides.

    Args:
        targets: int32 (N,).
        groups: int64 (N,).
        labels: Names of the classes, for the error.
        share: 0 < share < 1.
        seed: The same seed chooses the same photos.
        lenient: Hold nothing out of a label with one group, instead of refusing it.

    Returns:
        bool (N,), true for validation photos.

    Raises:
        DatasetError: A label has only one photo, or only one group.

    Example:
        >>> split_groups(np.array([0] * 4 + [1] * 4), np.arange(8) // 2, ["a", "b"], 0.5).tolist().count(True)
        4
    """
    counts = np.zeros((int(groups.max()) + 1, len(labels)), np.int64)
    np.add.at(counts, (groups, targets), 1)
    spread = (counts > 0).sum(axis=0)
    few = int(spread.argmin())
    if spread[few] < 2 and not lenient:
        what = f"{counts[:, few].sum()} photo{'s' * int(counts[:, few].sum() != 1)} in one group"
        raise DatasetError(
            "grouping-too-coarse",
            f"label {labels[few]!r} has {what}, but two groups are needed: one for training and one for validation",
        )
    wanted = np.maximum(share * counts.sum(axis=0), 0.5)
    random = np.random.default_rng(seed)
    rarest = np.array([counts.sum(axis=0)[row > 0].min() for row in counts])
    order = sorted(random.permutation(len(counts)).tolist(), key=lambda group: int(rarest[group]))
    held, chosen = np.zeros(len(labels)), np.zeros(len(counts), np.bool_)
    left = spread.copy()  # groups of each class that are not held out
    for group in order:
        row, inside = counts[group], counts[group] > 0
        nearer = np.abs(held + row - wanted)[inside].sum() < np.abs(held - wanted)[inside].sum()
        if (nearer or (held[inside] == 0).any()) and (left[inside] > 1).all():
            held, chosen[group] = held + row, True
            left -= inside
    return chosen[groups]


def _matches(paths: Sequence[Path], expression: str, folder: Path | None) -> list[str]:
    """A key for each photo; one that does not match has a key of its own."""
    pattern, keys, found = re.compile(check_grouping(expression)), [], 0
    for path in paths:
        below = path.relative_to(folder) if folder and path.is_relative_to(folder) else path
        match = pattern.search(below.as_posix())
        key = match and (match[1] if pattern.groups else match[0])
        found += key is not None
        keys.append(f"/{path}" if key is None else f"={key}")
    if not found:
        raise DatasetError(
            "grouping-invalid",
            f"--group-by {expression!r} is read as a regular expression and matches none of the {len(paths)} photos, "
            f"such as {paths[0].name}; give one that does, or {', '.join(GROUPINGS)}",
        )
    return keys


def _sessions(paths: Sequence[Path]) -> list[str]:
    """A key for each photo; one without a time has a key of its own."""
    keys = [str(path) for path in paths]
    times = sorted((time, row) for row, path in enumerate(paths) if (time := time_taken(path)) is not None)
    if not times and paths:
        raise DatasetError(
            "grouping-invalid",
            f"--group-by session: none of the {len(paths)} photos contains the time it was taken; use prefix, "
            "folder or a "
            "regular expression",
        )
    for (earlier, before), (later, row) in itertools.pairwise(times):
        if later - earlier <= PAUSE:
            keys[row] = keys[before]
    return keys


def time_taken(path: Path) -> float | None:
    """The time when a photo was taken, in seconds, from its file; None if it is not stored there."""
    try:
        with Image.open(path) as image:
            text = str(image.getexif().get_ifd(_EXIF).get(_TIME_TAKEN, ""))
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S").timestamp()
    except Exception:  # a damaged file is reported where its pixels are read
        return None
