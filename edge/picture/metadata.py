"""Remove the metadata from a picture, and return the two values that matter: orientation and bits.

Decoders fail on an unusual EXIF value, an incomplete XMP packet or a broken colour profile of good photos; here they
never see these. A file that does not fit its format is passed on unchanged, for the decoder to judge.

Sources: JPEG, ITU-T T.81 annex B; EXIF 2.32; PNG, W3C 2003; WebP container, RFC 9649; TIFF 6.0 and BigTIFF; HEIF, ISO
23008-12.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

_ORIENTATION = 0x0112
# TIFF's tags that say how the pixels are stored; all others are taken out.
_STORED = frozenset({
    256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339, 347,
    512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532,
})  # fmt: skip
_HIGHEST, _REDUCED, _INSIDE = 281, 254, 330  # the highest value; whether it is a thumbnail; pictures inside
_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])")
_MOST = 1000  # entries of a directory, and bytes unpacked of a text: those of photos are few
_DROPPED = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})  # JPEG's APP1 to APP15 and comments, without Adobe's APP14


class Bare(NamedTuple):
    """A picture without metadata."""

    data: bytes  # the file's bytes without metadata
    orientation: int = 1  # how to turn the pixels upright, 1–8 as in EXIF; 1 if they are upright
    bits: int = 0  # significant bits of each value if the file contains this, else 0
    thumbnail: bool = False  # whether the picture is the thumbnail of a raw file


def bare(data: bytes, format: str) -> Bare:
    """Remove the metadata from a picture file of this format (Pillow's name)."""
    reader = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "TIFF": _tiff, "AVIF": _boxes, "HEIF": _boxes}.get(format)
    try:
        return reader(data) if reader else Bare(data)
    except (struct.error, IndexError):  # it ends too early
        return Bare(data)


def orientation(exif: bytes) -> int:
    """Read the orientation from EXIF data, ignoring everything else; 0 if there is none.

    >>> orientation(b"Exif\\0\\0MM\\0*\\0\\0\\0\\x08\\0\\1\\x01\\x12\\0\\3\\0\\0\\0\\1\\0\\6\\0\\0\\0\\0\\0\\0")
    6
    """
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        return next((_turn(exif[:2], entry) for tag, entry in _directory(exif) if tag == _ORIENTATION), 0)
    except struct.error:
        return 0


# --- one format each -------------------------------------------------------------------------------------------------


def _jpeg(data: bytes) -> Bare:
    view, kept = memoryview(data), [memoryview(data)[:2]]
    at, exif, xmp, whole = 2, 0, 0, True
    while True:
        at = data.find(b"\xff", at)  # decoders pass over rubbish before a marker
        if at < 0:
            return Bare(data)
        marker = data[at + 1]
        if marker in (0, 1, 0xFF) or 0xD0 <= marker <= 0xD8:  # not one, or one without content
            at += 1 + (marker != 0xFF)
            continue
        if marker in (0xD9, 0xDA):  # the end, or the pixels begin
            kept.append(view[at:])
            return Bare(data if whole else b"".join(kept), exif or xmp or 1)
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _DROPPED:
            part = data[at + 4 : end]
            if marker == 0xE1 and part.startswith(b"Exif\0"):
                exif = exif or orientation(part)
            elif marker == 0xE1 and (found := _XMP.search(part)):
                xmp = int(found[1])
            if data[end : end + 1] != b"\xff":  # its length is wrong: go on at the tables, which every JPEG has
                end = data.find(b"\xff\xdb", at + 4)
                if end < 0:
                    return Bare(data)
            whole = False
        else:
            kept.append(view[at:end])
        at = end


def _png(data: bytes) -> Bare:
    kept, at, exif, xmp, bits = [data[:8]], 8, 0, 0, 0
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        part = data[at + 8 : end - 4]
        if not name.isalpha():
            return Bare(data, exif or xmp or 1, bits)
        if name[:1].isupper() or name == b"tRNS":
            kept.append(data[at:end])
        elif name == b"eXIf":
            exif = orientation(part)
        elif name == b"sBIT":
            bits = min(max(part, default=0), 16)
        elif found := _XMP.search(part):
            xmp = int(found[1])
        elif name == b"zTXt" and part.startswith(b"Raw profile type "):
            exif = exif or _raw_profile(part)
        if name == b"IEND":
            break
        at = end
    return Bare(b"".join(kept), exif or xmp or 1, bits)


