"""Files of named tensors: read without running any code in them, and fitted to a network.

Other programs wrap a network before they save it, so that its tensors' names begin with `module.`, `model.`,
`_orig_mod.`, `backbone.` or several of these. Any prefix without which all names fit is removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge.errors import BundleError
from edge.files import replacing
from export.network.embedder import JOINING
from export.network.file_kind import foreign, is_safetensors, torch_zip
from export.network.quiet import quiet

if TYPE_CHECKING:
    import torch

WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "net", "weights")
_WANTED = "a file of weights (.safetensors, or what torch.save wrote)"
_SAVE = "where it was made, save the tensors alone: torch.save(model.state_dict(), FILE)"
_AGAIN = "copy or download it again"


class Misfit(NamedTuple):
    """Names of tensors that are missing, superfluous, or of another shape."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[str, ...]

    def __str__(self) -> str:
        words = ("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.shapes)
        return ", ".join(f"{word} {len(keys)} (first: {keys[0]})" for word, keys in words if keys)

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return bool(self.missing or self.unexpected or self.shapes)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a file of named tensors without running any code in it; half precision is widened to float32.

    Args:
        path: safetensors, or a file of `torch.save` with a state dict, perhaps under one of the keys `WRAPPERS`.

    Raises:
        BundleError: The file is missing, of another kind (which is named), or contains more than tensors.
    """
    import torch

    if not path.exists():
        raise BundleError("weights-missing", f"weights file {path} does not exist; give {_WANTED}")
    is_something_else = foreign(path, _WANTED)
    if is_something_else:
        raise BundleError("weights-damaged", f"{path} {is_something_else}")
    state: Any = _safetensors(path) if is_safetensors(path) else _torch(path)
    while isinstance(state, dict) and (inner := next((k for k in WRAPPERS if isinstance(state.get(k), dict)), "")):
        state = state[inner]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise BundleError("weights-damaged", f"{path} contains no state dict (tensors by name); {_SAVE}")
    for key, tensor in state.items():
        if tensor.is_quantized or tensor.layout != torch.strided or tensor.is_complex() or tensor.is_meta:
            raise BundleError(
                "weights-damaged",
                f"{path}: tensor {key!r} is not a plain one (it is quantized, sparse or empty); {_SAVE}",
            )
    return {str(key): tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}


def unwrapped(
    state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], source: str
) -> dict[str, torch.Tensor]:
    """Remove the prefix without which the names include all of `wanted`, and every tensor without that prefix.

    Args:
        state: The tensors of a file.
        wanted: The tensors that the network needs.
        source: The file, for the error.

    Returns:
        The tensors by the network's own names; unchanged if no prefix fits.

    Raises:
        BundleError: Two prefixes fit, so the file contains two such networks.
    """
    needed = [key for key in wanted if not is_counter(key)]
    if not needed or all(key in state for key in needed):
        return dict(state)
    first = min(needed, key=lambda key: (-key.count("."), key))  # the most particular
    starts = sorted({key[: -len(first)] for key in state if key.endswith(f".{first}")})
    fits = [start for start in starts if all(start + key in state for key in needed)]
    if len(fits) > 1:
        raise BundleError(
            "weights-damaged",
            f"{source} contains {len(fits)} networks that fit, with names beginning with "
            f"{' and '.join(map(repr, fits))}; save only the one you want",
        )
    if not fits:
        return {key.removeprefix(starts[0]): value for key, value in state.items()} if len(starts) == 1 else dict(state)
    return {key.removeprefix(fits[0]): value for key, value in state.items() if key.startswith(fits[0])}


def misfit(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], beside: Sequence[str] = ()) -> Misfit:
    """Compare names and shapes.

    Args:
        wanted: The tensors that the network needs; its counters may be missing.
        beside: Prefixes of other names that are allowed: the classifier's.
    """
    return Misfit(
        tuple(sorted(key for key in wanted.keys() - state.keys() if not is_counter(key))),
        tuple(sorted(key for key in state.keys() - wanted.keys() if not key.startswith(tuple(beside)))),
        tuple(sorted(key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape)),
    )


def check_numbers(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Refuse tensors with NaN or infinity.

    Raises:
        BundleError: A tensor contains such a value; the message names it.
    """
    import torch

    for key, tensor in state.items():
        wrong = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0
        if wrong:
            raise BundleError(
                "model-not-numbers",
                f"{source}: {wrong:,} of the {tensor.numel():,} values of tensor {key!r} are not numbers (NaN or "
                "infinity): the training that wrote them went wrong; take an earlier checkpoint",
            )


def is_counter(key: str) -> bool:
    """Whether a tensor only counts the batches of a training."""
    return key.endswith("num_batches_tracked")


def _safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # SafetensorError is a bare Exception, and knows types that torch does not
        raise BundleError("weights-damaged", f"{path} is a damaged or incomplete safetensors file; {_AGAIN}") from error


def _torch(path: Path) -> Any:
    import torch

    try:
        with quiet(), path.open("rb") as file:  # a path's suffix would decide how torch reads it
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises nearly every builtin
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        code = f"reading it would run its code, which is not done: {_SAVE}"
        if refused:
            raise BundleError(
                "weights-damaged",
                f"{path} contains more than tensors (a {refused[1]}), like a whole pickled model; {code}",
            ) from error
        if path.read_bytes()[:1] == b"\x80":
            raise BundleError(
                "weights-damaged", f"{path} is a pickle of Python objects other than tensors, or incomplete; {code}"
            ) from error
        if path.suffix.lower() == ".onnx" or path.read_bytes()[4:8] == b"TFL3":
            kind = "an ONNX" if path.suffix.lower() == ".onnx" else "a TFLite"
            raise BundleError(
                "weights-damaged",
                f"{path} is {kind} model, not weights; to bundle it unchanged: edge-export build PHOTOS --model FILE",
            ) from error
        what = "is cut short or damaged" if torch_zip(path) else "is not a file of weights, or is damaged"
        raise BundleError("weights-damaged", f"{path} {what}; give {_WANTED}, or {_AGAIN}") from error


def save_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write weights as safetensors in half precision, with statistics and scales in single precision.

    Raises:
        OSError: The disk refuses; an older file is unchanged.
    """
    from safetensors.torch import save  # save_file's errors are none of the system's

    def packed(key: str, value: torch.Tensor) -> torch.Tensor:
        single = "running" in key or (key in JOINING and value.ndim == 1)
        half = value.is_floating_point() and not single
        return (value.half() if half else value).contiguous()

    with replacing(path) as partial:
        partial.write_bytes(save({key: packed(key, value) for key, value in weights.items()}))
