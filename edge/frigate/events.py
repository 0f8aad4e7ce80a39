"""Frigate's MQTT messages about tracked objects: parsed strictly, and queued until they can be classified.

Source: docs/integrations/mqtt.md and `to_dict` in frigate/track/tracked_object.py of Frigate 0.18.0 (commit e3fa701 of
2026-07-23).
"""

import json
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from edge.camera.folder import Notice
from edge.camera.frigate import Place
from edge.mqtt.client import Broker

WAITING = 100  # objects whose pictures wait to be classified
KNOWN = 1000  # newest objects that are remembered
SAME = 0.001  # seconds by which two timestamps of the same frame may differ


class TrackedObject(NamedTuple):
    """A tracked object, as described by a message."""

    event: str  # the object's id
    label: str  # Frigate's label for the object
    time: float  # when the object's best frame was taken, in seconds since 1970
    # left, top, right, bottom of the object in that frame, in pixels of the stream that Frigate detects in
    box: tuple[float, float, float, float]


class Waiting:
    """A queue of objects with the newest picture of each; filled by paho-mqtt's thread.

    >>> waiting = Waiting(Place.parse("frigate://nvr/door/cat"))
    >>> best = {"frame_time": 7.5, "box": [1, 2, 3, 4]}
    >>> cat = {"id": "1.2-a", "camera": "door", "label": "cat", "false_positive": False, "snapshot": best}
    >>> waiting.hear(json.dumps({"type": "new", "after": cat}).encode())
    >>> waiting.take(0)
    TrackedObject(event='1.2-a', label='cat', time=7.5, box=(1.0, 2.0, 3.0, 4.0))
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._changed = threading.Condition()
        self._objects: OrderedDict[str, TrackedObject] = OrderedDict()
        self._taken: OrderedDict[str, float] = OrderedDict()  # by object, the time of the last picture that was taken
        self.dropped = 0

    def hear(self, payload: bytes) -> None:
        """Handle a message of `frigate/events`.

        Raises:
            ValueError: the message is malformed.
        """
        one = _read(payload, self._place)
        with self._changed:
            if one is None or self._taken.get(one.event) == one.time:  # that picture was taken before
                return
            self._objects[one.event] = one  # replaces an older picture of the object
            if len(self._objects) > WAITING:
                self._objects.popitem(last=False)
                self.dropped += 1
            self._changed.notify()

    def again(self, one: TrackedObject) -> None:
        """Put an object back into the queue, unless there is a newer picture of it."""
        with self._changed:
            self._taken.pop(one.event, None)
            self._objects.setdefault(one.event, one)

    def take(self, timeout: float) -> TrackedObject | None:
        """Wait at most `timeout` seconds for a picture, and return the object that has waited longest."""
        with self._changed:
            self._changed.wait_for(lambda: self._objects, timeout)
            if not self._objects:
                return None
            event, one = self._objects.popitem(last=False)
            self._taken[event] = one.time
            while len(self._taken) > KNOWN:
                self._taken.popitem(last=False)
            return one


class Listener:
    """A connection to the broker that reconnects by itself."""

    def __init__(self, broker: Broker, waiting: Waiting) -> None:
        self._broker = broker
        self._waiting = waiting
        self._news: deque[Notice] = deque(maxlen=50)
        self._lost = ""  # why no messages arrive; "" if all is well
        self._odd = False  # whether an unreadable message was reported
        self._dropped = 0
        self._prefix = ""
        self._client = self._broker.client()
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._unreachable
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._heard

    def listen(self, prefix: str) -> None:
        """Connect, and subscribe to Frigate's topics under this prefix."""
        self._prefix = prefix
        self._client.loop_start()

    def news(self) -> Iterator[Notice]:
        """Yield the messages for people since the last call."""
        while self._news:
            yield self._news.popleft()
        if self._waiting.dropped > self._dropped:
            self._dropped = self._waiting.dropped
            yield Notice(f"more than {WAITING} objects wait to be answered; {self._dropped} were dropped so far")

    def close(self) -> None:
        """Disconnect from the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    # called by paho-mqtt's thread

    def _connected(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._lose(self._broker.refuses(reason))
            return
        client.subscribe([(f"{self._prefix}/events", 1), (f"{self._prefix}/available", 1)])
        self._find(f"broker {self._broker} is back")

    def _unreachable(self, _client: Any, _data: Any) -> None:
        self._lose(self._broker.unreachable())

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure and not self._lost:
            self._lose(f"broker {self._broker} is gone; waiting for it")

    def _heard(self, _client: Any, _data: Any, message: Any) -> None:
        if message.topic == f"{self._prefix}/available":
            if message.payload == b"online":
                self._find("Frigate is back")
            else:
                self._lose("Frigate is switched off; waiting for it")
            return
        try:
            self._waiting.hear(message.payload)
        except ValueError as error:
            if not self._odd:
                self._news.append(Notice(f"a message of {message.topic} is not as Frigate writes it: {error}; ignored"))
            self._odd = True

    def _lose(self, text: str) -> None:
        if text != self._lost:
            self._lost = text
            self._news.append(Notice(text, gone=True))

    def _find(self, text: str) -> None:
        if self._lost:
            self._lost = ""
            self._news.append(Notice(text, gone=False))


def _read(payload: bytes, place: Place) -> TrackedObject | None:
    """Parse a message; None if its object is not watched, or has no picture."""
    try:
        message = json.loads(payload)
        now = message["after"]
        if message["type"] == "end" or now["camera"] != place.camera or now["label"] not in place.objects:
            return None
        if now["false_positive"] or (place.zones and not set(place.zones) & set(now["current_zones"])):
            return None
        best = now["snapshot"]
        if best is None:
            return None
        left, top, right, bottom = (float(side) for side in best["box"])
        one = TrackedObject(str(now["id"]), str(now["label"]), float(best["frame_time"]), (left, top, right, bottom))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"it cannot be read ({type(error).__name__})") from None
    if not (math.isfinite(sum(one.box) + one.time) and one.time >= 0 and left < right and top < bottom):
        raise ValueError(f"it has the box {one.box}")
    return one
