"""One picture file that a camera program overwrites again and again, such as latest.jpg: it is read when it changes."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from edge.answers import Skipped
from edge.camera import arrival
from edge.camera.arrival import PATIENCE, Stamp
from edge.camera.folder import Notice, pause
from edge.errors import ImageError
from edge.picture.frame import Frame
from edge.picture.kinds import CALLED, HEAD, kind

STALE, STALE_FACTOR = 60.0, 20.0  # seconds, and times the longest wait before: after both, a picture is called frozen


class Still:
    """A source that yields a picture file each time it changes."""

    live = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def frames(self, every: float, stop: threading.Event) -> Iterator[Frame | Skipped | Notice | None]:
        """Yield the current picture and each one that replaces it, until `stop` is set."""
        given: Stamp | None = None  # of the last picture that was yielded or reported
        seen: Stamp | None = None  # at the last look
        since = changed = time.monotonic()
        longest = 0.0  # from one change to the next, in seconds
        gone = frozen = False
        while not stop.is_set():
            now = time.monotonic()
            event: Frame | Skipped | None = None
            try:
                found = arrival.read(self.path)
                if gone:
                    yield Notice(f"{self.name} is back", gone=False)
                    gone = False
                if found is not None and found.stamp != given:
                    since = now if found.stamp != seen else since
                    event = self._event(found, rests=found.stamp == seen, patient=now - since < PATIENCE)
                seen = found.stamp if found else None
            except (ImageError, OSError) as error:
                if self.path.exists():  # and is too large, or not to be read
                    stamp = Stamp.of(self.path)
                    event = Skipped(self.name, str(error)) if stamp != given else None
                    seen = stamp
                elif seen is None and not gone and now - since >= 2 * every:  # not between delete and write
                    yield Notice(f"{self.name} is gone; waiting for it", gone=True)
                    gone = True
                else:
                    since = now if seen is not None else since
                    seen = None
            if event is not None:
                longest, changed = (max(longest, now - changed) if given else 0.0), now
                given = seen
                if frozen:
                    yield Notice(f"{self.name} changes again", frozen=False)
                    frozen = False
                yield event
            elif longest and not frozen and now - changed > max(STALE, STALE_FACTOR * longest):
                frozen = True
                yield Notice(
                    f"{self.name} has not changed for {now - changed:.0f} s; check that the program that "
                    "writes it is running",
                    frozen=True,
                )
            yield from pause(every, stop)

    def _event(self, found: arrival.Arrived, rests: bool, patient: bool) -> Frame | Skipped | None:
        if not arrival.ends_as_picture(found.data):
            if not rests:
                return None
            if arrival.under_way(found.data):
                return None if patient else Skipped(self.name, arrival.cut_short(self.name, len(found.data)))
        return Frame(self.name, found.data, found.stamp.time)


def is_picture(path: Path) -> bool:
    """Whether a file is a picture and not a video; a file that is still empty is judged by its name.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        found = kind(file.read(HEAD))
    if found.format == "GIF":
        with contextlib.suppress(OSError), Image.open(path, formats=["GIF"]) as image:
            return not getattr(image, "is_animated", False)
    return found.is_picture or (path.suffix.lower() in CALLED and found.reason != "video")
