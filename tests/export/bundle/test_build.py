"""A bundle is built whole and proved, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge.bundle.archive
from edge.errors import BundleError, DatasetError, ParityError
from edge.network.backbone import find_runtime, open_backbone
from edge.network.parity import measure_parity
from export.bundle.build import build
from export.bundle.plan import Plan
from export.convert.parity import embed_with_torch
from export.network.backbones import BACKBONES, Loaded
from tests.export.conftest import Surfaces
from tests.refused import refused

pytestmark = pytest.mark.usefixtures("exported_once")

CREATED = "2026-01-01T00:00:00+00:00"


def test_the_bundle_holds_both_formats_in_both_precisions(built: Surfaces) -> None:
    built.bundle.verify()
    manifest = built.bundle.manifest
    assert [(m.file, m.precision) for m in manifest.models] == [
        ("backbone.onnx", "fp32"),
        ("backbone.int8.onnx", "int8"),
        ("backbone.tflite", "fp32"),
        ("backbone.int8.tflite", "int8"),
    ]
    assert manifest.labels == ("brick", "grass", "gravel")
    assert np.bincount(built.bundle.examples().labels).tolist() == [40, 40, 40]
    assert (manifest.backbone.input_size, manifest.backbone.short_side) == (224, 256)
    assert manifest.files["backbone.int8.onnx"].size < 0.4 * manifest.files["backbone.onnx"].size
    assert manifest.files["backbone.int8.tflite"].size < 0.4 * manifest.files["backbone.tflite"].size


def test_mobilenet_v3_is_never_quantized_statically(built: Surfaces) -> None:
    assert {m.quantization for m in built.bundle.manifest.models if m.precision == "int8"} == {"weight-only"}


def test_every_file_answers_as_pytorch_does(built: Surfaces, embedded: Loaded) -> None:
    golden = built.bundle.golden()
    again = embed_with_torch(embedded.embedder, golden.images)  # maybe in another number of threads: sums differ
    assert measure_parity(golden.embeddings, again).error < 1e-6
    for model in built.bundle.manifest.models:
        backbone = open_backbone(built.bundle.entry(model.file), find_runtime({model.format}))
        parity = measure_parity(backbone.embed(golden.images), golden.embeddings)
        assert parity.error <= (1e-5 if model.precision == "fp32" else 0.05)
        assert parity.cosine > 0.999
        assert (model.error, model.cosine) == pytest.approx((parity.error, parity.cosine), rel=1e-3)


def test_tflite_runtime_on_numpy_1_agrees(built: Surfaces, tmp_path: Path) -> None:
    """The device environment is an interpreter of its own, where tflite-runtime and numpy below 2 are installed."""
    python = Path(__file__).parents[3] / ".venv-device" / "bin" / "python"
    python = Path(os.environ.get("EDGE_DEVICE_PYTHON", python))
    if not python.is_file():
        pytest.skip("needs a Python with tflite-runtime: .venv-device, or EDGE_DEVICE_PYTHON")
    program = (
        "import sys\n"
        "from edge.network import backbone, parity; from edge.bundle import archive as bundle\n"
        "opened = bundle.read(sys.argv[1]); golden = opened.golden(); runtime = backbone.RUNTIMES[2]\n"
        "for model in opened.manifest.models:\n"
        "    if model.format == 'tflite':\n"
        "        network = backbone.open_backbone(opened.entry(model.file), runtime)\n"
        "        proved = parity.prove(network, golden.images, golden.embeddings, model.precision, model.file)\n"
        "        print(model.precision, proved.error, proved.cosine)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    result = subprocess.run(
        [python, "-c", program, built.bundle.path], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["fp32", "int8"]
    assert float(result.stdout.split()[1]) < 1e-5


def test_the_three_surfaces_are_told_apart(built: Surfaces, sample: Path) -> None:
    """The head that a device would fit from the shipped examples, on frames whose pixels it never saw."""
    from edge.head.fit import Examples, fit
    from edge.metrics.evaluate import evaluate
    from edge.picture.preprocess import load

    manifest, examples = built.bundle.manifest, built.bundle.examples()
    head = fit(Examples(examples.embeddings, tuple(manifest.labels[i] for i in examples.labels))).head
    backbone = open_backbone(built.bundle.entry("backbone.int8.tflite"), find_runtime({"tflite"}))
    photos = [path for label in manifest.labels for path in sorted((sample / "test" / label).glob("*.jpg"))]
    embeddings = backbone.embed(np.stack([load(path) for path in photos]))
    figure = evaluate(head.probabilities(embeddings), [path.parent.name for path in photos], head.labels)
    assert figure.accuracy >= 0.95
    assert manifest.accuracy is not None
    assert manifest.accuracy.photos == 24
    assert manifest.accuracy.low <= manifest.accuracy.accuracy <= manifest.accuracy.high


def test_photos_that_cannot_be_read_are_skipped_and_reported(
    sample: Path, tmp_path: Path, listener: Any, tiny_backbone: str
) -> None:
    shutil.copytree(sample / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "brick" / "brick_03.jpg").write_bytes(b"")
    shutil.copy(tmp_path / "photos" / "grass" / "grass_00.jpg", tmp_path / "photos" / "grass" / "again.jpg")
    built = build(_tiny_plan(tmp_path, tiny_backbone), listener)
    assert {(s.path.name, s.reason == "copy") for s in built.skipped} == {
        ("brick_03.jpg", False),
        ("grass_00.jpg", True),
    }
    assert built.examples == {"brick": 39, "grass": 40, "gravel": 40}
    assert listener.steps[-1][0] == listener.steps[-1][1] == 121


def test_a_file_that_strays_is_not_shipped(
    sample: Path, built: Surfaces, tmp_path: Path, listener: Any, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter gone wrong: the refusal says by how much, and the older bundle stays."""
    from export.bundle import build as module

    shutil.copytree(sample / "photos", tmp_path / "photos")
    shutil.copy(built.bundle.path, tmp_path / "surfaces.edge")
    real = module.embed_with_torch
    monkeypatch.setattr(module, "embed_with_torch", lambda network, images: real(network, images) * 1.02)
    with refused("model-differs", ParityError, "2.0e-02"):
        build(_tiny_plan(tmp_path, tiny_backbone), listener)
    assert (tmp_path / "surfaces.edge").read_bytes() == built.bundle.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_class_whose_photos_are_all_damaged_is_refused(
    photo_folder: Callable[..., Path], tmp_path: Path, listener: Any, tiny_backbone: str
) -> None:
    folder = photo_folder(cup=4, plate=2)
    for path in (folder / "plate").iterdir():
        path.write_text("no picture")
    with refused("too-few-photos", DatasetError, "'plate'"):
        build(_tiny_plan(tmp_path, tiny_backbone), listener)


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, listener: Any) -> None:
    for output, fact in ((tmp_path, "folder"), (tmp_path / "no" / "x.edge", "does not exist")):
        with refused("output-unwritable", BundleError, fact):
            build(Plan(tmp_path, output, CREATED), listener)
    assert listener.stages == []


