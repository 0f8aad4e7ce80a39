"""The look through an ONNX file: what is not known to be good is refused, wherever in the file it stands."""

import importlib.util
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import BundleError
from edge.modelfile.check_onnx import check_onnx
from edge.modelfile.protobuf import bytes_field, varint_field
from tests.edge.conftest import MODELS
from tests.refused import refused

ROOT = Path(__file__).parents[3]
onnx_is_here = importlib.util.find_spec("onnx") is not None
needs_onnx = pytest.mark.skipif(not onnx_is_here, reason="ONNX's own description of its messages is the workstation's")
EXTERNAL = bytes_field(8, b"w") + bytes_field(13, bytes_field(1, b"location") + bytes_field(2, b"../../etc/passwd"))


def paths(message: Any, seen: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every way through ONNX's messages, as fields; none through one message twice."""
    for field in message.fields:
        yield (field,)
        inner = field.message_type
        if inner is not None and inner.full_name not in seen:
            yield from ((field, *rest) for rest in paths(inner, (*seen, inner.full_name)))


def model_proto() -> Any:
    from onnx import onnx_ml_pb2

    return onnx_ml_pb2.DESCRIPTOR.message_types_by_name["ModelProto"]


def wrapped(path: tuple[Any, ...], payload: bytes) -> bytes:
    for field in reversed(path):
        payload = bytes_field(field.number, payload)
    return payload + (b"" if path[0].number == 7 else bytes_field(7, b""))


@needs_onnx
def test_weights_in_another_file_are_refused_wherever_a_tensor_can_stand() -> None:
    tensors = [p for p in paths(model_proto()) if p[-1].message_type and p[-1].message_type.name == "TensorProto"]
    assert len(tensors) > 15
    for path in tensors:
        for tensor in (EXTERNAL, varint_field(14, 1), bytes_field(13, b"")):
            with refused("model-unsafe", BundleError):
                check_onnx(wrapped(path, tensor))


@needs_onnx
def test_every_field_of_onnx_is_walked_or_refused() -> None:
    walked = 0
    for path in paths(model_proto()):
        if path[-1].message_type is None:
            continue
        strange = wrapped(path, bytes_field(1000, b"what ONNX may come to know"))
        with refused("model-unsafe", BundleError):
            check_onnx(strange)
        walked += 1
    assert walked > 50


@pytest.mark.parametrize(
    ("says", "model"),
    [
        ("training_info", bytes_field(20, b"")),
        ("configuration", bytes_field(26, b"")),
        ("functions inlined", bytes_field(25, b"")),
        ("field 99", bytes_field(99, b"")),
        ("field 99", bytes_field(7, bytes_field(99, b""))),
        (
            "'If'",
            bytes_field(7, bytes_field(1, bytes_field(4, b"If") + bytes_field(5, bytes_field(11, b"")))),
        ),
        ("several devices", bytes_field(7, bytes_field(1, bytes_field(4, b"Relu") + bytes_field(10, b"")))),
        ("EPContext", bytes_field(7, bytes_field(1, bytes_field(4, b"EPContext") + bytes_field(7, b"com.microsoft")))),
        ("segment", bytes_field(7, bytes_field(5, bytes_field(3, b"")))),
    ],
)
def test_what_a_plain_network_does_not_need_is_refused_by_name(says: str, model: bytes) -> None:
    with refused("model-unsafe", BundleError, says):
        check_onnx(model)


@pytest.mark.parametrize("field", [4, 7])
def test_the_last_name_given_counts_as_it_does_in_a_runtime(field: int) -> None:
    node = bytes_field(4, b"Relu") + bytes_field(7, b"") + bytes_field(4, b"Evil") + bytes_field(7, b"evil")
    with refused("model-unsafe", BundleError, "'Evil'", "'evil'"):
        check_onnx(bytes_field(7, bytes_field(1, node)))
    tensor = varint_field(14, 0) + varint_field(14, 1)
    with refused("model-unsafe", BundleError, "another file"):
        check_onnx(bytes_field(7, bytes_field(5, tensor)))


def test_messages_nested_without_end_are_refused() -> None:
    kind = b""
    for _ in range(5000):
        kind = bytes_field(4, bytes_field(1, kind))  # a sequence of sequences of …
    with refused("model-damaged", BundleError, "nested"):
        check_onnx(bytes_field(7, bytes_field(13, bytes_field(2, kind))))


@needs_onnx
def test_what_exporters_write_passes() -> None:
    import onnx

    check_onnx(MODELS["onnx"].read_bytes())
    files = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data").rglob("*.onnx"))
    networks = [file for file in files if "training" not in str(file) and "gradient" not in str(file)]
    assert networks
    for file in networks:
        check_onnx(file.read_bytes())
    bundle = ROOT / "build" / "surfaces.edge"
    if bundle.exists():
        with zipfile.ZipFile(bundle) as archive:
            for name in archive.namelist():
                if name.endswith(".onnx"):
                    check_onnx(archive.read(name))
