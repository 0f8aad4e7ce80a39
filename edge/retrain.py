"""`retrain`: from the factory's and the local examples to the next generation, judged, stored and serving."""

import time
from typing import TYPE_CHECKING

import numpy as np

from edge.answers import Doubt, Retrained, rows
from edge.fit import Examples
from edge.judge import fit_and_judge, mistakes

if TYPE_CHECKING:
    from edge.home import Home

DOUBTS = 5  # examples listed in the answer
FIGURES = ("loo_accuracy", "loo_interval", "scope", "local_examples", "factory_examples", "milliseconds")  # stored


def refit(home: "Home") -> Retrained:
    """Fit a head to everything taught, judge it, store it and let it serve: inside a transaction of the store.

    Raises:
        NotEnough: there are fewer than two labels.
    """
    store, info = home.store, home.info
    taught = store.examples()
    embeddings = store.embeddings(info.dimension)
    local = Examples(embeddings, tuple(e.label for e in taught), tuple(e.session for e in taught))
    examples, names = home.factory()
    kept = np.array([name is not None for name in names], bool)
    factory = Examples(examples.embeddings[kept], tuple(name for name in names if name is not None))

    start = time.perf_counter()
    judged = fit_and_judge(local, factory, ~examples.trained_on[kept])
    milliseconds = 1000 * (time.perf_counter() - start)
    head, evaluation = judged.fit.head, judged.evaluation
    doubts = [(taught[m.row], m) for m in mistakes(judged.fit, local.labels, DOUBTS)]
    answer = Retrained(
        generation=0,
        promoted=True,
        method=judged.fit.method,
        loo_accuracy=None if judged.reason else evaluation.accuracy,
        loo_interval=None if judged.reason else evaluation.interval,
        note=judged.reason,
        scope=judged.scope,
        labels=head.labels,
        confusion=rows(evaluation.confusion),
        local_examples=len(local),
        factory_examples=len(factory),
        doubts=tuple(Doubt(e.id, e.source, e.label, m.guess, m.probability) for e, m in doubts),
        milliseconds=milliseconds,
        total_milliseconds=0.0,
    )
    figures = {name: getattr(answer, name) for name in FIGURES}
    generation = store.add_head(head.to_bytes(), head.labels, answer.method, info.fingerprint, figures, home.now())
    store.put("serving", str(generation))
    return answer._replace(generation=generation)
