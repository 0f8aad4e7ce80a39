"""The part of a camera's picture that is used, as fractions of it: the garage door, not the garden. Pure.

A home stores one region, and every picture is cropped to it first, so that `watch` and `classify` see the same part as
`capture` and `teach`.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from edge.errors import SourceError

DECIMALS = 6
WHOLE = "whole"  # what a user writes for no region
_EXAMPLE = "write left,top,width,height as fractions of the picture, such as 0.2,0.1,0.3,0.5, or 'whole'"


class Box(NamedTuple):
    """Pixels, as Pillow counts them: `right` and `bottom` are outside."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Region:
    """A rectangle within the upright picture, each number a fraction of its width or height.

    >>> Region.parse("0.25, 0, 0.5, 1").box(640, 480)
    Box(left=160, top=0, right=480, bottom=480)
    >>> str(Region.parse("0.25,0,0.5,1"))
    '0.25,0,0.5,1'
    """

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        """Round to millionths, as in the written form, so that a stored region equals the given one."""
        for name, number in vars(self).items():
            object.__setattr__(self, name, round(number, DECIMALS) + 0.0)  # + 0.0: -0.0 is written as 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "left,top,width,height".

        Raises:
            SourceError: the text is not four fractions, or the region reaches beyond the picture.
        """
        try:
            left, top, width, height = (float(part) for part in text.split(","))
        except ValueError:
            raise SourceError("region-invalid", f"region '{text}' is not four numbers; {_EXAMPLE}") from None
        most = 1 + 2 * 10**-DECIMALS  # two numbers, each rounded, may together be a millionth more than the whole
        inside = left >= 0 and top >= 0 and left + width <= most and top + height <= most
        if not (inside and width >= 0.01 and height >= 0.01):
            raise SourceError(
                "region-invalid",
                f"region '{text}' extends beyond the picture, or is narrower than 0.01 of it; {_EXAMPLE}",
            )
        region = cls(left, top, width, height)
        return cls(region.left, region.top, min(region.width, 1 - region.left), min(region.height, 1 - region.top))

    def __str__(self) -> str:
        numbers = (self.left, self.top, self.width, self.height)
        return ",".join(f"{number:.{DECIMALS}f}".rstrip("0").rstrip(".") for number in numbers)

    def box(self, width: int, height: int) -> Box:
        """The region of a picture of this size in whole pixels, at least one."""
        left, top = (min(int(f * side), side - 1) for f, side in ((self.left, width), (self.top, height)))
        right = min(round((self.left + self.width) * width), width)
        bottom = min(round((self.top + self.height) * height), height)
        return Box(left, top, max(right, left + 1), max(bottom, top + 1))
