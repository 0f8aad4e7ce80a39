"""A watcher and its broker: what is seen goes out, what is asked comes in and is done, and how the watcher is goes out.

All of it runs in the thread that owns the learner, between two frames: `tell` with each answer, `turn` at least once a
second. A command that cannot be done is refused with one line.
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

RECOUNT = 2.0  # seconds from one look at the home to the next, while it changes
LONGEST = 1000  # bytes of a payload


class Refused(Exception):
    """What was asked is not done, for this reason."""


class Control:
    """What ties a watcher to its broker.

    Args:
        learner: answers, and does what is asked; it is left open.
        connect: makes the connection, given the commands that are heard, the labels, and whether the machine tells its
            temperature.
    """

    def __init__(self, learner: Learner, connect: Callable[[Sequence[str], Sequence[str], bool], Mqtt]) -> None:
        self._learner = learner
        self._picture = LastPicture(lambda: (learner.region, learner.info.fit))
        self._version, self._looked, self._told = -1, float("-inf"), float("-inf")
        # each command: what it is called, and what does it; a new one needs a button or the like in `home_assistant`
        self._verbs: dict[str, Callable[[Asked], list[str]]] = {"teach": self._teach, "retrain": self._retrain}
        labels = learner.serving().head.labels
        self.mqtt = connect(tuple(self._verbs), labels, temperature() is not None)

    def tell(self, seen: Seen, labels: Sequence[str], frame: Frame | None) -> None:
        """Publish a change, and the picture, if it is another one."""
        picture = None
        try:
            if frame is not None and seen.settled is not None:
                picture = self._picture.take(frame, seen.changed)
        finally:
            self.mqtt.tell(seen, labels, picture)

    def present(self, there: bool) -> None:
        """Publish that what is watched is there, or gone."""
        self.mqtt.present(there)

    def frozen(self, frozen: bool) -> None:
        """Publish whether the camera gives the same picture again and again."""
        self.mqtt.frozen(frozen)

    def turn(self) -> list[str]:
        """Do what was asked and what is due; returns what is to be said of it, a line each."""
        lines = list(self.mqtt.news())
        for asked in self.mqtt.commands():
            try:
                lines += self._verbs[asked.verb](asked)
            except (EdgeError, Refused) as error:
                lines.append(f"MQTT: {asked.verb} refused: {error}")
            self._looked = self._told = float("-inf")
        try:
            self._report()
        except EdgeError as error:  # said once, until it is another one
            self.mqtt.connection.news.say(f"not published to the broker: {error}")
        return lines

    def close(self) -> list[str]:
        """Do what was asked so far, and take leave of the broker; returns what is to be said of it."""
        lines = self.turn()
        self.mqtt.close()
        return [*lines, *self.mqtt.news()]

    # the commands

    def _teach(self, asked: Asked) -> list[str]:
        """Teach the picture that is shown."""
        learner, given = self._learner, _text(asked)
        labels = {home_assistant.state(label): label for label in learner.serving().head.labels}
        if given not in labels:
            raise Refused(f"'{given[:100]}' is not a label; the labels are {', '.join(labels)}")
        label, frame = labels[given], self._picture.at(asked.at)
        if frame is None:
            raise Refused("no picture was shown yet; wait for the camera")
        hour = datetime.fromtimestamp(frame.time, UTC)
        taught = learner.teach_each(label, [frame], session=f"mqtt-{hour:%Y%m%dT%H}")  # one scene, as in a review
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
        learner.relabel([str(before.id)], label)
        return [f"MQTT: the picture of {when} was taught as '{before.label}' and is '{label}' now"]

    def _retrain(self, asked: Asked) -> list[str]:
        if _text(asked) != home_assistant.PRESS:
            raise Refused(f"the payload must be {home_assistant.PRESS}")
        return [f"MQTT: {_made(self._learner.retrain())}"]

    def _report(self) -> None:
        """Publish how the watcher is: when the home has changed, and before Home Assistant takes it for dead."""
        now = time.monotonic()
        if now - self._looked < RECOUNT:
            return
        self._looked, version = now, self._learner.version()
        if version != self._version or now - self._told >= home_assistant.BEAT:
            self._version, self._told = version, now
            self.mqtt.status(report(self._learner))


def report(learner: Learner) -> dict[str, Any]:
    """Return how a watcher is: the JSON of edge/NAME/status."""
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
    """The payload, as text.

    Raises:
        Refused: it is none.
    """
    if len(asked.payload) > LONGEST:
        raise Refused(f"the payload has {len(asked.payload):,} bytes, at most {LONGEST:,} are read")
    try:
        return asked.payload.decode()
    except UnicodeDecodeError:
        raise Refused("the payload is not UTF-8 text") from None
