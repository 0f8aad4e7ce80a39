"""Grafting: the whole classifier as one file that an ordinary runtime runs, and numpy's answer from it."""

import importlib.util
import io
import itertools
import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.bundle import archive
from edge.errors import BundleError, LabelError
from edge.modelfile.graft import graft
from edge.modelfile.graft_rules import OUTPUT, SMALLEST_NORM
from tests.edge.conftest import DATA, MODELS
from tests.refused import refused

FEATURES = 8
SIDE = 16
FILES = ["tiny.onnx", "tiny.tflite", "tiny_free.tflite", "tiny_uint8.tflite", "tiny_int8.tflite"]
BACKBONES = {name: MODELS.get(name[5:], DATA / name).read_bytes() for name in FILES}
UNICODE = ["café", "日本", "🍄 amanita", "a,b;c\"d'", "\u2028 line", "\u202eright", "mañana", " "]
RUNS = [
    pytest.param(name, delegate, id=f"{name}{'' if delegate else ' without delegate'}")
    for name in FILES
    for delegate in ([True] if name.endswith("onnx") else [True, False])
]


# --- Running a model, and what numpy says it should give ---------------------------------------------------------


def runtime_of(name: str) -> Any:
    return name.rpartition(".")[2]


def interpreters() -> ModuleType:
    try:
        import ai_edge_litert.interpreter as module
    except ImportError:
        module = pytest.importorskip("tflite_runtime.interpreter", reason="no TFLite runtime here")
    return module


def open_tflite(model: bytes, delegate: bool = True) -> Any:
    module = interpreters()
    kinds = module.OpResolverType
    kind = kinds.AUTO if delegate else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return module.Interpreter(model_content=model, experimental_op_resolver_type=kind)


def open_onnx(model: bytes) -> Any:
    return pytest.importorskip("onnxruntime", reason="no ONNX Runtime here").InferenceSession(model)


def outputs(name: str, model: bytes, images: NDArray[np.uint8], delegate: bool = True) -> NDArray[np.float32]:
    """Return the model's only output for these images, dequantized, as (N, values)."""
    if runtime_of(name) == "onnx":
        session = open_onnx(model)
        (result,) = session.run(None, {session.get_inputs()[0].name: images})
    else:
        interpreter = open_tflite(model, delegate)
        (source,) = interpreter.get_input_details()
        if len(images) != source["shape"][0]:
            interpreter.resize_tensor_input(source["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        (target,) = interpreter.get_output_details()
        result = interpreter.get_tensor(target["index"])
        if result.dtype != np.float32:
            scale, zero_point = target["quantization"]
            result = (result.astype(np.float32) - zero_point) * np.float32(scale)
    return np.asarray(result, np.float32).reshape(len(images), -1)


def logits_of(embeddings: NDArray[Any], weights: NDArray[Any], bias: NDArray[Any]) -> NDArray[np.float64]:
    x = embeddings.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), SMALLEST_NORM)
    logits: NDArray[np.float64] = x @ weights.astype(np.float64) + bias
    return logits


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    ratios: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return ratios


def assert_same(found: NDArray[Any], logits: NDArray[np.float64]) -> None:
    """Compare to 1e-6; logits over 3 carry float32 rounding of their own size into the exponent."""
    assert found.shape == logits.shape
    np.testing.assert_allclose(found, softmax(logits), rtol=0, atol=1e-6 * max(1, np.abs(logits).max() / 3))


def head(columns: int, seed: int = 0, scale: float = 2.0, features: int = FEATURES) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "weights": (random.normal(size=(features, columns)) * scale).astype(np.float32),
        "bias": (random.normal(size=columns) * scale).astype(np.float32),
        "labels": [f"label {index}" for index in range(columns)],
    }


def pictures(number: int = 1, side: int = SIDE, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (number, side, side, 3), dtype=np.uint8)


def grafted(name: str, **arguments: Any) -> bytes:
    return graft(BACKBONES[name], runtime_of(name), **arguments)


# --- Rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "delegate"), RUNS)
def test_a_grafted_model_gives_the_probabilities_numpy_gives(name: str, delegate: bool) -> None:
    parts = head(5)
    model = grafted(name, **parts)
    for seed in range(5):
        images = pictures(seed=seed)
        embeddings = outputs(name, BACKBONES[name], images, delegate)
        assert embeddings.shape == (1, FEATURES)
        assert np.linalg.norm(embeddings) > 0.01
        logits = logits_of(embeddings, parts["weights"], parts["bias"])
        assert_same(outputs(name, model, images, delegate), logits)


