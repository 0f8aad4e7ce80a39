"""`audit`: find problems in the examples taught here, each with the command that fixes it, and suggest what to teach.

It combines `suspects` (wrong labels, repeated pictures), `left_out` (accuracy, confusion) and `curve` (the value of
more examples). It changes nothing.
"""

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.answers import Advice, Audited, Guess, Repeated, Skipped, Suspect, Thin, Unsure, rows
from edge.audit.curve import doubled, independent, learning_curve
from edge.audit.suspects import Suspicions, contradictions, near_duplicates, nearness, suspicions
from edge.errors import ImageError, NotEnough
from edge.head.fit import Examples, Fit
from edge.head.linear import unit
from edge.home.factory import factory_examples, named_examples
from edge.metrics.left_out import judge
from edge.metrics.unmeasured import ENOUGH
from edge.network import photos
from edge.picture import preprocess
from edge.system.filename import quoted, restored

if TYPE_CHECKING:
    from edge.home.examples import Example
    from edge.home.state import Home

MOST = 4096  # examples looked at: the newest
ODDS = 3.0  # how much more probable another label must be for the taught one to be likely wrong: half of these are
UNSURE = 12  # pictures proposed to be taught
ENOUGH_SURE = 0.9  # probability from which a picture is not worth teaching
SEED = 0  # of the parts that the learning curve is measured on


@dataclass(frozen=True)
class Gathered:
    """The input of an audit, read from a home, which is not needed afterwards."""

    taught: "Sequence[Example]"  # the n newest examples taught here
    local: Examples  # the same with their embeddings
    factory: Examples  # the bundle's examples
    left: int  # the number of older examples, which are not checked


@dataclass(frozen=True)
class Audit:
    """The answer, and further data for the page."""

    answer: Audited
    examples: "Sequence[Example]"
    suspicions: Suspicions | None  # how likely their labels are wrong, by leave-one-out; None if not measured


def gather(home: "Home") -> Gathered:
    """Read the examples taught here.

    Raises:
        NotEnough: nothing was taught here yet.
    """
    store = home.store
    taught = store.examples(held_out=False)
    if not taught:
        raise NotEnough(
            "too-few-examples", "no example was taught here yet; to add some, run: edge teach LABEL PICTURES"
        )
    left, taught = len(taught[:-MOST]), taught[-MOST:]
    bundled, names = factory_examples(home.bundle, store)
    factory = named_examples(bundled, names)
    local = Examples(
        store.embeddings([e.id for e in taught], home.info.dimension),
        tuple(e.label for e in taught),
        tuple(e.session for e in taught),
    )
    return Gathered(taught, local, factory, left)


def look_through(
    gathered: Gathered,
    unsure: Sequence[Unsure] = (),
    unreadable: Sequence[Skipped] = (),
    watched: Path | None = None,
) -> Audit:
    """Look through the examples. It takes seconds where there are thousands, and touches no home.

    Args:
        unsure, unreadable, watched: passed on to the answer.

    Raises:
        NotEnough: there are fewer than two labels.
    """
    start = time.perf_counter()
    taught, local, factory = gathered.taught, gathered.local, gathered.factory
    found = suspicions(local, factory)
    sessions = (*local.sessions, *factory.sessions)
    judged = judge(found.result, local.labels, factory.labels, factory.counts > 0, sessions)
    curve = learning_curve(local, found.result, np.random.default_rng(SEED), factory)
    answer = Audited(
        examples=len(taught),
        not_looked_at=gathered.left,
        factory_examples=len(factory),
        loo_accuracy=judged.accuracy,
        loo_interval=judged.interval,
        note=judged.note,
        unmeasured=judged.unmeasured,
        scope=judged.scope,
        labels=found.result.head.labels,
        confusion=rows(judged.confusion),
        suspects=tuple(_suspects(taught, found)),
        contradictions=tuple(_contradictions(taught, local, found)),
        repeated=tuple(_repeated(taught, local)),
        thin=tuple(_thin(local, factory)),
        curve=curve,
        advice=tuple(_advice(local, found.result)) if curve else (),
        unsure=tuple(unsure),
        review=f"edge review {quoted(watched)}" if watched and unsure else None,
        unreadable=tuple(unreadable),
        page=None,
        milliseconds=1000 * (time.perf_counter() - start),
    )
    return Audit(answer, taught, found)


