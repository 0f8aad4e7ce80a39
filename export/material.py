"""The photos that a network is adapted to, decoded once and kept in memory, and what a head makes of their embeddings.

About 350 kB a photo at 224 pixels: ten thousand photos take 3.5 GB.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge import fit, preprocess
from edge.choose import calibrate
from edge.errors import DatasetError, ImageError
from edge.head import Head
from export.build import short_side
from export.dataset import Photos, Skipped

if TYPE_CHECKING:
    import torch

Inputs = Callable[[NDArray[np.intp]], Any]  # rows → what the network takes

BATCH = 32
SMALLEST = 1e-9  # probability that a logarithm is taken of
LUCK = 1.645  # standard errors: the 95 % point of the normal distribution


@dataclass(frozen=True)
class Material:
    """Photos in memory.

    Args:
        labels: C names.
        paths: N files.
        hashes: N SHA-256 of their bytes.
        squares: uint8 (N, S, S, 3), the centre square of the whole short side, which pictures to train on are cut from.
        centres: uint8 (N, size, size, 3), as the device sees them.
        targets: int32 (N,).
        skipped: What could not be read, and copies.
    """

    labels: tuple[str, ...]
    paths: tuple[Path, ...]
    hashes: tuple[str, ...]
    squares: NDArray[np.uint8]
    centres: NDArray[np.uint8]
    targets: NDArray[np.int32]
    skipped: tuple[Skipped, ...]

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
    """How the device's head does on the V photos held out, and on the others, each left out in turn.

    Args:
        head: Fitted to the others.
        probabilities: float32 (V, C).
        right: bool (V,).
        loss: Class-balanced log-loss in nats at its best temperature: smoother than the share of right answers.
        left_out: bool (N − V,), which of the others were named rightly, each by a head that was not taught it, and
        left_out_loss: log-loss of that in nats. Both are fair only where the network was not trained on them.
    """

    head: Head
    probabilities: NDArray[np.float32]
    right: NDArray[np.bool_]
    loss: float
    left_out: NDArray[np.bool_]
    left_out_loss: float

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())


def read_material(photos: Photos, size: int, step: Callable[[int, int], None]) -> Material:
    """Decode all photos; those that cannot be read, and copies, are passed over and listed.

    Args:
        photos: Which.
        size: Pixels per side of the network's input.
        step: Told how many of how many are done.

    Raises:
        DatasetError: A class would be left with no photo.
    """
    side = short_side(size)

    def read(path: Path) -> _Read | ImageError:
        try:
            data = preprocess.read(path)
            square = preprocess.decode(data, str(path), side, side)
            return _Read(hashlib.sha256(data).hexdigest(), square, preprocess.decode(data, str(path), size, side))
        except ImageError as error:
            return error

    first: dict[str, Path] = {}
    kept: list[int] = []
    found: list[_Read] = []
    skipped: list[Skipped] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, one in enumerate(pool.map(read, photos.paths)):
            step(row + 1, len(photos.paths))
            path = photos.paths[row]
            if isinstance(one, ImageError):
                skipped.append(Skipped(path, str(one)))
            elif first.setdefault(one.sha256, path) != path:
                skipped.append(Skipped(path, f"{path} is an exact copy of {first[one.sha256]}", is_copy=True))
            else:
                kept.append(row)
                found.append(one)
    targets = photos.targets[kept]
    for target, label in enumerate(photos.labels):
        if target not in targets:
            reason = next((one.reason for one in skipped), "add photos")
            raise DatasetError(f"no photo of class {label!r} can be read; {reason}")
    return Material(
        photos.labels,
        tuple(photos.paths[row] for row in kept),
        tuple(one.sha256 for one in found),
        np.stack([one.square for one in found]),
        np.stack([one.centre for one in found]),
        targets,
        tuple(skipped),
    )


def embed_rows(body: torch.nn.Module, inputs: Inputs, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Run a network over photos in batches: float32 (len(rows), D), in their order."""
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            parts.append(body(inputs(rows[start : start + BATCH])).float().cpu().numpy())
    return np.concatenate(parts)


def measure(embeddings: NDArray[np.float32], names: Sequence[str], held: NDArray[np.bool_]) -> Measured:
    """Fit the device's head to the photos that are not held out, and ask it about those that are.

    Args:
        embeddings: (N, D).
        names: N labels.
        held: bool (N,).
    """
    truth = [name for name, out in zip(names, held, strict=True) if out]
    taught = tuple(name for name, out in zip(names, held, strict=True) if not out)
    fitted = fit.fit(fit.Examples(embeddings[~held], taught))
    head = fitted.head
    scores = head.scores(embeddings[held]).astype(np.float64)
    columns = np.array([head.labels.index(name) for name in truth], np.int64)
    cost, _ = calibrate(scores, columns, np.ones(len(truth)), head.temperature)
    right = scores.argmax(axis=1) == columns
    own = np.array([head.labels.index(name) for name in taught], np.int64)
    judged = np.flatnonzero(np.isfinite(fitted.loo).all(axis=1))  # not the only photo of a class
    sure = fitted.loo[judged, own[judged]].astype(np.float64)
    left_out = np.zeros(len(own), np.bool_)
    left_out[judged] = fitted.loo[judged].argmax(axis=1) == own[judged]
    left_out_loss = float(-np.log(np.maximum(sure, SMALLEST)).mean())
    return Measured(head, head.probabilities(embeddings[held]), right, cost / len(truth), left_out, left_out_loss)


def clearly_better(one: NDArray[np.bool_], other: NDArray[np.bool_], luck: float = LUCK) -> bool:
    """Whether one set of answers to the same photos is right more often than the other by more than chance explains.

    With n₊ photos that only the one has right and n₋ that only the other has, McNemar's standard error of their
    difference is √(n₊ + n₋); the difference has to exceed what it reaches by luck once in twenty times.

    Args:
        one, other: bool (N,), which photos were named rightly.
        luck: standard errors that luck is thought able to reach.

    Example:
        >>> right = np.ones(4, np.bool_)
        >>> clearly_better(right, np.array([True, False, False, False]))
        True
        >>> clearly_better(right, np.array([True, True, False, False]))
        False
    """
    won, lost = int((one & ~other).sum()), int((other & ~one).sum())
    return (won - lost) > luck * math.sqrt(won + lost)


@contextlib.contextmanager
def fast_inference(device: str) -> Iterator[None]:
    """Half precision where it is faster: on a GPU, and on processors with bfloat16 arithmetic."""
    import torch

    helps = device != "cpu" or torch.cpu._is_avx512_bf16_supported()
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=bool(helps)):
        yield


@dataclass(frozen=True)
class _Read:
    sha256: str
    square: NDArray[np.uint8]
    centre: NDArray[np.uint8]
