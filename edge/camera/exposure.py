"""Wait until a camera that was just opened has adapted to the light: until then its pictures are black, green or burnt.

A picture is *blank* if, scaled to `SIDE` × `SIDE` pixels, it is of a single colour. A camera has settled when its
pictures are not blank and the mean of each colour over the newer half of `WINDOW` is within 5 % of the older half's.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge.errors import ImageError
from edge.picture import preprocess
from edge.picture.region import Region

WINDOW = 0.4  # seconds
LONGEST = 3.0  # seconds, after which a camera's picture is taken as it is
SIDE = 64
_BLANK = 2.0  # grey levels of standard deviation; grain alone gives less at that size
_CHANGE, _OFFSET = 0.05, 3.0  # of a mean, and grey levels


class WarmUp:
    """Checks the first pictures of a camera that was just opened.

    Args:
        every: seconds between pictures; from one second on, the first picture that is not blank is enough.
    """

    def __init__(self, every: float) -> None:
        self._slow = every >= 1
        self._means: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._start: float | None = None
        self._over = False

    def over(self, data: bytes, now: float) -> bool:
        """Whether the camera has settled; the picture `data` came at `now` seconds."""
        if self._over:
            return True
        if self._start is None:
            self._start = now
        self._over = now - self._start >= LONGEST or self._settled(data, now)
        return self._over

    def _settled(self, data: bytes, now: float) -> bool:
        try:
            pixels = preprocess.decode(data, "", SIDE, SIDE, fit="stretch")
        except ImageError:
            return False
        if _is_blank(pixels):
            self._means.clear()
            return False
        if self._slow:
            return True
        self._means.append((now, pixels.mean(axis=(0, 1))))
        if now - self._means[0][0] < WINDOW:
            return False
        while now - self._means[1][0] >= WINDOW:
            self._means.popleft()
        older, newer = (
            np.mean([mean for at, mean in self._means if (at > now - WINDOW / 2) == late], axis=0)
            for late in (False, True)
        )
        return bool((np.abs(newer - older) <= _OFFSET + _CHANGE * older).all())


def blank(data: bytes, name: str, region: Region | None, fit: str) -> bool:
    """Whether what the network would see of a picture is of a single colour.

    Args:
        region: the part of each picture to use; None for the whole.
        fit: how pictures are made square, as the bundle says.

    Raises:
        ImageError: it cannot be decoded.
    """
    shown = "crop" if fit == "crop" else "stretch"  # bars at the sides would be a second colour
    return _is_blank(preprocess.decode(data, name, SIDE, SIDE, region, shown))


def _is_blank(pixels: NDArray[np.uint8]) -> bool:
    return bool(pixels.std(axis=(0, 1)).max() < _BLANK)
