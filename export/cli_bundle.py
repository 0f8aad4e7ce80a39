"""The commands that make a bundle and look into one: `build`, `check`. Like `cli`, they parse, call, and print."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.errors import DatasetError
from edge.terminal import PARTLY, percent, plural, say, say_json
from export import cli
from export.watchers import Terminal, report_skipped

if TYPE_CHECKING:
    from edge.manifest import Accuracy, Manifest
    from export.check import Checked

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("photos", type=_PATH)
@click.option("-o", "--output", required=True, type=_PATH, help="The bundle, NAME.edge.")
@click.option("--backbone", help="A name of `edge-export backbones`.  [default: embedded]")
@click.option("--weights", help="`imagenet`, `embedded`, or a state dict's file.  [default: by backbone]")
@click.option("--model", type=_PATH, help="Your own ONNX or TFLite embedding model instead.")
@click.option("--photos", "elsewhere", type=_PATH, help="With an adapted folder: where the photos are now.")
@click.option("--runtime", "runtimes", multiple=True, type=click.Choice(["onnx", "tflite"]), help="[default: both]")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["fp32", "int8"]), help="[default: both]")
@click.option("--holdout", default=0.2, show_default=True, type=click.FloatRange(0, 0.9), help="Share for the figure.")
@click.option("--background", type=_PATH, help="Folder of generic photos: the device tells unknown pictures better.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of what is held out.")
@cli.shared
def build(
    photos: Path,
    output: Path,
    backbone: str | None,
    weights: str | None,
    model: Path | None,
    elsewhere: Path | None,
    runtimes: tuple[str, ...],
    precisions: tuple[str, ...],
    holdout: float,
    background: Path | None,
    seed: int,
) -> int:
    """Build a bundle from PHOTOS, one folder per label.

    PHOTOS may be the folder that `edge-export adapt` wrote: its network is bundled, with the photos that it was adapted
    to; those that it was trained on are marked and count in no figure.
    """
    from export import adapted

    network = photos if adapted.is_adapted(photos) else None
    if elsewhere and not network:
        raise click.UsageError(f"--photos goes with a folder that `edge-export adapt` wrote; {photos} is none")
    if network and (backbone or weights or model):
        raise click.UsageError(f"{photos} brings its own network: leave out --backbone, --weights and --model")
    if network:
        photos = elsewhere or Path(adapted.read(network).photos)
        if not photos.is_dir():
            raise DatasetError(f"the photos that {network} was adapted to are not in {photos}; give --photos FOLDER")
    if model and (backbone or weights or runtimes or precisions):
        raise click.UsageError("--model is taken as it is: leave out --backbone, --weights, --runtime and --precision")
    from export.build import Plan
    from export.build import build as build_bundle

    plan = Plan(
        photos=photos,
        output=output,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        backbone=backbone or "embedded",
        weights=weights or "",
        model=model,
        adapted=network,
        runtimes=tuple(dict.fromkeys(runtimes)) or Plan.runtimes,
        precisions=tuple(dict.fromkeys(precisions)) or Plan.precisions,
        holdout=holdout,
        background=background,
        seed=seed,
        progress=sys.stderr.isatty(),
    )
    terminal = Terminal()
    try:
        built = build_bundle(plan, terminal)
    finally:
        terminal.done()
    manifest = built.bundle.manifest
    if cli.as_json():
        say_json({
            **_describe(built.bundle.path, manifest),
            "examples": built.examples,
            "skipped": [{"path": str(s.path), "reason": s.reason, "copy": s.is_copy} for s in built.skipped],
            "seconds": {stage: round(seconds, 3) for stage, seconds in built.seconds.items()},
        })  # fmt: skip
    else:
        report_skipped(built.skipped)
        total = sum(built.examples.values())
        say(f"{plural(total, 'example')} of {plural(len(built.examples), 'label')}: {_counts(built.examples)}")
        say(_accuracy_line(manifest.accuracy))
        say(f"{output}: {output.stat().st_size / 1e6:.1f} MB, built in {sum(built.seconds.values()):.0f} s")
    return PARTLY if any(not photo.is_copy for photo in built.skipped) else 0


@click.command()
@click.argument("bundle", type=_PATH)
@cli.shared
def check(bundle: Path) -> None:
    """Verify BUNDLE, prove it here, and say what is in it.

    Every byte is checked, and every network runs on each of its runtimes that is installed.
    """
    from export.check import check as check_bundle

    checked = check_bundle(bundle)
    manifest = checked.bundle.manifest
    if cli.as_json():
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
    say(f"backbone {info.name}: {info.dimension} features from {info.input_size} × {info.input_size} pixels")
    say(f"  weights: {info.weights}; licence: {info.licence}")
    for model in manifest.models:
        form = "" if model.quantization == "none" else f", {model.quantization}"
        say(f"  {model.file}: {manifest.files[model.file].size / 1e6:.1f} MB, {model.precision}{form}")
        for proof in (p for p in checked.proofs if p.file == model.file):
            say(f"    {proof.runtime} here: off by {proof.parity.error:.0e}, cosine {proof.parity.cosine:.4f}")
    say(f"{plural(sum(checked.examples.values()), 'example')}: {_counts(checked.examples)}")
    say(_accuracy_line(manifest.accuracy))
    say(f"unknown pictures are told by: {_background(manifest)}")
    say("every hash, size and shape is as the manifest says")
    say(_signed_line(checked))


def _describe(path: Path, manifest: Manifest) -> dict[str, Any]:
    """What a manifest says, as JSON says it."""
    info, accuracy = manifest.backbone, manifest.accuracy
    return {
        "bundle": str(path),
        "bytes": path.stat().st_size,
        "name": manifest.name,
        "created": manifest.created,
        "backbone": {
            "name": info.name, "weights": info.weights, "licence": info.licence, "input_size": info.input_size,
            "embedding": info.dimension, "fingerprint": info.fingerprint,
        },
        "labels": list(manifest.labels),
        "background": manifest.background,
        "files": [
            {
                "file": model.file, "bytes": manifest.files[model.file].size, "format": model.format,
                "precision": model.precision, "quantization": model.quantization, "error": model.error,
                "cosine": model.cosine,
            }
            for model in manifest.models
        ],
        "accuracy": accuracy and {
            "accuracy": accuracy.accuracy, "interval": [accuracy.low, accuracy.high], "photos": accuracy.photos,
        },
    }  # fmt: skip


def _background(manifest: Manifest) -> str:
    if manifest.background is None:
        return "the plain embedding, as no generic photos were given (edge-export build --background DIR)"
    return f"the embedding, whitened by {manifest.background}"


def _signed_line(checked: Checked) -> str:
    if checked.signer is None:
        return "not signed: who made it is not known (edge-export sign)"
    when, key = checked.bundle.manifest.signed, checked.signer.fingerprint
    return f"signed {when} with {key}; devices ask whether they trust that key, this command does not"


def _accuracy_line(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "accuracy: not measured (nothing was held out)"
    right = round(accuracy.accuracy * accuracy.photos)
    return (
        f"accuracy {percent(accuracy.accuracy)} on photos held out ({right} of {accuracy.photos} right; "
        f"95 % interval {percent(accuracy.low)} to {percent(accuracy.high)})"
    )


def _counts(examples: Mapping[str, int]) -> str:
    shown = [f"{label} {count}" for label, count in list(examples.items())[:20]]
    return ", ".join(shown) + (f", … {len(examples) - 20} more" if len(examples) > 20 else "")


for _command in (build, check):
    cli.add(_command)
