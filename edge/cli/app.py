"""The device's command line: the group, and what its commands share. Each command parses, makes one call, and prints.

`--home DIR` and `--json` stand before or after the command's name. Nothing heavy is imported before a command needs it.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import edge
from edge.cli.group import Group
from edge.cli.terminal import PARTLY, complain, run, say, say_json

if TYPE_CHECKING:
    from edge.answers import Files, Skipped
    from edge.learner import Learner

_F = TypeVar("_F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
MODULES = {  # where each command is
    **dict.fromkeys(("init", "classify", "teach", "retrain", "evaluate"), "edge.cli.teaching"),
    **dict.fromkeys(("export", "trust"), "edge.cli.share"),
    **dict.fromkeys(("watch", "capture", "review"), "edge.cli.camera"),
    **dict.fromkeys(
        ("status", "history", "rollback", "audit", "examples", "forget", "relabel", "rename"), "edge.cli.manage"
    ),
    **dict.fromkeys(("doctor", "backup", "restore", "verify"), "edge.cli.care"),
    **dict.fromkeys(("serve", "password"), "edge.cli.serve"),
    **dict.fromkeys(("contribute", "follow"), "edge.cli.fleet"),
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
        complain(f"skipped: {len(files) - LISTED:,} more; see the count below, or `files` in JSON")


def counted(files: "Files", paths: Sequence[Path]) -> list[str]:
    """Say what became of the files, unless each was named and read, or it is but one."""
    from edge.picture.count import line

    return [line(files)] if (files.left_out and files.seen > 1) or any(path.is_dir() for path in paths) else []


def code(files: "Files", unreadable: "Sequence[Skipped]" = ()) -> int:
    """The exit code: partly done if there were pictures, or named files, that could not be read."""
    from edge.picture.count import partly

    return PARTLY if unreadable or partly(files) else 0


@click.group(cls=Group, modules=MODULES)
@click.version_option(edge.__version__, prog_name="edge")
@shared
def cli() -> None:
    """Classify pictures on this device, and teach it new labels.

    Everything it learns is stored in one folder, the home. Create the home from a bundle with `edge init`. After that,
    add examples with `edge teach` and fit a new model with `edge retrain`, which takes milliseconds and works offline.
    """


def add(command: click.Command) -> None:
    """Give the group a command that another module defines."""
    cli.add_command(command)


def main() -> None:
    """Entry point of `edge` and `python -m edge`."""
    run(cli, "edge")