@pytest.mark.parametrize(("name", "delegate"), RUNS)
def test_an_embedding_of_zeros_gives_the_softmax_of_the_bias(name: str, delegate: bool) -> None:
    parts = head(5)
    black = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    assert not outputs(name, BACKBONES[name], black, delegate).any()
    found = outputs(name, grafted(name, **parts), black, delegate)
    assert_same(found, parts["bias"][None].astype(np.float64))


@pytest.mark.parametrize("name", ["tiny.onnx", "tiny_free.tflite"])
def test_a_free_batch_axis_stays_free(name: str) -> None:
    parts, images = head(4), pictures(3)
    model = grafted(name, **parts)
    logits = logits_of(outputs(name, BACKBONES[name], images), parts["weights"], parts["bias"])
    assert_same(outputs(name, model, images), logits)


@pytest.mark.parametrize("name", FILES)
@given(columns=st.integers(1, 300), exponent=st.integers(-30, 30), seed=st.integers(0, 9))
@settings(max_examples=25)
def test_any_number_of_labels_and_any_finite_weights_give_probabilities(
    name: str, columns: int, exponent: int, seed: int
) -> None:
    parts, images = head(columns, seed, 10.0**exponent), pictures(seed=seed)
    found = outputs(name, grafted(name, **parts), images)
    logits = logits_of(outputs(name, BACKBONES[name], images), parts["weights"], parts["bias"])
    assert found.shape == (1, columns)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1, abs=1e-5)
    if exponent <= 2:
        assert_same(found, logits)
    else:  # one label has it all, unless two are closer than float32 can tell
        first, second = np.sort(logits[0])[[-1, -2]] if columns > 1 else (0, -np.inf)
        if first - second > 1e-4 * np.abs(logits).max():
            assert found.argmax() == logits.argmax()


@pytest.mark.parametrize("name", FILES)
def test_the_same_arguments_give_the_same_bytes_and_stay_as_they_were(name: str) -> None:
    parts = head(3)
    before = BACKBONES[name][:], parts["weights"].copy(), parts["bias"].copy()
    assert grafted(name, **parts) == grafted(name, **parts)
    assert before[0] == BACKBONES[name]
    assert (before[1] == parts["weights"]).all()
    assert (before[2] == parts["bias"]).all()


@pytest.mark.parametrize("name", FILES)
def test_layout_and_precision_of_the_arrays_do_not_matter(name: str) -> None:
    parts = head(3)
    fortran = {"weights": np.asfortranarray(parts["weights"].astype(np.float64)), "bias": parts["bias"].astype(">f4")}
    assert grafted(name, **parts) == grafted(name, **{**parts, **fortran})


@pytest.mark.parametrize("name", FILES)
def test_permuting_the_labels_permutes_the_probabilities(name: str) -> None:
    parts, images, order = head(6), pictures(), np.array([3, 0, 5, 1, 4, 2])
    moved = {"weights": parts["weights"][:, order], "bias": parts["bias"][order], "labels": parts["labels"]}
    found, other = outputs(name, grafted(name, **parts), images), outputs(name, grafted(name, **moved), images)
    np.testing.assert_allclose(found[:, order], other, rtol=0, atol=1e-6)


def test_an_onnx_model_has_one_output_and_the_labels_as_metadata() -> None:
    session = open_onnx(grafted("tiny.onnx", **{**head(len(UNICODE)), "labels": UNICODE}))
    assert [value.name for value in session.get_inputs()] == ["image"]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [(OUTPUT, ["N", len(UNICODE)])]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == UNICODE  # the backbone's own entry of that key is gone
    assert metadata["origin"] == "tests"  # its others are not


@pytest.mark.parametrize("name", FILES[1:])
def test_a_tflite_model_is_also_a_zip_of_its_labels(name: str) -> None:
    model = grafted(name, **{**head(len(UNICODE)), "labels": UNICODE})
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode().split("\n") == [*UNICODE, ""]
        start = archive.getinfo("labels.txt").header_offset
    assert model[start:].startswith(b"PK\3\4")  # the zip counts from the file's beginning, as strict readers want
    assert model[:start].endswith(BACKBONES[name])
    assert start % 4 == len(BACKBONES[name]) % 4 == 0


