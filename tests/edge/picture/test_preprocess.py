"""Pictures: every kind a camera or the web produces, upright and in 8 bits; every broken one refused by name."""

import io
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.bundle.manifest import FITS
from edge.errors import ImageError
from edge.picture import preprocess
from edge.picture.preprocess import PADDING, decode, load, read
from edge.picture.region import Region
from tests.refused import refused


def scene(width: int = 320, height: int = 256) -> Image.Image:
    """A picture whose corners differ: red left, green top right, blue bottom right."""
    image = Image.new("RGB", (width, height), (200, 40, 40))
    image.paste((40, 200, 40), (width // 2, 0, width, height // 2))
    image.paste((40, 40, 200), (width // 2, height // 2, width, height))
    return image


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def seen(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return decode(data, "picture", 224, 256)


def close(a: Any, b: Any, levels: float = 6) -> bool:
    return bool(np.abs(a.astype(float) - b.astype(float)).mean() < levels)


EXPECTED = seen(encode(scene(), "PNG"))


def test_a_known_picture_gives_known_pixels() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(256, 0)).convert("RGB")
    pixels = seen(encode(ramp, "PNG"))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[0, [0, 1, 111, 112, 223], 0], [16, 17, 127, 128, 239])


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
    ],
)
def test_every_format_shows_the_same_picture(format: str, options: dict[str, Any]) -> None:
    assert close(seen(encode(scene(), format, **options)), EXPECTED)


def test_a_large_jpeg_decoded_small_shows_the_same_picture() -> None:
    large = scene().resize((2560, 2048))
    assert close(seen(encode(large, "JPEG", quality=95)), seen(encode(large, "PNG")), 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_taken_with_a_turned_camera_is_upright(orientation: int) -> None:
    turned = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],  # the camera stored it so; a viewer turns it back
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = scene()
    for step in turned[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert close(seen(encode(stored, "JPEG", quality=95, exif=exif)), EXPECTED)


def test_grey_palette_cmyk_and_transparent_pictures_become_rgb() -> None:
    grey = scene().convert("L")
    expected = seen(encode(grey.convert("RGB"), "PNG"))
    assert close(seen(encode(grey, "PNG")), expected)
    assert close(seen(encode(grey.convert("1"), "PNG")), seen(encode(grey.convert("1").convert("RGB"), "PNG")))
    assert close(seen(encode(scene().quantize(16), "PNG")), EXPECTED)
    assert close(seen(encode(scene().quantize(16), "GIF")), EXPECTED)
    assert close(seen(encode(scene().convert("CMYK"), "JPEG", quality=95)), EXPECTED, 25)
    clear = scene().convert("RGBA")
    clear.putalpha(0)
    assert (seen(encode(clear, "PNG")) == 255).all(), "what is transparent is seen on white"


def test_sixteen_bits_of_grey_keep_their_upper_eight() -> None:
    levels = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(256, 0)
    pixels = seen(encode(Image.fromarray(levels), "PNG"))
    assert close(pixels[0, :, 0], np.linspace(16, 239, 224), 2)


def test_of_an_animation_the_first_frame_is_seen() -> None:
    data = encode(scene(), "GIF", save_all=True, append_images=[Image.new("RGB", (320, 256))])
    assert close(seen(data), EXPECTED)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (16, 2000)])
def test_any_shape_of_picture_becomes_a_square(size: tuple[int, int], fit: str) -> None:
    assert decode(encode(Image.new("RGB", size, "red"), "PNG"), "red", 224, 256, fit=fit).shape == (224, 224, 3)


