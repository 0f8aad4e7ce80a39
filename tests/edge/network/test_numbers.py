"""Numbers out of range, wherever they come from: refused by name, never stored, never a traceback."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import archive
from edge.bundle.archive import FactoryExamples, Golden, halves
from edge.errors import BundleError, ImageError, LabelError, ParityError
from edge.head.linear import unit
from edge.home.examples import Embedded
from edge.learner import Learner
from edge.metrics.figures import read_json
from edge.modelfile.culprit import culprit
from edge.network import backbone, parity
from edge.network.backbone import RUNTIMES, Backbone
from tests.edge.conftest import DIMENSION, MODELS, write_pictures
from tests.edge.hostile import entries_of, write_zip
from tests.refused import refused

HUGE = 7**500  # 423 digits


PLACES: list[tuple[str, ...]] = [
    ("format",), ("reader",), ("name",), ("created",), ("backbone", "input_size"), ("backbone", "short_side"),
    ("backbone", "dimension"), ("accuracy",), ("labels",), ("models",), ("files", "golden.npz", "size"), ("signed",),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=".".join)
@pytest.mark.parametrize(
    "text",
    [str(HUGE), f"-{HUGE}", "1e999", "-1e999", "NaN", "Infinity", "1" * 5000, "[" * 900 + "]" * 900, '"\\ud800"',
     '{"accuracy": 1e999, "low": 0, "high": 1, "photos": 3}', '{"accuracy": 7, "low": 0, "high": 1, "photos": 3}',
     '{"accuracy": 1, "low": 0, "high": 1, "photos": -3}', '"' + "x" * 1_000_000 + '"'],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_manifest_with_a_value_out_of_range_is_refused_in_a_line(
    tiny_bundle: Path, tmp_path: Path, place: tuple[str, ...], text: str
) -> None:
    entries = entries_of(tiny_bundle)
    manifest = json.loads(entries["manifest.json"])
    inner = manifest
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = "HERE"
    file = write_zip(
        tmp_path / "b.edge", {**entries, "manifest.json": json.dumps(manifest).replace('"HERE"', text).encode()}
    )
    with pytest.raises(BundleError) as error:
        archive.read(file)
    assert "b.edge" in str(error.value)
    assert len(str(error.value)) < 400


def test_a_float_where_a_models_error_stands_may_be_any_whole_number_but_not_one_out_of_range(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    entries = entries_of(tiny_bundle)
    manifest = json.loads(entries["manifest.json"])
    manifest["models"][0]["error"] = HUGE
    with refused("bundle-invalid", BundleError, "out of range"):
        archive.read(write_zip(tmp_path / "b.edge", {**entries, "manifest.json": json.dumps(manifest).encode()}))


@pytest.mark.parametrize("text", [f"[{HUGE}]", "[1e999]", "[NaN]", "[Infinity]", "[" * 100_000, "", b"\xff", "{"])
def test_json_that_no_program_of_ours_writes_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="."):
        read_json(text)


class Broken:
    """A network that makes NaN of dark pictures."""

    def __init__(self, network: Backbone) -> None:
        self._network = network
        self.runtime, self.size, self.dimension = network.runtime, network.size, network.dimension

    def copy(self) -> "Broken":
        return Broken(self._network.copy())

    def embed(self, images: Any) -> Any:
        rows = self._network.embed(images).copy()
        rows[images.mean(axis=(1, 2, 3)) < 60] = np.nan
        return rows


def test_a_picture_of_which_the_network_makes_nan_is_named_and_neither_taught_nor_classified(
    tiny_bundle: Path, tmp_path: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    folder = write_pictures(tmp_path, {"coins": 3}) / "coins"
    Image.new("RGB", (40, 40), (9, 9, 9)).save(folder / "dark.png")
    with Learner.init(tmp_path / "home", tiny_bundle) as learner:
        monkeypatch.setattr(type(learner), "backbone", lambda *_: Broken(network))
        taught = learner.teach("coins", [folder])
        assert len(taught.examples) == 3
        assert [Path(skipped.image).name for skipped in taught.unreadable] == ["dark.png"]
        assert "NaN" in taught.unreadable[0].reason
        assert learner.store.damaged_examples(DIMENSION) == []
        answers = list(learner.classify_each([folder / "dark.png"]))
        assert "NaN" in str(answers[0])
        with refused("picture-not-numbers", ImageError, folder / "dark.png"):
            learner.classify(folder / "dark.png")
        assert learner.retrain().promoted
        with refused("embedding-not-numbers", LabelError, "NaN"):
            learner.store.add_example(
                Embedded("coins", np.full(DIMENSION, np.nan, np.float32), "0" * 64, "x"), "y", None, "z"
            )


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1e-3, 1.0, 7e4, 1e30])
def test_embeddings_of_any_size_keep_their_direction_in_a_bundle(
    tiny_bundle: Path, tmp_path: Path, size: float
) -> None:
    opened = archive.read(tiny_bundle)
    examples = opened.examples()
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    rows = unit(examples.embeddings) * np.float32(size)
    scaled = FactoryExamples(rows, examples.labels, examples.trained_on)
    golden = Golden(opened.golden().images, opened.golden().embeddings)
    again = archive.write(tmp_path / "b.edge", opened.manifest, models, golden, scaled).examples()
    cosines = (unit(again.embeddings) * unit(rows)).sum(axis=1)
    assert cosines.min() > 0.99999


def test_ordinary_embeddings_are_rounded_as_they_are() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    np.testing.assert_array_equal(halves(rows), rows.astype(np.float16))
    np.testing.assert_array_equal(halves(np.zeros((2, 3), np.float32)), 0)
    far = halves(rows * np.float32(1e9))
    np.testing.assert_array_equal(halves(far.astype(np.float32)), far)  # what was read may be written again


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_numbers_are_written_to_no_bundle(
    tiny_bundle: Path, tmp_path: Path, value: float
) -> None:
    opened = archive.read(tiny_bundle)
    examples = opened.examples()
    models = {m.file: opened.entry(m.file) for m in opened.manifest.models}
    rows = np.array(examples.embeddings)
    rows[7, 3] = value
    with refused("bundle-invalid", BundleError, "row 7 of 30"):
        archive.write(
            tmp_path / "b.edge", opened.manifest, models, opened.golden(),
            FactoryExamples(rows, examples.labels, examples.trained_on),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def spoilt(format: str, value: float) -> bytes:
    """The tiny network with one weight replaced."""
    data = MODELS[format].read_bytes()
    for at in range(len(data) - 40, 0, -1):
        changed = data[:at] + np.array([value], "<f4").tobytes() + data[at + 4 :]
        if culprit(changed, format, np.isnan if np.isnan(value) else np.isinf):
            return changed
    raise AssertionError("no weight found")


@pytest.mark.parametrize("runtime", [r for r in RUNTIMES if r.installed], ids=lambda r: r.name)
def test_a_network_that_gives_nan_is_refused_by_the_tensor_that_holds_it(
    runtime: backbone.Runtime, tiny_bundle: Path
) -> None:
    assert culprit(MODELS[runtime.format].read_bytes(), runtime.format) == ""
    model = spoilt(runtime.format, np.nan)
    network = backbone.open_backbone(model, runtime, threads=1)
    golden = archive.read(tiny_bundle).golden()
    file = f"backbone.{runtime.format}"
    with refused("model-not-numbers", ParityError, file, runtime.name, "NaN", "tensor"):
        parity.prove(network, golden.images, golden.embeddings, "fp32", file, model)