@pytest.mark.parametrize("name", FILES[1:])
def test_a_tflite_signature_gives_probabilities(name: str) -> None:
    parts, images = head(4), pictures()
    interpreter = open_tflite(grafted(name, **parts))
    ((key, signature),) = interpreter.get_signature_list().items()
    assert key == "serving_default"
    assert signature["outputs"] == [OUTPUT]
    (image,) = signature["inputs"]
    assert image == ("image" if "int8" in name else "args_0")  # the backbone's own name where it has a signature
    found = interpreter.get_signature_runner()(**{image: images})[OUTPUT]
    (target,) = interpreter.get_output_details()
    assert target["name"] == OUTPUT
    assert list(target["shape_signature"]) == [-1 if "free" in name else 1, 4]
    logits = logits_of(outputs(name, BACKBONES[name], images), parts["weights"], parts["bias"])
    assert_same(found, logits)


def test_a_tflite_operator_that_the_backbone_has_gets_no_second_code() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="reads the file with the official schema")
    model = schema.ModelT.InitFromPackedBuf(grafted("tiny_uint8.tflite", **head(3)), 0)
    codes = [(code.builtinCode, code.version) for code in model.operatorCodes]
    assert len(codes) == len(set(codes))
    old = schema.ModelT.InitFromPackedBuf(BACKBONES["tiny_uint8.tflite"], 0)
    assert [code.__dict__ for code in model.operatorCodes][: len(old.operatorCodes)] == [
        code.__dict__ for code in old.operatorCodes
    ]
    for index, operator in enumerate(old.subgraphs[0].operators):
        assert (model.subgraphs[0].operators[index].inputs == operator.inputs).all()
    assert [entry.name for entry in model.metadata] == [*(entry.name for entry in old.metadata), b"TFLITE_METADATA"]


def make_tiny() -> ModuleType:
    pytest.importorskip("onnx", reason="builds ONNX files with the official package")
    spec = importlib.util.spec_from_file_location("make_tiny", DATA / "make_tiny.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 21])
@pytest.mark.parametrize("pooled", [False, True], ids=["rank 2", "rank 4"])
@pytest.mark.parametrize("batch", [1, "N"])
def test_every_opset_passes_the_official_checker(opset: int, pooled: bool, batch: int | str) -> None:
    backbone = make_tiny().tiny_onnx(opset, batch, pooled=pooled)
    import onnx

    parts, images = head(5), pictures()
    model = graft(backbone, "onnx", **parts)
    proto, old = onnx.load_from_string(model), onnx.load_from_string(backbone)
    onnx.checker.check_model(proto, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    assert {value.name for value in old.graph.output} <= {value.name for value in inferred.graph.value_info}
    assert list(proto.graph.node)[: len(old.graph.node)] == list(old.graph.node)
    assert list(proto.graph.initializer)[: len(old.graph.initializer)] == list(old.graph.initializer)
    assert proto.graph.input == old.graph.input
    logits = logits_of(outputs("a.onnx", backbone, images), parts["weights"], parts["bias"])
    assert_same(outputs("a.onnx", model, images), logits)


@pytest.mark.parametrize("embedding", ["head/weights", "head/Gemm", "head1/axes"])
def test_names_of_the_head_never_clash_with_the_backbones(embedding: str) -> None:
    backbone = make_tiny().tiny_onnx(embedding=embedding)
    parts, images = head(5), pictures()
    logits = logits_of(outputs("a.onnx", backbone, images), parts["weights"], parts["bias"])
    assert_same(outputs("a.onnx", graft(backbone, "onnx", **parts), images), logits)


# --- Refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_head_of_another_backbone_is_refused_with_both_numbers(name: str) -> None:
    with refused("embeddings-mismatch", BundleError, "576", "8"):
        grafted(name, **head(3, features=576))


@pytest.mark.parametrize("name", FILES)
def test_a_classifier_is_not_grafted_onto(name: str) -> None:
    with refused("model-unsuitable", BundleError, "classifier"):
        graft(grafted(name, **head(FEATURES)), runtime_of(name), **head(3))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_other_format_is_refused(name: str) -> None:
    with refused("model-damaged", BundleError):
        graft(BACKBONES[name], "tflite" if runtime_of(name) == "onnx" else "onnx", **head(3))


@pytest.mark.parametrize("label", ["", "a\nb", "tab\t", "\x00", "\x85", "\x7f", "\ud800"])
def test_a_label_that_cannot_be_written_is_refused(label: str) -> None:
    for name in FILES:
        with refused("label-invalid", LabelError, "rename it"):
            grafted(name, **{**head(2), "labels": ["fine", label]})


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("weights", np.zeros(8, np.float32)),
        ("weights", np.zeros((8, 4), np.float32)),
        ("weights", np.full((8, 3), np.nan, np.float32)),
        ("weights", np.full((8, 3), 1e39)),
        ("bias", np.full(3, np.inf, np.float32)),
    ],
)
def test_a_head_that_is_none_is_refused(part: str, value: Any) -> None:
    with refused("head-damaged", BundleError):
        grafted("tiny.onnx", **{**head(3), part: value})
    with refused("labels-mismatch", LabelError, "3", "1"):
        grafted("tiny.onnx", **{**head(3), "labels": ["one"]})


