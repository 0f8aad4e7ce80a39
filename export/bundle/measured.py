"""Embed the photos, and measure: the examples with their groups, the background, the accuracy on photos held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.answers import Unmeasured
from edge.bundle import archive
from edge.bundle.archive import FactoryExamples
from edge.bundle.manifest import BackboneInfo
from edge.errors import BundleError, DatasetError
from edge.head import fit
from edge.metrics.evaluate import Evaluation, evaluate
from edge.network.photos import embed
from edge.picture.count import Left, line
from edge.text import plural
from edge.unknown.domain import Look
from export.bundle.background import Generic, of_folder, shipped
from export.bundle.plan import Marked, Network, Work
from export.photos.folders import hold_out, pick_calibration, read_pixels
from export.photos.sorted_out import check_labels, sort_out
from export.photos.split import group_photos, in_groups, lone_labels, split_groups

CALIBRATION = 64  # photos: half of them calibrate, half measure


def calibration(work: Work, info: BackboneInfo) -> NDArray[np.uint8]:
    """Decode some photos of every label."""
    chosen = pick_calibration(work.photos.targets, CALIBRATION, work.plan.seed)
    with work.stage("reading photos to calibrate"):
        pixels = read_pixels([work.photos.paths[i] for i in chosen], info.input_size, info.short_side, info.fit)
    if len(pixels) < 2:
        raise DatasetError("too-few-photos", f"fewer than two photos in {work.plan.photos} can be read; add some")
    return pixels


def embed_photos(work: Work, network: Network) -> Marked:
    """Embed every photo that can be read, rounded to float16; of equal files, only the first counts."""
    photos, total = work.photos, len(work.photos.paths)
    rows: list[NDArray[np.float32]] = []
    read: list[int] = []
    hashes: list[str] = []
    looks: list[Look] = []
    with work.stage("embedding photos"):
        for done, photo in enumerate(embed(photos.paths, network.running, network.info, look=True), 1):
            work.listener.step(done, total)
            if photo.error is not None and photo.error.reason == "not-numbers":
                raise BundleError(
                    "model-not-numbers",
                    f"the network {network.info.name} gives values that are not numbers (NaN or infinity) for "
                    f"{photo.path}; take other weights or another model",
                )
            if photo.error is not None or photo.embedding is None or photo.look is None:
                why = photo.error.reason if photo.error else "damaged"
                work.skipped.append(Left(photo.path, why, str(photo.error)))
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
    return Marked(examples, embeddings, paths, held, groups)


def _groups(work: Work, paths: tuple[Path, ...]) -> NDArray[np.int64]:
    """Group the photos, and report the groups."""
    by = work.plan.group_by
    groups = group_photos(paths, by, work.plan.photos)
    if by is not None:
        found = in_groups(groups)
        alone = f", {plural(int((found < 0).sum()), 'photo')} alone" if (found < 0).any() else ""
        work.listener.said(f"by {by}: {plural(int(found.max()) + 1, 'group')} of photos that stay together{alone}")
    return groups


def _held(work: Work, chosen: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which photos are used for validation: the folder's own part for that, else a fraction of each label."""
    photos, plan = work.photos, work.plan
    labels = photos.targets[chosen]
    if plan.holdout == 0:
        return np.zeros(len(labels), np.bool_)
    if photos.held.any():
        return photos.held[chosen]
    if plan.group_by is None:
        return hold_out(labels, plan.holdout, plan.seed)
    return split_groups(labels, groups, photos.labels, plan.holdout, plan.seed, lenient=True)


def background(work: Work, network: Network) -> Generic | None:
    """Return the statistics of generic photos: from a folder, or those of this package."""
    folder = work.plan.background
    if folder is None:
        found = shipped(network.cropping)
        if found is None:
            work.listener.said(
                "no generic photos: unknown pictures are recognised by the plain embedding (--background DIR)"
            )
        return found
    with work.stage("embedding generic photos"):
        generic = of_folder(folder, network.running, network.info, work.listener.step)
    work.skipped.extend(generic.skipped)
    counted = f"; {line(generic.files)}" if generic.files else ""
    work.listener.said(f"background: {generic.source}{counted}")
    return generic


def measure(work: Work, marked: Marked) -> Evaluation | None:
    """Fit a head to the photos that are not held out, and measure it on the others."""
    examples, held = marked.examples, marked.held
    if not held.any() or set(examples.labels[~held]) < set(examples.labels):
        return None
    with work.stage("fitting the head"):
        names = np.array(work.photos.labels, np.object_)[examples.labels]
        together = tuple(None if group < 0 else str(group) for group in examples.groups[~held].tolist())
        head = fit.fit(fit.Examples(marked.embeddings[~held], tuple(names[~held]), together)).head
        return evaluate(head.probabilities(marked.embeddings[held]), list(names[held]), head.labels, held_out=True)


def unmeasured(work: Work, marked: Marked) -> tuple[Unmeasured, ...]:
    """The labels without photos held out, with the reason."""
    labels, found = work.photos.labels, []
    lone = lone_labels(marked.examples.labels, marked.groups, labels)
    for target, label in enumerate(labels):
        mine = marked.examples.labels == target
        if (mine & marked.held).any():
            continue
        count = int(mine.sum())
        if count == 1:
            why = "its only photo is needed for training; add photos"
        elif label in lone:
            why = f"its {count} photos are all in one group; add photos taken on another occasion"
        else:
            why = f"none of its {count} photos is used for validation"
        found.append(Unmeasured(label, count, f"{label} was not measured: {why}"))
    return tuple(found)
