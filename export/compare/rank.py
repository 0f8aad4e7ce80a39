"""Rank networks and input sizes on a set of photos before any training: all of `edge-export compare`.

Each candidate is exported, embeds the photos as the device would, and gets the device's own head; every photo is
classified with itself left out. The time for one picture on one core here and the file's size are measured as well. The
fastest of those that are not clearly worse than the best is recommended (`export.compare.material.clearly_better`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.answers import Files
from edge.errors import BundleError, DatasetError
from edge.files import replacing
from edge.metrics.evaluate import SHARED, wilson
from edge.picture.count import Left
from export.bundle.plan import Listener
from export.compare.baselines import Baselines, loo_right, measure_baselines
from export.compare.material import ENOUGH, Material, clearly_better, read_material
from export.compare.plots import Dot, accuracy_against_latency
from export.convert.frozen import embed_pixels, freeze, latency
from export.network import backbones
from export.network.form import short_side
from export.photos.bursts import Bursts, find_bursts
from export.photos.cut_off import cut_off, warning
from export.photos.folders import Photos, find_photos, pick_calibration
from export.photos.split import lone_labels
from export.written import DRAWING

PHOTOS = 1500  # at most so many are embedded, the classes in turn
GOOD = 0.95  # right answers from which adapting has little to add


@dataclass(frozen=True)
class Candidate:
    """A network at an input size: the backbone's name, its weights as in `load`, pixels per side."""

    backbone: str
    weights: str
    size: int

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.network} {self.size}"

    @property
    def network(self) -> str:
        """The network, as `--backbone` takes it."""
        return f"{self.backbone}={self.weights}" if self.weights else self.backbone


@dataclass(frozen=True)
class Ranked:
    """A candidate with its measurements."""

    candidate: Candidate
    right: NDArray[np.bool_]  # (N,), whether each photo, left out, was classified correctly
    interval: tuple[float, float]  # 95 % interval of the accuracy
    milliseconds: float  # time for one picture on one core of this machine
    bytes: int  # size of the exported file, fp32

    @property
    def accuracy(self) -> float:
        """Fraction of photos classified correctly."""
        return float(self.right.mean())


@dataclass(frozen=True)
class Ranking:
    """The ranking."""

    ranked: tuple[Ranked, ...]  # the candidates, best first
    take: Ranked  # the recommended candidate
    advice: str  # whether fine-tuning it will probably help, in words
    baselines: Baselines  # accuracy without pretraining, for the recommended candidate
    photos: int  # number of photos used
    failed: tuple[str, ...]  # candidates that could not be used, each with the reason in one line
    unmeasured: tuple[str, ...]  # labels that were not measured because all their photos are in one group
    bursts: Bursts  # labels whose photos look like bursts but are not grouped
    skipped: tuple[Left, ...]  # photos that were left out
    files: Files  # what became of all files of the folder


