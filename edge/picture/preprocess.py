"""Image file → uint8 pixels (H, W, 3): the only implementation, used on the device and for training.

The steps: read the file (with a size limit), decode the first frame (JPEG at the smallest scale that is large enough),
turn it upright by its EXIF orientation, convert it to 8-bit RGB, then make it square in one antialiased bilinear pass,
in one of three ways (the bundle's `fit`):

- `crop`: the centre square, whose side is `size / short_side` of the short side (224 and 256: the usual 7/8).
- `pad`: the whole picture, as large as fits, with bars of a uniform colour at its sides.
- `stretch`: the whole picture, with width and height resized separately.

Every problem with a file becomes an `ImageError` that names the file, because pictures come from cameras that lose
power, from the web, and from strangers.
"""

import io
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from edge.errors import ImageError
from edge.picture import metadata
from edge.picture.kinds import CALLED, HEAD, RAW, Kind, kind
from edge.picture.metadata import Bare
from edge.picture.pixels import MAX_DECLARED, MAX_LENGTH, decoded
from edge.picture.region import Region

Pixels = NDArray[np.uint8]

PADDING = (124, 116, 104)  # of the bars: the mean colour of ImageNet's photos, which is nothing to most networks
CROP_BYTES = 32_000  # of a kept crop
MAX_BYTES = 100_000_000  # of one file
# Only formats that cameras and the web produce; Pillow's other plugins (EPS, FITS, …) are left asleep. A file's first
# bytes say which one it is, and that plugin alone is asked.
_PLUGINS = {
    "PNG": "Png", "BMP": "Bmp", "GIF": "Gif", "PPM": "Ppm", "WEBP": "WebP", "TIFF": "Tiff", "AVIF": "Avif",
    "JPEG2000": "Jpeg2K",
}  # fmt: skip
_LIBRARIES = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}  # that Pillow may have been built without


def load(path: Path | str, size: int = 224, short_side: int = 256, fit: str = "crop") -> Pixels:
    """Read one picture file as network input.

    Args:
        size: side of the returned square, in pixels.
        short_side: length to which the short side is resized before the centre square is cropped; ≥ `size`.
        fit: `crop`, `pad` or `stretch`, see above.

    Returns:
        uint8 (size, size, 3), RGB, 0–255.

    Raises:
        ImageError: the file is missing, not a picture, damaged, or too large; the message names it.
    """
    return decode(read(path), str(path), size, short_side, fit=fit)


def read(path: Path | str) -> bytes:
    """Read a picture file's bytes; refuses files that are not regular (a pipe would block) or larger than `MAX_BYTES`.

    Raises:
        ImageError: the file cannot be read; the message names it.
    """
    path = Path(path)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ImageError(
                "picture-unreadable",
                f"{path} is not an ordinary file; give a picture or a folder of pictures",
                "not-a-file",
            )
        if about.st_size > MAX_BYTES:
            raise _too_large(path, about.st_size)
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            target = path.readlink()
            raise ImageError(
                "picture-missing", f"{path} is a link to {target}, which does not exist", "broken-link"
            ) from None
        raise ImageError("picture-missing", f"{path} does not exist; check the path", "unreadable") from None
    except MemoryError:
        raise _beyond_memory(path) from None
    except OSError as error:
        raise ImageError(
            "picture-unreadable",
            f"{path} cannot be read ({error.strerror or error}); check its permissions",
            "unreadable",
        ) from error


def decode(
    data: bytes, name: str, size: int, short_side: int, region: Region | None = None, fit: str = "crop"
) -> Pixels:
    """Decode a picture's bytes as network input; `name` is only for the error's text.

    The upright picture is cropped to `region` first, if there is one. Args, Returns, Raises: as in `load`.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (640, 480), 200).save(file, "PNG")
    >>> decode(file.getvalue(), "grey.png", size=224, short_side=256)[0, 0]
    array([200, 200, 200], dtype=uint8)
    """
    with _opened(data, name) as image:
        if region is None:
            return square(image.upright(short_side), size, short_side, fit)
        side = math.ceil(short_side / min(region.width, region.height))  # which may lie on its side as yet
        upright = image.upright(side)
        return square(upright.crop(region.box(*upright.size)), size, short_side, fit)


def preview(data: bytes, name: str, side: int) -> bytes:
    """Return a whole picture, upright, as a small JPEG for people to look at.

    Args:
        data: the bytes of any file that `decode` reads.
        side: the longest side allowed, in pixels.

    Raises:
        ImageError: as in `decode`.
    """
    with _opened(data, name) as image:
        upright = image.upright(side)
        upright.thumbnail((side, side), Image.Resampling.BILINEAR)
        return as_jpeg(upright, 80)


def whole(data: bytes, name: str) -> Image.Image:
    """Decode all of a picture's bytes, upright and 8-bit RGB; `name` is only for the error's text.

    Raises:
        ImageError: as `load`.
    """
    with _opened(data, name) as opened:
        return opened.upright(MAX_LENGTH)


