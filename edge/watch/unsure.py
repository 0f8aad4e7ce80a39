"""Frames worth a label: those whose answer is unknown or unsure, kept as files under a budget of bytes.

Only files that are named exactly as here are counted or removed; of frames that are nearly the same, one is kept. When
the budget is full, the oldest go, but not before the new one is kept.
"""

import io
import re
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from edge.errors import SourceError
from edge.files import replacing
from edge.picture.find import saved
from edge.picture.frame import Frame
from edge.picture.region import Region
from edge.picture.same import Alike
from edge.watch.loop import Seen

_OURS = re.compile(r"uncertain-[0-9]{8}T[0-9]{6}\.[0-9]{6}0*\.(jpg|png)")
MEMORY = 50  # saved frames that a new one is compared with
QUALITY = 95  # of JPEG, for frames that came as raw pixels


class Uncertain:
    """The folder of saved frames.

    Args:
        folder: where; created if it does not exist.
        budget: bytes that the saved frames may take.
        below: an answer less probable than this is unsure.
        region: the part of the frames that is looked at; None: the whole. Saved they are intact.
        fit: how they are made square for the network: `edge.picture.preprocess`.

    Raises:
        SourceError: the folder cannot be written.
    """

    def __init__(self, folder: Path, budget: int, below: float, region: Region | None, fit: str = "crop") -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(
                "frames-unwritable", f"{folder} cannot be created ({error.strerror}); choose another folder"
            ) from error
        self._folder = folder
        self._budget = budget
        self._below = below
        self._alike = Alike(region, MEMORY, fit)
        self.too_large = 0  # frames that were not kept, as one alone takes more than the budget

    def save(self, frame: Frame, seen: Seen) -> Path | None:
        """Keep a frame if its answer is unsure and it is like no other kept lately; return its file.

        Raises:
            ImageError: the frame cannot be decoded.
            SourceError: it alone is larger than the budget; said of the first such frame only.
            OSError: the disk refuses; what was kept before stays.
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
                f"{self._budget / 1e6:.2g} MB; "
                "such frames are not saved; give a larger --budget",
            )
        with replacing(path) as partial:
            partial.write_bytes(data)
        self._make_room(path, len(data))
        return path

    def _make_room(self, new: Path, size: int) -> None:
        """Delete the oldest frames until all fit with the new one, which is the oldest itself if the clock was set."""
        others = [path for path in saved(self._folder) if path != new and _OURS.fullmatch(path.name)]
        kept = [(path, path.stat().st_size) for path in others]
        used = size + sum(length for _, length in kept)
        for path, length in kept:
            if used <= self._budget:
                break
            path.unlink(missing_ok=True)
            used -= length


def _file(frame: Frame) -> tuple[bytes, str]:
    """A frame as the file to keep, and its ending: as it came, unless it came as raw pixels."""
    for start, suffix in ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png")):
        if frame.data.startswith(start):
            return frame.data, suffix
    packed = io.BytesIO()
    Image.open(io.BytesIO(frame.data)).convert("RGB").save(packed, "JPEG", quality=QUALITY)
    return packed.getvalue(), ".jpg"
