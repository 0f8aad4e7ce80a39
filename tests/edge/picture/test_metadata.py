"""Metadata never decides whether a picture can be read: any of it gives the pixels, on any Pillow."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from edge.picture.metadata import bare, orientation
from edge.picture.preprocess import decode
from tests.edge.kinds import encoded

WIDE = Image.new("RGB", (96, 64), (200, 40, 40))
WIDE.paste((40, 200, 40), (48, 0, 96, 32))
WIDE.paste((40, 40, 200), (48, 32, 96, 64))
TURNED = WIDE.transpose(Image.Transpose.ROTATE_270)  # what orientation 6 means
Entry = tuple[int, int, int, bytes]
SIX: Entry = (0x0112, 3, 1, b"\6\0\0\0")


def exif(*entries: Entry) -> bytes:
    """EXIF data of these entries, which are sorted, before some bytes to point at."""
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    return head + body + bytes(4) + bytes(range(64))


ODD: dict[str, Entry] = {
    "resolution as text": (282, 2, 4, b"abc\0"),
    "resolution of zero": (282, 5, 1, struct.pack("<I", 26)),
    "resolution undefined": (282, 7, 4, b"abcd"),
    "resolution not a number": (282, 11, 1, struct.pack("<f", float("nan"))),
    "resolution far away": (282, 5, 1, struct.pack("<I", 0x7FFFFFFF)),
    "inner directory as text": (34665, 2, 4, b"abcd"),
    "inner directory far away": (34665, 4, 1, struct.pack("<I", 0xFFFFFF)),
    "inner directory is itself": (34665, 4, 1, struct.pack("<I", 8)),
    "places in itself": (34853, 4, 1, struct.pack("<I", 8)),
    "a text of 4 GB": (271, 2, 0xFFFFFFF0, struct.pack("<I", 8)),
    "a type that is none": (271, 99, 1, bytes(4)),
    "no values": (271, 2, 0, bytes(4)),
    "a user comment of no encoding": (37510, 7, 4, b"\xff\xfe\xfd\xfc"),
}


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def in_jpeg(*segments: bytes) -> bytes:
    data = encoded("JPEG", WIDE, quality=95)
    return data[:2] + b"".join(segments) + data[2:]


def chunk(name: bytes, content: bytes, crc: int | None = None) -> bytes:
    check = zlib.crc32(name + content) if crc is None else crc
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def in_png(*chunks: bytes) -> bytes:
    data = encoded("PNG", WIDE)
    return data[:33] + b"".join(chunks) + data[33:]


def in_tiff(*entries: Entry, compression: str | None = None) -> bytes:
    """A TIFF whose directory has these entries as well."""
    data = encoded("TIFF", WIDE, compression=compression)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    mine = [struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries]
    old = [data[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    tags = {struct.unpack_from("<H", entry)[0]: entry for entry in [*old, *mine]}
    body = b"".join(entry for _, entry in sorted(tags.items()))
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + struct.pack("<H", len(tags)) + body + bytes(4)


def seen(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return decode(data, "phone", 48, 48)


def shows(data: bytes, image: Image.Image) -> bool:
    expected = seen(encoded("PNG", image)).astype(float)
    return bool(np.abs(seen(data) - expected).mean() < 8)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF packed"])
def test_an_odd_value_leaves_the_photo_as_it_is_and_upright(format: str, odd: Entry) -> None:
    data = exif(odd, SIX)
    if format == "JPEG":
        photo = in_jpeg(segment(0xE1, b"Exif\0\0" + data))
    elif format == "PNG":
        photo = in_png(chunk(b"eXIf", data))
    elif format.startswith("TIFF"):
        photo = in_tiff(odd, SIX, compression="tiff_lzw" if "packed" in format else None)
    else:
        photo = encoded(format, WIDE, exif=data, quality=95)
    assert shows(photo, TURNED)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_formats_that_turn_by_a_property_of_their_own_do_not_ask_exif(format: str, odd: Entry) -> None:
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif "avif" not in features.modules or not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    clean = exif((271, 2, 4, b"abc\0"), (272, 2, 4, b"abc\0"))
    photo = encoded(format, WIDE, exif=clean, quality=95)
    assert clean in photo
    assert shows(photo.replace(clean, exif(odd, SIX)), WIDE)


@pytest.mark.parametrize(
    "value",
    [
        (0x0112, 3, 1, b"\0\0\0\0"),
        (0x0112, 3, 1, b"\x09\0\0\0"),
        (0x0112, 3, 1, b"\xff\xff\0\0"),
        (0x0112, 3, 3, struct.pack("<I", 26)),
        (0x0112, 3, 0, bytes(4)),
        (0x0112, 2, 4, b"Top\0"),
        (0x0112, 5, 1, struct.pack("<I", 26)),
        (0x0112, 12, 1, struct.pack("<I", 26)),
        (0x0112, 0, 1, b"\6\0\0\0"),
    ],
)
def test_an_orientation_that_is_none_turns_nothing(value: Entry) -> None:
    assert shows(in_jpeg(segment(0xE1, b"Exif\0\0" + exif(value))), WIDE)
    assert shows(in_png(chunk(b"eXIf", exif(value))), WIDE)
    assert shows(in_tiff(value), WIDE)


@pytest.mark.parametrize(
    "photo",
    [
        in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta <<< cut")),
        in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"\xff" * 60_000)),
        in_jpeg(segment(0xE2, b"ICC_PROFILE\0\1\3" + bytes(40)), segment(0xE2, b"ICC_PROFILE\0\7\2cut")),
        in_jpeg(segment(0xE2, b"MPF\0II*\0\xff\xff\xff\x7f")),
        in_jpeg(segment(0xE2, b"MPF\0" + exif((0xB001, 4, 1, b"\2\0\0\0"), (0xB002, 7, 32, bytes(4))))),
        in_jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\xff\xff\xff\xff")),
        in_jpeg(segment(0xE1, b"Exif\0\0")),
        in_jpeg(segment(0xE1, b"Exif\0\0MM")),
        in_jpeg(segment(0xE1, b"Exif\0\0" + exif(SIX)[:12])),
        in_jpeg(b"\xff\xe1\xf0\0Exif\0\0cut off, and its length is wrong"),
        in_jpeg(segment(0xFE, b"\0\xff comment")),
        in_png(chunk(b"iCCP", b"profile\0\0" + b"not packed")),
        in_png(chunk(b"zTXt", b"key\0\0not packed")),
        in_png(chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(5_000_000)))),
        in_png(chunk(b"zTXt", b"Raw profile type exif\0\0not packed")),
        in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0cut")),
        in_png(chunk(b"tEXt", b"key\0value", crc=0)),
        in_png(chunk(b"eXIf", b"II*\0", crc=0), chunk(b"pHYs", b"\0")),
        encoded("WEBP", WIDE, xmp=b"<x:xmpmeta <<< cut", icc_profile=b"no profile", quality=95)[:-6],
        in_tiff((34675, 7, 0xFFFFFF, bytes(4)), (700, 7, 0xFFFFFF, bytes(4))),
        in_tiff((296, 2, 4, b"cm\0\0"), (282, 11, 1, struct.pack("<f", float("nan"))), (305, 99, 7, bytes(4))),
    ],
)
def test_broken_metadata_of_any_kind_leaves_the_photo_as_it_is(photo: bytes) -> None:
    assert shows(photo, WIDE)


def test_the_orientation_is_read_wherever_it_is_written() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    raw = b"\nexif\n      80\n" + exif(SIX).hex().encode() + b"\n"
    for photo in (
        in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)),
        in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
        in_png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw))),
        encoded("WEBP", WIDE, xmp=xmp, quality=95),
        in_tiff(SIX),
        in_tiff((0x0112, 4, 1, b"\6\0\0\0")),
    ):
        assert shows(photo, TURNED)


@given(st.binary(max_size=200))
def test_no_exif_data_whatever_spoils_a_photo(data: bytes) -> None:
    assert 0 <= orientation(data) <= 8
    for photo in (in_jpeg(segment(0xE1, b"Exif\0\0" + data)), in_png(chunk(b"eXIf", data))):
        assert seen(photo).shape == (48, 48, 3)


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]), st.binary(max_size=80), st.integers(0, 300))
def test_any_bytes_are_taken_without_an_exception(format: str, data: bytes, cut: int) -> None:
    start = encoded("PNG" if format == "AVIF" else format, WIDE)[:cut]
    assert isinstance(bare(start + data, format).data, bytes)


def test_the_pixels_that_remain_are_the_same_to_the_byte() -> None:
    for format in ("JPEG", "PNG", "WEBP", "TIFF"):
        data = encoded(format, WIDE, lossless=True) if format == "WEBP" else encoded(format, WIDE)
        stripped = Image.open(io.BytesIO(bare(data, format).data))
        np.testing.assert_array_equal(np.asarray(stripped), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_deep_grey_is_as_bright_as_its_bits_say(format: str, bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 96).astype(np.uint16)[None].repeat(64, 0)
    eight = Image.fromarray((ramp >> bits - 8).astype(np.uint8))
    assert shows(encoded(format, Image.fromarray(ramp)), eight)


def test_a_dark_deep_picture_is_as_dark_as_its_file_says() -> None:
    dark = Image.fromarray(np.full((64, 96), 900, np.uint16))
    data = encoded("PNG", dark)
    assert shows(data, Image.new("L", (96, 64), 900 >> 2)), "ten bits, by its largest value"
    told = data[:33] + chunk(b"sBIT", b"\x0c") + data[33:]
    assert shows(told, Image.new("L", (96, 64), 900 >> 4)), "twelve bits, as it says"
    assert shows(encoded("PNG", Image.fromarray(np.zeros((64, 96), np.uint16))), Image.new("L", (96, 64), 0))
