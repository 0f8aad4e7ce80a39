"""Every kind of file that turns up in folders of pictures, as it is written, and what must become of it."""

import gzip
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

BLANK = Image.new("RGB", (64, 48), (180, 70, 50))


def encoded(format: str, image: Image.Image = BLANK, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", PICTURE)
    return file.getvalue()


def box(brand: bytes, *others: bytes) -> bytes:
    """The first box of an ISO base media file, and something after it."""
    inside = brand + bytes(4) + b"".join(others)
    return (8 + len(inside)).to_bytes(4, "big") + b"ftyp" + inside + bytes(range(256)) * 4


PICTURE = encoded("JPEG")
HTML = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
VIDEO = box(b"isom", b"iso2", b"mp41")


@dataclass(frozen=True)
class Writer:
    """One file: its name and bytes; why `find` leaves it out, if it does; why it cannot be read, if it cannot."""

    name: str
    data: bytes
    left: str = ""
    unread: str = ""


WRITERS = (
    Writer("plain", PICTURE),
    Writer("shouting.JPEG", PICTURE),
    Writer("browser.jfif", PICTURE),
    Writer("wrong.png", PICTURE),
    Writer("picture.txt", encoded("PNG")),
    Writer("mark.webp", encoded("WEBP")),
    Writer("scan.tif", encoded("TIFF")),
    Writer("dot.bmp", encoded("BMP")),
    Writer("grey.pgm", encoded("PPM", BLANK.convert("L"))),
    Writer("cut.jpg", PICTURE[:300], unread="damaged"),
    Writer("zeros.jpg", bytes(5000), unread="damaged"),
    Writer("nothing.jpg", b"", unread="empty"),
    Writer("page.jpg", HTML, unread="misnamed"),
    Writer("pointer.png", POINTER, unread="misnamed"),
    Writer("packed.jpg", _zip(), unread="misnamed"),
    Writer("film.jpeg", VIDEO, unread="misnamed"),
    Writer("words.gif", b"only words", unread="misnamed"),
    Writer("drawing.svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', unread="format"),
    Writer("layers.psd", b"8BPS\0\1" + bytes(40), unread="format"),
    Writer("new.jxl", b"\xff\x0a" + bytes(range(200)), unread="format"),
    Writer("canon.cr3", box(b"crx ", b"crx ", b"isom"), unread="raw"),
    Writer("canon.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(500), unread="raw"),
    Writer("fuji.raf", b"FUJIFILMCCD-RAW 0201" + bytes(500), unread="raw"),
    Writer("film.mp4", VIDEO, left="video"),
    Writer("film.mov", box(b"qt  "), left="video"),
    Writer("film.mkv", b"\x1a\x45\xdf\xa3" + bytes(range(1, 200)), left="video"),
    Writer("notes.txt", b"to do", left="text"),
    Writer("labels.csv", "Tür;Küche\n".encode("latin-1") * 30, left="text"),
    Writer("page.html", HTML, left="text"),
    Writer("pointer", POINTER, left="text"),
    Writer("photos.zip", _zip(), left="archive"),
    Writer("photos.tar.gz", gzip.compress(PICTURE), left="archive"),
    Writer("paper.pdf", b"%PDF-1.7\n", left="other"),
    Writer("weights.bin", bytes(range(256)) * 8, left="other"),
    Writer("void", b"", left="other"),
    Writer("Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(100), left="system"),
    Writer(".DS_Store", b"\0\0\0\1Bud1", left="system"),
    Writer("._photo.jpg", b"\0\5\x16\7" + bytes(60), left="system"),
    Writer(".hidden.jpg", PICTURE, left="system"),
)


def write(writer: Writer, folder: Path) -> Path:
    """Write one of them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / writer.name
    path.write_bytes(writer.data)
    return path
