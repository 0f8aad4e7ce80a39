"""The photos to adapt to, decoded once and kept in memory, and the accuracy of a head on their embeddings.

A photo takes about 350 kB at 224 pixels, so ten thousand take 3.5 GB.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.answers import Files
from edge.errors import ImageError
from edge.head import fit
from edge.head.linear import Head
from edge.metrics.binomial import tail
from edge.picture import preprocess
from edge.picture.count import Left
from export.network.form import CROP, short_side
from export.photos.folders import Photos
from export.photos.sorted_out import check_labels, counted, sort_out
from export.photos.split import group_photos

if TYPE_CHECKING:
    import torch

Inputs = Callable[[NDArray[np.intp]], Any]  # rows → what the network takes

BATCH = 32
ENOUGH = 30  # photos of the smallest class, below which adapting would remember rather than learn
SMALLEST = 1e-9  # probability that a logarithm is taken of


@dataclass(frozen=True)
class Material:
    """Photos in memory."""

    labels: tuple[str, ...]  # C names
    paths: tuple[Path, ...]  # N files
    hashes: tuple[str, ...]  # N SHA-256 of their bytes
    # (N, S, S, 3), a little larger than `centres`; training pictures are cropped from these; for `--fit crop`, the
    # centre square of the whole short side
    squares: NDArray[np.uint8]
    centres: NDArray[np.uint8]  # (N, size, size, 3), as the device sees them
    targets: NDArray[np.int32]  # (N,)
    groups: NDArray[np.int64]  # (N,), equal for related photos (`export.photos.split.group_photos`)
    held: NDArray[np.bool_]  # (N,), true for photos in the folder's own validation part
    skipped: tuple[Left, ...]  # photos that could not be read, copies, and photos under two labels
    files: Files  # what became of all files of the folder

    @property
    def size(self) -> int:
        """Pixels per side of the network's input."""
        return int(self.centres.shape[1])

    @property
    def names(self) -> tuple[str, ...]:
        """N labels by name."""
        return tuple(self.labels[target] for target in self.targets)


@dataclass(frozen=True)
class Measured:
    """The answers of the device's head to each photo, with that photo and its group left out.

    Photos that the network was trained on are used to train the head but have no part in choices, as on the device, and
    the answers to them are not fair.
    """

    labels: tuple[str, ...]  # C names, in the order of the columns
    probabilities: NDArray[np.float32]  # (N, C)
    right: NDArray[np.bool_]  # (N,)
    surprise: NDArray[np.float64]  # (N,), log-loss of the true label in nats
    held: NDArray[np.bool_]  # (N,), the photos held out
    groups: NDArray[np.int64]  # (N,), equal for photos that were left out together

    @property
    def accuracy(self) -> float:
        """Fraction of the held-out photos that are classified correctly."""
        return float(self.right[self.held].mean())

    @property
    def loss(self) -> float:
        """Mean log-loss of the held-out photos in nats."""
        return float(self.surprise[self.held].mean())


def read_material(
    photos: Photos,
    size: int,
    step: Callable[[int, int], None],
    group_by: str | None = None,
    folder: Path | None = None,
    fit: str = "crop",
    crop: float = CROP,
) -> Material:
    """Decode all photos; those that cannot be read, and copies, are skipped and listed.

    Args:
        size: Pixels per side of the network's input.
        step: Called with (done, total).
        group_by, folder: How related photos are grouped, as in `export.photos.split.group_photos`.
        fit: How photos are made square: a name of `edge.bundle.manifest.FITS`.
        crop: The fraction of a photo's centre square that the network sees.

    Raises:
        DatasetError: A label would have no photo.
    """
    side = short_side(size)

    def read(path: Path) -> _Read | ImageError:
        try:
            data = preprocess.read(path)
            square = preprocess.decode(data, str(path), side, side, fit=fit)
            centre = preprocess.decode(data, str(path), size, short_side(size, crop), fit=fit)
            return _Read(hashlib.sha256(data).hexdigest(), square, centre)
        except ImageError as error:
            return error

    rows: list[int] = []
    found: list[_Read] = []
    skipped = list(photos.contradictions)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, one in enumerate(pool.map(read, photos.paths)):
            step(row + 1, len(photos.paths))
            if isinstance(one, ImageError):
                skipped.append(Left(photos.paths[row], one.reason, str(one)))
            else:
                rows.append(row)
                found.append(one)
    kept, copies = sort_out([photos.paths[row] for row in rows], [one.sha256 for one in found])
    skipped += copies
    chosen, found = np.array(rows, np.int64)[kept], [one for one, keep in zip(found, kept, strict=True) if keep]
    targets = photos.targets[chosen]
    check_labels(photos, targets, skipped)
    paths = tuple(photos.paths[row] for row in chosen.tolist())
    return Material(
        photos.labels,
        paths,
        tuple(one.sha256 for one in found),
        np.stack([one.square for one in found]),
        np.stack([one.centre for one in found]),
        targets,
        group_photos(paths, group_by, folder),
        photos.held[chosen],
        tuple(skipped),
        counted(photos, len(paths), skipped),
    )


