"""The commands for a camera: `watch`, `capture`, `review`."""

import os
import select
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli import app, wording
from edge.cli.terminal import PARTLY, PATH, Progress, complain
from edge.cli.watching import EVERY, REGION, SELF_SIGNED, stopped_by_signals, tell, watching
from edge.text import plural

if TYPE_CHECKING:
    from edge.watch.loop import Sight
    from edge.watch.review import Review, Reviewed


@click.command()
@click.argument("source", envvar="EDGE_SOURCE")
@watching
@app.shared
def watch(source: str, **options: Any) -> int:
    """Classify the frames of SOURCE continuously, until stopped.

    SOURCE is picamera, a device such as /dev/video0, an http://…, rtsp://… or frigate://… address, a video file, or a
    folder in which new pictures appear. For a camera, a line is printed whenever the answer changes; with --json, for
    every frame.
    """
    from edge.watch.asked import Asked
    from edge.watch.service import Listeners, keep_watching, prepare
    from edge.watch.systemd import Notifier

    stop = stopped_by_signals()
    learner = app.learner()
    notifier = Notifier(os.environ)
    asked = Asked(source=source, **options)
    with ExitStack() as closing:
        live, as_json = True, app.as_json()

        def told(sight: "Sight") -> None:
            tell(sight, live, stop, as_json)

        ready = prepare(learner, asked, Listeners(told, complain, notifier.alive), closing)
        live = ready.source.live
        learner.backbone()  # loads the network before READY is sent
        notifier.tell("READY=1")
        complain(f"watching {ready.source.name}; press Ctrl-C to stop")
        watched = keep_watching(learner, ready.source, ready.rule, asked.every, stop, ready.listeners, ready.journal)
        notifier.tell("STOPPING=1")
    unread = f", {watched.skipped:,} could not be read" if watched.skipped else ""
    complain(f"stopped; {plural(watched.answered, 'frame')} answered{unread}")
    return PARTLY if watched.skipped and not stop.is_set() else 0


@click.command()
@click.argument("label")
@click.argument("source", envvar="EDGE_SOURCE")
@REGION
@SELF_SIGNED
@click.option(
    "--count", type=click.IntRange(1, 1000), default=20, show_default=True, help="Number of examples to collect."
)
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Stop after this many seconds."
)
@EVERY
@click.option("--session", help="Name of this burst.  [default: label and time]")
@app.shared
def capture(
    label: str,
    source: str,
    region: str | None,
    self_signed: bool,
    count: int,
    seconds: float,
    every: float,
    session: str | None,
) -> int:
    """Teach LABEL from a short burst of frames from SOURCE.

    Move the object or the camera while it runs, because frames that are nearly identical are skipped. To use the new
    examples, run edge retrain.
    """
    from edge.camera.source import open_source
    from edge.labels import clean
    from edge.watch.capture import capture as capturing
    from edge.watch.service import put_region

    if Path(source).is_dir():
        raise click.UsageError(f"{source} is a folder of pictures; to teach them, run: edge teach {label} {source}")
    learner = app.learner()
    label = clean(label)
    session = session or f"{label} {learner.now()}"
    opened = open_source(source, learner.home, self_signed)
    for line in put_region(learner, region):
        complain(line)
    learner.backbone()
    stop = stopped_by_signals()
    progress = Progress("capturing")
    result = capturing(learner, label, opened, session, count, seconds, every, stop, progress, complain)
    bursts = len({example.session for example in learner.find_examples(label=label)})
    for skipped in result.unreadable[:5]:
        complain(f"skipped: {skipped.reason}")

    def lines() -> list[str]:
        new = f"{plural(len(result.examples), 'new example')} of '{label}' from {plural(result.frames, 'frame')}"
        alike = f"; {result.alike:,} were nearly identical to another" if result.alike else ""
        lines = [f"{new}{alike}", f"session: {session}"]
        if not result.frames:
            return [f"{opened.name} gave no frame in {seconds:g} s; nothing was taught"]
        if result.blank:
            lines.append(
                f"not taught: {plural(result.blank, 'frame')} of a single colour; to teach such pictures, "
                f"save them and run: edge teach {shlex.quote(label)} PICTURES"
            )
        lines += result.complaints
        if result.complaints:
            lines.append(
                f"if your pictures will not look like this, undo it with: edge forget --session {shlex.quote(session)}"
            )
        if len(result.examples) < min(count, 5):
            lines.append("these are few; move the object or the light while capturing")
        if result.examples and bursts == 1:
            lines.append("accuracy cannot be measured from one burst; capture another one later or in different light")
        return [*lines, "to use them, run: edge retrain"] if result.examples else lines

    app.answer(result, lines)
    return PARTLY if result.unreadable or result.blank or not result.frames else 0


