"""How much of the photos the network does not see if they are cropped to the centre square."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

LOOKED_AT = 200  # photos, from first to last
MUCH = 0.55  # of the longer side: photos twice as wide as high lose 0.56 of it, those of 16:9 0.51
_ORIENTATION, _LYING = 0x0112, range(5, 9)  # EXIF tag, and its values for a photo that lies on its side


class CutOff(NamedTuple):
    """Fractions of the typical photo's width and height that are cut off, both ends together."""

    width: float
    height: float


def cut_off(paths: Sequence[Path], size: int, short_side: int, fit: str) -> CutOff:
    """Measure the typical photo: the one with the median shape.

    Args:
        paths: Photos; those that cannot be read are skipped.
        size, short_side, fit: As in `edge.picture.preprocess.load`; only `crop` cuts anything off.
    """
    if fit != "crop":
        return CutOff(0.0, 0.0)
    shapes = [shape for path in paths[:: -(-len(paths) // LOOKED_AT)] for shape in _shape(path)]
    ratio, side = float(np.median(shapes or [1.0])), size / short_side
    return CutOff(1 - side * min(1.0, 1 / ratio), 1 - side * min(1.0, ratio))


def warning(cut: CutOff) -> str | None:
    """Say what is cut off, if it is much; else return None.

    >>> warning(CutOff(0.78125, 0.125))
    '78 % of the typical photo is cut off at the sides; to use the whole photo, give --fit pad'
    >>> warning(CutOff(0.34375, 0.125)) is None
    True
    """
    lost, where = max((cut.width, "at the sides"), (cut.height, "at the top and bottom"))
    if lost < MUCH:
        return None
    share = f"{100 * lost:.0f} %"
    return f"{share} of the typical photo is cut off {where}; to use the whole photo, give --fit pad"


def _shape(path: Path) -> list[float]:
    """Width divided by height of the upright photo; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            return [height / width if image.getexif().get(_ORIENTATION) in _LYING else width / height]
    except Exception:  # Pillow raises nearly anything on damaged files, which are told where they are decoded
        return []