def embed_rows(body: torch.nn.Module, inputs: Inputs, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Run a network over photos in batches: float32 (len(rows), D), in their order."""
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            parts.append(body(inputs(rows[start : start + BATCH])).float().cpu().numpy())
    return np.concatenate(parts)


def measure(
    embeddings: NDArray[np.float32],
    material: Material,
    held: NDArray[np.bool_],
    trained_on: NDArray[np.bool_] | tuple[()] = (),
) -> Measured:
    """Fit the device's head to all photos, and classify each one as if it had not been taught.

    Args:
        embeddings: (N, D).
        held: bool (N,), the photos held out.
        trained_on: bool (N,), the photos that the network was trained on, which have no part in choices; () for none.
    """
    names = np.array(material.names)
    fitted = fit.fit(fit.Examples(embeddings, material.names, _sessions(material.groups), trained_on))
    own = np.searchsorted(fitted.head.labels, names)
    sure = np.nan_to_num(fitted.loo[np.arange(len(own)), own].astype(np.float64))  # NaN: the only one of its class
    right = (fitted.loo.argmax(axis=1) == own) & (sure > 0)
    surprise = -np.log(np.maximum(sure, SMALLEST))
    return Measured(fitted.head.labels, fitted.loo, right, surprise, held, material.groups)


def fit_head(embeddings: NDArray[np.float32], material: Material, held: NDArray[np.bool_]) -> Head:
    """Fit the device's head to the photos that are not held out; training starts from it."""
    names = np.array(material.names)[~held]
    return fit.fit(fit.Examples(embeddings[~held], tuple(names), _sessions(material.groups[~held]))).head


def _sessions(groups: NDArray[np.int64]) -> tuple[str, ...]:
    """The groups of photos that are left out together, or () if there are none."""
    return tuple(map(str, groups)) if len(np.unique(groups)) < len(groups) else ()


def clearly_better(one: NDArray[np.bool_], other: NDArray[np.bool_], chance: float = 0.05) -> bool:
    """Whether one set of answers to the same photos is correct more often than the other, by more than chance explains.

    This is the sign test: if `one` is correct on n₊ of the n photos on which only one of the two is, that happens to
    equally good ones with a probability of Σ_{k ≥ n₊} C(n, k)/2ⁿ.

    Args:
        one, other: bool (N,), which photos were classified correctly.
        chance: Largest probability of calling equally good ones different.

    Example:
        >>> right = np.ones(5, np.bool_)
        >>> clearly_better(right, np.zeros(5, np.bool_))
        True
        >>> clearly_better(right, np.array([True, False, False, False, False]))
        False
    """
    won, lost = int((one & ~other).sum()), int((other & ~one).sum())
    return tail(won + lost, won, 0.5) < chance


def clearly_surer(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether one set of answers gives the true labels more probability: a paired test, three standard errors.

    Args:
        one, other: float64 (N,), log-losses of the same photos, or of the same groups of photos.

    Example:
        >>> other = np.array([1.0, 2.0, 3.0, 2.0])
        >>> clearly_surer(other - np.array([0.4, 0.5, 0.6, 0.5]), other)
        True
        >>> clearly_surer(other - np.array([2.0, -1.0, 2.0, -1.0]), other)
        False
    """
    gain = other - one
    return bool(gain.mean() > 3 * gain.std() / math.sqrt(len(gain)))


@contextlib.contextmanager
def fast_inference(device: str) -> Iterator[None]:
    """Use half precision if it is faster: on a GPU, and on processors with bfloat16 arithmetic."""
    import torch

    helps = device != "cpu" or torch.cpu._is_avx512_bf16_supported()
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=bool(helps)):
        yield


@dataclass(frozen=True)
class _Read:
    sha256: str
    square: NDArray[np.uint8]
    centre: NDArray[np.uint8]
