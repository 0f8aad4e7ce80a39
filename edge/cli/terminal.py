"""How both command lines speak: exit codes, one-line errors, progress, tables, JSON. Nothing else prints.

Results go to stdout, progress and complaints to stderr. Exit 0: done; 1: an `EdgeError`, in one line; 2: wrong usage;
3: done in part (some pictures could not be read); 130: interrupted. `EDGE_DEBUG=1` shows where an error arose.
"""

import io
import json
import os
import sys
import time
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import click

from edge.errors import EdgeError
from edge.labels import hidden

PARTLY = 3
INTERRUPTED = 130


def run(command: click.Command, name: str, interrupted: str = "everything reported as done is stored") -> None:
    """Run a command line and leave the process with its exit code.

    Args:
        command: the command line.
        name: of the program.
        interrupted: what to say of the work after Ctrl-C, where the KeyboardInterrupt itself does not.
    """
    # Before numpy is loaded: a head's matrices are small, and where other programs keep the cores busy, OpenBLAS's
    # threads wait for each other a hundred times longer than they calculate.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings.filterwarnings("ignore", module=r"PIL\b")  # what is wrong with a picture is told by us, in one line
    for stream in (sys.stdout, sys.stderr):  # a terminal of another encoding shows what it cannot print as \\u2026
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        vars(error)["message"] = shown(error.message)  # a file's name in it must not forge a line
        told = io.StringIO()
        error.show(told)
        for line in told.getvalue().rstrip("\n").split("\n"):
            complain(line)
        _refuse("usage", error.format_message())
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:  # click makes an Abort of a KeyboardInterrupt
        complain(f"interrupted; {str(stop.__cause__ or '') or str(stop) or interrupted}")
        sys.exit(INTERRUPTED)
    except (EdgeError, OSError, MemoryError) as error:
        if os.environ.get("EDGE_DEBUG") == "1":
            raise
        complain(f"error: {_one_line(error)}")
        code = "out-of-memory" if isinstance(error, MemoryError) else getattr(error, "code", "system")
        _refuse(code, _one_line(error))
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def say(text: str = "") -> None:
    """Print a line of the result; control characters are shown, not sent to the terminal."""
    click.echo(shown(text))


def complain(text: str) -> None:
    """Print a line to stderr."""
    click.echo(shown(text), err=True)


def say_json(value: Any) -> None:
    """Print one JSON value on one line."""
    click.echo(_json(value))


def say_json_list(name: str, items: Iterable[Any], about: dict[str, Any]) -> None:
    """Print one JSON object on one line: a list that may be too long to be held in memory, its `count`, and the rest.

    Args:
        name: the list's.
        items: of it; each is printed as it comes.
        about: the other fields.
    """
    click.echo(f"{_json(about)[:-1]}, {_json(name)}: [", nl=False)
    count = 0
    for item in items:
        click.echo(", " * (count > 0) + _json(item), nl=False)
        count += 1
    click.echo(f'], "count": {count}}}')


def _json(value: Any) -> str:
    """Write JSON; what a terminal would obey, and bytes of no encoding, become \\u…."""
    text = _redacted(json.dumps(value, ensure_ascii=not _unicode(), allow_nan=False), json=True)
    if not (text.isascii() and text.isprintable()):
        text = "".join(_in_json(c) if hidden(c) else c for c in text)
    return text


def shown(text: str) -> str:
    r"""Return `text`, one line, with what is not printed written out: a file's name must not steer the terminal.

    Addresses are shown without what is secret in them.

    That is control characters (line ends as well, with which a name could forge a line), half characters that stand for
    bytes of no encoding, and what turns the direction of writing.

    >>> print(shown("a\x1b[2J\nb\u202e"))
    a\x1b[2J\nb\u202e
    """
    text = _redacted(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if hidden(c) and c != "\t" else c for c in text)


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lay out rows in columns, two blanks apart; the columns numbered in `right` are right-aligned.

    >>> table([["brick", "7"], ["grass", "12"]], right=[1])
    ['brick   7', 'grass  12']
    """
    columns = max((len(row) for row in rows), default=0)
    widths = [max(_width(row[i]) for row in rows if i < len(row)) for i in range(columns)]
    lines = []
    for row in rows:
        cells = []
        for i, cell in enumerate(row):
            blanks = " " * (widths[i] - _width(cell))
            cells.append(blanks + cell if i in right else cell + blanks)
        lines.append("  ".join(cells).rstrip())
    return lines


def confusion_table(truths: Sequence[str], labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[str]:
    """Lay out a confusion matrix: a row for what it is, a column for what it was called."""
    head = ["", *[_short(label) for label in labels]]
    rows = [[_short(t), *[str(n) if n else "·" for n in row]] for t, row in zip(truths, confusion, strict=True)]
    return table([head, *rows], right=range(1, len(head)))


class Progress:
    """A bar on a terminal; elsewhere a line now and then, so that a log shows that work goes on."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._terminal = sys.stderr.isatty()
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        now = time.monotonic()
        wait = 0.1 if self._terminal else 10.0
        if now - self._last < wait and done < total:
            return
        self._last = now
        if self._terminal:
            left = (now - self._start) / max(done, 1) * (total - done)
            filled = round(24 * done / max(total, 1))
            bar = "█" * filled + "░" * (24 - filled)
            click.echo(f"\r\x1b[K{self._what} {bar} {done}/{total}, {left:.0f} s left", nl=False, err=True)
            if done >= total:
                click.echo("\r\x1b[K", nl=False, err=True)
        elif done < total:
            click.echo(f"{self._what} {done}/{total}", err=True)


def _redacted(text: str, json: bool = False) -> str:
    """Take what is secret out of each address in a text, as `address.redacted`; most texts hold none."""
    if ":/" not in text:
        return text
    from edge.camera.address import redacted

    return redacted(text, json)


def _refuse(code: str, message: str) -> None:
    """Print why a command was refused, for a program; the option may stand in a line that click could not read."""
    if "--json" in sys.argv:
        say_json({"error": message, "code": code})


def _one_line(error: BaseException) -> str:
    if isinstance(error, EdgeError):
        return " ".join(str(error).split("\n"))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return "not enough memory; close other programs or use smaller pictures"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _in_json(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) > 0x7F else f"\\u{ord(character):04x}"


def _unicode() -> bool:
    """Whether stdout can print every character."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _short(label: str) -> str:
    return label if len(label) <= 16 else label[:15] + "…"


def _width(text: str) -> int:
    """Columns a text takes on a terminal: wide characters two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
