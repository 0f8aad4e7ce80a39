"""What each of the learner's methods answers: the fields here are the JSON that the command line prints.

Named tuples, as they are defined eight times faster than dataclasses and every command waits for that; `to_json` is the
only step from them to a program's reader.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Guess(NamedTuple):
    """One label with its probability, 0–1."""

    label: str
    probability: float


class Neighbour(NamedTuple):
    """A taught example near a picture: its number here (None: one of the factory's), and how similar, at most 1."""

    example: int | None
    source: str
    label: str
    similarity: float


class Answer(NamedTuple):
    """What `classify` says of one picture.

    `unknown` is None where it cannot be judged yet (too few examples) or is switched off; `label` is None if it is
    True. `nearest` is filled where it was asked for.
    """

    image: str
    label: str | None
    unknown: bool | None
    probability: float
    top: tuple[Guess, ...]
    generation: int
    milliseconds: float
    nearest: tuple[Neighbour, ...] = ()


class Skipped(NamedTuple):
    """A file that was not used, and why."""

    image: str
    reason: str


class Taught(NamedTuple):
    """What `teach` did: ids of new examples, and the files that were known already or could not be read."""

    label: str
    examples: tuple[int, ...]
    known: tuple[Skipped, ...]
    unreadable: tuple[Skipped, ...]
    milliseconds: float
    complaints: tuple[str, ...] = ()  # how the pictures differ from the factory's, a line each


class Doubt(NamedTuple):
    """An example that the head, with it left out, would name otherwise."""

    example: int
    source: str
    label: str
    guess: str
    probability: float


class Retrained(NamedTuple):
    """What `retrain` made.

    `loo_accuracy` is the share of examples named rightly by a head that was not taught them; None where there are too
    few to tell, and `note` says so. `scope` says whose examples it counts: "local" ones or "all".
    """

    generation: int
    promoted: bool
    method: str
    loo_accuracy: float | None
    loo_interval: tuple[float, float] | None
    note: str
    scope: str
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]  # row: true label, column: named as
    local_examples: int
    factory_examples: int
    doubts: tuple[Doubt, ...]
    known_coverage: float | None  # the share of known pictures that is not to be called unknown; None: none is
    unknown_note: str  # why none is called unknown, or not all that could be; else ""
    pixel_accuracy: float | None  # `loo_accuracy` of the same fitter on 8 × 8 pixels instead of the backbone
    advice: str  # what follows from it, or ""
    milliseconds: float  # of fitting, everything included
    total_milliseconds: float  # with reading the examples and storing the head


class Evaluated(NamedTuple):
    """How the serving head did on a labelled folder. `confusion` rows are `truths`, columns `labels`."""

    accuracy: float
    interval: tuple[float, float]
    examples: int
    labels: tuple[str, ...]
    truths: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    unknown: int | None  # pictures that `classify` calls unknown, whatever `confusion` counts them as
    unknown_by_truth: tuple[int, ...]  # of each of `truths`
    untaught: tuple[str, ...]  # truths that the head has no label for: their photos cannot be right
    unreadable: tuple[Skipped, ...]
    generation: int


class LabelCount(NamedTuple):
    """How many examples teach a label."""

    label: str
    local: int
    factory: int


class Drift(NamedTuple):
    """How the frames classified lately sit against the taught ones.

    `typical` is the share of taught pictures that were less similar, left out, than the median frame: 0.5 is usual.
    """

    frames: int
    unknown: float  # share
    expected: float  # share of known pictures that are called unknown
    typical: float
    drifted: bool


class Status(NamedTuple):
    """The home at a glance."""

    home: str
    bundle: str
    backbone: str
    format: str
    precision: str
    generation: int
    trained: str
    method: str
    loo_accuracy: float | None
    loo_interval: tuple[float, float] | None
    labels: tuple[LabelCount, ...]
    untrained_examples: int  # taught after the serving head was made
    region: str | None  # the part of each picture that is looked at; None: the whole
    known_coverage: float | None  # None: nothing is called unknown
    drift: Drift | None  # None: too few frames since the head was made


class HistoryEntry(NamedTuple):
    """One generation. `usable` is False once its head was overwritten: it had learned what was forgotten since."""

    generation: int
    created: str
    method: str
    labels: tuple[str, ...]
    local_examples: int
    factory_examples: int
    loo_accuracy: float | None
    loo_interval: tuple[float, float] | None
    serving: bool
    usable: bool


class Forgotten(NamedTuple):
    """What `forget` removed, the generation that serves since, and the generations whose heads were overwritten."""

    examples: int
    labels: tuple[str, ...]
    generation: int
    overwritten: tuple[int, ...]


class Exported(NamedTuple):
    """The file that `export` wrote."""

    file: str
    format: str
    bytes: int
    labels: tuple[str, ...]
    generation: int


class Finding(NamedTuple):
    """One check of `doctor`: what was looked at, whether it is well, what was seen, and what to do if it is not."""

    check: str
    ok: bool
    seen: str
    remedy: str


def rows(matrix: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Turn a matrix of counts into what an answer holds."""
    return tuple(tuple(row) for row in matrix.tolist())


def to_json(answer: Any) -> Any:
    """Turn an answer into what `json.dumps` takes; probabilities and times are cut to what they mean.

    >>> to_json(Guess("glass", 0.123456789))
    {'label': 'glass', 'probability': 0.123457}
    """
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        return {name: to_json(value) for name, value in zip(answer._fields, answer, strict=True)}
    if isinstance(answer, tuple | list):
        return [to_json(item) for item in answer]
    if isinstance(answer, float | np.floating):
        return round(float(answer), 6)
    if isinstance(answer, np.integer):
        return int(answer)
    return answer
