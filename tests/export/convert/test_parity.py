"""The proof of parity: golden pictures are the same everywhere, and a file that strays is refused by how much."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from edge.bundle.archive import Golden
from edge.errors import ParityError
from export.convert.converters import to_onnx
from export.convert.parity import embed_with_torch, golden_images, prove_everywhere, worst
from tests.refused import refused

pytestmark = pytest.mark.converters


def test_golden_pictures_are_the_same_every_time(golden: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(golden, golden_images(224))
    assert golden.dtype == np.uint8
    assert not (golden_images(224, seed=1) == golden).all()


def test_golden_pictures_look_like_photographs(golden: NDArray[np.uint8]) -> None:
    """Wide range, colour, and neighbours that resemble each other."""
    for picture in golden.astype(float):
        assert picture.min() < 20
        assert picture.max() > 200
        assert np.abs(picture[..., 0] - picture[..., 2]).mean() > 5
        assert np.corrcoef(picture[:, 1:, 1].ravel(), picture[:, :-1, 1].ravel())[0, 1] > 0.7


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_an_exported_file_answers_as_pytorch(tiny: nn.Module, tiny_files: dict[str, bytes], kind: str) -> None:
    images = golden_images(32)
    proofs = prove_everywhere(tiny_files[kind], "file", kind, "fp32", Golden(images, embed_with_torch(tiny, images)))
    assert worst(proofs).error < 1e-5


def test_a_network_that_strays_is_refused_by_how_much(tiny: nn.Module, tiny_files: dict[str, bytes]) -> None:
    images = golden_images(32)
    reference = embed_with_torch(tiny, images)
    with refused("model-differs", ParityError, "backbone.onnx", "onnxruntime"):
        prove_everywhere(tiny_files["onnx"], "backbone.onnx", "onnx", "fp32", Golden(images, reference * 1.01))
    with refused("model-differs", ParityError, "-1.000"):
        prove_everywhere(tiny_files["onnx"], "backbone.int8.onnx", "onnx", "int8", Golden(images, -reference))


def test_the_onnx_batch_is_free_and_the_names_are_fixed(tiny: nn.Module, tiny_files: dict[str, bytes]) -> None:
    import onnxruntime as ort

    session = ort.InferenceSession(tiny_files["onnx"])
    assert [i.name for i in session.get_inputs()] == ["image"]
    assert [o.name for o in session.get_outputs()] == ["embedding"]
    images = golden_images(32, 3)
    for count in (1, 2, 3):
        together = session.run(None, {"image": images[:count]})[0]
        np.testing.assert_allclose(together, embed_with_torch(tiny, images[:count]), rtol=1e-4, atol=1e-5)


def test_exporting_prints_nothing(tiny: nn.Module, capfd: pytest.CaptureFixture[str]) -> None:
    to_onnx(tiny, 32)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
