"""Write the tiny backbones the tests graft onto: run on the workstation, in this folder, as `python make_tiny.py`.

A random two-layer network without biases, uint8 [N, 16, 16, 3] → float32 [N, 8]; black pictures give a zero
embedding. `tiny.onnx` has a free batch axis. `tiny.tflite` is litert-torch's own; `tiny_uint8.tflite` and
`tiny_int8.tflite` are the same with a quantized output of shape [1, 1, 1, 8], as Coral's embedding extractors have
it; `tiny_free.tflite` declares a free batch axis.
"""

import copy
from pathlib import Path

import numpy as np

from edge.testing import DIMENSION, MODELS, PATCH, SIDE, kernels

QUANTIZE, RESHAPE = 114, 22  # BuiltinOperator
UINT8, INT8 = 3, 9  # TensorType
ZERO_POINTS = {UINT8: 128, INT8: 0}
SCALE = 1 / 64


def tiny_onnx(opset: int = 18, batch: int | str = "N", embedding: str = "embedding", pooled: bool = False) -> bytes:
    """Return the network as ONNX; `pooled` leaves the output (N, 8, 1, 1)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    first, second = kernels()
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["hidden"], strides=[PATCH, PATCH]),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("Conv", ["positive", "second"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], [embedding if pooled else "pooled"]),
        *([] if pooled else [helper.make_node("Flatten", ["pooled"], [embedding], axis=1)]),
    ]
    shape = [batch, DIMENSION, 1, 1] if pooled else [batch, DIMENSION]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(embedding, TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(np.array(255, np.float32), "white"),
            numpy_helper.from_array(first, "first"),
            numpy_helper.from_array(second, "second"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, {"labels": '["old"]', "origin": "tests"})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def tiny_tflite() -> bytes:
    """Return the network as litert-torch converts it."""
    import litert_torch
    import torch

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(3, DIMENSION, PATCH, PATCH, bias=False)
            self.second = torch.nn.Conv2d(DIMENSION, DIMENSION, 1, bias=False)
            for layer, kernel in zip([self.first, self.second], kernels(), strict=True):
                layer.weight = torch.nn.Parameter(torch.from_numpy(kernel))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            planes = (image.float() / 255).permute(0, 3, 1, 2)
            pooled: torch.Tensor = self.second(self.first(planes).relu()).mean((2, 3))
            return pooled

    sample = (torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8),)
    path = MODELS["tflite"]
    litert_torch.convert(Tiny().eval(), sample).export(str(path))
    return path.read_bytes()


def quantized(model: bytes, element: int) -> bytes:
    """Return the TFLite model with its output reshaped to [1, 1, 1, 8] and quantized to this TensorType."""
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = tree.subgraphs[0]
    output = graph.tensors[graph.outputs[0]]
    for code in (RESHAPE, QUANTIZE):
        operator_code = schema.OperatorCodeT()
        operator_code.deprecatedBuiltinCode = operator_code.builtinCode = code
        operator_code.version = 1
        tree.operatorCodes.append(operator_code)
        tensor = copy.copy(output)
        tensor.shape, tensor.buffer, tensor.name = [1, 1, 1, DIMENSION], 0, f"output_{code}"
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = (
            len(tree.operatorCodes) - 1,
            [len(graph.tensors) - 1 if code == QUANTIZE else graph.outputs[0]],
            [len(graph.tensors)],
        )
        if code == RESHAPE:
            operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
            operator.builtinOptions = schema.ReshapeOptionsT()
            operator.builtinOptions.newShape = [1, 1, 1, DIMENSION]
        else:
            tensor.type, tensor.quantization = element, schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [SCALE], [ZERO_POINTS[element]]
        graph.tensors.append(tensor)
        graph.operators.append(operator)
    graph.outputs = [len(graph.tensors) - 1]
    tree.signatureDefs = []
    return _packed(tree)


def free_batch(model: bytes) -> bytes:
    """Return the TFLite model with the batch axis of all its activations declared free."""
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    for tensor in tree.subgraphs[0].tensors:
        if tree.buffers[tensor.buffer].data is None:
            tensor.shapeSignature = [-1, *tensor.shape[1:]]
    return _packed(tree)


def _packed(tree: object) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(tree.Pack(builder), b"TFL3")  # type: ignore[attr-defined]
    return bytes(builder.Output())


if __name__ == "__main__":
    MODELS["onnx"].write_bytes(tiny_onnx())
    converted = tiny_tflite()
    Path("tiny_uint8.tflite").write_bytes(quantized(converted, UINT8))
    Path("tiny_int8.tflite").write_bytes(quantized(converted, INT8))
    Path("tiny_free.tflite").write_bytes(free_batch(converted))