def test_a_model_made_elsewhere_is_its_own_reference(
    built: Surfaces, sample: Path, tmp_path: Path, listener: Any
) -> None:
    (tmp_path / "theirs.tflite").write_bytes(built.bundle.entry("backbone.int8.tflite"))
    plan = Plan(sample / "photos", tmp_path / "own.edge", CREATED, model=tmp_path / "theirs.tflite")
    manifest = build(plan, listener).bundle.manifest
    assert [(m.file, m.quantization) for m in manifest.models] == [("backbone.int8.tflite", "as delivered")]
    assert manifest.backbone.name == "theirs"
    assert manifest.models[0].cosine == pytest.approx(1.0)


def test_corals_extractor_is_dequantized_and_flattened(
    shared: Path, sample: Path, tmp_path: Path, listener: Any
) -> None:
    model = shared / "weights" / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
    built = build(Plan(sample / "photos", tmp_path / "coral.edge", CREATED, model=model), listener)
    examples, info = built.bundle.examples(), built.bundle.manifest.backbone
    assert info.dimension == 1024
    assert examples.embeddings.shape == (120, 1024)
    steps = np.unique(examples.embeddings)
    assert len(steps) <= 256  # uint8 values, times the output's scale
    assert 0 < steps[1] < 1
    assert built.bundle.manifest.accuracy is not None
    assert built.bundle.manifest.accuracy.accuracy > 0.9


@pytest.mark.parametrize("content", ["text", "float input"])
def test_a_model_that_is_no_backbone_is_refused(sample: Path, tmp_path: Path, listener: Any, content: str) -> None:
    path = tmp_path / "model.onnx"
    if content == "text":
        path.write_text("no model")
    else:
        from onnx import TensorProto, helper

        shape = ["N", 224, 224, 3]
        graph = helper.make_graph(
            [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0)],
            "float",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        )
        path.write_bytes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
        )
    with refused("model-unsuitable", BundleError, "model.onnx") as caught:
        build(Plan(sample / "photos", tmp_path / "own.edge", CREATED, model=path), listener)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not os.environ.get("EDGE_SLOW"), reason="exports eight networks, minutes: set EDGE_SLOW=1")
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_exported_and_proved(
    name: str, photo_folder: Callable[..., Path], tmp_path: Path, listener: Any, shared: Path
) -> None:
    known = {n: str(shared / "weights" / f"{n}_imagenet.pth") for n in ("mobilenet_v2", "squeezenet1_1")}
    weights = known.get(name, "embedded" if name == "embedded" else "random")
    plan = Plan(photo_folder(cup=8, plate=8), tmp_path / "x.edge", CREATED, backbone=name, weights=weights)
    models = build(plan, listener).bundle.manifest.models
    assert len(models) == 4
    assert all(model.error < 1e-5 for model in models if model.precision == "fp32")


@pytest.fixture
def tiny_backbone(tiny: object, monkeypatch: pytest.MonkeyPatch) -> str:
    """Enter the tiny network into the table."""
    from export.network import backbones

    row = backbones.Backbone("tiny", "tiny", 12, 0, 0, size=32)
    monkeypatch.setattr(backbones, "load", lambda *_: Loaded(row, tiny, "a test", "none"))  # type: ignore[arg-type]
    return row.name


def _tiny_plan(folder: Path, backbone: str) -> Plan:
    return Plan(
        folder / "photos",
        folder / "surfaces.edge",
        CREATED,
        backbone=backbone,
        runtimes=("onnx",),
    )


def test_reading_back_gives_what_was_built(
    photo_folder: Callable[..., Path], tmp_path: Path, listener: Any, tiny_backbone: str
) -> None:
    photo_folder(cup=6, plate=6)
    built = build(_tiny_plan(tmp_path, tiny_backbone), listener).bundle
    assert edge.bundle.archive.read(built.path).manifest == built.manifest
