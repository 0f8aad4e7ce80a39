"""The commands that build and check a bundle: `build`, `check`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.answers import to_json
from edge.bundle.manifest import FITS
from edge.cli.terminal import PARTLY, PATH, confusion_table, say, say_json
from edge.errors import DatasetError
from edge.picture.count import line, partly
from edge.text import plural
from export.bundle import adapted
from export.cli import app
from export.cli.listener import Terminal, report_skipped, skipped_json
from export.network.backbones import DEFAULT

if TYPE_CHECKING:
    from edge.bundle.manifest import Manifest
    from export.bundle.check import Checked
    from export.bundle.plan import Built

SHOWN, TABLE = 20, 12  # labels named, and in a table


@click.command()
@click.argument("photos", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="File to write, ending in .edge.")
@click.option(
    "--backbone", help=f"Network: a name listed by `edge-export backbones`, or timm:NAME.  [default: {DEFAULT}]"
)
@app.weights
@click.option("--model", type=PATH, help="Use your own ONNX or TFLite embedding model.")
@click.option(
    "--photos", "elsewhere", type=PATH, help="Where the photos of an adapted network are now, if they were moved."
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=click.Choice(["onnx", "tflite"]),
    help="Model format to include.  [default: both]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "int8"]),
    help="Numeric precision to include.  [default: both]",
)
@app.option(
    "--holdout", default=0.2, type=click.FloatRange(0, 0.9), help="Fraction of photos kept back to measure accuracy."
)
@app.group_by
@click.option(
    "--fit",
    type=click.Choice(FITS),
    help="How photos are made square, here and on the device: crop the centre, pad with bars, or stretch.  "
    "[default: crop, or what the network was adapted with]",
)
@click.option(
    "--background", type=PATH, help="Folder of unrelated photos, which help the device recognise unknown pictures."
)
@app.seed(help="Random seed for the validation split.")
@app.shared
@app.interrupted("no bundle was written")
def build(
    photos: Path,
    output: Path,
    backbone: str | None,
    weights: str,
    model: Path | None,
    elsewhere: Path | None,
    runtimes: tuple[str, ...],
    precisions: tuple[str, ...],
    fit: str | None,
    **options: Any,
) -> int:
    """Build a bundle from PHOTOS, one folder per label.

    PHOTOS may also be a folder written by `edge-export adapt`: then the bundle contains the adapted network. Photos
    that the network was trained on are not used to measure accuracy.
    """
    network = photos if adapted.is_adapted(photos) else None
    if elsewhere and not network:
        raise click.UsageError(f"--photos needs a folder written by `edge-export adapt`, but {photos} is not one")
    if network and (backbone or weights or model):
        raise click.UsageError(f"{photos} contains its own network; omit --backbone, --weights and --model")
    if network:
        adaptation = adapted.read(network)
        if fit and fit != adaptation.fit:
            raise click.UsageError(f"{network} was adapted with --fit {adaptation.fit}, not {fit}; omit --fit")
        fit = adaptation.fit
        photos = elsewhere or Path(adaptation.photos)
        if not photos.is_dir():
            raise DatasetError(
                "folder-missing",
                f"the photos with which {network} was trained are not in {photos}; give --photos FOLDER",
            )
    if model and (backbone or weights or runtimes or precisions):
        raise click.UsageError("--model is bundled unchanged; omit --backbone, --weights, --runtime and --precision")
    from export.bundle.build import build as build_bundle
    from export.bundle.plan import Plan

    plan = Plan(
        photos=photos,
        output=output,
        created=app.now(),
        backbone=backbone or DEFAULT,
        weights=weights,
        model=model,
        adapted=network,
        runtimes=tuple(dict.fromkeys(runtimes)) or Plan.runtimes,
        precisions=tuple(dict.fromkeys(precisions)) or Plan.precisions,
        fit=fit or "crop",
        progress=sys.stderr.isatty(),
        **options,
    )
    with Terminal() as terminal:
        built = build_bundle(plan, terminal)
    if app.as_json():
        say_json(_built(built))
    else:
        report_skipped(built.skipped)
        for line in _lines(built):
            say(line)
    return PARTLY if partly(built.files) or (built.background_files and partly(built.background_files)) else 0


@click.command()
@click.argument("bundle", type=PATH)
@app.shared
def check(bundle: Path) -> None:
    """Verify BUNDLE and show what it contains.

    Every file in it is checked, and every model is run in each runtime that is installed here.
    """
    from export.bundle.check import check as check_bundle

    checked = check_bundle(bundle)
    manifest = checked.bundle.manifest
    if app.as_json():
        say_json({
            **_describe(bundle, manifest),
            "examples": checked.examples,
            "signed": checked.bundle.manifest.signed if checked.signer else None,
            "key": checked.signer.fingerprint if checked.signer else None,
            "proofs": [
                {"file": p.file, "runtime": p.runtime, "error": p.parity.error, "cosine": p.parity.cosine}
                for p in checked.proofs
            ],
        })  # fmt: skip
        return
    info = manifest.backbone
    say(f"{bundle}: {manifest.name}, format {manifest.format}, built {manifest.created} by {manifest.program}")
    fit = {"crop": "", "pad": ", photos padded to squares", "stretch": ", photos stretched to squares"}[info.fit]
    say(f"backbone {info.name}: {info.dimension} features from {info.input_size} × {info.input_size} pixels{fit}")
    say(f"  weights: {info.weights}; licence: {info.licence}")
    for model in manifest.models:
        form = "" if model.quantization == "none" else f", {model.quantization}"
        say(f"  {model.file}: {manifest.files[model.file].size / 1e6:.1f} MB, {model.precision}{form}")
        for proof in (p for p in checked.proofs if p.file == model.file):
            say(f"    {proof.runtime} here: error {proof.parity.error:.0e}, cosine {proof.parity.cosine:.4f}")
    say(f"{plural(sum(checked.examples.values()), 'example')}: {_counts(checked.examples)}")
    say(app.accuracy_line(manifest.accuracy))
    say(f"unknown pictures are recognised by: {_background(manifest)}")
    say("every hash, size and shape matches the manifest")
    say(_signed_line(checked))


def _lines(built: Built) -> list[str]:
    """The result of `build` for people: the accuracy, with everything that it leaves out beside it."""
    manifest, evaluation = built.bundle.manifest, built.evaluation
    lines = [f"parts of the folder: {built.layout}"] if built.layout else []
    total = sum(built.examples.values())
    lines.append(f"{plural(total, 'example')} of {plural(len(built.examples), 'label')}: {_counts(built.examples)}")
    lines.append(app.accuracy_line(manifest.accuracy))
    lines += [unmeasured.reason for unmeasured in built.unmeasured[:SHOWN]]
    if len(built.unmeasured) > SHOWN:
        lines.append(f"{len(built.unmeasured) - SHOWN} more labels were not measured; --json lists them")
    lines += [f"warning: {found}" for found in (built.bursts.warning, *built.warnings) if found]
    lines += [f"warning: {odd.line(total)}" for odd in built.odd]
    if evaluation is not None:
        rows = zip(evaluation.labels, evaluation.confusion.diagonal(), evaluation.confusion.sum(axis=1), strict=True)
        each = sorted(
            ((right / held, label, right, held) for label, right, held in rows if held), key=lambda row: row[0]
        )
        shown = _some([f"{label} {right} of {held}" for _, label, right, held in each])
        lines.append(f"correct by label, the worst first: {shown}")
        if len(evaluation.labels) <= TABLE:
            lines += ["", "true labels (rows) and answers (columns):"]
            lines += [*confusion_table(evaluation.labels, evaluation.labels, evaluation.confusion.tolist()), ""]
    written, seconds = built.bundle.path, sum(built.seconds.values())
    return [
        *lines,
        f"{written}: {written.stat().st_size / 1e6:.1f} MB, built in {seconds:.0f} s",
        f"next: edge-export deploy {written} USER@HOST, or on the device: edge init {written.name}",
        line(built.files),
    ]


def _built(built: Built) -> dict[str, Any]:
    """The result of `build` as JSON."""
    evaluation = built.evaluation
    return {
        **_describe(built.bundle.path, built.bundle.manifest),
        "examples": built.examples,
        "measured": evaluation and {
            "labels": list(evaluation.labels),
            "photos": evaluation.confusion.sum(axis=1).tolist(),
            "right": evaluation.confusion.diagonal().tolist(),
            "confusion": evaluation.confusion.tolist(),
        },
        "unmeasured": to_json(built.unmeasured),
        "group_by": built.group_by,
        "groups": int(built.groups.max(initial=-1)) + 1,
        "bursts": list(built.bursts.labels),
        "odd": [{"word": odd.word, "advice": odd.advice, "paths": [str(p) for p in odd.paths]} for odd in built.odd],
        "warnings": [text for text in (built.bursts.warning, *built.warnings) if text],
        "cut_off": built.cut_off._asdict(),
        "layout": built.layout or None,
        "counted": to_json(built.files),
        "background_counted": to_json(built.background_files),
        "skipped": skipped_json(built.skipped),
        "seconds": {stage: round(seconds, 3) for stage, seconds in built.seconds.items()},
    }  # fmt: skip


def _describe(path: Path, manifest: Manifest) -> dict[str, Any]:
    """A manifest as JSON."""
    info, accuracy = manifest.backbone, manifest.accuracy
    return {
        "bundle": str(path),
        "bytes": path.stat().st_size,
        "name": manifest.name,
        "created": manifest.created,
        "backbone": {
            "name": info.name, "weights": info.weights, "licence": info.licence, "input_size": info.input_size,
            "fit": info.fit, "embedding": info.dimension, "fingerprint": info.fingerprint,
        },
        "labels": list(manifest.labels),
        "background": manifest.background,
        "files": [
            {**asdict(model), "bytes": manifest.files[model.file].size} for model in manifest.models
        ],
        "accuracy": accuracy and {
            "accuracy": accuracy.accuracy, "interval": [accuracy.low, accuracy.high], "photos": accuracy.photos,
        },
    }  # fmt: skip


def _background(manifest: Manifest) -> str:
    if manifest.background is None:
        return "the plain embedding, because no generic photos were given (edge-export build --background DIR)"
    return f"the embedding, whitened by {manifest.background}"


def _signed_line(checked: Checked) -> str:
    if checked.signer is None:
        return "not signed, so its origin is unknown (edge-export sign)"
    when, key = checked.bundle.manifest.signed, checked.signer.fingerprint
    return f"signed {when} with {key}; devices check whether they trust that key, this command does not"


def _counts(examples: Mapping[str, int]) -> str:
    return _some([f"{label} {count}" for label, count in examples.items()])


def _some(words: Sequence[str]) -> str:
    more = f", … {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
