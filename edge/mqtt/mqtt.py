"""Publishes answers to an MQTT broker, so that Home Assistant shows them without configuration; receives commands.

| topic | payload |
|---|---|
| edge/NAME/state | JSON: the settled answer (`label`; `state` as Home Assistant shows it), `probability`, … |
| edge/NAME/now | JSON: a short form for Home Assistant, from the newest frame, repeated regularly |
| edge/NAME/picture | the last picture, JPEG |
| edge/NAME/status | JSON: generation, accuracy, examples, drift, temperature, disk |
| edge/NAME/available | online or offline; offline if the camera is gone or, as the broker's last will, if we die |
| edge/NAME/watcher | JSON: the process that uses this NAME, so that two with the same NAME notice each other |
| homeassistant/device/edge_NAME/config | Home Assistant's discovery message |
| edge/NAME/teach, edge/NAME/retrain | commands to us: `commands` |

All messages that we publish are retained. If the broker goes away, paho-mqtt's thread reconnects and publishes all of
them again. The formats of Home Assistant are in `home_assistant`.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge.answers import Seen
from edge.errors import SourceError
from edge.files import locked
from edge.labels import RESERVED
from edge.mqtt import home_assistant
from edge.mqtt.address import parsed
from edge.mqtt.connection import Connection, Message
from edge.mqtt.rival import Rivals

AGAIN = 2.0  # seconds after new labels: until it has processed them, Home Assistant ignores a state
WAITING = 20  # waiting commands; further ones are refused


class Asked(NamedTuple):
    """A received command: the last part of its topic, its payload, and the time by `time.monotonic`."""

    verb: str
    payload: bytes
    at: float


class Mqtt:
    """Publishes a watcher's answers and receives its commands.

    Args:
        url: mqtt://[user:password@]host[:port][/NAME], or mqtts:// for TLS. It is never shown.
        name: the watcher's name in the topics, unless the address has a NAME.
        called: the display name in Home Assistant that goes with `name`.
        who: identifies machine, home and source, from `edge.mqtt.address.identity`; a broker accepts only one
            connection per `who` and NAME.
        home: the folder with a lock against a second process for the same `who` and NAME; None for no lock.
        labels: the possible labels, if they are known already.
        present: whether the source is available.
        verbs: the supported commands, each a topic below edge/NAME.
        heat: whether this machine reports its temperature.

    Raises:
        SourceError: the address is malformed, paho-mqtt is missing, or another process has the same `who` and NAME.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        called: str = "",
        who: str = "",
        home: Path | None = None,
        labels: Sequence[str] = (),
        present: bool = True,
        verbs: Collection[str] = (),
        heat: bool = False,
    ) -> None:
        address, given = parsed(url)
        self.name = given or name
        self._called = given or called or name
        self._topic = home_assistant.topic(self.name)
        self._labels, self._present, self._heat = tuple(labels), present, heat
        self._state: dict[str, Any] | None = None
        self._now: dict[str, Any] = {}  # the payload of edge/NAME/now, from the newest frame with that answer
        self._told = 0.0  # when it was last published, by time.monotonic
        self._state_again: float | None = None  # when to publish the state once more
        self._status: dict[str, Any] | None = None
        self._picture: bytes | None = None
        self._frozen = False
        self._asked: deque[Asked] = deque()
        self._verbs = {f"{self._topic}/{verb}": verb for verb in verbs}
        self._rivals = Rivals(self._called)
        digest = hashlib.sha256(f"{who}\0{self.name}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
        will = (f"{self._topic}/available", "offline")
        topics = [(home_assistant.STATUS, 0), (f"{self._topic}/watcher", 1), *((verb, 1) for verb in self._verbs)]
        self.connection = Connection(address, f"edge-{digest}", will, topics, self._connected, self._heard, self.name)
        self._lock = None if home is None else locked(home / f"watched-{digest}.lock")
        if home is not None and self._lock is None:
            raise SourceError(
                "watcher-exists",
                f"another process watches the same for this home and tells the broker as '{self.name}'; stop that one "
                "first, or use another NAME at the end of the --mqtt address",
            )
        self.connection.start()

    def tell(self, seen: Seen, labels: Sequence[str], picture: bytes | None = None) -> None:
        """Publish a changed answer, changed labels, and a new picture."""
        with self.connection.guard:
            if tuple(labels) != self._labels:
                self._labels = tuple(labels)
                self._describe()
                self._state_again = time.monotonic() + AGAIN
            if seen.settled is not None and (seen.changed or self._state is None):
                self._state = {
                    "label": seen.settled,
                    "state": home_assistant.state(seen.settled),
                    "unknown": seen.settled == RESERVED,
                    "probability": round(seen.probability, 6),
                    "time": seen.time,
                    "image": seen.image,
                    "generation": seen.generation,
                }
                self._now = {key: self._state[key] for key in ("state", "unknown", "probability")}
                self._tell_state()
            elif self._state is not None and (seen.label or RESERVED) == self._state["label"]:
                self._now["probability"] = round(seen.probability, 6)
            if picture is not None:
                self._picture = picture
                self._tell("picture", picture)
            if seen.settled is not None:
                self.present(True)

    def present(self, there: bool) -> None:
        """Publish whether the source is available, so that an old state is not shown as the current one."""
        with self.connection.guard:
            if there != self._present:
                self._present = there
                self._tell_available()

    def frozen(self, frozen: bool) -> None:
        """Publish whether the camera is frozen: it repeats the same picture."""
        with self.connection.guard:
            self._frozen = frozen
            self._tell_state()

    def status(self, status: dict[str, Any]) -> None:
        """Publish the watcher's status."""
        with self.connection.guard:
            self._status = status
            self._tell("status", status)

    def commands(self) -> Iterator[Asked]:
        """Yield the commands that have arrived since the last call, oldest first."""
        while self._asked:
            yield self._asked.popleft()

    def news(self) -> Iterator[str]:
        """Do the work that is due, and yield messages for people about the connection since the last call."""
        with self.connection.guard:
            now = time.monotonic()
            if self._state_again is not None and now >= self._state_again:
                self._state_again = None
                self._tell_state()
            elif now - self._told >= home_assistant.BEAT:
                self._tell_now()
        yield from self.connection.lines()

    def close(self) -> None:
        """Publish that we are offline and disconnect, waiting at most a few seconds for the broker."""
        with self.connection.guard:
            self._present = False
        told = self.connection.close(f"{self._topic}/available", "offline")
        if not told and self.connection.up and self._state is not None:
            self.connection.news.add(
                f"broker {self.connection.broker} may not have received the last change: it does not answer"
            )
        if self._lock is not None:
            os.close(self._lock)

    # publishing, by both threads, with the lock held

    def _tell(self, leaf: str, payload: dict[str, Any] | str | bytes) -> None:
        self.connection.publish(f"{self._topic}/{leaf}", payload)

    def _tell_available(self) -> None:
        self._tell("available", "online" if self._present else "offline")

    def _tell_state(self) -> None:
        if self._state is not None:
            self._tell("state", {**self._state, "frozen": self._frozen})
            self._tell_now()

    def _tell_now(self) -> None:
        """Publish the current answer, and repeat it before it expires; it expires only if the watcher hangs."""
        if self._state is not None:
            self._tell("now", self._now)
            self._told = time.monotonic()

    def _describe(self) -> None:
        if self._labels:  # a state that is not among the options would be invalid
            config = home_assistant.config(self.name, self._called, self._labels, self._heat)
            self.connection.publish(home_assistant.config_topic(self.name), config)

    def _tell_all(self) -> None:
        self._describe()
        self._tell_state()
        if self._status is not None:
            self._tell("status", self._status)
        if self._picture is not None:
            self._tell("picture", self._picture)
        self._tell_available()

    # called by paho-mqtt's thread, with the lock held

    def _connected(self) -> None:
        self.connection.publish(home_assistant.old_config_topic(self.name), "")
        self._tell_all()
        if not self._rivals.claimed:
            self._tell("watcher", self._rivals.me)

    def _heard(self, message: Message) -> None:
        if message.topic == home_assistant.STATUS:
            if message.payload == b"online":
                self._tell_all()
                self._state_again = time.monotonic() + AGAIN
        elif message.topic in self._verbs:
            self._ask(message, self._verbs[message.topic])
        else:
            host = self._rivals.heard(message.payload, message.retained)
            if host is not None:
                self.connection.news.say(
                    f"another watcher, on {host}, publishes to broker {self.connection.broker} as '{self.name}' too, "
                    "and their answers get mixed up; use different NAMEs at the end of the --mqtt addresses"
                )
                self._tell("watcher", self._rivals.me)  # so that the other process notices us, too

    def _ask(self, message: Message, verb: str) -> None:
        """Queue a command for the learner's thread."""
        add = self.connection.news.add
        if message.retained:  # a retained command would be repeated at each start
            if message.payload:
                add(f"ignored {message.topic}: it was sent as a retained message; send it without --retain")
        elif len(self._asked) >= WAITING:
            add(f"ignored {message.topic}: {WAITING} commands are waiting already; try again in a moment")
        else:
            self._asked.append(Asked(verb, message.payload, time.monotonic()))
