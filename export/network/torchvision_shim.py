"""Make `import torchvision` work beside a CPU-only torch. Owns this one workaround and nothing else.

The torchvision wheel of the package index is compiled against CUDA. Beside a CPU build of torch its compiled
operators cannot be loaded, and then the import itself fails with "operator torchvision::nms does not exist",
because some Python modules register fake kernels for operators that were never defined. Defining the bare schemas
first is enough for the models and the transforms; the operators themselves (`ops.nms`, `torchvision.io`) stay absent.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []  # a torch.library.Library takes its definitions with it when it is collected


def torchvision_models() -> ModuleType:
    """Import `torchvision.models`, whether or not torchvision's compiled operators fit the torch beside it.

    Returns:
        The module `torchvision.models`.

    Example:
        >>> hasattr(torchvision_models(), "mobilenet_v2")
        True
    """
    if not _kept and not _operators_load():
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            library.define(schema)  # type: ignore[no-untyped-call]
        _kept.append(library)
    from torchvision import models

    return models  # type: ignore[no-any-return]


def _operators_load() -> bool:
    """Whether the compiled operators can be loaded (and are, when they can)."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # no torchvision at all: let its own import say so
    for compiled in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError):
            return False
    return hasattr(torch.ops.torchvision, "nms")
