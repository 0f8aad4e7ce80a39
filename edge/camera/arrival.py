"""Whether a picture file is all there: it may be under way by a slow upload, or be replaced while it is read.

A file is read as of one moment: size and time of change are the same before and after. It is complete if it ends as its
format wants; where a format has no such end, if it can be decoded.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge.camera import mjpeg
from edge.errors import ImageError
from edge.picture import preprocess

if TYPE_CHECKING:
    from os import DirEntry

PATIENCE = 10.0  # seconds for which an incomplete file may rest before it is called so
UNDER_WAY = frozenset(
    {".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".upload", ".!ut"}
)
_TRIES = 3


class Stamp(NamedTuple):
    """By what a file is known to be the same: when it was changed (seconds since 1970), and its bytes."""

    time: float
    size: int

    @classmethod
    def of(cls, file: "Path | DirEntry[str]") -> "Stamp":
        """Take it from what the system says of a file.

        Raises:
            OSError: it is gone, or not to be looked at.
        """
        about = file.stat()
        return cls(about.st_mtime, about.st_size)


class Arrived(NamedTuple):
    """A file as it was at one moment."""

    data: bytes
    stamp: Stamp


def read(path: Path) -> Arrived | None:
    """Read a picture file; None: it changes so fast that no moment could be read.

    Raises:
        OSError: it is gone, or may not be read.
        ImageError: as `preprocess.read`.
    """
    for _ in range(_TRIES):
        before = Stamp.of(path)
        data = preprocess.read(path)
        if Stamp.of(path) == before and len(data) == before.size:
            return Arrived(data, before)
    return None


def ends_as_picture(data: bytes) -> bool:
    """Whether a file ends as its format wants; False also where its format has no mark of its end."""
    if data.startswith(mjpeg.START):
        return mjpeg.ends(data)
    if data.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" in data[-256:]
    if data.startswith(b"GIF8"):
        return data.endswith(b";")
    if data.startswith(b"RIFF"):
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return data.startswith(b"BM") and len(data) >= int.from_bytes(data[2:6], "little") > 0


def under_way(data: bytes) -> bool:
    """Whether a file that rests may yet grow into a picture: it begins as one, and lacks its end."""
    if ends_as_picture(data):
        return False
    try:
        preprocess.decode(data, "", 16, 16)
    except ImageError as error:
        return error.reason in ("empty", "damaged")
    return False


def cut_short(name: str, size: int) -> str:
    """Say that a file is incomplete and does not grow."""
    return f"{name} is incomplete: {size:,} bytes, and no more for {PATIENCE:.0f} s; it is read again when it changes"
