"""`edge-export`: one command per task of the workstation. Parses, calls, prints; decides nothing.

Results go to stdout, progress to stderr (a bar only on a terminal). Exit codes: 0 done, 1 an error in one line,
2 usage, 3 partly done (some photos could not be read). `EDGE_DEBUG=1` shows the traceback of an error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import edge
from edge.errors import BundleError, DatasetError
from edge.files import check_output
from edge.terminal import PARTLY, Progress, complain, percent, plural, run, say, say_json, table

if TYPE_CHECKING:
    from edge.manifest import Accuracy, Manifest
    from export.check import Checked
    from export.dataset import Skipped

_PATH = click.Path(path_type=Path)


def _remember(context: click.Context, _option: click.Parameter, value: bool) -> None:
    """Let --json stand before or after the command's name."""
    if value:
        context.ensure_object(dict)["json"] = True


as_json = click.option(
    "--json", is_flag=True, expose_value=False, callback=_remember, help="Print one JSON object, for programs."
)


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    run(cli, "edge-export")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(edge.__version__, prog_name="edge-export")
@as_json
def cli() -> None:
    """Turn a folder of photos into a bundle that an edge device can run and retrain."""


def _for_programs() -> bool:
    return bool(click.get_current_context().ensure_object(dict).get("json"))


@cli.command()
@as_json
def backbones() -> None:
    """List the networks that can be adapted."""
    from export.backbones import BACKBONES

    if _for_programs():
        say_json([
            {
                "name": row.name, "parameters": row.parameters, "multiply_adds": row.multiply_adds,
                "embedding": row.embedding, "input_size": row.size, "weights": row.origin, "licence": row.licence,
            }
            for row in BACKBONES.values()
        ])  # fmt: skip
        return
    rows = [("name", "parameters", "multiply-adds", "embedding", "input", "weights")]
    for row in BACKBONES.values():
        costs = f"{row.parameters / 1e6:.1f} M", f"{row.multiply_adds / 1e6:.0f} M"
        rows.append((row.name, *costs, str(row.embedding), f"{row.size} px", row.origin))
    for line in table(rows, right=range(1, 5)):
        say(line)


@cli.command()
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
@as_json
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
    terminal = _Terminal()
    try:
        built = build_bundle(plan, terminal)
    finally:
        terminal.done()
    manifest = built.bundle.manifest
    if _for_programs():
        say_json({
            **_describe(built.bundle.path, manifest),
            "examples": built.examples,
            "skipped": [{"path": str(s.path), "reason": s.reason, "copy": s.is_copy} for s in built.skipped],
            "seconds": {stage: round(seconds, 3) for stage, seconds in built.seconds.items()},
        })  # fmt: skip
    else:
        _report_skipped(built.skipped)
        total = sum(built.examples.values())
        say(f"{plural(total, 'example')} of {plural(len(built.examples), 'label')}: {_counts(built.examples)}")
        say(_accuracy_line(manifest.accuracy))
        say(f"{output}: {output.stat().st_size / 1e6:.1f} MB, built in {sum(built.seconds.values()):.0f} s")
    return PARTLY if any(not photo.is_copy for photo in built.skipped) else 0