def flag(width: int, height: int) -> Image.Image:
    """Red, green, blue from left to right: a fifth, three fifths, a fifth."""
    image = Image.new("RGB", (width, height), "green")
    image.paste("red", (0, 0, width // 5, height))
    image.paste("blue", (width - width // 5, 0, width, height))
    return image


@pytest.mark.parametrize("shape", [(800, 200), (1600, 400), (200, 200), (200, 800)])
def test_all_of_a_picture_is_seen_padded_or_stretched_where_cropping_loses_it(shape: tuple[int, int]) -> None:
    data = encode(flag(*shape), "PNG")
    width, height = shape
    cropped, padded, stretched = (decode(data, "flag", 100, 100, fit=fit) for fit in FITS)
    across, down = 100 * width // max(shape), 100 * height // max(shape)
    left, top = (100 - across) // 2, (100 - down) // 2
    inner = padded[top : top + down, left : left + across]
    bars = padded.astype(int) - PADDING
    bars[top : top + down, left : left + across] = 0
    assert not bars.any(), "around the picture is padding, nothing else"
    for whole in (inner, stretched):
        assert tuple(whole[len(whole) // 2, 1]) == (255, 0, 0)
        assert tuple(whole[len(whole) // 2, whole.shape[1] // 2]) == (0, 128, 0)
        assert tuple(whole[len(whole) // 2, -2]) == (0, 0, 255)
    assert (cropped[..., 0] > 0).any() == (width <= height)
    if width == height:
        assert (padded == stretched).all()
        assert (padded == cropped).all()


def test_a_jpeg_is_decoded_small_and_turned_whatever_the_fit() -> None:
    upright = flag(1600, 1200)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    for fit in FITS:
        plain = decode(encode(upright, "JPEG", quality=95), "a", 224, 256, fit=fit)
        assert close(decode(encode(turned, "JPEG", quality=95, exif=exif), "b", 224, 256, fit=fit), plain, 6)


def test_a_region_is_cut_before_the_picture_is_fitted() -> None:
    left = Region.parse("0,0,0.2,1")
    for fit in ("pad", "stretch"):
        pixels = decode(encode(flag(800, 200), "PNG"), "flag", 64, 64, left, fit)
        assert tuple(pixels[32, 32]) == (255, 0, 0)
        assert not pixels[..., 2].any() or fit == "pad"


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"", "picture-unsupported", "empty"),
        (b"just some text\n" * 10, "picture-unsupported", "text file"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 40, "picture-damaged", "copy it again"),
        (encode(scene(), "JPEG")[:900], "picture-damaged", "copy it again"),
        (encode(scene(), "PNG")[:200], "picture-damaged", "copy it again"),
        (encode(Image.new("F", (64, 64)), "TIFF"), "picture-unsupported", "floating-point"),
    ],
)
def test_what_is_no_whole_picture_is_refused_by_name(data: bytes, code: str, says: str) -> None:
    with refused(code, ImageError, "yard.jpg", says):
        decode(data, "yard.jpg", 224, 256)


@pytest.mark.parametrize(("width", "says"), [(20_000, "89 million"), (9600, "89 million"), (8000, "64 million pixels")])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width: int, says: str) -> None:
    with refused("picture-too-large", ImageError, "bomb.png", says):
        decode(encode(Image.new("1", (width, width)), "PNG"), "bomb.png", 224, 256)


def test_files_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    with refused("picture-missing", ImageError, "does not exist"):
        load(tmp_path / "gone.jpg")
    with refused("picture-unreadable", ImageError, "file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with refused("picture-unreadable", ImageError, "file"):
        load(tmp_path / "pipe.jpg")
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(preprocess.MAX_BYTES + 1)
    with refused("picture-too-large", ImageError, "at most 100"):
        load(huge)
    os.truncate(huge, preprocess.MAX_BYTES)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + 30_000_000, before[1]))
    try:
        with refused("picture-too-large", ImageError, "huge.jpg", "memory"):
            load(huge)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


WHOLE = {kind: encode(scene(96, 80), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")}


@settings(max_examples=300)
@given(kind=st.sampled_from(sorted(WHOLE)), cut=st.floats(0, 1), flips=st.lists(st.integers(0, 10**6), max_size=8))
def test_damage_gives_a_picture_or_an_image_error_and_nothing_else(kind: str, cut: float, flips: list[int]) -> None:
    data = bytearray(WHOLE[kind][: int(len(WHOLE[kind]) * cut)])
    for flip in flips:
        if data:
            data[flip % len(data)] ^= 1 << flip % 8
    try:
        assert decode(bytes(data), "x", 32, 36).shape == (32, 32, 3)
    except ImageError as error:
        assert "\n" not in str(error)
