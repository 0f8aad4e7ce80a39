"""The unfinished output folder of `adapt`: checks whether it may be written, and keeps the checkpoints.

The checkpoints are in its subfolder `.work`. They are valid only for the same network, photos and options.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import edge
from edge import files
from edge.errors import BundleError
from export.adapt.processes import Processes
from export.adapt.strategies import Strategy
from export.bundle import adapted
from export.written import read_json

WORK, RUN = ".work", "run.json"
_OURS = frozenset({adapted.JSON, adapted.WEIGHTS, adapted.REPORT, WORK})


def check_output(folder: Path) -> None:
    """Check before any work that the output folder can be written and contains nothing else.

    Raises:
        BundleError: The folder cannot be written, or contains something else.
    """
    if folder.exists() and not folder.is_dir():
        raise BundleError("output-unwritable", f"{folder} is a file; give a folder to write, for example adapted")
    if not folder.is_dir():
        files.check_output(folder, "adapted")
        return
    if not os.access(folder, os.W_OK):
        raise BundleError("output-unwritable", f"folder {folder} is not writable; choose another path")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in _OURS and path.name[0] != ".")
    if foreign:
        raise BundleError(
            "output-exists", f"{folder} contains other files ({foreign[0]}); choose an empty or new folder"
        )
    work = folder / WORK
    if work.exists() and not _is_work(work):
        raise BundleError("output-exists", f"{work} was not created by edge-export adapt; choose another folder")
    known = is_ours(folder / adapted.JSON) or (work.is_dir() and any(work.iterdir()))
    there = [folder / name for name in sorted(_OURS - {WORK}) if (folder / name).exists()]
    if there and not known:
        raise BundleError("output-exists", f"{there[0]} was not written by edge-export adapt; choose another folder")


def is_ours(path: Path) -> bool:
    """Whether a file is an adapted.json written by this program."""
    found = read_json(path)
    return isinstance(found, dict) and str(found.get("program", "")).startswith("edge-transfer")


def _is_work(folder: Path) -> bool:
    """Whether a folder contains checkpoints."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}
    mark = read_json(folder / RUN) if RUN in names else {"run": ""}
    return isinstance(mark, dict) and mark.keys() == {"run"} and all(n == RUN or n.endswith(".pt") for n in names)


class Unfinished:
    """The checkpoints of one run; those of an interrupted start are kept, those of a different run are deleted.

    Args:
        depends: Everything that the run depends on: the initial network, the photos, the options.
        processes: The processes; only the first writes.
    """

    def __init__(self, output: Path, depends: Iterable[object], processes: Processes) -> None:
        told = " ".join(map(str, (*depends, edge.__version__)))
        self._folder, run = output / WORK, json.dumps({"run": hashlib.sha256(told.encode()).hexdigest()})
        if processes.is_first:
            mark = self._folder / RUN
            if not mark.is_file() or mark.read_text() != run:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(parents=True)
                with files.replacing(mark) as partial:
                    partial.write_text(run)
        processes.barrier()

    def checkpoint(self, strategy: Strategy, half: int) -> Path:
        """Return the checkpoint file for the training on one half of the photos."""
        return self._folder / f"{strategy.name}-{half}.pt"

    def remove(self) -> None:
        """Delete the checkpoints of a finished run."""
        shutil.rmtree(self._folder)
