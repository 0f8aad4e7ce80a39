"""Twenty devices of six photos each, on real photographs: what does a device gain by joining the fleet?

Each device has its own light (brightness, colour) and blur, drawn by a seed; no photo is on two devices. Its photos
become a contribution as `edge contribute` makes it, go through a store, and come back. Then, on photos that nobody
taught, taken by that device's own camera:

- *alone*: a head fitted to the device's own six photos;
- *fleet*: the head of all other devices, this one left out;
- *joined*: the head of all devices.

The head of the contributions is compared, byte by byte, with the head of the same photos pooled on one machine. Last,
one device has its labels exchanged: is it the first that `status` names, and is the figure back once it is undone?

    python -m benchmarks.fleet_photos [SET...]        the table, and docs/fleet_gain.png
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.embeddings import SHARED, network
from edge.bundle.manifest import BackboneInfo
from edge.fleet.contribution import Part, sha256, write
from edge.fleet.header import About
from edge.fleet.names import Named
from edge.fleet.remote import Remote, open_remote
from edge.head.fit import Examples, fit
from edge.picture import preprocess
from export.convert.frozen import freeze
from export.fleet.gather import Contributions, Rules
from export.fleet.undo import undo
from export.network import backbones, form
from export.pool import fitted
from export.pool.pool import Device, Pool
from export.pool.truth import accuracy, judge

DEVICES, PHOTOS, TESTS = 20, 6, 20
SETS = ("flowers5", "hymenoptera2", "trashnet6", "signdigits10", "elpv_solar2")
CACHE = Path("build/fleet")
CHART = Path(__file__).parent.parent / "docs" / "fleet_gain.png"


@dataclass(frozen=True)
class Box:
    """A device: the files and embeddings that it was taught, and those that it is tested on."""

    name: str
    images: tuple[bytes, ...]
    rows: NDArray[np.float32]
    labels: tuple[str, ...]
    test: NDArray[np.float32]
    truth: tuple[str, ...]


def camera(file: Path, number: int, size: int, short_side: int) -> NDArray[np.uint8]:
    """A photo as the camera of one device takes it: its light, its blur."""
    random = np.random.default_rng(number)
    light = random.uniform(0.45, 1.0) * random.uniform(0.8, 1.0, 3)
    image = Image.fromarray(preprocess.load(file, size=256, short_side=256))
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.0, 2.0)))
    return np.asarray(preprocess.square(image, size, short_side) * light + 0.5, np.uint8)


def boxes(name: str) -> tuple[list[Box], BackboneInfo]:
    """Twenty devices of one photo set, embedded by the default network on the device's runtime."""
    loaded, row = network(backbones.DEFAULT), backbones.find(backbones.DEFAULT)
    side = form.short_side(row.size, row.crop)
    mark = form.fingerprint(loaded.embedder, row.size, crop=row.crop)
    info = BackboneInfo(row.name, mark, loaded.origin, loaded.licence, row.size, side, row.embedding)
    random = np.random.default_rng(0)
    taught, tests = ([list(part) for part in _classes(name, kind)] for kind in ("train", "val"))
    for part in (*taught, *tests):
        random.shuffle(part)  # type: ignore[arg-type]
    path = CACHE / f"{name}_{mark[:12]}.npz"
    chosen = [(_deal(taught, number, PHOTOS), _deal(tests, number, TESTS)) for number in range(DEVICES)]
    if not path.exists():
        running = freeze(loaded.embedder, row.size).running
        CACHE.mkdir(parents=True, exist_ok=True)
        pixels = [
            camera(file, number, row.size, side) for number, (own, test) in enumerate(chosen) for file in (*own, *test)
        ]
        np.savez(path, X=np.stack([running.embed(picture[None])[0] for picture in pixels]))
    with np.load(path, allow_pickle=False) as file:
        rows = file["X"].astype(np.float32)
    found, start = [], 0
    for number, (own, test) in enumerate(chosen):
        part = rows[start : start + len(own) + len(test)]
        start += len(part)
        images = tuple(hashlib.sha256(file.read_bytes()).digest() for file in own)
        device = hashlib.sha256(f"box {number}".encode()).hexdigest()[:32]
        labels, truth = (tuple(file.parent.name for file in files) for files in (own, test))
        found.append(Box(device, images, part[: len(own)], labels, part[len(own) :], truth))
    return found, info


def _classes(name: str, part: str) -> Iterator[list[Path]]:
    for folder in sorted(path for path in (SHARED / "data" / name / part).iterdir() if path.is_dir()):
        yield sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png", ".jpeg"))


