"""`watch`: classify frames one after another, and say which label they settle on. `service` passes the answers on.

A new generation is used from the next frame on, because the learner checks the home before each frame. So is a newly
installed bundle, for which the home is opened again.
"""

import threading
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.answers import Answer, Guess, Seen, Skipped, to_json
from edge.camera.arrival import Stamp
from edge.camera.folder import Journal, Notice
from edge.camera.source import Source
from edge.labels import RESERVED
from edge.learner import Learner
from edge.picture.frame import Frame
from edge.watch.smooth import Rule, Smoother


@dataclass(frozen=True)
class Sight:
    """A frame with its answer, and the labels that could have been one.

    `again` is True if this is the last answer of an earlier process, which may have been killed before it passed it on;
    `frame` is None if the picture is gone.
    """

    frame: Frame | None
    seen: Seen
    labels: tuple[str, ...]
    again: bool = False


def watch(
    learner: Learner,
    source: Source,
    rule: Rule,
    every: float,
    stop: threading.Event,
    journal: Journal | None = None,
) -> Generator[Sight | Skipped | Notice | None, None, None]:
    """Classify each frame of a source.

    Args:
        learner: the learner; it is left open.
        rule: how many answers must agree.
        every: least number of seconds between two frames.
        stop: set it to end after the current frame.
        journal: where answers are stored before they are passed on, or None.

    Yields:
        An answer, a picture that could not be read, or a message for people; None at least once a second if there is
        nothing new.
    """
    if journal is not None and journal.last is not None:
        again = _kept(journal.last)
        if again is not None:
            yield Sight(_frame(again, journal), again, learner.serving().head.labels, again=True)
        journal.told()
    opened = _Opened(learner)
    smoother = Smoother(rule)
    before: str | None = None  # what was settled on last
    writable = True
    try:
        for event in source.frames(every, stop):
            if not isinstance(event, Frame):
                if isinstance(event, Notice) and event.gone and source.live:
                    smoother.forget()
                yield event
                continue
            answer = opened.answer(event)
            told: Sight | Skipped
            if isinstance(answer, Skipped):
                told = answer
            else:
                settled = smoother.add(RESERVED if answer.label is None else answer.label)
                changed = settled is not None and settled != before
                before = settled or before
                told = Sight(event, _seen(event, answer, settled, changed), opened.learner.serving().head.labels)
            if journal is not None:
                try:
                    journal.note(event, to_json(told.seen) if isinstance(told, Sight) else None)
                    writable = True
                except OSError as error:
                    if writable:
                        yield Notice(
                            f"{journal.path}: {error.strerror}; pictures will be answered again after a restart"
                        )
                    writable = False
            yield told
            if journal is not None:
                journal.told()
    finally:
        opened.close()


class _Opened:
    """The learner, opened again when another bundle is installed in the home."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self._ours = ExitStack()  # a learner that was opened here
        self._adopted = self.learner.adopted()

    def answer(self, frame: Frame) -> Answer | Skipped:
        while True:
            try:
                answer = next(iter(self.learner.classify_each([frame])))
            except Exception:  # whatever it is, a bundle exchanged meanwhile may be why; else it is raised again
                if self.learner.adopted() == self._adopted:
                    raise
            else:
                if self.learner.adopted() == self._adopted:
                    return answer
            self.close()
            old = self.learner
            self.learner = self._ours.enter_context(Learner(old.home, warn=old.warn, network=old.network))
            self._adopted = self.learner.adopted()

    def close(self) -> None:
        self._ours.close()


def _seen(frame: Frame, answer: Answer, settled: str | None, changed: bool) -> Seen:
    return Seen(
        image=answer.image,
        time=datetime.fromtimestamp(frame.time, UTC).isoformat(timespec="milliseconds"),
        label=answer.label,
        unknown=answer.unknown,
        probability=answer.probability,
        top=answer.top,
        generation=answer.generation,
        milliseconds=answer.milliseconds,
        settled=settled,
        changed=changed,
    )


def _kept(kept: Any) -> Seen | None:
    """Read an answer back from a journal; None if another version wrote it."""
    try:
        return Seen(**{**kept, "top": tuple(Guess(**guess) for guess in kept["top"])})
    except (TypeError, KeyError):
        return None


def _frame(seen: Seen, journal: Journal) -> Frame | None:
    """Read the picture of an answer again; None if it is gone or was replaced."""
    path = Path(seen.image)
    try:
        frame = Frame(seen.image, path.read_bytes(), path.stat().st_mtime)
    except (OSError, ValueError):
        return None
    return frame if journal.has(frame.name, Stamp(frame.time, len(frame.data))) else None
