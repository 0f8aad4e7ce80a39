"""The input and the result of `build`, and the protocol of its progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.answers import Files, Unmeasured
from edge.bundle.archive import Bundle, FactoryExamples, Golden
from edge.bundle.manifest import BackboneInfo, ModelFile
from edge.metrics.evaluate import Evaluation
from edge.network.backbone import Backbone
from edge.picture.count import Left
from edge.unknown.domain import Look
from export.bundle.adapted import Adaptation
from export.network import backbones
from export.photos.bursts import Bursts
from export.photos.cut_off import CutOff
from export.photos.folders import Photos
from export.photos.odd import Odd


class Listener(Protocol):
    """Receives the progress of a build."""

    def doing(self, what: str) -> None:
        """A stage begins."""

    def step(self, done: int, total: int) -> None:
        """`done` of `total` photos of the stage are done."""

    def said(self, line: str) -> None:
        """A stage ended; `line` is its result."""


@dataclass(frozen=True)
class Plan:
    """What to build.

    Args:
        photos: Folder with one subfolder per label.
        output: The bundle's path.
        backbone, weights: As in `export.network.backbones.load`.
        model: A model file to use instead of a backbone of the table.
        adapted: A folder written by `adapt`, whose network to use instead.
        runtimes: `onnx`, `tflite` or both.
        precisions: `fp32`, `int8` or both.
        holdout: Fraction of each label used for validation, 0 ≤ fraction < 1; 0 measures nothing.
        group_by: How related photos are grouped, as in `export.photos.split.group_photos`; None for no groups.
        background: Folder of generic photos, to recognise unknown pictures.
        fit: How photos are made square: a name of `edge.bundle.manifest.FITS`.
        seed: Random seed for the validation split and the golden pictures.
        created: ISO 8601, UTC, for the manifest.
        progress: Show a progress bar for downloads.
    """

    photos: Path
    output: Path
    created: str
    backbone: str = backbones.DEFAULT
    weights: str = ""
    model: Path | None = None
    adapted: Path | None = None
    runtimes: tuple[str, ...] = ("onnx", "tflite")
    precisions: tuple[str, ...] = ("fp32", "int8")
    holdout: float = 0.2
    group_by: str | None = None
    background: Path | None = None
    fit: str = "crop"
    seed: int = 0
    progress: bool = False


@dataclass(frozen=True)
class Built:
    """The bundle that was built, and what was measured.

    Args:
        bundle: The bundle.
        examples: Number of examples by label.
        evaluation: Accuracy on the photos held out; None if none were.
        unmeasured: The labels that have no part in that figure.
        group_by: How photos were grouped.
        groups: int32 (N,), the groups, as the bundle has them.
        bursts: Labels whose photos look like bursts but are not grouped.
        odd: Photos that show nothing, or differ from the others.
        warnings: Other warnings, one line each.
        layout: How the parts of the folder (train, val) were used, in words; "" if it has none.
        files: What became of all files of the folder.
        background_files: The same for the folder of generic photos; None if there was none.
        skipped: Photos that were left out.
        seconds: Duration of each stage.
        cut_off: The part of the typical photo that the network does not see.
    """

    bundle: Bundle
    examples: Mapping[str, int]
    evaluation: Evaluation | None
    unmeasured: tuple[Unmeasured, ...]
    group_by: str | None
    groups: NDArray[np.int32]
    bursts: Bursts
    odd: tuple[Odd, ...]
    warnings: tuple[str, ...]
    layout: str
    files: Files
    background_files: Files | None
    skipped: tuple[Left, ...]
    seconds: Mapping[str, float]
    cut_off: CutOff


@dataclass(frozen=True)
class Network:
    """A backbone with its proved model files, one of them running."""

    info: BackboneInfo
    files: Mapping[str, bytes]
    models: tuple[ModelFile, ...]
    golden: Golden
    running: Backbone
    is_own: bool = False
    cropping: str = ""  # the fingerprint where photos are cropped, which the statistics that ship are of


@dataclass(frozen=True)
class Marked:
    """The examples for the bundle, their files, and bool (N,): whether accuracy is measured on the example."""

    examples: FactoryExamples
    embeddings: NDArray[np.float32]
    paths: tuple[Path, ...]
    held: NDArray[np.bool_]
    groups: NDArray[np.int64]


@dataclass
class Work:
    """What accumulates over one build."""

    plan: Plan
    photos: Photos
    listener: Listener
    adaptation: Adaptation | None = None
    skipped: list[Left] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Report a stage to the listener, and measure its time."""
        self.listener.doing(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
