"""Sources of frames: a folder, a camera, a stream or a video file, each with one method, `frames`.

A live source (camera, stream) is read in a thread of its own that keeps only the newest frame: if classification is
slower than the camera, frames are dropped. If a live source stops, it is opened again, and reported as gone and back.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from edge.answers import Skipped
from edge.camera import devices, frigate, web
from edge.camera.address import Address, looks_like_one, redacted
from edge.camera.exposure import WarmUp
from edge.camera.folder import Folder, Journal, Notice, pause
from edge.camera.still import Still, is_picture
from edge.errors import EdgeError, SourceError, SourceRefused
from edge.picture.frame import Frame

HUNG = 20.0  # seconds without a picture after which a camera's library is no longer waited for
MOST_HUNG = 3  # of them at a time: so many threads and connections may hang before no other is opened
LONGEST_WAIT = 10.0  # seconds from one try to open a lost source to the next
FROZEN_SECONDS, FROZEN_FRAMES = 10.0, 10  # from so many equal frames over so long a time on, a picture is called frozen
WEB = ("http", "https")
STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp")
OBJECTS = "use edge watch with --mqtt mqtt://user:password@host, the broker that Frigate uses"
Event = Frame | Skipped | Notice | None
Stream = Callable[[float], Iterator[bytes]]  # seconds between frames → frames


class Source(Protocol):
    """A source of frames; `live` if it shows the present and is opened again when it stops."""

    name: str
    live: bool

    def frames(self, every: float, stop: threading.Event) -> Iterator[Event]:
        """Yield frames at least `every` seconds apart, and None from time to time, until `stop` is set."""


def open_source(text: str, home: Path, self_signed: bool = False) -> Source:
    """Open the source that a text names. A camera that is not connected yet is not an error, but a missing library is.

    Args:
        text: a folder, a picture or video file, `picamera`, /dev/video0 or its number, or an address.
        home: the home's folder, where the journal of a watched folder is kept.
        self_signed: accept any certificate of an https address.

    Raises:
        SourceError: the text names no source, or one that cannot be read here; the message says what to install, and
            contains no address.
        HomeError: as `Journal`.
    """
    scheme = text.partition(":")[0].lower()
    number = text.removeprefix("/dev/video")
    path = Path(text)
    if scheme in ("picamera", "picamera2"):
        at = text.partition(":")[2] or "0"
        if not at.isdecimal():
            raise SourceError(
                "source-unknown", f"'{text}' is not a camera; write picamera, or picamera:1 for the second one"
            )
        devices.check_pi_camera()
        return Live(text, lambda _: devices.pi_camera(int(at)))
    if (number.isdecimal() or text.startswith("/dev/v4l/")) and not path.is_dir():
        devices.opencv()
        name = f"/dev/video{number}" if number.isdecimal() else text
        return Live(name, lambda _: devices.device(name))
    if scheme in WEB:
        address = Address.parse(text, WEB)
        return Live(str(address), lambda every: web.pictures(address, every, self_signed, devices.video))
    if scheme == frigate.SCHEME:
        place = frigate.Place.parse(text)
        if place.objects:
            raise SourceError("broker-missing", f"{place}: Frigate tells of objects by MQTT; {OBJECTS}")
        return Live(str(place), lambda every: frigate.frames(place, every, self_signed))
    if scheme in STREAMS:
        address = Address.parse(text, STREAMS)
        devices.opencv()
        return Live(str(address), lambda _: devices.video(address.full))
    if text and path.is_dir():  # Path("") is the current folder
        return Folder(path, Journal(home, path))
    if path.is_file():
        if is_picture(path):
            return Still(path)
        devices.check_film(path)
        return Film(path)
    named = "this" if looks_like_one(text) else f"'{text}'"
    raise SourceError(
        "source-unknown",
        f"{named} is neither an existing folder, picture or video file nor a camera or an address; write for example "
        "picamera, /dev/video0, http://camera.local/stream, or the path of a folder",
    )


class Live:
    """A camera or stream.

    Args:
        name: its name for people; a frame's name is this and its time.
    """

    live = True

    def __init__(self, name: str, stream: Stream) -> None:
        self.name = name
        self._stream = stream

    def frames(self, every: float, stop: threading.Event) -> Iterator[Event]:
        """As `Source.frames`; it ends only when `stop` is set.

        Raises:
            SourceRefused: this source can never work as it was named.
        """
        wait, lost, there = 1.0, False, False
        repeats = _Repeats()
        hung: list[_Newest] = []
        while not stop.is_set():
            newest = _Newest(self._stream, every)
            warm = WarmUp(every)
            since = time.monotonic()
            kept: bytes | None = None  # the latest picture of the warming up, which is better than none
            try:
                while not stop.is_set():
                    start = time.monotonic()
                    data = newest.take(1.0)
                    if data is None and newest.ended is not None:
                        data, kept = kept, None
                        if data is None:
                            break
                    elif data is None:
                        if start - since > HUNG + every:
                            newest.ended = f"no picture for {start - since:.0f} s"
                            break
                        yield None
                        continue
                    elif not warm.over(data, start):
                        since, kept = start, data
                        yield None
                        continue
                    since, kept = start, None
                    if lost:
                        yield Notice(f"{self.name} is back", gone=False)
                    wait, lost, there = 1.0, False, True
                    if (frozen := repeats.changed(data, start)) is not None:
                        yield Notice(f"{self.name} {repeats.wording}", frozen=frozen)
                    now = time.time()
                    taken = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                    yield Frame(f"{self.name} {taken}", data, now)
                    yield from pause(every - (time.monotonic() - start), stop)
            finally:
                newest.close()
            if newest.refused and not there:
                raise SourceRefused(newest.code, f"{self.name}: {newest.ended}")
            if not lost and not stop.is_set():
                lost = True
                what = "is gone" if there else "gives no picture"
                yield Notice(f"{self.name} {what}: {newest.ended}; waiting for it", gone=True)
            hung = [one for one in [*hung, newest] if one.running]
            yield from pause(wait, stop)
            wait = min(2 * wait, LONGEST_WAIT)
            while len(hung) >= MOST_HUNG and not stop.is_set():
                hung = [one for one in hung if one.running]
                yield from pause(1.0, stop)


class Film:
    """A video file, from its beginning to its end."""

    live = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def frames(self, every: float, stop: threading.Event) -> Iterator[Event]:
        """As `Source.frames`, with `every` in the video's own time; it ends with the video."""
        with contextlib.closing(devices.film(self.path, every)) as shots:
            for shot in shots:
                if stop.is_set():
                    return
                yield Frame(f"{self.name} {shot.second:.2f} s", shot.data, time.time())


