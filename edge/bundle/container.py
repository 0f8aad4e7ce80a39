"""The bundle as a zip file: finds its entries and the arrays in them, and checks everything before using it."""

import hashlib
import io
import struct
import zipfile
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import ENTRIES, FileEntry, invalid
from edge.bundle.stored import Opened, Window
from edge.errors import BundleError

MAX_ENTRY = 256_000_000  # bytes
# further errors from numpy, which parses a header as a Python literal
_HEADER = (SyntaxError, TokenError, RuntimeError, MemoryError)
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")  # of one entry, without its name and extra field
_END_OF_ZIP = struct.Struct("<4sHHHHIIH")  # end of central directory record, without a comment


def directory(path: Path, file: Window) -> dict[str, zipfile.ZipInfo]:
    """List the entries, after checking that reading the list itself is cheap and that no two overlap."""
    size = file.seek(0, io.SEEK_END)
    if not size:
        raise damaged(f"{path} is empty (0 bytes); copy it again")
    file.seek(max(0, size - _END_OF_ZIP.size))
    tail = file.read()
    signature, _, _, _, count, length, offset, _ = _END_OF_ZIP.unpack(tail.rjust(_END_OF_ZIP.size, b"\0"))
    if signature != b"PK\5\6":
        file.seek(0)
        cut = file.read(4) == b"PK\3\4"
        if cut:
            raise damaged(f"{path} is incomplete; copy it again")
        raise BundleError("bundle-foreign", f"{path} is not a bundle of edge-transfer")
    if count > len(ENTRIES) or length > 65536 or offset + length + _END_OF_ZIP.size != size:
        raise invalid(f"{path}: its list of {count} entries is not that of a bundle; copy or build it again")
    try:
        infos = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, UnicodeDecodeError) as error:
        raise damaged(f"{path}: damaged zip ({error}); copy it again") from error
    used = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.filename not in ENTRIES:
            raise invalid(f"{path} contains {info.filename[:80]!r}, which does not belong in a bundle; build it again")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
            raise invalid(
                f"{path}: {info.filename} is compressed or encrypted, but a bundle's entries must be stored "
                "without compression; build it again"
            )
        if info.file_size > MAX_ENTRY:
            raise invalid(f"{path}: {info.filename} has {info.file_size} bytes, but at most {MAX_ENTRY} are allowed")
        if info.header_offset < used:
            raise damaged(f"{path}: {info.filename} overlaps another entry; copy or build the bundle again")
        used = info.header_offset + 30 + len(info.filename) + info.file_size  # 30: a local header without the name
    if used > offset:
        raise damaged(f"{path}: its entries extend beyond its end; copy or build the bundle again")
    if len({info.filename for info in infos}) < len(infos):
        raise invalid(f"{path} contains two entries with the same name; build it again")
    return {info.filename: info for info in infos}


def stored(path: Path, file: Window, info: zipfile.ZipInfo) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.read(info.filename)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise damaged(f"{path}: {info.filename} is damaged ({error}); copy the bundle again") from error


def read_entry(path: Path, name: str, expected: FileEntry) -> bytes:
    """Return an entry's bytes after checking their SHA-256, which makes the zip's CRC-32 unnecessary."""
    file = Opened(path)
    start = _begin(file, name, expected)
    data = file.bytes(start, expected.size)
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise _not_as_said(path, name)
    return data


def found(file: Opened, name: str, expected: FileEntry | None) -> tuple[int, int]:
    """Return the offset and length of an entry's bytes after checking their SHA-256."""
    if expected is None:
        raise damaged(f"{file.path} contains no {name}; copy or build the bundle again")
    start = _begin(file, name, expected)
    if file.sha256(start, expected.size) != expected.sha256:
        raise _not_as_said(file.path, name)
    return start, expected.size


