"""PyTorch → ONNX: uint8 `image` (N, H, W, 3) in, float32 `embedding` (N, D) out, N free, batch norms folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import BundleError
from edge.text import first_line
from export.convert.uncollected import uncollected
from export.network.quiet import quiet

if TYPE_CHECKING:
    from torch import nn

OPSET = 18  # the oldest that torch's exporter writes itself: the widest choice of runtimes on devices


def to_onnx(embedder: nn.Module, size: int) -> bytes:
    """Export the embedding graph as one self-contained ONNX file.

    The batch stays free although a device embeds one picture at a time: the workstation embeds many.

    Args:
        embedder: uint8 (N, H, W, 3) → float32 (N, D), in evaluation mode.
        size: H = W in pixels.

    Returns:
        The file's bytes, checked by ONNX's own checker.

    Raises:
        BundleError: The network cannot be expressed in ONNX.
    """
    import torch

    from export.convert.portable import portable
    from export.network.timm_networks import merged

    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)  # 2: a batch of 1 would become a constant
    try:
        with quiet(), uncollected():
            program = torch.onnx.export(
                merged(embedder),
                (example,),
                dynamo=True,
                external_data=False,
                input_names=["image"],
                output_names=["embedding"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                opset_version=OPSET,
                verbose=False,
            )
            assert program is not None  # only the old exporter returns None
            return portable(program.model_proto.SerializeToString())
    except Exception as error:  # the exporter, dynamo and the checker each raise their own exceptions
        why = error.__cause__ or error  # the exporter's own first line only names the step that failed
        raise BundleError(
            "conversion-failed",
            f"this network cannot be converted to ONNX ({first_line(why)}); choose --runtime tflite",
        ) from error
