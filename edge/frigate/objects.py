"""Frigate's tracked objects as pictures, and the answers written back to them.

Frigate publishes each tracked object to a broker (`frigate/events`), and publishes it again whenever it has a better
picture. That picture is fetched and cropped to the square around the object, exactly as Frigate's own custom
classification does it (`square`), so that Frigate's training pictures can be used as examples. Each object is
classified on its own, and only its newest picture is queued.

Source: frigate/util/image.py (`calculate_region`) and
frigate/data_processing/real_time/custom_classification.py of Frigate 0.18.0 (commit e3fa701 of 2026-07-23).
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edge.answers import Skipped
from edge.camera.folder import Notice, pause
from edge.camera.frigate import SCHEME, Frigate, Place
from edge.camera.source import LONGEST_WAIT, OBJECTS, Event
from edge.errors import ImageError, SourceError, SourceRefused
from edge.frigate.events import KNOWN, SAME, Listener, TrackedObject, Waiting
from edge.mqtt.address import parsed
from edge.mqtt.client import Broker
from edge.picture.frame import Frame
from edge.picture.preprocess import whole
from edge.picture.region import Box

WriteBack = Literal["sub-label", "attribute", "nothing"]


@dataclass(frozen=True)
class ObjectFrame(Frame):
    """The picture of a tracked object; `event` is Frigate's id for the object."""

    event: str = ""


class Objects:
    """The tracked objects of a Frigate camera; a `Source`.

    Args:
        broker: address of the MQTT broker that Frigate publishes to.

    Raises:
        SourceError: the broker's address is malformed, or paho-mqtt is missing.
    """

    live = False  # each picture is answered on its own, as in a folder

    def __init__(self, place: Place, broker: str, self_signed: bool = False) -> None:
        self.name = str(place)
        self._place = place
        self._broker = Broker(parsed(broker)[0], "Frigate's tracked objects need")
        self._api = Frigate(place.address, self_signed)

    def frames(self, every: float, stop: threading.Event) -> Iterator[Event]:
        """Yield a picture of each object, and of its better ones, until `stop`.

        Raises:
            SourceRefused: Frigate refuses a request.
        """
        gone, wait = False, 1.0
        facts: _Facts | None = None
        waiting = Waiting(self._place)
        with closing(self._api), closing(Listener(self._broker, waiting)) as listener:
            while not stop.is_set():
                yield from listener.news()
                one = None
                try:
                    if facts is None:
                        facts = _facts(self._api, self._place.camera)
                        listener.listen(facts.prefix)
                    event = None
                    if one := waiting.take(1.0):
                        event = self._picture(one, facts)
                except SourceError as error:
                    if isinstance(error, SourceRefused) and facts is None:  # it has never worked so far
                        raise
                    if one:
                        waiting.again(one)
                    if not gone:
                        yield Notice(f"{self.name} does not answer: {error}; waiting for it", gone=True)
                    gone = True
                    yield from pause(wait, stop)
                    wait = min(2 * wait, LONGEST_WAIT)
                    continue
                if gone:
                    yield Notice(f"{self.name} is back", gone=False)
                gone, wait = False, 1.0
                yield event
                if event is not None:
                    yield from pause(every, stop)

    def _picture(self, one: TrackedObject, facts: "_Facts") -> Frame | Skipped:
        name = f"{self._place.camera} {one.label} {one.event}"
        found = self._api.snapshot(one.event, crop=False)
        if found and found.time is not None and abs(found.time - one.time) > SAME:
            found, box = self._api.snapshot(one.event, crop=True), None  # a newer frame, for which the box is not known
        else:
            box = one.box
        if found is None:
            return Skipped(name, f"{name}: Frigate keeps no picture of it; switch on snapshots for this camera")
        try:
            data = found.data if box is None else _cut(found.data, name, box, facts.width)
        except ImageError as error:
            return Skipped(name, str(error))
        return ObjectFrame(name, data, found.time or one.time, one.event)


