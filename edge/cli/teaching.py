"""The everyday commands: `init`, `classify`, `teach`, `retrain`, `evaluate`."""

from pathlib import Path

import click

from edge.cli import app, wording
from edge.cli.terminal import PATH, Progress, complain, say, say_json


@click.command()
@click.argument("bundle", type=PATH)
@click.option(
    "--runtime",
    "format",
    type=click.Choice(["onnx", "tflite"]),
    help="Model format to run from the bundle.  [default: the first that runs here]",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    help="Numeric precision of the model.  [default: fp32 if the bundle has it]",
)
@click.option(
    "--keep-crops/--no-keep-crops",
    default=None,
    help="Store a small JPEG (at most 32 KB) of each picture you teach.  [default: no-keep-crops]",
)
@click.option(
    "--trust",
    metavar="KEY",
    help="From now on, accept only bundles signed with this public key (a .pub file or its text).",
)
@click.option(
    "--restore-label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help="Bring back a label of the bundle that you forgot earlier. Can be repeated.",
)
@app.shared
def init(
    bundle: Path,
    format: str | None,
    precision: str | None,
    keep_crops: bool | None,
    trust: str | None,
    labels: tuple[str, ...],
) -> None:
    """Install BUNDLE in the home, after checking it on this machine.

    If the home already exists, your examples are kept, and labels that you renamed or forgot stay that way.
    """
    from edge.bundle.signature import read_key
    from edge.care.machine import storage
    from edge.learner import Learner
    from edge.network.backbone import find_runtime

    key = read_key(trust) if trust else None
    progress, again = Progress("embedding again"), list[int]()

    def step(done: int, total: int) -> None:
        progress(done, total)
        again[:] = [total]

    with Learner.init(app.home(), bundle, format, precision, keep_crops, trust=key, labels=labels, step=step) as made:
        status = made.status()
        golden = len(made.bundle.golden().images)
        runtime = find_runtime({made.model.format}).name
        proof = f"tested with {runtime}: {golden} golden pictures give the same embeddings as on the workstation"
    kept = storage(app.home())
    if not kept.ok:
        complain(f"warning: {kept.seen}; {kept.remedy}")
    told = [f"another backbone: {total} examples were embedded again from their kept crops" for total in again]
    app.answer(status, lambda: [proof, *told, *wording.status(status)])


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=PATH)
@click.option("--explain", is_flag=True, help="Also list the examples that are most similar to each picture.")
@app.shared
def classify(pictures: tuple[Path, ...], explain: bool) -> int:
    """Print the most likely label of each of PICTURES.

    PICTURES are files or folders. A picture that is unlike all examples is reported as unknown.
    """
    from edge.answers import Skipped, to_json
    from edge.picture.count import Left, count
    from edge.picture.find import find

    opened, found = app.learner(), find(pictures)
    left, read, unreadable = list(found.left), 0, list[Skipped]()
    for result in opened.classify_each(found.files, explain):
        if isinstance(result, Skipped):
            unreadable.append(result)
            left.append(Left(Path(result.image), result.kind))
            complain(f"skipped: {result.reason}")
            continue
        read += 1
        if app.as_json():
            say_json({k: v for k, v in to_json(result).items() if explain or k != "nearest"})
        else:
            for line in wording.answered(result):
                say(line)
    files = count(read, left)
    for line in app.counted(files, pictures):
        complain(line)
    return app.code(files, unreadable)


@click.command()
@click.argument("label", required=False)
@click.argument("pictures", nargs=-1, type=PATH)
@click.option(
    "--folders", type=PATH, metavar="PARENT", help="Teach every subfolder of PARENT, using its name as the label."
)
@click.option("--session", help="Name for a group of nearly identical pictures, such as one camera burst.")
@click.option(
    "--holdout", is_flag=True, help="Keep these pictures out of training; use them to measure each new generation."
)
@app.shared
def teach(
    label: str | None, pictures: tuple[Path, ...], folders: Path | None, session: str | None, holdout: bool
) -> int:
    """Store PICTURES as examples of LABEL, which may be new.

    PICTURES are files or folders. A picture that is already stored is not stored twice. With --folders, every subfolder
    is taught as one label; if there are train and val folders, the pictures in val are held out. To use the new
    examples, run edge retrain.
    """
    if folders is None:
        if label is None or not pictures:
            raise click.UsageError("give a LABEL and PICTURES, or --folders PARENT")
        taught = app.learner().teach_each(label, list(pictures), session, Progress("teaching"), holdout)
        app.skipped(taught.unreadable)
        app.answer(taught, lambda: [*wording.taught([taught]), *app.counted(taught.files, pictures)])
        return app.code(taught.files, taught.unreadable)
    if label is not None:
        raise click.UsageError("with --folders, the labels are the folders' names; omit LABEL and PICTURES")
    result = app.learner().teach_folders(folders, session, Progress("teaching"), holdout)
    app.skipped([one for taught in result.taught for one in taught.unreadable])
    app.skipped(result.contradictions)
    layout = [f"parts of the folder: {result.layout}"] if result.layout else []
    app.answer(result, lambda: [*layout, *wording.taught(result.taught), *app.counted(result.files, [folders])])
    return app.code(result.files)


@click.command()
@click.option(
    "--known-coverage",
    type=click.FloatRange(0.5, 1),
    help="Fraction of known pictures that must not be reported as unknown; 1 turns unknown off. It is remembered.",
)
@click.option(
    "--if-taught", is_flag=True, help="Do nothing if no example was added or relabelled since the last training."
)
@click.option("--force", is_flag=True, help="Use the new generation even if it is clearly worse.")
@app.shared
def retrain(known_coverage: float | None, if_taught: bool, force: bool) -> None:
    """Train on all examples, and use the result from now on.

    Only the final layer of the network is trained. Each training makes a new numbered generation. If it is clearly
    worse than the current one on the same pictures, it is kept but not used.
    """
    opened = app.learner()
    if if_taught and not opened.anything_new():
        from edge.answers import NothingNew

        complain("no example was taught or relabelled since the last training")
        app.answer(NothingNew(opened.serving().generation), list)
        return
    result = opened.retrain(known_coverage, force)
    app.answer(result, lambda: wording.retrained(result))


@click.command()
@click.argument("folder", type=PATH)
@app.shared
def evaluate(folder: Path) -> int:
    """Measure accuracy on the labelled pictures in FOLDER.

    FOLDER must contain one subfolder of pictures per label, named after the label. The pictures are not stored.
    """
    result = app.learner().evaluate(folder)
    app.skipped(result.unreadable)
    app.skipped(result.contradictions)
    app.answer(result, lambda: [*wording.evaluated(result), *app.counted(result.files, [folder])])
    return app.code(result.files)
