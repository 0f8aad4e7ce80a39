"""`retrain`: from the factory's and the local examples to the next generation, judged, compared and stored.

Head and gate are fitted to the same examples and stored in one row. Beside them the same fitter is tried on 8 × 8
pixels: a backbone that does no better knows nothing that helps here.

Two steps: `fit_anew` reads one state of the home and computes, for as long as it takes, while others teach; `enter`
compares and stores, in a short transaction.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.answers import Compared, Doubt, Retrained, rows
from edge.bundle.archive import FactoryExamples
from edge.head.fit import Examples, fit
from edge.head.stream import fit_chunks, whole_sessions
from edge.home.factory import factory_examples, factory_labels, named_examples
from edge.learning.contest import Contest
from edge.metrics.left_out import Judged, judge, mistakes
from edge.metrics.promote import Pairs, compare, refusal
from edge.system.memory import give_back
from edge.unknown.fit_gate import fit_gate

if TYPE_CHECKING:
    from edge.home.state import Home
    from edge.home.store import Labelled
    from edge.unknown.gate import Gate

DOUBTS = 5  # examples listed in the answer
FIGURES = ("loo_accuracy", "loo_interval", "scope", "local_examples", "factory_examples", "milliseconds")  # stored
KEPT = 20  # generations, beside those that are needed yet
PIXELS = 600  # examples, at most, for the baseline
GOOD = 0.97  # accuracy above which nobody needs another backbone


@dataclass(frozen=True)
class Basis:
    """All that a head is fitted to: what is taught up to example `last`, and the factory's under today's names."""

    last: int
    taught: "tuple[Labelled, ...]"
    bundle: str
    factory_labels: tuple[str | None, ...]

    @classmethod
    def of(cls, home: "Home", last: int | None = None) -> "Basis":
        """Read it as it is now, up to example `last`, or to the newest."""
        newest = home.store.last_example() if last is None else last
        taught = tuple(example for example in home.store.labelled() if example.id <= newest)
        return cls(newest, taught, home.store.meta("bundle"), tuple(factory_labels(home.store)))


@dataclass(frozen=True)
class Fitted:
    """A head with its gate and its own judgement, compared with nothing yet and not stored."""

    basis: Basis
    judged: Judged
    gate: "Gate | None"
    coverage: float
    factory: FactoryExamples
    doubts: tuple[Doubt, ...]
    pixel_accuracy: float | None
    milliseconds: float


def retrain(home: "Home", known_coverage: float | None = None, force: bool = False) -> Retrained:
    """Fit a new head, and let it serve unless it is clearly worse: as `Home.retrain`."""
    start = time.perf_counter()
    with home.store.snapshot():  # others may teach meanwhile; what they teach waits for the next head
        coverage = known_coverage or home.known_coverage()
        fitted = fit_anew(home, coverage)
    with home.store.transaction():
        if known_coverage is not None:
            home.store.put("known_coverage", repr(known_coverage))
        changed = Basis.of(home, fitted.basis.last) != fitted.basis  # forgotten, relabelled or renamed meanwhile
        if changed or home.store.last_fitted() > fitted.basis.last:  # or another head knows more
            fitted = fit_anew(home, coverage)
        result = enter(home, fitted, force)
    return result._replace(total_milliseconds=1000 * (time.perf_counter() - start))


def refit(home: "Home", force: bool = False) -> Retrained:
    """Fit a head to everything taught, judge and store it: inside a transaction of the store.

    It serves unless it is clearly worse than the one that does.

    Args:
        home: the home.
        force: let it serve in any case.

    Raises:
        NotEnough: there are fewer than two labels.
    """
    return enter(home, fit_anew(home, home.known_coverage()), force)


def fit_anew(home: "Home", coverage: float) -> Fitted:
    """Fit a head and a gate to everything taught, storing nothing: inside a snapshot or a transaction of the store.

    Args:
        home: the home.
        coverage: the share of known pictures that is not to be called unknown.

    Raises:
        NotEnough: there are fewer than two labels.
    """
    give_back()
    store, info = home.store, home.info
    basis = Basis.of(home)
    taught = basis.taught
    examples, names = factory_examples(home.bundle, store)
    factory = named_examples(examples, names)

    def read() -> Iterator[Examples]:
        for part in whole_sessions([example.session for example in taught]):
            ids, labels, sessions = zip(*taught[part], strict=True)
            yield Examples(store.embeddings(ids, info.dimension), labels, sessions)

    start = time.perf_counter()
    countable, sessions = factory.counts > 0, (*(e.session for e in taught), *factory.sessions)
    judged = judge(fit_chunks(read, factory), [e.label for e in taught], factory.labels, countable, sessions)
    gate = None
    for scope in (judged.scope, "all") if coverage < 1 else ():  # the factory's help where a burst is all there is
        counted = np.concatenate([np.ones(len(taught), bool), countable & (scope == "all")])
        gate = gate or fit_gate(read, factory, judged.fit.head.labels, home.background, counted, coverage)
    milliseconds = 1000 * (time.perf_counter() - start)
    pixels = _pixel_accuracy(home, judged, taught, factory, names) if judged.measurable else None
    found = mistakes(judged.fit, [e.label for e in taught], DOUBTS)
    doubted = [(store.examples("examples.id = ?", taught[mistake.row].id)[0], mistake) for mistake in found]
    doubts = tuple(Doubt(e.id, e.source, e.label, m.guess, m.probability) for e, m in doubted)
    return Fitted(basis, judged, gate, coverage, examples, doubts, pixels, milliseconds)


def enter(home: "Home", fitted: Fitted, force: bool = False) -> Retrained:
    """Compare a fitted head with the serving one and store it as the next generation: inside a transaction.

    Args:
        home: the home; its basis must still be the one that the head was fitted to.
        fitted: the head.
        force: let it serve in any case.
    """
    judged, basis, gate = fitted.judged, fitted.basis, fitted.gate
    head = judged.fit.head
    names = [basis.factory_labels[i] for i in fitted.factory.labels]
    contest = Contest(home, head, judged.fit.loo, basis.taught, fitted.factory, names)
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
        local_examples=len(basis.taught),
        factory_examples=len(judged.fit.loo) - len(basis.taught),
        doubts=fitted.doubts,
        known_coverage=gate.coverage if gate else None,
        unknown_note=_unknown_note(gate, head.labels, fitted.coverage),
        pixel_accuracy=fitted.pixel_accuracy,
        advice=_advice(judged.accuracy, fitted.pixel_accuracy),
        milliseconds=fitted.milliseconds,
        total_milliseconds=0.0,
    )
    figures = {name: getattr(answer, name) for name in (*FIGURES, "promoted", "refusal")}
    figures |= {"unmeasured": judged.missing, **contest.figures}
    generation = home.store.add_head(
        head.to_bytes(),
        head.labels,
        answer.method,
        home.info.fingerprint,
        figures,
        home.now(),
        basis.last,
        gate.to_bytes() if gate else None,
        contest.own,
    )
    if answer.promoted:
        home.store.put("serving", str(generation))
    _drop_old(home)
    return answer._replace(generation=generation, serving=home.wanted())


def _drop_old(home: "Home") -> None:
    """Keep the newest generations, the one that serves, and the one that `rollback` would let serve instead."""
    numbers, serving = home.store.generation_numbers(), home.wanted()
    if len(numbers) <= KEPT:
        return
    kept = {*numbers[-KEPT:], serving}
    for number in reversed([number for number in numbers if number < serving]):
        earlier = home.store.generation(number)
        whole = earlier.head is not None and not earlier.damaged
        if whole and earlier.promoted and earlier.backbone == home.info.fingerprint:
            kept.add(number)
            break
    home.store.keep_generations(kept)


def _unknown_note(gate: "Gate | None", labels: tuple[str, ...], coverage: float) -> str:
    if coverage >= 1:
        return "switched off; to switch it on: edge retrain --known-coverage 0.95"
    if gate is None:
        return "not yet: teach at least two labels with two examples each"
    thin = [label for label, able in zip(labels, gate.measured.tolist(), strict=True) if not able]
    return f"not yet for {', '.join(thin)}: two examples (or sessions) of a label are needed" if thin else ""


def _pixel_accuracy(
    home: "Home", judged: Judged, taught: "Sequence[Labelled]", factory: Examples, names: Sequence[str | None]
) -> float | None:
    """The accuracy on thumbnails, left out, of the labels that the figure counts; None where there are none."""
    thumbs = home.store.thumbs()
    if any(example.id not in thumbs for example in taught):
        return None
    pixels = [thumbs[example.id] for example in taught]
    labels, sessions = [e.label for e in taught], [e.session for e in taught]
    if judged.scope == "all":
        domain = home.bundle.domain()
        if domain is None:
            return None
        pixels += [thumb for thumb, name in zip(domain.thumbs, names, strict=True) if name is not None]
        labels += factory.labels
        sessions += factory.sessions
    step = -(-len(pixels) // PIXELS)
    order = sorted(range(len(labels)), key=lambda row: labels[row])[::step]
    table = np.stack([pixels[row] for row in order]).reshape(len(order), -1).astype(np.float32)
    chosen = tuple(labels[row] for row in order)
    if len(set(chosen)) < 2:
        return None
    result = fit(Examples(table, chosen, tuple(sessions[row] for row in order)))
    left_out = {judged.fit.head.labels[m.column] for m in judged.missing}
    measured = np.isfinite(result.loo).all(axis=1) & np.array([label not in left_out for label in chosen])
    right = [result.head.labels[i] == label for i, label in zip(result.loo.argmax(axis=1), chosen, strict=True)]
    return float(np.mean(np.array(right)[measured])) if measured.any() else None


def _advice(accuracy: float | None, pixels: float | None) -> str:
    if accuracy is None or pixels is None or accuracy > pixels or accuracy >= GOOD:
        return ""
    return (
        f"8 × 8 pixels alone are named rightly as often ({100 * pixels:.1f} %): what this backbone knows does not help "
        "here; on the workstation, adapt one to such photos: edge-export adapt"
    )


def _compared(pairs: Pairs | None) -> Compared | None:
    if pairs is None:
        return None
    found = compare(pairs)
    return Compared(found.examples, found.right, found.serving_right)
