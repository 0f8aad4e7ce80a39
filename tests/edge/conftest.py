"""A real, tiny device: a random network of a few kilobytes in both formats, pictures of plain surfaces, a bundle.

Everything runs on whichever runtime is installed, so that the same tests prove the workstation's and the device's
environment. Where there is none, the tests that need one are skipped.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.bundle import archive
from edge.bundle.archive import FactoryExamples, Golden
from edge.bundle.manifest import BackboneInfo, Manifest, ModelFile
from edge.cli import app
from edge.network import backbone, photos
from edge.network.backbone import RUNTIMES, Backbone
from edge.picture.find import labelled

collect_ignore = ["data/make_old_homes.py"]  # runs with the code of version 0.1.0
Run = Callable[..., tuple[int, str, str]]
PATIENCE = 600  # seconds, after which what hangs is given up, on however busy a machine
DATA = Path(__file__).parent / "data"
SIDE, DIMENSION = 16, 8
MODELS = {"onnx": DATA / "tiny.onnx", "tflite": DATA / "tiny.tflite"}
INFO = BackboneInfo(
    name="tiny",
    fingerprint=hashlib.sha256(b"tiny").hexdigest(),
    weights="random, seed 7",
    licence="Apache-2.0",
    input_size=SIDE,
    short_side=18,
    dimension=DIMENSION,
)
COLOURS = {"brick": (180, 70, 50), "grass": (60, 150, 60), "gravel": (120, 120, 125), "coins": (200, 180, 60)}


def picture(label: str, seed: int, side: int = 40) -> Image.Image:
    """A surface with its pattern and grain, as a camera would see it; the seed makes it one of a kind."""
    random = np.random.default_rng([sorted(COLOURS).index(label), seed])
    y, x = np.mgrid[:side, :side] // 5 % 2 * 2 - 1  # ±1, a period of 10 pixels: that of the network's patches
    pattern = {"brick": y, "grass": x, "gravel": x * y, "coins": 0 * x}[label][:, :, None]
    grain = random.normal(0, 20, (side, side, 3)) + random.normal(0, 8, 3)
    return Image.fromarray(np.clip(np.array(COLOURS[label]) + 60 * pattern + grain, 0, 255).astype(np.uint8))


def write_pictures(folder: Path, labels: dict[str, int], first: int = 0) -> Path:
    """Write class folders of pictures: so many of each label, seeds from `first`."""
    for label, count in labels.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + count):
            picture(label, seed).save(folder / label / f"{label}_{seed:03}.png")
    return folder


@pytest.fixture(scope="session")
def network() -> Backbone:
    """The tiny network on the first runtime that is here."""
    for runtime in RUNTIMES:
        if runtime.installed:
            return backbone.open_backbone(MODELS[runtime.format].read_bytes(), runtime, threads=1)
    pytest.skip("no runtime is installed")


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workstation's photos: three labels, ten of each."""
    return write_pictures(tmp_path_factory.mktemp("photos"), {"brick": 10, "grass": 10, "gravel": 10})


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, network: Backbone, photo_folder: Path) -> Path:
    """A bundle with both models, taught brick, grass and gravel."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny.edge", network, photo_folder)


def write_bundle(
    path: Path,
    network: Backbone,
    folder: Path,
    info: BackboneInfo = INFO,
    group_of: Callable[[Path], int] = lambda file: -1,
    models: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a bundle of the tiny network and a folder of class folders; `group_of` a picture, −1: it stands alone.

    `models` are the files of another network, by format.
    """
    found = labelled(folder)
    files = list(zip(found.files, found.names, strict=True))
    embedded = list(photos.embed([file for file, _ in files], network, info))
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    labels = found.labels
    manifest = Manifest(
        name=path.stem,
        created="2026-11-23T12:00:00+00:00",
        backbone=info,
        labels=labels,
        models=tuple(ModelFile(f"backbone.{kind}", kind, "fp32", "none", 0.0, 1.0) for kind in MODELS),
        accuracy=None,
    )
    examples = FactoryExamples(
        embeddings=np.stack([photo.embedding for photo in embedded if photo.embedding is not None]),
        labels=np.array([labels.index(label) for _, label in files], np.int32),
        trained_on=np.zeros(len(files), np.bool_),
        groups=np.array([group_of(file) for file, _ in files], np.int32),
    )
    models = models or {kind: file.read_bytes() for kind, file in MODELS.items()}
    named = {f"backbone.{kind}": data for kind, data in models.items()}
    archive.write(path, manifest, named, Golden(images, network.embed(images)), examples)
    return path


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """A clock that goes on by one minute at each look."""
    now = datetime(2026, 11, 23, tzinfo=UTC)

    def tick() -> datetime:
        nonlocal now
        now += timedelta(minutes=1)
        return now

    return tick


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `edge ARGS` in this process, with a home of its own; return exit code, stdout and stderr."""
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGE_DEBUG", raising=False)

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edge", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            app.main()
        seen = capsys.readouterr()
        return int(end.value.code or 0), seen.out, seen.err

    return call


@pytest.fixture
def ready(run: Run, tiny_bundle: Path) -> Run:
    assert run("init", tiny_bundle)[0] == 0
    return run
