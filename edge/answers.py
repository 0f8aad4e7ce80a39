"""The results of the learner's methods. Their fields are the JSON that the command line prints.

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
    """An example similar to a picture: its number (None for one of the bundle), and the cosine similarity, at most
    1."""

    example: int | None
    source: str
    label: str
    similarity: float


class Answer(NamedTuple):
    """The result of `classify` for one picture.

    `label` is None if the picture is unknown. `unknown` is None if it cannot be determined yet (too few examples), or
    is turned off. `nearest` is filled only if it was requested.
    """

    image: str
    label: str | None
    unknown: bool | None
    probability: float
    top: tuple[Guess, ...]
    generation: int
    milliseconds: float
    nearest: tuple[Neighbour, ...] = ()


class Seen(NamedTuple):
    """The answer for one frame: the line that `watch --json` prints.

    `time` is when the frame was taken, ISO 8601 in UTC. `settled` is the label (or "unknown") on which the last answers
    agree; None until they do, at the start and after the camera was gone. `changed` says whether this frame changed it.
    """

    image: str
    time: str
    label: str | None
    unknown: bool | None
    probability: float
    top: tuple[Guess, ...]
    generation: int
    milliseconds: float
    settled: str | None
    changed: bool


class Skipped(NamedTuple):
    """A file that was not used, and the reason; `kind` is the reason in one word, as in `files`."""

    image: str
    reason: str
    kind: str = ""


class LeftOut(NamedTuple):
    """Files left out for the same reason; `reason` is one of the words in docs/json.md, `example` one of their
    paths."""

    reason: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    example: str
    advice: str


class Files(NamedTuple):
    """How many of the given files were read, and why others were not: `seen` = `read` + those left out."""

    seen: int
    read: int
    left_out: tuple[LeftOut, ...] = ()


class Taught(NamedTuple):
    """The result of `teach`: ids of the new examples, and files that were already stored or could not be read."""

    label: str
    examples: tuple[int, ...]
    held_out: bool
    known: tuple[Skipped, ...]
    unreadable: tuple[Skipped, ...]
    milliseconds: float
    complaints: tuple[str, ...] = ()  # warnings about pictures that differ from the bundle's
    files: Files = Files(0, 0)


class TaughtFolders(NamedTuple):
    """The result of `teach --folders`, by folder; `layout` says how train and val folders were used."""

    folder: str
    layout: str
    taught: tuple[Taught, ...]
    contradictions: tuple[Skipped, ...]  # pictures that lie in the folders of two labels
    files: Files


class Doubt(NamedTuple):
    """An example that is classified differently from its label when it is left out."""

    example: int
    source: str
    label: str
    guess: str
    probability: float


class Compared(NamedTuple):
    """How many of the same pictures the new head and the current one classify correctly, for labels that both know."""

    examples: int
    right: int
    serving_right: int


class Unmeasured(NamedTuple):
    """A label that is not part of the accuracy, how many examples it has, and why, with what to do."""

    label: str
    examples: int
    reason: str


class Retrained(NamedTuple):
    """The result of `retrain`.

    `loo_accuracy` is the fraction of examples classified correctly by a head trained without them (leave-one-out), over
    the labels that can be measured. The other labels are in `unmeasured`, and `note` summarises why. It is None if
    fewer than two labels can be measured. `scope` says which examples it counts: "local" or "all". If `promoted` is
    False, the head is stored but not used, and `refusal` says why: it was clearly worse than the `serving` generation
    on the `held_out` pictures, on the examples taught here that both `shared`, or on those of the bundle (`factory`).
    Each of the three is None if there is nothing to compare.
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
    confusion: tuple[tuple[int, ...], ...]  # row: true label, column: answer
    local_examples: int
    factory_examples: int
    doubts: tuple[Doubt, ...]
    known_coverage: float | None  # fraction of known pictures that must be accepted; None if nothing is unknown
    unknown_note: str  # why pictures are not, or not reliably, reported as unknown; else ""
    pixel_accuracy: float | None  # `loo_accuracy` of the same fit on 8 × 8 pixels instead of embeddings
    advice: str  # what to do if the two are close, or ""
    milliseconds: float  # for fitting, everything included
    total_milliseconds: float  # including reading the examples and storing the head
    nothing_new: bool = False  # True only if `retrain --if-taught` made no head


