"""A model made elsewhere is tried at `build` as the device will use it: what would fail there is refused here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.errors import BundleError
from export.bundle.build import build
from export.bundle.plan import Plan
from export.convert.own_model import check_embeddings, read_own_model
from tests.refused import refused

CREATED = "2026-01-01T00:00:00+00:00"
WEIGHTS = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)


def model(
    weights: NDArray[np.float32] = WEIGHTS, batch: object = "N", opset: int = 13, end: str = "", outputs: int = 1
) -> bytes:
    """Mean colour of each picture, times a matrix."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "weights"], ["e"]),
        *([helper.make_node(end, ["e"], ["y"], **({"axis": 1} if end == "Softmax" else {}))] if end else []),
    ]
    names = ["y" if end else "e", "m"][:outputs]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [batch, 32, 32, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3 if name == "m" else 6]) for name in names],
        [numpy_helper.from_array(weights, "weights")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(made.SerializeToString())


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_model_of_one_or_any_number_of_pictures_is_taken(tmp_path: Path, batch: object) -> None:
    own = read_own_model(write(tmp_path / "theirs.onnx", model(batch=batch)))
    assert (own.opened.size, own.opened.dimension, own.precision) == (32, 6, "fp32")


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (model(opset=8), "conversion-failed", "opset 8"),
        (model(outputs=2), "conversion-failed", "output"),
        (model(batch=8), "model-unsuitable", "8"),
        (model(np.where(np.arange(6) == 2, np.float32("nan"), WEIGHTS)), "model-not-numbers", "'weights'"),
        (model(np.full_like(WEIGHTS, 3e38)), "model-not-numbers", "NaN"),
        (model(end="Log"), "model-not-numbers", "NaN"),
        (b"<!doctype html><html>", "model-unsuitable", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "model-unsuitable", "Git LFS pointer"),
        (b"", "model-unsuitable", "empty"),
        (model()[:200], "model-damaged", "theirs.onnx"),
    ],
)
def test_what_would_fail_on_the_device_is_refused_with_what_to_do(
    tmp_path: Path, data: bytes, code: str, says: str
) -> None:
    with refused(code, BundleError, says) as caught:
        read_own_model(write(tmp_path / "theirs.onnx", data))
    text = str(caught.value)
    assert text.startswith("theirs.onnx: ")
    assert text.isprintable()
    assert "build the bundle again" not in text
    assert "another runtime" not in text


def test_weights_given_as_a_model_are_sent_to_their_option(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    with refused("model-unsuitable", BundleError, "--weights"):
        read_own_model(tmp_path / "w.pth")


def test_a_tflite_model_whose_weights_are_not_numbers_is_refused_by_tensor(tmp_path: Path, tiny: Any) -> None:
    import copy

    import torch

    from export.convert.converters import to_tflite

    broken = copy.deepcopy(tiny)
    with torch.no_grad():
        broken.trunk[4].weight[0, 0, 0, 0] = float("nan")
    with refused("model-not-numbers", BundleError, "broken.tflite", "NaN"):
        read_own_model(write(tmp_path / "broken.tflite", to_tflite(broken, 32)))


def test_an_ordinary_tflite_model_is_taken(tmp_path: Path, tiny_files: dict[str, bytes]) -> None:
    assert read_own_model(write(tmp_path / "tiny.tflite", tiny_files["tflite"])).opened.dimension == 12


def test_a_classifiers_probabilities_are_told(photo_folder: Any, tmp_path: Path, listener: Any) -> None:
    path = write(tmp_path / "theirs.onnx", model(WEIGHTS / 100, end="Softmax"))
    photos = photo_folder(cup=8, plate=8)
    built = build(Plan(photos, tmp_path / "x.edge", CREATED, model=path), listener)
    assert len(built.warnings) == 1
    assert "theirs gives probabilities (each answer adds up to 1)" in built.warnings[0]
    plain = Plan(photos, tmp_path / "y.edge", CREATED, model=write(tmp_path / "plain.onnx", model()))
    assert build(plain, listener).warnings == ()


def test_a_model_that_sees_nothing_is_refused(photo_folder: Any, tmp_path: Path, listener: Any) -> None:
    path = write(tmp_path / "blind.onnx", model(np.zeros_like(WEIGHTS), end="Exp"))
    with refused("model-unsuitable", BundleError, "blind", "6 numbers"):
        build(Plan(photo_folder(cup=8, plate=8), tmp_path / "x.edge", CREATED, model=path), listener)


def test_a_photo_for_which_the_network_gives_no_number_is_named(
    photo_folder: Any, tmp_path: Path, listener: Any
) -> None:
    """The logarithm of black."""
    from PIL import Image

    photos = photo_folder(cup=8, plate=8)
    Image.new("RGB", (40, 40)).save(photos / "cup" / "dark.png")
    path = write(tmp_path / "theirs.onnx", model(np.abs(WEIGHTS), end="Log"))
    with refused("model-not-numbers", BundleError, "NaN", "dark.png"):
        build(Plan(photos, tmp_path / "x.edge", CREATED, model=path), listener)
    assert not (tmp_path / "x.edge").exists()


def test_logits_and_embeddings_are_not_called_probabilities() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)
    assert check_embeddings(rows, "m") == ()
    assert check_embeddings(np.abs(rows), "m") == ()
