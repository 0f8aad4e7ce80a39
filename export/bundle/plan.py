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
    """What to build."""

    photos: Path  # folder with one subfolder per label
    output: Path
    created: str  # ISO 8601, UTC, for the manifest
    backbone: str = backbones.DEFAULT  # as in `export.network.backbones.load`
    weights: str = ""  # the same
    model: Path | None = None  # a model file to use instead of a backbone of the table
    adapted: Path | None = None  # a folder written by `adapt`, whose network to use instead
    runtimes: tuple[str, ...] = ("onnx", "tflite")
    precisions: tuple[str, ...] = ("fp32", "int8")
    holdout: float = 0.2  # fraction of each label used for validation, 0 ≤ fraction < 1; 0 measures nothing
    group_by: str | None = None  # how related photos are grouped, as in `export.photos.split.group_photos`
    background: Path | None = None  # folder of generic photos, to recognise unknown pictures
    fit: str = "crop"  # how photos are made square: a name of `edge.bundle.manifest.FITS`
    seed: int = 0  # random seed for the validation split and the golden pictures
    progress: bool = False  # show a progress bar for downloads


@dataclass(frozen=True)
class Built:
    """The bundle that was built, and what was measured."""

    bundle: Bundle
    examples: Mapping[str, int]  # number of examples by label
    evaluation: Evaluation | None  # accuracy on the photos held out; None if none were
    unmeasured: tuple[Unmeasured, ...]  # the labels that have no part in that figure
    group_by: str | None
    groups: NDArray[np.int32]  # (N,), the groups, as the bundle has them
    bursts: Bursts  # labels whose photos look like bursts but are not grouped
    odd: tuple[Odd, ...]  # photos that show nothing, or differ from the others
    warnings: tuple[str, ...]  # other warnings, one line each
    layout: str  # how the parts of the folder (train, val) were used, in words; "" if it has none
    files: Files  # what became of all files of the folder
    background_files: Files | None  # the same for the folder of generic photos; None if there was none
    skipped: tuple[Left, ...]  # photos that were left out
    seconds: Mapping[str, float]  # duration of each stage
    cut_off: CutOff  # the part of the typical photo that the network does not see


@dataclass(frozen=True)
class Network:
    """A backbone with its proved model files, one of them running."""

    info: BackboneInfo
    models: Mapping[ModelFile, bytes]
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
