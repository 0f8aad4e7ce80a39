"""Bursts are told by frames that are nearly alike next to each other; ordinary numbered photos are no bursts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from export.photos.bursts import Bursts, find_bursts
from tests.export.conftest import Surfaces

Floats = NDArray[np.float32]
D = 64


def scenes(seed: int, count: int, frames: int, stray: float) -> Floats:
    """Embeddings of `count` scenes with so many frames each, nearly alike: (count · frames, D)."""
    random = np.random.default_rng(seed)
    of_scene = np.repeat(random.normal(size=(count, D)), frames, axis=0)
    return np.asarray(of_scene + stray * random.normal(size=of_scene.shape), np.float32)


def look(names: list[str], *labels: Floats) -> Bursts:
    """Look at labels `a`, `b` … with the same number of photos each."""
    paths = [Path(chr(97 + i)) / name for i in range(len(labels)) for name in names]
    targets = np.repeat(np.arange(len(labels), dtype=np.int32), [len(label) for label in labels])
    return find_bursts(paths, targets, [chr(97 + i) for i in range(len(labels))], np.concatenate(labels))


CAMS = [f"cam{c}_{i:04}.jpg" for c in range(4) for i in range(5)]
IMG = [f"IMG_{i:04}.jpg" for i in range(1, 21)]


def test_frames_of_several_cameras_are_told_with_the_grouping_that_helps() -> None:
    found = look(CAMS, scenes(0, 4, 5, 0.2), scenes(1, 4, 5, 0.2))
    assert found.labels == ("a", "b")
    assert "look like bursts of one camera; the accuracy may be far too high: give --group-by prefix" in found.warning


def test_only_the_labels_of_bursts_are_named() -> None:
    assert look(CAMS, scenes(0, 4, 5, 0.2), scenes(1, 20, 1, 0)).labels == ("a",)


def test_bursts_that_names_do_not_tell_apart_need_folders() -> None:
    found = look(IMG, scenes(0, 4, 5, 0.2), scenes(1, 4, 5, 0.2))
    assert "--group-by prefix" not in found.warning
    assert "--group-by folder" in found.warning


@pytest.mark.parametrize("stray", [0.02, 0.1])
def test_one_long_burst_is_told_where_frames_are_the_same(stray: float) -> None:
    assert look(IMG, scenes(0, 1, 20, stray), scenes(1, 20, 1, 0)).labels == ("a",)


@pytest.mark.parametrize(
    "names", [IMG, [f"DSC{i:05}.jpg" for i in range(20)], [f"brick_{i:02}.jpg" for i in range(20)], CAMS]
)
@pytest.mark.parametrize("likeness", [0.0, 0.5, 0.7])
def test_ordinary_photos_are_no_bursts_whatever_their_names(names: list[str], likeness: float) -> None:
    """Photos of a label are alike, but those next to each other not more so than others."""
    labels = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        labels.append((likeness * random.normal(size=D) + (1 - likeness) * random.normal(size=(20, D))).astype("f4"))
    assert look(names, *labels) == Bursts()


def test_photos_in_no_order_are_no_bursts() -> None:
    """Some things were photographed several times, but the names say nothing of it."""
    shuffled = scenes(0, 10, 2, 0.2)[np.random.default_rng(0).permutation(20)]
    assert look(IMG, shuffled, scenes(1, 20, 1, 0)) == Bursts()


def test_few_photos_tell_nothing() -> None:
    assert look(["a_1.jpg", "a_2.jpg"], scenes(0, 1, 2, 0), scenes(1, 1, 2, 0)) == Bursts()


def test_where_names_tell_nothing_the_time_does(tmp_path: Path) -> None:
    embeddings, order = scenes(0, 5, 4, 0.2), np.random.default_rng(0).permutation(20)
    paths = []
    for place, row in enumerate(order):  # names in an order that tells nothing
        exif = Image.Exif()
        exif.get_ifd(34665)[36867] = f"2026:05:01 {10 + row // 4}:00:{10 * (row % 4):02}"
        paths.append(tmp_path / f"{place:02}.jpg")
        Image.new("RGB", (8, 8)).save(paths[-1], exif=exif)
    others = [tmp_path / "b" / f"{i}.jpg" for i in range(20)]
    rows = np.concatenate([embeddings[order], scenes(1, 20, 1, 0)])
    found = find_bursts([*paths, *others], np.repeat(np.arange(2, dtype=np.int32), 20), ["a", "b"], rows)
    assert found.labels == ("a",)
    assert found.warning.endswith("give --group-by session")


def test_the_sample_photos_are_no_bursts(built: Surfaces, sample: Path) -> None:
    """Forty crops of one wall, numbered: alike, but none like the next."""
    examples, labels = built.bundle.examples(), built.bundle.manifest.labels
    paths = [path for label in labels for path in sorted((sample / "photos" / label).glob("*.jpg"))]
    assert find_bursts(paths, examples.labels, labels, examples.embeddings) == Bursts()


@pytest.mark.parametrize("name", ["flowers5", "hymenoptera2", "trashnet6"])
def test_other_peoples_photos_are_no_bursts(built: Surfaces, shared: Path, name: str) -> None:
    from edge.network.backbone import find_runtime, open_backbone
    from edge.network.photos import embed

    labels = sorted(path.name for path in (shared / "data" / name / "train").iterdir())[:3]
    paths = [p for label in labels for p in sorted((shared / "data" / name / "train" / label).glob("*.jpg"))[:20]]
    network = open_backbone(built.bundle.entry("backbone.onnx"), find_runtime({"onnx"}), threads=1)
    rows = np.stack(
        [p.embedding for p in embed(paths, network, built.bundle.manifest.backbone) if p.embedding is not None]
    )
    assert find_bursts(paths, np.repeat(np.arange(len(labels), dtype=np.int32), 20), labels, rows) == Bursts()
