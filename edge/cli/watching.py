"""Shared by the commands `watch` and `serve`: their options, printing of answers, and stopping by signals."""

import select
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.cli.terminal import PATH, say, say_json
from edge.watch.stop import Stop

if TYPE_CHECKING:
    from edge.watch.loop import Sight

_F = TypeVar("_F", bound=Callable[..., Any])
REGION = click.option(
    "--region",
    metavar="L,T,W,H",
    help="Use only this part of each picture from now on: left, top, width and height as fractions of the picture, or "
    "'whole'.",
)

SELF_SIGNED = click.option(
    "--allow-self-signed", "self_signed", is_flag=True, help="Accept a self-signed certificate from an https camera."
)
EVERY = click.option(
    "--every", type=click.FloatRange(0.01), default=0.2, show_default=True, help="Seconds between frames."
)

WATCHING = (
    REGION,
    SELF_SIGNED,
    EVERY,
    click.option(
        "--smooth",
        metavar="N/M",
        help="Report a label once N of the last M frames agree.  [default: 3/5; 1/1 for a folder or video file]",
    ),
    click.option(
        "--on",
        "hooks",
        nargs=2,
        multiple=True,
        metavar="LABEL COMMAND",
        help="Run COMMAND each time the answer changes to LABEL. Can be repeated.",
    ),
    click.option(
        "--cool-down",
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="Minimum time between two starts of the same --on command.  [default: 5; 0 for a folder or video file]",
    ),
    click.option(
        "--save-uncertain", type=PATH, metavar="DIR", help="Save uncertain frames in this folder, for edge review."
    ),
    click.option(
        "--below",
        type=click.FloatRange(0, 1),
        default=0.7,
        show_default=True,
        help="Save frames whose probability is below this.",
    ),
    click.option(
        "--budget",
        type=click.FloatRange(0.1),
        default=100.0,
        show_default=True,
        help="Space for saved frames, in MB; the oldest are deleted first.",
    ),
    click.option(
        "--mqtt", envvar="EDGE_MQTT", metavar="URL", help="Publish to this MQTT broker: mqtt://user:password@host/NAME."
    ),
    click.option(
        "--write-back",
        type=click.Choice(["sub-label", "attribute", "nothing"]),
        help="Where to write the answers for Frigate's tracked objects.  [default: sub-label]",
    ),
)


def watching(command: _F) -> _F:
    """Add the options of `watch` to a command."""
    for option in reversed(WATCHING):
        command = option(command)
    return command


def tell(sight: "Sight", live: bool, stop: threading.Event, as_json: bool) -> None:
    """Print an answer: as JSON always; for people, only changes of a camera, but every picture of other sources."""
    from edge.answers import to_json
    from edge.watch.service import Stopped

    seen = sight.seen
    if not (as_json or seen.changed or not live):
        return
    while not _writable(1.0):  # a pipe that nobody reads must not keep us from stopping
        if stop.is_set():
            raise Stopped
    if as_json:
        say_json(to_json(seen))
    else:
        when = f"{datetime.fromisoformat(seen.time).astimezone():%Y-%m-%d %H:%M:%S}"
        name = "unknown" if seen.label is None else f"{seen.label} {100 * seen.probability:.0f} %"
        say(f"{when if live else seen.image}: {name}")
    sys.stdout.flush()


def _writable(seconds: float) -> bool:
    """Whether stdout accepts a line within this many seconds."""
    try:
        return bool(select.select([], [sys.stdout.fileno()], [], seconds)[1])
    except (OSError, ValueError):  # stdout has no file descriptor, as in tests
        return True


def stopped_by_signals() -> threading.Event:
    """Return a `Stop` that SIGTERM and Ctrl-C set, so that the current frame is finished before the program ends.

    A second Ctrl-C interrupts at once. A second SIGTERM does not, because timeout(1), for example, always sends two.
    """
    stop = Stop()

    def end(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop
