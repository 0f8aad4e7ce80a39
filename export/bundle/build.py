"""Build a bundle from a folder of photos: the whole of `edge-export build` except what it prints.

In order: list the photos; load the backbone and export it; quantize it on some of the photos; compare every model with
PyTorch on the device's runtimes; embed all photos; fit a head on most of them and measure it on the others; write the
bundle. If anything fails, no bundle is written, and an older one of that name is unchanged.

All examples go into the bundle. Those held out only serve to measure accuracy, so the figure is that of a head trained
on slightly fewer examples than the device's head. An adapted network has its own held-out photos, and the examples that
it was trained on are marked, so that they never count in a figure.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from edge.bundle import archive
from edge.bundle.archive import FactoryDomain, Golden
from edge.bundle.manifest import Accuracy, BackboneInfo, Manifest, ModelFile
from edge.network.backbone import Backbone, find_runtime, open_backbone
from export.bundle import adapted, measured
from export.bundle.plan import Built, Listener, Network, Plan, Work
from export.convert.converters import to_onnx, to_tflite
from export.convert.own_model import OwnModel, check_embeddings, read_own_model
from export.convert.parity import embed_with_torch, golden_images, prove_everywhere, worst
from export.convert.quantize import quantize
from export.network import backbones, form
from export.network.embedder import check_answers
from export.photos.bursts import Bursts, find_bursts
from export.photos.cut_off import cut_off, warning
from export.photos.folders import find_photos
from export.photos.odd import domain_of, odd_photos
from export.photos.sorted_out import counted
from export.written import check_bundle


def build(plan: Plan, listener: Listener) -> Built:
    """Build a bundle.

    Raises:
        DatasetError: The folder of photos cannot be used.
        BundleError: The weights or the model do not fit, a file cannot be exported, or the path cannot be written.
        ParityError: An exported model differs from PyTorch; the message says by how much.
        RuntimeMissing: A format's runtime is not installed here, so its model cannot be tested.
    """
    check_bundle(plan.output)
    adaptation = adapted.read(plan.adapted) if plan.adapted else None
    if adaptation and plan.group_by is None:
        plan = replace(plan, group_by=adaptation.report.get("group_by"))
    work = Work(plan, find_photos(plan.photos), listener, adaptation)
    network = _own_network(work, read_own_model(plan.model)) if plan.model else _network(work)
    cut = cut_off(work.photos.paths, network.info.input_size, network.info.short_side, plan.fit)
    lost = warning(cut)
    generic = measured.background(work, network)
    marked = measured.embed_photos(work, network)
    examples = marked.examples
    labels = work.photos.labels
    evaluation = measured.measure(work, marked)
    accuracy = Accuracy(evaluation.accuracy, *evaluation.interval, evaluation.examples) if evaluation else None
    manifest = Manifest(
        plan.output.stem, plan.created, network.info, labels, tuple(network.models), accuracy,
        background=generic.source if generic else None,
    )  # fmt: skip
    domain = FactoryDomain(domain_of(work.looks), np.stack([look.thumb for look in work.looks]))
    background = generic.background if generic else None
    files = {model.file: data for model, data in network.models.items()}
    written = archive.write(plan.output, manifest, files, network.golden, examples, background, domain)
    counts = np.bincount(examples.labels, minlength=len(labels))
    shares = dict(zip(labels, counts.tolist(), strict=True))
    told = evaluation is not None and plan.group_by is None and not work.photos.held.any()
    return Built(
        bundle=written,
        examples=shares,
        evaluation=evaluation,
        unmeasured=measured.unmeasured(work, marked) if evaluation else (),
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


def _network(work: Work) -> Network:
    """Load a backbone of the table, export, quantize and prove it."""
    plan, watch = work.plan, work.listener
    with work.stage("loading the network"):
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
    calibration = measured.calibration(work, info) if "int8" in plan.precisions else images[:0]
    models: dict[ModelFile, bytes] = {}
    running: Backbone | None = None
    for kind in plan.runtimes:
        with work.stage(f"exporting to {kind}"):
            exact = {"onnx": to_onnx, "tflite": to_tflite}[kind](loaded.embedder, row.size)
        # one thread: edge.network.photos gives each processor core whole pictures
        running = running or open_backbone(exact, find_runtime({kind}), threads=1)
        if "fp32" in plan.precisions:
            models[_proved(work, exact, kind, "fp32", "none", golden)] = exact
        if "int8" in plan.precisions:
            with work.stage(f"quantizing {kind}"):
                small = quantize(exact, kind, calibration, images)
            models[_proved(work, small.model, kind, "int8", small.method, golden)] = small.model
    assert running is not None, "a plan names a runtime"
    usual = form.fingerprint(loaded.embedder, row.size, crop=row.crop)
    return Network(info, models, golden, running, cropping=usual)


def _own_network(work: Work, own: OwnModel) -> Network:
    """Use a model as it is; the embeddings that it gives here are the reference."""
    size = own.opened.size
    images = golden_images(size, seed=work.plan.seed)
    golden = Golden(images, own.opened.embed(images))
    depends = f"{hashlib.sha256(own.data).hexdigest()} {form.cut(size, work.plan.fit)}"
    info = BackboneInfo(
        own.name, hashlib.sha256(depends.encode()).hexdigest(),
        f"file {own.name}", "as that file's", size, form.short_side(size), own.opened.dimension, work.plan.fit,
    )  # fmt: skip
    work.listener.said(f"backbone {own.name}: {info.dimension} features from {size} × {size} pixels, as delivered")
    model = _proved(work, own.data, own.format, own.precision, "as delivered", golden)
    return Network(info, {model: own.data}, golden, own.opened, is_own=True)


def _proved(work: Work, data: bytes, kind: str, precision: str, quantization: str, golden: Golden) -> ModelFile:
    """Prove one model, and describe it."""
    name = f"backbone.{kind}" if precision == "fp32" else f"backbone.int8.{kind}"
    with work.stage(f"proving {name}"):
        proofs = prove_everywhere(data, name, kind, precision, golden)
    parity = worst(proofs)
    form = "" if quantization == "none" else f", {quantization}"
    figure = f"error {parity.error:.0e} of the largest value" if precision == "fp32" else f"cosine {parity.cosine:.4f}"
    on = " and ".join(proof.runtime for proof in proofs)
    work.listener.said(f"{name}: {len(data) / 1e6:.1f} MB{form}; on {on} {figure}")
    return ModelFile(name, kind, precision, quantization, parity.error, parity.cosine)