class Contributed(NamedTuple):
    """The result of `contribute`: what the store has of this device now, and whether it was `sent` just now.

    `device` is its id there, and `sequence` numbers its contributions, of which the newest counts. `form` is
    "examples", or "moments" where only their sums were told.
    """

    url: str
    device: str
    sequence: int
    sent: bool
    form: str
    examples: int
    labels: tuple[str, ...]
    bytes: int


class FleetState(NamedTuple):
    """What this device last did in its fleet; None where it never did.

    `contributed` is when the store had contribution `sequence`. `release` is the newest one that was tried here,
    `tried` is when, and `verdict` and `why` are as in `Followed`.
    """

    url: str
    device: str | None
    sequence: int | None
    contributed: str | None
    release: int | None
    tried: str | None
    verdict: str | None
    why: str


class Followed(NamedTuple):
    """The result of `follow`: which release is meant for this device, and what was made of it.

    `release` is None if none is meant for it. `verdict` is "accepted" or "refused" and `why`, and `new` says whether
    that was found out just now. `bundle` and `generation` serve now, with `loo_accuracy` as in `Retrained`.
    """

    url: str
    device: str
    release: int | None
    new: bool
    verdict: str | None
    why: str
    bundle: str
    generation: int
    loo_accuracy: float | None


class Evaluated(NamedTuple):
    """The accuracy on a folder of labelled pictures. The rows of `confusion` are `truths`, the columns `labels`.

    `unmeasured` are the labels with too few pictures in the folder, or none.
    """

    accuracy: float
    interval: tuple[float, float]
    examples: int
    labels: tuple[str, ...]
    truths: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    unknown: int | None  # pictures that `classify` reports as unknown; `confusion` counts them as well
    unknown_by_truth: tuple[int, ...]  # of each of `truths`
    untaught: tuple[str, ...]  # true labels that the head does not have
    unmeasured: tuple[Unmeasured, ...]
    unreadable: tuple[Skipped, ...]
    generation: int
    layout: str  # how train and val folders were used
    contradictions: tuple[Skipped, ...]  # pictures that lie in the folders of two labels
    files: Files


class LabelCount(NamedTuple):
    """How many examples a label has."""

    label: str
    local: int
    factory: int
    held_out: int


class Drift(NamedTuple):
    """How the frames classified recently compare with the examples.

    `typical` is the fraction of examples that, left out, were less similar than the median frame; 0.5 is usual.
    """

    frames: int
    unknown: float  # share
    expected: float  # fraction of known pictures reported as unknown
    typical: float
    drifted: bool
    look: str  # what most of the frames are: "too dark", "blurred" …; or ""


class Status(NamedTuple):
    """The bundle, labels and accuracy of a home."""

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
    scope: str  # as of `Retrained`: which examples `loo_accuracy` counts
    unmeasured: tuple[Unmeasured, ...]  # labels that are not part of `loo_accuracy`
    labels: tuple[LabelCount, ...]
    untrained_examples: int  # taught or relabelled after the serving head was made
    region: str | None  # the part of each picture that is used; None for the whole
    known_coverage: float | None  # None if nothing is reported as unknown
    drift: Drift | None  # None if there are too few frames since the head was made
    candidate: int | None  # the newest generation if it is not used
    keeps_crops: bool
    forgotten: tuple[str, ...]  # labels of the bundle that were forgotten here, by their names in the bundle


class HistoryEntry(NamedTuple):
    """One generation.

    `usable` is False if its head was overwritten, because it was trained on something forgotten since. `promoted` is
    False if it was not accepted for use, and `refusal` says why. `held_out_accuracy` is measured on pictures that are
    never used for training.
    """

    generation: int
    created: str
    method: str
    labels: tuple[str, ...]
    local_examples: int
    factory_examples: int
    loo_accuracy: float | None
    loo_interval: tuple[float, float] | None
    scope: str  # as of `Retrained`: which examples `loo_accuracy` counts
    unmeasured: tuple[Unmeasured, ...]  # labels that are not part of `loo_accuracy`
    held_out_accuracy: float | None
    held_out_examples: int
    serving: bool
    usable: bool
    promoted: bool
    refusal: str


