"""The real thing: a bundle of the embedded backbone and the sample photographs, on whichever runtimes are here.

`make test` builds both and names their folder in EDGE_SURFACES; the device's environment, without torch, runs this too.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from edge.answers import Answer, Drift
from edge.bundle import archive
from edge.learner import Learner
from edge.network import backbone
from edge.network.backbone import RUNTIMES, Runtime
from edge.network.parity import measure_parity
from edge.picture import preprocess

INSTALLED = [runtime for runtime in RUNTIMES if runtime.installed]
FORMATS = sorted({runtime.format for runtime in INSTALLED})


@pytest.fixture(scope="module", params=[(f, p) for f in FORMATS for p in ("fp32", "int8")], ids="-".join)
def taught(
    request: pytest.FixtureRequest, surfaces: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Learner]:
    """A home that was taught coins, with each model that can run here."""
    format, precision = request.param
    with Learner.init(tmp_path_factory.mktemp("home"), surfaces / "surfaces.edge", format, precision) as learner:
        assert learner.evaluate(surfaces / "sample" / "test").accuracy <= 0.75
        learner.teach("coins", [surfaces / "sample" / "device" / "coins"])
        learner.retrain()
        yield learner


def test_coins_taught_on_the_device_are_told_from_what_the_factory_taught(taught: Learner, surfaces: Path) -> None:
    result = taught.evaluate(surfaces / "sample" / "test")
    assert result.examples == 80
    assert result.accuracy >= 0.97
    assert all(check.ok for check in _doctor(taught))


def test_photos_that_are_all_named_rightly_are_no_drift_and_spoilt_ones_are(
    taught: Learner, surfaces: Path, tmp_path: Path
) -> None:
    photos = {label: sorted((surfaces / "sample" / "test" / label).iterdir()) for label in ("brick", "grass", "gravel")}

    def drift(files: list[Path]) -> Drift:
        taught.store.note("recent", "{}")
        assert len(list(taught.classify(files))) == len(files)
        with Learner(taught.home) as other:  # what a process saw is noted when it ends
            taught._answering.note()
            found = other.status().drift
        assert found is not None
        return found

    assert not drift([file for files in photos.values() for file in files]).drifted
    for label, files in photos.items():
        assert not drift(files).drifted, f"{label} alone"
        assert not drift(files[:1] * 30).drifted, f"one scene of {label}"
    assert drift(sorted((surfaces / "sample" / "test" / "coins").iterdir())).unknown < 0.5, "they were taught"
    spoil = {
        "too dark": lambda image: image.point(lambda level: level * 0.25),
        "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 60)),
    }
    for word, spoilt in spoil.items():
        files = [tmp_path / f"{word} {file.name}" for label in photos for file in photos[label]]
        for source, target in zip([file for label in photos for file in photos[label]], files, strict=True):
            with Image.open(source) as image:
                spoilt(image.convert("RGB")).save(target, quality=95)
        found = drift(files)
        assert (found.drifted, found.look) == (True, word)


def _doctor(learner: Learner) -> list[Any]:
    from edge.care.doctor import examine

    return [finding for finding in examine(learner.home) if finding.check not in ("storage", "space", "clock")]


@pytest.mark.parametrize("runtime", INSTALLED, ids=lambda r: r.name)
def test_the_same_photo_has_the_workstations_embedding_on_every_runtime(runtime: Runtime, surfaces: Path) -> None:
    opened = archive.read(surfaces / "surfaces.edge")
    info = opened.manifest.backbone
    network = backbone.open_backbone(opened.entry(f"backbone.{runtime.format}"), runtime)
    photos = sorted((surfaces / "sample" / "photos" / "brick").iterdir())[:5]
    images = np.stack([preprocess.load(photo, info.input_size, info.short_side) for photo in photos])
    reference = opened.examples().embeddings[:5]  # brick comes first; stored in 16 bits, which is half of the tolerance
    assert measure_parity(network.embed(images), reference).error < 1e-3
    golden = opened.golden()
    assert measure_parity(network.embed(golden.images), golden.embeddings).error < 1e-5


def test_the_exported_classifier_runs_in_the_bare_runtime_and_answers_alike(
    taught: Learner, surfaces: Path, tmp_path: Path
) -> None:
    format = taught.model.format
    file = tmp_path / f"whole.{format}"
    taught.export(file)
    labels, run = _bare_onnx(file) if format == "onnx" else _bare_tflite(file)
    photos = sorted((surfaces / "sample" / "test").rglob("*.jpg"))[::8]
    info = taught.info
    for photo, answer in zip(photos, taught.classify(photos), strict=True):
        assert isinstance(answer, Answer)
        image = preprocess.load(photo, info.input_size, info.short_side)[None]
        probabilities = np.asarray(run(image)).reshape(-1)
        for guess in answer.top:
            assert probabilities[labels.index(guess.label)] == pytest.approx(guess.probability, abs=2e-5)


def _bare_onnx(file: Path) -> tuple[list[str], Any]:
    import json

    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    return labels, lambda image: session.run(["probabilities"], {session.get_inputs()[0].name: image})[0]


def _bare_tflite(file: Path) -> tuple[list[str], Any]:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    labels = zipfile.ZipFile(file).read("labels.txt").decode().splitlines()
    runner = Interpreter(str(file)).get_signature_runner()
    (name,) = runner.get_input_details()
    return labels, lambda image: runner(**{name: image})["probabilities"]