@cli.command()
@click.argument("photos", type=_PATH)
@click.option("-o", "--output", required=True, type=_PATH, help="Folder to write, for `edge-export build`.")
@click.option("--backbone", default="embedded", show_default=True, help="A name of `edge-export backbones`.")
@click.option("--weights", default="", help="`imagenet`, `embedded`, or a state dict's file.  [default: by backbone]")
@click.option("--size", type=click.IntRange(32, 1024), help="Pixels per side.  [default: the network's]")
@click.option(
    "--strategy",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "head", "taps", "norm-bias", "last-stage", "full"]),
    help="What may change; auto tries all.",
)
@click.option(
    "--minutes",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="For everything together.",
)
@click.option("--group-by", type=click.Choice(["prefix", "folder", "session"]), help="Keep such photos on one side.")
@click.option("--flip/--no-flip", default=True, help="Whether mirror images may be trained on.  [default: flip]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed, the same network.")
@as_json
def adapt(
    photos: Path,
    output: Path,
    backbone: str,
    weights: str,
    size: int | None,
    strategy: str,
    minutes: float,
    group_by: str | None,
    flip: bool,
    seed: int,
) -> int:
    """Adapt a network to PHOTOS, one folder per label.

    A fifth of the photos is held out. Strategies that change more and more are tried within the time given; kept is the
    one that names most photos rightly, the cheaper of two that are as good. Killed, it goes on where it was when the
    same command is given again. Under torchrun, several processes share the work.
    """
    from export.adapt import Plan
    from export.adapt import adapt as adapt_network
    from export.spread import spread

    plan = Plan(
        photos=photos,
        output=output,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        backbone=backbone,
        weights=weights,
        size=size or 0,
        strategy=strategy,
        minutes=minutes,
        seed=seed,
        group_by=group_by,
        flip=flip,
        progress=sys.stderr.isatty(),
    )
    with spread() as processes:
        watcher = _Terminal() if processes.is_first else _Silent()
        try:
            result = adapt_network(plan, watcher, processes)
        finally:
            watcher.done()
        if not processes.is_first:
            return 0
    skipped = result.material.skipped
    if _for_programs():
        say_json({
            "folder": str(output), "strategy": result.kept, "why": result.why,
            "accuracy": result.evaluation.accuracy, "interval": list(result.evaluation.interval),
            "held_out": int(result.held.sum()), "photos": len(result.held), "seconds": round(result.seconds, 1),
            "strategies": result.adaptation.report["strategies"], "baselines": result.adaptation.report["baselines"],
            "warning": result.baselines.warning or None,
            "skipped": [{"path": str(s.path), "reason": s.reason, "copy": s.is_copy} for s in skipped],
        })  # fmt: skip
    else:
        _report_skipped(skipped)
        rows = [("strategy", "what changes", "held out, right", "minutes", "changed")]
        for outcome in result.outcomes:
            missing = "no time" if outcome.strategy.trains else "–"
            figure = percent(outcome.measured.accuracy) if outcome.measured else missing
            changed = f"{outcome.bytes / 1e6:.2f} MB" if outcome.bytes else "nothing"
            name = outcome.strategy.name + (" *" if outcome.strategy.name == result.kept else "")
            rows.append((name, outcome.strategy.summary, figure, f"{outcome.seconds / 60:.1f}", changed))
        for line in table(rows, right=(2, 3, 4)):
            say(line)
        say(f"kept: {result.kept}: {result.why}")
        low, high = result.evaluation.interval
        right, total = int(result.final.right.sum()), len(result.final.right)
        figure = f"accuracy {percent(result.evaluation.accuracy)} on photos held out ({right} of {total} right"
        say(f"{figure}; 95 % interval {percent(low)} to {percent(high)})")
        say(f"{output / 'report.html'}: learning curves, confusions and the worst photos")
        say(f"next: edge-export build {output} -o {output.resolve().name}.edge")
    return PARTLY if any(not photo.is_copy for photo in skipped) else 0


@cli.command()
@click.argument("photos", type=_PATH)
@click.option(
    "--backbone", "names", multiple=True, help="A name of `edge-export backbones`, or NAME=WEIGHTS.  [default: all]"
)
@click.option("--size", "sizes", multiple=True, type=click.IntRange(32, 1024), help="Pixels.  [default: 224 and 160]")
@click.option("--plot", "picture", type=_PATH, help="Draw accuracy against latency: a .svg, .png or .pdf file.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the photos asked, if many.")
@as_json
def compare(photos: Path, names: tuple[str, ...], sizes: tuple[int, ...], picture: Path | None, seed: int) -> int:
    """Rank networks on PHOTOS before any training.

    PHOTOS holds one folder per label. Every network embeds them as the device would; the share named rightly, each
    photo left out in its turn, stands beside the time and the size that it costs.
    """
    from export import compare as comparing
    from export.backbones import BACKBONES

    if picture and picture.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise click.UsageError(f"--plot {picture} ends in none of .svg, .png, .pdf")
    pairs = [name.partition("=")[::2] for name in names] or [(name, "") for name in BACKBONES]
    wanted = [
        comparing.Candidate(name, weights, size)
        for name, weights in dict.fromkeys(pairs)
        for size in dict.fromkeys(sizes or (224, 160))
    ]
    terminal = _Terminal()
    try:
        found = comparing.compare(photos, wanted, terminal, seed)
    finally:
        terminal.done()
    if picture:
        comparing.plot(found).savefig(picture, dpi=150)
    if _for_programs():
        say_json({
            "photos": found.photos,
            "take": {"backbone": found.take.candidate.backbone, "size": found.take.candidate.size},
            "advice": found.advice, "warning": found.baselines.warning or None,
            "baselines": {"pretrained": found.baselines.pretrained, "random": found.baselines.random,
                          "pixels": found.baselines.pixels, "photos": found.baselines.photos},
            "networks": [
                {
                    "backbone": one.candidate.backbone, "size": one.candidate.size, "accuracy": one.accuracy,
                    "interval": list(one.interval), "logme": one.logme, "milliseconds": one.milliseconds,
                    "bytes": one.bytes,
                }
                for one in found.ranked
            ],
            "failed": list(found.failed),
            "skipped": [{"path": str(s.path), "reason": s.reason, "copy": s.is_copy} for s in found.skipped],
        })  # fmt: skip
    else:
        for line in found.failed:
            complain(f"left out: {line}")
        _report_skipped(found.skipped)
        rows = [("network", "pixels", "right", "95 % interval", "LogME", "ms", "MB", "")]
        for one in found.ranked:
            low, high = (f"{100 * end:.1f}" for end in one.interval)
            costs = f"{one.milliseconds:.1f}", f"{one.bytes / 1e6:.1f}"
            rows.append((
                one.candidate.backbone, str(one.candidate.size), percent(one.accuracy), f"{low}–{high}",
                f"{one.logme:.3f}", *costs, "← take this" if one is found.take else "",
            ))  # fmt: skip
        for line in table(rows, right=range(1, 7)):
            say(line)
        say(f"{plural(found.photos, 'photo')}, each named with itself left out; ms a picture on one core here, fp32")
        base = found.baselines
        say(
            f"pretrained {percent(base.pretrained)}, the same network untrained {percent(base.random)}, "
            f"16 × 16 pixels without one {percent(base.pixels)} (on {base.photos} of the photos)"
        )
        if base.warning:
            say(f"warning: {base.warning}")
        say(found.advice)
        if picture:
            say(f"{picture}: accuracy against latency")
    return PARTLY if found.failed or any(not photo.is_copy for photo in found.skipped) else 0


