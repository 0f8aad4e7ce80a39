"""Write files whole or not at all, so that a power cut leaves the old file or the new one, never half of one.

Source: rename(2) and fsync(2): the new bytes are synced before the name moves, and the folder after it.
"""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from edge.errors import BundleError


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o666, new: bool = False) -> Iterator[Path]:
    """Yield an empty file beside `path`, to be written; when the block has ended well, it becomes `path`, durably.

    Args:
        mode: its permissions, less those that the umask takes.
        new: `path` must not exist.

    Raises:
        FileExistsError: `new`, and `path` exists; or it is a device, a pipe or a socket.
        OSError: the disk refuses, with `path` as its file's name; `path` is as it was.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "greeting"
    >>> with replacing(target) as partial:
    ...     _ = partial.write_text("hello")
    >>> target.read_text()
    'hello'
    """
    if path.exists() and not path.is_file():  # root could put a file where /dev/null was
        raise FileExistsError(errno.EEXIST, "is not an ordinary file", str(path))
    partial = new_partial(path, mode)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if new:
            _link(partial, path)
        else:
            partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:  # a full disk names no file, others the one beside, which nobody knows
        if error.filename is None or str(error.filename) == str(partial):
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _link(partial: Path, path: Path) -> None:
    """Give a file a second name, which must be new; where a disk has no links, as FAT, move it there."""
    try:
        path.hardlink_to(partial)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        partial.replace(path)


def new_partial(path: Path, mode: int = 0o666, folder: bool = False) -> Path:
    """Make an empty file or folder beside `path`, under a name that `abandoned` knows and that nothing else has.

    Raises:
        OSError: the disk refuses.
    """
    for number in itertools.count():
        partial = path.with_name(f".{path.name}.{f'{number}.' * (number > 0)}{os.getpid()}.partial")
        with contextlib.suppress(FileExistsError):
            if folder:
                partial.mkdir(mode)
            else:
                partial.touch(mode, exist_ok=False)
            break
    return partial


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


def locked(path: Path) -> int | None:
    """Open a file, made if there is none, and lock it until it is closed; None if another process has locked it.

    Raises:
        OSError: it cannot be written.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def abandoned(path: Path) -> list[Path]:
    """List what programs that were killed have left beside `path` while they wrote it."""
    found = []
    for partial in path.parent.glob(".*.partial"):
        rest = partial.name.removeprefix(f".{path.name}.").removesuffix(".partial")
        number = re.fullmatch(r"(?:[0-9]+\.)?([0-9]+)", rest)
        if number and not partial.is_symlink() and not _lives(number[1]):
            found.append(partial)
    return found


def _lives(number: str) -> bool:
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def check_output(path: Path, example: str, kind: str = "", mark: bytes = b"") -> None:
    """Refuse before long work what could not be written after it, and, if `mark` is given, what is not to be replaced.

    Args:
        path: where the file shall be.
        example: a file name for the error's text.
        kind: what an existing file must be, so that it may be replaced.
        mark: what the first 4,096 bytes of every such file contain.

    Raises:
        BundleError: it is a folder, a link, a device or a pipe, lies in a folder that is missing or cannot be written,
            or is a file of another kind.
    """
    if path.is_dir():
        raise BundleError(
            "output-unwritable", f"{path} is a folder; give the name of a file, for example {path / example}"
        )
    if path.is_symlink():  # as /dev/stdout, which root could replace
        raise BundleError("output-unwritable", f"{path} is a link to {path.readlink()}; give the name of a file itself")
    if path.exists() and not path.is_file():
        raise BundleError("output-unwritable", f"{path} is a device, a pipe or a socket; give the name of a file")
    if not path.parent.is_dir():
        raise BundleError("output-unwritable", f"folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise BundleError("output-unwritable", f"folder {path.parent} is not writable; choose another path")
    if mark and path.is_file():
        with path.open("rb") as file:
            start = file.read(4096)
        if start and mark not in start:
            raise BundleError("output-exists", f"{path} exists and is not {kind}; choose another name")
