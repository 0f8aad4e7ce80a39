"""Record, under the shim, what teaching a small home writes: for test_torture.py."""

import shutil
import sys
from pathlib import Path

from benchmarks.torture import device
from benchmarks.torture.operations import OPERATIONS
from benchmarks.torture.shim import Mode, Shim


def main() -> None:
    """Leave `start`, `work` and `log` in the folder named."""
    folder = Path(sys.argv[1])
    made, teach = device.make(folder), OPERATIONS[0]
    (folder / "start").mkdir()
    teach.before(folder / "start", made)
    shutil.copytree(folder / "start", folder / "work")
    shim = Shim()
    shim.arm(folder / "work", Mode.NOTHING, log=folder / "log")
    for number, step in enumerate(teach.steps):
        step(folder / "work", made)
        shim.mark(number)
    shim.disarm()


if __name__ == "__main__":
    main()