@click.command()
@click.argument("folder", type=PATH, required=False)
@click.option("--retrain/--no-retrain", default=True, help="Train a new generation at the end.  [default: retrain]")
@app.shared
def review(folder: Path | None, retrain: bool) -> None:
    """Label the frames that edge watch saved, then retrain.

    Each frame takes one key press. FOLDER is the folder given to edge watch --save-uncertain; without it, the last one
    used. Labelled frames are moved to FOLDER/labelled/LABEL.
    """
    from edge.errors import SourceError
    from edge.watch.review import Review

    learner = app.learner()
    folder = folder or learner.uncertain
    if folder is None:
        raise SourceError(
            "frames-missing",
            "no frames were saved for this home yet; to save some, run: edge watch SOURCE --save-uncertain DIR",
        )
    session = Review(learner, folder)
    if session.waiting() and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SourceError(
            "frames-missing", "edge review needs a terminal for its keys; without one, use: edge teach LABEL PICTURES"
        )
    deleted = _go_through(session)
    fitted = learner.retrain() if retrain and session.changed else None
    result = session.result(deleted, fitted)
    app.answer(result, lambda: _reviewed(result))


def _go_through(session: "Review") -> int:
    """Show each frame and carry out the pressed key; returns how many frames were deleted. Stdout is for the result."""
    from edge.errors import EdgeError
    from edge.watch.review import keys

    deleted = 0
    queue = session.waiting()
    named: list[int] = []  # positions in the queue
    at = 0
    while at < len(queue):
        path = queue[at]
        choices = keys(session.learner.labels())  # by name, so their keys stay the same from frame to frame
        try:
            _show(session, path, f"{at + 1} of {len(queue)}", choices)
            key = _key()
            if key in choices or key == "n":
                label = choices[key] if key in choices else click.prompt("new label", err=True)
                for line in session.name(path, label):
                    complain(f"warning: {line}")
                named.append(at)
            elif key == "d":
                path.unlink(missing_ok=True)
                deleted += 1
            elif key == "u":
                at = _undo(session, queue, named, at)
                continue
            elif key == "q":
                break
            elif key not in ("s", " "):
                continue
        except EdgeError as error:
            complain(f"{error}; skipped")
        except OSError as error:
            complain(f"{path.name} cannot be deleted ({error.strerror}); skipped")
        at += 1
    return deleted


def _undo(session: "Review", queue: list[Path], named: list[int], at: int) -> int:
    """Undo the last label; returns the position of its frame, or the current position if nothing can be undone."""
    from edge.errors import EdgeError

    try:
        back = session.undo()
    except EdgeError as error:
        complain(f"not undone: {error}")
        return at
    if back is None:
        complain("there is nothing to undo")
        return at
    at = named.pop()
    queue[at] = back
    return at


def _show(session: "Review", path: Path, count: str, choices: dict[str, str]) -> None:
    from edge.answers import Answer

    guess = next(iter(session.learner.classify_each([path])))
    for line in session.picture(path, columns=48):
        click.echo(line, err=True, color=True)
    if isinstance(guess, Answer):
        top = ", ".join(f"{g.label} {100 * g.probability:.0f} %" for g in guess.top[:3])
        complain(f"{count}  {path.name}: {'unknown; ' if guess.unknown else ''}{top}")
    complain("  ".join(f"[{key}] {label}" for key, label in choices.items()))
    complain("[n] new label  [s] skip  [d] delete  [u] undo  [q] done")


def _key() -> str:
    """Read one key without waiting for Enter; unlike `click.getchar`, it does not lose keys typed ahead."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)
        key = os.read(terminal, 1)
        if key == b"\x1b" and select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 16)  # skip the rest of an escape sequence, such as an arrow key's
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    if key in (b"", b"\x04"):
        raise KeyboardInterrupt
    return key.decode("ascii", "replace").lower()


def _reviewed(result: "Reviewed") -> list[str]:
    if not (result.labelled or result.deleted or result.left):
        return ["there are no frames to label"]
    lines = [f"{plural(result.labelled, 'frame')} labelled, {result.deleted} deleted, {result.left} left"]
    if result.relabelled:
        lines.append(f"{plural(result.relabelled, 'frame')} of them had a different label before")
    if result.known:
        lines.append(f"{plural(result.known, 'frame')} of them had that label already")
    return [*lines, *(wording.retrained(result.retrained) if result.retrained else [])]