def rank(
    folder: Path,
    candidates: list[Candidate],
    listener: Listener,
    seed: int = 0,
    group_by: str | None = None,
    fit: str = "crop",
) -> Ranking:
    """Rank candidates on a folder with one subfolder per label.

    Args:
        seed: Random seed for the sample taken from many photos.
        group_by: How related photos are grouped, as in `export.photos.split.group_photos`.
        fit: How photos are made square: a name of `edge.bundle.manifest.FITS`.

    Raises:
        DatasetError: The folder cannot be used, or every label has photos of one group only.
        BundleError: No candidate could be loaded; the message is that of the first one.
    """
    photos = _some(find_photos(folder), seed)
    crop = min((backbones.find(candidate.backbone).crop for candidate in candidates), default=1.0)
    size = max((candidate.size for candidate in candidates), default=1)
    if line := warning(cut_off(photos.paths, size, short_side(size, crop), fit)):
        listener.said(f"warning: {line}")
    ranked: list[Ranked] = []
    failed: list[str] = []
    unmeasured: tuple[str, ...] = ()
    materials: dict[tuple[int, float], Material] = {}
    embeddings: dict[Candidate, NDArray[np.float32]] = {}
    for candidate in candidates:
        try:
            listener.doing(f"{candidate.name}: loading")
            loaded = backbones.load(candidate.backbone, candidate.weights)
            frozen = freeze(loaded.embedder, candidate.size)
        except BundleError as error:
            failed.append(f"{candidate.name}: {error}")
            continue
        seen = candidate.size, loaded.backbone.crop
        if seen not in materials:
            listener.doing("reading photos")
            materials[seen] = read_material(photos, candidate.size, listener.step, group_by, folder, fit, seen[1])
        material = materials[seen]
        unmeasured = lone_labels(material.targets, material.groups, material.labels)
        if len(unmeasured) == len(material.labels):
            raise DatasetError(
                "grouping-too-coarse", "all photos of each label are in one group; add photos taken on another occasion"
            )
        listener.doing(f"{candidate.name}: embedding photos")
        found = embeddings[candidate] = embed_pixels(frozen, material.centres, listener.step)
        right = loo_right(found, material.names, material.groups)[~np.isin(material.names, unmeasured)]
        interval = wilson(int(right.sum()), len(right), SHARED)
        ranked.append(Ranked(candidate, right, interval, latency(frozen), len(frozen.data)))
    if not ranked:
        raise BundleError(
            "backbone-unknown", failed[0] if failed else "there is no network to rank; give --backbone NAME"
        )
    ranked.sort(key=lambda one: (-one.accuracy, one.milliseconds))
    take = min(
        (one for one in ranked if not clearly_better(ranked[0].right, one.right)), key=lambda one: one.milliseconds
    )
    listener.doing("comparing with an untrained network")
    material = materials[take.candidate.size, backbones.find(take.candidate.backbone).crop]
    baselines = measure_baselines(take.candidate.backbone, material, embeddings[take.candidate], seed)
    smallest = int(np.bincount(material.targets).min())
    advice = advise(take.accuracy, smallest, bool(baselines.warning))
    bursts = Bursts()
    if group_by is None:
        bursts = find_bursts(material.paths, material.targets, material.labels, embeddings[take.candidate])
    return Ranking(
        tuple(ranked), take, advice, baselines, len(take.right), tuple(failed), unmeasured, bursts, material.skipped,
        material.files,
    )  # fmt: skip


def advise(accuracy: float, smallest: int, blind: bool) -> str:
    """Say whether adapting is likely to help.

    Args:
        accuracy: Accuracy with frozen embeddings.
        smallest: Number of photos of the smallest label.
        blind: Whether pretraining does not help.

    Example:
        >>> advise(0.97, 100, False)
        'adapting has little to add: most photos are already classified correctly'
    """
    if smallest < ENOUGH:
        return (
            f"too few photos to adapt ({smallest} of the smallest label, at least {ENOUGH} are needed); add "
            "photos first"
        )
    if blind:
        return "adapting will probably help: pretraining does not help here"
    if accuracy >= GOOD:
        return "adapting has little to add: most photos are already classified correctly"
    return "adapting may help: try edge-export adapt"


def plot(ranking: Ranking, path: Path) -> None:
    """Plot accuracy against latency into a file, completely or not at all; its suffix chooses the format.

    Raises:
        OSError: The disk refuses; an older file is unchanged.
    """
    several = len({one.candidate.network for one in ranking.ranked}) > len(
        {one.candidate.backbone for one in ranking.ranked}
    )
    dots = [
        Dot(
            one.candidate.name if several else f"{one.candidate.backbone} {one.candidate.size}",
            one.milliseconds,
            one.accuracy,
            one is ranking.take,
        )
        for one in ranking.ranked
    ]
    with replacing(path) as partial:
        accuracy_against_latency(dots).savefig(
            partial, dpi=150, format=path.suffix[1:].lower(), metadata={"Title": f"{DRAWING}: accuracy against latency"}
        )


def _some(photos: Photos, seed: int) -> Photos:
    """All photos, or if there are many, about the same number of each label."""
    if len(photos.paths) <= PHOTOS:
        return photos
    rows = np.sort(pick_calibration(photos.targets, PHOTOS, seed))
    paths = tuple(photos.paths[row] for row in rows)
    asked = set(paths)
    left = (*photos.left, *(Left(path, "not-asked") for path in photos.paths if path not in asked))
    return replace(photos, paths=paths, targets=photos.targets[rows], held=photos.held[rows], left=left)
