"""`retrain`: gather the examples, fit a head and a gate, measure them, compare with the current head, and store.

Head and gate are fitted to the same examples and stored in one row, the next generation. The first three steps use a
snapshot of the home, so that other processes can teach meanwhile; the last two are one short transaction.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.answers import Compared, Doubt, Retrained, rows
from edge.head.stream import fit_chunks
from edge.home.serving import drop_old
from edge.metrics.left_out import Judged, judge, mistakes
from edge.metrics.promote import Pairs, refusal, tally
from edge.retraining.baseline import advice, pixel_accuracy
from edge.retraining.contest import Contest
from edge.retraining.gather import Basis, Gathered, gather
from edge.system.memory import give_back, trim
from edge.unknown.fit_gate import fit_gate, why_not

if TYPE_CHECKING:
    from edge.home.state import Home
    from edge.home.store import Store
    from edge.unknown.gate import Background, Gate

DOUBTS = 5  # examples listed in the answer
FIGURES = ("loo_accuracy", "loo_interval", "scope", "local_examples", "factory_examples", "milliseconds")  # stored
KEPT = 20  # generations, beside those that are needed yet


@dataclass(frozen=True)
class NewHead:
    """The result of the first three steps, not compared and not stored yet: a head, its accuracy and its gate."""

    gathered: Gathered
    judged: Judged
    gate: "Gate | None"
    coverage: float
    milliseconds: float  # that the fit took
    doubts: tuple[Doubt, ...]
    pixel_accuracy: float | None


def retrain(home: "Home", known_coverage: float | None = None, force: bool = False) -> Retrained:
    """As `Learner.retrain`."""
    start, store = time.perf_counter(), home.store
    with store.snapshot():  # others may teach meanwhile; what they teach waits for the next head
        coverage = known_coverage or home.known_coverage()
        measured = fit_anew(home, coverage)
    with store.transaction():
        if known_coverage is not None:
            store.put("known_coverage", repr(known_coverage))
        if _outdated(store, measured.gathered.basis):
            measured = fit_anew(home, coverage)
        result = _store(home, measured, _compare(home, measured), force)
    return result._replace(total_milliseconds=1000 * (time.perf_counter() - start))


def refit(home: "Home", force: bool = False) -> Retrained:
    """Train as `retrain` does, inside a transaction of the caller, who has just changed the examples."""
    measured = fit_anew(home, home.known_coverage())
    return _store(home, measured, _compare(home, measured), force)


def fit_anew(home: "Home", coverage: float) -> NewHead:
    """Gather, fit and measure without storing anything, inside a snapshot or a transaction of the store.

    Args:
        coverage: the fraction of known pictures that must not be reported as unknown.

    Raises:
        NotEnough: there are fewer than two labels.
    """
    give_back()
    gathered, start = gather(home), time.perf_counter()
    judged, gate = _fit(gathered, home.background, coverage)
    milliseconds = 1000 * (time.perf_counter() - start)
    pixels = pixel_accuracy(home, gathered, judged) if judged.measurable else None
    new = NewHead(gathered, judged, gate, coverage, milliseconds, _doubts(home, gathered, judged), pixels)
    trim()
    return new


def _fit(gathered: Gathered, background: "Background", coverage: float) -> "tuple[Judged, Gate | None]":
    factory, countable = gathered.factory, gathered.factory.counts > 0
    sessions = (*gathered.sessions, *factory.sessions)
    judged = judge(fit_chunks(gathered.local, factory), gathered.labels, factory.labels, countable, sessions)
    gate = None
    for scope in (judged.scope, "all") if coverage < 1 else ():  # the factory's help where a burst is all there is
        counted = np.concatenate([np.ones(len(gathered.labels), bool), countable & (scope == "all")])
        gate = gate or fit_gate(gathered.local, factory, judged.fit.head.labels, background, counted, coverage)
    return judged, gate


def _doubts(home: "Home", gathered: Gathered, judged: Judged) -> tuple[Doubt, ...]:
    taught, store = gathered.basis.taught, home.store
    found = mistakes(judged.fit, gathered.labels, DOUBTS)
    source = {example.id: example.source for example in store.examples([taught[m.row].id for m in found])}
    return tuple(
        Doubt(one.id, source[one.id], one.label, m.guess, m.probability) for m in found for one in [taught[m.row]]
    )


def _outdated(store: "Store", basis: Basis) -> bool:
    """Whether something was forgotten, relabelled or renamed meanwhile, or a head with more examples was stored."""
    return Basis.of(store, basis.last) != basis or store.last_fitted() > basis.last


def _compare(home: "Home", measured: NewHead) -> Contest:
    gathered, result = measured.gathered, measured.judged.fit
    return Contest(home, result.head, result.loo, gathered.basis.taught, gathered.bundled, gathered.names)


def _store(home: "Home", measured: NewHead, contest: Contest, force: bool) -> Retrained:
    gathered, judged, gate, store = measured.gathered, measured.judged, measured.gate, home.store
    head = judged.fit.head
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
        loo_accuracy=judged.accuracy,
        loo_interval=judged.interval,
        note=judged.note,
        unmeasured=judged.unmeasured,
        scope=judged.scope,
        labels=head.labels,
        confusion=rows(judged.confusion),
        local_examples=len(gathered.labels),
        factory_examples=len(judged.fit.loo) - len(gathered.labels),
        doubts=measured.doubts,
        known_coverage=gate.coverage if gate else None,
        unknown_note=why_not(gate, head.labels, measured.coverage),
        pixel_accuracy=measured.pixel_accuracy,
        advice=advice(judged.accuracy, measured.pixel_accuracy, int(judged.counted.sum())),
        milliseconds=measured.milliseconds,
        total_milliseconds=0.0,
    )
    figures = {name: getattr(answer, name) for name in (*FIGURES, "promoted", "refusal")}
    figures |= {"unmeasured": judged.missing, **contest.figures}
    generation = store.add_head(
        head.to_bytes(),
        head.labels,
        answer.method,
        home.info.fingerprint,
        figures,
        home.now(),
        gathered.basis.last,
        gate.to_bytes() if gate else None,
        contest.own,
    )
    if answer.promoted:
        store.put("serving", str(generation))
    drop_old(store, home.info.fingerprint, home.wanted(), KEPT)
    return answer._replace(generation=generation, serving=home.wanted())


def _compared(pairs: Pairs | None) -> Compared | None:
    found = tally(pairs) if pairs else None
    return Compared(found.examples, found.right, found.serving_right) if found else None
