"""The last picture, as Home Assistant shows it: small, no more often than something changes; and what was shown when.

A person who teaches means the picture on the screen, which is not always the newest frame of the camera.
"""

import time
from collections.abc import Callable

from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.picture.region import Region
from edge.picture.same import Alike

SIDE = 640  # pixels
PAUSE = 10.0  # seconds from one picture to the next, unless the answer changes
REACTION = 1.0  # seconds: what was asked sooner after a picture came was meant for the one before it


class LastPicture:
    """The last two pictures that were shown.

    Args:
        part: gives the part of the picture that counts, and how it is made square for the network; a picture is new if
            this part is.
        clock: seconds, always growing.
    """

    def __init__(
        self, part: Callable[[], tuple[Region | None, str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._part, self._clock = part, clock
        self._alike: tuple[tuple[Region | None, str], Alike] | None = None
        self._shown: list[tuple[float, Frame]] = []
        self._looked = float("-inf")

    def take(self, frame: Frame, changed: bool) -> bytes | None:
        """Take a frame; returns a JPEG to show in its place, or None if the picture that is shown is good enough.

        Args:
            frame: the newest one.
            changed: whether the answer has changed with it.

        Raises:
            ImageError: it cannot be decoded.
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
        """Return the frame that was on the screen of whoever asked at this time; None: none yet."""
        for since, frame in reversed(self._shown):
            if asked - since >= REACTION:
                return frame
        return self._shown[0][1] if self._shown else None