class _Repeats:
    """Notices when a camera freezes: noise makes every frame different, but a camera that hangs repeats one frame.

    A camera that renews its picture once a minute looks frozen too. So the longest time between two changes is
    remembered, and only a picture that stays twice as long is called frozen.
    """

    def __init__(self) -> None:
        self._data = b""
        self._since = 0.0
        self._equal = 0
        self._frozen = False
        self._limit = FROZEN_SECONDS
        self.wording = ""

    def changed(self, data: bytes, now: float) -> bool | None:
        """Take a frame at `now` seconds; returns True if frozen from now on, False if moving again, else None."""
        if data != self._data:
            frozen, stood = self._frozen, now - self._since
            self._data, self._since, self._equal, self._frozen = data, now, 1, False
            if not frozen:
                return None
            self._limit = max(self._limit, 2 * stood)
            self.wording = f"changes again, after {stood:.0f} s"
            return False
        self._equal += 1
        if self._frozen or self._equal < FROZEN_FRAMES or now - self._since < self._limit:
            return None
        self._frozen = True
        self.wording = (
            f"has given exactly the same picture {self._equal} times in {now - self._since:.0f} s, so it may "
            "have stopped; switch it off and on, unless it rarely updates its picture"
        )
        return True


class _Newest:
    """Reads a stream in a thread, and hands out the newest frame, each once."""

    def __init__(self, stream: Stream, every: float) -> None:
        self._changed = threading.Condition()
        self._data: bytes | None = None
        self._closed = False
        self.ended: str | None = None  # why
        self.code = "camera-failed"  # of the error that ended it
        self.refused = False  # it ended for good
        self._thread = threading.Thread(target=self._run, args=(stream, every), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def take(self, timeout: float) -> bytes | None:
        """Wait at most `timeout` seconds for a frame or for the end of the stream."""
        with self._changed:
            self._changed.wait_for(lambda: self._data is not None or self.ended is not None, timeout)
            data, self._data = self._data, None
            return data

    def close(self) -> None:
        self._closed = True

    def _run(self, stream: Stream, every: float) -> None:
        reason = "it ended"
        try:
            frames = stream(every)
            try:
                for data in frames:
                    if self._closed:
                        break
                    with self._changed:
                        self._data = data
                        self._changed.notify()
            finally:
                if hasattr(frames, "close"):
                    frames.close()
        except EdgeError as error:
            reason = str(error)
            self.code = error.code
            self.refused = isinstance(error, SourceRefused)
        except Exception as error:  # a camera's library may raise anything, and the source is waited for all the same
            reason = redacted(f"{type(error).__name__}: {error}")
        with self._changed:
            self.ended = reason
            self._changed.notify()
