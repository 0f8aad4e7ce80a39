"""Refuse an ONNX file that could reach outside itself or never end, by name, before a runtime sees it.

A frozen image network is one graph of standard operators and includes its weights. The tables here list everything that
such a network needs, message by message and field by field, and every byte of a file is checked against them. Anything
else is refused: tensors whose weights are in other files (whose path could be `../../etc/passwd`), operators of other
domains, a model's own functions, which could hide anything, control flow, whose inner graphs can loop for ever,
training, and anything that later versions of ONNX may add.

This does not show how a runtime behaves with a file that passes: the first run is in a separate process,
edge/network/sandbox.py.

Source: field numbers from onnx/onnx.proto; operators of com.microsoft from ONNX Runtime's docs/ContribOperators.md.
"""

from edge.errors import BundleError
from edge.modelfile.protobuf import Field, fields

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
MICROSOFT = "com.microsoft"  # built into ONNX Runtime, whose tools write them when they quantize and fuse
MICROSOFTS = {
    "Attention", "BiasAdd", "BiasGelu", "BiasSplitGelu", "DequantizeLinear", "DynamicQuantizeMatMul", "FastGelu",
    "FusedConv", "FusedGemm", "FusedMatMul", "Gelu", "GroupNorm", "Inverse", "MatMulInteger16",
    "MatMulIntegerToFloat", "MatMulNBits", "MultiHeadAttention", "NhwcConv", "NhwcFusedConv", "NhwcMaxPool",
    "QAttention", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv",
    "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean", "QLinearSigmoid",
    "QLinearSoftmax", "QLinearWhere", "QMoE", "QuantizeLinear", "QuickGelu", "RotaryEmbedding", "SkipGroupNorm",
    "SkipLayerNormalization",
}  # fmt: skip

_LEAF = ""
_STRINGS = {1: _LEAF, 2: _LEAF}  # a StringStringEntryProto: key, value
_ALLOWED: dict[str, dict[int, str]] = {  # the fields of each message: another message, or a leaf
    "model": {
        **dict.fromkeys((1, 2, 3, 4, 5, 6), _LEAF),  # versions, producer, domain, doc_string
        **{7: "graph", 8: "operator set", 14: "metadata"},
    },
    "operator set": {1: _LEAF, 2: _LEAF},
    "metadata": _STRINGS,
    "graph": {
        **{1: "node", 2: _LEAF, 5: "tensor", 10: _LEAF, 11: "value info", 12: "value info", 13: "value info"},
        **{14: "annotation", 15: "sparse tensor", 16: "metadata"},
    },
    "annotation": {1: _LEAF, 2: "metadata"},  # for quantization: the names of a tensor, its scale and zero point
    "node": {1: _LEAF, 2: _LEAF, 3: _LEAF, 4: _LEAF, 5: "attribute", 6: _LEAF, 7: _LEAF, 8: _LEAF, 9: "metadata"},
    "attribute": {
        **dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20), _LEAF),  # name, f, i, s, floats, ints, strings, doc, type
        **{5: "tensor", 10: "tensor", 22: "sparse tensor", 23: "sparse tensor"},
    },
    "tensor": {
        **dict.fromkeys((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12), _LEAF),  # dims, type, numbers, name, doc_string
        **{14: "location", 16: "metadata"},
    },
    "sparse tensor": {1: "tensor", 2: "tensor", 3: _LEAF},
    "value info": {1: _LEAF, 2: "type", 3: _LEAF, 4: "metadata"},
    "type": {1: "tensor type", 4: "sequence type", 6: _LEAF},
    "tensor type": {1: _LEAF, 2: "shape"},
    "sequence type": {1: "type"},
    "shape": {1: "dimension"},
    "dimension": {1: _LEAF, 2: _LEAF, 3: _LEAF},
}
_REFUSED = {
    ("model", 20): "it contains training information (training_info); export it for inference",
    ("model", 25): "it defines its own operators; export it with its functions inlined",
    ("model", 26): "it is spread over several devices (configuration); export it for one",
    ("node", 10): "its operator {op!r} is spread over several devices; export it for one",
    ("attribute", 6): "its operator {op!r} runs a subgraph; export it without control flow",
    ("attribute", 11): "its operator {op!r} runs a subgraph; export it without control flow",
    ("attribute", 21): "its operator {op!r} is part of a function; export it with its functions inlined",
    ("tensor", 3): "one of its tensors is a segment of a larger one; export it as one tensor",
}
_GRAPH = 7  # field of the model
_OP, _DOMAIN = 4, 7  # fields of a node
_EXTERNAL = 13  # field of a tensor
_DEEPEST = 12  # depth of nested messages: a tensor type's dimension, inside some sequences


def check_onnx(model: bytes) -> None:
    """Check a file.

    Raises:
        BundleError: it is damaged, has weights in other files, or contains anything that a plain network does not need.
    """
    graphs = sum(field.number == _GRAPH for field in fields(memoryview(model)))
    _walk("model", memoryview(model), "", 0)
    if graphs != 1:
        raise BundleError(
            "model-damaged",
            f"an ONNX file must have one graph, but this one has {graphs}: it is damaged, or not an ONNX file",
        )


def _walk(kind: str, message: memoryview, op: str, depth: int) -> None:
    """Check all fields of a message against the tables; `op` is the operator that it belongs to, if any."""
    if depth > _DEEPEST:
        raise BundleError("model-damaged", f"its {kind}s are nested more than {_DEEPEST} deep; it is damaged")
    if kind == "node":
        op = _operator(message)
    for field in fields(message):
        if kind == "tensor" and field.number == _EXTERNAL:
            raise _elsewhere(message)
        inner = _ALLOWED[kind].get(field.number)
        if inner is None:
            unknown = (
                f"its {kind} has a field {field.number}, which a plain network does not need; export it for inference"
            )
            raise BundleError("model-unsafe", _REFUSED.get((kind, field.number), unknown).format(op=op))
        if inner == "location":
            if bytes(field.payload) != b"\0":  # 0: in this file; a runtime uses the last value, so all must be 0
                raise _elsewhere(message)
        elif inner != _LEAF:
            _walk(inner, field.payload, op, depth + 1)


def _operator(node: memoryview) -> str:
    """Return a node's operator; all of its names are checked, because runtimes use the last one."""
    parts = [field for field in fields(node) if field.number in (_OP, _DOMAIN)]
    names, domains = _texts(parts, _OP) or [""], _texts(parts, _DOMAIN) or [""]
    for domain in domains:
        if domain not in (*DOMAINS, MICROSOFT) or (domain == MICROSOFT and not MICROSOFTS.issuperset(names)):
            raise BundleError(
                "model-unsafe",
                f"its operator {names[-1]!r} is a custom one of domain {domain!r}; only standard operators are allowed",
            )
    return names[-1]


def _elsewhere(tensor: memoryview) -> BundleError:
    """Raise an error for a tensor in another file, naming that file if the tensor does."""
    entries = [list(fields(field.payload)) for field in fields(tensor) if field.number == _EXTERNAL]
    places = [place for entry in entries if "location" in _texts(entry, 1) for place in _texts(entry, 2)]
    where = f" ({places[0]!r})" if places else ""
    return BundleError("model-unsafe", f"its weights are in another file{where}; export it with external_data=False")


def _texts(parts: list[Field], number: int) -> list[str]:
    return [bytes(part.payload).decode("utf-8", "replace")[:80] for part in parts if part.number == number]
