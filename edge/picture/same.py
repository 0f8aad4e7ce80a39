"""Recognise frames that are nearly identical: a fixed camera gives thousands of them, and one is enough.

Two frames are alike if their thumbnails of 16 × 16 pixels differ by less than `DIFFERENCE` levels on average. Sensor
noise disappears in a thumbnail; something that moves, comes or goes does not.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge.picture import preprocess
from edge.picture.frame import Frame
from edge.picture.region import Region

SIDE = 16  # pixels
DIFFERENCE = 3.0  # levels of 255, the mean over pixels and colours


class Alike:
    """Remembers the frames that were new.

    Args:
        region: the part of the frames that is compared; None for the whole.
        memory: the number of recent frames to remember.
        fit: how frames are made square, as in `edge.picture.preprocess`.
    """

    def __init__(self, region: Region | None, memory: int, fit: str = "crop") -> None:
        self._region, self._fit = region, fit
        self._seen: deque[NDArray[np.int16]] = deque(maxlen=memory)

    def new(self, frame: Frame) -> bool:
        """Whether a frame differs from all remembered ones; if so, it is remembered.

        Raises:
            ImageError: the frame cannot be decoded.
        """
        thumbnail = preprocess.decode(frame.data, frame.name, SIDE, SIDE, self._region, self._fit).astype(np.int16)
        if any(np.abs(thumbnail - other).mean() < DIFFERENCE for other in self._seen):
            return False
        self._seen.append(thumbnail)
        return True
