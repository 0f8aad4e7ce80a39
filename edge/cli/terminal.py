"""Terminal output of both command lines: exit codes, one-line errors, progress, tables, JSON. Nothing else prints.

Results go to stdout, progress and warnings to stderr. Exit codes are 0: done; 1: an `EdgeError`, reported in one line;
2: wrong usage; 3: partly done (some pictures could not be read); 130: interrupted. `EDGE_DEBUG=1` shows tracebacks.
"""

import io
import json
import os
import sys
import time
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from edge.errors import EdgeError
from edge.labels import hidden

PATH = click.Path(path_type=Path)  # of an argument or option: a file or folder
PARTLY = 3
INTERRUPTED = 130


def run(command: click.Command, name: str, interrupted: str = "everything reported as done is stored") -> None:
    """Run a command line and exit with its exit code.

    Args:
        interrupted: message about the state of the work after Ctrl-C, unless the KeyboardInterrupt carries one.
    """
    # Set before numpy is loaded: a head's matrices are small, and if other programs keep the cores busy, OpenBLAS's
    # threads wait for each other a hundred times longer than they calculate.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings.filterwarnings("ignore", module=r"PIL\b")  # we report problems with a picture in one line
    for stream in (sys.stdout, sys.stderr):  # a terminal with another encoding shows \\u2026 for what it cannot print
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        vars(error)["message"] = shown(error.message)  # a file name in it must not forge a line
        told = io.StringIO()
        error.show(told)
        for line in told.getvalue().rstrip("\n").split("\n"):
            complain(line)
        _refuse("usage", error.format_message())
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:  # click turns a KeyboardInterrupt into an Abort
        complain(f"interrupted; {str(stop.__cause__ or '') or str(stop) or interrupted}")
        sys.exit(INTERRUPTED)
    except (EdgeError, OSError, MemoryError, ImportError) as error:
        if os.environ.get("EDGE_DEBUG") == "1":
            raise
        line = _one_line(error)
        complain(f"error: {line}")
        _refuse(getattr(error, "code", _usual_code(error)), line)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def say(text: str = "") -> None:
    """Print a line of the result, with control characters escaped."""
    click.echo(shown(text))


def complain(text: str) -> None:
    """Print a line to stderr."""
    click.echo(shown(text), err=True)


def say_json(value: Any) -> None:
    """Print one JSON value on one line."""
    click.echo(_json(value))


def say_json_list(name: str, items: Iterable[Any], about: dict[str, Any]) -> None:
    """Print one JSON object on one line: a list, which may be too long for memory, its `count`, and other fields.

    Args:
        name: the list's field name.
        items: the list's items; each is printed as it comes.
        about: the other fields.
    """
    click.echo(f"{_json(about)[:-1]}, {_json(name)}: [", nl=False)
    count = 0
    for item in items:
        click.echo(", " * (count > 0) + _json(item), nl=False)
        count += 1
    click.echo(f'], "count": {count}}}')


def _json(value: Any) -> str:
    """Return JSON, with control characters and undecodable bytes as \\u escapes."""
    text = _redacted(json.dumps(value, ensure_ascii=not _unicode(), allow_nan=False), json=True)
    if not (text.isascii() and text.isprintable()):
        text = "".join(_in_json(c) if hidden(c) else c for c in text)
    return text


def shown(text: str) -> str:
    r"""Escape `text` for one line, so that a file name cannot control the terminal, and hide passwords in addresses.

    Escaped are control characters (including line breaks, which could forge a line), lone surrogates (which stand for
    undecodable bytes), and characters that change the direction of writing.

    >>> print(shown("a\x1b[2J\nb\u202e"))
    a\x1b[2J\nb\u202e
    """
    text = _redacted(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if hidden(c) and c != "\t" else c for c in text)


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lay out rows in columns, two spaces apart; the column numbers in `right` are right-aligned.

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
    """Lay out a confusion matrix, with a row per true label and a column per predicted label."""
    head = ["", *[_short(label) for label in labels]]
    rows = [[_short(t), *[str(n) if n else "·" for n in row]] for t, row in zip(truths, confusion, strict=True)]
    return table([head, *rows], right=range(1, len(head)))


class Progress:
    """A progress bar on a terminal; elsewhere an occasional line, so that a log shows progress."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._terminal = sys.stderr.isatty()
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` steps are done."""
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
    """Remove secrets from each address in a text with `address.redacted`; most texts contain no address."""
    if ":/" not in text:
        return text
    from edge.camera.address import redacted

    return redacted(text, json)


def _refuse(code: str, message: str) -> None:
    """Print an error as JSON if --json is anywhere on the command line, even if click could not parse it."""
    if "--json" in sys.argv:
        say_json({"error": message, "code": code})


def _one_line(error: BaseException) -> str:
    if isinstance(error, EdgeError):
        return " ".join(str(error).split("\n"))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        advice = "; check its permissions and those of the folders above it" if _forbidden(error) else ""
        return f"{where}{error.strerror or error}{advice}"
    if isinstance(error, ImportError):
        why = " ".join(str(error.__cause__ or error).split())  # the cause, where numpy adds a page of advice
        return f"a library does not load ({why}); close other programs, or install it again"
    return "not enough memory; close other programs or use smaller pictures"


def _usual_code(error: BaseException) -> str:
    """The code of an error that is not ours."""
    if isinstance(error, MemoryError):
        return "out-of-memory"
    if isinstance(error, ImportError):
        return "library-missing"
    return "permission-denied" if _forbidden(error) else "system"


def _forbidden(error: BaseException) -> bool:
    return isinstance(error, PermissionError) and bool(error.filename)


def _in_json(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) > 0x7F else f"\\u{ord(character):04x}"


def _unicode() -> bool:
    """Whether stdout can print every character."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _short(label: str) -> str:
    return label if len(label) <= 16 else label[:15] + "…"


def _width(text: str) -> int:
    """Return a text's width on a terminal: wide characters take two columns, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
