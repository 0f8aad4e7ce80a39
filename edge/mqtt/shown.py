"""The last picture for Home Assistant: small, sent only when something changes, and remembered with its time.

A person who teaches means the picture on the screen, which is not always the camera's newest frame.
"""

import time
from collections.abc import Callable

from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.picture.region import Region
from edge.picture.same import Alike

SIDE = 640  # pixels
PAUSE = 10.0  # least number of seconds between two pictures, unless the answer changes
REACTION = 1.0  # seconds: a command that arrives sooner after a new picture refers to the picture before it


class LastPicture:
    """The last two pictures that were shown.

    Args:
        part: returns the region of the picture that is classified and how it is made square; a picture is new if this
            region has changed.
    """

    def __init__(
        self, part: Callable[[], tuple[Region | None, str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._part, self._clock = part, clock
        self._alike: tuple[tuple[Region | None, str], Alike] | None = None
        self._shown: list[tuple[float, Frame]] = []
        self._looked = float("-inf")

    def take(self, frame: Frame, changed: bool) -> bytes | None:
        """Take a frame; returns a JPEG to show, or None if the current picture need not be replaced.

        Args:
            changed: whether the answer has changed with this frame.

        Raises:
            ImageError: the frame cannot be decoded.
        """
        now = self._clock()
        if not changed and now - self._looked < PAUSE:
            return None
        self._looked = now
        part = self._part()
        if self._alike is None or self._alike[0] != part:
            self._alike = part, Alike(part[0], 1, part[1])
        if not self._alike[1].new(frame) and not changed:
            return None
        small = preprocess.preview(frame.data, frame.name, SIDE)
        self._shown = [*self._shown[-1:], (now, frame)]
        return small

    def at(self, asked: float) -> Frame | None:
        """Return the frame that was on the screen at this time; None if there was none yet."""
        for since, frame in reversed(self._shown):
            if asked - since >= REACTION:
                return frame
        return self._shown[0][1] if self._shown else None
