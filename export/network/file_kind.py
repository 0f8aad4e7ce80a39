"""Recognise a file by its first bytes, so that the error for a wrong file says what it is.

People pass a web page that a browser saved, the pointer that Git LFS left in place of a large file, or an archive that
is still packed. The messages of libraries do not help with these. The contents of a file are never shown.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from edge.errors import BundleError, disk_errors_as
from edge.picture.kinds import HEAD, kind

_STARTS = (  # what `edge.picture.kinds` does not tell, as no folder of pictures holds it
    (b"\x89HDF", "is an HDF5 file, as Keras writes them; PyTorch weights, ONNX and TFLite can be used"),
    (b"GGUF", "is a language model (GGUF); an image network is needed"),
    (b"\x93NUMPY", "is a NumPy array; an image network is needed"),
)


def torch_zip(path: Path) -> bool:
    """Whether a file is a zip written by `torch.save`."""
    return any(name.endswith("/data.pkl") for name in _names(path))


def is_safetensors(path: Path) -> bool:
    """Whether a file begins like safetensors: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000


def foreign(path: Path, wanted: str) -> str:
    """Describe a file that is neither weights nor a model, and what to do; "" if its kind is not known.

    Args:
        wanted: The kind of file that is needed, in words.

    Raises:
        BundleError: The file cannot be read.
    """
    with disk_errors_as(BundleError, "file-unreadable", f"{path} cannot be read", "check its permissions"):
        if path.is_dir():
            return f"is a folder; name {wanted}"
        with path.open("rb") as file:
            start = file.read(HEAD)
    for first, words in _STARTS:
        if start.startswith(first):
            return words
    if start[:4] == b"PK\3\4":
        return _zip(path)
    found = kind(start)
    if found.words.startswith("a web page"):
        return "is a web page, not what its link promised; download the file itself"
    if found.reason in ("empty", "damaged") and not found.format:
        return f"is {found.words}; copy or download it again"
    if found.reason == "archive":
        return f"is {found.words}; unpack it and name the file inside"
    if "pointer" in found.words:
        return f"is {found.words}; {found.advice}"
    if found.words == "a text file" and _is_json(path):
        return f"is a text in JSON, as a server's error message is; name {wanted}"
    if found.reason == "text" or found.format in ("JPEG", "PNG") or "PDF" in found.words:
        return f"is {found.words}; name {wanted}"
    return ""


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            json.loads(file.read(1 << 20))
    except (OSError, ValueError, RecursionError):
        return False
    return True


def _zip(path: Path) -> str:
    names = _names(path)
    if not names:
        return "is cut short or damaged (a zip without its end); copy or download it again"
    if "manifest.json" in names and "golden.npz" in names:
        return "is a bundle of edge-transfer already; give it to `edge init`"
    if any("/code/" in name for name in names):
        return (
            "is a TorchScript program; where it was made, save the tensors alone: torch.save(model.state_dict(), FILE)"
        )
    if any(name.endswith(("/data.pkl", ".data/serialization_id")) for name in names):
        return ""
    if all(name.endswith(".npy") for name in names):
        return "is a NumPy archive (.npz); PyTorch weights, ONNX and TFLite can be used"
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return "is a Keras model; PyTorch weights, ONNX and TFLite can be used"
    return "is a zip archive; unpack it and name the file inside"


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []
