"""Eight bits: the form is chosen by measurement, and stays near the float network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.backbone import find_runtime, measure_parity, open_backbone
from export import quantize as module
from export.parity import golden_images
from export.quantize import quantize, signal_to_noise

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


@given(st.integers(0, 99), st.floats(-30, 60))
def test_signal_to_noise_is_the_ratio_of_powers(seed: int, decibels: float) -> None:
    random = np.random.default_rng(seed)
    signal, noise = random.standard_normal((2, 8, 16))
    noise *= np.linalg.norm(signal) / np.linalg.norm(noise) * 10 ** (-decibels / 20)
    measured = signal_to_noise(signal + noise, signal)
    assert measured == pytest.approx(decibels, abs=1e-6)