@cli.command()
@click.argument("bundle", type=_PATH)
@as_json
def check(bundle: Path) -> None:
    """Verify BUNDLE, prove it here, and say what is in it.

    Every byte is checked, and every network runs on each of its runtimes that is installed.
    """
    from export.check import check as check_bundle

    checked = check_bundle(bundle)
    manifest = checked.bundle.manifest
    if _for_programs():
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


@cli.command()
@click.argument("bundle", type=_PATH)
@click.option("--key", required=True, type=_PATH, help="Your private key, as `ssh-keygen -t ed25519` makes it.")
@as_json
def sign(bundle: Path, key: Path) -> None:
    """Sign BUNDLE, so that devices know who sent it.

    Devices that pin your key (edge init --trust KEY.pub) take bundles of yours alone, and none signed before the newest
    that they have. Signing an older bundle again lets them go back to it.
    """
    from edge.signature import signer
    from export.sign import sign as sign_bundle

    def ask() -> str | None:
        return click.prompt(f"passphrase of {key}", hide_input=True, err=True) if sys.stdin.isatty() else None

    signed = sign_bundle(bundle, key, datetime.now(UTC).isoformat(timespec="seconds"), ask)
    assert signed.signature is not None
    by = signer(signed.signature).fingerprint
    if _for_programs():
        say_json({"bundle": str(bundle), "signed": signed.manifest.signed, "key": by})
        return
    say(f"{bundle}: signed {signed.manifest.signed} with {by}")
    say(f"next, on a device: edge init {bundle.name} --trust {key.name}.pub")


@cli.command()
@click.argument("folder", type=_PATH)
@as_json
def sample(folder: Path) -> None:
    """Write a small set of real photographs into FOLDER."""
    from export.sample import write_sample

    counts = write_sample(folder)
    if _for_programs():
        say_json({"folder": str(folder), "photos": counts})
        return
    for name, count in counts.items():
        say(f"{folder / name}: {count} photos")
    say(f"{folder / 'SOURCE.txt'}: where they come from, and their licences")
    say(f"next: edge-export build {folder / 'photos'} -o surfaces.edge")