class Forgotten(NamedTuple):
    """What `forget` removed, the generation in use since then, and the generations whose heads were overwritten.

    `refitted` is False if the current head was not trained on what was forgotten; then it stays in use.
    """

    examples: int
    labels: tuple[str, ...]
    generation: int
    refitted: bool
    overwritten: tuple[int, ...]


class Renamed(NamedTuple):
    """The result of `rename`. `merged` is True if the new name already existed, so that the two labels were merged.

    `examples` is how many examples changed their label. After a merge a new head is trained; `generation` is the one in
    use since then, which is the new one if `refitted`. The heads of `overwritten` distinguished the two labels and can
    no longer be used.
    """

    old: str
    new: str
    merged: bool
    examples: int
    generation: int
    refitted: bool
    overwritten: tuple[int, ...]


class NothingNew(NamedTuple):
    """The result of `retrain --if-taught` if nothing was taught or relabelled: no head was made."""

    generation: int  # in use, as before
    promoted: bool = False
    nothing_new: bool = True


class Suspect(NamedTuple):
    """An example classified differently from its label when left out: the label is `likely` wrong, or it is
    difficult."""

    example: int
    source: str
    label: str
    guess: str
    probability: float
    likely: bool
    remedy: str  # the command that fixes it, here and below


class Repeated(NamedTuple):
    """Nearly identical examples, and the lowest cosine similarity between the first one and another."""

    examples: tuple[int, ...]
    labels: tuple[str, ...]
    similarity: float
    remedy: str


class Thin(NamedTuple):
    """A label with too few examples to measure; those of one session count once."""

    label: str
    examples: int
    independent: int
    remedy: str


class Advice(NamedTuple):
    """What to teach next: `more` examples of a label (None for all labels) would add `gain` to the accuracy."""

    label: str | None
    more: int
    gain: float
    interval: tuple[float, float]
    remedy: str


class Unsure(NamedTuple):
    """A picture not taught yet that is unknown, or for which the current head is least certain."""

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
    """The result of `audit`, which checked the newest `examples` taught here."""

    examples: int
    not_looked_at: int
    factory_examples: int
    loo_accuracy: float | None
    loo_interval: tuple[float, float] | None
    note: str
    unmeasured: tuple[Unmeasured, ...]  # labels that are not part of `loo_accuracy`
    scope: str
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]  # row: true label, column: answer
    suspects: tuple[Suspect, ...]
    contradictions: tuple[Repeated, ...]
    repeated: tuple[Repeated, ...]
    thin: tuple[Thin, ...]
    curve: LearningCurve | None
    advice: tuple[Advice, ...]
    unsure: tuple[Unsure, ...]
    review: str | None  # the command to label all frames that watch saved, if `unsure` are some of them
    unreadable: tuple[Skipped, ...]
    page: str | None  # the path of the page, if it was written
    milliseconds: float
    files: Files = Files(0, 0)


class Exported(NamedTuple):
    """The file that `export` wrote, and the list of its labels if one was requested."""

    file: str
    format: str
    bytes: int
    labels: tuple[str, ...]
    generation: int
    labels_file: str | None = None


class TrustedKey(NamedTuple):
    """A trusted key: its fingerprint as `ssh-keygen -l` shows it, and its comment."""

    fingerprint: str
    comment: str


class Trusted(NamedTuple):
    """The trusted keys; if there are none, bundles from anybody are accepted.

    `key` is the one that signed the installed `bundle`. If keys are trusted and none of them signed it, `problem` says
    why.
    """

    keys: tuple[TrustedKey, ...]
    bundle: str
    signed: str | None
    key: str | None
    problem: str


class Finding(NamedTuple):
    """One check of `doctor`: what was checked, whether it passed, what was found, and what to do if it failed."""

    check: str
    ok: bool
    seen: str
    remedy: str


class Verified(NamedTuple):
    """What `verify` found in a home, and what it repaired."""

    home: str
    findings: tuple[Finding, ...]
    mended: tuple[str, ...]


class BackedUp(NamedTuple):
    """The result of `backup`."""

    file: str
    bytes: int
    examples: int
    generation: int


def rows(matrix: "NDArray[np.int64]") -> tuple[tuple[int, ...], ...]:
    """Turn a matrix of counts into tuples, as answers contain them."""
    return tuple(tuple(row) for row in matrix.tolist())


def to_json(answer: Any) -> Any:
    """Turn an answer into values for `json.dumps`; probabilities and times are rounded.

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
