"""A picture before it is decoded: a file, or what a camera gave."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Frame:
    """A picture that a camera gave: the bytes of a picture file, with a name instead of a path.

    >>> str(Frame("garage 12:00:03", b"", 0.0))
    'garage 12:00:03'
    """

    name: str
    data: bytes = field(repr=False)
    time: float  # when it was taken, seconds since 1970

    def __str__(self) -> str:
        return self.name


Picture = Path | Frame
