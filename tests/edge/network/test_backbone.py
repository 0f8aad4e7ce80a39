"""Runtimes: each gives the same embeddings; each that is missing or broken says what to install."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edge.errors import BundleError, ParityError, RuntimeMissing
from edge.network import backbone, photos
from edge.network.backbone import RUNTIMES, Backbone, Runtime, find_runtime, open_backbone
from edge.network.parity import measure_parity, prove
from edge.testing import INFO, FakeNetwork
from tests.edge.conftest import DATA, DIMENSION, MODELS, PATIENCE, SIDE
from tests.refused import refused

INSTALLED = [r for r in RUNTIMES if r.installed]
IMAGES = np.random.default_rng(1).integers(0, 256, (6, SIDE, SIDE, 3)).astype(np.uint8)


def opened(runtime: Runtime, threads: int = 1) -> Backbone:
    return open_backbone(MODELS[runtime.format].read_bytes(), runtime, threads)


@pytest.mark.parametrize("runtime", INSTALLED, ids=lambda r: r.name)
def test_every_runtime_gives_the_networks_embeddings(runtime: Runtime) -> None:
    embeddings = opened(runtime).embed(IMAGES)
    assert embeddings.shape == (6, DIMENSION)
    assert embeddings.dtype == np.float32
    assert measure_parity(embeddings, FakeNetwork().embed(IMAGES)).error < 1e-5


@pytest.mark.parametrize("runtime", INSTALLED, ids=lambda r: r.name)
def test_numbers_are_what_they_were_before_a_runtime_was_loaded(runtime: Runtime) -> None:
    # tflite-runtime for ARM makes the processor flush tiny ones to zero, which is only seen there: make test-arm
    script = f"""
import numpy as np
from edge.network import backbone
backbone.load_runtime({runtime.name!r})
assert np.float64(5e-324) * np.float64(1) > 0
assert (np.full(9, 1e-45, np.float32) * np.float32(1) > 0).all()
np.finfo(np.float32), np.finfo(np.float64)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("runtime", INSTALLED, ids=lambda r: r.name)
def test_a_pictures_embedding_does_not_depend_on_company_or_threads(runtime: Runtime) -> None:
    together = opened(runtime).embed(IMAGES)
    alone = np.concatenate([opened(runtime, 4).copy().embed(image[None]) for image in IMAGES])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("runtime", [r for r in INSTALLED if r.format == "tflite"], ids=lambda r: r.name)
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_a_quantized_output_is_dequantized(runtime: Runtime, kind: str) -> None:
    quantized = open_backbone((DATA / f"tiny_{kind}.tflite").read_bytes(), runtime).embed(IMAGES)
    assert np.abs(quantized - opened(runtime).embed(IMAGES)).max() <= 1 / 128 + 1e-6


@pytest.mark.parametrize("runtime", INSTALLED, ids=lambda r: r.name)
@pytest.mark.parametrize(
    "model", [b"", b"hello", MODELS["onnx"].read_bytes()[:500], MODELS["tflite"].read_bytes()[:999]]
)
def test_a_damaged_model_is_refused(runtime: Runtime, model: bytes) -> None:
    # in a process of its own: what a runtime does with damage is not ours to promise, but that it is reported is
    script = f"""
import sys
from edge.network.backbone import RUNTIMES, open_backbone
from edge.errors import BundleError
try:
    open_backbone({model!r}, next(r for r in RUNTIMES if r.name == {runtime.name!r}))
except BundleError as error:
    print(error)
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert child.stdout.startswith(("the model is refused: ", f"{runtime.name} refuses the model")), child.stderr


def test_a_network_that_answers_otherwise_is_refused_by_how_much(network: Backbone) -> None:
    reference = network.embed(IMAGES)
    assert prove(network, IMAGES, reference, "fp32", "b").error == 0
    strayed = reference * 1.01
    with refused("model-differs", ParityError, "9.9e-03"):
        prove(network, IMAGES, strayed, "fp32", "b")
    prove(network, IMAGES, strayed, "int8", "b")
    with refused("model-differs", ParityError, "-1.000"):
        prove(network, IMAGES, -reference, "int8", "b")
    with refused("model-differs", ParityError, "shape"):
        prove(network, IMAGES, reference[:, :3], "fp32", "b")


def test_numbers_that_are_none_are_never_at_parity() -> None:
    nothing = np.full((2, 3), np.nan, np.float32)
    assert measure_parity(nothing, np.ones((2, 3), np.float32)).cosine == -1


def test_a_missing_runtime_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tuple(Runtime(r.name, r.format, "no_such_module", r.package, r.extra) for r in RUNTIMES)
    with refused("runtime-missing", RuntimeMissing, "onnxruntime", "pip install 'edge-transfer[onnx]'"):
        open_backbone(b"", gone[0])
    monkeypatch.setattr(backbone, "RUNTIMES", gone)
    with refused(
        "runtime-missing",
        RuntimeMissing,
        "pip install 'edge-transfer[tflite]'",
        "pip install 'edge-transfer[tflite-runtime]'",
    ):
        find_runtime({"tflite"})


def test_tflite_runtime_beside_numpy_2_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Runtime("tflite-runtime", "tflite", "json", "tflite-runtime", "tflite-runtime")  # some installed module
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with refused("runtime-broken", RuntimeMissing, "numpy 2.4.6", "pip install 'numpy<2'"):
        open_backbone(b"", here)


def test_a_graph_of_another_form_is_refused() -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node("Identity", ["a"], ["b"])], "g", [value("a", floats, [1, 5])], [value("b", floats, [1, 5])], []
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    with refused("model-unsuitable", BundleError, "uint8 (N, S, S, 3)"):
        open_backbone(model.SerializeToString(), RUNTIMES[0])


@pytest.mark.skipif(not hasattr(threading, "_shutdown_locks_lock"), reason="this Python starts threads without it")
def test_pictures_given_up_half_way_wait_for_no_thread(photo_folder: Path) -> None:
    """The garbage collector may close the generator while some thread starts, which holds this lock."""
    seen = photos.embed(sorted(photo_folder.rglob("*.*g")), FakeNetwork(), INFO)
    next(seen)
    started, locked, ended = threading.Event(), threading.Event(), threading.Event()

    def close() -> None:
        started.set()
        locked.wait()
        seen.close()
        ended.set()

    threading.Thread(target=close, daemon=True).start()
    started.wait()
    with threading._shutdown_locks_lock:  # type: ignore[attr-defined]
        locked.set()
        assert ended.wait(PATIENCE)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core needs no threads")
def test_where_no_thread_has_room_the_memory_is_to_blame(photo_folder: Path) -> None:
    before = threading.stack_size(sys.maxsize // 2)
    try:
        with pytest.raises(MemoryError):
            list(photos.embed(sorted(photo_folder.rglob("*.*g")), FakeNetwork(), INFO))
    finally:
        threading.stack_size(before)
