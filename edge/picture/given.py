"""Turn a picture of a user's program into a path or a `Frame`, the two kinds that the pipeline reads.

An array or a Pillow image becomes the bytes of a PPM file, like the raw frames of a camera. So it is treated like a
file: with the same limits, crop and resize, and a SHA-256 by which it is recognised if it is taught again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.errors import ImageError
from edge.picture.frame import Frame, Picture, ppm
from edge.picture.preprocess import read, upright

PictureLike = str | Path | Frame | NDArray[np.uint8] | Image.Image
"""A file, a camera's frame, a uint8 array (H, W, 3) of red, green, blue or (H, W) of grey, or a Pillow image."""


class Held(Frame):
    """A picture in memory, whose bytes are made when they are needed; errors are raised then.

    Args:
        name: its name in messages.
        picture: an array or a Pillow image; `data` refuses anything else.
    """

    def __init__(self, name: str, picture: object) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "time", 0.0)
        object.__setattr__(self, "_picture", picture)

    @property
    def data(self) -> bytes:
        """The bytes of a picture file.

        Raises:
            ImageError: the object is not a picture; the message says what was given and what is expected.
        """
        picture: Any = vars(self)["_picture"]
        if isinstance(picture, Image.Image):
            return ppm(np.asarray(upright(picture, self.name)))
        if isinstance(picture, np.ndarray):
            return ppm(_checked(picture, self.name))
        raise ImageError(
            "picture-unsupported",
            f"{self.name} is a {type(picture).__name__}, not a picture; give a path, a uint8 array (height, width, 3) "
            "in the order red, green, blue, or a Pillow image",
            "other",
        )


def is_one(given: PictureLike | Iterable[PictureLike]) -> bool:
    """Whether this is one picture and not several."""
    return isinstance(given, str | Path | Frame | np.ndarray | Image.Image | bytes) or not isinstance(given, Iterable)


def several(given: PictureLike | Iterable[PictureLike]) -> list[Picture]:
    """Convert one or several pictures for the pipeline."""
    if is_one(given):
        return [take(given)]
    assert isinstance(given, Iterable)
    return [take(one, f" {number}") for number, one in enumerate(given, 1)]


def paths(given: str | Path | Iterable[str | Path]) -> list[Path]:
    """Turn one path, or several, into a list."""
    return [Path(one).expanduser() for one in ([given] if isinstance(given, str | Path) else given)]


def take(given: object, place: str = "") -> Picture:
    """Convert a picture for the pipeline; if it is not a picture, the error is raised when its bytes are read.

    Args:
        given: a `PictureLike`.
        place: its number among several, for its name.
    """
    if isinstance(given, str | Path):
        return Path(given).expanduser()
    if isinstance(given, Frame):
        return given
    kind = "array" if isinstance(given, np.ndarray) else "image" if isinstance(given, Image.Image) else "picture"
    return Held(str(getattr(given, "filename", "") or f"{kind}{place}"), given)  # Pillow's of an opened file


def frame(given: PictureLike, name: str, seconds: float) -> Frame:
    """Convert a picture into a camera frame with a name and a time, in seconds since 1970.

    Raises:
        ImageError: the object is not a picture, or the file cannot be read.
    """
    taken = take(given)
    return Frame(name, taken.data if isinstance(taken, Frame) else read(taken), seconds)


def _checked(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    remedy = "give uint8 (height, width, 3) in the order red, green, blue, or (height, width) for grey"
    if array.dtype != np.uint8:
        remedy = "give uint8 of 0 to 255; where 1.0 is white: (255 * array).round().astype('uint8')"
    elif array.ndim == 3 and array.shape[2] == 4:
        remedy = "leave out the fourth channel: array[:, :, :3]"
    elif array.ndim == 4:
        remedy = "give several pictures as a list: list(array)"
    elif array.size and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        return array
    said = f"{name} of shape {array.shape} and type {array.dtype} is not a picture; {remedy}"
    raise ImageError("picture-unsupported", said, "format")
