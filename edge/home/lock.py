"""A queue for a home: processes write in the order in which they asked.

SQLite's lock has no queue: all waiting processes try again and again, and the newest tries most often. On a card on
which a commit takes a tenth of a second, a few busy programs then keep another out until it gives up. The kernel grants
file locks in the order in which they were requested, and frees them when their owner ends. This queue is only for
fairness; SQLite itself ensures that two processes never write at once.

Source: flock(2).
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread


@contextlib.contextmanager
def turn(path: Path, seconds: float) -> Iterator[None]:
    """Run the block when all earlier ones have finished.

    Args:
        path: the lock file, which is created if necessary. If that is not possible, there is no queue.
        seconds: longest wait.

    Raises:
        TimeoutError: an earlier process took longer.

    >>> import tempfile
    >>> with turn(Path(tempfile.mkdtemp()) / "lock", 1.0):
    ...     print("mine")
    mine
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # a read-only or full disk
        yield
        return
    try:
        _lock(file, seconds)
        yield
    finally:
        os.close(file)


def _lock(file: int, seconds: float) -> None:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    # flock knows no longest wait, so a thread waits; one that is given up gets its lock later, on a closed file.
    waiting = Thread(target=fcntl.flock, args=(file, fcntl.LOCK_EX), daemon=True)
    waiting.start()
    waiting.join(seconds)
    if waiting.is_alive():
        raise TimeoutError
