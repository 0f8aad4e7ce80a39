"""What may be written where: nothing that is there already is replaced, unless this program wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.bundle import archive
from edge.errors import BundleError
from edge.files import check_output
from edge.metrics import figures


def check_bundle(path: Path) -> None:
    """Refuse to write a bundle where none could be written, or over a file that is not one.

    Raises:
        BundleError: It is one of these.
    """
    check_output(path, "kitchen.edge")
    if not is_there(path):
        return
    try:
        archive.read(path)
    except BundleError as error:
        raise BundleError(
            "output-exists", f"{path} is there already and is not a bundle ({error}); {_ELSEWHERE}"
        ) from error


def check_weights(path: Path) -> None:
    """Refuse to write weights where none could be written, or over a file that `pretrain` did not write.

    Raises:
        BundleError: It is one of these.
    """
    from safetensors import safe_open

    check_output(path, "weights.safetensors")
    if not is_there(path):
        return
    try:
        with safe_open(path, "pt") as file:
            if not file.keys():
                raise ValueError("no tensors")
    except Exception as error:  # SafetensorError is a bare Exception
        raise BundleError(
            "output-exists", f"{path} is there already and does not hold weights; {_ELSEWHERE}"
        ) from error


def check_drawing(path: Path) -> None:
    """Refuse to draw where nothing could be written, or over a file that is not a drawing of ours.

    Raises:
        BundleError: It is one of these.
    """
    check_output(path, "networks.svg")
    if is_there(path) and DRAWING.encode() not in path.read_bytes():
        raise BundleError("output-exists", f"{path} is there already and is not a drawing of edge-export; {_ELSEWHERE}")


def check_log(path: Path) -> None:
    """Refuse to add to a log that `pretrain` did not begin.

    Raises:
        BundleError: It is one.
    """
    if is_there(path) and not isinstance(read_json(path, lines=1), dict):
        raise BundleError(
            "output-exists", f"{path} is there already and is not a log of edge-export pretrain; {_ELSEWHERE}"
        )


def is_there(path: Path) -> bool:
    """Whether there is something that would be lost: an empty file would not."""
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def read_json(path: Path, lines: int = 0) -> Any:
    """Read a file, or its first lines, as JSON; None if it is something else."""
    try:
        text = path.read_text(encoding="utf-8")
        return figures.read_json("\n".join(text.splitlines()[:lines]) if lines else text)
    except (OSError, ValueError):
        return None


DRAWING = "edge-export compare"  # in the title of what `compare --plot` draws
_ELSEWHERE = "name another path, or move that file elsewhere first"
