"""Connects a watcher to its broker: publishes answers and the watcher's status, and carries out commands.

Everything runs in the thread that owns the learner, between two frames: `tell` with each answer, `turn` at least once a
second. A command that cannot be carried out is refused with one line.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from edge.answers import Retrained, Seen
from edge.care.machine import free_bytes, temperature
from edge.errors import EdgeError
from edge.learner import Learner
from edge.mqtt import home_assistant
from edge.mqtt.mqtt import Asked, Mqtt
from edge.mqtt.shown import LastPicture
from edge.picture.frame import Frame

RECOUNT = 2.0  # seconds between two checks of the home while it changes
LONGEST = 1000  # bytes of a payload


class Refused(Exception):
    """A command was refused; the message gives the reason."""


class Control:
    """Connects a watcher to its broker.

    Args:
        learner: the learner that carries out the commands; it is left open.
        connect: makes the connection, given the supported commands, the labels, and whether the machine reports its
            temperature.
    """

    def __init__(self, learner: Learner, connect: Callable[[Sequence[str], Sequence[str], bool], Mqtt]) -> None:
        self._learner = learner
        self._picture = LastPicture(lambda: (learner.region, learner.info.fit))
        self._version, self._looked, self._told = -1, float("-inf"), float("-inf")
        # each command's name and function; a new one also needs an entity in `home_assistant`
        self._verbs: dict[str, Callable[[Asked], list[str]]] = {"teach": self._teach, "retrain": self._retrain}
        labels = learner.serving().head.labels
        self.mqtt = connect(tuple(self._verbs), labels, temperature() is not None)

    def tell(self, seen: Seen, labels: Sequence[str], frame: Frame | None) -> None:
        """Publish a changed answer, and a new picture."""
        picture = None
        try:
            if frame is not None and seen.settled is not None:
                picture = self._picture.take(frame, seen.changed)
        finally:
            self.mqtt.tell(seen, labels, picture)

    def turn(self) -> list[str]:
        """Carry out commands and do the work that is due; returns messages for people, one line each."""
        lines = list(self.mqtt.news())
        for asked in self.mqtt.commands():
            try:
                lines += self._verbs[asked.verb](asked)
            except (EdgeError, Refused) as error:
                lines.append(f"MQTT: {asked.verb} refused: {error}")
            self._looked = self._told = float("-inf")
        try:
            self._report()
        except EdgeError as error:  # reported once, until the error changes
            self.mqtt.connection.news.say(f"not published to the broker: {error}")
        return lines

    def close(self) -> list[str]:
        """Carry out the remaining commands and disconnect; returns messages for people."""
        lines = self.turn()
        self.mqtt.close()
        return [*lines, *self.mqtt.news()]

    # the commands

    def _teach(self, asked: Asked) -> list[str]:
        """Teach the picture that Home Assistant shows."""
        learner, given = self._learner, _text(asked)
        labels = {home_assistant.state(label): label for label in learner.serving().head.labels}
        if given not in labels:
            raise Refused(f"'{given[:100]}' is not a label; the labels are {', '.join(labels)}")
        label, frame = labels[given], self._picture.at(asked.at)
        if frame is None:
            raise Refused("no picture was shown yet; wait for the camera")
        hour = datetime.fromtimestamp(frame.time, UTC)
        taught = learner.teach_each(label, [frame], session=f"mqtt-{hour:%Y%m%dT%H}")  # one per hour, as in a review
        when = f"{hour.astimezone():%H:%M:%S}"
        if taught.unreadable:
            raise Refused(taught.unreadable[0].reason)
        if taught.examples:
            number = taught.examples[0]
            said = f"taught the picture of {when} as '{label}'; undo: edge forget {number}; use: edge retrain"
            return [f"MQTT: {said}", *taught.complaints]
        before = learner.example_of(hashlib.sha256(frame.data).hexdigest())
        if before is None or before.label == label:
            return [f"MQTT: the picture of {when} is taught as '{label}' already"]
        learner.relabel(before.id, label)
        return [f"MQTT: the picture of {when} was taught as '{before.label}' and is '{label}' now"]

    def _retrain(self, asked: Asked) -> list[str]:
        if _text(asked) != home_assistant.PRESS:
            raise Refused(f"the payload must be {home_assistant.PRESS}")
        return [f"MQTT: {_made(self._learner.retrain())}"]

    def _report(self) -> None:
        """Publish the status when the home has changed, and often enough that it does not expire in Home Assistant."""
        now = time.monotonic()
        if now - self._looked < RECOUNT:
            return
        self._looked, version = now, self._learner.version()
        if version != self._version or now - self._told >= home_assistant.BEAT:
            self._version, self._told = version, now
            self.mqtt.status(report(self._learner))


def report(learner: Learner) -> dict[str, Any]:
    """Return a watcher's status, the JSON of edge/NAME/status."""
    status, heat = learner.status(), temperature()
    return {
        "generation": status.generation,
        "trained": status.trained,
        "accuracy": status.loo_accuracy,
        "accuracy_interval": status.loo_interval,
        "examples": sum(label.local + label.held_out for label in status.labels),
        "untrained": status.untrained_examples,
        "candidate": status.candidate,
        "drift": status.drift.drifted if status.drift else None,
        "temperature": None if heat is None else round(heat, 1),
        "disk_free": free_bytes(learner.home),
    }


def _made(made: Retrained) -> str:
    if not made.promoted:
        return f"generation {made.generation} is not used: {made.refusal}"
    accuracy = "" if made.loo_accuracy is None else f"; {100 * made.loo_accuracy:.0f} % correct, leave-one-out"
    return f"generation {made.generation} is in use{accuracy}"


def _text(asked: Asked) -> str:
    """Return the payload as text.

    Raises:
        Refused: the payload is not valid text.
    """
    if len(asked.payload) > LONGEST:
        raise Refused(f"the payload has {len(asked.payload):,} bytes, at most {LONGEST:,} are read")
    try:
        return asked.payload.decode()
    except UnicodeDecodeError:
        raise Refused("the payload is not UTF-8 text") from None
