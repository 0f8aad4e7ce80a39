"""Where a training run stands, in one file that a kill can neither halve nor lose.

A checkpoint is a dict of tensors, numbers, texts, and lists and dicts of such: what `state_dict()` of a module and of
an optimizer return, `torch.get_rng_state()`, the epoch. It is written whole beside the old one and then renamed over
it, and read back without running any code in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.errors import BundleError
from edge.files import replacing


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all, synced.

    Args:
        path: Where; an older one is replaced.
        state: Tensors on any device, numbers, texts, and lists and dicts of those.

    Raises:
        OSError: The disk refuses; the older one is as it was.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "run.pt"
        >>> save(path, {"epoch": 3, "model": {"weight": torch.ones(2)}})
        >>> load(path)["epoch"]
        3
        >>> load(path.with_name("other.pt")) is None
        True
    """
    import io

    import torch

    file = io.BytesIO()  # given a path, torch makes a RuntimeError of a full disk
    torch.save(dict(state), file)
    with replacing(path) as partial:
        partial.write_bytes(file.getbuffer())


def load(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint onto the processor; None where there is none yet.

    Raises:
        BundleError: The file is no checkpoint.
    """
    import torch

    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises nearly every builtin
        raise BundleError(
            "run-mismatch", f"{path} is not a checkpoint, or is damaged; to start again, move it away"
        ) from error
    if not isinstance(state, dict):
        raise BundleError("run-mismatch", f"{path} contains no checkpoint; to start again, move it away")
    return state
