"""The device's command line: each command parses, calls one method of the learner, and prints its answer.

`--home DIR` and `--json` stand before or after the command's name. Nothing heavy is imported before a command needs it.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import edge
from edge.cli import wording
from edge.cli.group import Group
from edge.cli.terminal import PARTLY, Progress, complain, run, say, say_json

if TYPE_CHECKING:
    from edge.answers import Files, Skipped
    from edge.learner import Learner

_F = TypeVar("_F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
MODULES = {  # the commands that other modules define
    **dict.fromkeys(("watch", "capture", "review"), "edge.cli.camera"),
    **dict.fromkeys(("examples", "forget", "relabel", "rename"), "edge.cli.manage"),
    **dict.fromkeys(("backup", "restore", "verify"), "edge.cli.care"),
    **dict.fromkeys(("serve", "password"), "edge.cli.serve"),
}
LISTED = 10  # files of which it is said one by one why they were not used


def shared(command: _F) -> _F:
    """Give a command `--home` and `--json`, which also stand before its name; the nearer one wins."""
    any_path = click.Path(path_type=Path, readable=False)  # one that is another user's is explained where it is opened
    command = click.option(
        "--home",
        type=any_path,
        expose_value=False,
        callback=_remember,
        help="Folder that holds everything learned here.",
    )(command)
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        default=None,
        expose_value=False,
        callback=_remember,
        help="Print the result as JSON.",
    )(command)


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        context.ensure_object(dict)[option.name] = value


def home() -> Path:
    """Return the home: --home, else $EDGE_HOME, else the user's data folder."""
    chosen = click.get_current_context().ensure_object(dict).get("home") or os.environ.get("EDGE_HOME")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(chosen) if chosen else Path(data) / "edge"


def as_json() -> bool:
    """Whether a program reads our answer."""
    return bool(click.get_current_context().ensure_object(dict).get("as_json"))


def learner() -> "Learner":
    """Open the home; it is closed with the command."""
    from edge.learner import Learner

    opened = Learner(home(), warn=complain)
    click.get_current_context().call_on_close(opened.close)
    return opened


def answer(value: Any, lines: Callable[[], list[str]]) -> None:
    """Print an answer: as JSON for programs, else as lines for people."""
    from edge.answers import to_json

    if as_json():
        say_json(to_json(value))
    else:
        for line in lines():
            say(line)


def skipped(files: "Sequence[Skipped]") -> None:
    """Say of files that were not used why; of many, the first ones."""
    for one in files[:LISTED]:
        complain(f"skipped: {one.reason}")
    if len(files) > LISTED:
        complain(f"skipped: {len(files) - LISTED:,} more, counted below or under `files` in JSON")


def counted(files: "Files", paths: Sequence[Path]) -> list[str]:
    """Say what became of the files, unless each was named and read, or it is but one."""
    from edge.picture.count import line

    return [line(files)] if (files.left_out and files.seen > 1) or any(path.is_dir() for path in paths) else []


def code(files: "Files", unreadable: "Sequence[Skipped]" = ()) -> int:
    """The exit code: partly done if there were pictures, or named files, that could not be read."""
    from edge.picture.count import partly

    return PARTLY if unreadable or partly(files) else 0


@click.group(
    cls=Group,
    modules=MODULES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(edge.__version__, prog_name="edge")
@shared
def cli() -> None:
    """Classify pictures on this device, and teach it new labels.

    Everything it learns is stored in one folder, the home. Create the home from a bundle with `edge init`. After that,
    add examples with `edge teach` and fit a new model with `edge retrain`, which takes milliseconds and works offline.
    """


@cli.command()
@click.argument("bundle", type=_PATH)
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
@shared
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

    with Learner.init(home(), bundle, format, precision, keep_crops, trust=key, labels=labels, step=step) as made:
        status = made.status()
        golden = len(made.bundle.golden().images)
        runtime = find_runtime({made.model.format}).name
        proof = f"proved on {runtime}: {golden} golden pictures give the workstation's embeddings"
    kept = storage(home())
    if not kept.ok:
        complain(f"careful: {kept.seen}; {kept.remedy}")
    told = [f"another backbone: {total} examples were embedded again from their kept crops" for total in again]
    answer(status, lambda: [proof, *told, *wording.status(status)])


@cli.command()
@click.argument("pictures", nargs=-1, required=True, type=_PATH)
@click.option("--explain", is_flag=True, help="Also list the examples that are most similar to each picture.")
@shared
def classify(pictures: tuple[Path, ...], explain: bool) -> int:
    """Print the most likely label of each of PICTURES.

    PICTURES are files or folders. A picture that is unlike all examples is reported as unknown.
    """
    from edge.answers import Skipped, to_json
    from edge.picture.count import Left, count
    from edge.picture.find import find

    opened, found = learner(), find(pictures)
    left, read, unreadable = list(found.left), 0, list[Skipped]()
    for result in opened.classify_each(found.files, explain):
        if isinstance(result, Skipped):
            unreadable.append(result)
            left.append(Left(Path(result.image), result.kind))
            complain(f"skipped: {result.reason}")
            continue
        read += 1
        if as_json():
            say_json({k: v for k, v in to_json(result).items() if explain or k != "nearest"})
        else:
            for line in wording.answered(result):
                say(line)
    files = count(read, left)
    for line in counted(files, pictures):
        complain(line)
    return code(files, unreadable)


@cli.command()
@click.argument("label", required=False)
@click.argument("pictures", nargs=-1, type=_PATH)
@click.option(
    "--folders", type=_PATH, metavar="PARENT", help="Teach every subfolder of PARENT, using its name as the label."
)
@click.option("--session", help="Name for a group of nearly identical pictures, such as one camera burst.")
@click.option(
    "--holdout", is_flag=True, help="Keep these pictures out of training; use them to measure each new generation."
)
@shared
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
            raise click.UsageError("name a LABEL and PICTURES, or give --folders PARENT")
        taught = learner().teach_each(label, list(pictures), session, Progress("teaching"), holdout)
        skipped(taught.unreadable)
        answer(taught, lambda: [*wording.taught([taught]), *counted(taught.files, pictures)])
        return code(taught.files, taught.unreadable)
    if label is not None:
        raise click.UsageError("--folders takes the labels from the folders' names: leave out LABEL and PICTURES")
    result = learner().teach_folders(folders, session, Progress("teaching"), holdout)
    skipped([one for taught in result.taught for one in taught.unreadable])
    skipped(result.contradictions)
    layout = [f"parts: {result.layout}"] if result.layout else []
    answer(result, lambda: [*layout, *wording.taught(result.taught), *counted(result.files, [folders])])
    return code(result.files)


@cli.command()
@click.option(
    "--known-coverage",
    type=click.FloatRange(0.5, 1),
    help="Fraction of known pictures that must not be reported as unknown; 1 turns unknown off. It is remembered.",
)
@click.option(
    "--if-taught", is_flag=True, help="Do nothing if no example was added or relabelled since the last training."
)
@click.option("--force", is_flag=True, help="Use the new generation even if it is clearly worse.")
@shared
def retrain(known_coverage: float | None, if_taught: bool, force: bool) -> None:
    """Train on all examples, and use the result from now on.

    Only the final layer of the network is trained. Each training makes a new numbered generation. If it is clearly
    worse than the current one on the same pictures, it is kept but not used.
    """
    opened = learner()
    if if_taught and not opened.anything_new():
        from edge.answers import NothingNew

        complain("nothing was taught or relabelled since the last head was made")
        answer(NothingNew(opened.serving().generation), list)
        return
    result = opened.retrain(known_coverage, force)
    answer(result, lambda: wording.retrained(result))


@cli.command()
@click.argument("folder", type=_PATH)
@shared
def evaluate(folder: Path) -> int:
    """Measure accuracy on the labelled pictures in FOLDER.

    FOLDER must contain one subfolder of pictures per label, named after the label. The pictures are not stored.
    """
    result = learner().evaluate(folder)
    skipped(result.unreadable)
    skipped(result.contradictions)
    answer(result, lambda: [*wording.evaluated(result), *counted(result.files, [folder])])
    return code(result.files)


@cli.command()
@shared
def status() -> None:
    """Show the installed bundle, the labels and the current accuracy."""
    result = learner().status()
    answer(result, lambda: wording.status(result))


@cli.command()
@shared
def history() -> None:
    """List all generations with their accuracy, oldest first."""
    entries = learner().history()
    answer(entries, lambda: wording.history(entries))


@cli.command()
@click.argument("generation", type=int, required=False)
@shared
def rollback(generation: int | None) -> None:
    """Go back to an earlier GENERATION.

    Without a number, go back to the previous one. No examples are deleted.
    """
    entry = learner().rollback(generation)
    answer(entry, lambda: [f"generation {entry.generation}, made {wording.when(entry.created)}, serves again"])


@cli.command()
@click.argument("pictures", nargs=-1, type=_PATH)
@click.option("--html", type=_PATH, help="Also write an HTML report with pictures, a map and the learning curve.")
@shared
def audit(pictures: tuple[Path, ...], html: Path | None) -> int:
    """Find problems in the examples, and suggest what to teach next.

    A problem is a wrong label, for example. Nothing is changed; each problem is printed with the command that fixes it.
    PICTURES (files or folders) are pictures that you could teach; the most useful ones are listed. Without PICTURES,
    they are chosen from the frames that edge watch saved.
    """
    result = learner().audit(list(pictures), html)
    skipped(result.unreadable)
    answer(result, lambda: [*wording.audited(result), *counted(result.files, pictures)])
    return code(result.files, result.unreadable)


@cli.command()
@click.argument("file", type=_PATH)
@click.option(
    "--labels",
    type=_PATH,
    metavar="LABELS.txt",
    help="Also write the labels to this file, one per line, in the order of the model's outputs.",
)
@shared
def export(file: Path, labels: Path | None) -> None:
    """Export the whole classifier to one .onnx or .tflite FILE.

    The file contains the network, its final layer and the labels. It runs in any ONNX or TFLite runtime without this
    program.
    """
    result = learner().export(file, labels)
    size = f"{result.bytes / 1e6:.1f} MB"
    answer(
        result,
        lambda: [
            f"wrote {result.file} ({size}): {len(result.labels)} labels, generation {result.generation}"
            "; it never says unknown, that is for edge classify alone",
            *([f"wrote {result.labels_file}: the labels, in the order of its probabilities"] if labels else []),
        ],
    )


@cli.command()
@click.argument("key", required=False)
@click.option("--remove", metavar="KEY", help="Stop trusting this key, given by its fingerprint, comment or full text.")
@shared
def trust(key: str | None, remove: str | None) -> None:
    """List the trusted public keys, or add KEY to them.

    KEY is a public key made by ssh-keygen: a .pub file or its text. Once a key is trusted, a bundle is refused unless
    a trusted key has signed it, and so is a bundle older than the newest one installed so far. Without trusted keys,
    any bundle is accepted.
    """
    from edge.bundle.signature import read_key

    opened = learner()
    if key is not None or remove is not None:
        opened.trust(read_key(key) if key else None, remove)
    result = opened.trusted()
    answer(result, lambda: wording.trusted(result))


@cli.command()
@click.argument("pictures", nargs=-1, type=_PATH)
@click.option("--bundle", type=_PATH, help="Also check that this bundle works here, without installing it.")
@shared
def doctor(pictures: tuple[Path, ...], bundle: Path | None) -> int:
    """Check this machine and the home, and say how to fix problems.

    PICTURES (files or folders) from your camera are compared with the pictures the bundle was made from, to find out
    whether they are too dark, blurred or of a different scene.
    """
    from edge.care.doctor import examine

    findings = examine(home(), pictures, bundle)
    answer(findings, lambda: wording.findings(findings))
    return 0 if all(finding.ok for finding in findings) else 1


def add(command: click.Command) -> None:
    """Give the group a command that another module defines."""
    cli.add_command(command)


def main() -> None:
    """Entry point of `edge` and `python -m edge`."""
    run(cli, "edge")
