"""Decode a picture of any kind to upright 8-bit RGB, in the memory that a board of 512 MB can spare."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
from PIL import Image

from edge.errors import ImageError
from edge.picture import metadata
from edge.picture.metadata import Bare
from edge.system.quiet import quiet

MAX_DECLARED = 89_000_000  # about where Pillow warns of a decompression bomb
MAX_PIXELS = 40_000_000  # decoded at once
MAX_MEMORY = 200_000_000  # bytes that one picture may take while it is decoded, of a board of 512 MB
MAX_LENGTH = 65_535  # pixels a side; Pillow keeps 16 bytes for each row beside its pixels
_TURNS = dict(enumerate((
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
), 2))  # fmt: skip
_DEPTHS = (8, 10, 12, 14, 16, 24)  # bits of a grey value
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 3, "I;16B": 3, "I;16L": 3, "I;16N": 3}  # a pixel in memory; else 4
# Bytes a pixel that the decoder holds for itself, measured; HEIF's lets a phone's 24 million pixels through.
_OVERHEAD = {"WEBP": 11, "TIFF": 4, "GIF": 4, "AVIF": 5, "HEIF": 3.8, "JPEG2000": 15.5}
_PROGRESSIVE = 2  # bytes a pixel and channel: such a JPEG is held whole, at whatever scale it is asked for
_STRIP = 1_000_000  # pixels converted at once
_LARGE = 40_000_000  # bytes; of pictures that take more, one is decoded at a time, however many threads there are
_large = threading.Lock()


def decoded(image: Image.Image, bare: Bare, name: str, short_side: int) -> Image.Image:
    """Decode to upright 8-bit RGB; a picture that would take too much memory is refused."""
    declared = image.width * image.height
    if declared > MAX_DECLARED or max(image.size) > MAX_LENGTH:
        raise ImageError(
            "picture-too-large",
            f"{name} claims {image.width} × {image.height} pixels, but at most {MAX_DECLARED / 1e6:.0f} million and "
            f"{MAX_LENGTH} per side are allowed; make it smaller",
            "too-large",
        )
    with ExitStack() as stack:
        image.draft("RGB", (short_side, short_side))  # JPEG alone: decode at 1/2, 1/4 or 1/8 of the size
        turn = _TURNS.get(metadata.orientation(image.info.get("exif") or b"") or bare.orientation)
        cost = 2 * len(bare.data) + _cost(image, declared, turn is not None)
        if image.width * image.height > MAX_PIXELS or cost > MAX_MEMORY:
            raise ImageError(
                "picture-too-large",
                f"{name} has {declared / 1e6:.0f} million pixels, which take {cost / 1e6:.0f} MB to decode as "
                f"{image.format} {image.mode}, but at most {MAX_MEMORY / 1e6:.0f} are allowed; make it smaller",
                "too-large",
            )
        if cost > _LARGE:
            stack.enter_context(_large)
        if image.mode == "F":
            raise ImageError(
                "picture-unsupported",
                f"{name} contains floating-point pixels of unknown range; save it as an ordinary 8-bit picture",
                "format",
            )
        if image.format == "TIFF":  # whose library tells the terminal of each fault
            stack.enter_context(quiet())
        image.load()
        if image.mode.startswith("I"):
            bits = _bits(image, bare.bits)
            image = _by_strips(image, "L", lambda strip: _upper_bits(strip, bits))
        if turn is not None:
            image = image.transpose(turn)
        if image.has_transparency_data:  # seen on white, as viewers show it; the hidden colours are arbitrary
            return _by_strips(image, "RGB", _on_white)
        return image if image.mode == "RGB" else image.convert("RGB")


def _cost(image: Image.Image, declared: int, turned: bool) -> int:
    """The peak memory of decoding in bytes: the decoder, the picture, a turned copy, and a copy in RGB."""
    pixels = image.width * image.height
    each = _BYTES.get(image.mode, 4) * (1 + turned) + 4 * (image.mode != "RGB") + _OVERHEAD.get(image.format or "", 0)
    held: int = _PROGRESSIVE * len(image.getbands()) * declared if image.info.get("progressive") else 0
    return int(pixels * each + held)


def _by_strips(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert a picture to a mode a few rows at a time, so that no intermediate picture is complete in memory."""
    result = Image.new(mode, image.size)
    for top, strip in _strips(image):
        result.paste(convert(strip), (0, top))
    return result


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _bits(image: Image.Image, told: int) -> int:
    """The number of significant bits in the values of a grey picture that is stored with 16 bits or more.

    Cameras with 10, 12 or 14 bits store their values unchanged; unless the file says so, the largest value decides.
    """
    most = max(0, *(int(np.asarray(strip).max()) for _, strip in _strips(image)))
    return next((bits for bits in (told, *_DEPTHS) if bits and most >> bits == 0), 32)


def _upper_bits(strip: Image.Image, bits: int) -> Image.Image:
    """Keep the upper 8 bits of deep grey values, which convert() would clip."""
    return Image.fromarray(np.clip((np.asarray(strip).astype(np.int64) << 8) >> bits, 0, 255).astype(np.uint8))


def _on_white(strip: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip.convert("RGBA")).convert("RGB")
