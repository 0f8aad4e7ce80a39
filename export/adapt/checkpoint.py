"""Checkpoints: the state of a training run in one file, which survives a kill at any moment.

A checkpoint is a dict of tensors, numbers, strings, and lists and dicts of these, such as the `state_dict()` of a
module and an optimizer, `torch.get_rng_state()` and the epoch. It is written next to the old one and then renamed over
it. Reading it runs no code from the file.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edge.errors import BundleError
from edge.files import replacing


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all, synced.

    Args:
        path: The file to write; an older checkpoint is replaced.
        state: Tensors on any device, numbers, strings, and lists and dicts of these.

    Raises:
        OSError: The file cannot be written; the older checkpoint stays unchanged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run.pt"
        >>> save(path, {"epoch": 3, "model": {"weight": torch.ones(2)}})
        >>> load(path)["epoch"]
        3
        >>> load(path.with_name("other.pt")) is None
        True
    """
    file = io.BytesIO()  # given a path, torch raises RuntimeError for a full disk
    torch.save(dict(state), file)
    with replacing(path) as partial:
        partial.write_bytes(file.getbuffer())


def load(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint onto the CPU; None if there is none yet.

    Raises:
        BundleError: The file is not a checkpoint.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling can raise nearly any exception
        raise BundleError(
            "run-mismatch", f"{path} is not a checkpoint, or is damaged; to start again, move it away"
        ) from error
    if not isinstance(state, dict):
        raise BundleError("run-mismatch", f"{path} contains no checkpoint; to start again, move it away")
    return state
