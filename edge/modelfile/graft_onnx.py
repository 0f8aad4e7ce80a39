"""Add a head to an ONNX file at the level of protobuf's wire format, without the onnx or protobuf packages.

Owns the few facts of ONNX that this takes; edge/modelfile/protobuf.py owns the wire format, in which the order between
different fields is free, a repeated field keeps its own order, and an unknown field may be copied blindly. So the
fields of the model and of its graph are copied as they stand, byte for byte, except `graph.output`, which becomes a
`value_info`; the head's nodes, initializers and output go behind them. Bundles of version 0.1.0 hold three things that
other programs misread (export/convert/portable.py says how, and writes them no more). They are put right on the way: an
`ir_version` beyond what the opset needs, sets of operators that no node is of, HardSigmoid's `beta` where it only
repeats the default.

Source: field numbers from onnx/onnx.proto; operators' versions
from onnx/docs/Operators.md: ReduceL2 takes its axes as an attribute before opset 18 and as an input from it on;
Max and Div broadcast from opset 9 on; for two axes Gemm, Flatten and Softmax with an
explicit axis mean the same in all of them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.modelfile.check_onnx import check_onnx
from edge.modelfile.graft_rules import OUTPUT, SMALLEST_NORM, check_dimension
from edge.modelfile.protobuf import Field, bytes_field, fields, varint_field

LABELS_KEY = "labels"
"""Key of the JSON list of labels among the model's metadata."""

_MODEL_IR, _MODEL_GRAPH, _MODEL_OPSETS, _MODEL_METADATA = 1, 7, 8, 14
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 3, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_INTS, _ATTRIBUTE_TYPE = 1, 3, 8, 20
_TYPE_INT, _TYPE_INTS = 2, 7  # AttributeProto.AttributeType
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _ELEMENT_TYPE, _SHAPE, _SHAPE_DIM, _DIM_VALUE = 1, 2, 1, 1, 2, 1, 1
_ONNX_DOMAINS = (b"", b"ai.onnx")
_IR, _IR_OPSET = 8, 18  # the version of the file format that opsets up to this one need at most
_ATTRIBUTE_FLOAT = 2
_HARD_SIGMOID, _BETA, _BETA_DEFAULT = b"HardSigmoid", b"beta", np.float32(0.5).tobytes()
_OLDEST_OPSET = 9
_AXES_ARE_INPUT = 18  # first opset whose ReduceL2 takes the axes as an input


def graft_onnx(backbone: bytes, weights: NDArray[Any], bias: NDArray[Any], labels: Sequence[str]) -> bytes:
    """Return the backbone's ONNX file with the head behind it; see graft.py, which checks the arguments."""
    model = list(fields(memoryview(backbone)))
    graph = list(fields(_only(model, _MODEL_GRAPH, "graph")))
    output = _only(graph, _GRAPH_OUTPUT, "output")
    embedding = _embedding(output, weights)
    if OUTPUT.encode() in _value_names(graph):
        raise BundleError("model-unsuitable", f"the backbone has a value named {OUTPUT!r}: it is already a classifier")
    check_onnx(backbone)
    opset, domains = _opset(model), _domains(graph)
    prefix = next(name for i in count() if (name := f"head{i or ''}/").encode() not in backbone)
    head = _head(embedding, weights, bias, opset, prefix)
    grown = b"".join(_plain(field) for field in graph if field.number != _GRAPH_OUTPUT)
    grown += bytes_field(_GRAPH_VALUE_INFO, bytes(output)) + head
    metadata = bytes_field(_ENTRY_KEY, LABELS_KEY.encode()) + bytes_field(
        _ENTRY_VALUE, json.dumps(list(labels), ensure_ascii=False).encode()
    )
    new = (_MODEL_GRAPH, _MODEL_IR)
    unused = [field for field in model if field.number == _MODEL_OPSETS and _domain(field) not in domains]
    kept = b"".join(bytes(f.raw) for f in model if f.number not in new and f not in unused and not _is_labels(f))
    version = next((field.value for field in model if field.number == _MODEL_IR), _IR)
    kept = varint_field(_MODEL_IR, min(version, _IR) if opset <= _IR_OPSET else version) + kept
    return kept + bytes_field(_MODEL_GRAPH, grown) + bytes_field(_MODEL_METADATA, metadata)


@dataclass(frozen=True)
class _Embedding:
    """The backbone's output: its name, the Dimension message of its first axis, its number of axes."""

    name: bytes
    batch: bytes
    rank: int


def _head(embedding: _Embedding, weights: NDArray[Any], bias: NDArray[Any], opset: int, prefix: str) -> bytes:
    """Return the head as fields of GraphProto: nodes, initializers and the output."""
    parts: list[bytes] = []

    def constant(name: str, values: NDArray[Any]) -> bytes:
        element = _INT64 if values.dtype.kind == "i" else _FLOAT
        tensor = b"".join(varint_field(_TENSOR_DIMS, size) for size in values.shape)
        tensor += varint_field(_TENSOR_TYPE, element) + bytes_field(_TENSOR_NAME, (prefix + name).encode())
        parts.append(bytes_field(_GRAPH_INITIALIZER, tensor + bytes_field(_TENSOR_RAW, values.tobytes())))
        return (prefix + name).encode()

    def node(op: str, *inputs: bytes, output: str = "", attributes: bytes = b"") -> bytes:
        name = (prefix + op).encode()
        result = output.encode() or name
        body = b"".join(bytes_field(_NODE_INPUT, value) for value in inputs) + bytes_field(_NODE_OUTPUT, result)
        body += bytes_field(_NODE_NAME, name) + bytes_field(_NODE_OP, op.encode()) + attributes
        parts.append(bytes_field(_GRAPH_NODE, body))
        return result

    x = embedding.name
    if embedding.rank != 2:
        x = node("Flatten", x, attributes=_attribute("axis", 1))
    if opset >= _AXES_ARE_INPUT:
        norm = node("ReduceL2", x, constant("axes", np.array([1], "<i8")))
    else:
        norm = node("ReduceL2", x, attributes=_attribute("axes", [1]))
    x = node("Div", x, node("Max", norm, constant("smallest_norm", np.array([SMALLEST_NORM], "<f4"))))
    x = node("Gemm", x, constant("weights", weights), constant("bias", bias))
    node("Softmax", x, output=OUTPUT, attributes=_attribute("axis", 1))
    shape = bytes_field(_SHAPE_DIM, embedding.batch) + bytes_field(_SHAPE_DIM, varint_field(_DIM_VALUE, len(bias)))
    tensor_type = varint_field(_ELEMENT_TYPE, _FLOAT) + bytes_field(_SHAPE, shape)
    output = bytes_field(_VALUE_NAME, OUTPUT.encode()) + bytes_field(
        _VALUE_TYPE, bytes_field(_TYPE_TENSOR, tensor_type)
    )
    return b"".join(parts) + bytes_field(_GRAPH_OUTPUT, output)


