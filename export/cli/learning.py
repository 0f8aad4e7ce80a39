"""The commands that train or compare networks: `adapt`, `compare`, `pretrain`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.answers import to_json
from edge.bundle.manifest import Accuracy
from edge.cli.terminal import PARTLY, PATH, Progress, complain, say, say_json, table
from edge.errors import BundleError
from edge.picture.count import line, partly, together
from edge.text import percent, plural
from export.cli import app
from export.cli.listener import Terminal, report_skipped, skipped_json
from export.network import backbones

if TYPE_CHECKING:
    from export.compare.rank import Candidate

SMALL = 160  # pixels that every network is tried at, beside its own


@click.command()
@click.argument("photos", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="Folder to write; give it to `edge-export build`.")
@app.option(
    "--backbone", default=backbones.DEFAULT, help="Network: a name listed by `edge-export backbones`, or timm:NAME."
)
@app.weights
@app.size(help="Input size in pixels per side.  [default: the network's own]")
@app.option(
    "--strategy",
    default="auto",
    type=click.Choice(["auto", "head", "taps", "last-stages", "full"]),
    help="How much of the network to train; auto tries all but full and keeps the best.",
)
@app.option(
    "--minutes", default=20.0, type=click.FloatRange(0, min_open=True), help="Time limit for the whole run, in minutes."
)
@app.group_by
@app.fit
@click.option("--flip/--no-flip", default=True, help="Also train on mirror images.  [default: flip]")
@app.seed(help="Random seed for the validation split and training.")
@app.shared
@app.interrupted("run the same command again to continue")
def adapt(photos: Path, output: Path, size: int | None, **options: Any) -> int:
    """Fine-tune a network on PHOTOS, one folder per label.

    A fifth of the photos is kept for validation. Strategies that train more and more of the network are tried within
    the time limit. The one with the best validation accuracy is kept; if two are equally good, the one that changes
    less. If the command is interrupted, run it again to continue. Under torchrun, several processes share the work.
    """
    from export.adapt.processes import join_processes
    from export.adapt.run import Plan
    from export.adapt.run import adapt as adapt_network

    plan = Plan(photos, output, app.now(), size=size or 0, progress=sys.stderr.isatty(), **options)
    with join_processes() as processes:
        with Terminal(mute=not processes.is_first) as terminal:
            result = adapt_network(plan, terminal, processes)
        if not processes.is_first:
            return 0
    skipped = result.material.skipped
    if app.as_json():
        say_json({
            "folder": str(output), "fit": plan.fit, "strategy": result.kept, "why": result.why,
            "accuracy": result.evaluation.accuracy, "interval": list(result.evaluation.interval),
            "held_out": int(result.held.sum()), "photos": len(result.held), "seconds": round(result.seconds, 1),
            "strategies": result.adaptation.report["strategies"], "baselines": result.adaptation.report["baselines"],
            "warning": result.baselines.warning or None,
            "group_by": plan.group_by, "careful": result.adaptation.report["careful"] or None,
            "files": to_json(result.material.files), "skipped": skipped_json(skipped),
        })  # fmt: skip
    else:
        report_skipped(skipped)
        rows = [("strategy", "what changes", "validation accuracy", "minutes", "changed")]
        for outcome in result.outcomes:
            figure = percent(outcome.measured.accuracy) if outcome.measured else "no time"
            name = outcome.strategy.name + (" *" if outcome.strategy.name == result.kept else "")
            rows.append((name, outcome.strategy.summary, figure, f"{outcome.seconds / 60:.1f}", outcome.changed))
        for row in table(rows, right=(2, 3, 4)):
            say(row)
        say(f"kept: {result.kept}: {result.why}")
        found = result.evaluation
        say(app.accuracy_line(Accuracy(found.accuracy, *found.interval, found.examples)))
        if result.adaptation.report["careful"]:
            say(f"warning: {result.adaptation.report['careful']}")
        say(f"{output / 'report.html'}: learning curves, confusions and the worst photos")
        say(f"next: edge-export build {output} -o {output.resolve().name}.edge")
        say(line(result.material.files))
    return PARTLY if partly(result.material.files) else 0


@click.command()
@click.argument("photos", type=PATH)
@click.option(
    "--backbone",
    "names",
    multiple=True,
    help="Network to rank: a name listed by `edge-export backbones`, or timm:NAME, optionally with =WEIGHTS; missing "
    "weights are downloaded. Can be repeated.  [default: all whose weights are on this machine]",
)
@app.size(
    "sizes",
    multiple=True,
    help=f"Input size in pixels per side. Can be repeated.  [default: the network's own and {SMALL}]",
)
@app.fit
@click.option(
    "--plot", "picture", type=PATH, help="Also plot accuracy against latency to this .svg, .png or .pdf file."
)
@app.seed(help="Random seed for the sample taken from a large set of photos.")
@app.group_by
@app.shared
@app.interrupted("nothing was written")
def compare(
    photos: Path,
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    fit: str,
    picture: Path | None,
    seed: int,
    group_by: str | None,
) -> int:
    """Rank networks by accuracy on PHOTOS, without training them.

    PHOTOS must contain one folder per label. Every network computes embeddings as the device would. Accuracy is
    measured by leave-one-out and shown beside the time per picture and the size of the network.
    """
    from export.compare.rank import Candidate, rank
    from export.compare.rank import plot as draw
    from export.written import check_drawing

    if picture:
        if picture.suffix.lower() not in (".svg", ".png", ".pdf"):
            raise click.UsageError(f"--plot {picture} must end in .svg, .png or .pdf")
        check_drawing(picture)
    pairs = [name.partition("=")[::2] for name in names]
    away: list[str] = []
    if not pairs:
        away = [name for name in backbones.BACKBONES if not backbones.is_at_hand(name)]
        pairs = [(name, "") for name in backbones.BACKBONES if name not in away]
    wanted = []
    for name, weights in dict.fromkeys(pairs):
        row = backbones.find(name)  # refused before the long work
        usual = (row.size,) if row.fixed else (row.size, SMALL)
        wanted += [Candidate(name, weights, size) for size in dict.fromkeys(sizes or usual)]
    with Terminal() as terminal:
        found = rank(photos, wanted, terminal, seed, group_by, fit)
    if picture:
        draw(found, picture)
    if app.as_json():
        say_json({
            "photos": found.photos, "fit": fit,
            "take": _candidate(found.take.candidate),
            "advice": found.advice, "warning": found.baselines.warning or None,
            "baselines": asdict(found.baselines),
            "networks": [
                {
                    **_candidate(one.candidate), "accuracy": one.accuracy, "interval": list(one.interval),
                    "milliseconds": one.milliseconds, "bytes": one.bytes,
                }
                for one in found.ranked
            ],
            "failed": list(found.failed), "not_downloaded": away, "unmeasured": list(found.unmeasured),
            "group_by": group_by, "bursts": list(found.bursts.labels), "careful": found.bursts.warning or None,
            "files": to_json(found.files), "skipped": skipped_json(found.skipped),
        })  # fmt: skip
    else:
        for reason in found.failed:
            complain(f"left out: {reason}")
        report_skipped(found.skipped)
        rows = [("network", "pixels", "accuracy", "95 % interval", "ms", "MB", "")]
        for one in found.ranked:
            low, high = (f"{100 * end:.1f}" for end in one.interval)
            costs = f"{one.milliseconds:.1f}", f"{one.bytes / 1e6:.1f}"
            rows.append((
                one.candidate.network, str(one.candidate.size), percent(one.accuracy), f"{low}–{high}",
                *costs, "← recommended" if one is found.take else "",
            ))  # fmt: skip
        for text in table(rows, right=range(1, 6)):
            say(text)
        if away:
            say(f"not ranked because their weights are not on this machine: {', '.join(away)}")
            some = next((name for name in away if not backbones.find(name).wheel), away[0])
            say(f"  to download and rank one: edge-export compare {photos} --backbone {some}")
        itself = "its group" if group_by else "itself"
        say(
            f"{plural(found.photos, 'photo')}, each classified with {itself} left out; ms per picture on one "
            "core here, fp32"
        )
        base = found.baselines
        say(
            f"pretrained {percent(base.pretrained)}, the same network untrained {percent(base.random)}, "
            f"16 × 16 pixels without one {percent(base.pixels)} (on {base.photos} of the photos)"
        )
        if found.unmeasured:
            say(f"not measured because all their photos are in one group: {', '.join(found.unmeasured)}")
        if found.bursts.warning:
            say(f"warning: {found.bursts.warning}")
        if base.warning:
            say(f"warning: {base.warning}")
        say(found.advice)
        if picture:
            say(f"{picture}: accuracy against latency")
        say(line(found.files))
    return PARTLY if found.failed or partly(found.files) else 0


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {"backbone": candidate.backbone, "weights": candidate.weights or None, "size": candidate.size}


@click.command()
@click.argument("data", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="Weights file to write, ending in .safetensors.")
@app.option("--arch", default="mobilenet_v3_small", help="Network: a name listed by `edge-export backbones`.")
@app.option("--size", default=160, type=click.IntRange(32, 512), help="Input size in pixels per side.")
@app.option("--steps", default=10_000, type=click.IntRange(1), help="Number of training steps (batches).")
@app.option("--batch", default=128, type=click.IntRange(2), help="Batch size, in pictures.")
@app.option("--rate", default=2e-3, type=click.FloatRange(0, min_open=True), help="Learning rate.")
@click.option(
    "--teacher",
    type=PATH,
    help="State-dict file of a teacher network with its classifier, for distillation instead of labels.",
)
@app.option(
    "--teacher-arch", default="mobilenet_v2", help="Network of the teacher: a name listed by `edge-export backbones`."
)
@click.option("--from", "start", type=PATH, help="Weights file to start from.  [default: random weights]")
@app.seed(help="Random seed.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run.")
@app.shared
@app.interrupted("nothing was saved yet")
def pretrain(
    data: tuple[Path, ...],
    output: Path,
    teacher: Path | None,
    teacher_arch: str,
    start: Path | None,
    resume: bool,
    **options: Any,
) -> int:
    """Train a backbone from scratch on DATA.

    DATA are folders with one subfolder per label, or packed arrays (.npz, .npy). To use several processes or machines,
    run torchrun --nproc-per-node N -m export pretrain followed by the same arguments.
    """
    from export.adapt.processes import join_processes
    from export.network.state_dict import save_weights
    from export.pretrain.distil import Recipe, Report
    from export.pretrain.distil import pretrain as train
    from export.pretrain.teacher import Teacher
    from export.pretrain.views import Pictures
    from export.written import check_log, check_weights

    saved, log = (output.with_name(output.name + end) for end in (".run", ".log"))
    check_weights(output)
    check_log(log)
    if saved.exists() and not resume:
        raise BundleError(
            "run-mismatch",
            f"{saved} contains an interrupted run; give --resume to continue, or move it away to start again",
        )
    recipe = Recipe(**options)
    with join_processes() as here:
        progress = Progress("pretraining")

        def tell(report: Report) -> None:
            if here.is_first:
                with log.open("a") as file:
                    file.write(json.dumps(asdict(report)) + "\n")
                progress(report.step, report.steps)

        master = Teacher(teacher_arch, teacher, here.device) if teacher else None
        try:
            sources = [Pictures.read(path) for path in data]
            weights = train(recipe, sources, master, saved, here, tell, start)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "run the same command with --resume to continue" if saved.exists() else ""
            ) from None
        if not here.is_first:
            return 0
        save_weights(output, weights)
        saved.unlink()
    files = together(source.files for source in sources)
    if app.as_json():
        say_json({
            "weights": str(output), "bytes": output.stat().st_size, "log": str(log), "recipe": asdict(recipe),
            "files": to_json(files),
        })  # fmt: skip
    else:
        say(f"{output}: {output.stat().st_size / 1e6:.1f} MB; the log is {log}")
        say(f"next: edge-export build PHOTOS --backbone {recipe.arch} --weights {output} -o NAME.edge")
        if files.seen:
            say(line(files))
    return PARTLY if partly(files) else 0
