"""What stays in its file: bytes and rows of a matrix are read when they are asked for, and may be more than memory.

Read by pread(2) and not mapped: a failing card is then an error that can be told; a mapped page would kill the process.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError

CHUNK = 512  # rows read at a time


class Opened:
    """A file kept open, so that it may be renamed or deleted meanwhile; one whose bytes change is refused.

    Raises:
        BundleError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, -1
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if stat.S_ISDIR(os.fstat(self._file).st_mode):
                raise BundleError("file-missing", f"{path} is a folder; give a bundle file (NAME.edge)")
            self._was = self._state()
        except FileNotFoundError:
            raise BundleError("file-missing", f"{path} does not exist; check the path") from None
        except OSError as error:
            raise BundleError(
                "file-unreadable", f"{path} cannot be read ({error.strerror}); check its permissions"
            ) from error

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self._was[0]

    def sha256(self, offset: int, size: int) -> str:
        """Return the SHA-256 of some of its bytes, in hexadecimal, without holding all of them."""
        digest, block = hashlib.sha256(), np.empty(1 << 18, np.uint8)
        for start in range(offset, offset + size, len(block)):
            part = block[: offset + size - start]
            self.read(start, part)
            digest.update(part.data)
        return digest.hexdigest()

    def read(self, offset: int, into: NDArray[Any]) -> None:
        """Fill an array with the bytes that begin at an offset.

        Raises:
            BundleError: they cannot be read, or the file is not what it was.
        """
        view = into.data.cast("B")
        try:
            while view:
                count = os.preadv(self._file, [view], offset)
                if not count:
                    break
                view, offset = view[count:], offset + count
            changed = self._state() != self._was
        except OSError as error:
            raise self._unreadable(error) from error
        if changed or view:
            raise self._changed()

    def bytes(self, offset: int, size: int) -> bytes:
        """Return some of its bytes, which are in memory once: a network is 20 MB.

        Raises:
            BundleError: as `read`.
        """
        parts = []
        try:
            while size:
                parts.append(os.pread(self._file, size, offset))
                if not parts[-1]:
                    break
                offset, size = offset + len(parts[-1]), size - len(parts[-1])
            changed = self._state() != self._was
        except OSError as error:
            raise self._unreadable(error) from error
        if changed or size:
            raise self._changed()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _unreadable(self, error: OSError) -> BundleError:
        return BundleError("file-unreadable", f"{self.path} cannot be read ({error.strerror}); copy it again")

    def _changed(self) -> BundleError:
        return BundleError("file-changed", f"{self.path} changed while it was read; try again when it is whole")

    def _state(self) -> tuple[int, int]:
        found = os.fstat(self._file)
        return found.st_size, found.st_mtime_ns


class Window(io.RawIOBase):
    """A part of an opened file as a file of its own, for what reads files."""

    def __init__(self, file: Opened, offset: int, size: int) -> None:
        super().__init__()
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether `seek` works."""
        return True

    def tell(self) -> int:
        """Where it is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to another place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{base + offset} is before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read as many bytes as there are, up to the length of the buffer."""
        into = np.frombuffer(buffer, np.uint8)[: max(0, self._size - self._at)]
        self._file.read(self._offset + self._at, into)
        self._at += len(into)
        return len(into)


class Stored:
    """float16 or float32 numbers (N, D) in a file, given as float32.

    Args:
        file: it.
        offset: bytes before the first number.
        shape: of what is there, (N, D).
        name: of what is read, for errors.
        rows: which of the N are meant, in this order; None: all.
        kind: how they are stored, "<f2" or "<f4".
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(
        self,
        file: Opened,
        offset: int,
        shape: tuple[int, int],
        name: str,
        rows: NDArray[np.int64] | None = None,
        kind: str = "<f2",
    ) -> None:
        self._file, self._offset, self._whole, self._name = file, offset, shape, name
        self._rows = np.arange(shape[0]) if rows is None else rows
        self._kind = np.dtype(kind)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D) of the rows that are meant."""
        return (len(self._rows), self._whole[1])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any, /) -> NDArray[np.float32]:
        wanted = self._rows[rows]
        found = np.empty((*wanted.shape, self._whole[1]), np.float32)
        flat, numbers = found.reshape(-1, self._whole[1]), wanted.ravel()
        for start in range(0, len(numbers), CHUNK):
            self._read(numbers[start : start + CHUNK], flat[start : start + CHUNK])
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)

    def only(self, rows: NDArray[np.int64]) -> Stored:
        """Some of the rows, in this order; they stay where they are."""
        return Stored(self._file, self._offset, self._whole, self._name, self._rows[rows], self._kind.str)

    def _read(self, numbers: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        held = np.empty(out.shape, self._kind)
        stride = held.itemsize * self._whole[1]
        if (np.diff(numbers) == 1).all():
            self._file.read(self._offset + int(numbers[0]) * stride, held)
        else:
            for row, number in zip(held, numbers.tolist(), strict=True):
                self._file.read(self._offset + number * stride, row)
        out[:] = held
        if not np.isfinite(out).all():
            raise BundleError("bundle-invalid", f"{self._name} contains NaN or infinity; build it again")
