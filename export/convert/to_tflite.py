"""PyTorch → TFLite: uint8 (1, H, W, 3) in, float32 (1, D) out, batch norms folded, channels last throughout.

The batch is fixed at one: a device embeds one picture at a time, and the workstation does it the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import BundleError
from edge.text import first_line
from export.convert.uncollected import uncollected
from export.network.quiet import quiet

if TYPE_CHECKING:
    from torch import nn


def to_tflite(embedder: nn.Module, size: int) -> bytes:
    """Convert the embedding graph to a TFLite file.

    Args:
        embedder: uint8 (N, H, W, 3) → float32 (N, D), in evaluation mode.
        size: H = W in pixels.

    Returns:
        The file's bytes.

    Raises:
        BundleError: The network cannot be expressed in TFLite.
    """
    import torch

    try:
        with quiet(), uncollected():
            import litert_torch

            from export.network.timm_networks import merged

            edge_model = litert_torch.convert(merged(embedder), (torch.zeros(1, size, size, 3, dtype=torch.uint8),))
            return bytes(edge_model.model_content())
    except Exception as error:  # torch.export and the MLIR passes each raise their own exceptions
        raise BundleError(
            "conversion-failed",
            f"this network cannot be converted to TFLite ({first_line(error)}); choose --runtime onnx",
        ) from error
