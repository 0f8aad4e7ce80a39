"""The background: statistics of generic photos' embeddings, by which a device tells known pictures from unknown ones.

For the backbone of this package they ship beside its weights. To make both files anew from a newly trained trunk and an
array of generic photos (an npz file of `images` uint8 (N, S, S, 3) and, if their kinds are known, `labels` (N,))::

    python -m export.bundle.background photos.npz --weights trunk.safetensors --source "9,144 photos of Caltech-101"

The same photos settle how the parts of that backbone's embedding are joined (export/network/taps.py).

For any other backbone `edge-export build --background DIR` takes them from a folder of generic photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from edge.answers import Files
from edge.bundle.manifest import BackboneInfo
from edge.cli.terminal import Progress, run, say
from edge.errors import BundleError, DatasetError
from edge.network.backbone import Backbone
from edge.network.photos import embed
from edge.picture.count import Left, count
from edge.picture.find import find
from edge.unknown.gate import Background
from export.network import backbones
from export.network.embedder import embedder, state
from export.network.taps import settle, whiten
from export.photos.folders import Skipped

if TYPE_CHECKING:
    from torch import nn

FILE = backbones.WEIGHTS / "background.npz"
FEWEST = 100  # generic photos; a few thousand are better
BATCH = 32


@dataclass(frozen=True)
class Generic:
    """A background, and in words whose embeddings it was taken from."""

    background: Background
    source: str
    skipped: tuple[Skipped, ...] = ()
    files: Files | None = None  # of the folder


def shipped(fingerprint: str, folder: Path = backbones.WEIGHTS) -> Generic | None:
    """Read the background that ships for a backbone, told by its fingerprint; None where none was made for it."""
    for file in sorted(folder.glob("*background.npz")):
        with np.load(file, allow_pickle=False) as arrays:
            if bytes(arrays["fingerprint"]).decode() == fingerprint:
                background = Background(arrays["mean"], arrays["basis"], arrays["values"], float(arrays["rest"][0]))
                return Generic(background, bytes(arrays["source"]).decode())
    return None


def of_folder(folder: Path, network: Backbone, info: BackboneInfo, step: Callable[[int, int], None]) -> Generic:
    """Take the statistics of a folder of generic photos.

    Args:
        folder: pictures; where they lie in two subfolders or more, each folder is a kind.
        network, info: the backbone, running.
        step: called with (done, total).

    Raises:
        DatasetError: fewer than `FEWEST` of them can be read.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; name one of generic photos, of anything but your labels")
    files, left = find([folder])
    rows: list[NDArray[np.float32]] = []
    kinds: list[str] = []
    skipped: list[Skipped] = []
    for done, photo in enumerate(embed(files, network, info), 1):
        step(done, len(files))
        if photo.embedding is None:
            skipped.append(Skipped(photo.path, str(photo.error), photo.error.reason if photo.error else "damaged"))
        else:
            rows.append(photo.embedding)
            kinds.append(str(photo.path.parent))
    if len(rows) < FEWEST:
        raise DatasetError(
            f"{folder} holds {len(rows)} generic photos that can be read, {FEWEST} are needed; add more, of all sorts"
        )
    counted = count(len(rows), [*left, *(Left(one.path, one.kind) for one in skipped)])
    known = len(set(kinds))
    source = f"{len(rows):,} generic photos" + (f" of {known} kinds" if known > 1 else "")
    return Generic(Background.of(np.stack(rows), kinds), source, tuple(skipped), counted)


def save(file: Path, generic: Generic, fingerprint: str) -> None:
    """Write what `shipped` reads: the same arrays give the same bytes."""
    background = generic.background
    np.savez(
        file,
        mean=background.mean,
        basis=background.basis,
        values=background.values,
        rest=np.array([background.rest], np.float32),
        source=np.frombuffer(generic.source.encode(), np.uint8),
        fingerprint=np.frombuffer(fingerprint.encode(), np.uint8),
    )


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option(
    "--weights", type=click.Path(path_type=Path), required=True, multiple=True,
    help="Of the trunk, newly trained; of several, each trained on from the one before, the mean is taken.",
)  # fmt: skip
@click.option("--source", required=True, help="What the photos are, in words, with their number.")
def main(photos: Path, weights: tuple[Path, ...], source: str) -> None:
    """Write the embedded backbone and its background from PHOTOS, `images` and maybe `labels` in an npz file."""
    import torch

    from export.network.form import fingerprint
    from export.network.state_dict import save_weights

    try:
        with np.load(photos, allow_pickle=False) as file:
            images = file["images"]
            kinds = [str(label) for label in file["labels"]] if "labels" in file.files else []
    except (OSError, KeyError, ValueError) as error:
        raise BundleError(f"{photos} is no npz file with an array `images` ({error}); see --help") from error
    row, progress = backbones.find("embedded"), Progress("embedding")
    network = embedder(_mean([backbones.load("mobilenet_v3_small", str(file)).trunk for file in weights]), row.taps)

    def batches() -> Iterator[NDArray[np.uint8]]:
        for at in range(0, len(images), BATCH):
            progress(at, len(images))
            yield np.stack([_cut(image, row.size) for image in images[at : at + BATCH]])

    whiten(network, joined := settle(network, batches()), kinds)
    save_weights(backbones.EMBEDDED_FILE, state(network))
    shipping = backbones.load("embedded").embedder  # as it was rounded
    with torch.inference_mode():
        embeddings = shipping.finished(torch.from_numpy(joined)).numpy()  # type: ignore[operator]
    save(FILE, Generic(Background.of(embeddings, kinds), source), fingerprint(shipping, row.size))
    for written in (backbones.EMBEDDED_FILE, FILE):
        say(f"{written}: {written.stat().st_size / 1e3:.0f} kB, of {len(images):,} photos")


def _mean(trunks: Sequence[nn.Module]) -> nn.Module:
    """The network of mean weights (Wortsman et al., "Model soups", ICML 2022), rounded as a file holds them."""
    import torch

    states = [trunk.state_dict() for trunk in trunks]
    for key, value in states[0].items():
        if value.is_floating_point():
            mean = torch.stack([state[key] for state in states]).mean(0)
            value.copy_(mean if "running" in key else mean.half())
    return trunks[0]


def _cut(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    from PIL import Image

    from edge.picture.preprocess import square
    from export.network.form import short_side

    return square(Image.fromarray(image), size, short_side(size))


if __name__ == "__main__":
    run(main, "export.bundle.background")
