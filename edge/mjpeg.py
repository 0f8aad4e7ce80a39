"""JPEG pictures out of a stream of bytes: motion JPEG as cameras send it, over HTTP or through a pipe.

A JPEG begins with FF D8 and ends with FF D9, but a thumbnail within its header does so too. So the marker segments are
walked: each says its length, and only entropy-coded data, where FF is followed by 00 or a restart marker, is searched.
What lies between two pictures (the headers of multipart/x-mixed-replace, padding) is passed over.

Source: ITU-T T.81, annex B.
"""

import re
from collections.abc import Callable, Iterator

from edge.errors import SourceError

MAX_BYTES = 20_000_000  # of one picture; more is no camera's frame
CHUNK = 65_536
_START = b"\xff\xd8\xff"
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
    while chunk := read(CHUNK):
        buffer += chunk
        while True:
            start = buffer.find(_START)
            if start < 0:
                del buffer[:-2]  # which may begin a picture
                break
            del buffer[:start]
            end = _end(buffer)
            if end is None:
                if len(buffer) > MAX_BYTES:
                    raise SourceError(f"no picture ends within {MAX_BYTES / 1e6:.0f} MB; this is no motion JPEG")
                break
            yield bytes(buffer[:end])
            del buffer[:end]


def _end(buffer: bytearray) -> int | None:
    """Where the picture at the buffer's start ends; None: it is not all there."""
    at = 2
    while True:
        while buffer[at : at + 2] == b"\xff\xff":  # fill
            at += 1
        if len(buffer) < at + 2:
            return None
        if buffer[at] != 0xFF:
            return at  # damaged; the decoder will say so
        marker = buffer[at + 1]
        if marker == _END:
            return at + 2
        if len(buffer) < at + 4:
            return None
        at += 2 + int.from_bytes(buffer[at + 2 : at + 4], "big")
        if marker == _SCAN:
            found = _MARKER.search(buffer, at)
            if found is None:
                return None
            at = found.start()
