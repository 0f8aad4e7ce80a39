"""What may be written where: nothing that is there already is replaced, unless this program wrote it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.bundle import archive
from edge.bundle.card import MARK
from edge.errors import BundleError
from edge.files import check_output, replacing
from edge.metrics import figures

DRAWING = "edge-export compare"  # in the title of what `compare --plot` draws


def check_bundle(path: Path) -> None:
    """Refuse to write a bundle where none could be written, or over a file that is not one (BundleError)."""
    check_output(path, "kitchen.edge")
    _check(path, "is not a bundle", archive.read)


def check_weights(path: Path) -> None:
    """Refuse to write weights where none could be written, or over a file that `pretrain` did not write."""
    from safetensors import safe_open

    def tensors(path: Path) -> list[str]:
        with safe_open(path, "pt") as file:
            return list(file.keys())

    check_output(path, "weights.safetensors")
    _check(path, "does not hold weights", tensors)


def check_drawing(path: Path) -> None:
    """Refuse to draw where nothing could be written, or over a file that is not a drawing of ours."""
    check_output(path, "networks.svg")
    _check(path, "is not a drawing of edge-export", lambda path: DRAWING.encode() in path.read_bytes())


def write_card(path: Path, text: str) -> None:
    """Write a card whole or not at all, where nothing is or an older card.

    Raises:
        BundleError: it is something else, or the path cannot be written.
    """
    check_output(path, "kitchen.md")
    if path.suffix.lower() != ".md":
        raise BundleError("output-unwritable", f"{path} does not end in .md; call it {path.with_suffix('.md').name}")
    _check(path, "is not a card of edge-export", lambda path: MARK.encode() in path.read_bytes()[:1000])
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_log(path: Path) -> None:
    """Refuse to add to a log that `pretrain` did not begin."""
    _check(path, "is not a log of edge-export pretrain", lambda path: isinstance(read_json(path, lines=1), dict))


def _check(path: Path, what: str, ours: Callable[[Path], object]) -> None:
    """Refuse a file that is there already, unless `ours` makes something true of it."""
    why: Exception | None = None
    try:
        is_empty = not path.exists() or (path.is_file() and path.stat().st_size == 0)  # then nothing would be lost
        if is_empty or ours(path):
            return
    except Exception as error:  # SafetensorError is a bare Exception
        why = error
    told = f" ({why})" if isinstance(why, BundleError) else ""
    raise BundleError(
        "output-exists",
        f"{path} is there already and {what}{told}; name another path, or move that file elsewhere first",
    ) from why


def read_json(path: Path, lines: int = 0) -> Any:
    """Read a file, or its first lines, as JSON; None if it is something else."""
    try:
        text = path.read_text(encoding="utf-8")
        return figures.read_json("\n".join(text.splitlines()[:lines]) if lines else text)
    except (OSError, ValueError):
        return None
