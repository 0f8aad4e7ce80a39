"""Find photos of a single colour, and photos that look different from the rest, before a network learns from them.

A photo of a single colour (a lens cap, a camera that has not adapted yet, a white drawing on a transparent background)
is recognised by its thumbnail and contrast. The others are compared with the photos of their label, with the margins
that devices use for their pictures (edge/unknown/domain.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge.unknown.domain import ENOUGH, STATISTICS, Complaint, Domain, Look, complaints

SHOWN = 5  # photos named
_EVEN, _CONTRAST = 8, 12  # grey levels between the thumbnail's cells, and between the pixels, of a blank picture
_SHARPNESS, _SOFT = STATISTICS.index("sharpness"), 4.0  # dB below the usual of its label
_BLACK, _WHITE = 32, 235  # mean grey level
_MIDDLE = (0.25, 0.5, 0.75)  # quantiles that a cluster of odd photos does not reach; people's margins do the rest
_FEWEST, _FEW = 3, 0.04  # photos, and share of all, from which a word that compares is worth a line
_BLANK = "move photos that show nothing elsewhere; a transparent background may have hidden a drawing"


class Odd(NamedTuple):
    """Photos with the same flaw, in one word, and what to do about it."""

    word: str
    advice: str
    paths: tuple[Path, ...]

    def line(self, total: int) -> str:
        """Describe the flaw in one line; `total` is the number of all photos."""
        names = ", ".join(path.name for path in self.paths[:SHOWN])
        more = f" and {len(self.paths) - SHOWN} more" if len(self.paths) > SHOWN else ""
        are = "is" if len(self.paths) == 1 else "are"
        return f"{len(self.paths)} of {total} photos {are} {self.word} ({names}{more}); {self.advice}"


def blank(look: Look) -> str:
    """The word for a picture of a single colour, such as "black"; "" for any other picture."""
    thumb = look.thumb.reshape(-1, 3).astype(np.int64)
    contrast = float(look.statistics[STATISTICS.index("contrast")])
    if (thumb.max(axis=0) - thumb.min(axis=0)).max() > _EVEN or contrast > _CONTRAST:
        return ""
    level = float(thumb.mean())
    return "all black" if level <= _BLACK else "all white" if level >= _WHITE else "of one colour"


def domain_of(looks: Sequence[Look]) -> Domain:
    """The usual look of the photos, without those of a single colour unless there are no others."""
    shown = [look for look in looks if not blank(look)] or list(looks)
    return Domain.of(np.stack([look.statistics for look in shown]))


def odd_photos(paths: Sequence[Path], looks: Sequence[Look], names: Sequence[str]) -> tuple[Odd, ...]:
    """List the photos that look odd, by flaw, the most frequent first.

    Args:
        paths: N files.
        looks: N measurements of them.
        names: N labels; photos are compared with those of their own label.
    """
    found: dict[str, list[Path]] = {}
    advice: dict[str, str] = {}
    words = [blank(look) for look in looks]
    usual: dict[str, Domain] = {}
    for name in sorted(set(names)):
        rows = [
            look.statistics for look, word, own in zip(looks, words, names, strict=True) if own == name and not word
        ]
        if len(rows) >= ENOUGH:
            usual[name] = Domain(np.quantile(np.stack(rows), _MIDDLE, axis=0).T.astype(np.float32))
    for path, look, word, name in zip(paths, looks, words, names, strict=True):
        if word:
            wrong = [Complaint(word, "", _BLANK)]
        else:
            wrong = complaints(look.statistics, usual[name]) if name in usual else []
        for complaint in wrong:
            if (
                complaint.word == "blurred"
                and look.statistics[_SHARPNESS] > usual[name].quantiles[_SHARPNESS, 1] - _SOFT
            ):
                continue  # surfaces and hands have little fine detail
            found.setdefault(complaint.word, []).append(path)
            advice[complaint.word] = complaint.remedy
    told = [word for word in found if word in words or len(found[word]) >= max(_FEWEST, _FEW * len(paths))]
    order = sorted(told, key=lambda word: (-len(found[word]), word))
    return tuple(Odd(word, advice[word], tuple(found[word])) for word in order)
