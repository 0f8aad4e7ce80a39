"""Save frames whose answer is unknown or uncertain, within a limit of bytes.

Only files with exactly the names given here are counted or deleted. Of nearly identical frames one is saved. If the
limit is reached, the oldest are deleted, but only after the new one is saved.
"""

import io
import re
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from edge.answers import Seen
from edge.errors import SourceError, disk_errors_as
from edge.files import replacing
from edge.picture.find import saved
from edge.picture.frame import Frame
from edge.picture.preprocess import as_jpeg
from edge.picture.region import Region
from edge.picture.same import Alike

_OURS = re.compile(r"uncertain-[0-9]{8}T[0-9]{6}\.[0-9]{6}0*\.(jpg|png)")
MEMORY = 50  # saved frames that a new one is compared with
QUALITY = 95  # of JPEG, for frames that came as raw pixels


class Uncertain:
    """The folder of saved frames.

    Args:
        folder: the folder; it is created if it does not exist.
        budget: the most bytes that the saved frames may take.
        below: frames whose probability is below this are uncertain.
        region: the region by which frames are compared; None for the whole. Frames are saved whole.
        fit: how frames are made square for the network, as in `edge.picture.preprocess`.

    Raises:
        SourceError: the folder cannot be written.
    """

    def __init__(self, folder: Path, budget: int, below: float, region: Region | None, fit: str = "crop") -> None:
        with disk_errors_as(SourceError, "frames-unwritable", f"{folder} cannot be created", "choose another folder"):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._budget = budget
        self._below = below
        self._alike = Alike(region, MEMORY, fit)
        self.too_large = 0  # frames that were not kept, as one alone takes more than the budget

    def save(self, frame: Frame, seen: Seen) -> Path | None:
        """Save a frame if its answer is uncertain and no similar frame was saved recently; returns its file.

        Raises:
            ImageError: the frame cannot be decoded.
            SourceError: the frame alone is larger than the budget; raised for the first such frame only.
            OSError: the disk refuses; earlier frames are kept.
        """
        if not seen.unknown and seen.probability >= self._below:
            return None
        if not self._alike.new(frame):
            return None
        data, suffix = _file(frame)
        stamp = datetime.fromtimestamp(frame.time, UTC).strftime("%Y%m%dT%H%M%S.%f")
        path = self._folder / f"uncertain-{stamp}{suffix}"
        while path.exists():  # of pictures copied at once
            if path.read_bytes() == data:  # saved already, by a run that was killed before it could say so
                return None
            path = path.with_stem(path.stem + "0")
        if len(data) > self._budget:
            self.too_large += 1
            if self.too_large > 1:
                return None
            raise SourceError(
                "frame-over-budget",
                f"a frame takes {len(data) / 1e6:.2g} MB, but all saved frames together may take only "
                f"{self._budget / 1e6:.2g} MB; such frames are not saved; give a larger --budget",
            )
        with replacing(path) as partial:
            partial.write_bytes(data)
        self._make_room(path, len(data))
        return path

    def _make_room(self, new: Path, size: int) -> None:
        """Delete the oldest frames until the rest fit; after a clock change, the new one may be the oldest."""
        others = [path for path in saved(self._folder) if path != new and _OURS.fullmatch(path.name)]
        kept = [(path, path.stat().st_size) for path in others]
        used = size + sum(length for _, length in kept)
        for path, length in kept:
            if used <= self._budget:
                break
            path.unlink(missing_ok=True)
            used -= length


def _file(frame: Frame) -> tuple[bytes, str]:
    """The frame as file contents, and its suffix: unchanged, unless it came as raw pixels."""
    for start, suffix in ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png")):
        if frame.data.startswith(start):
            return frame.data, suffix
    return as_jpeg(Image.open(io.BytesIO(frame.data)).convert("RGB"), QUALITY), ".jpg"
