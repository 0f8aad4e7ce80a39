"""The domain: how the pictures of a bundle look, and how local pictures differ from them.

Five numbers a picture, of its green channel g (which a camera samples best), and an 8 × 8 thumbnail::

    brightness  the grey level that 2 % of the pixels exceed, 0–255: that of the lights, whatever the scene
    burnt       share of pixels at 250 or above
    contrast    from the 2nd to the 98th percentile, grey levels
    sharpness   10 log₁₀ E₀/E₂ dB, E_l the mean square of the Haar details of blocks of 2^(l+1) pixels: about −4 for a
                photograph, −12 where only slopes are left
    noise       standard deviation of the grain, grey levels, from the 25th percentile of the diagonal details |d₀|

A picture is reported if it lies beyond nearly all of the domain's own pictures and beyond a margin that people notice.

Source: Mallat, "A theory for multiresolution signal decomposition", PAMI 1989; Donoho & Johnstone, "Ideal spatial
adaptation by wavelet shrinkage", Biometrika 1994 (noise from the finest diagonal details; a lower quantile than their
median, as texture is no noise).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("brightness", "burnt", "contrast", "sharpness", "noise")
WORDS = ("blurred", "too dark", "too bright", "low contrast", "noisy")
QUANTILES = (0.02, 0.5, 0.98)
THUMB = 8  # pixels a side
ENOUGH = 20  # pictures, from which 2 % quantiles say something

Floats = NDArray[np.floating[Any]]

_CLIPPED = 250  # grey level
_GAUSS_25 = 0.3186  # the 25th percentile of |x| for a normal x of deviation 1
_TINY = 0.02  # grey levels², below what 8 bits resolve


@dataclass(frozen=True)
class Look:
    """One picture: its statistics (5,) float32 in the order of `STATISTICS`, and its thumbnail uint8 (8, 8, 3)."""

    statistics: NDArray[np.float32]
    thumb: NDArray[np.uint8]


@dataclass(frozen=True)
class Domain:
    """The look of a set of pictures: quantiles (5, 3) float32 of the statistics at 2, 50 and 98 %."""

    quantiles: NDArray[np.float32]

    @cached_property
    def levels(self) -> tuple[dict[str, float], ...]:
        """What is low, usual and high, by the names in `STATISTICS`."""
        return tuple(dict(zip(STATISTICS, column, strict=True)) for column in self.quantiles.T.tolist())

    @classmethod
    def of(cls, statistics: NDArray[np.float32]) -> Domain:
        """Compute the quantiles of pictures' statistics (N, 5)."""
        return cls(np.quantile(statistics, QUANTILES, axis=0).T.astype(np.float32))


@dataclass(frozen=True)
class Complaint:
    """A flaw of a picture in one word, the measured value, and what to do."""

    word: str
    number: str
    remedy: str


