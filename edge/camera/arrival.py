"""Whether a picture file is complete: a slow upload may still be writing it, or it may be replaced while it is read.

A file counts as read only if its size and modification time are the same before and after reading. It is complete if
it ends as its format requires or, if the format has no end marker, if it can be decoded.
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
    """Modification time (seconds since 1970) and size: if both are the same, so is the file."""

    time: float
    size: int

    @classmethod
    def of(cls, file: "Path | DirEntry[str]") -> "Stamp":
        """Read the stamp of a file.

        Raises:
            OSError: the file is gone, or may not be read.
        """
        about = file.stat()
        return cls(about.st_mtime, about.st_size)


class Arrived(NamedTuple):
    """The contents of a file at one moment."""

    data: bytes
    stamp: Stamp


def read(path: Path) -> Arrived | None:
    """Read a picture file; returns None if it keeps changing while it is read.

    Raises:
        OSError: the file is gone, or may not be read.
        ImageError: as `preprocess.read`.
    """
    for _ in range(_TRIES):
        before = Stamp.of(path)
        data = preprocess.read(path)
        if Stamp.of(path) == before and len(data) == before.size:
            return Arrived(data, before)
    return None


def ends_as_picture(data: bytes) -> bool:
    """Whether a file ends as its format requires; also False if its format has no end marker."""
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
    """Whether an unchanged file may still become a picture: it begins like one, and its end is missing."""
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