def _begin(file: Opened, name: str, expected: FileEntry) -> int:
    """Return the offset of an entry's bytes after checking that their length is the manifest's."""
    whole = Window(file, 0, file.size)
    infos = directory(file.path, whole)
    if name not in infos or infos[name].file_size != expected.size:
        raise _not_as_said(file.path, name)
    start = _after_header(whole, infos[name])
    if start + expected.size > file.size:
        raise _not_as_said(file.path, name)
    return start


def _after_header(file: io.RawIOBase | io.BytesIO, info: zipfile.ZipInfo) -> int:
    """Return the offset of an entry's bytes: behind its local header, name and extra field."""
    file.seek(info.header_offset)
    header: bytes = (file.read(_LOCAL_HEADER.size) or b"").ljust(_LOCAL_HEADER.size, b"\0")
    *_, name, extra = _LOCAL_HEADER.unpack(header)
    return info.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)


def damaged(message: str) -> BundleError:
    """Return the error for a bundle that was cut off or changed."""
    return BundleError("bundle-damaged", message)


def _not_as_said(path: Path, name: str) -> BundleError:
    return damaged(f"{path}: {name} does not match the manifest (its SHA-256 differs); copy the bundle again")


def npz(**arrays: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return file.getvalue()


class _Place(NamedTuple):
    """The position of an array's numbers: their offset, their length in bytes, their type and shape."""

    offset: int
    size: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Arrays:
    """The arrays of an npz file, each read by name and checked for the expected type and shape."""

    def __init__(self, name: str, file: Window | io.BytesIO, size: int) -> None:
        self._name, self._file, self._size = name, file, size
        try:
            self._zip = zipfile.ZipFile(file)
            entries = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, UnicodeDecodeError) as error:
            raise damaged(f"{name} is damaged ({error}); build the bundle again") from error
        if len(entries) > 8 or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise invalid(f"{name} is compressed or contains too many arrays; build the bundle again")

    def holds(self, key: str) -> bool:
        """Whether there is an array with this name."""
        return f"{key}.npy" in self._zip.namelist()

    def find(
        self, key: str, dtype: type[np.generic] | tuple[type[np.generic], ...], shape: tuple[int | None, ...]
    ) -> _Place:
        """Return the position of array `key`, which must have one of the types; None in `shape` is any length."""
        kinds = dtype if isinstance(dtype, tuple) else (dtype,)
        try:
            with self._zip.open(f"{key}.npy") as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise invalid(f"{self._name}: {key} has npy version {version}, expected (1, 0)")
                found, fortran, kind = np.lib.format.read_array_header_1_0(file)
                right = len(found) == len(shape) and all(w in (None, n) for w, n in zip(shape, found, strict=True))
                if kind not in [np.dtype(one).newbyteorder("<") for one in kinds] or not right or fortran:
                    wanted = tuple("N" if n is None else n for n in shape)
                    raise invalid(
                        f"{self._name}: {key} is {kind} {found}, expected "
                        f"{' or '.join(str(np.dtype(one)) for one in kinds)} {wanted}; build it again"
                    )
                header = file.tell()
            info = self._zip.getinfo(f"{key}.npy")
            offset = _after_header(self._file, info) + header
        except BundleError:
            raise
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile, *_HEADER) as error:
            raise damaged(f"{self._name}: {key} cannot be read ({error}); build the bundle again") from error
        size = int(np.prod(found, dtype=object)) * kind.itemsize
        if info.file_size - header != size or offset + size > self._size:
            raise invalid(
                f"{self._name}: {key} has {info.file_size - header} bytes, but its shape {found} needs {size}"
            )
        return _Place(offset, size, kind, found)

    def take(self, key: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return array `key`; None in `shape` is any length."""
        place = self.find(key, dtype, shape)
        self._file.seek(place.offset)
        array = np.frombuffer(self._file.read(place.size) or b"", place.dtype).reshape(place.shape).astype(dtype)
        if place.dtype.kind == "f" and not np.isfinite(array).all():
            raise invalid(f"{self._name}: {key} contains NaN or infinity; build it again")
        return array
