"""Queue for a home: writers write in the order in which they came.

SQLite's lock keeps writers apart but has no queue: all waiting processes try again and again, and the newest tries most
often. On a card whose every commit takes a tenth of a second, a few busy programs then keep another out for longer than
it is willing to wait. The kernel's file locks are given in the order in which they were asked for, and are freed when
their owner dies. This is about fairness alone; that two never write at once, SQLite sees to.

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
        path: of the lock file, which is created if necessary. If that is not possible, nobody waits.
        seconds: longest wait.

    Raises:
        TimeoutError: somebody earlier took longer.

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
