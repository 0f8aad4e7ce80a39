"""`retrain`: from the factory's and the local examples to the next generation, judged, compared and stored."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edge.answers import Compared, Doubt, Retrained, rows
from edge.fit import Examples
from edge.judge import judge, mistakes
from edge.promote import Comparison, refusal
from edge.stream import fit_chunks, whole_sessions
from edge.versus import Contest

if TYPE_CHECKING:
    from edge.home import Home

DOUBTS = 5  # examples listed in the answer
FIGURES = ("loo_accuracy", "loo_interval", "scope", "local_examples", "factory_examples", "milliseconds")  # stored


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
    contest = Contest(home, head, judged.fit.loo, taught, examples, names)
    refused = "" if force else refusal(contest.held_out, contest.shared, contest.factory, contest.serving)
    answer = Retrained(
        generation=0,
        promoted=not refused,
        refusal=refused,
        serving=0,
        held_out=_compared(contest.held_out),
        shared=_compared(contest.shared),
        factory=_compared(contest.factory),
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
    figures = {name: getattr(answer, name) for name in (*FIGURES, "promoted", "refusal")} | contest.figures
    generation = store.add_head(
        head.to_bytes(), head.labels, answer.method, info.fingerprint, figures, home.now(), contest.own
    )
    if answer.promoted:
        store.put("serving", str(generation))
    return answer._replace(generation=generation, serving=int(home.meta("serving")))


def _compared(comparison: Comparison | None) -> Compared | None:
    return None if comparison is None else Compared(comparison.examples, comparison.right, comparison.serving_right)
