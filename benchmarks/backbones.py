"""`make bench-backbones`: the default backbone, the small one and others, on photos that no training here has seen.

    python -m benchmarks.backbones [--also ARCH:FILE …] [--only accuracy|speed]

Accuracy (%): photos of `../shared/data/*/val` classified correctly by the device's own head, taught all photos of
`train`, ten per label, or two (means of five draws). Every row runs as the device would run it: the exported file on
the runtime, shown the part of each photo that the network's row names. Below, how far the default stays behind the
better of `embedded` and its own last map alone on each set. Speed: one picture on one core, median over rounds, as a
ratio to torchvision's mobilenet_v3_small in the same round.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embeddings import SHARED
from edge.head.fit import Examples, fit
from edge.network.backbone import Backbone, find_runtime, open_backbone
from export.convert.converters import to_onnx, to_tflite
from export.convert.parity import golden_images
from export.convert.quantize import quantize
from export.network import backbones
from export.network.form import short_side
from export.photos.folders import decoded, find_photos, pick_calibration

DRAWS, FEW = 5, (10, 2)
LAST = "its last map alone"
ROUNDS = 40
Array = Any


@dataclass(frozen=True)
class Row:
    """A network in one form."""

    name: str
    form: str
    model: bytes
    running: Backbone
    size: int
    side: int  # pixels, of a photo's short side


def load(also: list[str]) -> Iterator[tuple[str, Any]]:
    """The networks compared: name → loaded."""
    yield backbones.DEFAULT, backbones.load(backbones.DEFAULT)
    yield LAST, backbones.load(backbones.DEFAULT, taps=())
    yield "embedded", backbones.load("embedded")
    for name, file in (("mobilenet_v2", "mobilenet_v2_imagenet.pth"), ("squeezenet1_1", "squeezenet1_1_imagenet.pth")):
        if (SHARED / "weights" / file).exists():
            yield f"{name}, ImageNet", backbones.load(name, str(SHARED / "weights" / file))
        else:
            print(f"skipped {name}: ../shared/weights/{file} is not here")
    yield "mobilenet_v3_small, random", backbones.load("mobilenet_v3_small", "random")
    for arch, file in (one.split(":", 1) for one in also):
        yield Path(file).name, backbones.load(arch, file)


def forms(name: str, loaded: Any, photos: Array, every: bool) -> Iterator[Row]:
    """The files of a network: ONNX in fp32, and all others if `every`."""
    size = loaded.backbone.size
    side = short_side(size, loaded.backbone.crop)
    for kind, make in (("onnx", to_onnx), ("tflite", to_tflite)):
        exact, runtime = make(loaded.embedder, size), find_runtime({kind})
        yield Row(name, f"{kind} fp32", exact, open_backbone(exact, runtime, threads=1), size, side)
        if not every:
            return
        small = quantize(exact, kind, photos, golden_images(size)).model
        yield Row(name, f"{kind} int8", small, open_backbone(small, runtime, threads=1), size, side)


def share_right(x: Array, y: Array, rows: Array, v: Array, truth: Array) -> float:
    head = fit(Examples(x[rows], tuple(y[rows]))).head
    return float(100 * np.mean(np.array(head.labels)[head.scores(v).argmax(1)] == truth))


def accuracy(rows: list[Row]) -> None:
    sets = [folder for folder in sorted((SHARED / "data").glob("*")) if (folder / "train").is_dir()]
    if not sets:
        print("skipped accuracy: ../shared/data is not here")
        return
    print(
        f"\n| network | form | {' | '.join(f.name for f in sets)} | **mean** |\n|{'---|' * (len(sets) + 3)}", flush=True
    )
    found: dict[tuple[str, str], Array] = {}
    for row in rows:
        figures = found[row.name, row.form] = np.array([measured(row, folder) for folder in sets])
        cells = [" / ".join(f"{value:.1f}" for value in one) for one in [*figures, figures.mean(0)]]
        print(f"| {row.name} | {row.form} | {' | '.join(cells)} |", flush=True)
    mine, last, small = (found.get((name, "onnx fp32")) for name in (backbones.DEFAULT, LAST, "embedded"))
    if mine is not None and last is not None and small is not None:
        cells = [" / ".join(f"{value:+.1f}" for value in one) for one in mine - np.maximum(last, small)]
        print(f"\n{backbones.DEFAULT} less the better of {LAST} and embedded: {', '.join(cells)}")


def measured(row: Row, folder: Path) -> list[float]:
    """Accuracy on one set: taught all, and each of `FEW`."""
    train, val = find_photos(folder / "train"), find_photos(folder / "val")
    names = np.array(train.labels)
    x, v = (
        np.concatenate([row.running.embed(one[None]) for one in decoded(part.paths, row.size, row.side)])  # type: ignore[index]
        for part in (train, val)
    )
    y, truth = names[train.targets], np.array(val.labels)[val.targets]
    shares = [share_right(x, y, np.arange(len(y)), v, truth)]
    for few in FEW:
        draws = []
        for seed in range(DRAWS):
            random = np.random.default_rng(seed)
            drawn = [random.permutation(np.flatnonzero(y == name))[:few] for name in names]
            draws.append(share_right(x, y, np.concatenate(drawn), v, truth))
        shares.append(float(np.mean(draws)))
    return shares


def speed(rows: list[Row]) -> None:
    size = backbones.find("mobilenet_v3_small").size
    loaded = backbones.load("mobilenet_v3_small", "random")
    peers = {row.form: row.running for row in forms("", loaded, golden_images(size), True)}
    print("\n| network | form | MB | ms | ratio to mobilenet_v3_small |\n|---|---|---|---|---|")
    for row in rows:
        times = []
        for _ in range(ROUNDS):
            pair = []
            for running in (row.running, peers[row.form]):
                picture = golden_images(running.size, 1)
                start = time.perf_counter()
                running.embed(picture)
                pair.append(1000 * (time.perf_counter() - start))
            times.append(pair)
        mine, theirs = np.array(times).T
        print(
            f"| {row.name} | {row.form} | {len(row.model) / 1e6:.1f} | {np.median(mine):.1f} | "
            f"{np.median(mine / theirs):.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--also", action="append", default=[], metavar="ARCH:FILE", help="another state dict")
    parser.add_argument("--only", choices=("accuracy", "speed"))
    options = parser.parse_args()
    size = backbones.find(backbones.DEFAULT).size
    photos = golden_images(size)
    flowers = SHARED / "data" / "flowers5" / "train"
    if flowers.is_dir():
        chosen = find_photos(flowers)
        some = [chosen.paths[i] for i in pick_calibration(chosen.targets, 64)]
        photos = np.stack([p for p in decoded(some, size, short_side(size)) if isinstance(p, np.ndarray)])
    rows = [
        row
        for name, loaded in load(options.also)
        for row in forms(name, loaded, photos, name in (backbones.DEFAULT, "embedded"))
    ]
    if options.only in (None, "speed"):
        speed(rows)
    if options.only in (None, "accuracy"):
        accuracy(rows)


if __name__ == "__main__":
    main()
