"""Write files whole or not at all, so that a power cut leaves the old file or the new one, never half of one.

Source: rename(2) and fsync(2): the new bytes are synced before the name moves, and the folder after it.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from edge.errors import BundleError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; once it is written and the block ends well, it becomes `path`, durably.

    Raises:
        OSError: the disk refuses; `path` is as it was.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "greeting"
    >>> with replacing(target) as partial:
    ...     _ = partial.write_text("hello")
    >>> target.read_text()
    'hello'
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal, without holding all of it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(path: Path) -> None:
    """Make the names in a folder outlive a power cut.

    Raises:
        OSError: the disk refuses.
    """
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_folder(path: Path) -> None:
    """Make a folder that others may not look into, and those above it, unless they are there; durably.

    Raises:
        OSError: the disk refuses, or a file is in the way.
    """
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def abandoned(folder: Path) -> list[Path]:
    """List what `replacing` has left in a folder in programs that were killed."""
    return [path for path in folder.glob(".*.partial") if not _lives(path)]


def _lives(partial: Path) -> bool:
    number = partial.name.split(".")[-2]
    if not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def check_output(path: Path, example: str) -> None:
    """Refuse before long work what could not be written after it.

    Args:
        path: where the file shall be.
        example: a file name for the error's text.

    Raises:
        BundleError: it is a folder, or lies in one that is missing or cannot be written.
    """
    if path.is_dir():
        raise BundleError(f"{path} is a folder; name the file, for example {path / example}")
    if not path.parent.is_dir():
        raise BundleError(f"folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise BundleError(f"folder {path.parent} cannot be written; name another path")