@cli.command()
@click.argument("data", nargs=-1, required=True, type=_PATH)
@click.option("-o", "--output", required=True, type=_PATH, help="The weights, NAME.safetensors.")
@click.option("--arch", default="mobilenet_v3_small", show_default=True, help="A name of `edge-export backbones`.")
@click.option("--size", default=160, show_default=True, type=click.IntRange(32, 512), help="Pixels per side.")
@click.option("--steps", default=10_000, show_default=True, type=click.IntRange(1), help="Batches to learn from.")
@click.option("--batch", default=128, show_default=True, type=click.IntRange(2), help="Pictures in each.")
@click.option("--rate", default=2e-3, show_default=True, type=click.FloatRange(0, min_open=True), help="Of learning.")
@click.option("--teacher", type=_PATH, help="A state dict with its classifier, to learn from instead of labels.")
@click.option("--teacher-arch", default="mobilenet_v2", show_default=True, help="What network that is.")
@click.option("--start", type=_PATH, help="Weights to begin with instead of random ones.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of everything random.")
@click.option("--resume", is_flag=True, help="Go on where a run that was stopped stands.")
@as_json
def pretrain(
    data: tuple[Path, ...],
    output: Path,
    arch: str,
    size: int,
    steps: int,
    batch: int,
    rate: float,
    teacher: Path | None,
    teacher_arch: str,
    start: Path | None,
    seed: int,
    resume: bool,
) -> None:
    """Train a backbone from nothing on DATA: folders of class folders, or packed arrays (.npz).

    Spread it over processes or machines with `torchrun --nproc-per-node N -m export pretrain …`.
    """
    from export.pictures import Pictures
    from export.pretrain import Recipe, Report, Teacher, save_weights
    from export.pretrain import pretrain as train
    from export.spread import spread

    saved, log = (output.with_name(output.name + end) for end in (".run", ".log"))
    check_output(output, "weights.safetensors")
    if saved.exists() and not resume:
        raise BundleError(f"{saved} holds a run that was stopped; give --resume to go on, or delete it to begin anew")
    recipe = Recipe(arch, size, steps, batch, rate, seed=seed)
    with spread() as here:
        progress = Progress("pretraining")

        def tell(report: Report) -> None:
            if here.is_first:
                with log.open("a") as file:
                    file.write(json.dumps(asdict(report)) + "\n")
                progress(report.step, report.steps)

        master = Teacher(teacher_arch, teacher, here.device) if teacher else None
        weights = train(recipe, [Pictures.read(path) for path in data], master, saved, here, tell, start)
        if not here.is_first:
            return
        save_weights(output, weights)
        saved.unlink()
    if _for_programs():
        say_json({"weights": str(output), "bytes": output.stat().st_size, "log": str(log), "recipe": asdict(recipe)})
    else:
        say(f"{output}: {output.stat().st_size / 1e6:.1f} MB; what happened on the way is in {log}")
        say(f"next: edge-export build PHOTOS --backbone {arch} --weights {output} -o NAME.edge")


@cli.command()
@click.argument("bundle", type=_PATH)
@click.argument("host", metavar="[USER@]HOST")
@click.option("--offline", is_flag=True, help="Send everything from here: the device needs no network.")
@as_json
def deploy(bundle: Path, host: str, offline: bool) -> None:
    """Install BUNDLE, and this program, on a device by ssh.

    The bundle serves there once its golden pictures give the right embeddings on the device; until then, and if they do
    not, what served goes on serving. If the connection breaks, the same command goes on.
    """
    from export.deploy import deploy as deploy_bundle

    result = deploy_bundle(bundle, host, offline, complain)
    status = result.status
    if _for_programs():
        say_json({**status, "host": host, "warnings": [finding._asdict() for finding in result.warnings]})
        return
    for finding in result.warnings:
        complain(f"careful: {finding.check}: {finding.seen}")
        complain(f"    → {finding.remedy}")
    taught = sum(label["local"] for label in status["labels"])
    say(
        f"{host} serves {status['bundle']}: generation {status['generation']}, {plural(taught, 'example')} taught there"
    )


# --- what is printed -------------------------------------------------------------------------------------------------


class _Terminal:
    """A build's watcher: what came of each stage as lines on stderr; what is going on only where a person looks on."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._bar: Progress | None = None

    def doing(self, what: str) -> None:
        self._draw(f"{what} …")
        self._bar = Progress(what)

    def step(self, done: int, total: int) -> None:
        if self._bar:
            self._bar(done, total)

    def said(self, line: str) -> None:
        self.done()
        complain(line)

    def done(self) -> None:
        """Leave a clean line behind."""
        self._draw("")

    def _draw(self, text: str) -> None:
        if self._live:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)


class _Silent:
    """The watcher of every process but the first."""

    def doing(self, what: str) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        pass

    def said(self, line: str) -> None:
        pass

    def done(self) -> None:
        pass


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


def _report_skipped(skipped: tuple[Skipped, ...]) -> None:
    for photo in skipped[:10]:
        complain(f"left out: {photo.reason}")
    if len(skipped) > 10:
        complain(f"left out: {len(skipped) - 10} more")
