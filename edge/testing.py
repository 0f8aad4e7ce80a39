"""A fake network and a fake camera: test a program of your own without a runtime, a camera or a trained bundle.

Everything else in such a test is real: the home on disk, the bundle, the head. `FakeNetwork` computes in numpy what
`network/tiny.onnx` and `tiny.tflite` compute on a real runtime, so a bundle written by `write_bundle` also works with
the `edge` command.

>>> import tempfile
>>> with new_learner(tempfile.mkdtemp()) as learner:
...     learner.classify(surface("brick", seed=99)).label
'brick'
"""

import hashlib
import io
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.bundle import archive
from edge.bundle.archive import FactoryExamples, Golden
from edge.bundle.manifest import BackboneInfo, Manifest, ModelFile
from edge.camera.folder import Notice
from edge.errors import SourceError
from edge.home.state import Clock, utc_now
from edge.learner import Learner
from edge.network.backbone import Backbone
from edge.network.photos import embed
from edge.picture.classes import labelled
from edge.picture.frame import Frame
from edge.picture.given import PictureLike, frame

SIDE, PATCH, DIMENSION = 16, 4, 8  # of the network: pixels a side, pixels a side of a patch, features
COLOURS = {"brick": (180, 70, 50), "grass": (60, 150, 60), "gravel": (120, 120, 125), "coins": (200, 180, 60)}  # RGB
MODELS = {kind: Path(__file__).parent / "network" / f"tiny.{kind}" for kind in ("onnx", "tflite")}
INFO = BackboneInfo(
    name="tiny",
    fingerprint=hashlib.sha256(b"tiny").hexdigest(),
    weights="random, seed 7",
    licence="Apache-2.0",
    input_size=SIDE,
    short_side=18,
    dimension=DIMENSION,
)
TEN_EACH = MappingProxyType({"brick": 10, "grass": 10, "gravel": 10})


class FakeNetwork:
    """A random network of two layers in numpy, which can distinguish the pictures of `surface`.

    >>> FakeNetwork().embed(np.zeros((2, 16, 16, 3), np.uint8)).shape
    (2, 8)
    """

    runtime = "fake"
    size = SIDE
    dimension = DIMENSION

    def __init__(self) -> None:
        self._first, self._second = (kernel.reshape(len(kernel), -1).T for kernel in kernels())

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures (N, 16, 16, 3), uint8 RGB, as float32 (N, 8)."""
        across = SIDE // PATCH
        pixels = images.reshape(-1, across, PATCH, across, PATCH, 3).astype(np.float32) / 255
        patches = pixels.transpose(0, 1, 3, 5, 2, 4).reshape(len(images), across**2, 3 * PATCH**2)
        return np.asarray((np.maximum(patches @ self._first, 0) @ self._second).mean(axis=1), np.float32)

    def copy(self) -> "FakeNetwork":
        """Return a network for another thread: this one, because it has no state."""
        return self


class FakeCamera:
    """A camera that shows the given pictures, each once, and then ends.

    It is a source for `Watcher`, and has picamera2's method `capture_array`.

    Args:
        pictures: the pictures. A `None` among them unplugs the camera until the next picture.
        name: the camera's name in messages.

    >>> FakeCamera([surface("brick", seed=1)]).capture_array().shape
    (40, 40, 3)
    """

    live = True

    def __init__(self, pictures: Iterable[PictureLike | None], name: str = "fake camera") -> None:
        self.name = name
        self._pictures = iter(pictures)
        self._shown = 0

    def frames(self, every: float, stop: threading.Event) -> Iterator[Frame | Notice]:
        """Yield the pictures as frames without waiting; their times are `every` seconds apart, from 0 on."""
        there = True
        for given in self._pictures:
            if stop.is_set():
                return
            if there is (given is None):
                there = not there
                yield Notice(f"{self.name} is {'back' if there else 'gone; waiting for it'}", gone=not there)
            if given is not None:
                self._shown += 1
                yield frame(given, f"{self.name} {self._shown}", self._shown * every)

    def capture_array(self, name: str = "main") -> NDArray[np.uint8]:
        """Return the next picture as uint8 (H, W, 3), RGB, or (H, W), grey; `name` is ignored.

        Raises:
            SourceError: all pictures were shown.
        """
        for given in self._pictures:
            if given is not None:
                self._shown += 1
                with Image.open(io.BytesIO(frame(given, self.name, 0.0).data)) as image:
                    return np.asarray(image)
        raise SourceError("camera-failed", f"{self.name} has shown all of its {self._shown} pictures; give it more")


def new_learner(home: str | Path, photos: Mapping[str, int] = TEN_EACH, clock: Clock = utc_now) -> Learner:
    """Make a home with a bundle of the fake network, and open it.

    Args:
        home: the folder, for example below pytest's `tmp_path`.
        photos: the number of pictures of each surface in the bundle.
        clock: returns the time that is stored with examples and generations.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder, "tiny.edge"), write_photos(Path(folder, "photos"), photos))
        return Learner.init(home, path, clock=clock, network=FakeNetwork())


