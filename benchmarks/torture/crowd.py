"""A crowd on one home: 8 processes teach while one retrains, one classifies and one rolls back, for a minute.

Nobody may fail, no acknowledged example may be missing, and every prediction must name a generation that there was.
"""

import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.torture.device import LABELS, frame, make, warm
from benchmarks.torture.row import Row, Say
from edge.answers import Answer
from edge.errors import EdgeError
from edge.learner import Learner

TEACHERS = 8
REOPEN = 20  # operations after which a process closes the home and opens it again


@dataclass
class Seen:
    """What one process did: how often, its longest wait, its errors; the examples and generations it was told of."""

    done: int = 0
    longest: float = 0.0  # seconds
    errors: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def run(say: Say, seconds: float = 60.0) -> list[Row]:
    """Let the crowd loose and look at what is left."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, fork) as pool:  # the runtime's threads stay out of this process
            pool.submit(_prepare, Path(name), home).result()
        warm()
        say(f"crowd: {TEACHERS} teach, one retrains, one classifies, one rolls back, for {seconds:.0f} s")
        jobs: list[Callable[[Path, int, float], Seen]] = [*[_teach] * TEACHERS, _retrain, _classify, _rollback]
        with ProcessPoolExecutor(len(jobs), fork) as pool:
            futures = [pool.submit(job, home, number, time.monotonic() + seconds) for number, job in enumerate(jobs)]
            seen = [future.result() for future in futures]
        with Learner(home) as learner:
            examples = {e.id for e in learner.store.examples()}
            generations = {e.generation for e in learner.history()}  # the newest 20, and what is in use
            damage = learner.store.damage()
    wrong = [f"{job.__name__[1:]}: {e}" for job, one in zip(jobs, seen, strict=True) for e in one.errors]
    wrong += [
        f"example {i} was acknowledged and is gone" for one in seen[:TEACHERS] for i in one.numbers if i not in examples
    ]
    generations |= {1, *seen[TEACHERS].numbers}  # and those that were there in between
    wrong += [f"a prediction names generation {i}" for i in seen[TEACHERS + 1].numbers if i not in generations]
    wrong += [damage] if damage else []
    taught, fitted, named, back = sum(s.done for s in seen[:TEACHERS]), *[s.done for s in seen[TEACHERS:]]
    longest = max(s.longest for s in seen[:TEACHERS])
    done = f"{taught:,} taught, {fitted:,} retrained, {named:,} classified, {back:,} rolled back"
    note = f"{done}; the longest wait to teach {longest:.1f} s"
    return [
        Row(f"{len(jobs)} processes at once, {seconds:.0f} s", sum(s.done for s in seen), wrong=tuple(wrong), note=note)
    ]


def _prepare(folder: Path, home: Path) -> None:
    Learner.init(home, make(folder).bundle).close()


def _teach(home: Path, number: int, until: float) -> Seen:
    def once(learner: Learner, seen: Seen) -> None:
        label = LABELS[seen.done % len(LABELS)]
        seen.numbers += learner.teach(label, [frame(label, 1_000_000 * (number + 1) + seen.done)]).examples

    return _repeat(home, until, once)


def _retrain(home: Path, number: int, until: float) -> Seen:
    return _repeat(home, until, lambda learner, seen: seen.numbers.append(learner.retrain().generation))


def _classify(home: Path, number: int, until: float) -> Seen:
    pictures = [frame(label, number) for label in LABELS]

    def once(learner: Learner, seen: Seen) -> None:
        for answer in learner.classify(pictures):
            assert isinstance(answer, Answer)
            seen.numbers.append(answer.generation)

    return _repeat(home, until, once)


def _rollback(home: Path, number: int, until: float) -> Seen:
    chance = random.Random(number)

    def once(learner: Learner, seen: Seen) -> None:
        usable = [e.generation for e in learner.history() if e.usable]
        try:
            seen.numbers.append(learner.rollback(chance.choice(usable)).generation)
        except EdgeError as error:  # the twenty newest are kept: others have made so many since
            if error.code != "generation-unknown":
                raise
        time.sleep(0.05)

    return _repeat(home, until, once)


def _repeat(home: Path, until: float, once: Callable[[Learner, Seen], None]) -> Seen:
    seen = Seen()
    while time.monotonic() < until:
        try:
            with Learner(home) as learner:
                for _ in range(REOPEN):
                    start = time.monotonic()
                    once(learner, seen)
                    seen.longest = max(seen.longest, time.monotonic() - start)
                    seen.done += 1
                    if time.monotonic() >= until:
                        break
        except (EdgeError, OSError, AssertionError) as error:
            seen.errors.append(f"{type(error).__name__}: {error}")
    return seen
