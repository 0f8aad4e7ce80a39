"""Frames: zlib-compressed parts of a contribution with length and CRC-32; reading limits the unpacked size."""

import struct
import zlib

from edge.errors import FleetError

_LEVEL = 6
_FRAME = struct.Struct("<II")


def frame(raw: bytes) -> bytes:
    """Compress bytes into a frame."""
    packed = zlib.compress(raw, _LEVEL)
    return _FRAME.pack(len(packed), zlib.crc32(packed)) + packed


class Frames:
    """Reads one frame after another.

    Args:
        at: the offset of the first frame.
    """

    def __init__(self, name: str, data: bytes, at: int) -> None:
        self._name, self._data, self._at = name, data, at

    def take(self, size: int) -> bytes:
        """Unpack the next frame, which must yield `size` bytes."""
        start = self._at + _FRAME.size
        if start > len(self._data):
            raise damaged(self._name, "it is cut short")
        length, crc = _FRAME.unpack(self._data[self._at : start])
        packed = self._data[start : start + length]
        if len(packed) < length or zlib.crc32(packed) != crc:
            raise damaged(self._name, "it is cut short or was changed")
        self._at = start + length
        unpack = zlib.decompressobj()
        try:
            raw = unpack.decompress(packed, size + 1)
        except zlib.error as error:
            raise damaged(self._name, str(error)) from error
        if len(raw) != size or not unpack.eof or unpack.unused_data:
            raise FleetError(
                "contribution-invalid", f"{self._name}: a frame unpacks to other than the {size} bytes of its header"
            )
        return raw

    def end(self) -> None:
        """Raise an error if anything follows the last frame."""
        if self._at != len(self._data):
            raise FleetError(
                "contribution-invalid", f"{self._name}: {len(self._data) - self._at} bytes follow its last frame"
            )


def damaged(name: str, why: str) -> FleetError:
    """Return the error for damaged bytes."""
    return FleetError("contribution-damaged", f"{name} is damaged ({why}); contribute again from that device")
