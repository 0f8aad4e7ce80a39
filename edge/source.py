"""What is watched: a folder, a camera, a stream, a film. All give frames one after another, through `frames`.

A live source (camera, stream) is read in a thread of its own that keeps the newest frame alone: who classifies slower
than the camera films sees the present, not a growing past. One that dies is waited for, and said to be gone and back.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from edge import camera
from edge.answers import Skipped
from edge.errors import EdgeError, SourceError
from edge.folder import Folder, Journal, Notice, pause
from edge.photos import Frame

LONGEST_WAIT = 10.0  # seconds from one try to open a lost source to the next
FROZEN_SECONDS, FROZEN_FRAMES = 10.0, 10  # from so many equal frames over so long a time on, a picture is called frozen
Event = Frame | Skipped | Notice | None
Stream = Callable[[float], Iterator[bytes]]  # seconds between frames → frames


class Source(Protocol):
    """Something to watch; `live` if it shows the present and is waited for."""

    name: str
    live: bool

    def frames(self, every: float, stop: threading.Event) -> Iterator[Event]:
        """Yield frames at least `every` seconds apart, and None now and then while there is none, until `stop`."""


def open_source(text: str, journal: Callable[[Path], Journal]) -> Source:
    """Find out what a user means; a camera that is not there yet is no error, a library that is missing is.

    Args:
        text: a folder, `picamera`, /dev/video0 or its number, an address, or a video file.
        journal: opens the memory of a folder.

    Raises:
        SourceError: it is none of these, or cannot be read here; the message says what to install.
        HomeError: as `Journal`.
    """
    scheme = urlsplit(text).scheme.lower()
    device = text.removeprefix("/dev/video")
    path = Path(text)
    if text.partition(":")[0] in ("picamera", "picamera2"):
        number = text.partition(":")[2] or "0"
        if not number.isdecimal():
            raise SourceError(f"'{text}' names no camera; write picamera, or picamera:1 for the second one")
        camera.check_pi_camera()
        return Live(text, lambda _: camera.pi_camera(int(number)))
    if device.isdecimal() and not path.is_dir():
        camera.opencv()
        return Live(f"/dev/video{device}", lambda _: camera.video(int(device)))
    if scheme in ("http", "https"):
        return Live(_bare(text), lambda every: camera.http(text, every))
    if scheme in ("rtsp", "rtsps", "rtmp", "udp", "tcp"):
        camera.opencv()
        return Live(_bare(text), lambda _: camera.video(text))
    if path.is_dir():
        return Folder(path, journal(path))
    if path.is_file():
        camera.opencv()
        return Film(path)
    raise SourceError(
        f"'{text}' is no folder or video file that exists, and no camera or address; write for example picamera, "
        "/dev/video0, http://camera.local/stream, or the path of a folder"
    )


class Live:
    """A camera or stream.

    Args:
        name: what people call it; frames are named by it and their time.
        stream: opens it.
    """

    live = True

    def __init__(self, name: str, stream: Stream) -> None:
        self.name = name
        self._stream = stream

    def frames(self, every: float, stop: threading.Event) -> Iterator[Event]:
        """As `Source.frames`; it ends only by `stop`."""
        wait, lost, there = 1.0, False, False
        still = _Still()
        while not stop.is_set():
            newest = _Newest(self._stream, every)
            try:
                while not stop.is_set():
                    start = time.monotonic()
                    data = newest.take(1.0)
                    if data is None:
                        if newest.ended is not None:
                            break
                        yield None
                        continue
                    if lost:
                        yield Notice(f"{self.name} is back", gone=False)
                    wait, lost, there = 1.0, False, True
                    if (frozen := still.changed(data, start)) is not None:
                        yield Notice(f"{self.name} {still.wording}", frozen=frozen)
                    now = time.time()
                    yield Frame(f"{self.name} {_written(now)}", data, now)
                    yield from pause(every - (time.monotonic() - start), stop)
            finally:
                newest.close()
            if not lost and not stop.is_set():
                lost = True
                what = "is gone" if there else "gives no picture"
                yield Notice(f"{self.name} {what}: {newest.ended}; waiting for it", gone=True)
            yield from pause(wait, stop)
            wait = min(2 * wait, LONGEST_WAIT)


class Film:
    """A video file, from its beginning to its end."""

    live = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def frames(self, every: float, stop: threading.Event) -> Iterator[Event]:
        """As `Source.frames`, where `every` counts in the film's own time; ends with it."""
        with contextlib.closing(camera.film(self.path, every)) as shots:
            for shot in shots:
                if stop.is_set():
                    return
                yield Frame(f"{self.name} {shot.second:.2f} s", shot.data, time.time())


class _Still:
    """Tells when a camera's picture freezes: a sensor's grain makes no two frames equal, a hanging camera does.

    A camera that is asked for a picture it renews once a minute looks like that too: how long a picture stood before it
    changed is learned, and only what stands twice as long is called frozen.
    """

    def __init__(self) -> None:
        self._data = b""
        self._since = 0.0
        self._equal = 0
        self._frozen = False
        self._limit = FROZEN_SECONDS
        self.wording = ""

    def changed(self, data: bytes, now: float) -> bool | None:
        """Take a frame at `now`, in seconds; True: frozen from now on, False: moving again, None: as before."""
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
            f"has given the same picture {self._equal} times in {now - self._since:.0f} s, to the byte: it may hang; "
            "switch it off and on, unless it renews its picture seldom"
        )
        return True


class _Newest:
    """Reads a stream in a thread, and hands out its newest frame, once."""

    def __init__(self, stream: Stream, every: float) -> None:
        self._changed = threading.Condition()
        self._data: bytes | None = None
        self._closed = False
        self.ended: str | None = None  # why
        threading.Thread(target=self._run, args=(stream, every), daemon=True).start()

    def take(self, timeout: float) -> bytes | None:
        """Wait for a frame, so many seconds at most, or for the stream's end."""
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
        except Exception as error:  # a camera's library may raise anything, and the source is waited for all the same
            reason = f"{type(error).__name__}: {error}"
        with self._changed:
            self.ended = reason
            self._changed.notify()


def _bare(url: str) -> str:
    """An address without the user, password and query that may be in it."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
