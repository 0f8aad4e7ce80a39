"""The background: it fits the weights that ship, comes from any folder of photos, and a bundle says whose it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bundle.manifest import BackboneInfo
from edge.errors import BundleError, DatasetError
from edge.network.backbone import find_runtime, open_backbone
from edge.unknown.gate import Background
from export.bundle.background import Generic, background_file, of_folder, save, shipped
from export.network.backbones import BACKBONES, joining_file, load
from tests.export.conftest import Surfaces
from tests.refused import refused

INFO = BackboneInfo("tiny", "0" * 64, "random", "Apache-2.0", 32, 37, 12)


@pytest.mark.parametrize("name", [row.name for row in BACKBONES.values() if row.taps])
def test_the_background_that_ships_is_of_the_weights_that_ship(name: str) -> None:
    from export.network.form import fingerprint

    loaded = load(name)
    found = shipped(fingerprint(loaded.embedder, loaded.backbone.size, crop=loaded.backbone.crop))
    assert found is not None, "new weights need a new background: python -m export.bundle.background"
    assert found.background.mean.shape == (loaded.backbone.embedding,)
    assert "photos" in found.source
    assert background_file(name).stat().st_size < 300_000
    assert joining_file(name).stat().st_size < 4_000_000
    assert shipped("0" * 64) is None


def test_a_projection_keeps_the_main_directions_and_evens_them_a_little() -> None:
    """Differential: the singular vectors of the pictures themselves."""
    import torch
    from torch import nn

    from export.network.taps import WHITE, project

    joined = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32) * np.arange(1, 9, dtype=np.float32)
    network = nn.Module()
    project(network, joined, 3)
    _, lengths, directions = np.linalg.svd(joined.astype(np.float64), full_matrices=False)
    values = lengths[:3] ** 2
    expected = (values / values[0])[:, None] ** (-WHITE / 2) * directions[:3]
    found = network.get_buffer("projection").numpy()
    signs = np.sign((found * expected).sum(1))
    np.testing.assert_allclose(found, signs[:, None] * expected, atol=1e-5)
    assert (found[np.arange(3), np.abs(found).argmax(1)] > 0).all()
    twice = nn.Module()
    project(twice, joined, 3)
    assert torch.equal(twice.get_buffer("projection"), network.get_buffer("projection"))


def test_a_bundle_holds_background_and_domain_and_says_whose(built: Surfaces) -> None:
    background, domain = built.bundle.background(), built.bundle.domain()
    assert background is not None
    assert domain is not None
    assert built.bundle.manifest.background == "9,144 photos of Caltech-101"
    assert len(domain.thumbs) == len(built.bundle.examples().labels)


def test_another_pattern_is_unknown_and_another_frame_of_the_same_is_not(built: Surfaces, sample: Path) -> None:
    """The sample's three surfaces, through the whole gate: its coins were never taught."""
    from edge.head.fit import Examples
    from edge.picture.preprocess import load
    from edge.unknown.fit_gate import fit_gate
    from edge.unknown.gate import Detector

    manifest, examples = built.bundle.manifest, built.bundle.examples()
    background = built.bundle.background()
    assert background is not None
    factory = Examples(examples.embeddings, tuple(manifest.labels[i] for i in examples.labels))
    gate = fit_gate(lambda: [], factory, manifest.labels, background, np.ones(len(factory), bool))
    assert gate is not None
    judge = Detector(gate, background)
    network = open_backbone(built.bundle.entry("backbone.onnx"), find_runtime({"onnx"}))

    def unknown(label: str) -> float:
        photos = network.embed(np.stack([load(path) for path in sorted((sample / "test" / label).iterdir())]))
        return float(np.mean([judge.similarity(x) < judge.gate.threshold for x in photos]))

    assert unknown("coins") == 1
    assert np.mean([unknown(label) for label in manifest.labels]) <= 0.1


def test_a_folder_of_generic_photos_gives_one(tiny_files: dict[str, bytes], photo_folder: Callable[..., Path]) -> None:
    network = open_backbone(tiny_files["onnx"], find_runtime({"onnx"}), threads=1)
    folder = photo_folder(all=101)
    (folder / "all" / "broken.jpg").write_bytes(b"")
    steps: list[tuple[int, int]] = []
    found = of_folder(folder, network, INFO, lambda done, total: steps.append((done, total)))
    assert found.source == "101 generic photos"
    assert [skipped.path.name for skipped in found.skipped] == ["broken.jpg"]
    assert steps[-1] == (102, 102)
    assert np.isfinite(found.background.values).all()


def test_too_few_generic_photos_are_refused(tiny_files: dict[str, bytes], photo_folder: Callable[..., Path]) -> None:
    network = open_backbone(tiny_files["onnx"], find_runtime({"onnx"}), threads=1)
    with refused("too-few-photos", DatasetError, "3", "100"):
        of_folder(photo_folder(all=3), network, INFO, lambda *_: None)
    with refused("folder-missing", DatasetError):
        of_folder(Path("absent"), network, INFO, lambda *_: None)


def test_the_same_background_gives_the_same_file(tmp_path: Path) -> None:
    background = Background.of(np.random.default_rng(0).normal(size=(30, 9)).astype(np.float32))
    for name in ("a-background.npz", "b.npz"):
        save(tmp_path / name, Generic(background, "30 photos"), "f" * 64)
    assert (tmp_path / "a-background.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = shipped("f" * 64, tmp_path)
    assert again is not None
    assert again.source == "30 photos"
    assert again.background.digest() == background.digest()


def test_the_recipe_writes_how_maps_are_joined_and_the_background_and_the_same_ones_again(
    photo_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported_once: None
) -> None:
    from click.testing import CliRunner

    from export.bundle.background import main
    from export.network import backbones
    from export.network.form import fingerprint

    photos, written = photo_folder(cup=4, plate=4), []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(backbones, "WEIGHTS", tmp_path / name)
        done = CliRunner().invoke(main, [str(photos), "--source", "8 pictures of noise"])
        assert done.exit_code == 0, done.output
        written.append([joining_file(backbones.DEFAULT).read_bytes(), background_file(backbones.DEFAULT).read_bytes()])
    assert written[0] == written[1]
    loaded = load(backbones.DEFAULT)
    row = loaded.backbone
    found = shipped(fingerprint(loaded.embedder, row.size, crop=row.crop), tmp_path / "again")
    assert found is not None
    assert (found.source, found.background.mean.shape) == ("8 pictures of noise", (row.embedding,))


def test_the_recipe_refuses_what_it_cannot_do_in_one_line(tmp_path: Path) -> None:
    from export.bundle.background import main

    for options, message in (
        (["--backbone", "mobilenet_v2"], "the embedding of mobilenet_v2 joins no earlier maps"),
        (["--backbone", "embedded"], "embedded needs the newly trained --weights"),
        (["--weights", "x.pth"], "efficientnet_lite0 takes its own weights; leave --weights out"),
    ):
        with pytest.raises(BundleError, match=message):
            main([str(tmp_path), "--source", "x", *options], standalone_mode=False)
