"""Protobuf's wire format, read and written field by field, without the protobuf package.

A message is a run of fields; each is a varint key, `number << 3 | wire type`, and a payload: a varint, 8 bytes, 4
bytes, or a varint length and that many bytes, which may be a message again. Knows nothing of ONNX.

Source: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from typing import NamedTuple

from edge.errors import BundleError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 (groups) are not used by ONNX
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES = 10  # 64 bits in groups of 7


class Field(NamedTuple):
    """One field of a message: `raw` includes key and length, `payload` does not; `value` is that of a varint."""

    number: int
    raw: memoryview
    payload: memoryview
    value: int


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in order.

    Raises:
        BundleError: the bytes are not a message, or are cut short.

    >>> [(field.number, field.value) for field in fields(memoryview(varint_field(3, 300)))]
    [(3, 300)]
    """
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        value, wire = 0, key & 7
        if wire == _VARINT:
            payload_at = at
            value, at = _read_varint(message, at)
        elif wire == _LENGTH:
            length, payload_at = _read_varint(message, at)
            at = payload_at + length
        elif wire in _FIXED_SIZES:
            payload_at, at = at, at + _FIXED_SIZES[wire]
        else:
            raise BundleError(
                "model-damaged",
                f"this is not an ONNX file, or it is damaged: wire type {wire} at byte {start}; build the bundle again",
            )
        if at > len(message):
            raise BundleError(
                "model-damaged",
                f"an ONNX field ends at byte {at} of {len(message)}: the file is truncated; build the bundle again",
            )
        yield Field(key >> 3, message[start:at], message[payload_at:at], value)


def varint_field(number: int, value: int) -> bytes:
    """Encode an integer as a field."""
    return _varint(number << 3 | _VARINT) + _varint(value)


def bytes_field(number: int, payload: bytes) -> bytes:
    """Encode bytes, a string or a message as a field."""
    return _varint(number << 3 | _LENGTH) + _varint(len(payload)) + payload


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    if at < len(message) and message[at] < 0x80:  # nearly all are one byte
        return message[at], at + 1
    value = 0
    for shift, byte in enumerate(message[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise BundleError(
        "model-damaged",
        f"an ONNX number at byte {at} has no end: the file is damaged or truncated; build the bundle again",
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
