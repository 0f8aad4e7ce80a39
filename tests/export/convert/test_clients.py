"""Programs of others answer as ours do, from what we export: old ONNX Runtime, tflite-runtime, OpenCV, MediaPipe."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, defs, helper
from PIL import Image

from edge.learning.classifier_file import as_list
from edge.modelfile.graft import graft
from edge.modelfile.graft_rules import OUTPUT
from edge.network.backbone import find_runtime, open_backbone
from export.convert import quantize
from export.convert.converters import to_onnx, to_tflite
from export.convert.parity import golden_images
from export.convert.portable import KEPT, portable
from export.network.backbones import BACKBONES, load
from tests.export.clients import CLIENTS, answers_of, python_of
from tests.export.conftest import Surfaces

pytestmark = pytest.mark.converters

LABELS = ["2 euro", "café", "日本", "🍄 amanita"]  # sorted, as they are compared
SIZE = 224
IMAGES = golden_images(SIZE)
Kind = Literal["onnx", "tflite"]
READS: dict[str, Kind] = {name: "tflite" if name in ("tflite-runtime", "MediaPipe") else "onnx" for name in CLIENTS}
EVERY = bool(os.environ.get("EDGE_EVERY_BACKBONE"))  # `make test-clients`; two minutes more
Ask = Callable[[str, dict[str, bytes]], None]


def classifier(model: bytes, kind: Any) -> bytes:
    """Graft a head that tells the golden pictures apart, so that an answer of a wrong embedding is a wrong one."""
    embeddings = open_backbone(model, find_runtime({kind})).embed(IMAGES)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    weights = 8 * (np.linalg.pinv(unit.astype(np.float64)))
    return graft(model, kind, weights.astype(np.float32), np.zeros(len(LABELS), np.float32), LABELS)


def answers_here(model: bytes, kind: Kind) -> NDArray[np.float32]:
    if kind == "onnx":
        import onnxruntime as ort

        return np.asarray(ort.InferenceSession(model).run(None, {"image": IMAGES})[0])
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_content=model).get_signature_runner()
    return np.concatenate([next(iter(run(**{next(iter(run.get_input_details())): i[None]}).values())) for i in IMAGES])


@pytest.fixture
def agree(tmp_path: Path) -> Ask:
    """Let a client run models, and compare its answers with those of the current runtime here."""

    def ask(client: str, models: dict[str, bytes]) -> None:
        files = [tmp_path / name for name in models]
        for file, data in zip(files, models.values(), strict=True):
            file.write_bytes(data)
        for file, found in zip(files, answers_of(client, files, IMAGES, tmp_path), strict=True):
            expected = answers_here(file.read_bytes(), READS[client])
            error = np.abs(found - expected).max() / np.abs(expected).max()
            # programs round the integers of static int8 in their own ways
            assert error < (0.1 if "static" in file.name else 1e-3), f"{client} strays on {file.name} by {error:.1e}"

    return ask


@pytest.fixture(scope="module")
def exported(built: Surfaces) -> dict[str, bytes]:
    """The embedded network as the bundle has it, and the classifiers that `edge export` makes of it."""
    files: dict[str, bytes] = {}
    for model in built.bundle.manifest.models:
        data = built.bundle.entry(model.file)
        files[model.file] = data
        files[f"classifier.{model.precision}.{model.format}"] = classifier(data, model.format)
    return files


@pytest.mark.parametrize("client", CLIENTS)
def test_the_embedded_network_and_its_classifier_answer_alike(
    client: str, exported: dict[str, bytes], agree: Ask
) -> None:
    files = {name: data for name, data in exported.items() if name.endswith(READS[client])}
    if client == "MediaPipe":  # it names what a classifier says, by the labels inside the file
        files = {name: data for name, data in files.items() if name.startswith("classifier")}
    assert len(files) == (2 if client == "MediaPipe" else 4)
    agree(client, files)


@pytest.mark.parametrize("client", [name for name, kind in READS.items() if kind == "onnx"])
def test_a_static_int8_network_answers_alike(client: str, static: dict[str, bytes], agree: Ask) -> None:
    agree(client, static)


@pytest.fixture(scope="module")
def static() -> dict[str, bytes]:
    import torch
    from torch import nn

    from export.network.embedder import embedder

    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.ReLU6(), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU6(),
        nn.Conv2d(16, 24, 1), nn.ReLU(),
    )  # fmt: skip
    result = quantize.quantize(to_onnx(embedder(trunk), SIZE), "onnx", golden_images(SIZE, 8, seed=1), IMAGES)
    assert result.method == "static"
    return {"static.onnx": result.model, "static classifier.onnx": classifier(result.model, "onnx")}


@pytest.mark.skipif(not EVERY, reason="takes two minutes; make test-clients runs it")
@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "embedded"])
def test_every_backbone_of_the_table_answers_alike(name: str, agree: Ask) -> None:
    import torch

    embedder = load(name, "random").embedder
    with torch.no_grad():  # batch norms of random weights must see pictures, or all embeddings are one
        for module in embedder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
                module.reset_running_stats()
        embedder.train()(torch.from_numpy(golden_images(SIZE, 8, seed=2)))
        embedder.eval()
    for kind, export in (("onnx", to_onnx), ("tflite", to_tflite)):
        exact = export(embedder, SIZE)
        small = quantize.quantize(exact, kind, golden_images(SIZE, 8, seed=1), IMAGES)
        files = {kind: exact, f"{small.method}.{kind}": small.model}
        files = {f"{name}.{key}": classifier(model, kind) for key, model in files.items()}
        for client in [client for client, reads in READS.items() if reads == kind]:
            agree(client, files)


@pytest.mark.parametrize(
    ("example", "environment"),
    [("onnxruntime", ""), ("opencv", "opencv-4"), ("opencv", "new"), ("litert", ""), ("mediapipe", "new")],
)
def test_the_examples_of_the_documentation_answer_alike(
    example: str, environment: str, exported: dict[str, bytes], tmp_path: Path
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
    (program,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.S) if code.startswith(f"# {example}\n")]
    for kind in ("onnx", "tflite"):
        (tmp_path / f"kitchen.{kind}").write_bytes(exported[f"classifier.fp32.{kind}"])
    (tmp_path / "labels.txt").write_bytes(as_list(LABELS))
    for number, image in enumerate(IMAGES[:2]):
        photo = Image.new("RGB", (400, 256))
        photo.paste(Image.fromarray(image), (88, 16))  # the centre square, 7/8 of the height
        photo.save(tmp_path / "photo.jpg", quality=98)
        python = str(python_of(environment)) if environment else sys.executable
        done = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr[-1000:]
        label, probability = done.stdout.strip().splitlines()[-1].rsplit(" ", 1)
        expected = answers_here(exported["classifier.fp32.onnx"], "onnx")[number]
        assert label == LABELS[expected.argmax()]
        assert float(probability) == pytest.approx(expected.max(), abs=0.05)  # JPEG changes pixels a little


def test_frigate_reads_the_list_of_labels(exported: dict[str, bytes], tmp_path: Path, agree: Ask) -> None:
    """As frigate/util/builtin.py reads labelmap.txt for a custom model: stripped lines, numbered from 0."""
    (tmp_path / "labelmap.txt").write_bytes(as_list(LABELS))
    with (tmp_path / "labelmap.txt").open(encoding="utf-8") as file:
        assert {index: line.strip() for index, line in enumerate(file.readlines())} == dict(enumerate(LABELS))
    agree("tflite-runtime", {"model.tflite": exported["classifier.fp32.tflite"]})


# --- the form of the file --------------------------------------------------------------------------------------------


def test_exported_onnx_files_are_of_the_oldest_format_and_repeat_no_default(exported: dict[str, bytes]) -> None:
    for name in [name for name in exported if name.endswith(".onnx")]:
        proto = onnx.load_from_string(exported[name])
        (opset,) = [entry.version for entry in proto.opset_import]
        assert (proto.ir_version, opset) == (8, 18), name
        for node in proto.graph.node:
            known = defs.get_schema(node.op_type, opset).attributes
            for attribute in node.attribute:
                default = known[attribute.name].default_value
                same = default.type and helper.get_attribute_value(default) == helper.get_attribute_value(attribute)
                assert not same, f"{name}: {node.op_type} repeats the default of {attribute.name}"


def test_a_portable_file_computes_the_same_and_stays_as_it_is(exported: dict[str, bytes]) -> None:
    model = exported["backbone.onnx"]
    np.testing.assert_array_equal(answers_here(portable(as_of_0_1_0(model)), "onnx"), answers_here(model, "onnx"))
    assert portable(model) == portable(portable(model))


def test_a_resize_keeps_what_opencv_asks_for_by_name() -> None:
    """OpenCV 4.12 refuses a Resize without `mode`, though "nearest" is the default."""
    assert "Resize" in KEPT
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 1, 1])
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["wide", "", "scales"], ["output"], mode="nearest"),
    ]
    shape = [1, SIZE, SIZE, 3]
    graph = helper.make_graph(
        nodes, "resize", [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)], [scales],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    new = onnx.load_from_string(portable(model.SerializeToString()))
    assert [attribute.name for attribute in new.graph.node[1].attribute] == ["mode"]


def as_of_0_1_0(model: bytes) -> bytes:
    """Write a backbone as version 0.1.0 did: the newest file format, defaults spelled out, sets not used."""
    proto = onnx.load_from_string(model)
    proto.ir_version = 10
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 5))
    for node in proto.graph.node:
        if node.op_type == "HardSigmoid":
            node.attribute.append(helper.make_attribute("beta", 0.5))
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("client", ["onnxruntime 1.16", "OpenCV 4.12", "OpenCV 5.1"])
def test_a_classifier_grafted_on_a_bundle_of_0_1_0_answers_alike(
    client: str, exported: dict[str, bytes], agree: Ask
) -> None:
    grafted = classifier(as_of_0_1_0(exported["backbone.onnx"]), "onnx")
    proto = onnx.load_from_string(grafted)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version == 8
    assert "HardSigmoid" in {node.op_type for node in proto.graph.node}
    assert grafted == classifier(exported["backbone.onnx"], "onnx")
    agree(client, {"old.onnx": grafted})


def test_the_metadata_of_a_tflite_classifier_is_what_the_official_schema_reads(exported: dict[str, bytes]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    data = exported["classifier.fp32.tflite"]
    model: Any = schema.ModelT.InitFromPackedBuf(data, 0)
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    about = bytes(model.buffers[entry.buffer].data)
    assert about[4:8] == b"M001"
    assert b"labels.txt" in about
    assert OUTPUT.encode() in about
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("labels.txt").decode().splitlines() == LABELS
