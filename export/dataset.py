"""Class folders of photos: which photo has which label, which are held out, and their pixels.

The layout is that of torchvision's ImageFolder: one folder per label, photos anywhere below it::

    kitchen/cup/1.jpg    kitchen/cup/evening/2.jpg    kitchen/plate/3.png

Hidden files and folders, and files that are no pictures by their suffix, are passed over. A photo that cannot be read
is skipped and reported, and so is the exact copy of another (same bytes): a copy on both sides of a hold-out would
flatter the figure.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge import preprocess
from edge.errors import DatasetError, ImageError, LabelError
from edge.labels import clean

Result = TypeVar("Result")


@dataclass(frozen=True)
class Photos:
    """What is in the folder, before a single file is opened.

    Args:
        labels: Sorted, cleaned names; a photo's target is an index into them.
        paths: N files.
        targets: int32 (N,).
    """

    labels: tuple[str, ...]
    paths: tuple[Path, ...]
    targets: NDArray[np.int32]


@dataclass(frozen=True)
class Skipped:
    """A photo that was left out, and the one line that says why; a copy was not needed, others could not be read."""

    path: Path
    reason: str
    is_copy: bool = False


@dataclass(frozen=True)
class Picture:
    """One photo as network input: uint8 (size, size, 3), and its place in `Photos`."""

    index: int
    pixels: NDArray[np.uint8]


def find_photos(folder: Path) -> Photos:
    """List a folder of class folders.

    Args:
        folder: Holds one folder per label.

    Returns:
        At least two labels, each with at least one photo.

    Raises:
        DatasetError: If that is not what the folder holds; the message says what is wrong and what to do.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"{folder} {'is a file' if folder.exists() else 'does not exist'}; name a folder of class folders"
        )
    try:
        children = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read ({error.strerror}); check its permissions") from error
    if not children:
        raise DatasetError(
            f"{folder} holds no class folders; put the photos of each label into a folder of its own: {folder}/LABEL/…"
        )
    by_label: dict[str, Path] = {}
    for child in children:
        label = _label(child)
        if label in by_label:
            raise DatasetError(f"folders {by_label[label].name!r} and {child.name!r} both mean {label!r}; merge them")
        by_label[label] = child
    labels = tuple(sorted(by_label))
    found = {label: _pictures(by_label[label], label) for label in labels}
    if len(labels) < 2:
        raise DatasetError(f"{folder} holds one class only ({labels[0]!r}); at least two are needed to tell apart")
    return Photos(
        labels,
        tuple(path for label in labels for path in found[label]),
        np.repeat(np.arange(len(labels), dtype=np.int32), [len(found[label]) for label in labels]),
    )


def hold_out(targets: NDArray[np.int32], share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Choose which photos are held out: the same share of each class, at random by seed.

    A class keeps at least one photo to learn from; a class of one photo is not held out.

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
    """Choose up to `count` photos with the classes in turn, so that even the smallest calibrates the ranges.

    Returns:
        Indices (≤ count,), neighbours of different classes.
    """
    random = np.random.default_rng(seed)
    ranks = np.empty(len(targets), np.int64)  # of each photo within its class, in random order
    for target in np.unique(targets):
        members = random.permutation(np.flatnonzero(targets == target))
        ranks[members] = np.arange(len(members))
    return np.lexsort((targets, ranks))[:count]


def read_photos(
    photos: Photos, indices: NDArray[np.intp], size: int, short_side: int, skip: Callable[[Skipped], None]
) -> Iterator[Picture]:
    """Decode photos one after the other, a few ahead of the reader on threads of their own.

    Args:
        photos: The folder.
        indices: Which of them, and in which order.
        size, short_side: Pixels, as `edge.preprocess.load` takes them.
        skip: Called for each photo left out: unreadable, or the exact copy of an earlier one of `indices`.

    Yields:
        The others, in order.
    """
    seen: dict[str, Path] = {}

    def decode(index: int) -> tuple[str, NDArray[np.uint8]] | Skipped:
        path = photos.paths[index]
        try:
            data = preprocess.read(path)
            return hashlib.sha256(data).hexdigest(), preprocess.decode(data, str(path), size, short_side)
        except ImageError as error:
            return Skipped(path, str(error))

    for index, result in _ahead(decode, [int(index) for index in indices]):
        if isinstance(result, Skipped):
            skip(result)
            continue
        digest, pixels = result
        first = seen.setdefault(digest, photos.paths[index])
        if first != photos.paths[index]:
            skip(Skipped(photos.paths[index], f"{photos.paths[index]} is an exact copy of {first}", is_copy=True))
            continue
        yield Picture(index, pixels)


def _ahead(work: Callable[[int], Result], items: list[int]) -> Iterator[tuple[int, Result]]:
    """Each item with its result, in order, while threads work a bounded number of items ahead."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[tuple[int, Future[Result]]] = deque()
        try:
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) > 4 * workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _label(folder: Path) -> str:
    """A class folder's name as a label."""
    try:
        return clean(folder.name)
    except LabelError as error:
        raise DatasetError(f"class folder {folder.name[:40]!r}: {error}") from error


def _pictures(folder: Path, label: str) -> list[Path]:
    try:
        return preprocess.find(folder)
    except ImageError as error:
        raise DatasetError(f"class {label!r} has no photo ({error}); add some or delete the folder") from error
