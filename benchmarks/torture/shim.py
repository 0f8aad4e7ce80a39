"""The library of shim.c from Python: compiled with the system's cc, put before libc by LD_PRELOAD, armed, disarmed."""

import ctypes
import os
import shutil
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")


class Mode(IntEnum):
    """The harm that is done at the n-th change; as in shim.c."""

    NOTHING = 0
    KILL = 1
    TEAR = 2
    FAIL = 3
    SHORT = 4
    SIGNAL = 5
    READ = 6


def compiler() -> str | None:
    """Return the system's C compiler, or None."""
    return shutil.which("cc")


def preloaded(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of ours in a process that has the library before libc; stderr goes to ours.

    Args:
        folder: where the library is compiled to.
        module, arguments: as after `python -m`.
    """
    library = folder / "shim.so"
    cc = compiler()
    assert cc is not None
    subprocess.run([cc, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)


class Shim:
    """The library in a process that runs under it."""

    def __init__(self) -> None:
        self._c = ctypes.CDLL(None)

    def arm(
        self, folder: Path, mode: Mode, at: int = 0, error: int = 0, for_good: bool = False, log: Path | None = None
    ) -> None:
        """Count from now on what happens below a folder; do harm at number `at`.

        Args:
            folder: absolute.
            mode, at: what, and at which change (or read).
            error: the errno that it fails with, or the signal that is sent.
            for_good: from there on everything fails.
            log: where to write what is done, outside the folder.
        """
        self._c.shim_arm(os.fsencode(folder), at, int(mode), error, int(for_good), os.fsencode(log or ""))

    def disarm(self) -> None:
        """Pass everything on."""
        self._c.shim_disarm()

    def mark(self, number: int) -> None:
        """Write to the log that something was acknowledged."""
        self._c.shim_mark(number)

    @property
    def changes(self) -> int:
        """How many changes there were since it was armed."""
        return int(self._c.shim_changes())

    @property
    def reads(self) -> int:
        """How many reads there were."""
        return int(self._c.shim_reads())