def least_sure(
    pictures: Sequence[Path],
    embeddings: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    unknown: Sequence[bool],
    labels: Sequence[str],
) -> list[Unsure]:
    """Choose the pictures with the least certain answers, unknown ones first, without nearly identical ones.

    Args:
        pictures: n files.
        embeddings: (n, D), raw.
        probabilities: (n, C), by the head.
        unknown: n bools, whether each is unknown.
        labels: C names.

    Source: Scheffer, Decomain, Wrobel, "Active Hidden Markov Models for Information Extraction", IDA 2001 (the margin
    between the two likeliest labels).
    """
    if not len(pictures):
        return []
    x = unit(embeddings)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    top = np.take_along_axis(probabilities, best, axis=1)
    near, strange = 1 - nearness(x), np.array(unknown, bool)
    chosen: list[int] = []
    for row in np.argsort(np.where(strange, -1.0, top[:, 0] - top[:, 1]), kind="stable"):
        worth = strange[row] or top[row, 0] < ENOUGH_SURE
        if worth and len(chosen) < UNSURE and (not chosen or (x[chosen] @ x[row]).max() < near):
            chosen.append(int(row))
    return [
        Unsure(
            str(pictures[row]),
            bool(strange[row]),
            tuple(Guess(labels[c], float(probabilities[row, c])) for c in best[row]),
            f"edge teach LABEL {quoted(pictures[row])}",
        )
        for row in chosen
    ]


def thumbnails(home: "Home", wanted: "Sequence[Example]") -> Mapping[int, bytes]:
    """Examples as the network saw them, as JPEG by number: the stored crop, or from the file if it is unchanged."""
    store = home.store
    found = {}
    for example in wanted:
        crop = store.crop(example.id)
        if crop is None:
            crop = thumbnail(home, restored(example.source), example.image)
        if crop is not None:
            found[example.id] = crop
    return found


def thumbnail(home: "Home", file: Path, image: str | None = None) -> bytes | None:
    """A file as the network sees it, as JPEG; None if it is gone or has another SHA-256."""
    try:
        if image not in (None, photos.digest(file)):
            return None
        data = preprocess.read(file)
        info = home.info
        return preprocess.jpeg(
            preprocess.decode(data, str(file), info.input_size, info.short_side, home.region, info.fit)
        )
    except ImageError:
        return None


def _suspects(taught: "Sequence[Example]", found: Suspicions) -> list[Suspect]:
    labels, result = found.result.head.labels, []
    for row in found.order:
        guess = int(found.probabilities[row].argmax())
        if labels[guess] == taught[row].label:
            continue
        remedy = f"edge relabel {shlex.quote(labels[guess])} {taught[row].id}"
        probability, e = float(found.probabilities[row, guess]), taught[row]
        likely = probability >= ODDS * found.own[row]
        result.append(Suspect(e.id, e.source, e.label, labels[guess], probability, bool(likely), remedy))
    return result


def _contradictions(taught: "Sequence[Example]", local: Examples, found: Suspicions) -> list[Repeated]:
    """The one whose label is less likely should get the other's."""
    result = []
    for pair in contradictions(local.embeddings[:], local.labels):
        first, second = (taught[row] for row in pair.rows)
        likelier = np.nan_to_num(found.own[list(pair.rows)])
        wrong, right = (first, second) if likelier[0] < likelier[1] else (second, first)
        remedy = f"edge relabel {shlex.quote(right.label)} {wrong.id}"
        result.append(Repeated((first.id, second.id), (first.label, second.label), pair.similarity, remedy))
    return result


def _repeated(taught: "Sequence[Example]", local: Examples) -> list[Repeated]:
    """Near-duplicates that do not share a session already, as a burst should."""
    result = []
    for group in near_duplicates(local.embeddings[:], local.labels):
        first, *others = (taught[row] for row in group.rows)
        spare = [e.id for e in others if e.session is None or e.session != first.session]
        if spare:
            remedy = f"edge forget {' '.join(map(str, spare))}"
            result.append(Repeated((first.id, *spare), (first.label,), group.similarity, remedy))
    return result


def _thin(local: Examples, factory: Examples) -> list[Thin]:
    examples, groups, counts = Counter(local.labels), independent(local), independent(factory)
    return [
        Thin(label, examples[label], groups[label], f"edge teach {shlex.quote(label)} PICTURES")
        for label in sorted(examples)
        if groups[label] + counts[label] < ENOUGH
    ]


def _advice(local: Examples, result: Fit) -> list[Advice]:
    """The value of twice as many examples: of all labels, then of the one with most errors if there are several."""
    return [
        Advice(label, worth.more, worth.gain, (0.0, worth.most), f"edge teach {shlex.quote(label or 'LABEL')} PICTURES")
        for label, worth in doubled(local, result).items()
        if label is None or (worth.gain and len(set(local.labels)) > 1)
    ]
