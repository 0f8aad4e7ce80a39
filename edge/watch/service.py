"""Watch a source and pass each answer on: to the caller, the MQTT broker, programs of `--on`, the folder for review.

An answer is done when all of these listeners have it. Only then does a folder's journal record it as passed on; if the
process ends earlier, the next one passes the answer on again. A listener that fails is reported once, until it fails in
another way, and the others still get the answer. Watching ends only if the caller cannot print.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from edge.answers import Skipped
from edge.camera.folder import Folder, Journal, Notice
from edge.camera.source import Source, open_source
from edge.errors import EdgeError, SourceError
from edge.frigate import objects
from edge.labels import RESERVED
from edge.learner import Learner
from edge.mqtt.address import identity
from edge.mqtt.control import Control
from edge.mqtt.mqtt import Mqtt
from edge.picture.region import WHOLE, Region
from edge.text import plural
from edge.watch.asked import Asked
from edge.watch.hooks import Hook, Hooks
from edge.watch.loop import Sight, watch
from edge.watch.smooth import Rule
from edge.watch.unsure import Uncertain

_T = TypeVar("_T")
QUIET = 60.0  # seconds between two reports of a camera's unreadable frames


class Stopped(Exception):
    """Raised by `tell` if it was asked to stop before it could pass the answer on."""


class Watched(NamedTuple):
    """The numbers of frames that were classified and that could not be read."""

    answered: int
    skipped: int


@dataclass
class Listeners:
    """The listeners of a watch."""

    tell: Callable[[Sight], None]  # called first, with each answer
    say: Callable[[str], None]  # called with each message, one line
    alive: Callable[[], None] = lambda: None  # called at least once per second
    hooks: Hooks | None = None  # starts programs
    broker: Control | None = None  # publishes changes, and does what is asked there
    keep: Uncertain | None = None  # saves uncertain frames
    writer: objects.Writer | None = None  # writes answers back to Frigate
    _failing: dict[str, str] = field(default_factory=dict)

    def hear(self, sight: Sight) -> None:
        """Pass an answer on to all listeners.

        Raises:
            OSError, Stopped: `tell` failed; the other listeners have the answer.
        """
        failed: Exception | None = None
        try:
            self.tell(sight)
        except (OSError, Stopped) as error:
            failed = error
        if self.broker:
            self._try("not published to the broker", self.broker.tell, sight.seen, sight.labels, sight.frame)
        if self.writer and sight.frame:
            seen = sight.seen
            self._try("not written to Frigate", self.writer.tell, sight.frame, seen.label, seen.probability)
        if self.hooks:
            self._say_all(self._try("--on", self.hooks.run, sight.seen))
        if self.keep and sight.frame:
            self._try("not saved for review", self.keep.save, sight.frame, sight.seen)
        if failed:
            raise failed

    def turn(self) -> None:
        """Do the work that is due between two answers."""
        self.alive()
        if self.hooks:
            self._say_all(self._try("--on", self.hooks.reap))
        if self.broker:
            self._say_all(self._try("MQTT", self.broker.turn))

    def close(self) -> None:
        """Disconnect from the broker."""
        if self.broker:
            self._say_all(self.broker.close())

    def _say_all(self, lines: Iterable[str] | None) -> None:
        for line in lines or ():
            self.say(line)

    def _try(self, what: str, act: Callable[..., _T], *args: object) -> _T | None:
        problem, result = "", None
        try:
            result = act(*args)
        except EdgeError as error:
            problem = f"{what}: {error}"
        except Exception as error:  # whatever it is, the others still get the answer
            problem = f"{what}: {getattr(error, 'strerror', None) or error}"
        if problem and problem != self._failing.get(what):
            self.say(problem)
        self._failing[what] = problem
        return result


@dataclass(frozen=True)
class Ready:
    """An opened source with its listeners."""

    source: Source
    listeners: Listeners
    rule: Rule
    journal: Journal | None  # of a folder


def prepare(learner: Learner, asked: Asked, listeners: Listeners, until: ExitStack) -> Ready:
    """Open the source, and add the broker, the programs and the folder for review to the listeners.

    Args:
        asked: the user's options, with a source.
        until: closes everything that was opened.

    Raises:
        SourceError: the source cannot be read, or the frames would be saved in the folder that is watched.
        HomeError, HookError, MqttError: as raised by the parts.
    """
    hooks = [Hook.parse(*hook) for hook in asked.hooks]
    rule = Rule.parse(asked.smooth) if asked.smooth else None
    labels = learner.serving().head.labels
    for label in {hook.label for hook in hooks} - {*labels, RESERVED}:
        listeners.say(f"warning: --on {label}: there is no such label yet; the labels are {', '.join(labels)}")
    for line in put_region(learner, asked.region):
        listeners.say(line)
    source = asked.source or ""
    tracked = objects.watched(source, asked.mqtt, asked.smooth, asked.write_back, asked.self_signed)
    if tracked:
        listeners.writer = tracked.writer
        until.callback(tracked.writer.close)
    opened = tracked.objects if tracked else open_source(source, learner.home, asked.self_signed)
    journal, kept = None, asked.save_uncertain
    if isinstance(opened, Folder):
        journal = opened.journal
        until.callback(journal.close)
        if kept is not None and kept.absolute().is_relative_to(opened.path.absolute()):
            watched = f"{opened.path}, which is being watched"
            raise SourceError("option-invalid", f"--save-uncertain {kept} is in {watched}; choose another folder")
    listeners.keep = asked.uncertain(learner)
    if kept is not None:
        learner.put_uncertain(kept)
    who = identity(learner.home, source)
    if hooks:
        pause = asked.cool_down if asked.cool_down is not None else (5.0 if opened.live else 0.0)
        settled = f"settled {who}"  # the label for which programs were last run
        remember = partial(learner.remember, settled)
        listeners.hooks = Hooks(hooks, learner.home, pause, learner.recall(settled), remember)
    if asked.mqtt:
        host, url = socket.gethostname(), asked.mqtt

        def connect(verbs: Sequence[str], labels: Sequence[str], heat: bool) -> Mqtt:
            return Mqtt(
                url, f"{host}-{who[:8]}", called=f"{host} {opened.name}", who=who, home=learner.home, labels=labels,
                present=not opened.live, verbs=verbs, heat=heat,
            )  # fmt: skip

        listeners.broker = Control(learner, connect)
    return Ready(opened, listeners, rule or Rule.usual(opened.live), journal)


def put_region(learner: Learner, text: str | None) -> list[str]:
    """Store the region that the user gave, if any; returns messages for people.

    Raises:
        SourceError: the text is not a region.
    """
    if text is None:
        return []
    others = learner.put_region(None if text == WHOLE else Region.parse(text))
    if not others:
        return []
    return [
        f"warning: {plural(others, 'example')} taught on another part of the picture; teach them again, or forget them"
    ]


def keep_watching(
    learner: Learner,
    source: Source,
    rule: Rule,
    every: float,
    stop: threading.Event,
    listeners: Listeners,
    journal: Journal | None = None,
) -> Watched:
    """Classify each frame of a source and pass the answer to all listeners, until `stop` is set or the source ends.

    Args:
        learner, source, rule, every, stop, journal: as in `edge.watch.loop.watch`.
        listeners: the listeners, which are closed at the end.

    Raises:
        OSError: the caller cannot print.
    """
    answered = skipped = 0
    unread = 0  # frames in a row
    said = float("-inf")  # when an unreadable frame was last reported
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
                    more = f" ({unsaid:,} more since the last report)" if unsaid else ""
                    listeners.say(f"skipped: {event.reason}{more}")
                    said, unsaid = now, 0
                if listeners.broker and source.live and unread == rule.of:
                    listeners.broker.mqtt.present(False)
    return Watched(answered, skipped)


def _tell_camera(notice: Notice, source: Source, broker: Control | None) -> None:
    if broker is None:
        return
    if notice.gone or (notice.gone is False and not source.live):  # a camera is there when its answers agree again
        broker.mqtt.present(not notice.gone)
    if notice.frozen is not None:
        broker.mqtt.frozen(notice.frozen)
