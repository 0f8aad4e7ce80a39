"""A picture before it is decoded: a file, or a frame of a camera."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """A frame of a camera: the bytes of a picture file, with a name instead of a path.

    >>> str(Frame("garage 12:00:03", b"", 0.0))
    'garage 12:00:03'
    """

    name: str
    data: bytes = field(repr=False)
    time: float  # when it was taken, seconds since 1970

    def __str__(self) -> str:
        return self.name


Picture = Path | Frame


def ppm(pixels: "NDArray[np.uint8]") -> bytes:
    """Pack pixels (H, W, 3) of red, green, blue, or (H, W) of grey, as the bytes of a PPM or PGM file.

    >>> import numpy as np
    >>> ppm(np.zeros((1, 2, 3), np.uint8))
    b'P6 2 1 255\\n\\x00\\x00\\x00\\x00\\x00\\x00'
    """
    height, width = pixels.shape[:2]
    return b"P%d %d %d 255\n" % (5 if pixels.ndim == 2 else 6, width, height) + pixels.tobytes()