def _embedding(output: memoryview, weights: NDArray[Any]) -> _Embedding:
    value = list(fields(output))
    tensor = list(fields(_only(list(fields(_only(value, _VALUE_TYPE, "type"))), _TYPE_TENSOR, "tensor type")))
    element = next((field.value for field in tensor if field.number == _ELEMENT_TYPE), 0)
    if element != _FLOAT:
        raise BundleError(
            "model-unsuitable", f"the backbone's output has ONNX type {element}, expected {_FLOAT} (float32)"
        )
    dims = [field.payload for field in fields(_only(tensor, _SHAPE, "shape")) if field.number == _SHAPE_DIM]
    sizes = [next((field.value for field in fields(dim) if field.number == _DIM_VALUE), 0) for dim in dims]
    check_dimension(sizes, weights)
    return _Embedding(bytes(_only(value, _VALUE_NAME, "name")), bytes(dims[0]), len(dims))


def _opset(model: list[Field]) -> int:
    for field in model:
        if field.number == _MODEL_OPSETS and _domain(field) in _ONNX_DOMAINS:
            version = next((part.value for part in fields(field.payload) if part.number == _OPSET_VERSION), 0)
            if version < _OLDEST_OPSET:
                raise BundleError(
                    "model-unsuitable",
                    f"the backbone has ONNX opset {version}, but the head needs at least {_OLDEST_OPSET}",
                )
            return version
    raise BundleError(
        "model-damaged", "the backbone has no ONNX opset: it is damaged, or not an ONNX file; build the bundle again"
    )


def _domain(opset: Field) -> bytes:
    return next((bytes(part.payload) for part in fields(opset.payload) if part.number == _OPSET_DOMAIN), b"")


def _domains(graph: list[Field]) -> set[bytes]:
    """Return the operator sets that nodes use; the head uses ONNX's default set."""
    nodes = (fields(field.payload) for field in graph if field.number == _GRAPH_NODE)
    return {bytes(part.payload) for node in nodes for part in node if part.number == _NODE_DOMAIN} | set(_ONNX_DOMAINS)


def _value_names(graph: list[Field]) -> set[bytes]:
    names = {_GRAPH_NODE: _NODE_OUTPUT, _GRAPH_INITIALIZER: _TENSOR_NAME, _GRAPH_INPUT: _VALUE_NAME}
    names[_GRAPH_OUTPUT] = _VALUE_NAME
    return {
        bytes(part.payload)
        for field in graph
        if field.number in names
        for part in fields(field.payload)
        if part.number == names[field.number]
    }


def _is_labels(field: Field) -> bool:
    return field.number == _MODEL_METADATA and any(
        part.number == _ENTRY_KEY and part.payload == LABELS_KEY.encode() for part in fields(field.payload)
    )


def _plain(field: Field) -> bytes:
    """Return a field of the graph as it is, or a HardSigmoid without a `beta` that only repeats the default."""
    if field.number != _GRAPH_NODE:
        return bytes(field.raw)
    node = list(fields(field.payload))
    if not any(part.number == _NODE_OP and part.payload == _HARD_SIGMOID for part in node):
        return bytes(field.raw)
    return bytes_field(_GRAPH_NODE, b"".join(bytes(part.raw) for part in node if not _is_default_beta(part)))


def _is_default_beta(part: Field) -> bool:
    if part.number != _NODE_ATTRIBUTE:
        return False
    attribute = {entry.number: bytes(entry.payload) for entry in fields(part.payload)}
    return attribute.get(_ATTRIBUTE_NAME) == _BETA and attribute.get(_ATTRIBUTE_FLOAT) == _BETA_DEFAULT


def _only(fields: list[Field], number: int, name: str) -> memoryview:
    found = [field.payload for field in fields if field.number == number]
    if len(found) != 1:
        raise BundleError(
            "model-damaged",
            f"an ONNX backbone must have one {name}, but this file has {len(found)}: it is damaged, or not a backbone",
        )
    return found[0]


def _attribute(name: str, value: int | list[int]) -> bytes:
    body = bytes_field(_ATTRIBUTE_NAME, name.encode())
    if isinstance(value, int):
        body += varint_field(_ATTRIBUTE_INT, value) + varint_field(_ATTRIBUTE_TYPE, _TYPE_INT)
    else:
        body += b"".join(varint_field(_ATTRIBUTE_INTS, item) for item in value)
        body += varint_field(_ATTRIBUTE_TYPE, _TYPE_INTS)
    return bytes_field(_NODE_ATTRIBUTE, body)
