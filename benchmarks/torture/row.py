"""One line of the table that `make torture` prints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.cli.terminal import table

Say = Callable[[str], None]  # is told how a long part gets on


@dataclass(frozen=True)
class Row:
    """What was done, how often, and what came of it."""

    what: str  # what was done, in a few words
    tried: int  # how often it was done
    old: int | None = None  # how many times the state afterwards was that before; None where it has no meaning
    new: int | None = None  # how many times it was that after
    # a line for each time that something was lost, damaged, or ended in a traceback; none is what we want
    wrong: tuple[str, ...] = ()
    note: str = ""  # what else was measured


def lines(rows: Sequence[Row]) -> list[str]:
    """Lay out the table, and below it what went wrong."""
    cells = [["", "tried", "old state", "new state", "lost", ""]]
    cells += [[r.what, f"{r.tried:,}", _number(r.old), _number(r.new), f"{len(r.wrong):,}", r.note] for r in rows]
    return [*table(cells, right=[1, 2, 3, 4]), *[f"LOST {r.what}: {line}" for r in rows for line in r.wrong[:20]]]


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
