"""Do these photos look like bursts: many frames of one scene, some used for training and others for validation?

File names alone say little, because every camera numbers its photos. The sign of a burst is that a photo is nearly
identical to those with the next numbers, but not to other photos of its label. With d the cosine distance of
embeddings, a photo has a twin if one of the four next in number is within a quarter of the label's upper quartile of d.
A label looks like bursts if half its photos have a twin, and clearly fewer would have one with random numbers; or if
its photos are numbered and nearly all are the same to the network, compared with the distance to photos of other
labels. If the names contain no numbers, the time in the files is used instead.

Measured with the embedded network, fraction of twins less that by chance: frames of 2 to 6 scenes 0.4 to 0.7, pairs of
each thing 0.75, cells of one solar module 0.5; flowers, ants, bees, rubbish, hands at most 0.24, crops of one wall 0.
Distance to the next photo as a fraction of that to other labels: a camera that stands still 0.035, crops of one heap of
stones 0.06.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.photos.split import PAUSE, group_photos, lone_labels, prefix, time_taken

FEWEST = 6  # photos of a label, below which nothing is said
TWIN = 0.25  # of the label's upper quartile of distances
SHARE, BEYOND_CHANCE = 0.5, 0.3  # of a label's photos
SAME = 0.04  # of the distance to other labels, below which all photos of a label are nearly the same picture
_SAMPLE = 500  # photos that distances are compared with
_NEXT = 2  # numbered next to it, on either side


@dataclass(frozen=True)
class Bursts:
    """Labels whose photos look like bursts."""

    labels: tuple[str, ...] = ()
    advice: str = ""  # what to do about it

    @property
    def warning(self) -> str:
        """Labels and advice in one sentence; "" if there are no such labels."""
        if not self.labels:
            return ""
        shown = ", ".join(self.labels[:5]) + (f" and {len(self.labels) - 5} more" if len(self.labels) > 5 else "")
        return f"photos of {shown} look like bursts of one camera; the accuracy may be far too high: {self.advice}"


def find_bursts(
    paths: Sequence[Path], targets: NDArray[np.int32], labels: Sequence[str], embeddings: NDArray[np.float32]
) -> Bursts:
    """Look for labels whose photos are bursts.

    Args:
        paths: N files.
        targets: int32 (N,).
        labels: Names of the classes.
        embeddings: (N, D).
    """
    rows = embeddings.astype(np.float32) / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    found, timed = [], False
    for target in range(len(labels)):
        mine = np.flatnonzero(targets == target)
        if len(mine) < FEWEST:
            continue
        order = sorted(mine.tolist(), key=lambda row: _natural(paths[row]))
        others = _some(np.flatnonzero(targets != target))
        if _twins(rows[order]) or (_numbered([paths[row] for row in order]) and _all_same(rows[order], rows[others])):
            found.append(target)
            continue
        times = sorted((time, row) for row in order if (time := time_taken(paths[row])) is not None)
        if len(times) >= FEWEST and _twins(rows[[row for _, row in times]], np.array([time for time, _ in times])):
            found.append(target)
            timed = True
    if not found:
        return Bursts()
    chosen = np.isin(targets, found)
    names = [labels[target] for target in found]
    numbers = np.searchsorted(found, targets[chosen]).astype(np.int32)
    return Bursts(tuple(names), _advice([paths[row] for row in np.flatnonzero(chosen).tolist()], numbers, names, timed))


def _advice(paths: list[Path], targets: NDArray[np.int32], labels: list[str], timed: bool) -> str:
    """Suggest the grouping that gives each of these labels at least two groups."""
    for by in ("session",) if timed else ("prefix", "folder"):
        if not lone_labels(targets, group_photos(paths, by), labels):
            return f"give --group-by {by}"
    return (
        "their names and folders do not distinguish the bursts: put each into its own subfolder of the "
        "label, and give --group-by folder"
    )


def _twins(rows: NDArray[np.float32], times: NDArray[np.float64] | None = None) -> bool:
    """Whether photos (n, D) have a twin beside them far more often than in a random order."""
    count = len(rows)
    distances = 1 - rows @ rows[_some(np.arange(count))].T
    limit = TWIN * float(np.quantile(distances, 0.75))
    like = ((distances < limit).sum(axis=1) - 1) / max(distances.shape[1] - 1, 1)  # share of the others
    twin, beside = np.zeros(count, np.bool_), np.zeros(count)
    for gap in range(1, _NEXT + 1):
        near = 1 - (rows[:-gap] * rows[gap:]).sum(axis=1) < limit
        if times is not None:
            near &= np.abs(times[gap:] - times[:-gap]) <= PAUSE
        twin[:-gap] |= near
        twin[gap:] |= near
        beside[:-gap] += 1
        beside[gap:] += 1
    chance = float((1 - (1 - np.clip(like, 0, 1)) ** beside).mean())
    return bool(twin.mean() >= SHARE and twin.mean() - chance >= BEYOND_CHANCE)


def _all_same(rows: NDArray[np.float32], others: NDArray[np.float32]) -> bool:
    """Whether neighbouring photos differ as little as frames of a camera that stands still."""
    beside = 1 - (rows[:-1] * rows[1:]).sum(axis=1)
    return bool(len(others)) and float(np.median(beside)) < SAME * float(np.median(1 - rows @ others.T))


def _numbered(paths: Sequence[Path]) -> bool:
    """Whether most of the files are numbered, with only a few prefixes."""
    in_row = [path for path in paths if path.stem[-1:].isdigit() or path.stem.endswith(")")]
    return len(in_row) > len(paths) / 2 and len({prefix(path) for path in in_row}) <= len(in_row) / 3


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts numbers by their value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _some(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most `_SAMPLE` of them, evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.intp)] if len(rows) else rows
