"""What all viewers see: the newest frame, its answer, the state of the camera, and the latest changes.

The camera's thread stores frames, the learner's thread stores answers, and the server's event loop reads both; each
holds the lock only to copy a reference. A viewer requests the next frame after it has drawn the last one, so a slow
phone gets fewer frames and holds up nobody else.
"""

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from edge.answers import Skipped, to_json
from edge.camera.folder import Notice
from edge.errors import ImageError
from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.watch.loop import Sight

SIDE = 640  # pixels of a frame that is encoded for viewers
PAUSE = 0.2  # least number of seconds between two encodings
PASSED = 400_000  # bytes up to which a camera's own JPEG is passed on unchanged
CHANGES = 24  # changes whose thumbnail is kept
THUMB = 200  # pixels
LOOKING = 5.0  # seconds after a request for which a viewer counts as watching


@dataclass(frozen=True)
class Shown:
    """A frame and its number, which increases by one per frame."""

    number: int
    frame: Frame


@dataclass
class Change:
    """A change of the answer: the label, the time, and a small JPEG."""

    number: int
    seen: Any
    picture: bytes = field(repr=False)


class Live:
    """The newest frame, its answer and the latest changes.

    Args:
        name: display name of the source; "" if there is no source.
        continuous: whether the source is a camera or stream, not a folder or video file.
    """

    def __init__(self, name: str = "", continuous: bool = False) -> None:
        self.name, self.continuous = name, continuous
        self.state, self.text = ("starting" if name else "none"), ""
        self.shown: Shown | None = None
        self.seen: Any = None  # the line of `edge watch --json` for the newest answered frame
        self.changes: deque[Change] = deque(maxlen=CHANGES)
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._encoded: tuple[int, bytes] = (0, b"")
        self._encoded_at = 0.0
        self._waiting: set[Future[None]] = set()

    def show(self, event: Frame | Notice | Skipped) -> None:
        """Store a frame, or a notice about the camera."""
        with self._lock:
            if isinstance(event, Frame):
                number = self.shown.number + 1 if self.shown else 1
                self.shown = Shown(number, event)
                if self.state in ("starting", "gone", "unreadable"):
                    self.state, self.text = "there", ""
            elif isinstance(event, Skipped):
                if self.state != "gone":
                    self.state, self.text = "unreadable", event.reason
            elif event.gone is not None or event.frozen is not None:
                bad = "gone" if event.gone else "frozen" if event.frozen else ""
                self.state, self.text = (bad, event.text) if bad else ("there", "")
            waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def answer(self, sight: Sight) -> None:
        """Store an answer; a change is kept with its thumbnail."""
        self.seen = to_json(sight.seen)
        if sight.seen.changed and sight.frame is not None:
            try:
                picture = preprocess.preview(sight.frame.data, sight.frame.name, THUMB)
            except ImageError:
                return
            with self._lock:
                number = self.changes[0].number + 1 if self.changes else 1
                self.changes.appendleft(Change(number, self.seen, picture))

    async def after(self, number: int, seconds: float) -> Shown | None:
        """Wait for a frame with a number other than this; None if none comes in time."""
        future: Future[None] = Future()
        with self._lock:
            if self.shown is not None and self.shown.number != number:
                return self.shown
            self._waiting.add(future)
        try:
            await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            return None
        finally:
            with self._lock:
                self._waiting.discard(future)
        return self.shown

    def picture(self, shown: Shown) -> bytes:
        """Return a frame as JPEG: the camera's own, or one that is encoded once for all viewers.

        Raises:
            ImageError: the frame cannot be decoded.
        """
        data = shown.frame.data
        if data.startswith(b"\xff\xd8\xff") and len(data) <= PASSED:
            return data
        with self._encoding:
            if self._encoded[0] != shown.number:
                time.sleep(max(0.0, PAUSE - (time.monotonic() - self._encoded_at)))
                self._encoded = shown.number, preprocess.preview(data, shown.frame.name, SIDE)
                self._encoded_at = time.monotonic()
            return self._encoded[1]