def surface(label: str, seed: int, side: int = 40) -> Image.Image:
    """Draw a surface with its colour, pattern and grain. About five in a hundred are unknown, as for any label.

    Args:
        label: brick, grass, gravel or coins.
        seed: random seed; each gives another picture.
        side: width and height, in pixels.
    """
    random = np.random.default_rng([sorted(COLOURS).index(label), seed])
    y, x = np.mgrid[:side, :side] // 5 % 2 * 2 - 1  # ±1, a period of 10 pixels: that of the network's patches
    pattern = {"brick": y, "grass": x, "gravel": x * y, "coins": 0 * x}[label][:, :, None]
    grain = random.normal(0, 20, (side, side, 3)) + random.normal(0, 8, 3)
    return Image.fromarray(np.clip(np.array(COLOURS[label]) + 60 * pattern + grain, 0, 255).astype(np.uint8))


def write_photos(folder: str | Path, photos: Mapping[str, int] = TEN_EACH, first: int = 0) -> Path:
    """Write a folder of surfaces with one subfolder per label, with seeds from `first` on; return the folder."""
    folder = Path(folder)
    for label, count in photos.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + count):
            surface(label, seed).save(folder / label / f"{label}_{seed:03}.png")
    return folder


def write_bundle(
    path: str | Path,
    photos: str | Path,
    network: Backbone | None = None,
    info: BackboneInfo = INFO,
    group_of: Callable[[Path], int] = lambda file: -1,
    models: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a bundle of the tiny network with the photos of a folder as examples; return its path.

    Args:
        path: the bundle to write.
        photos: `photos/LABEL/*.jpg`, with at least two labels.
        network: computes the embeddings; None for the fake network.
        info: the bundle's description of its network.
        group_of: returns the group number of a photo: the same for all photos of a burst, −1 for none.
        models: the files of another network, by format.
    """
    path, network = Path(path), network or FakeNetwork()
    found = labelled(Path(photos))
    embedded = list(embed(found.files, network, info))
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    manifest = Manifest(
        name=path.stem,
        created="2026-11-23T12:00:00+00:00",
        backbone=info,
        labels=found.labels,
        models=tuple(ModelFile(f"backbone.{kind}", kind, "fp32", "none", 0.0, 1.0) for kind in MODELS),
        accuracy=None,
    )
    examples = FactoryExamples(
        embeddings=np.stack([photo.embedding for photo in embedded if photo.embedding is not None]),
        labels=np.array([found.labels.index(label) for label in found.names], np.int32),
        trained_on=np.zeros(len(found.files), np.bool_),
        groups=np.array([group_of(file) for file in found.files], np.int32),
    )
    models = models or {kind: file.read_bytes() for kind, file in MODELS.items()}
    named = {f"backbone.{kind}": data for kind, data in models.items()}
    archive.write(path, manifest, named, Golden(images, network.embed(images)), examples)
    return path


def kernels() -> list[NDArray[np.float32]]:
    """Return the weights of the network's two convolutions, each (out, in, height, width)."""
    random = np.random.default_rng(7)
    shapes = [(DIMENSION, 3, PATCH, PATCH), (DIMENSION, DIMENSION, 1, 1)]
    return [random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32) for shape in shapes]
