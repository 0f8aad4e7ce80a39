"""What each of the learner's methods answers: the fields here are the JSON that the command line prints.

Named tuples, as they are defined eight times faster than dataclasses and every command waits for that; `to_json` is the
only step from them to a program's reader.
"""

import numbers
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
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
    """A file that was not used, and why; `kind` is the word for it in `files`."""

    image: str
    reason: str
    kind: str = ""


class LeftOut(NamedTuple):
    """Files that were left out for one reason; `reason` is a word of docs/json.md, `example` one of their paths."""

    reason: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    example: str
    advice: str


class Files(NamedTuple):
    """What became of the files that a command was given, itself or in folders: `seen` = `read` + those left out."""

    seen: int
    read: int
    left_out: tuple[LeftOut, ...] = ()


class Taught(NamedTuple):
    """What `teach` did: ids of new examples, and the files that were known already or could not be read."""

    label: str
    examples: tuple[int, ...]
    held_out: bool
    known: tuple[Skipped, ...]
    unreadable: tuple[Skipped, ...]
    milliseconds: float
    complaints: tuple[str, ...] = ()  # how the pictures differ from the factory's, a line each
    files: Files = Files(0, 0)


class TaughtFolders(NamedTuple):
    """What `teach --folders` did, folder by folder; `layout` says what was made of a train and a val folder."""

    folder: str
    layout: str
    taught: tuple[Taught, ...]
    contradictions: tuple[Skipped, ...]  # pictures that lie in the folders of two labels
    files: Files


class Doubt(NamedTuple):
    """An example that the head, with it left out, would name otherwise."""

    example: int
    source: str
    label: str
    guess: str
    probability: float


class Compared(NamedTuple):
    """How the new head and the serving one name the same pictures, of labels that both know."""

    examples: int
    right: int
    serving_right: int


class Unmeasured(NamedTuple):
    """A label that has no part in a figure, how many examples it has, and why, with what to do."""

    label: str
    examples: int
    reason: str


class Retrained(NamedTuple):
    """What `retrain` made.

    `loo_accuracy` is the share of examples named rightly by a head that was not taught them, of the labels that can be
    measured; the others are `unmeasured`, and `note` sums up why. None where fewer than two can be. `scope` says whose
    examples it counts: "local" ones or "all". Where `promoted` is False the head stays a candidate, and `refusal` says
    why: it did clearly worse than the `serving` generation on the pictures `held_out`, on those taught here that both
    share, or on the factory's. None: there is nothing to compare.
    """

    generation: int
    promoted: bool
    refusal: str
    serving: int
    held_out: Compared | None
    shared: Compared | None
    factory: Compared | None
    method: str
    loo_accuracy: float | None
    loo_interval: tuple[float, float] | None
    note: str
    unmeasured: tuple[Unmeasured, ...]
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
    nothing_new: bool = False  # True only in the answer of `retrain --if-taught` that made no head


class Evaluated(NamedTuple):
    """How the serving head did on a labelled folder. `confusion` rows are `truths`, columns `labels`.

    `unmeasured` are the labels with too few pictures in the folder to say how well they are told, or none.
    """

    accuracy: float
    interval: tuple[float, float]
    examples: int
    labels: tuple[str, ...]
    truths: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    unknown: int | None  # pictures that `classify` calls unknown, whatever `confusion` counts them as
    unknown_by_truth: tuple[int, ...]  # of each of `truths`
    untaught: tuple[str, ...]  # truths that the head has no label for: their photos cannot be right
    unmeasured: tuple[Unmeasured, ...]
    unreadable: tuple[Skipped, ...]
    generation: int
    layout: str  # what was made of a train and a val folder
    contradictions: tuple[Skipped, ...]  # pictures that lie in the folders of two labels
    files: Files


class LabelCount(NamedTuple):
    """How many examples teach a label."""

    label: str
    local: int
    factory: int
    held_out: int


class Drift(NamedTuple):
    """How the frames classified lately sit against the taught ones.

    `typical` is the share of taught pictures that were less similar, left out, than the median frame: 0.5 is usual.
    """

    frames: int
    unknown: float  # share
    expected: float  # share of known pictures that are called unknown
    typical: float
    drifted: bool
    look: str  # what most of the frames are: "too dark", "blurred" …; or ""


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
    unmeasured: tuple[Unmeasured, ...]  # labels that have no part in `loo_accuracy`
    labels: tuple[LabelCount, ...]
    untrained_examples: int  # taught or relabelled after the serving head was made
    region: str | None  # the part of each picture that is looked at; None: the whole
    known_coverage: float | None  # None: nothing is called unknown
    drift: Drift | None  # None: too few frames since the head was made
    candidate: int | None  # the newest generation, if it was made since and may not serve
    keeps_crops: bool
    forgotten: tuple[str, ...]  # labels of the bundle that were forgotten here, by their names in the bundle


