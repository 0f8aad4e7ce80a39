"""Labels that have no part in a figure, the reason, and what would change it. Pure.

A generation stores the reason as a word beside the column's number, not as text with the label's name, because the name
may change, and a forgotten label must leave no trace.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from edge.answers import Unmeasured
from edge.text import plural

ENOUGH = 5  # measured examples of a label, from which leave-one-out is honest
SHOWN = 4  # reasons in one line

_REASONS = {
    "few": "'{label}' has {pictures}, but {enough} are needed",
    "session": "all {pictures} of '{label}' are from one session; capture another burst later",
    "untaught": "no picture of '{label}' was taught here",
    "adapted": "the network was trained on the bundle's pictures of '{label}'; teach some here",
    "absent": "the folder contains no picture of '{label}'",
}


class Missing(NamedTuple):
    """A label by its column, how many examples it has, and a key of `_REASONS`."""

    column: int
    examples: int
    why: str


def told(missing: Sequence[Missing], labels: Sequence[str]) -> tuple[Unmeasured, ...]:
    """Return the reasons with today's names of the columns.

    >>> told([Missing(1, 20, "session")], ["shut", "open"])[0].reason
    "all 20 pictures of 'open' are from one session; capture another burst later"
    """
    return tuple(Unmeasured(labels[m.column], m.examples, _reason(m, labels[m.column])) for m in missing)


def note(unmeasured: Sequence[Unmeasured], figure: bool) -> str:
    """Say in one line that there is no accuracy, or which labels it does not cover; "" if all were measured."""
    what = "not measured" if figure else "not measurable yet"
    return f"{what}: {reasons(unmeasured)}" if unmeasured else "" if figure else what


def reasons(unmeasured: Sequence[Unmeasured]) -> str:
    """Summarise the reasons in one line.

    >>> reasons(told([Missing(0, 1, "few"), Missing(1, 0, "untaught"), Missing(2, 0, "untaught")], "abc"))
    "'a' has 1 picture, but 5 are needed; no picture of 'b', 'c' was taught here"
    """
    lines = [u.reason for u in unmeasured if u.examples]
    more = f"and {len(lines) - SHOWN} more labels" if len(lines) > SHOWN else ""
    none = [u for u in unmeasured if not u.examples]  # one reason for all of them
    names = ", ".join(f"'{u.label}'" for u in none[:SHOWN]) + (f" and {len(none) - SHOWN} more" * (len(none) > SHOWN))
    absent = [u.reason.replace(f"'{u.label}'", names, 1) for u in none[:1]]
    return "; ".join([*lines[:SHOWN], *([more] if more else []), *absent])


def read(stored: Any, labels: Sequence[str]) -> tuple[Unmeasured, ...]:
    """Read the rows of `Missing` that a generation stores; () if an older program did not store them."""
    missing = [Missing(*row) for row in stored or ()]
    return told([m for m in missing if m.column < len(labels)], labels)


def is_stored(value: Any) -> bool:
    """Whether a value is of the form that a generation stores."""
    return isinstance(value, list) and all(
        isinstance(row, list)
        and len(row) == 3
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 53 for n in row[:2])
        and row[2] in _REASONS
        for row in value
    )


def _reason(missing: Missing, label: str) -> str:
    return _REASONS[missing.why].format(label=label, pictures=plural(missing.examples, "picture"), enough=ENOUGH)
