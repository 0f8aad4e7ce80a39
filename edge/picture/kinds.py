"""Recognise a file by its first bytes: pictures of every format, and other files found in folders of pictures.

The file name is ignored, because phones, browsers and scripts give pictures any suffix or none. For each kind that
cannot be read here, there is a sentence that says what to do.

Source: the signatures in the specifications of the formats, as file(1) lists them.
"""

from typing import NamedTuple

HEAD = 1024  # bytes that are looked at
# Endings of files that are meant to be pictures, whatever they hold.
CALLED = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".pnm", ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jxl", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf",
    ".rw2", ".raf", ".pef", ".srw",
})  # fmt: skip


class Kind(NamedTuple):
    """One kind of file."""

    reason: str  # a key of `edge.picture.count.REASONS`, under which such files are counted if they are left out
    words: str  # a description of the file, to follow "is"
    format: str = ""  # Pillow's name of the format if it may be opened, else ""
    advice: str = "save it as JPEG, PNG or WebP"  # how to get a picture that can be read

    @property
    def is_picture(self) -> bool:
        """Whether this is a picture, even if its format cannot be read here."""
        return bool(self.format) or self.reason in ("raw", "format")


_HEIC = Kind("heic", "an HEIC picture", "HEIF", "convert it to JPEG, or: pip install 'edge-transfer[heic]'")
_AVIF = Kind("avif", "an AVIF picture", "AVIF", "convert it to JPEG, or: pip install --upgrade pillow")
_JPEG_2000 = Kind("jpeg-2000", "a JPEG 2000 picture", "JPEG2000")
RAW = Kind("raw", "a camera's raw picture", "", "export it as JPEG")
_MOVIE = Kind("video", "a video", "", "take single pictures from it, or watch it with edge watch")
_SOUND = Kind("other", "a sound recording", "", "name a picture instead")
_ZIP = Kind("archive", "a zip archive or an office document", "", "unpack it")
_PAGE = Kind("text", "a web page (HTML)", "", "the download went wrong; download the picture itself")
_POINTER = Kind("text", "a Git LFS pointer, not the file itself", "", "run: git lfs pull")
_TEXT = Kind("text", "a text file", "", "name a picture instead")
_SVG = Kind("format", "an SVG drawing")
EMPTY = Kind("empty", "empty (0 bytes)", "", "copy it again from where it came from")
ZEROS = Kind("damaged", "filled with zeros only", "", "its copy was cut off; copy it again from where it came from")
OTHER = Kind("other", "not a picture")


def _format(words: str) -> Kind:
    return Kind("format", words)


def _packed(name: str) -> Kind:
    return Kind("archive", f"a {name} archive", "", "unpack it")


_BY_START = (  # the first that fits counts
    (Kind("damaged", "a JPEG picture", "JPEG"), (b"\xff\xd8\xff",)),
    (Kind("damaged", "a PNG picture", "PNG"), (b"\x89PNG\r\n\x1a\n",)),
    (Kind("damaged", "a GIF picture", "GIF"), (b"GIF87a", b"GIF89a")),
    (RAW, (b"II*\0\x10\0\0\0CR", b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")),
    (Kind("damaged", "a TIFF picture", "TIFF"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (_JPEG_2000, (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    (_format("a JPEG XL picture"), (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    (_format("a JPEG XR picture"), (b"II\xbc\x01",)),
    (_format("a Photoshop picture"), (b"8BPS",)),
    (_format("a GIMP picture"), (b"gimp xcf",)),
    (_format("an icon"), (b"\0\0\1\0", b"icns")),
    (_format("an OpenEXR picture"), (b"v/1\x01",)),
    (_format("a Radiance HDR picture"), (b"#?RADIANCE", b"#?RGBE")),
    (_format("a DDS texture"), (b"DDS ",)),
    (_format("a QOI picture"), (b"qoif",)),
    (_format("a BPG picture"), (b"BPG\xfb",)),
    (_format("a FITS picture"), (b"SIMPLE  =",)),
    (_format("a PAM picture"), (b"P7\n",)),
    (
        _MOVIE,
        (
            b"\x1a\x45\xdf\xa3",
            b"FLV\x01",
            b"\0\0\x01\xba",
            b"\0\0\x01\xb3",
            b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
            b"OggS",
        ),
    ),
    (_SOUND, (b"ID3", b"fLaC")),
    (_ZIP, (b"PK\x03\x04", b"PK\x05\x06")),
    (_packed("rar"), (b"Rar!",)),
    (_packed("7z"), (b"7z\xbc\xaf\x27\x1c",)),
    (_packed("gzip"), (b"\x1f\x8b",)),
    (_packed("xz"), (b"\xfd7zXZ\0",)),
    (_packed("bzip2"), (b"BZh",)),
    (_packed("zstd"), (b"\x28\xb5\x2f\xfd",)),
    (Kind("other", "a PDF document", "", "export its pages as JPEG"), (b"%PDF",)),
    (Kind("other", "a PostScript document", "", "export its pages as JPEG"), (b"%!PS",)),
    (Kind("other", "a macOS side file without a picture", "", "name the picture itself"), (b"\0\x05\x16\x07",)),
    (_POINTER, (b"version https://git-lfs",)),
)
_RIFF = {
    b"WEBP": Kind("damaged", "a WebP picture", "WEBP"),
    b"AVI ": _MOVIE,
    b"WAVE": _SOUND,
}
_OLD_MOVIE = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # QuickTime's, from before it had a signature
_PPM = tuple(b"%c" % c for c in b"0123456789#")  # what may follow its signature
_DIB = (12, 16, 40, 52, 56, 64, 108, 124)  # lengths of a BMP's second header


def kind(head: bytes) -> Kind:
    """Return the kind of a file, given its first `HEAD` bytes.

    >>> kind(b"<!DOCTYPE html><html>").words
    'a web page (HTML)'
    >>> kind(b"\\xff\\xd8\\xff\\xe0").format
    'JPEG'
    """
    if not head:
        return EMPTY
    for found, starts in _BY_START:
        if head.startswith(starts):
            return found
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], OTHER)
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head[4:8] in _OLD_MOVIE or (head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G"):
        return _MOVIE
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _DIB:
        return Kind("damaged", "a BMP picture", "BMP")
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace() and head[3:].lstrip()[:1] in _PPM:
        return Kind("damaged", "a PPM picture", "PPM")
    if head[257:262] == b"ustar":
        return _packed("tar")
    if head[128:132] == b"DICM":
        return _format("a DICOM picture")
    if not head.strip(b"\0"):
        return ZEROS
    return _text(head[:HEAD]) or OTHER


def _by_brand(head: bytes) -> Kind:
    """ISO base media: the brands after `ftyp` distinguish pictures and videos."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if head[8:12] == b"crx ":
        return RAW
    if head[8:12] == b"jxl ":
        return _format("a JPEG XL picture")
    if brands & {b"avif", b"avis"}:
        return _AVIF
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return _HEIC
    return _SOUND if head[8:12] in (b"M4A ", b"M4B ") else _MOVIE


def _text(head: bytes) -> Kind | None:
    """Text in any common encoding, and the kinds of text that are mistaken for pictures."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _TEXT
    if b"\0" in head:
        return None
    if any(c < 32 and c not in b"\t\n\r\f\x1b" for c in head):
        return None
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return _PAGE
    return _SVG if b"<svg" in start else _TEXT