class HistoryEntry(NamedTuple):
    """One generation.

    `usable` is False once its head was overwritten: it had learned what was forgotten since. `promoted` is False for a
    candidate that was not let serve, `refusal` says why. `held_out_accuracy`: of pictures that no head is fitted to.
    """

    generation: int
    created: str
    method: str
    labels: tuple[str, ...]
    local_examples: int
    factory_examples: int
    loo_accuracy: float | None
    loo_interval: tuple[float, float] | None
    unmeasured: tuple[Unmeasured, ...]  # labels that have no part in `loo_accuracy`
    held_out_accuracy: float | None
    held_out_examples: int
    serving: bool
    usable: bool
    promoted: bool
    refusal: str


class Forgotten(NamedTuple):
    """What `forget` removed, the generation that serves since, and the generations whose heads were overwritten.

    `refitted` is False where the serving head had never seen what was forgotten: then it goes on serving.
    """

    examples: int
    labels: tuple[str, ...]
    generation: int
    refitted: bool
    overwritten: tuple[int, ...]


class Renamed(NamedTuple):
    """What `rename` did. `merged`: there was a label of the new name, and both are one now.

    `examples` is how many got another label by that; then a new head was fitted, and `generation` serves since: the new
    one if `refitted`. The heads of `overwritten` told the two apart and can serve no more.
    """

    old: str
    new: str
    merged: bool
    examples: int
    generation: int
    refitted: bool
    overwritten: tuple[int, ...]


class NothingNew(NamedTuple):
    """What `retrain --if-taught` answers where nothing was taught or relabelled: no head was made."""

    generation: int  # that serves, as before
    promoted: bool = False
    nothing_new: bool = True


class Suspect(NamedTuple):
    """An example that the head, with it left out, names otherwise; its label is `likely` wrong, or the picture hard."""

    example: int
    source: str
    label: str
    guess: str
    probability: float
    likely: bool
    remedy: str  # the command that mends it, here and below


class Repeated(NamedTuple):
    """Examples that are nearly the same picture, and the least cosine between the first one and another."""

    examples: tuple[int, ...]
    labels: tuple[str, ...]
    similarity: float
    remedy: str


class Thin(NamedTuple):
    """A label with too few examples to judge; those of one session count once."""

    label: str
    examples: int
    independent: int
    remedy: str


class Advice(NamedTuple):
    """What to teach next: `more` examples of a label (None: of all) would add `gain` to the accuracy, as a fraction."""

    label: str | None
    more: int
    gain: float
    interval: tuple[float, float]
    remedy: str


class Unsure(NamedTuple):
    """A picture not taught yet that is unknown, or of which the serving head is least sure."""

    image: str
    unknown: bool
    top: tuple[Guess, ...]
    remedy: str


class LearningCurve(NamedTuple):
    """Accuracy by examples per label taught here, with the 95 % interval; the last one is today's."""

    sizes: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Audited(NamedTuple):
    """What `audit` found in the examples taught here, of which it looked at the newest `examples`."""

    examples: int
    not_looked_at: int
    factory_examples: int
    loo_accuracy: float | None
    loo_interval: tuple[float, float] | None
    note: str
    unmeasured: tuple[Unmeasured, ...]  # labels that have no part in `loo_accuracy`
    scope: str
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]  # row: true label, column: named as
    suspects: tuple[Suspect, ...]
    contradictions: tuple[Repeated, ...]
    repeated: tuple[Repeated, ...]
    thin: tuple[Thin, ...]
    curve: LearningCurve | None
    advice: tuple[Advice, ...]
    unsure: tuple[Unsure, ...]
    review: str | None  # the command that goes through the frames that watch saved, if `unsure` are of these
    unreadable: tuple[Skipped, ...]
    page: str | None  # where it was written to
    milliseconds: float
    files: Files = Files(0, 0)


class Exported(NamedTuple):
    """The file that `export` wrote, and the list of its labels where one was asked for."""

    file: str
    format: str
    bytes: int
    labels: tuple[str, ...]
    generation: int
    labels_file: str | None = None


class TrustedKey(NamedTuple):
    """A pinned key, as `ssh-keygen -l` shows it, and what its owner calls it."""

    fingerprint: str
    comment: str


class Trusted(NamedTuple):
    """The keys whose bundles are taken; none: anybody's.

    `key` is the one that signed the adopted `bundle`; where keys are pinned and none of them did, `problem` says why.
    """

    keys: tuple[TrustedKey, ...]
    bundle: str
    signed: str | None
    key: str | None
    problem: str


class Finding(NamedTuple):
    """One check of `doctor`: what was looked at, whether it is well, what was seen, and what to do if it is not."""

    check: str
    ok: bool
    seen: str
    remedy: str


class Verified(NamedTuple):
    """What `verify` found in a home, and what it mended."""

    home: str
    findings: tuple[Finding, ...]
    mended: tuple[str, ...]


class BackedUp(NamedTuple):
    """What `backup` wrote."""

    file: str
    bytes: int
    examples: int
    generation: int


def rows(matrix: "NDArray[np.int64]") -> tuple[tuple[int, ...], ...]:
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
    if isinstance(answer, bool):
        return answer
    if isinstance(answer, numbers.Integral):  # numpy's are registered as such, too
        return int(answer)
    if isinstance(answer, numbers.Real):
        return round(float(answer), 6)
    return answer