def _raw_profile(part: bytes) -> int:
    """EXIF in a PNG as ImageMagick stores it: compressed hexadecimal after three lines."""
    try:
        text = zlib.decompressobj().decompress(part.partition(b"\0")[2][1:], 64 * _MOST)
        return orientation(bytes.fromhex("".join(text.decode("ascii").split("\n")[3:])[: 64 * _MOST]))
    except (zlib.error, ValueError):
        return 0


def _webp(data: bytes) -> Bare:
    kept, at, exif, xmp = [b""], 12, 0, 0
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        part = data[at + 8 : at + 8 + length]
        if name == b"EXIF":
            exif = orientation(part)
        elif name == b"XMP " and (found := _XMP.search(part)):
            xmp = int(found[1])
        elif name == b"VP8X":
            kept.append(data[at : at + 8] + bytes([part[0] & ~0x2C]) + data[at + 9 : end])  # it has none of the three
        elif name not in (b"XMP ", b"ICCP"):
            kept.append(data[at:end])
        at = end
    inside = b"".join(kept)
    return Bare(b"RIFF" + struct.pack("<I", 4 + len(inside)) + b"WEBP" + inside, exif or xmp or 1)


def _tiff(data: bytes) -> Bare:
    entries = dict(_directory(data))
    big, order = _form(data)
    turned = _turn(data[:2], entries[_ORIENTATION]) if _ORIENTATION in entries else 1
    highest = _short(data[:2], entries[_HIGHEST]) if _HIGHEST in entries else 0
    reduced = _REDUCED in entries and _INSIDE in entries and bool(_short(data[:2], entries[_REDUCED]))
    stored = [entry for tag, entry in sorted(entries.items()) if tag in _STORED]
    place = len(data) + len(data) % 2
    header = data[:8] + struct.pack(order + "Q", place) if big else data[:4] + struct.pack(order + "I", place)
    count = struct.pack(order + ("Q" if big else "H"), len(stored))
    directory = bytes(len(data) % 2) + count + b"".join(stored) + bytes(8)
    return Bare(
        b"".join((header, memoryview(data)[len(header) :], directory)), turned or 1, highest.bit_length(), reduced
    )


def _boxes(data: bytes) -> Bare:
    """HEIF has a property of its own for orientation, so rename the EXIF item, so that no decoder reads it."""
    return Bare(re.sub(rb"(infe[\2\3]...(?:....|......))Exif", rb"\1none", data, flags=re.DOTALL))


# --- directories of TIFF and EXIF ------------------------------------------------------------------------------------


def _form(data: bytes) -> tuple[bool, str]:
    """Whether the file is BigTIFF, and `struct`'s sign for its byte order."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise struct.error("no order of bytes")
    return struct.unpack_from(order + "H", data, 2) == (43,), order


def _directory(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The entries of the first directory, each with its tag; raises `struct.error` if there is none."""
    big, order = _form(data)
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, min(start, len(data)))
    first, size = (start + 8, 20) if big else (start + 2, 12)
    for at in range(first, first + size * min(count, _MOST), size):
        entry = data[at : at + size]
        if len(entry) < size:
            return
        yield struct.unpack_from(order + "H", entry)[0], entry


def _short(order: bytes, entry: bytes) -> int:
    """The value of an entry if it is a single integer, else 0."""
    sign = "<" if order == b"II" else ">"
    (kind,) = struct.unpack_from(sign + "H", entry, 2)
    form = {1: "B", 3: "H", 4: "I"}.get(kind)
    return int(struct.unpack_from(sign + form, entry, 12 if len(entry) == 20 else 8)[0]) if form else 0


def _turn(order: bytes, entry: bytes) -> int:
    value = _short(order, entry)
    return value if 1 <= value <= 8 else 1
