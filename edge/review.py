"""`review`: a person names the frames that `watch` saved because it was unsure, one key each.

A named frame is taught and moved to `labelled/LABEL/` beside the others: class folders, as `edge evaluate` and
`edge-export build` take them. Frames of one hour share a session, as they show nearly the same.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edge import preprocess
from edge.answers import Retrained
from edge.errors import ImageError, SourceError
from edge.learner import Learner
from edge.uncertain import saved

KEYS = "1234567890abcefghijklmoprtvwxyz"  # for labels; d, n, q, s and u are commands
LABELLED = "labelled"
HOUR = len("uncertain-20261124T16")


class Reviewed(NamedTuple):
    """What became of the saved frames; `retrained` is None if nothing was named, or fitting was not asked for."""

    labelled: int
    deleted: int
    left: int
    retrained: Retrained | None


class Naming(NamedTuple):
    """One frame's naming, to be taken back with `Review.undo`."""

    path: Path
    moved: Path
    examples: tuple[int, ...]


class Review:
    """The saved frames of a folder, gone through in their order.

    Args:
        learner: what is named is taught to it.
        folder: where `watch --save-uncertain` put them.

    Raises:
        SourceError: there is no such folder.
    """

    def __init__(self, learner: Learner, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceError(f"{folder} is no folder; name the one that edge watch --save-uncertain writes to")
        self.learner = learner
        self.folder = folder
        self._done: list[Naming] = []

    def waiting(self) -> list[Path]:
        """List the frames to go through, oldest first."""
        return saved(self.folder)

    def labels(self) -> list[str]:
        """List the labels that are known, by name: keys stay the same from frame to frame."""
        return sorted({*self.learner.serving().head.labels, *self.learner.store.labels().values()})

    def name(self, path: Path, label: str) -> None:
        """Teach a frame as an example of a label, and put its file aside.

        Raises:
            LabelError: the name is none.
            ImageError: the frame cannot be read; it stays.
        """
        taught = self.learner.teach(label, [path], session=path.name[:HOUR])
        if taught.unreadable:
            raise ImageError(taught.unreadable[0].reason)
        target = self.folder / LABELLED / taught.label / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        self._done.append(Naming(path, target, taught.examples))

    def undo(self) -> Path | None:
        """Take the last naming back; returns its frame, or None if there is none."""
        if not self._done:
            return None
        last = self._done.pop()
        if last.examples:
            with self.learner.store.transaction():
                self.learner.store.remove_examples(last.examples)
        last.moved.replace(last.path)
        return last.path

    @property
    def named(self) -> int:
        """How many frames were named, less those taken back."""
        return len(self._done)

    def picture(self, path: Path, columns: int) -> list[str]:
        """Draw what the network sees of a frame, as lines for a terminal of 24-bit colours: two pixels a character.

        Raises:
            ImageError: it cannot be read.
        """
        side = max(8, columns)
        pixels = preprocess.decode(preprocess.read(path), str(path), side, side, self.learner.region)
        return blocks(pixels)


def blocks(pixels: preprocess.Pixels) -> list[str]:
    """Draw pixels (H, W, 3) with the upper half block: its colour is one pixel, its background the one below.

    >>> import numpy
    >>> blocks(numpy.zeros((2, 1, 3), "u1"))[0].encode("unicode_escape")
    b'\\\\x1b[38;2;0;0;0m\\\\x1b[48;2;0;0;0m\\\\u2580\\\\x1b[0m'
    """
    rows = pixels[: len(pixels) // 2 * 2].reshape(-1, 2, pixels.shape[1], 3)
    lines = []
    for upper, lower in rows.tolist():
        cells = [
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]}m\x1b[48;2;{b[0]};{b[1]};{b[2]}m▀"
            for a, b in zip(upper, lower, strict=True)
        ]
        lines.append("".join(cells) + "\x1b[0m")
    return lines


def keys(labels: Sequence[str]) -> dict[str, str]:
    """Give each label a key, as long as there are keys.

    >>> keys(["closed", "open"])
    {'1': 'closed', '2': 'open'}
    """
    return dict(zip(KEYS, labels, strict=False))
