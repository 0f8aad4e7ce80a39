"""Split a stream of bytes into JPEG pictures: motion JPEG as cameras send it, over HTTP or through a pipe.

A JPEG begins with FF D8 and ends with FF D9, but so does a thumbnail inside its header. Therefore the marker segments
are followed: each gives its length, and only entropy-coded data, where FF is followed by 00 or a restart marker, is
searched.

Streams can be damaged, and cameras make mistakes, so a picture ends at the first of these:

| end | the picture |
|---|---|
| FF D9 where a marker may be | is complete |
| as many bytes as its part's Content-Length says | is complete, if there is no FF D9 or there are several |
| a boundary, a new FF D8 where a marker may be, the stream's end | was cut off, unless this camera never sends FF D9 |
| something else where a marker must be | is damaged, and dropped |

Source: ITU-T T.81, annex B; RFC 2046, section 5.1.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from edge.errors import SourceError

MAX_BYTES = 20_000_000  # of one picture; more is no camera's frame
MAX_MARKERS = 10_000  # of one picture; a large progressive one has some hundred
CHUNK = 65_536
START = b"\xff\xd8\xff"
_HEADERS = 4096  # bytes before a picture that are looked through for its length
_AFTER = 512  # bytes that a boundary with its first header may take
_UNSURE = 3  # pictures without FF D9, and none with it, after which a camera is believed never to write it
_FILL = re.compile(rb"\xff*")
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither a stuffed byte, a restart, nor fill
_LENGTH = re.compile(rb"content-length[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n\Z", re.IGNORECASE)
_PART = re.compile(rb"--[\x21-\x7e]{1,100}\r?\n[A-Za-z-]+:")  # a boundary, whatever it was said to be
_EOI = b"\xff\xd9"
_BEGIN, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE


def split(
    read: Callable[[int], bytes],
    seconds: float = float("inf"),
    boundary: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[bytes]:
    """Yield each complete JPEG of a stream; pictures that were cut off or damaged are dropped.

    Args:
        read: returns at most the given number of bytes, and none at the end of the stream.
        seconds: longest time for one picture, however slowly its bytes arrive.
        boundary: the boundary between pictures that the stream's header names, if any.

    Raises:
        SourceError: no complete picture came in time, or within `MAX_BYTES`.

    >>> import io
    >>> jpeg = b"\\xff\\xd8\\xff\\xe0\\x00\\x04ab\\xff\\xda\\x00\\x02" + b"\\x01\\xff\\x00\\x02" + b"\\xff\\xd9"
    >>> stream = b"--frame\\r\\n" + jpeg + b"\\r\\n--frame\\r\\n" + jpeg[:9] + b"\\r\\n--frame\\r\\n" + jpeg
    >>> [part == jpeg for part in split(io.BytesIO(stream).read, boundary="frame")]
    [True, True]
    """
    splitter = _Splitter(boundary)
    since, passed = clock(), 0
    while True:
        chunk = read(CHUNK)
        passed += len(chunk)
        for picture in splitter.add(chunk):
            yield picture
            since, passed = clock(), 0
        if not chunk:
            return
        if passed > MAX_BYTES:
            raise SourceError(
                "stream-failed", f"no complete picture within {MAX_BYTES / 1e6:.0f} MB; this is not motion JPEG"
            )
        if clock() - since > seconds:
            raise SourceError("stream-failed", f"no complete picture within {seconds:.0f} s, in {passed:,} bytes")


def ends(data: bytes) -> bool:
    """Whether a JPEG is complete.

    >>> ends(b"\\xff\\xd8\\xff\\xda\\x00\\x02abc"), ends(b"\\xff\\xd8\\xff\\xda\\x00\\x02abc\\xff\\xd9")
    (False, True)
    """
    return _Walk().to_end(data, len(data)) == "end"


class _Splitter:
    """Holds the bytes that have arrived and were not yielded yet."""

    def __init__(self, boundary: str) -> None:
        core = boundary.strip().lstrip("-").encode()
        self._marks = [(b"--", _PART)]
        if core:
            self._marks.append((core, re.compile(rb"(?<=[-\n])" + re.escape(core) + rb"(?:--)?[ \t]*\r?\n")))
        self._buffer = bytearray()
        self._walk: _Walk | None = None  # through the picture at the buffer's start, if one begins there
        self._searched = 0  # how far the buffer was looked through for a boundary
        self._length = 0  # what the part's header says
        self._parts = False  # a boundary was seen
        self._ends: bool | None = None  # whether this camera's pictures end with FF D9
        self._unsure: list[bytes] = []  # those without, until that is known

    def add(self, chunk: bytes) -> Iterator[bytes]:
        """Take new bytes (none at the end of the stream), and yield the pictures that they complete."""
        self._buffer += chunk
        while self._walk is not None or self._begin():
            piece = self._piece(at_end=not chunk)
            if piece is None:
                break
            data = bytes(self._buffer[: piece.size])
            del self._buffer[: piece.size]
            self._walk = None
            if piece.whole:
                self._ends = True
                yield data
            elif piece.open and self._ends is None:
                self._unsure.append(data + _EOI)
                if len(self._unsure) == _UNSURE:
                    self._ends = False
                    yield from self._unsure
            elif piece.open and not self._ends:
                yield data + _EOI  # without which decoders call it cut
        if not chunk and self._ends is None:
            yield from self._unsure

    def _begin(self) -> bool:
        """Skip to the beginning of the next picture, if there is one."""
        start = self._buffer.find(START)
        if start < 0:
            del self._buffer[: max(0, len(self._buffer) - _HEADERS)]
            return False
        said = _LENGTH.search(self._buffer, max(0, start - _HEADERS), start)
        self._length = int(said[1]) if said else 0
        self._parts |= said is not None
        del self._buffer[:start]
        self._walk, self._searched = _Walk(), 0
        return True

    def _piece(self, at_end: bool) -> "_Piece | None":
        """Remove the next picture from the buffer and return it; None if more bytes are needed."""
        assert self._walk is not None
        walk, buffer, told = self._walk, self._buffer, self._length
        boundary = self._boundary()
        limit = len(buffer) if boundary is None else boundary
        outcome = walk.to_end(buffer, limit)
        settled = boundary is not None or at_end
        if outcome == "end":
            end = walk.at + 2
            if told > end and (boundary is None or boundary >= told) and buffer.endswith(_EOI, 0, told):
                return _Piece(told, whole=True)  # several pictures in one part, of which the first counts
            return _Piece(end, whole=True) if told <= end or settled or not self._parts else None
        if outcome == "begin":
            return _Piece(walk.at, open=walk.scanned)
        if outcome == "damage" and (settled or not self._parts):
            return _Piece(limit if settled else 2)
        if settled:
            return _Piece(limit, open=walk.scanned)
        if self._ends is False and walk.scanned and 0 < told <= len(buffer):
            return _Piece(told, open=True)
        return None

    def _boundary(self) -> int | None:
        """Find the next boundary, with the line end before it."""
        found = []
        for mark, pattern in self._marks:
            at = self._buffer.find(mark, self._searched)
            while at >= 0 and not pattern.match(self._buffer, at):
                at = self._buffer.find(mark, at + 1)
            found += [at] if at >= 0 else []
        if not found:
            self._searched = max(0, len(self._buffer) - _AFTER)
            return None
        self._parts = True
        at = self._searched = min(found)
        while self._buffer.endswith(b"-", 0, at):
            at -= 1
        for end in (b"\n", b"\r"):
            at -= self._buffer.endswith(end, 0, at)
        return at


class _Piece(NamedTuple):
    """The first bytes of the buffer: a complete picture, one whose end alone is missing, or neither."""

    size: int
    whole: bool = False
    open: bool = False


@dataclass
class _Walk:
    """The position up to which the picture at the buffer's start was followed, so that each byte is looked at once."""

    at: int = 2  # where it stands; at the marker that ended it
    scanning: bool = False  # `at` lies in entropy-coded data
    scanned: bool = False  # there was some
    markers: int = 0

    def to_end(self, buffer: bytes | bytearray, limit: int) -> str:
        """Continue within the buffer's first bytes: to the "end", a "begin" or "damage"; "" if there is none yet."""
        while True:
            if self.scanning:
                found = _MARKER.search(buffer, self.at, limit)
                if found is None:
                    self.at = max(self.at, limit - 1)  # an FF at the end may begin a marker
                    return ""
                self.at, self.scanning = found.start(), False
            fill = _FILL.match(buffer, self.at, limit)
            self.at += max(0, len(fill[0]) - 1) if fill else 0
            if limit < self.at + 2:
                return ""
            marker = buffer[self.at + 1]
            if buffer[self.at] != 0xFF or marker < 0xC0 or 0xD0 <= marker < _BEGIN or self.markers > MAX_MARKERS:
                return "damage"
            if marker == _BEGIN:
                return "begin"
            if marker == _END:
                return "end"
            if limit < self.at + 4:
                return ""
            end = self.at + 2 + int.from_bytes(buffer[self.at + 2 : self.at + 4], "big")
            if not 0xE0 <= marker <= 0xEF and marker != _COMMENT:  # a table, which holds no picture
                inside = buffer.find(START, self.at + 4, min(end, limit))
                if inside >= 0:
                    self.at = inside
                    return "begin"
                if end > limit:
                    return ""
            self.at = end
            self.scanning = marker == _SCAN
            self.scanned |= self.scanning
            self.markers += 1
