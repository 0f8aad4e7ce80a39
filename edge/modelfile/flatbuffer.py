"""Read a flatbuffer, and write a new beginning for it: the two things grafting needs of FlatBuffers.

Owns the binary format, and knows nothing of TFLite. Every reference in a flatbuffer is an unsigned 32-bit distance
*forward* from where it stands, so whatever is pointed at can stay where it is: a new root table, new vectors and new
tables are written into a prefix and point on into the untouched old bytes. The prefix is a multiple of `ALIGNMENT`
long, which keeps the old bytes as aligned as they were.

* file: the distance to the root table, then four bytes of identifier;
* table: a signed 32-bit distance *back* to its vtable, then the fields;
* vtable: uint16 own size, uint16 size of the table, then for each field id a uint16 place in the table, or 0 where
  the field is left out (the schema's default holds);
* vector: uint32 length, then the items (of tables: their distances); string: a vector of bytes and a zero byte.

All numbers are little-endian, so a one-byte number may be written into four bytes and is read from the first.

Source: https://flatbuffers.dev/internals
"""

import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError

ALIGNMENT = 16
"""Bytes to which vectors are aligned: the strictest that schema.fbs asks for (`force_align: 16`)."""

_U64, _U32, _I32, _U16, _I8 = (struct.Struct(f"<{code}") for code in "QIiHb")


class Reader:
    """Reads tables by their position in the file; references outside the file raise BundleError."""

    def __init__(self, data: bytes, identifier: bytes, name: str) -> None:
        self._data, self._name = data, name
        found = data[_U32.size : _U32.size + len(identifier)]
        if found != identifier:
            raise BundleError(
                "model-damaged",
                f"not a {name} file: bytes 4 to 8 are {found!r}, expected {identifier!r}; build the bundle again",
            )
        self.root = self._follow(0)

    def slot(self, table: int, field: int) -> int:
        """Return the position of a table's field, or 0 if the table omits it."""
        vtable = table - self._read(_I32, table)
        entry = 4 + 2 * field
        place = self._read(_U16, vtable + entry) if entry < self._read(_U16, vtable) else 0
        return table + place if place else 0

    def present(self, table: int) -> list[int]:
        """Return the fields that a table has, after checking that it and its vtable lie in the file."""
        vtable = table - self._read(_I32, table)
        width, size = self._read(_U16, vtable), self._read(_U16, vtable + 2)
        self.check(vtable, width)
        self.check(table, size)
        places = struct.unpack_from(f"<{max(0, width - 4) // 2}H", self._data, vtable + 4)
        for place in places:
            self.check(table, max(size, place + 1))  # the vtable's size of the table is not trusted
        return [field for field, place in enumerate(places) if place]

    def number(self, table: int, field: int, default: int = 0) -> int:
        """Return a signed four-byte field."""
        at = self.slot(table, field)
        return self._read(_I32, at) if at else default

    def long(self, table: int, field: int) -> int:
        """Return an unsigned eight-byte field."""
        at = self.slot(table, field)
        return self._read(_U64, at) if at else 0

    def byte(self, table: int, field: int) -> int:
        """Return a signed one-byte field."""
        at = self.slot(table, field)
        return self._read(_I8, at) if at else 0

    def reference(self, table: int, field: int) -> "Old | None":
        """Return the position that the field points to, or None if the table omits it."""
        at = self.slot(table, field)
        return Old(self._follow(at)) if at else None

    def tables(self, table: int, field: int) -> list[int]:
        """Return the positions of the tables in the field's vector; empty if there is none."""
        start, length = self.vector(table, field, 4)
        return [self._follow(start + 4 * index) for index in range(length)]

    def integers(self, table: int, field: int) -> list[int]:
        """Return the field's vector of int32; empty if there is none."""
        start, length = self.vector(table, field, 4)
        return list(struct.unpack_from(f"<{length}i", self._data, start))

    def raw(self, table: int, field: int) -> memoryview:
        """Return the field's string or vector of bytes; empty if there is none."""
        start, length = self.vector(table, field, 1)
        return memoryview(self._data)[start : start + length]

    def vector(self, table: int, field: int, size: int) -> tuple[int, int]:
        """Return the position and length of the field's vector of items of this size; 0, 0 if there is none."""
        reference = self.reference(table, field)
        if reference is None:
            return 0, 0
        length = self._read(_U32, reference.position)
        start = reference.position + 4
        self.check(start, size * length)
        return start, length

    def _follow(self, at: int) -> int:
        target = at + self._read(_U32, at)
        self.check(target, 4)
        return target

    def _read(self, kind: struct.Struct, at: int) -> int:
        self.check(at, kind.size)
        value: int = kind.unpack_from(self._data, at)[0]
        return value

    def check(self, at: int, size: int) -> None:
        """Refuse a range of bytes that does not lie in the file."""
        if at < 0 or at + size > len(self._data):
            raise BundleError(
                "model-damaged",
                f"a {self._name} file of {len(self._data)} bytes points at bytes {at} to {at + size}:"
                " damaged or truncated; build the bundle again",
            )


