"""Refuse an ONNX file that could reach outside itself or never end, by name, before a runtime sees it.

A frozen image network is one graph of standard operators with its weights inside. What is not that, is not needed:
weights in other files (which a path such as `../../etc/passwd` could name), operators of other domains (custom ones,
and a model's own functions, behind which anything can hide), and control flow, whose inner graphs can loop for ever.

What a runtime does with a file that passes is not known from this: the first run is in a process of its own,
edge/trial.py.

Source: field numbers from onnx/onnx.proto.
"""

from collections.abc import Iterator

from edge.errors import BundleError
from edge.protobuf import Field, fields

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # the last: built into ONNX Runtime, whose tools write them

_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


def check_onnx(model: bytes) -> None:
    """Look through a file.

    Raises:
        BundleError: it is damaged, keeps weights elsewhere, or has an operator that is no plain standard one.
    """
    graphs = []
    for field in fields(memoryview(model)):
        if field.number == _MODEL_FUNCTIONS:
            raise BundleError("it defines operators of its own; export it with its functions inlined")
        if field.number == _MODEL_GRAPH:
            graphs.append(field.payload)
    if len(graphs) != 1:
        raise BundleError(f"an ONNX file has one graph, this one {len(graphs)}: damaged, or not an ONNX file")
    for field in fields(graphs[0]):
        if field.number == _GRAPH_NODE:
            _check_node(field.payload)
        elif field.number == _GRAPH_INITIALIZER:
            _check_tensor(field.payload)
        elif field.number == _GRAPH_SPARSE:
            for part in fields(field.payload):
                if part.number in (1, 2):  # values, indices
                    _check_tensor(part.payload)


def _check_node(node: memoryview) -> None:
    parts = list(fields(node))
    domain, name = _text(parts, _NODE_DOMAIN), _text(parts, _NODE_OP)
    if domain not in DOMAINS:
        raise BundleError(f"its operator {name!r} is a custom one, of domain {domain!r}; only standard ones are run")
    for part in parts:
        if part.number != _NODE_ATTRIBUTE:
            continue
        for value in fields(part.payload):
            if value.number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                raise BundleError(f"its operator {name!r} runs a graph of its own; export it without control flow")
            if value.number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                _check_tensor(value.payload)


def _check_tensor(tensor: memoryview) -> None:
    for field in fields(tensor):
        if field.number == _TENSOR_EXTERNAL or (field.number == _TENSOR_LOCATION and field.value):
            raise BundleError(f"it keeps weights in another file{_where(tensor)}; export it with external_data=False")


def _where(tensor: memoryview) -> str:
    """Name the other file, if the tensor does."""
    entries = (list(fields(field.payload)) for field in fields(tensor) if field.number == _TENSOR_EXTERNAL)
    places = [_text(entry, 2) for entry in entries if _text(entry, 1) == "location"]
    return f" ({places[0]!r})" if places else ""


def _text(parts: list[Field], number: int) -> str:
    found: Iterator[str] = (bytes(p.payload).decode("utf-8", "replace")[:80] for p in parts if p.number == number)
    return next(found, "")
