"""From a folder of photos to a bundle: the whole of `edge-export build`, without a word printed.

In order: list the photos; load the backbone and export it; quantize it on some of the photos; prove every file
against PyTorch on the device's runtimes; embed all photos; fit a head on most of them and measure it on those held
out; write the bundle. Whatever fails, no bundle is written, and an older one of that name stays as it was.

The examples that ship are all of them: the held-out share only serves the figure, which is therefore that of a head
that learned from a little less than the device's will. A network that was adapted brings its own held-out share, and
the examples that it was trained on are marked, so that no figure, here or on a device, counts them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.answers import Files, Unmeasured
from edge.bundle import archive
from edge.bundle.archive import Bundle, FactoryDomain, FactoryExamples, Golden
from edge.bundle.manifest import Accuracy, BackboneInfo, Manifest, ModelFile
from edge.errors import BundleError, DatasetError
from edge.head import fit
from edge.metrics.evaluate import Evaluation, evaluate
from edge.network.backbone import Backbone, find_runtime, open_backbone
from edge.network.photos import embed
from edge.picture.count import line
from edge.text import plural
from edge.unknown.domain import Look
from export.bundle import adapted
from export.bundle.adapted import Adaptation
from export.bundle.background import Generic, of_folder, shipped
from export.convert.own_model import OwnModel, check_embeddings, read_own_model
from export.convert.parity import embed_with_torch, golden_images, prove_everywhere, worst
from export.convert.quantize import quantize
from export.convert.to_onnx import to_onnx
from export.convert.to_tflite import to_tflite
from export.network import backbones, form
from export.network.embedder import check_answers
from export.photos.bursts import Bursts, find_bursts
from export.photos.cut_off import CutOff, cut_off, warning
from export.photos.folders import Photos, Skipped, find_photos, hold_out, pick_calibration, read_pixels
from export.photos.odd import Odd, domain_of, odd_photos
from export.photos.sorted_out import check_labels, counted, sort_out
from export.photos.split import group_photos, in_groups, lone_labels, split_groups
from export.written import check_bundle

if TYPE_CHECKING:
    pass

CALIBRATION = 64  # photos: half of them calibrate, half measure


class Watcher(Protocol):
    """Who is told how a build gets on."""

    def doing(self, what: str) -> None:
        """A stage begins."""

    def step(self, done: int, total: int) -> None:
        """So many photos of the stage are done."""

    def said(self, line: str) -> None:
        """A stage ended with a result worth keeping."""


@dataclass(frozen=True)
class Plan:
    """What to build.

    Args:
        photos: Folder of class folders.
        output: The bundle's path.
        backbone, weights: As `export.network.backbones.load` takes them.
        model: A model file to use instead of a backbone of the table.
        adapted: A folder that `adapt` wrote, whose network to use instead.
        runtimes: `onnx`, `tflite` or both.
        precisions: `fp32`, `int8` or both.
        holdout: Share of each class held out for the figure, 0 ≤ share < 1; 0 for no figure.
        group_by: What photos belong together by; see `export.photos.split.group_photos`. None to let each stand alone.
        background: Folder of generic photos, for telling known from unknown.
        fit: How photos are made square: a name of `edge.bundle.manifest.FITS`.
        seed: Of the hold-out and the golden pictures.
        created: ISO 8601, UTC, for the manifest.
        progress: Show torchvision's download bar.
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
    """What was built, and what there is to say about it.

    Args:
        bundle: It.
        examples: Number by label.
        evaluation: How the photos held out were named; None if none were.
        unmeasured: The labels that have no part in that figure.
        group_by: What photos were grouped by, and
        groups: int32 (N,) the groups, as the bundle has them.
        bursts: Labels whose photos look like bursts that nothing keeps together.
        odd: Photos that show nothing, or look otherwise than the others.
        warnings: What else makes one careful, each in a line.
        layout: What was made of a folder in parts, in words; "" where it has none.
        files: What became of all files of the folder, and
        background_files: of that of generic photos; None if there was none.
        skipped: Photos that were left out.
        seconds: By stage.
        cut_off: What the network does not see of the typical photo.
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
    skipped: tuple[Skipped, ...]
    seconds: Mapping[str, float]
    cut_off: CutOff


@dataclass(frozen=True)
class _Network:
    """A backbone in all its files, proved, and one of them running."""

    info: BackboneInfo
    files: Mapping[str, bytes]
    models: tuple[ModelFile, ...]
    golden: Golden
    running: Backbone
    is_own: bool = False
    cropping: str = ""  # the fingerprint where photos are cropped, which the statistics that ship are of


@dataclass(frozen=True)
class _Marked:
    """The examples that go into the bundle, their files, and bool (N,): which of them the figure is measured on."""

    examples: FactoryExamples
    embeddings: NDArray[np.float32]
    paths: tuple[Path, ...]
    held: NDArray[np.bool_]
    groups: NDArray[np.int64]


@dataclass
class _Work:
    """What accumulates over one build."""

    plan: Plan
    photos: Photos
    watcher: Watcher
    adaptation: Adaptation | None = None
    skipped: list[Skipped] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def build(plan: Plan, watcher: Watcher) -> Built:
    """Build a bundle.

    Raises:
        DatasetError: If the folder of photos cannot be used.
        BundleError: If the weights or the model do not fit, a file cannot be exported, or the path cannot be written.
        ParityError: If an exported file answers otherwise than PyTorch; the message says by how much.
        RuntimeMissing: If a format's runtime is not installed here, so that nothing can be proved.
    """
    check_bundle(plan.output)
    adaptation = adapted.read(plan.adapted) if plan.adapted else None
    if adaptation and plan.group_by is None:
        plan = replace(plan, group_by=adaptation.report.get("group_by"))
    work = _Work(plan, find_photos(plan.photos), watcher, adaptation)
    network = _own_network(work, read_own_model(plan.model)) if plan.model else _network(work)
    cut = cut_off(work.photos.paths, network.info.input_size, network.info.short_side, plan.fit)
    lost = warning(cut)
    generic = _background(work, network)
    marked = _embed_photos(work, network)
    examples = marked.examples
    labels = work.photos.labels
    evaluation = _measure(work, marked)
    accuracy = Accuracy(evaluation.accuracy, *evaluation.interval, evaluation.examples) if evaluation else None
    manifest = Manifest(
        plan.output.stem, plan.created, network.info, labels, network.models, accuracy,
        background=generic.source if generic else None,
    )  # fmt: skip
    domain = FactoryDomain(domain_of(work.looks), np.stack([look.thumb for look in work.looks]))
    background = generic.background if generic else None
    written = archive.write(plan.output, manifest, network.files, network.golden, examples, background, domain)
    counts = np.bincount(examples.labels, minlength=len(labels))
    shares = dict(zip(labels, counts.tolist(), strict=True))
    told = evaluation is not None and plan.group_by is None and not work.photos.held.any()
    return Built(
        bundle=written,
        examples=shares,
        evaluation=evaluation,
        unmeasured=_unmeasured(work, marked) if evaluation else (),
        group_by=plan.group_by,
        groups=examples.groups,
        bursts=find_bursts(marked.paths, examples.labels, labels, marked.embeddings) if told else Bursts(),
        odd=odd_photos(marked.paths, work.looks, [labels[target] for target in examples.labels]),
        warnings=(
            *((lost,) if lost else ()),
            *(check_embeddings(marked.embeddings, network.info.name) if network.is_own else ()),
        ),
        layout=work.photos.layout,
        files=counted(work.photos, len(examples.labels), work.skipped),
        background_files=generic.files if generic else None,
        skipped=tuple(work.skipped),
        seconds=work.seconds,
        cut_off=cut,
    )


# --- the network -----------------------------------------------------------------------------------------------------


def _network(work: _Work) -> _Network:
    """Load a backbone of the table, export, quantize and prove it."""
    plan, watch = work.plan, work.watcher
    with _Stage(work, "loading the network"):
        loaded = (
            adapted.load(plan.adapted, work.adaptation)
            if plan.adapted and work.adaptation
            else backbones.load(plan.backbone, plan.weights, plan.progress)
        )
        row = loaded.backbone
        images = golden_images(row.size, seed=plan.seed)
        check_answers(loaded.embedder, images, loaded.origin)
        golden = Golden(images, embed_with_torch(loaded.embedder, images))
    info = BackboneInfo(
        row.name, form.fingerprint(loaded.embedder, row.size, plan.fit, row.crop), loaded.origin, loaded.licence,
        row.size, form.short_side(row.size, row.crop), row.embedding, plan.fit,
    )  # fmt: skip
    watch.said(f"backbone {row.name}: {row.embedding} features from {row.size} × {row.size} pixels, {loaded.origin}")
    calibration = _calibration(work, info) if "int8" in plan.precisions else images[:0]
    files: dict[str, bytes] = {}
    models: list[ModelFile] = []
    running: Backbone | None = None
    for kind in plan.runtimes:
        with _Stage(work, f"exporting to {kind}"):
            exact = {"onnx": to_onnx, "tflite": to_tflite}[kind](loaded.embedder, row.size)
        # one thread: edge.network.photos gives each processor core whole pictures
        running = running or open_backbone(exact, find_runtime({kind}), threads=1)
        if "fp32" in plan.precisions:
            _add(work, files, models, exact, kind, "fp32", "none", golden)
        if "int8" in plan.precisions:
            with _Stage(work, f"quantizing {kind}"):
                small = quantize(exact, kind, calibration, images)
            _add(work, files, models, small.model, kind, "int8", small.method, golden)
    if running is None:
        raise BundleError("option-invalid", "no runtime was asked for; give --runtime onnx or --runtime tflite")
    usual = form.fingerprint(loaded.embedder, row.size, crop=row.crop)
    return _Network(info, files, tuple(models), golden, running, cropping=usual)


def _own_network(work: _Work, own: OwnModel) -> _Network:
    """Take a model as it was delivered; its own answers here are the reference."""
    size = own.opened.size
    images = golden_images(size, seed=work.plan.seed)
    golden = Golden(images, own.opened.embed(images))
    info = BackboneInfo(
        own.name, hashlib.sha256(f"{own.sha256} {form.cut(size, work.plan.fit)}".encode()).hexdigest(),
        f"file {own.name}", "as that file's", size, form.short_side(size), own.opened.dimension, work.plan.fit,
    )  # fmt: skip
    work.watcher.said(f"backbone {own.name}: {info.dimension} features from {size} × {size} pixels, as delivered")
    files: dict[str, bytes] = {}
    models: list[ModelFile] = []
    _add(work, files, models, own.data, own.format, own.precision, "as delivered", golden)
    return _Network(info, files, tuple(models), golden, own.opened, is_own=True)


def _add(
    work: _Work,
    files: dict[str, bytes],
    models: list[ModelFile],
    data: bytes,
    kind: str,
    precision: str,
    quantization: str,
    golden: Golden,
) -> None:
    """Prove one file, then enter it."""
    name = f"backbone.{kind}" if precision == "fp32" else f"backbone.int8.{kind}"
    with _Stage(work, f"proving {name}"):
        proofs = prove_everywhere(data, name, kind, precision, golden.images, golden.embeddings)
    parity = worst(proofs)
    files[name] = data
    models.append(ModelFile(name, kind, precision, quantization, parity.error, parity.cosine))
    form = "" if quantization == "none" else f", {quantization}"
    figure = f"off by {parity.error:.0e} of the largest value" if precision == "fp32" else f"cosine {parity.cosine:.4f}"
    on = " and ".join(proof.runtime for proof in proofs)
    work.watcher.said(f"{name}: {len(data) / 1e6:.1f} MB{form}; on {on} {figure}")


# --- the photos ------------------------------------------------------------------------------------------------------


def _calibration(work: _Work, info: BackboneInfo) -> NDArray[np.uint8]:
    """Some photos of every class, as pixels."""
    chosen = pick_calibration(work.photos.targets, CALIBRATION, work.plan.seed)
    with _Stage(work, "reading photos to calibrate"):
        pixels = read_pixels([work.photos.paths[i] for i in chosen], info.input_size, info.short_side, info.fit)
    if len(pixels) < 2:
        raise DatasetError(
            "too-few-photos", f"hardly a photo in {work.plan.photos} can be read; put readable ones there"
        )
    return pixels


def _embed_photos(work: _Work, network: _Network) -> _Marked:
    """Embed every photo that can be read, as float16 rounds it; of equal files the first counts."""
    photos, total = work.photos, len(work.photos.paths)
    rows: list[NDArray[np.float32]] = []
    read: list[int] = []
    hashes: list[str] = []
    looks: list[Look] = []
    with _Stage(work, "embedding photos"):
        for done, photo in enumerate(embed(photos.paths, network.running, network.info, look=True), 1):
            work.watcher.step(done, total)
            if photo.error is not None and photo.error.reason == "not-numbers":
                raise BundleError(
                    "model-not-numbers",
                    f"the network {network.info.name} gives values that are not numbers (NaN or infinity) for "
                    f"{photo.path}; take other weights or another model",
                )
            if photo.error is not None or photo.embedding is None or photo.look is None:
                kind = photo.error.reason if photo.error else "damaged"
                work.skipped.append(Skipped(photo.path, str(photo.error), kind))
                continue
            rows.append(photo.embedding)
            looks.append(photo.look)
            read.append(done - 1)
            hashes.append(photo.image)
    kept, copies = sort_out([photos.paths[row] for row in read], hashes)
    work.skipped.extend((*photos.contradictions, *copies))
    chosen = np.array(read, np.int64)[kept]
    labels = photos.targets[chosen]
    check_labels(photos, labels, work.skipped)
    work.looks = [look for look, keep in zip(looks, kept, strict=True) if keep]
    embeddings = archive.halves(np.stack(rows)[kept]).astype(np.float32)
    images = np.array(hashes)[kept]
    paths = tuple(photos.paths[row] for row in chosen.tolist())
    groups = _groups(work, paths)
    if work.adaptation:
        trained_on = np.isin(images, np.array(work.adaptation.trained, images.dtype))
        held = np.isin(images, np.array(work.adaptation.held_out, images.dtype))
    else:
        trained_on, held = np.zeros(len(labels), np.bool_), _held(work, chosen, groups)
    examples = FactoryExamples(embeddings, labels, trained_on, in_groups(groups))
    return _Marked(examples, embeddings, paths, held, groups)


def _groups(work: _Work, paths: tuple[Path, ...]) -> NDArray[np.int64]:
    """Group the photos, and say what came of it."""
    by = work.plan.group_by
    groups = group_photos(paths, by, work.plan.photos)
    if by is not None:
        found = in_groups(groups)
        alone = f", {plural(int((found < 0).sum()), 'photo')} alone" if (found < 0).any() else ""
        work.watcher.said(f"by {by}: {plural(int(found.max()) + 1, 'group')} of photos that stay together{alone}")
    return groups


def _held(work: _Work, chosen: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which photos are held out: the folder's own part for that, else a share of each label."""
    photos, plan = work.photos, work.plan
    labels = photos.targets[chosen]
    if plan.holdout == 0:
        return np.zeros(len(labels), np.bool_)
    if photos.held.any():
        return photos.held[chosen]
    if plan.group_by is None:
        return hold_out(labels, plan.holdout, plan.seed)
    return split_groups(labels, groups, photos.labels, plan.holdout, plan.seed, lenient=True)