@dataclass(frozen=True)
class Old:
    """An object in the old bytes, by its position there."""

    position: int


@dataclass(frozen=True)
class Long:
    """An eight-byte field; with `moves` it is a position in the old file, which the prefix shifts."""

    value: int
    moves: bool = False


Value: TypeAlias = "int | float | str | bytes | NDArray[Any] | Old | Long | list[Any] | dict[int, Any] | None"
"""What a field holds: a number, string, vector of bytes, vector of int32, a reference into the old bytes, a vector of
tables, a table as {field id: value}; None leaves the field out."""


def prefix(root: dict[int, Value], identifier: bytes) -> bytes:
    """Return a new beginning for a file, with this root table, to put right before the old bytes.

    Args:
        root: the root table, as {field id: value}.
        identifier: the file's four-byte identifier.

    Returns:
        Bytes whose length is a multiple of `ALIGNMENT`. The old bytes must follow directly, because every `Old` is
        relative to their start.

    Example:
        >>> new = prefix({0: 3, 2: "hello"}, b"TEST")
        >>> reader = Reader(new, b"TEST", "test")
        >>> reader.number(reader.root, 0), bytes(reader.raw(reader.root, 2)), len(new)
        (3, b'hello', 64)
    """
    out = bytearray(_U32.size) + identifier
    onward: list[tuple[int, int]] = []  # position of an offset in the prefix, and the old position that it refers to
    moved: list[tuple[int, int]] = []  # position of a file position in the prefix, and its old value

    def pad(ahead: int, alignment: int) -> None:
        out.extend(bytes(-(len(out) + ahead) % alignment))

    def point(slot: int, value: Value) -> None:
        """Append the value, and write its offset into the slot."""
        if isinstance(value, Old):
            onward.append((slot, value.position))
            return
        position = table(value) if isinstance(value, dict) else vector(value)
        _U32.pack_into(out, slot, position - slot)

    def table(value: dict[int, Value]) -> int:
        fields = {number: item for number, item in sorted(value.items()) if item is not None}
        longs = [number for number, item in fields.items() if isinstance(item, Long)]
        places = {number: 4 + 8 * index for index, number in enumerate(longs)}
        for number in [n for n in fields if n not in places]:
            places[number] = 4 + 4 * (len(places) + len(longs))
        end = 4 + 4 * (len(fields) + len(longs))
        width = 1 + max(fields, default=-1)
        vtable = [4 + 2 * width, end, *(places.get(number, 0) for number in range(width))]
        pad(2 * len(vtable) + 4, 8)  # the fields begin at a multiple of 8
        out.extend(struct.pack(f"<{len(vtable)}Hi", *vtable, 2 * len(vtable)))
        at = len(out) - 4
        out.extend(bytes(end - 4))
        for number, item in fields.items():
            if isinstance(item, Long):
                _U64.pack_into(out, at + places[number], item.value)
                if item.moves:
                    moved.append((at + places[number], item.value))
            elif isinstance(item, int | float):
                struct.pack_into("<i" if isinstance(item, int) else "<f", out, at + places[number], item)
            else:
                point(at + places[number], item)
        return at

    def vector(value: Value) -> int:
        pad(4, ALIGNMENT)
        at = len(out)
        if isinstance(value, list):
            out.extend(_U32.pack(len(value)) + bytes(4 * len(value)))
            for index, item in enumerate(value):
                point(at + 4 + 4 * index, item)
        elif isinstance(value, np.ndarray):
            out.extend(_U32.pack(value.size) + value.tobytes())
        elif isinstance(value, str | bytes):
            data = value.encode() if isinstance(value, str) else value
            out.extend(_U32.pack(len(data)) + data + b"\0")
        return at

    point(0, root)
    pad(0, ALIGNMENT)
    for slot, position in onward:
        _U32.pack_into(out, slot, len(out) + position - slot)
    for slot, place in moved:
        _U64.pack_into(out, slot, len(out) + place)
    return bytes(out)
