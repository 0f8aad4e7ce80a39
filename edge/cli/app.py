"""The device's command line: the group, and helpers shared by its commands. Each command parses, calls, and prints.

`--home DIR` and `--json` may stand before or after the command's name. Heavy modules are imported only by the commands
that need them.
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
MODULES = {  # the module that defines each command
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
LISTED = 10  # unused files that are listed one by one with the reason


def shared(command: _F) -> _F:
    """Add `--home` and `--json` to a command; a value after the command's name overrides one before it."""
    any_path = click.Path(path_type=Path, readable=False)  # if it belongs to another user, opening it explains that
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
    """Whether the output is JSON, for programs."""
    return bool(click.get_current_context().ensure_object(dict).get("as_json"))


def learner() -> "Learner":
    """Open the home; it is closed when the command ends."""
    from edge.learner import Learner

    opened = Learner(home(), warn=complain)
    click.get_current_context().call_on_close(opened.close)
    return opened


def answer(value: Any, lines: Callable[[], list[str]]) -> None:
    """Print an answer, as JSON or as lines for people."""
    from edge.answers import to_json

    if as_json():
        say_json(to_json(value))
    else:
        for line in lines():
            say(line)


def skipped(files: "Sequence[Skipped]") -> None:
    """Report why files were not used; of many, only the first ones."""
    for one in files[:LISTED]:
        complain(f"skipped: {one.reason}")
    if len(files) > LISTED:
        complain(f"skipped: {len(files) - LISTED:,} more; see the count below, or `files` in JSON")


def counted(files: "Files", paths: Sequence[Path]) -> list[str]:
    """Report how many files were used, unless all were named and read, or there is only one."""
    from edge.picture.count import line

    return [line(files)] if (files.left_out and files.seen > 1) or any(path.is_dir() for path in paths) else []


def code(files: "Files", unreadable: "Sequence[Skipped]" = ()) -> int:
    """Return the exit code, which says "partly done" if pictures or named files could not be read."""
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


def main() -> None:
    """Entry point of `edge` and `python -m edge`."""
    run(cli, "edge")