def _background(work: _Work, network: _Network) -> Generic | None:
    """Take the generic photos' statistics: from a folder, or those that ship with the weights."""
    folder = work.plan.background
    if folder is None:
        found = shipped(network.cropping)
        if found is None:
            work.watcher.said("no generic photos: unknown pictures are told by the plain embedding (--background DIR)")
        return found
    with _Stage(work, "embedding generic photos"):
        generic = of_folder(folder, network.running, network.info, work.watcher.step)
    work.skipped.extend(generic.skipped)
    counted = f"; {line(generic.files)}" if generic.files else ""
    work.watcher.said(f"background: {generic.source}{counted}")
    return generic


def _measure(work: _Work, marked: _Marked) -> Evaluation | None:
    """Fit a head on what is not held out and measure it on what is."""
    examples, held = marked.examples, marked.held
    if not held.any() or set(examples.labels[~held]) < set(examples.labels):
        return None
    with _Stage(work, "fitting the head"):
        names = np.array(work.photos.labels, np.object_)[examples.labels]
        together = tuple(None if group < 0 else str(group) for group in examples.groups[~held].tolist())
        head = fit.fit(fit.Examples(marked.embeddings[~held], tuple(names[~held]), together)).head
        return evaluate(head.probabilities(marked.embeddings[held]), list(names[held]), head.labels, held_out=True)


def _unmeasured(work: _Work, marked: _Marked) -> tuple[Unmeasured, ...]:
    """The labels of which nothing was held out, with the reason."""
    labels, found = work.photos.labels, []
    lone = lone_labels(marked.examples.labels, marked.groups, labels)
    for target, label in enumerate(labels):
        mine = marked.examples.labels == target
        if (mine & marked.held).any():
            continue
        count = int(mine.sum())
        if count == 1:
            why = "it has one photo, which is needed to learn from; add photos"
        elif label in lone:
            why = f"its {count} photos are all of one group; add photos of another occasion"
        else:
            why = f"none of its {count} photos is held out"
        found.append(Unmeasured(label, count, f"{label} was not measured: {why}"))
    return tuple(found)


# --- helpers ---------------------------------------------------------------------------------------------------------


class _Stage:
    """Tells the watcher of a stage and keeps its time."""

    def __init__(self, work: _Work, name: str) -> None:
        self._work, self._name = work, name

    def __enter__(self) -> None:
        self._work.watcher.doing(self._name)
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._work.seconds[self._name] = time.perf_counter() - self._start
