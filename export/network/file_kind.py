"""What a file is, by its first bytes: so that a wrong file is named as what it is, not as what it failed to be.

People give a web page that a browser saved, the pointer that Git LFS left in place of a large file, an archive that is
still packed. No library's message about those helps, and what somebody else wrote into a file is never shown.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from edge.errors import BundleError

_LOOK = 4096  # bytes

_STARTS = (  # the first bytes, and in words what they stand for with what to do
    (b"version https://git-lfs", "is a Git LFS pointer, which stands for the real file; fetch that with: git lfs pull"),
    (b"\x1f\x8b", "is a gzip archive; unpack it and name the file inside"),
    (b"BZh", "is a bzip2 archive; unpack it and name the file inside"),
    (b"\xfd7zXZ", "is an xz archive; unpack it and name the file inside"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it and name the file inside"),
    (b"\x28\xb5\x2f\xfd", "is a zstd archive; unpack it and name the file inside"),
    (b"Rar!", "is a rar archive; unpack it and name the file inside"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes them; PyTorch weights, ONNX and TFLite can be used"),
    (b"GGUF", "is a language model (GGUF); an image network is needed"),
    (b"\x93NUMPY", "is a NumPy array; an image network is needed"),
    (b"\xff\xd8\xff", "is a picture (JPEG)"),
    (b"\x89PNG", "is a picture (PNG)"),
    (b"%PDF", "is a PDF document"),
)


def torch_zip(path: Path) -> bool:
    """Whether a file is a zip that `torch.save` wrote."""
    return any(name.endswith("/data.pkl") for name in _names(path))


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000


def foreign(path: Path, wanted: str) -> str:
    """Say what a file is that is neither weights nor a model, with what to do; "" if its bytes are not known.

    Args:
        path: A file.
        wanted: What should be given instead, in words.

    Raises:
        BundleError: It cannot be read.
    """
    try:
        if path.is_dir():
            return f"is a folder; name {wanted}"
        with path.open("rb") as file:
            start = file.read(_LOOK)
    except OSError as error:
        raise BundleError(
            "file-unreadable", f"{path} cannot be read ({error.strerror}); check its permissions"
        ) from error
    if not start:
        return "is empty (0 bytes); copy or download it again"
    if not start.strip(b"\0"):
        return "begins with zeros only, as a download that was cut off; copy or download it again"
    for first, words in _STARTS:
        if start.startswith(first):
            return words if ";" in words else f"{words}; name {wanted}"
    if start[257:262] == b"ustar":
        return "is a tar archive; unpack it and name the file inside"
    if start[:4] == b"PK\3\4":
        return _zip(path)
    return _text(start, wanted)


def _text(start: bytes, wanted: str) -> str:
    """What a text is; "" for a file that is not one."""
    try:
        text = start.decode("utf-8-sig", "strict" if len(start) < _LOOK else "ignore").lstrip().lower()
    except UnicodeDecodeError:
        return ""
    if "\0" in text or not (text[:200].isprintable() or any(c in text[:200] for c in "\n\r\t")):
        return ""
    if any(not (c.isprintable() or c in "\n\r\t\f") for c in text):
        return ""
    if text.startswith(("<!doctype", "<html", "<head", "<?xml", "<!--", "<body", "<svg")):
        return "is a web page, not what its link promised; download the file itself"
    try:
        json.loads(text)
    except ValueError:
        return f"is a text file; name {wanted}"
    return f"is a text in JSON, as a server's error message is; name {wanted}"


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
