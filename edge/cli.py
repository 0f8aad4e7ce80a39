"""The device's command line: each command parses, calls one method of the learner, and prints its answer.

`--home DIR` and `--json` stand before or after the command's name. Nothing heavy is imported before a command needs it.
"""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import edge
from edge import wording
from edge.terminal import PARTLY, Progress, complain, run, say, say_json

if TYPE_CHECKING:
    from edge.answers import Files, Skipped
    from edge.learner import Learner

_F = TypeVar("_F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_ELSEWHERE = {  # the commands that other modules define
    **dict.fromkeys(("watch", "capture", "review"), "edge.cli_camera"),
    **dict.fromkeys(("examples", "forget", "relabel", "rename"), "edge.cli_manage"),
    **dict.fromkeys(("backup", "restore", "verify"), "edge.cli_safety"),
}
LISTED = 10  # files of which it is said one by one why they were not used


def shared(command: _F) -> _F:
    """Give a command `--home` and `--json`, which also stand before its name; the nearer one wins."""
    any_path = click.Path(path_type=Path, readable=False)  # one that is another user's is explained where it is opened
    command = click.option(
        "--home", type=any_path, expose_value=False, callback=_remember, help="Folder of all state."
    )(command)
    return click.option(
        "--json", "as_json", is_flag=True, default=None, expose_value=False, callback=_remember, help="Print JSON."
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

    opened = Learner.open(home(), warn=complain)
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
    from edge.count import line

    return [line(files)] if (files.left_out and files.seen > 1) or any(path.is_dir() for path in paths) else []


def code(files: "Files", unreadable: "Sequence[Skipped]" = ()) -> int:
    """The exit code: partly done if there were pictures, or named files, that could not be read."""
    from edge.count import partly

    return PARTLY if unreadable or partly(files) else 0


class _Commands(click.Group):
    """The commands; a module that defines some is imported when one of them is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ELSEWHERE:
            import_module(_ELSEWHERE[cmd_name])
        elif cmd_name not in self.commands:  # mistyped: click says which of all the commands look like it
            for module in _ELSEWHERE.values():
                import_module(module)
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(edge.__version__, prog_name="edge")
@shared
def cli() -> None:
    """Classify pictures on this device, and teach it new ones.

    A home folder holds all that it has learned. Make one from a bundle with `edge init`, then `edge teach` and
    `edge retrain` as you like: it takes milliseconds and needs no network.
    """


@cli.command()
@click.argument("bundle", type=_PATH)
@click.option("--runtime", "format", type=click.Choice(["onnx", "tflite"]), help="Which model of the bundle to run.")
@click.option("--precision", type=click.Choice(["fp32", "int8"]), help="At which precision; fp32 unless it is missing.")
@click.option(
    "--keep-crops/--no-keep-crops",
    default=None,
    help="Keep a small JPEG (at most 32 KB) of each picture taught, to look at later; not kept unless you say so.",
)
@click.option("--trust", metavar="KEY", help="Take only bundles signed by this key from now on: NAME.pub, or its line.")
@click.option(
    "--restore-label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help="Take this label of the bundle though it was forgotten.",
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
    """Adopt BUNDLE: check it, prove it here, and let it serve.

    In a home that is there already, what was taught stays, and so do renamed and forgotten labels.
    """
    from edge.adopt import adopt
    from edge.backbone import find_runtime
    from edge.machine import storage
    from edge.signature import read_key

    key = read_key(trust) if trust else None
    with adopt(home(), bundle, format, precision, keep_crops, trust=key, labels=labels) as made:
        status = made.status()
        golden = len(made.bundle.golden().images)
        runtime = find_runtime({made.model.format}).name
        proof = f"proved on {runtime}: {golden} golden pictures give the workstation's embeddings"
    kept = storage(home())
    if not kept.ok:
        complain(f"careful: {kept.seen}; {kept.remedy}")
    answer(status, lambda: [proof, *wording.status(status)])


@cli.command()
@click.argument("pictures", nargs=-1, required=True, type=_PATH)
@click.option("--explain", is_flag=True, help="Name the taught examples nearest to each picture.")
@shared
def classify(pictures: tuple[Path, ...], explain: bool) -> int:
    """Name what is on PICTURES: files, or folders of them.

    A picture unlike everything taught is called unknown.
    """
    from edge.answers import Skipped, to_json
    from edge.count import Left, count
    from edge.find import find

    opened, found = learner(), find(pictures)
    left, read, unreadable = list(found.left), 0, list[Skipped]()
    for result in opened.classify(found.files, explain):
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
    "--folders", type=_PATH, metavar="PARENT", help="Instead: teach each folder in PARENT as the label of its name."
)
@click.option("--session", help="Name shared by pictures that are nearly the same, such as one burst of a camera.")
@click.option(
    "--holdout", is_flag=True, help="Never fit a head to them; ask each new head about them before it serves."
)
@shared
def teach(
    label: str | None, pictures: tuple[Path, ...], folders: Path | None, session: str | None, holdout: bool
) -> int:
    """Store PICTURES as examples of LABEL, old or new.

    PICTURES are files or folders of them. What is known already is not stored again. With --folders, all labels of a
    folder of folders are taught at once; if it holds a train and a val folder, val is held out. Then: edge retrain.
    """
    if folders is None:
        if label is None or not pictures:
            raise click.UsageError("name a LABEL and PICTURES, or give --folders PARENT")
        taught = learner().teach(label, list(pictures), session, Progress("teaching"), holdout)
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
    help="Share of known pictures that is not to be called unknown, from now on; 1 calls none unknown.",
)
@click.option(
    "--if-taught", is_flag=True, help="Do nothing unless examples were taught or relabelled since the last head."
)
@click.option("--force", is_flag=True, help="Let the new head serve even if it is clearly worse.")
@shared
def retrain(known_coverage: float | None, if_taught: bool, force: bool) -> None:
    """Fit a new head to everything taught, and let it serve.

    One that is clearly worse than the serving head, on the same pictures, stays a candidate.
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
    """Count how often the class folders in FOLDER are named rightly.

    FOLDER holds one folder of pictures for each label, named like it.
    """
    result = learner().evaluate(folder)
    skipped(result.unreadable)
    skipped(result.contradictions)
    answer(result, lambda: [*wording.evaluated(result), *counted(result.files, [folder])])
    return code(result.files)


@cli.command()
@shared
def status() -> None:
    """Show the home at a glance."""
    result = learner().status()
    answer(result, lambda: wording.status(result))


@cli.command()
@shared
def history() -> None:
    """List every generation of the head."""
    entries = learner().history()
    answer(entries, lambda: wording.history(entries))


@cli.command()
@click.argument("generation", type=int, required=False)
@shared
def rollback(generation: int | None) -> None:
    """Let an earlier GENERATION serve again.

    Without a number, the one before the serving one. The examples stay.
    """
    entry = learner().rollback(generation)
    answer(entry, lambda: [f"generation {entry.generation}, made {wording.when(entry.created)}, serves again"])


@cli.command()
@click.argument("pictures", nargs=-1, type=_PATH)
@click.option("--html", type=_PATH, help="Write it as one page with pictures, a map and the learning curve.")
@shared
def audit(pictures: tuple[Path, ...], html: Path | None) -> int:
    """Find what is wrong with the examples, and what to teach next.

    It changes nothing; each finding comes with the command that mends it. Of PICTURES, files or folders that are not
    taught yet, it names those worth teaching; without any, of the frames that edge watch kept lately.
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
    help="Also write the labels to this file, one a line, in the order of the model's probabilities.",
)
@shared
def export(file: Path, labels: Path | None) -> None:
    """Write the whole classifier as one .onnx or .tflite FILE.

    It holds backbone, head and labels, and runs in any ONNX or TFLite runtime with no code of ours.
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
@click.option("--remove", metavar="KEY", help="Pin it no longer: its fingerprint, comment or line.")
@shared
def trust(key: str | None, remove: str | None) -> None:
    """List the keys that are trusted here, or pin KEY.

    KEY is NAME.pub or its line, as ssh-keygen makes it. Once one is pinned, bundles that none of them signed are
    refused, and older ones than the newest so far. Without any, bundles are taken as they come.
    """
    from edge.signature import read_key

    opened = learner()
    if key is not None or remove is not None:
        opened.trust(read_key(key) if key else None, remove)
    result = opened.trusted()
    answer(result, lambda: wording.trusted(result))


@cli.command()
@click.argument("pictures", nargs=-1, type=_PATH)
@click.option("--bundle", type=_PATH, help="Prove this bundle here as well, before it is adopted.")
@shared
def doctor(pictures: tuple[Path, ...], bundle: Path | None) -> int:
    """Check this machine and the home, and say how to mend them.

    PICTURES of the camera here, files or folders, are compared with those of the bundle: too dark, blurred, another
    scene?
    """
    from edge.doctor import examine

    findings = examine(home(), pictures, bundle)
    answer(findings, lambda: wording.findings(findings))
    return 0 if all(finding.ok for finding in findings) else 1


def add(command: click.Command) -> None:
    """Give the group a command that another module defines."""
    cli.add_command(command)


def main() -> None:
    """Entry point of `edge` and `python -m edge`."""
    run(cli, "edge")
