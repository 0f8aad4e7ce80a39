"""Watch, and tell everybody who listens: the caller, who prints; the broker; programs of `--on`; the folder for review.

An answer is done when all of them were told, which a folder's journal takes in only then: a process that ends before
leaves its last answer to the next one. A listener that fails is said once, until it fails otherwise, and keeps no other
from being told; only where the caller cannot print does watching end.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from edge.answers import Skipped
from edge.camera.folder import Journal, Notice
from edge.camera.source import Source
from edge.errors import EdgeError
from edge.learner import Learner
from edge.watch.hooks import Hook, Hooks
from edge.watch.loop import Sight, watch
from edge.watch.mqtt import Mqtt, identity
from edge.watch.smooth import Rule
from edge.watch.unsure import Uncertain

_T = TypeVar("_T")
QUIET = 60.0  # seconds from one unreadable frame of a camera that is told to the next


class Stopped(Exception):
    """Raised by a listener's `tell` that was asked to stop before it could tell."""


class Watched(NamedTuple):
    """How many frames were answered, and how many could not be read."""

    answered: int
    skipped: int


@dataclass
class Listeners:
    """Everybody who is told.

    Args:
        tell: is handed each answer, as the first.
        say: is handed each line for people.
        alive: is called at least once a second.
        hooks: run programs.
        broker: hears of changes.
        keep: saves frames of unsure answers.
    """

    tell: Callable[[Sight], None]
    say: Callable[[str], None]
    alive: Callable[[], None] = lambda: None
    hooks: Hooks | None = None
    broker: Mqtt | None = None
    keep: Uncertain | None = None
    _failing: dict[str, str] = field(default_factory=dict)

    def hear(self, sight: Sight) -> None:
        """Tell everybody of an answer.

        Raises:
            OSError, Stopped: `tell` could not; the others were told.
        """
        failed: Exception | None = None
        try:
            self.tell(sight)
        except (OSError, Stopped) as error:
            failed = error
        if self.broker:
            self._try("the broker was not told", self.broker.tell, sight.seen, sight.labels)
        if self.hooks:
            self._say_all(self._try("--on", self.hooks.run, sight.seen))
        if self.keep and sight.frame:
            self._try("not saved for review", self.keep.save, sight.frame, sight.seen)
        if failed:
            raise failed

    def turn(self) -> None:
        """Do what is due between two answers."""
        self.alive()
        if self.hooks:
            self._say_all(self._try("--on", self.hooks.reap))
        if self.broker:
            self._say_all(self.broker.news())

    def close(self) -> None:
        """Take leave of the broker."""
        if self.broker:
            self.broker.close()
            self._say_all(self.broker.news())

    def _say_all(self, lines: Iterable[str] | None) -> None:
        for line in lines or ():
            self.say(line)

    def _try(self, what: str, act: Callable[..., _T], *args: object) -> _T | None:
        problem, result = "", None
        try:
            result = act(*args)
        except EdgeError as error:
            problem = f"{what}: {error}"
        except Exception as error:  # whatever it is, the others are told
            problem = f"{what}: {getattr(error, 'strerror', None) or error}"
        if problem and problem != self._failing.get(what):
            self.say(problem)
        self._failing[what] = problem
        return result


def keep_watching(
    learner: Learner,
    source: Source,
    rule: Rule,
    every: float,
    stop: threading.Event,
    listeners: Listeners,
    journal: Journal | None = None,
) -> Watched:
    """Answer each frame of a source, and tell all listeners, until `stop` is set or the source ends.

    Args:
        learner, source, rule, every, stop, journal: as `edge.watch.loop.watch`.
        listeners: are told; closed at the end.

    Raises:
        OSError: the caller cannot print.
    """
    answered = skipped = 0
    unread = 0  # frames in a row
    said = float("-inf")  # when an unreadable frame was told
    unsaid = 0
    with closing(listeners), closing(watch(learner, source, rule, every, stop, journal)) as events:
        for event in events:
            listeners.turn()
            if isinstance(event, Notice):
                listeners.say(event.text)
                _tell_camera(event, source, listeners.broker)
            elif isinstance(event, Sight):
                answered += not event.again
                unread = 0
                try:
                    listeners.hear(event)
                except Stopped:
                    break
            elif isinstance(event, Skipped):
                skipped += 1
                unread += 1
                now = time.monotonic()
                if source.live and (unread > 1 or now - said < QUIET):  # a camera with a fault has it in many frames
                    unsaid += 1
                else:
                    more = f" ({unsaid:,} more since the last one told)" if unsaid else ""
                    listeners.say(f"skipped: {event.reason}{more}")
                    said, unsaid = now, 0
                if listeners.broker and source.live and unread == rule.of:
                    listeners.broker.present(False)
    return Watched(answered, skipped)


def hooks_of(learner: Learner, hooks: list[Hook], cool_down: float, source: str) -> Hooks:
    """Return what runs programs, which remembers in the home the label that it last ran them for.

    Args:
        learner: is left open.
        hooks: what to run.
        cool_down: seconds.
        source: what is watched, as the user wrote it.
    """
    key = f"settled {identity(learner.home, source)}"

    def remember(label: str) -> None:
        with learner.store.transaction():
            learner.store.put(key, label)

    return Hooks(hooks, learner.home, cool_down, learner.store.get(key), remember)


def _tell_camera(notice: Notice, source: Source, broker: Mqtt | None) -> None:
    if broker is None:
        return
    if notice.gone or (notice.gone is False and not source.live):  # a camera is there when its answers agree again
        broker.present(not notice.gone)
    if notice.frozen is not None:
        broker.frozen(notice.frozen)
