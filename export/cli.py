"""`edge-export`: one command per task of the workstation. Parses, calls, prints; decides nothing.

Results go to stdout, progress to stderr (a bar only on a terminal). Exit codes: 0 done, 1 an error in one line,
2 usage, 3 partly done (some photos could not be read). `EDGE_DEBUG=1` shows the traceback of an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import edge
from edge.errors import EdgeError

if TYPE_CHECKING:
    from export.dataset import Skipped

PARTLY = 3

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")


def main() -> None:
    """Run the command line, turning an EdgeError into one line and exit code 1."""
    try:
        sys.exit(cli(prog_name="edge-export", standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on; keep the interpreter from saying so at exit
        sys.exit(1)
    except EdgeError as error:
        if os.environ.get("EDGE_DEBUG") == "1":
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(edge.__version__, prog_name="edge-export")
def cli() -> None:
    """Turn a folder of photos into a bundle that an edge device can run and retrain."""


@cli.command()
@as_json
def backbones(as_json: bool) -> None:
    """List the networks that can be adapted."""
    from export.backbones import BACKBONES

    rows = list(BACKBONES.values())
    if as_json:
        _print_json([
            {
                "name": row.name, "parameters": row.parameters, "multiply_adds": row.multiply_adds,
                "embedding": row.embedding, "input_size": row.size, "weights": row.origin, "licence": row.licence,
            }
            for row in rows
        ])  # fmt: skip
        return
    head = ("name", "parameters", "multiply-adds", "embedding", "input", "weights")
    table = [
        (
            row.name, f"{row.parameters / 1e6:.1f} M", f"{row.multiply_adds / 1e6:.0f} M", str(row.embedding),
            f"{row.size} px", row.origin,
        )
        for row in rows
    ]  # fmt: skip
    _print_table(head, table)


@cli.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The bundle, NAME.edge.")
@click.option("--backbone", help="A name of `edge-export backbones`.  [default: embedded]")
@click.option("--weights", help="`imagenet`, `embedded`, or a state dict's file.  [default: by backbone]")
@click.option("--model", type=click.Path(path_type=Path), help="Your own ONNX or TFLite embedding model instead.")
@click.option("--runtime", "runtimes", multiple=True, type=click.Choice(["onnx", "tflite"]), help="[default: both]")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["fp32", "int8"]), help="[default: both]")
@click.option("--holdout", default=0.2, show_default=True, type=click.FloatRange(0, 0.9), help="Share for the figure.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of what is held out.")
@as_json
def build(
    photos: Path,
    output: Path,
    backbone: str | None,
    weights: str | None,
    model: Path | None,
    runtimes: tuple[str, ...],
    precisions: tuple[str, ...],
    holdout: float,
    seed: int,
    as_json: bool,
) -> int:
    """Build a bundle from PHOTOS, one folder per label."""
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
        runtimes=tuple(dict.fromkeys(runtimes)) or Plan.runtimes,
        precisions=tuple(dict.fromkeys(precisions)) or Plan.precisions,
        holdout=holdout,
        seed=seed,
        progress=sys.stderr.isatty(),
    )
    with _Terminal() as terminal:
        built = build_bundle(plan, terminal)
    manifest = built.bundle.manifest
    if as_json:
        _print_json({
            **_describe(built.bundle.path, manifest),
            "examples": built.examples,
            "skipped": [{"path": str(s.path), "reason": s.reason, "copy": s.is_copy} for s in built.skipped],
            "seconds": {stage: round(seconds, 3) for stage, seconds in built.seconds.items()},
        })  # fmt: skip
    else:
        _report_skipped(built.skipped)
        total = sum(built.examples.values())
        click.echo(f"{total} examples of {len(built.examples)} labels: {_counts(built.examples)}")
        click.echo(_accuracy_line(manifest.accuracy))
        click.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB, built in {sum(built.seconds.values()):.0f} s")
    return PARTLY if any(not photo.is_copy for photo in built.skipped) else 0


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@as_json
def check(bundle: Path, as_json: bool) -> None:
    """Verify BUNDLE, prove it here, and say what is in it.

    Every byte is checked, and every network runs on each of its runtimes that is installed.
    """
    from export.check import check as check_bundle

    checked = check_bundle(bundle)
    manifest = checked.bundle.manifest
    if as_json:
        _print_json({
            **_describe(bundle, manifest),
            "examples": checked.examples,
            "proofs": [
                {"file": p.file, "runtime": p.runtime, "error": p.parity.error, "cosine": p.parity.cosine}
                for p in checked.proofs
            ],
        })  # fmt: skip
        return
    info = manifest.backbone
    click.echo(f"{bundle}: {manifest.name}, format {manifest.format}, built {manifest.created} by {manifest.program}")
    click.echo(f"backbone {info.name}: {info.dimension} features from {info.input_size} × {info.input_size} pixels")
    click.echo(f"  weights: {info.weights}; licence: {info.licence}")
    for model in manifest.models:
        form = "" if model.quantization == "none" else f", {model.quantization}"
        click.echo(f"  {model.file}: {manifest.files[model.file].size / 1e6:.1f} MB, {model.precision}{form}")
        for proof in (p for p in checked.proofs if p.file == model.file):
            click.echo(f"    {proof.runtime} here: off by {proof.parity.error:.0e}, cosine {proof.parity.cosine:.4f}")
    click.echo(f"{sum(checked.examples.values())} examples: {_counts(checked.examples)}")
    click.echo(_accuracy_line(manifest.accuracy))
    click.echo("every hash, size and shape is as the manifest says")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@as_json
def sample(folder: Path, as_json: bool) -> None:
    """Write a small set of real photographs into FOLDER."""
    from export.sample import write_sample

    counts = write_sample(folder)
    if as_json:
        _print_json({"folder": str(folder), "photos": counts})
        return
    for name, count in counts.items():
        click.echo(f"{folder / name}: {count} photos")
    click.echo(f"{folder / 'SOURCE.txt'}: where they come from, and their licences")
    click.echo(f"next: edge-export build {folder / 'photos'} -o surfaces.edge")


# --- what is printed -------------------------------------------------------------------------------------------------


class _Terminal(contextlib.AbstractContextManager["_Terminal"]):
    """A build's watcher: results as lines on stderr, what is going on only where a person looks on."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._what = ""
        self._drawn = -1

    def doing(self, what: str) -> None:
        self._what, self._drawn = what, -1
        self._draw(f"{what} …")

    def step(self, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if percent != self._drawn:
            self._drawn = percent
            bar = "█" * (percent // 4)
            self._draw(f"{self._what} {bar:<25} {done}/{total}")

    def said(self, line: str) -> None:
        self._draw("")
        click.echo(line, err=True)

    def __exit__(self, *_: object) -> None:
        self._draw("")

    def _draw(self, text: str) -> None:
        if self._live:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)


def _describe(path: Path, manifest: Any) -> dict[str, Any]:
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


def _accuracy_line(accuracy: Any) -> str:
    if accuracy is None:
        return "accuracy: not measured (nothing was held out)"
    right = round(accuracy.accuracy * accuracy.photos)
    return (
        f"accuracy {accuracy.accuracy:.1%} on photos held out ({right} of {accuracy.photos} right; "
        f"95 % interval {accuracy.low:.1%} to {accuracy.high:.1%})"
    )


def _counts(examples: Any) -> str:
    shown = [f"{label} {count}" for label, count in list(examples.items())[:20]]
    return ", ".join(shown) + (f", … {len(examples) - 20} more" if len(examples) > 20 else "")


def _report_skipped(skipped: tuple[Skipped, ...]) -> None:
    for photo in skipped[:10]:
        click.echo(f"left out: {photo.reason}", err=True)
    if len(skipped) > 10:
        click.echo(f"left out: {len(skipped) - 10} more", err=True)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [
            cell.rjust(w) if 0 < i < 5 else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
