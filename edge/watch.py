"""`watch`: frames → answers → what they settle on, one after another. Prints nothing and tells nobody; its caller does.

A new generation of the head serves from the next frame on, as the learner looks at the home before each; a newly
adopted bundle does so too, for which the home is opened again.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from edge.answers import Answer, Guess, Skipped, to_json
from edge.folder import Journal, Notice
from edge.labels import RESERVED
from edge.learner import Learner
from edge.photos import Frame
from edge.smooth import Rule, Smoother
from edge.source import Source


class Seen(NamedTuple):
    """The answer for one frame: the line that `watch --json` prints.

    `time` is when it was taken, ISO 8601 in UTC. `settled` is what the last answers agree on, "unknown" included, or
    None before they ever did; `changed` says that this frame made it another.
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


@dataclass(frozen=True)
class Sight:
    """A frame with its answer, and the labels that could have been one.

    `frame` is None where the answer is told again because a kill may have come before anybody heard of it.
    """

    frame: Frame | None
    seen: Seen
    labels: tuple[str, ...]


def watch(
    learner: Learner,
    source: Source,
    rule: Rule,
    every: float,
    stop: threading.Event,
    journal: Journal | None = None,
) -> Iterator[Sight | Skipped | Notice | None]:
    """Answer each frame of a source.

    Args:
        learner: answers; it is left open.
        source: gives the frames.
        rule: how many answers must agree.
        every: seconds from one frame to the next, at least.
        stop: set to end after the frame in work.
        journal: where answers are kept before they are told; None: nowhere.

    Yields:
        An answer; a picture that could not be read; something to tell people; or None while there is nothing new,
        at least once a second.
    """
    if journal is not None and journal.last is not None:
        again = _seen(journal.last)
        if again is not None:
            yield Sight(None, again, learner.serving().head.labels)
    opened = _Opened(learner)
    smoother = Smoother(rule)
    writable = True
    try:
        for event in source.frames(every, stop):
            if not isinstance(event, Frame):
                yield event
                continue
            answer = opened.answer(event)
            told: Sight | Skipped = answer if isinstance(answer, Skipped) else _sight(event, answer, smoother, opened)
            if journal is not None:
                try:
                    journal.note(event, to_json(told.seen) if isinstance(told, Sight) else None)
                    writable = True
                except OSError as error:
                    if writable:
                        yield Notice(f"{journal.path}: {error.strerror}; after a restart, pictures are answered again")
                    writable = False
            yield told
    finally:
        opened.close()


class _Opened:
    """The learner, opened again when the home adopts another bundle."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self._ours = ExitStack()  # a learner that was opened here
        self._adopted = self._adopts()

    def answer(self, frame: Frame) -> Answer | Skipped:
        while True:
            try:
                answer = next(iter(self.learner.classify([frame])))
            except Exception:  # whatever it is, a bundle exchanged meanwhile may be why; else it is raised again
                if self._adopts() == self._adopted:
                    raise
            else:
                if self._adopts() == self._adopted:
                    return answer
            self.close()
            self.learner = self._ours.enter_context(Learner.open(self.learner.home, warn=self.learner.warn))
            self._adopted = self._adopts()

    def close(self) -> None:
        self._ours.close()

    def _adopts(self) -> tuple[str | None, ...]:
        return tuple(self.learner.store.get(key) for key in ("bundle", "format", "precision"))


def _sight(frame: Frame, answer: Answer, smoother: Smoother, opened: _Opened) -> Sight:
    before = smoother.settled
    settled = smoother.add(RESERVED if answer.label is None else answer.label)
    seen = Seen(
        image=answer.image,
        time=datetime.fromtimestamp(frame.time, UTC).isoformat(timespec="milliseconds"),
        label=answer.label,
        unknown=answer.unknown,
        probability=answer.probability,
        top=answer.top,
        generation=answer.generation,
        milliseconds=answer.milliseconds,
        settled=settled,
        changed=settled != before,
    )
    return Sight(frame, seen, opened.learner.serving().head.labels)


def _seen(kept: Any) -> Seen | None:
    """Read an answer back from a journal; None if another version wrote it."""
    try:
        return Seen(**{**kept, "top": tuple(Guess(**guess) for guess in kept["top"])})
    except (TypeError, KeyError):
        return None