def upright(image: Image.Image, name: str) -> Image.Image:
    """Convert a picture opened by Pillow to upright 8-bit RGB; `name` is used in error messages.

    Raises:
        ImageError: the picture is damaged, too large, or has values without a defined range.
    """
    with _explained(name):
        return decoded(image.copy(), Bare(b""), name, max(image.size))


@dataclass(frozen=True)
class _Opened:
    """A picture whose header has been read."""

    image: Image.Image
    bare: Bare
    name: str

    def upright(self, short_side: int) -> Image.Image:
        return decoded(self.image, self.bare, self.name, short_side)


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[_Opened]:
    """Open a picture, and turn every error inside into an `ImageError` that names it."""
    what = kind(data[:HEAD])
    with _explained(name):
        bare = metadata.bare(data, what.format)
        with _open(bare, what) as image:
            yield _Opened(image, bare, name)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Describe an error of decoding in one line."""
    try:
        yield
    except ImageError:
        raise
    except _NotHere as error:
        raise ImageError(
            "picture-unsupported", f"{name} is {error.kind.words}; {error.kind.advice}", _reason(error.kind, name)
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(
            "picture-too-large",
            f"{name} claims more than {MAX_DECLARED / 1e6:.0f} million pixels; make it smaller",
            "too-large",
        ) from None
    except MemoryError:
        raise _beyond_memory(name) from None
    except Exception as error:  # Pillow's decoders raise nearly every builtin on damaged data
        said = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # that one names an object in memory
        raise ImageError(
            "picture-damaged", f"{name} is damaged or incomplete{said}; copy it again from the camera or card"
        ) from error


def square(image: Image.Image, size: int, short_side: int, fit: str = "crop") -> Pixels:
    """Make an upright RGB picture of any size square for a network: the last step of `load`.

    Args:
        size, short_side, fit: as in `load`.

    Returns:
        uint8 (size, size, 3).
    """
    width, height = image.size
    if fit == "stretch":
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    if fit == "pad":
        across, down = (max(1, round(size * side / max(width, height))) for side in (width, height))
        canvas = Image.new("RGB", (size, size), PADDING)
        inner = image.resize((across, down), Image.Resampling.BILINEAR)
        canvas.paste(inner, ((size - across) // 2, (size - down) // 2))
        return np.asarray(canvas)
    side = min(width, height) * size / short_side
    left, top = (width - side) // 2, (height - side) // 2  # whole pixels: half of one would blur a picture not resized
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def jpeg(pixels: Pixels) -> bytes:
    """Pack network input as a JPEG of at most `CROP_BYTES`, with the best quality that fits, from 90 down.

    >>> len(jpeg(np.zeros((224, 224, 3), np.uint8))) < 2000
    True
    """
    data = b""
    for quality in (90, 80, 65, 50, 30, 10):
        data = as_jpeg(Image.fromarray(pixels), quality)
        if len(data) <= CROP_BYTES:
            break
    return data


def as_jpeg(image: Image.Image, quality: int) -> bytes:
    """Return a picture as the bytes of a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


class _NotHere(Exception):
    """The file cannot be opened here."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind


def _open(bare: Bare, what: Kind) -> Image.Image:
    """Open a picture from memory with its own plugin, without the 10 ms that Pillow takes to import all the others."""
    if bare.thumbnail:
        raise _NotHere(RAW)
    file = io.BytesIO(bare.data)
    if what.format == "JPEG":
        from PIL.JpegImagePlugin import jpeg_factory

        return jpeg_factory(file)
    if what.format == "HEIF":
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            raise _NotHere(what) from None
        image: Image.Image = HeifImageFile(file)  # type: ignore[no-untyped-call]
        return image
    if what.format not in _PLUGINS:
        raise _NotHere(what)
    try:
        import_module(f"PIL.{_PLUGINS[what.format]}ImagePlugin")
    except ImportError:  # this Pillow is older than that format
        raise _NotHere(what) from None
    if what.format in _LIBRARIES and not features.check(_LIBRARIES[what.format]):
        raise _NotHere(what)
    return Image.open(file, formats=(what.format,))


def _reason(what: Kind, name: str) -> str:
    """The reason under which a file that cannot be opened is counted."""
    if what.reason in ("heic", "avif", "jpeg-2000", "raw", "format", "empty", "damaged"):
        return what.reason
    return "misnamed" if Path(name).suffix.lower() in CALLED else what.reason


def _beyond_memory(name: Path | str) -> ImageError:
    return ImageError("picture-too-large", f"{name} does not fit in memory; make it smaller", "too-large")


def _too_large(path: Path, size: int) -> ImageError:
    with path.open("rb") as file:
        what = kind(file.read(HEAD))
    if not what.is_picture:
        return ImageError("picture-unsupported", f"{path} is {what.words}; {what.advice}", _reason(what, str(path)))
    limit = f"{size / 1e6:.0f} MB, but at most {MAX_BYTES / 1e6:.0f} are read"
    return ImageError("picture-too-large", f"{path} has {limit}; make it smaller", "too-large")
