"""Data that stays in its file: bytes and matrix rows are read on demand, so they may be larger than memory.

Reading uses pread(2) instead of mmap: if an SD card fails, pread returns an error; a mapped page kills the process.
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
    """A file that is kept open, so it may be renamed or deleted meanwhile; if it is changed, reading fails.

    Raises:
        BundleError: the file cannot be read.
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
        """The file's size in bytes."""
        return self._was[0]

    def sha256(self, offset: int, size: int) -> str:
        """Return the hexadecimal SHA-256 of a range of bytes, reading it in pieces."""
        digest, block = hashlib.sha256(), np.empty(1 << 18, np.uint8)
        for start in range(offset, offset + size, len(block)):
            part = block[: offset + size - start]
            self.read(start, part)
            digest.update(part.data)
        return digest.hexdigest()

    def read(self, offset: int, into: NDArray[Any]) -> None:
        """Fill an array with the bytes that begin at an offset.

        Raises:
            BundleError: the bytes cannot be read, or the file has changed.
        """
        view = into.data.cast("B")
        try:
            while view and (count := os.preadv(self._file, [view], offset)):
                view, offset = view[count:], offset + count
            self._check(whole=not view)
        except OSError as error:
            raise self._unreadable(error) from error

    def bytes(self, offset: int, size: int) -> bytes:
        """Return a range of bytes without a second copy in memory, since a network may take 20 MB.

        Raises:
            BundleError: the bytes cannot be read, or the file has changed.
        """
        parts = []
        try:
            while size and (part := os.pread(self._file, size, offset)):
                parts.append(part)
                offset, size = offset + len(part), size - len(part)
            self._check(whole=not size)
        except OSError as error:
            raise self._unreadable(error) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _unreadable(self, error: OSError) -> BundleError:
        return BundleError("file-unreadable", f"{self.path} cannot be read ({error.strerror}); copy it again")

    def _check(self, whole: bool) -> None:
        """Refuse what was just read if it is not all that was asked for, or if the file has changed."""
        if not whole or self._state() != self._was:
            raise BundleError("file-changed", f"{self.path} changed while it was read; try again when it is whole")

    def _state(self) -> tuple[int, int]:
        found = os.fstat(self._file)
        return found.st_size, found.st_mtime_ns


class Window(io.RawIOBase):
    """A part of an opened file, as a file object."""

    def __init__(self, file: Opened, offset: int, size: int) -> None:
        super().__init__()
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: `seek` is supported."""
        return True

    def tell(self) -> int:
        """Return the current position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to another position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{base + offset} is before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read up to as many bytes as the buffer holds."""
        into = np.frombuffer(buffer, np.uint8)[: max(0, self._size - self._at)]
        self._file.read(self._offset + self._at, into)
        self._at += len(into)
        return len(into)


class Stored:
    """A matrix (N, D) of float16 or float32 in a file, read as float32.

    Args:
        offset: the offset of the first number, in bytes.
        shape: the shape (N, D) in the file.
        rows: the rows to use, in this order; None for all.
        kind: how the numbers are stored, "<f2" or "<f4".
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
        """The shape (N, D) of the selected rows."""
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
        """Select some of the rows, in this order, without reading them."""
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
