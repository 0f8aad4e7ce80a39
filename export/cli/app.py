"""`edge-export`: one command per task of the workstation. Parses, calls, prints; decides nothing.

Results go to stdout, progress to stderr (a bar only on a terminal). Exit codes: 0 done, 1 an error in one line,
2 usage, 3 partly done (some photos could not be read). `EDGE_DEBUG=1` shows the traceback of an error.
"""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

import edge
from edge.bundle.manifest import FITS, Accuracy
from edge.cli.group import Group
from edge.cli.terminal import PATH, run, say, say_json, table
from edge.text import percent

_F = TypeVar("_F", bound=Callable[..., Any])
MODULES = {  # the commands that other modules define
    **dict.fromkeys(("build", "check"), "export.cli.bundle"),
    **dict.fromkeys(("sign", "deploy", "card"), "export.cli.delivery"),
    **dict.fromkeys(("adapt", "compare", "pretrain"), "export.cli.learning"),
    "fleet": "export.cli.fleet",
}


option = functools.partial(click.option, show_default=True)
seed = functools.partial(option, "--seed", default=0, type=click.IntRange(0))
size = functools.partial(click.option, "--size", type=click.IntRange(32, 1024))
weights = click.option(
    "--weights",
    default="",
    help="Weights: `imagenet`, `embedded`, or a state-dict file.  [default: depends on the backbone]",
)
fit = option(
    "--fit",
    type=click.Choice(FITS),
    default="crop",
    help="How photos are made square: crop the centre, pad with bars, or stretch.",
)


def shared(command: _F) -> _F:
    """Give a command `--json`, which may also stand before its name."""
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_remember, help="Print the result as JSON."
    )(command)


def _remember(context: click.Context, _option: click.Parameter, value: bool) -> None:
    """Let --json stand before or after the command's name."""
    if value:
        context.ensure_object(dict)["json"] = True


def as_json() -> bool:
    """Whether the result is printed as JSON."""
    return bool(click.get_current_context().ensure_object(dict).get("json"))


def now() -> str:
    """Return the time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def interrupted(says: str) -> Callable[[_F], _F]:
    """Say what happened to a command's work after Ctrl-C, unless it says so itself."""

    def decorate(command: _F) -> _F:
        @functools.wraps(command)
        def told(*arguments: Any, **options: Any) -> Any:
            try:
                return command(*arguments, **options)
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(str(stop) or says) from None

        return told  # type: ignore[return-value]

    return decorate


def group_by(command: _F) -> _F:
    """Give a command `--group-by`."""
    return click.option(
        "--group-by",
        metavar="prefix|folder|session|REGEX",
        callback=_grouping,
        help="Keep related photos together when splitting off validation photos: those whose names differ only in "
        "the last number (prefix), that share a folder, that were taken within a minute of each other (session), or "
        "for which a regular expression matches the same text.",
    )(command)


def _grouping(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from edge.errors import DatasetError
    from export.photos.split import check_grouping

    try:
        return check_grouping(value)
    except DatasetError as error:
        raise click.BadParameter(str(error)) from None


def accuracy_line(accuracy: Accuracy | None) -> str:
    """Say how accurate a head is on the photos that were kept back."""
    if accuracy is None:
        return "accuracy: not measured (no validation photos)"
    right = round(accuracy.accuracy * accuracy.photos)
    return (
        f"accuracy {percent(accuracy.accuracy)} on validation photos ({right} of {accuracy.photos} correct; "
        f"95 % interval {percent(accuracy.low)} to {percent(accuracy.high)})"
    )


@click.group(cls=Group, modules=MODULES)
@click.version_option(edge.__version__, prog_name="edge-export")
@shared
def cli() -> None:
    """Build a bundle from a folder of photos, for an edge device to run and retrain."""


@cli.command()
@shared
def backbones() -> None:
    """List the available networks."""
    from export.network.backbones import BACKBONES, TIMM

    if as_json():
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
    say(
        f"and every network of timm that gives a feature map: --backbone {TIMM}NAME, such as "
        f"{TIMM}mobilenetv4_conv_small"
    )


@cli.command()
@click.argument("folder", type=PATH)
@shared
def sample(folder: Path) -> None:
    """Write a small set of example photos to FOLDER."""
    from export.photos.sample import write_sample

    counts = write_sample(folder)
    if as_json():
        say_json({"folder": str(folder), "photos": counts})
        return
    for name, count in counts.items():
        say(f"{folder / name}: {count} photos")
    say(f"{folder / 'SOURCE.txt'}: their sources and licences")
    say(f"next: edge-export build {folder / 'photos'} -o surfaces.edge")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    with warnings.catch_warnings():
        if os.environ.get("EDGE_DEBUG") != "1":  # what libraries have to say of each other is nothing for our users
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        run(cli, "edge-export", "no file was left half written")
