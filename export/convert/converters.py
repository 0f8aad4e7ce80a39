"""PyTorch → ONNX and TFLite: uint8 (N, H, W, 3) in, float32 (N, D) out, batch norms folded.

In ONNX the batch stays free, although a device embeds one picture at a time: the workstation embeds many. In TFLite it
is fixed at one, and channels are last throughout.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.errors import BundleError
from edge.text import first_line
from export.network.quiet import quiet

if TYPE_CHECKING:
    from torch import nn

OPSET = 18  # the oldest that torch's exporter writes itself: the widest choice of runtimes on devices


def to_onnx(embedder: nn.Module, size: int) -> bytes:
    """Export the embedding graph as one self-contained ONNX file, `image` → `embedding`, checked by ONNX's own checker.

    Args:
        embedder: uint8 (N, H, W, 3) → float32 (N, D), in evaluation mode.
        size: H = W in pixels.

    Raises:
        BundleError: The network cannot be expressed in ONNX.
    """
    import torch

    from export.convert.portable import portable
    from export.network.timm_networks import merged

    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)  # 2: a batch of 1 would become a constant
    with _converting("ONNX", "tflite"):
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


def to_tflite(embedder: nn.Module, size: int) -> bytes:
    """Convert the embedding graph to a TFLite file.

    Args:
        embedder: uint8 (N, H, W, 3) → float32 (N, D), in evaluation mode.
        size: H = W in pixels.

    Raises:
        BundleError: The network cannot be expressed in TFLite.
    """
    import torch

    with _converting("TFLite", "onnx"):
        import litert_torch

        from export.network.timm_networks import merged

        edge_model = litert_torch.convert(merged(embedder), (torch.zeros(1, size, size, 3, dtype=torch.uint8),))
        return bytes(edge_model.model_content())


@contextlib.contextmanager
def _converting(into: str, other: str) -> Iterator[None]:
    """Keep a converter's messages off the terminal, and say in one line why it failed.

    Meanwhile Python does not search for reference cycles: converters make millions of objects that stay until their
    end, so the search takes a quarter of the time and finds little.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        with quiet():
            yield
    except Exception as error:  # the exporter, dynamo, ONNX's checker and the MLIR passes each raise their own
        # the first line of ONNX's exporter only names the step that failed
        why = error.__cause__ if into == "ONNX" and error.__cause__ else error
        raise BundleError(
            "conversion-failed",
            f"this network cannot be converted to {into} ({first_line(why)}); choose --runtime {other}",
        ) from error
    finally:
        if searching:
            gc.enable()
