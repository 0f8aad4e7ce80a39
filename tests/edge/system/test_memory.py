"""Memory: a bundle of more photos than a board can hold is adopted and learned from, with the same head as ever."""

import gc
import importlib.util
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import learner as learner_module
from edge.bundle import archive
from edge.bundle.archive import FactoryExamples
from edge.bundle.stored import Opened, Stored
from edge.errors import BundleError
from edge.head import lda, matrix
from edge.head.fit import Examples, fit
from edge.head.matrix import DesignMatrix
from edge.head.stream import fit_chunks
from edge.learner import Learner
from edge.network import photos
from edge.network.backbone import Backbone, Runtime
from edge.retraining import retrain as retrain_module
from edge.testing import FakeNetwork
from edge.unknown.fit_gate import fit_gate
from edge.unknown.gate import Background
from tests.edge.conftest import picture
from tests.refused import refused


class Watched:
    """A matrix that remembers how many rows were asked for at once."""

    ndim = 2

    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self._rows, self.shape, self.most = rows, rows.shape, 0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> Any:
        found = self._rows[rows]
        self.most = max(self.most, len(found))
        return found


def some(n: int, d: int, classes: int, seed: int) -> Examples:
    random = np.random.default_rng(seed)
    means, columns = np.random.default_rng(9).normal(size=(classes, d)), np.arange(n) % classes
    x = np.maximum(random.normal(size=(n, d)) + means[columns], 0).astype(np.float32)
    x[:, : d // 2][random.random((n, d // 2)) < 0.9] = 0  # rows begin alike, as those of a ReLU do
    x[n // 2 : n // 2 + 5] = x[:5]
    return Examples(x, tuple(f"{column:03}" for column in columns))


@pytest.mark.parametrize("little", [False, True])
@pytest.mark.parametrize("taught", [0, 40, 300])
def test_examples_that_stay_on_the_disk_give_the_head_of_those_in_memory(
    monkeypatch: pytest.MonkeyPatch, little: bool, taught: int
) -> None:
    factory, local = some(1500, 90, 4, 1), some(taught, 90, 3, 2)
    held = Watched(factory.embeddings)  # type: ignore[arg-type]
    wanted = fit_chunks(lambda: [local], factory, sample=200)
    gate = fit_gate(lambda: [local], factory, wanted.head.labels, Background.none(90), np.ones(1500 + taught, bool))
    monkeypatch.setattr(matrix, "SMALL", 0)
    if little:
        for module in (matrix, lda):
            monkeypatch.setattr(module, "KEPT", 0)
    stored = Examples(held, factory.labels)
    found = fit_chunks(lambda: [local], stored, sample=200)
    assert held.most <= matrix.CHUNK or taught == 300  # moments are of up to 2,048
    assert held.most < len(held)
    again = fit_gate(lambda: [local], stored, wanted.head.labels, Background.none(90), np.ones(1500 + taught, bool))
    assert again is not None
    assert gate is not None
    assert again.threshold == pytest.approx(gate.threshold, abs=1e-6)
    if little:  # products of other blocks may differ in the last bit
        np.testing.assert_allclose(found.head.weights, wanted.head.weights, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.loo, wanted.loo, rtol=1e-4, atol=1e-5)
    else:
        assert found.head.to_bytes() == wanted.head.to_bytes()
        assert found.loo.tobytes() == wanted.loo.tobytes()
        assert again.to_bytes() == gate.to_bytes()


@pytest.mark.parametrize("width", [1, 40, 64, 200])
def test_rows_are_ranked_by_their_bytes_whatever_they_begin_with(width: int) -> None:
    random = np.random.default_rng(width)
    x = random.integers(0, 2, (300, width)).astype(np.float32)
    x[100:200, width // 2 :] = 0
    rows = DesignMatrix([x])[:]
    _, wanted = np.unique(np.ascontiguousarray(rows).view(f"V{rows.itemsize * width}"), return_inverse=True)
    np.testing.assert_array_equal(DesignMatrix([x]).ranks(), wanted.ravel())


def test_a_bursts_frames_stay_together_where_the_gate_reads_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = some(200, 16, 2, 3)
    bursts = Examples(plain.embeddings, plain.labels, tuple(f"{row % 40:02}" for row in range(200)))
    nothing = Background.none(16)
    whole = fit_gate(lambda: [], bursts, ("000", "001"), nothing, np.ones(200, bool))
    monkeypatch.setattr("edge.unknown.fit_gate.KEPT", 16 * 30)
    pieces = fit_gate(lambda: [], bursts, ("000", "001"), nothing, np.ones(200, bool))
    assert whole is not None
    assert pieces is not None
    assert pieces.threshold == pytest.approx(whole.threshold, abs=1e-5)


def test_a_stored_matrix_is_the_array_it_was_and_says_when_its_file_changed(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).random((1100, 7)).astype("<f2")
    file = tmp_path / "numbers"
    file.write_bytes(b"before" + numbers.tobytes())
    stored = Stored(Opened(file), 6, (1100, 7), "numbers")
    file.rename(tmp_path / "elsewhere")
    wanted = numbers.astype(np.float32)
    rows = np.random.default_rng(1).permutation(1100)[:600]
    for place in (slice(None), slice(3, 900, 7), rows, np.arange(1100) % 2 == 0):
        np.testing.assert_array_equal(stored[place], wanted[place])
        np.testing.assert_array_equal(stored.only(rows)[:], wanted[rows])
    np.testing.assert_array_equal(stored[5], wanted[5])
    assert stored.only(rows).shape == (600, 7)
    with (tmp_path / "elsewhere").open("r+b") as opened:
        opened.truncate(100)
    with refused("file-changed", BundleError):
        stored[:]


def test_bytes_of_a_file_are_those_of_its_place_and_say_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    file.write_bytes(bytes(range(100)))
    opened = Opened(file)
    assert opened.bytes(10, 5) == bytes(range(10, 15))
    assert opened.bytes(100, 0) == b""
    with refused("file-changed", BundleError):
        opened.bytes(90, 11)  # more than there are
    file.write_bytes(bytes(100) + b"more")
    with refused("file-changed", BundleError):
        opened.bytes(10, 5)


def test_one_network_is_in_memory_at_a_time_and_none_during_a_fit(
    tiny_bundle: Path, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[Backbone]] = []
    real = learner_module.backbone.open_backbone

    def watched(model: bytes, runtime: Runtime, threads: int | None = None) -> Backbone:
        network = real(model, runtime, threads)
        opened.append(weakref.ref(network))
        return network

    def alive() -> int:
        gc.collect()
        return sum(network() is not None for network in opened)

    during: list[int] = []
    fit = retrain_module.fit_anew

    def fitted(*args: Any) -> Any:
        during.append(alive())
        return fit(*args)

    monkeypatch.setattr(learner_module.backbone, "open_backbone", watched)
    monkeypatch.setattr(retrain_module, "fit_anew", fitted)
    files = sorted((photo_folder / "brick").iterdir())
    monkeypatch.setattr(photos, "cores", lambda: 2)
    with Learner.init(tmp_path / "home", tiny_bundle) as learner:
        during.clear()
        learner.classify(files[0])
        learner.classify((files * photos.MANY)[: photos.MANY])  # so many: a core for each picture, not all
        assert len(opened) == 2
        assert alive() == 1
        learner.teach("wall", [picture("coins", seed) for seed in range(4)])
        learner.retrain()
        assert during == [0]
        assert learner.classify(picture("coins", 9)).label == "wall"


@pytest.mark.parametrize(
    ("small", "pictures", "networks", "threads"),
    [(True, 20, 2, 2), (False, 20, 4, 1), (True, 7, 1, None), (False, 7, 1, None)],
)
def test_many_pictures_have_a_network_for_each_core_or_two_on_a_small_board_and_a_few_have_one(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, small: bool, pictures: int, networks: int, threads: int | None
) -> None:
    started: list[int | None] = []
    together = threading.Barrier(networks, timeout=60)

    class Counted(FakeNetwork):
        def __init__(self, *_: object) -> None:
            super().__init__()
            started.append(_[2] if _ else None)  # type: ignore[arg-type]
            self.first = True

        def embed(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            if self.first:
                together.wait()  # as many as are expected run at the same time
            self.first = False
            return super().embed(images)

        def copy(self) -> FakeNetwork:
            return Counted()

    monkeypatch.setattr(photos, "cores", lambda: 4)
    monkeypatch.setattr(photos, "SMALL", 1 << 62 if small else 0)
    monkeypatch.setattr(learner_module.backbone, "open_backbone", Counted)
    learner.classify([picture("brick", seed) for seed in range(pictures)])
    assert started == [threads] + [None] * (networks - 1)


def test_a_number_that_is_none_is_found_when_its_row_is_read(tiny_bundle: Path, tmp_path: Path) -> None:
    data = np.ones((4, 3), "<f2")
    data[2, 1] = np.inf
    (tmp_path / "numbers").write_bytes(data.tobytes())
    stored = Stored(Opened(tmp_path / "numbers"), 0, (4, 3), "numbers")
    assert stored[:2].shape == (2, 3)
    with refused("bundle-invalid", BundleError, "NaN"):
        stored[:]


def test_the_examples_of_a_bundle_are_the_same_read_at_once_or_by_and_by(tiny_bundle: Path) -> None:
    opened = archive.read(tiny_bundle)
    whole, stored = opened.examples(), opened.stored_examples()
    assert isinstance(whole.embeddings, np.ndarray)
    assert isinstance(stored.embeddings, Stored)
    np.testing.assert_array_equal(whole.embeddings, stored.embeddings)
    for name in ("labels", "trained_on", "groups"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(stored, name))
    labels = tuple(opened.manifest.labels[i] for i in whole.labels)
    assert (
        fit(Examples(stored.embeddings, labels)).head.to_bytes()
        == fit(Examples(whole.embeddings, labels)).head.to_bytes()
    )
    assert isinstance(stored, FactoryExamples)


@pytest.mark.kills
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")),
    reason="the workstation makes the bundle",
)
def test_ten_thousand_photos_fit_into_a_small_board() -> None:
    from benchmarks.board import GOAL, peaks

    for command, megabytes in peaks(10_000, 1280, 10).items():
        assert megabytes <= GOAL, command
