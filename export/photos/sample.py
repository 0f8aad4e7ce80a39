"""A small set of real photos to try everything with, cropped from the photographs in the scikit-image package.

Three surfaces under a robot (brick, grass, gravel) to start with, and a fourth (old coins on dark cloth) to teach on
the device. Within each photograph, the frames of one purpose come from one vertical strip, and the strips do not touch,
so that no pixel used for training is ever in a test::

    photos/{brick,grass,gravel}/      40 frames each, columns   0–319 of 512   → edge-export build
    device/coins/                     12 frames,      columns   0–183 of 384   → edge teach
    test/{brick,grass,gravel,coins}/  20 frames each, columns 336–511, or 200–383 of the coins   → edge evaluate

A frame has 320 × 240 pixels, like those of a small camera. Frames differ in place, distance and exposure.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from edge.errors import DatasetError, RuntimeMissing
from edge.system.filename import stored

FRAME = (320, 240)  # pixels, width × height
_FIRST_LINE = "Sample photographs of edge-transfer"
_WIDTHS = (136, 168)  # pixels of the photograph that one frame covers: the camera's distance
_EXPOSURE = (0.85, 1.15)  # factor on the pixels

_SOURCE = """\
{first}: three surfaces and a fourth to teach on the device.

All are crops of photographs that the scikit-image wheel carries (skimage/data), resized to {width} x {height}, grey:

brick   a brick wall. CC0Textures, Bricks25, https://cc0textures.com/view.php?tex=Bricks25
        Creative Commons CC0 1.0 (public domain).
grass   a lawn. linolafett on DeviantArt, https://www.deviantart.com/linolafett/art/Grass-01-434853879
        Creative Commons CC0 1.0 (public domain).
gravel  loose stones. CC0Textures, Gravel04, https://cc0textures.com/view.php?tex=Gravel04
        Creative Commons CC0 1.0 (public domain).
coins   Greek coins from Pompeii. Brooklyn Museum Collection,
        https://www.brooklynmuseum.org/opencollection/archives/image/51611
        No known copyright restrictions.

Each statement is that of scikit-image's own documentation (skimage.data.brick, grass, gravel, coins).

photos/  for the workstation: edge-export build {folder}/photos -o surfaces.edge
device/  for the device:      edge teach coins {folder}/device/coins, then edge retrain
test/    for the truth:       edge evaluate {folder}/test

The frames of photos/ and device/ come from the left part of each photograph, those of test/ from the right part, with
a gap between; frames of one folder overlap each other. It is one wall, one lawn and one heap of stones: a high
accuracy here says that everything works, not how well other walls would be told apart.
"""


@dataclass(frozen=True)
class _Cut:
    """A number of frames from columns `left` to `right` of one photograph, for one folder."""

    photograph: str
    folder: str
    count: int
    left: int
    right: int


_SURFACES = ("brick", "grass", "gravel")
_CUTS = (
    *(_Cut(name, f"photos/{name}", 40, 0, 320) for name in _SURFACES),
    _Cut("coins", "device/coins", 12, 0, 184),
    *(_Cut(name, f"test/{name}", 20, 336, 512) for name in _SURFACES),
    _Cut("coins", "test/coins", 20, 200, 384),
)


def write_sample(folder: Path) -> dict[str, int]:
    """Write the sample photographs and SOURCE.txt; the same bytes every time.

    Args:
        folder: The folder to write. An older sample in it is replaced; a folder with other files is refused.

    Returns:
        Number of frames by folder below `folder`.

    Raises:
        DatasetError: The folder has other files, or cannot be written.
        RuntimeMissing: scikit-image is not installed.
    """
    _claim(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = _SOURCE.format(first=_FIRST_LINE, width=FRAME[0], height=FRAME[1], folder=stored(folder.name))
        (folder / "SOURCE.txt").write_text(text, encoding="utf-8")  # first: by it a sample that was cut off is known
        for number, cut in enumerate(_CUTS):
            target = folder / cut.folder
            target.mkdir(parents=True, exist_ok=True)
            with Image.open(_photograph(cut.photograph)) as opened:
                photograph = opened.convert("RGB")
            random = np.random.default_rng(number)
            for index in range(cut.count):
                frame = _frame(photograph, cut, random)
                frame.save(target / f"{cut.photograph}_{index:02d}.jpg", quality=90)
    except OSError as error:
        raise DatasetError(
            "output-unwritable",
            f"{error.filename or folder} cannot be written ({error.strerror}); choose another folder",
        ) from error
    return {cut.folder: cut.count for cut in _CUTS}


def _frame(photograph: Image.Image, cut: _Cut, random: np.random.Generator) -> Image.Image:
    """One frame, at a random place and width within the columns, with a random exposure."""
    width = random.uniform(*_WIDTHS)
    height = width * FRAME[1] / FRAME[0]
    left = random.uniform(cut.left, cut.right - width)
    top = random.uniform(0, photograph.height - height)
    # cropped first: a resize's filter reaches over the box's edge, and so into the other strip
    box = (int(np.ceil(left)), int(top), int(left + width), int(top + height))
    frame = photograph.crop(box).resize(FRAME, Image.Resampling.BICUBIC)
    return ImageEnhance.Brightness(frame).enhance(random.uniform(*_EXPOSURE))


def _photograph(name: str) -> Path:
    """The path of a photograph inside the installed scikit-image, without importing it (and scipy with it)."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise RuntimeMissing(
            "library-missing",
            "scikit-image, which carries the photographs, is not installed; run: pip install --no-deps scikit-image",
        )
    return Path(spec.origin).parent / "data" / f"{name}.png"


def _claim(folder: Path) -> None:
    """Refuse to overwrite anything but an older sample."""
    if folder.exists() and not folder.is_dir():
        raise DatasetError("output-exists", f"{folder} is a file; give a new folder for the sample")
    source = folder / "SOURCE.txt"
    if folder.is_dir() and any(folder.iterdir()):
        ours = source.is_file() and source.read_text(encoding="utf-8", errors="replace").startswith(_FIRST_LINE)
        if not ours:
            raise DatasetError("output-exists", f"{folder} is not empty; give a new folder for the sample")
