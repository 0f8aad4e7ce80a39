"""`retrain`: from the factory's and the local examples to the next generation, judged, compared and stored.

A generation's figures keep which of its examples it named wrongly when each was left out, by number, the factory's as
−1, −2, …: with these the next one is compared on what both were taught (`promote`).
"""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.answers import Compared, Doubt, Retrained, rows
from edge.fit import Examples, groups_of
from edge.head import Head
from edge.judge import judge, mistakes
from edge.promote import Comparison, compare, refusal
from edge.stream import fit_chunks, whole_sessions

if TYPE_CHECKING:
    from edge.home import Home
    from edge.store import Generation, Labelled

DOUBTS = 5  # examples listed in the answer
# stored with a generation
FIGURES = (
    "loo_accuracy",
    "loo_interval",
    "scope",
    "local_examples",
    "factory_examples",
    "milliseconds",
    "promoted",
    "refusal",
)


class Asked(NamedTuple):
    """n examples that a head was asked about with each left out: their numbers, labels and sessions, and (n, C)."""

    numbers: NDArray[np.int64]
    labels: Sequence[str]
    sessions: Sequence[str | None]
    answers: NDArray[np.float32]


def refit(home: "Home", force: bool = False) -> Retrained:
    """Fit a head to everything taught, judge and store it: inside a transaction of the store.

    It serves unless it is clearly worse than the one that does.

    Args:
        home: the home.
        force: let it serve in any case.

    Raises:
        NotEnough: there are fewer than two labels.
    """
    store, info = home.store, home.info
    taught = store.labelled()
    examples, names = home.factory()
    kept = np.array([name is not None for name in names], bool)
    factory = Examples(examples.embeddings[kept], tuple(name for name in names if name is not None))

    def read() -> Iterator[Examples]:
        for part in whole_sessions([example.session for example in taught]):
            ids, labels, sessions = zip(*taught[part], strict=True)
            yield Examples(store.embeddings(ids, info.dimension), labels, sessions)

    start = time.perf_counter()
    judged = judge(fit_chunks(read, factory), [e.label for e in taught], factory.labels, ~examples.trained_on[kept])
    milliseconds = 1000 * (time.perf_counter() - start)
    head, evaluation = judged.fit.head, judged.evaluation
    found = mistakes(judged.fit, [e.label for e in taught], DOUBTS)
    doubts = [(store.examples("examples.id = ?", taught[mistake.row].id)[0], mistake) for mistake in found]

    here = {example.label for example in taught}  # of these labels, the factory's pictures say nothing of this place
    elsewhere = np.array([label not in here for label in factory.labels], bool)
    countable = np.append(np.ones(len(taught), bool), elsewhere & ~examples.trained_on[kept])
    asked = Asked(
        np.append([e.id for e in taught], -1 - np.flatnonzero(kept)).astype(np.int64)[countable],
        [
            label
            for label, counts in zip((*(e.label for e in taught), *factory.labels), countable, strict=True)
            if counts
        ],
        [*(e.session for e in taught), *[None] * int(countable[len(taught) :].sum())],
        judged.fit.loo[countable],
    )
    canaries = store.labelled(held_out=True)
    serving = home.serving_generation()
    shared = _shared(asked, head, serving, home) if serving else None
    held_out = _held_out(home, canaries, head, serving) if serving else None
    refused = "" if force or serving is None else refusal(held_out, shared, serving.generation)
    answer = Retrained(
        generation=0,
        promoted=not refused,
        refusal=refused,
        serving=0,
        held_out=_compared(held_out),
        shared=_compared(shared),
        method=judged.fit.method,
        loo_accuracy=None if judged.reason else evaluation.accuracy,
        loo_interval=None if judged.reason else evaluation.interval,
        note=judged.reason,
        scope=judged.scope,
        labels=head.labels,
        confusion=rows(evaluation.confusion),
        local_examples=len(taught),
        factory_examples=len(factory),
        doubts=tuple(Doubt(e.id, e.source, e.label, m.guess, m.probability) for e, m in doubts),
        milliseconds=milliseconds,
        total_milliseconds=0.0,
    )
    right = _right(head, canaries, home)
    figures = {name: getattr(answer, name) for name in FIGURES}
    figures |= {"held_out_right": int(right.sum()), "held_out_examples": len(right), "bundle": home.meta("bundle")}
    figures |= _remembered(asked, head)
    generation = store.add_head(head.to_bytes(), head.labels, answer.method, info.fingerprint, figures, home.now())
    if answer.promoted:
        store.put("serving", str(generation))
    return answer._replace(generation=generation, serving=int(home.meta("serving")))


def _remembered(asked: Asked, head: Head) -> dict[str, list[int]]:
    """What the next generation is compared with: numbers of examples named wrongly, and of those not measured."""
    unmeasured = np.isnan(asked.answers).any(axis=1)
    wrong = np.array(head.labels)[asked.answers.argmax(axis=1)] != np.array(asked.labels)
    return {
        "missed": asked.numbers[wrong & ~unmeasured].tolist(),
        "unmeasured": asked.numbers[unmeasured].tolist(),
    }


def _shared(asked: Asked, head: Head, serving: "Generation", home: "Home") -> Comparison | None:
    """Compare on the examples that both generations were fitted to and asked about with each left out."""
    figures = serving.figures
    if "missed" not in figures:
        return None  # an older program made it
    common = [column for column, label in enumerate(head.labels) if label in serving.labels]
    same_bundle = figures["bundle"] == home.meta("bundle")
    both = (
        np.isin(asked.labels, serving.labels)
        & ~np.isnan(asked.answers).any(axis=1)
        & ~np.isin(asked.numbers, figures["unmeasured"])
        & np.where(asked.numbers < 0, same_bundle, asked.numbers <= serving.last_example)
    )
    if not both.any():
        return None
    labels = np.array(asked.labels)[both]
    right = np.array(head.labels)[common][asked.answers[both][:, common].argmax(axis=1)] == labels
    groups = groups_of([session for session, counts in zip(asked.sessions, both, strict=True) if counts])
    return compare(right, ~np.isin(asked.numbers[both], figures["missed"]), groups)


def _held_out(home: "Home", canaries: "Sequence[Labelled]", head: Head, serving: "Generation") -> Comparison | None:
    """Compare on the pictures that no head is fitted to."""
    other = home.serving().head
    known = [e for e in canaries if e.label in head.labels and e.label in other.labels]
    if not known:
        return None
    common = sorted({*head.labels} & {*other.labels})
    answers = [_right(one, known, home, common) for one in (head, other)]
    return compare(answers[0], answers[1], groups_of([e.session for e in known]))


def _right(head: Head, canaries: "Sequence[Labelled]", home: "Home", among: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Whether a head names each held-out picture rightly; those of labels that it has never heard of left out."""
    known = [e for e in canaries if e.label in head.labels]
    if not known:
        return np.zeros(0, bool)
    columns = [column for column, label in enumerate(head.labels) if not among or label in among]
    scores = head.scores(home.store.embeddings([e.id for e in known], home.info.dimension))[:, columns]
    named = np.array(head.labels)[columns][scores.argmax(axis=1)]
    return np.asarray(named == np.array([e.label for e in known]))


def _compared(comparison: Comparison | None) -> Compared | None:
    return None if comparison is None else Compared(comparison.examples, comparison.right, comparison.serving_right)
