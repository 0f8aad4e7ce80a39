"""The background: statistics of the embeddings of generic photos, with which a device recognises unknown pictures.

For `efficientnet_lite0` and `embedded`, they are part of this package, beside the file that says how earlier maps join
the embedding. Both files are made from generic photos, in one folder per kind of thing::

    python -m export.bundle.background 101_ObjectCategories --source "9,144 photos of Caltech-101"

The same photos determine how the parts of the embedding are joined, whitened or projected (export/network/taps.py). On
the same machine, the same photos give the same files. For `embedded`, newly trained weights can be given::

    python -m export.bundle.background 101_ObjectCategories --backbone embedded --weights trunk.safetensors --source "…"

For any other backbone, `edge-export build --background DIR` computes the statistics from a folder of generic photos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from export.convert.frozen import freeze
from export.network import backbones
from export.network.embedder import JOINING, embedder, state
from export.network.form import fingerprint, short_side
from export.network.state_dict import save_weights
from export.network.taps import project, scale, whiten

if TYPE_CHECKING:
    from torch import nn

FEWEST = 100  # generic photos; a few thousand are better


@dataclass(frozen=True)
class Generic:
    """A background, and a description of the photos from which it was computed."""

    background: Background
    source: str
    skipped: tuple[Left, ...] = ()
    files: Files | None = None  # of the folder


def shipped(fingerprint: str, folder: Path = backbones.WEIGHTS) -> Generic | None:
    """Read the background that this package has for a backbone, by its fingerprint; None if there is none."""
    for file in sorted(folder.glob("*background.npz")):
        with np.load(file, allow_pickle=False) as arrays:
            if bytes(arrays["fingerprint"]).decode() == fingerprint:
                background = Background(arrays["mean"], arrays["basis"], arrays["values"], float(arrays["rest"][0]))
                return Generic(background, bytes(arrays["source"]).decode())
    return None


def background_file(name: str) -> Path:
    """The path of the background of a backbone of this package."""
    return backbones.WEIGHTS / f"{name}.background.npz"


def of_folder(folder: Path, network: Backbone, info: BackboneInfo, step: Callable[[int, int], None]) -> Generic:
    """Compute the statistics of a folder of generic photos.

    Args:
        folder: the photos; if it has two subfolders or more, each is one kind of thing.
        step: called with (done, total).

    Raises:
        DatasetError: fewer than `FEWEST` photos can be read.
    """
    if not folder.is_dir():
        raise DatasetError(
            "folder-missing",
            f"{folder} is not a folder; give one with unrelated photos, of anything except your labels",
        )
    files, left = find([folder])
    rows: list[NDArray[np.float32]] = []
    kinds: list[str] = []
    skipped: list[Left] = []
    for done, photo in enumerate(embed(files, network, info), 1):
        step(done, len(files))
        if photo.embedding is None:
            skipped.append(Left(photo.path, photo.error.reason if photo.error else "damaged", str(photo.error)))
        else:
            rows.append(photo.embedding)
            kinds.append(str(photo.path.parent))
    if len(rows) < FEWEST:
        raise DatasetError(
            "too-few-photos",
            f"{folder} contains {len(rows)} photos that can be read, but {FEWEST} are needed; add more of all kinds",
        )
    counted = count(len(rows), [*left, *skipped])
    known = len(set(kinds))
    source = f"{len(rows):,} generic photos" + (f" of {known} kinds" if known > 1 else "")
    return Generic(Background.of(np.stack(rows), kinds), source, tuple(skipped), counted)


def save(file: Path, generic: Generic, fingerprint: str) -> None:
    """Write the file that `shipped` reads; the same arrays give the same bytes."""
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
@click.option("--backbone", default=backbones.DEFAULT, show_default=True, help="The backbone whose files to write.")
@click.option(
    "--weights", type=click.Path(path_type=Path), multiple=True,
    help="Weights of the trunk of `embedded`; of several, each trained on from the one before, the mean is taken.",
)  # fmt: skip
@click.option("--source", required=True, help="What the photos are, in words, with their number.")
def main(photos: Path, backbone: str, weights: tuple[Path, ...], source: str) -> None:
    """Write how the embedding of a backbone is joined, and its background, from PHOTOS, a folder for each kind."""
    import torch

    row, progress = backbones.find(backbone), Progress("embedding")
    if not row.taps:
        raise BundleError(
            "arrays-invalid", f"the embedding of {backbone} joins no earlier maps, so that there is nothing to settle"
        )
    if row.is_embedded != bool(weights):
        need = "needs the newly trained --weights" if row.is_embedded else "takes its own weights; leave --weights out"
        raise BundleError("arrays-invalid", f"{backbone} {need}")
    files = find([photos]).files
    kinds = [file.parent.name for file in files]
    trunks = [backbones.load(row.name, str(file), taps=()).trunk for file in weights]
    network = embedder(_mean(trunks) if trunks else backbones.load(row.name, taps=()).trunk, row.taps, row.pixels)
    running = freeze(network, row.size).running
    info = BackboneInfo(
        row.name, "", row.origin, row.licence, row.size, short_side(row.size, row.crop), running.dimension
    )
    raw = []
    for photo in embed(files, running, info):
        if photo.embedding is None:
            raise DatasetError(
                "too-few-photos", f"{photo.path} cannot be read ({photo.error}); take it out of {photos}"
            )
        raw.append(photo.embedding)
        progress(len(raw), len(files))
    joined = scale(network, np.stack(raw), row.size)
    if row.embedding < joined.shape[1]:
        project(network, joined, row.embedding)
    else:
        whiten(network, joined, kinds)
    joining = {key: value for key, value in state(network).items() if row.is_embedded or key in JOINING}
    save_weights(backbones.joining_file(row.name), joining)
    shipping = backbones.load(row.name).embedder  # as it was rounded
    with torch.inference_mode():
        embeddings = shipping.finished(torch.from_numpy(joined)).numpy()  # type: ignore[operator]
    fitting = fingerprint(shipping, row.size, crop=row.crop)
    save(background_file(row.name), Generic(Background.of(embeddings, kinds), source), fitting)
    for written in (backbones.joining_file(row.name), background_file(row.name)):
        say(f"{written}: {written.stat().st_size / 1e3:.0f} kB, of {len(files):,} photos")


def _mean(trunks: Sequence[nn.Module]) -> nn.Module:
    """The network with the mean of all weights (Wortsman et al., "Model soups", ICML 2022), rounded as in its file."""
    import torch

    states = [trunk.state_dict() for trunk in trunks]
    for key, value in states[0].items():
        if value.is_floating_point():
            mean = torch.stack([state[key] for state in states]).mean(0)
            value.copy_(mean if "running" in key else mean.half())
    return trunks[0]


if __name__ == "__main__":
    run(main, "export.bundle.background")