def _deal(classes: Sequence[list[Path]], number: int, count: int) -> list[Path]:
    """The photos of one device: the labels in turn, no photo twice."""
    places = [(number * count + i) for i in range(count)]
    return [
        classes[place % len(classes)][place // len(classes) % len(classes[place % len(classes)])] for place in places
    ]


def contribute(remote: Remote, box: Box, info: BackboneInfo, labels: Sequence[str]) -> None:
    """Send a device's photos under these labels."""
    order = sorted(range(len(box.images)), key=box.images.__getitem__)
    names = sorted(set(labels))
    about = About(
        box.name, 1, "examples", info.name, info.fingerprint, info.dimension, info.input_size, info.fit, None, "onnx",
        tuple(names), tuple(list(labels).count(name) for name in names), 0, "2026-11-29T12:00:00+00:00",
    )  # fmt: skip
    count = len(order)
    part = Part(
        np.array([list(box.images[i]) for i in order], np.uint8),
        np.array([names.index(labels[i]) for i in order], np.int32),
        np.full(count, -1, np.int32),
        np.zeros(count, np.int64),
        np.zeros(count, np.bool_),
        box.rows[order],
    )
    data = write(about, [part])
    remote.put(str(Named(box.name, 1, sha256(data))), data)


def pooled(remote: Remote, info: BackboneInfo) -> tuple[Pool, list[Device]]:
    """What comes back out of the store."""
    pool = Pool(info.dimension)
    devices = list(Contributions(remote, Rules(info)).devices())
    for device in devices:
        pool.add(device)
    return pool, devices


def right(head: object, rows: NDArray[np.float32], truth: Sequence[str]) -> float:
    """The share of photos that a head names rightly."""
    table = head.probabilities(rows)  # type: ignore[attr-defined]
    return float(np.mean([head.labels[i] == name for i, name in zip(table.argmax(axis=1), truth, strict=True)]))  # type: ignore[attr-defined]


def figures(found: Sequence[Box], info: BackboneInfo) -> tuple[bool, list[tuple[float, float, float]]]:
    """Whether the fleet's head is that of the pooled photos, and (alone, fleet, joined) of each device."""
    with tempfile.TemporaryDirectory() as folder:
        remote = open_remote(Path(folder).as_uri())
        for box in found:
            contribute(remote, box, info, box.labels)
        _, devices = pooled(remote, info)
    rows = np.concatenate([device.rows for device in devices]).astype(np.float32) / np.float32(2**17)
    names = tuple(label for device in devices for label in device.labels)
    joined = fit(Examples(rows, names)).head
    one_machine = fit(
        Examples(np.concatenate([box.rows for box in found]), tuple(label for box in found for label in box.labels))
    ).head
    results = []
    for box in found:
        others = [device for device in devices if device.name != box.name]
        rest = np.concatenate([device.rows for device in others]).astype(np.float32) / np.float32(2**17)
        without = fit(Examples(rest, tuple(label for device in others for label in device.labels))).head
        alone = fit(Examples(box.rows, box.labels)).head
        results.append(tuple(right(head, box.test, box.truth) for head in (alone, without, joined)))
    return joined.to_bytes() == one_machine.to_bytes(), results  # type: ignore[return-value]


def bad_teacher(found: Sequence[Box], info: BackboneInfo, number: int = 3) -> tuple[bool, float, float, float]:
    """Whether the device whose labels are exchanged is named first; the figure without it, with it, and undone."""
    names = sorted({label for box in found for label in box.labels})
    told = []
    for turned in (None, number):  # first without it: what must come back
        with tempfile.TemporaryDirectory() as folder:
            remote = open_remote(Path(folder).as_uri())
            for i, box in enumerate(found):
                if turned is None and i == number:
                    continue
                labels = [names[(names.index(label) + (i == turned)) % len(names)] for label in box.labels]
                contribute(remote, box, info, labels)
            told.append(_judged(remote, info))
            if turned is not None:
                undo(remote, found[turned].name, "2026-11-29T12:00:00+00:00")
                told.append(_judged(remote, info))
    (_, before), (first, bad), (_, after) = told
    return first == found[number].name, before, bad, after


def _judged(remote: Remote, info: BackboneInfo) -> tuple[str, float]:
    pool, devices = pooled(remote, info)
    by = {device.name: device for device in devices}
    judged = judge(fitted.fit(pool), devices, lambda names: [by[name] for name in names], lambda _: False)
    total = accuracy(judged)
    return judged[0].device, total.accuracy if total else 0.0


def chart(table: dict[str, list[tuple[float, float, float]]]) -> None:
    """Draw a dot for each device: alone and in the fleet."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.6))
    random = np.random.default_rng(0)
    for place, results in enumerate(table.values()):
        values = 100 * np.array(results)
        for offset, column, colour, word in ((-0.18, 0, "#b0b0b0", "alone"), (0.18, 1, "#1f77b4", "fleet, without it")):
            x = place + offset + random.uniform(-0.06, 0.06, len(values))
            axes.scatter(x, values[:, column], s=14, color=colour, label=word if not place else None)
            axes.hlines(values[:, column].mean(), place + offset - 0.14, place + offset + 0.14, color=colour, lw=2.5)
    axes.set_xticks(range(len(table)), list(table))
    axes.set_ylabel("% right, on the device's own camera")
    axes.set_ylim(0, 102)
    axes.legend(loc="lower left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(CHART, dpi=110)


def main() -> None:
    """Print the tables, and draw the chart."""
    table: dict[str, list[tuple[float, float, float]]] = {}
    print(f"{DEVICES} devices of {PHOTOS} photos each; tested on {TESTS} photos of each device's own camera")
    print("| set | labels | alone | fleet without it | fleet with it | gain | devices that gain | head = pooled on one")
    print("machine | the bad teacher | figure: without it → with it → undone |")
    for name in sys.argv[1:] or SETS:
        if not (SHARED / "data" / name).is_dir():
            print(f"{name} is not beside the project: skipped")
            continue
        found, info = boxes(name)
        equal, results = figures(found, info)
        table[name] = results
        alone, fleet, joined = (100 * float(np.mean(column)) for column in zip(*results, strict=True))
        first, before, bad, after = bad_teacher(found, info)
        gaining = sum(one[1] > one[0] for one in results)
        same, found_first = "equal" if equal else "DIFFERENT", "first" if first else "NOT FIRST"
        print(
            f"| {name} | {len(set(found[0].truth))} | {alone:.1f} | {fleet:.1f} | {joined:.1f} | {fleet - alone:+.1f} "
            f"| {gaining} of {len(results)} | {same} | {found_first} | "
            f"{100 * before:.1f} → {100 * bad:.1f} → {100 * after:.1f} |",
            flush=True,
        )
    chart(table)


if __name__ == "__main__":
    main()
