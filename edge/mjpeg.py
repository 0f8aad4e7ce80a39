"""JPEG pictures out of a stream of bytes: motion JPEG as cameras send it, over HTTP or through a pipe.

A JPEG begins with FF D8 and ends with FF D9, but a thumbnail within its header does so too. So the marker segments are
walked: each says its length, and only entropy-coded data, where FF is followed by 00 or a restart marker, is searched.
What lies between two pictures (the headers of multipart/x-mixed-replace, padding) is passed over.

Source: ITU-T T.81, annex B.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.errors import SourceError

MAX_BYTES = 20_000_000  # of one picture; more is no camera's frame
MAX_MARKERS = 10_000  # of one picture; a large progressive one has some hundred
CHUNK = 65_536
_START = b"\xff\xd8\xff"
_FILL = re.compile(rb"\xff*")
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither a stuffed byte, a restart, nor fill
_END, _SCAN = 0xD9, 0xDA


def split(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield each whole JPEG of a stream; what is cut off by its end is dropped.

    Args:
        read: gives at most so many bytes, and none at the stream's end.

    Raises:
        SourceError: `MAX_BYTES` hold no end of a picture: this is no motion JPEG.

    >>> import io
    >>> jpeg = b"\\xff\\xd8\\xff\\xe0\\x00\\x04ab\\xff\\xda\\x00\\x02" + b"\\x01\\xff\\x00\\x02" + b"\\xff\\xd9"
    >>> [part == jpeg for part in split(io.BytesIO(b"--frame\\r\\n" + jpeg + b"\\r\\n--frame\\r\\n" + jpeg).read)]
    [True, True]
    """
    buffer = bytearray()
    walk = _Walk()
    while chunk := read(CHUNK):
        buffer += chunk
        while True:
            if not walk.inside:
                start = buffer.find(_START)
                if start < 0:
                    del buffer[:-2]  # which may begin a picture
                    break
                del buffer[:start]
                walk = _Walk(inside=True)
            if not walk.to_end(buffer):
                if len(buffer) > MAX_BYTES:
                    raise SourceError(f"no picture ends within {MAX_BYTES / 1e6:.0f} MB; this is no motion JPEG")
                break
            yield bytes(buffer[: walk.at])
            del buffer[: walk.at]
            walk = _Walk()


@dataclass
class _Walk:
    """How far the picture at the buffer's start was walked: each byte is looked at once, however it trickles in."""

    inside: bool = False
    at: int = 2
    scanning: bool = False  # `at` lies in entropy-coded data
    markers: int = 0

    def to_end(self, buffer: bytearray) -> bool:
        """Go on to where the picture ends; False: it is not all there."""
        while True:
            if self.scanning:
                found = _MARKER.search(buffer, self.at)
                if found is None:
                    self.at = max(self.at, len(buffer) - 1)  # an FF at the end may begin a marker
                    return False
                self.at, self.scanning = found.start(), False
            fill = _FILL.match(buffer, self.at)
            self.at += max(0, len(fill[0]) - 1) if fill else 0
            if len(buffer) < self.at + 2:
                return False
            if buffer[self.at] != 0xFF or self.markers > MAX_MARKERS:
                return True  # damaged; the decoder will say so
            marker = buffer[self.at + 1]
            if marker == _END:
                self.at += 2
                return True
            if len(buffer) < self.at + 4:
                return False
            self.at += 2 + int.from_bytes(buffer[self.at + 2 : self.at + 4], "big")
            self.scanning = marker == _SCAN
            self.markers += 1