def look(pixels: NDArray[np.uint8]) -> Look:
    """Measure one picture, uint8 (S, S, 3) with S ≥ 8.

    >>> stripes = np.zeros((64, 64, 3), np.uint8)
    >>> stripes[:, ::2] = 200
    >>> look(stripes).statistics.round().tolist()
    [200.0, 0.0, 200.0, 60.0, 0.0]
    """
    green = np.ascontiguousarray(pixels[:, :, 1])
    levels = np.cumsum(np.bincount(green.ravel(), minlength=256)) / green.size
    low, high = (int(np.searchsorted(levels, share)) for share in (0.02, 0.98))
    first, grain, rest = _haar(green.astype(np.float32))
    _, _, rest = _haar(rest)
    third, _, _ = _haar(rest) if min(rest.shape) > 1 else (first, grain, rest)
    noise = np.partition(grain, grain.size // 4)[grain.size // 4] / _GAUSS_25
    sharpness = 10 * np.log10((first + _TINY) / (third + _TINY))
    burnt = 1 - levels[_CLIPPED - 1]
    return Look(np.array([high, burnt, high - low, sharpness, noise], np.float32), thumbnail(pixels))


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a picture (S, S, 3) to (8, 8, 3): the means of 64 blocks."""
    edges = np.linspace(0, len(pixels), THUMB + 1).astype(np.intp)
    strips = np.stack([pixels[top:bottom].sum(axis=0, dtype=np.uint32) for top, bottom in pairwise(edges)])
    sums = np.add.reduceat(strips, edges[:-1], axis=1)
    sizes = np.diff(edges)
    return np.asarray(sums / (sizes[:, None] * sizes)[:, :, None]).round().astype(np.uint8)


def complaints(statistics: NDArray[np.float32], domain: Domain) -> list[Complaint]:
    """List the ways in which one picture differs from the domain.

    A dark or blurred picture also has little contrast; a flaw that another one explains is not listed.
    """
    brightness, burnt, contrast, sharpness, noise = (float(value) for value in statistics)
    low, usual, high = domain.levels
    found = []
    if sharpness < min(low["sharpness"], -10.2):
        decibels = f"fine detail at {sharpness:.1f} dB, usually {usual['sharpness']:.1f}"
        found.append(Complaint("blurred", decibels, "focus and clean the lens; hold the camera still"))
    if brightness < min(0.9 * low["brightness"], 0.47 * usual["brightness"]):
        share = f"{100 * (brightness + 1) / (usual['brightness'] + 1):.0f} % of the usual light"
        found.append(Complaint("too dark", share, "add light, or use a longer exposure"))
    elif burnt > max(high["burnt"] + 0.15, usual["burnt"] + 0.3):
        share = f"{100 * burnt:.0f} % of it overexposed, usually {100 * usual['burnt']:.0f} %"
        found.append(
            Complaint("too bright", share, "use a shorter exposure, or keep the sun and lamps out of the picture")
        )
    elif not found and contrast < min(0.85 * low["contrast"], 0.4 * usual["contrast"]):
        levels = f"{contrast:.0f} grey levels from dark to light, usually {usual['contrast']:.0f}"
        found.append(Complaint("low contrast", levels, "clean the lens, and check for fog, glare or a window in front"))
    if noise > max(1.3 * high["noise"], usual["noise"] + 12):
        grain = f"noise of {noise:.0f} grey levels, usually {usual['noise']:.0f}"
        found.append(Complaint("noisy", grain, "add light, so that the camera needs less gain"))
    return found


def summary(pictures: Sequence[Sequence[Complaint]], few: float = 0.0) -> list[str]:
    """Summarise the complaints about some pictures in lines, the most frequent word first.

    Args:
        pictures: the complaints about each.
        few: fraction of the pictures up to which a word is left out.
    """
    counts = Counter(complaint.word for found in pictures for complaint in found)
    lines = []
    for word, count in counts.most_common():
        if count <= few * len(pictures):
            continue
        named = [complaint for found in pictures for complaint in found if complaint.word == word]
        typical = named[len(named) // 2]
        verb = "is" if count == 1 else "are"
        where = "the picture is" if len(pictures) == 1 else f"{count} of {len(pictures)} pictures {verb}"
        number = typical.number if count == 1 else f"such as {typical.number}"
        lines.append(f"{where} {word} ({number}): {typical.remedy}")
    return lines


def _haar(image: Floats) -> tuple[float, Floats, Floats]:
    """Mean square of the horizontal and vertical details of 2 × 2 blocks; |diagonal details|, flat; blocks' means."""
    height, width = (side // 2 * 2 for side in image.shape)
    a, b = image[0:height:2, 0:width:2], image[0:height:2, 1:width:2]
    c, d = image[1:height:2, 0:width:2], image[1:height:2, 1:width:2]
    fall, rise = a - d, b - c  # (a−b+c−d)² + (a+b−c−d)² = 2 (a−d)² + 2 (b−c)²
    energy = float(np.vdot(fall, fall) + np.vdot(rise, rise)) / max(fall.size, 1) / 4
    tops, bottoms = a + d, b + c
    return energy, np.abs(tops - bottoms).ravel() / 2, (tops + bottoms) / 4