class Writer:
    """Writes answers back to Frigate's objects.

    Args:
        what: where to write: the sub label, or the name of one of Frigate's attribute models.
    """

    def __init__(self, place: Place, what: WriteBack, self_signed: bool = False) -> None:
        self._what = what
        self._api = Frigate(place.address, self_signed)
        self._written: OrderedDict[str, None] = OrderedDict()  # objects that have a label from us

    def tell(self, frame: Frame, label: str | None, probability: float) -> None:
        """Write the answer for a picture; an unknown one only removes a label that we wrote earlier.

        Args:
            frame: the picture; ignored unless it shows a tracked object.
            label: the answer; None for unknown.

        Raises:
            SourceError: Frigate does not accept the answer.
        """
        if not isinstance(frame, ObjectFrame) or self._what == "nothing":
            return
        if label is None and frame.event not in self._written:
            return
        if self._what == "attribute":
            self._api.put_attributes(frame.event, [] if label is None else [label])
        else:
            self._api.put_sub_label(frame.event, label, min(round(probability, 4), 1.0))
        self._written.pop(frame.event, None)
        if label is not None:
            self._written[frame.event] = None
            while len(self._written) > KNOWN:
                self._written.popitem(last=False)

    def close(self) -> None:
        """Close the connection."""
        self._api.close()


class Tracked(NamedTuple):
    """What `watch` needs for Frigate's tracked objects: their source, and the writer of answers."""

    objects: Objects
    writer: Writer


def watched(
    source: str, broker: str | None, smooth: str | None, write_back: WriteBack | None, self_signed: bool
) -> Tracked | None:
    """Return the source and writer for Frigate's tracked objects, or None if the source is something else.

    Args:
        source, broker, smooth, write_back: as the user wrote them; None if they were not given.

    Raises:
        SourceError: an option does not fit such a source, or the broker's address is missing or malformed.
    """
    place = Place.parse(source) if source.lower().startswith(f"{SCHEME}:") else None
    if place is None or not place.objects:
        if write_back is not None:
            raise SourceError(
                "option-invalid", "--write-back is for Frigate's tracked objects: frigate://HOST/CAMERA/person"
            )
        return None
    if broker is None:
        raise SourceError("broker-missing", f"{place}: Frigate tells of objects by MQTT; {OBJECTS}")
    if smooth is not None:
        raise SourceError("option-invalid", "--smooth is for a camera's frames; each tracked object has its own answer")
    return Tracked(Objects(place, broker, self_signed), Writer(place, write_back or "sub-label", self_signed))


def square(box: Sequence[float], width: int, height: int) -> Box:
    """Return the square around a box as Frigate's own classification crops it, shifted to lie inside the picture.

    Args:
        box: left, top, right, bottom, in pixels.

    >>> square((415, 489, 528, 700), 1280, 720)
    Box(left=366, top=489, right=577, bottom=700)
    >>> square((0, 10, 40, 20), 100, 30)
    Box(left=0, top=0, right=40, bottom=30)
    """
    left, top, right, bottom = box
    size = max(1, int(max(right - left, bottom - top)))
    x = max(0, min(int((left + right) / 2 - size / 2), width - size))
    y = max(0, min(int((top + bottom) / 2 - size / 2), height - size))
    return Box(x, y, min(x + size, width), min(y + size, height))


class _Facts(NamedTuple):
    """Facts from Frigate's configuration: the prefix of its topics, and the width of the detect stream, or 0."""

    prefix: str
    width: int


def _facts(api: Frigate, camera: str) -> _Facts:
    config = api.config()
    if camera not in config["cameras"]:
        raise api.no_camera(camera)
    try:
        width = int(config["cameras"][camera]["detect"]["width"])
    except (KeyError, TypeError, ValueError):
        width = 0
    mqtt = config.get("mqtt")
    prefix = mqtt.get("topic_prefix") if isinstance(mqtt, dict) else None
    return _Facts(prefix if isinstance(prefix, str) and prefix else "frigate", width)


def _cut(data: bytes, name: str, box: Sequence[float], detected: int) -> bytes:
    """Crop an object from a frame, as a PNG file, which avoids a second lossy compression."""
    picture = whole(data, name)
    scale = picture.width / detected if detected else 1.0
    packed = io.BytesIO()
    picture.crop(square([scale * side for side in box], *picture.size)).save(packed, "PNG", compress_level=1)
    return packed.getvalue()
