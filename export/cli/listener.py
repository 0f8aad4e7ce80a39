"""The progress of long commands, on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

import click

from edge.cli.terminal import Progress, complain

if TYPE_CHECKING:
    from edge.picture.count import Left


class Terminal:
    """Prints the result of each stage as a line, and on a terminal also what is going on, until its block ends.

    Args:
        mute: Print nothing, as in all processes but the first.
    """

    def __init__(self, mute: bool = False) -> None:
        self._mute = mute
        self._live = sys.stderr.isatty() and not mute
        self._bar: Progress | None = None

    def doing(self, what: str) -> None:
        self._draw(f"{what} …")
        self._bar = None if self._mute else Progress(what)

    def step(self, done: int, total: int) -> None:
        if self._bar:
            self._bar(done, total)

    def said(self, line: str) -> None:
        self._draw("")
        if not self._mute:
            complain(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._draw("")

    def _draw(self, text: str) -> None:
        if self._live:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)


def skipped_json(skipped: tuple[Left, ...]) -> list[dict[str, object]]:
    """The photos that were left out, as JSON."""
    return [
        {"path": str(one.path), "reason": one.detail, "copy": one.reason == "copy", "kind": one.reason}
        for one in skipped
    ]


def report_skipped(skipped: tuple[Left, ...]) -> None:
    """Print which photos were left out, and why."""
    for photo in skipped[:10]:
        complain(f"left out: {photo.detail}")
    if len(skipped) > 10:
        complain(f"left out: {len(skipped) - 10} more")
