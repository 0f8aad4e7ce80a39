"""`review`: a person labels the frames that `watch` saved because they were uncertain, with one key each.

A labelled frame is moved to `labelled/LABEL/` (one folder per label, as `edge evaluate` and `edge-export build` accept)
and taught from there, with the same `teach`, `relabel` and `forget` as the commands. Frames of one hour share a
session, because they show nearly the same.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edge.answers import Retrained
from edge.errors import ImageError, SourceError, disk_errors_as
from edge.home.examples import Example
from edge.labels import clean
from edge.learner import Learner
from edge.picture import preprocess
from edge.picture.find import burst, saved

KEYS = "1234567890abcefghijklmoprtvwxyz"  # for labels; d, n, q, s and u are commands
LABELLED = "labelled"


class Reviewed(NamedTuple):
    """What became of the saved frames; `retrained` is None if nothing changed or no training was wanted."""

    labelled: int  # frames that are examples of the label they were given
    deleted: int
    left: int
    retrained: Retrained | None
    relabelled: int  # of those labelled: that had been taught under another label before
    known: int  # of those labelled: that had been taught under the same label before


class Naming(NamedTuple):
    """One labelled frame, which `Review.undo` can undo."""

    path: Path
    moved: Path
    taught: int | None  # a new example
    relabelled: Example | None  # an example as it was before


class Review:
    """Goes through the saved frames of a folder in order.

    Args:
        folder: the folder given to `watch --save-uncertain`.

    Raises:
        SourceError: the folder is missing or cannot be written, so that no frame could be moved.
    """

    def __init__(self, learner: Learner, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceError(
                "frames-missing", f"{folder} is not a folder; give the one used with edge watch --save-uncertain"
            )
        self.learner = learner
        self.folder = folder
        self._done: list[Naming] = []
        if self.waiting():
            _try_to_write(folder)

    def waiting(self) -> list[Path]:
        """List the frames that are left, oldest first."""
        return saved(self.folder)

    def name(self, path: Path, label: str, session: str | None = None) -> tuple[str, ...]:
        """Move a frame's file and teach it as an example of a label; returns messages for people.

        A frame that was taught before gets the new label. If anything fails, the file is moved back.

        Args:
            path: one of `waiting`.
            session: the session; None for that of the frame's hour.

        Raises:
            LabelError: the name is not a valid label.
            ImageError: the frame cannot be read; it stays.
            SourceError: its file cannot be moved; nothing is taught.
        """
        label = clean(label)
        target = _move(path, self.folder / LABELLED / label / path.name)
        try:
            naming, said = self._teach(path, target, label, session)
        except BaseException:
            _move(target, path)
            raise
        self._done.append(naming)
        return said

    def _teach(self, path: Path, target: Path, label: str, session: str | None) -> tuple[Naming, tuple[str, ...]]:
        taught = self.learner.teach_each(label, [target], session=session or burst(path.name))
        if taught.unreadable:
            raise ImageError("picture-damaged", taught.unreadable[0].reason)
        if taught.examples:
            return Naming(path, target, taught.examples[0], None), taught.complaints
        (before,) = self.learner.find_examples([str(target)])
        if before.label == label:
            return Naming(path, target, None, None), (f"it was already taught as '{label}'",)
        self.learner.relabel(before.id, label)
        return Naming(path, target, None, before), (f"it was taught as '{before.label}' before and is '{label}' now",)

    @property
    def last(self) -> Naming | None:
        """The last labelled frame that was not undone."""
        return self._done[-1] if self._done else None

    def undo(self) -> Path | None:
        """Undo the last label; returns its frame, or None if there is nothing to undo.

        Raises:
            LabelError: the example was forgotten by another program meanwhile; the frame stays where it is.
            NotEnough: without it there would be fewer than two labels.
            SourceError: the frame cannot be moved back.
        """
        if not self._done:
            return None
        last = self._done[-1]
        back = take_back(self.learner, last)
        self._done.pop()
        return back

    def result(self, deleted: int, retrained: Retrained | None) -> Reviewed:
        """The result; `deleted` frames were deleted."""
        relabelled = sum(naming.relabelled is not None for naming in self._done)
        known = len(self._done) - relabelled - sum(naming.taught is not None for naming in self._done)
        return Reviewed(len(self._done), deleted, len(self.waiting()), retrained, relabelled, known)

    @property
    def changed(self) -> bool:
        """Whether anything was taught or relabelled and not undone."""
        return any(naming.taught is not None or naming.relabelled is not None for naming in self._done)

    def picture(self, path: Path, columns: int) -> list[str]:
        """Draw a frame as the network sees it, as lines for a terminal with 24-bit colours, two pixels per character.

        Raises:
            ImageError: the frame cannot be read.
        """
        side = max(8, columns)
        region, fit = self.learner.region, self.learner.info.fit
        pixels = preprocess.decode(preprocess.read(path), str(path), side, side, region, fit)
        return blocks(pixels)


def take_back(learner: Learner, naming: Naming) -> Path:
    """Undo one labelled frame; returns the frame, in its old place.

    Raises:
        LabelError, NotEnough, SourceError: as `Review.undo`.
    """
    if naming.taught is not None:
        learner.forget([str(naming.taught)])
    if naming.relabelled is not None:
        learner.relabel([str(naming.relabelled.id)], naming.relabelled.label)
    return _move(naming.moved, naming.path)


def _try_to_write(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SourceError(
            "frames-unwritable",
            f"{folder} cannot be written ({error.strerror}), but labelled frames must be moved within it; make it "
            "writable, or use edge teach LABEL PICTURES",
        ) from error


def _move(path: Path, target: Path) -> Path:
    """Move a file to a name that is not taken; returns the new path.

    Raises:
        SourceError: the disk refuses.
    """
    immovable = f"{path} cannot be moved to {target}"
    with disk_errors_as(SourceError, "frames-unwritable", immovable, "it was not changed"):
        target.parent.mkdir(parents=True, exist_ok=True)
        while target.exists():  # another's, and it stays
            target = target.with_stem(target.stem + "0")
        return path.rename(target)


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