def graft_or_refuse(backbone: bytes, name: str) -> bytes | None:
    """Return the grafted bytes, or None where they are refused in one line; any other exception fails the test."""
    try:
        return graft(backbone, runtime_of(name), **head(3))
    except BundleError as error:
        message = str(error)
    assert 0 < len(message) < 200
    assert "\n" not in message
    return None


@pytest.mark.parametrize("name", FILES[1:])
def test_a_truncated_tflite_backbone_is_refused_whatever_its_length(name: str) -> None:
    whole = BACKBONES[name]
    assert not any(graft_or_refuse(whole[:length], name) for length in range(len(whole)))


def test_a_truncated_onnx_backbone_is_refused_unless_only_its_metadata_is_gone() -> None:
    whole, images, parts = BACKBONES["tiny.onnx"], pictures(), head(3)
    results = [graft_or_refuse(whole[:length], "tiny.onnx") for length in range(len(whole))]
    assert not any(results[: whole.index(b"labels") - 10])
    for model in filter(None, results):
        logits = logits_of(outputs("tiny.onnx", whole, images), parts["weights"], parts["bias"])
        assert_same(outputs("tiny.onnx", model, images), logits)


@pytest.mark.fuzzing
@pytest.mark.parametrize("name", FILES)
def test_no_single_damaged_byte_does_more_than_be_refused(name: str) -> None:
    whole = BACKBONES[name]
    for at, byte in itertools.product(range(0, len(whole), 3), (0, 0xFF)):
        graft_or_refuse(whole[:at] + bytes([byte]) + whole[at + 1 :], name)


@pytest.mark.fuzzing
@given(data=st.data(), name=st.sampled_from(FILES))
@settings(max_examples=300)
def test_damaged_bytes_are_refused_or_grafted_but_nothing_else(data: st.DataObject, name: str) -> None:
    damaged = bytearray(BACKBONES[name])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    graft_or_refuse(bytes(damaged), name)


@pytest.mark.fuzzing
@given(noise=st.binary(max_size=400), name=st.sampled_from(FILES), kept=st.integers(0, 64))
@settings(max_examples=300)
def test_foreign_bytes_are_refused(noise: bytes, name: str, kept: int) -> None:
    assert graft_or_refuse(BACKBONES[name][:kept] + noise, name) is None
    assert graft_or_refuse(bytes(4) + b"TFL3" + noise, "noise.tflite") is None


def test_a_reference_before_the_file_is_refused() -> None:
    root_at_8_with_its_vtable_100_bytes_before = b"\x08\0\0\0TFL3\x64\0\0\0" + bytes(200)
    with refused("model-damaged", BundleError, "damaged or truncated"):
        graft(root_at_8_with_its_vtable_100_bytes_before, "tflite", **head(3))


def test_an_output_of_half_a_million_axes_is_refused_in_one_short_line() -> None:
    axes = b"\x0a\x03\x08\xff\x7f" * 500_000  # dimensions of 16383
    shape = b"\x12" + varint(len(axes)) + axes
    tensor = b"\x0a" + varint(len(shape) + 2) + b"\x08\x01" + shape
    value = b"\x0a\x01e\x12" + varint(len(tensor)) + tensor
    graph = b"\x62" + varint(len(value)) + value
    model = b"\x42\x02\x10\x12\x3a" + varint(len(graph)) + graph
    with refused("model-unsuitable", BundleError, "500000"):
        graft(model, "onnx", **head(3))


def varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21])


# --- A real network -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["backbone.onnx", "backbone.tflite"])
def test_a_real_network_gives_the_probabilities_numpy_gives(surfaces: Path, name: str) -> None:
    built = archive.read(surfaces / "surfaces.edge")
    whole, info = built.entry(name), built.manifest.backbone
    parts, images = head(200, features=info.dimension, scale=1.0), pictures(1, info.input_size, seed=5)
    model = graft(whole, runtime_of(name), **parts)
    logits = logits_of(outputs(name, whole, images), parts["weights"], parts["bias"])
    assert_same(outputs(name, model, images), logits)
    if name.endswith("onnx") and importlib.util.find_spec("onnx"):
        import onnx

        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    assert whole in model or name.endswith("onnx")
