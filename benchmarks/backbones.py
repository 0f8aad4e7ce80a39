"""`make bench-backbones`: what the embedded backbone is worth beside others, on photos that no training here has seen.

    python -m benchmarks.backbones [--also ARCH:FILE …] [--only accuracy|speed]

Accuracy (%): photos of `../shared/data/*/val` named rightly by the device's own head, taught all photos of `train`, or
ten per label (mean of five draws). Every row runs as the device would run it: the exported file on the runtime.
Speed: one picture on one core, median over rounds, as a ratio to torchvision's mobilenet_v3_small in the same round.
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
from export.convert.parity import golden_images
from export.convert.quantize import quantize
from export.convert.to_onnx import to_onnx
from export.convert.to_tflite import to_tflite
from export.network import backbones
from export.network.form import short_side
from export.photos.folders import decoded, find_photos, pick_calibration

DRAWS, FEW = 5, 10
ROUNDS = 40
Array = Any


@dataclass(frozen=True)
class Row:
    """A network in one form."""

    name: str
    form: str
    model: bytes
    running: Backbone


def load(also: list[str]) -> Iterator[tuple[str, Any]]:
    """The networks compared: name → loaded."""
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
    for kind, make in (("onnx", to_onnx), ("tflite", to_tflite)):
        exact, runtime = make(loaded.embedder, size), find_runtime({kind})
        yield Row(name, f"{kind} fp32", exact, open_backbone(exact, runtime, threads=1))
        if not every:
            return
        small = quantize(exact, kind, photos, golden_images(size)).model
        yield Row(name, f"{kind} int8", small, open_backbone(small, runtime, threads=1))


def share_right(x: Array, y: Array, rows: Array, v: Array, truth: Array) -> float:
    head = fit(Examples(x[rows], tuple(y[rows]))).head
    return float(100 * np.mean(np.array(head.labels)[head.scores(v).argmax(1)] == truth))


def accuracy(rows: list[Row], size: int) -> None:
    sets = [folder for folder in sorted((SHARED / "data").glob("*")) if (folder / "train").is_dir()]
    if not sets:
        print("skipped accuracy: ../shared/data is not here")
        return
    found: dict[tuple[str, str], list[tuple[float, float]]] = {(row.name, row.form): [] for row in rows}
    for folder in sets:
        train, val = find_photos(folder / "train"), find_photos(folder / "val")
        names = np.array(train.labels)
        pixels = [np.stack([p for p in decoded(part.paths, size, short_side(size)) if isinstance(p, np.ndarray)])
                  for part in (train, val)]  # fmt: skip
        y, truth = names[train.targets], np.array(val.labels)[val.targets]
        for row in rows:
            x, v = (np.concatenate([row.running.embed(one[None]) for one in part]) for part in pixels)
            few = []
            for seed in range(DRAWS):
                random = np.random.default_rng(seed)
                drawn = [random.permutation(np.flatnonzero(y == name))[:FEW] for name in names]
                few.append(share_right(x, y, np.concatenate(drawn), v, truth))
            found[row.name, row.form].append((share_right(x, y, np.arange(len(y)), v, truth), float(np.mean(few))))
    print(f"\n| network | form | {' | '.join(f.name for f in sets)} | **mean** |\n|{'---|' * (len(sets) + 3)}")
    for row in rows:
        figures = found[row.name, row.form]
        cells = [f"{a:.1f} / {b:.1f}" for a, b in [*figures, tuple(np.mean(figures, 0))]]
        print(f"| {row.name} | {row.form} | {' | '.join(cells)} |")


def speed(rows: list[Row], size: int) -> None:
    picture = golden_images(size)[:1]
    loaded = backbones.load("mobilenet_v3_small", "random")
    peers = {row.form: row.running for row in forms("", loaded, golden_images(size), True)}
    print("\n| network | form | MB | ms | ratio to mobilenet_v3_small |\n|---|---|---|---|---|")
    for row in rows:
        times = []
        for _ in range(ROUNDS):
            pair = []
            for running in (row.running, peers[row.form]):
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
    size = backbones.find("embedded").size
    photos = golden_images(size)
    flowers = SHARED / "data" / "flowers5" / "train"
    if flowers.is_dir():
        chosen = find_photos(flowers)
        some = [chosen.paths[i] for i in pick_calibration(chosen.targets, 64)]
        photos = np.stack([p for p in decoded(some, size, short_side(size)) if isinstance(p, np.ndarray)])
    rows = [row for name, loaded in load(options.also) for row in forms(name, loaded, photos, name == "embedded")]
    if options.only in (None, "speed"):
        speed(rows, size)
    if options.only in (None, "accuracy"):
        accuracy(rows, size)


if __name__ == "__main__":
    main()
