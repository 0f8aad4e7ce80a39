"""One line of the table that `make torture` prints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.cli.terminal import table

Say = Callable[[str], None]  # is told how a long part gets on


@dataclass(frozen=True)
class Row:
    """What was done, how often, and what came of it.

    Args:
        what: was done, in a few words.
        tried: how often.
        old, new: how many times the state afterwards was that before, or that after; None where it has no meaning.
        wrong: a line for each time that something was lost, damaged, or ended in a traceback; none is what we want.
        note: what else was measured.
    """

    what: str
    tried: int
    old: int | None = None
    new: int | None = None
    wrong: tuple[str, ...] = ()
    note: str = ""


def lines(rows: Sequence[Row]) -> list[str]:
    """Lay out the table, and below it what went wrong."""
    cells = [["", "tried", "old state", "new state", "lost", ""]]
    cells += [[r.what, f"{r.tried:,}", _number(r.old), _number(r.new), f"{len(r.wrong):,}", r.note] for r in rows]
    return [*table(cells, right=[1, 2, 3, 4]), *[f"LOST {r.what}: {line}" for r in rows for line in r.wrong[:20]]]


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
