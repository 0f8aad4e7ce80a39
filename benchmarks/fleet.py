"""How large may a fleet grow? Time, memory and bytes of a merge with 200, 10,000 and 100,000 devices of 60 examples.

Contributions are made on the fly: real embeddings of photographs, a light of its own for each device, and noise. 200
devices go through a real store (a folder) and the whole of `edge-export fleet merge`; 10,000 are packed as a device
packs them, unpacked, checked and folded; of 100,000 the folding alone is measured, with the figures from the sample.
Each size runs in a process of its own, so that its peak memory is its own. Seconds are those of the processor, so that
other programs on the machine do not count.

    python -m benchmarks.fleet               the table, and docs/fleet_scale.png
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import BackboneInfo
from edge.fleet.contribution import Part, read, sha256, write
from edge.fleet.header import About, Serves
from edge.fleet.names import DEVICES, Named
from edge.fleet.remote import Entry, Remote
from edge.head.moments import GRID
from export.fleet.gather import Contributions, Rules, counted
from export.fleet.merge import figure
from export.pool.fitted import fit
from export.pool.pool import Device, Pool

SIZES = (200, 10_000, 100_000)
EXAMPLES = 60
INFO = BackboneInfo("embedded", "e" * 64, "embedded", "Apache-2.0", 224, 256, 992)
CACHE = Path("build/fleet")
CHART = Path(__file__).parent.parent / "docs" / "fleet_scale.png"
PLAN_MEGABYTES, PLAN_KILOBYTES = 200, 2.1  # of a merge of 100,000 devices; of an example


def embeddings() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embeddings of real photographs, of length one, with their labels; made once."""
    path = CACHE / "scale.npz"
    if not path.exists():  # torch is imported for this alone, in the process that measures nothing
        from benchmarks.embeddings import SHARED, embed
        from edge.picture.find import find

        files = find([SHARED / "data" / "flowers5" / "train"]).files
        names = sorted({file.parent.name for file in files})
        rows = embed("embedded", "flowers5_train", files, CACHE)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        np.savez(path, X=rows, y=np.array([names.index(file.parent.name) for file in files]))
    with np.load(path, allow_pickle=False) as file:
        return file["X"], file["y"]


def devices(
    count: int, rows: NDArray[np.float32], columns: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.float32], tuple[str, ...], NDArray[np.uint8]]]:
    """Make devices: id, embeddings on the grid, labels, and pictures' hashes in the order they are sent."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((1024, rows.shape[1]), np.float32)
    noise *= np.float32(0.3 / np.sqrt(rows.shape[1]))
    for number in range(count):
        chosen = random.integers(0, len(rows), EXAMPLES)
        light = noise[random.integers(0, len(noise))]
        x = rows[chosen] + light + noise[random.integers(0, len(noise), EXAMPLES)]
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        images = random.integers(0, 256, (EXAMPLES, 32), dtype=np.uint8)
        images = images[np.lexsort(images.T[::-1])]
        name = hashlib.sha256(f"box {number}".encode()).hexdigest()[:32]
        grid = np.rint(x * np.float32(GRID)) / np.float32(GRID)
        yield name, grid, tuple(f"flower {column}" for column in columns[chosen].tolist()), images


def told(name: str, labels: tuple[str, ...]) -> About:
    """The header of a device's contribution."""
    names = sorted(set(labels))
    return About(
        name, 1, "examples", INFO.name, INFO.fingerprint, INFO.dimension, INFO.input_size, INFO.fit, None, "onnx",
        tuple(names), tuple(labels.count(label) for label in names), 0, "2026-11-29T12:00:00+00:00",
        Serves(7, "accepted", "", round(int(name[:4], 16) / 65536, 4)),
    )  # fmt: skip


def packed(name: str, rows: NDArray[np.float32], labels: tuple[str, ...], images: NDArray[np.uint8]) -> bytes:
    """A device's contribution as it sends it."""
    about = told(name, labels)
    n, columns = len(labels), np.array([about.labels.index(label) for label in labels], np.int32)
    nothing = np.zeros(n, np.int64)
    return write(about, [Part(images, columns, np.full(n, -1, np.int32), nothing, nothing.astype(np.bool_), rows)])


def whole_merge(count: int) -> dict[str, float]:
    """A store of contributions, and the whole command."""
    from edge.fleet.remote import open_remote
    from edge.testing import write_bundle, write_photos
    from export.fleet.merge import merge

    rows, columns = embeddings()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "store").mkdir()
        remote = open_remote((root / "store").as_uri())
        size = 0
        for device in devices(count, rows, columns):
            data = packed(*device)
            remote.put(str(Named(device[0], 1, sha256(data))), data)
            size += len(data)
        # its own examples are of the tiny network, so only its models and golden pictures are taken
        base = _base(write_bundle(root / "tiny.edge", write_photos(root / "photos")), root / "base.edge")
        start = time.process_time()
        merged = merge(remote, base, root / "made.edge", lambda _: Rules(INFO), lambda done, of: None)
        seconds = time.process_time() - start
        shipped = (root / "made.edge").stat().st_size
    share = merged.accuracy.accuracy if merged.accuracy else 0.0
    return {"seconds": seconds, "bytes": size / count, "shipped": merged.shipped, "accuracy": share, "bundle": shipped}


def _base(tiny: Path, path: Path) -> Path:
    """The tiny bundle with the backbone of these embeddings written on it, and no examples."""
    import dataclasses

    from edge.bundle import archive
    from edge.bundle.archive import FactoryExamples, Golden

    opened = archive.read(tiny)
    info = dataclasses.replace(INFO, input_size=16, short_side=18)
    golden = Golden(opened.golden().images, np.zeros((4, INFO.dimension), np.float32))
    manifest = dataclasses.replace(opened.manifest, backbone=info, background=None)
    models = {model.file: opened.entry(model.file) for model in opened.manifest.models}
    nothing = FactoryExamples(np.zeros((0, INFO.dimension), np.float32), np.zeros(0, np.int32), np.zeros(0, np.bool_))
    archive.write(path, manifest, models, golden, nothing)
    return path


class Listing(Remote):
    """A store of so many devices, as it is listed."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Name a contribution of each device."""
        for number in range(int(self.url) if prefix == DEVICES else 0):
            device = hashlib.sha256(f"box {number}".encode()).hexdigest()
            yield Entry(str(Named(device[:32], 1, device)), 108_000, datetime(2026, 11, 29, tzinfo=UTC))


def folded(count: int, as_bytes: bool) -> dict[str, float]:
    """Contributions folded one after another; the time to make them is taken out."""
    rows, columns = embeddings()
    listed = Contributions(Listing(str(count), None, None), Rules(INFO))  # type: ignore[arg-type]
    pool, rules, size, seconds = Pool(INFO.dimension), Rules(INFO), 0, 0.0
    for name, x, labels, images in devices(count, rows, columns):
        data = packed(name, x, labels, images) if as_bytes else b""
        size += len(data)
        whole = np.rint(x * np.float32(GRID)).astype(np.int32)
        start = time.process_time()
        if as_bytes:
            contribution = read(name, data)
            pool.add(counted(contribution, rules))
            listed.keep(contribution.about)
        else:
            pool.add(Device(name, whole, labels, (None,) * len(labels), images))
            listed.keep(told(name, labels))
        seconds += time.process_time() - start
    assert len(listed.listed) == pool.device_count
    start = time.process_time()
    sample = pool.devices
    fit(pool)
    found = figure(pool, sample)
    seconds += time.process_time() - start
    share = found.accuracy if found else 0.0
    return {"seconds": seconds, "bytes": size / count, "shipped": sum(map(len, sample)), "accuracy": share, "bundle": 0}


def chart(found: dict[int, dict[str, float]]) -> None:
    """Draw time, memory and bytes against the plan."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure_, axes = pyplot.subplots(1, 3, figsize=(10, 3.2))
    sizes = list(found)
    packed_sizes = [count for count in sizes if found[count]["bytes"]]
    axes[0].loglog(sizes, [found[count]["seconds"] for count in sizes], "o-", color="#1f77b4")
    axes[0].set_title("CPU seconds of a merge")
    axes[1].semilogx(sizes, [found[count]["megabytes"] for count in sizes], "o-", color="#1f77b4")
    axes[1].axhline(PLAN_MEGABYTES, color="#b0b0b0", ls="--")
    axes[1].set_ylim(0)
    axes[1].set_title("peak memory, MB; dashed: plan")
    axes[2].semilogx(packed_sizes, [found[n]["bytes"] / EXAMPLES / 1000 for n in packed_sizes], "o-", color="#1f77b4")
    axes[2].axhline(PLAN_KILOBYTES, color="#b0b0b0", ls="--")
    axes[2].set_ylim(0)
    axes[2].set_title("kB of an example; dashed: plan")
    for one in axes:
        one.set_xlabel("devices")
        one.spines[["top", "right"]].set_visible(False)
    figure_.tight_layout()
    figure_.savefig(CHART, dpi=110)


def main() -> None:
    """Run each size in a process of its own, print the table, draw the chart."""
    global EXAMPLES
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", type=int, help="one size, in this process")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of each device")
    arguments = parser.parse_args()
    one, EXAMPLES = arguments.one, arguments.examples
    if one is not None:
        found = whole_merge(one) if one <= SIZES[0] else folded(one, as_bytes=one <= SIZES[1])
        lines = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss may be the parent's
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        print(json.dumps({**found, "megabytes": peak / 1024}))
        return
    embeddings()
    results: dict[int, dict[str, float]] = {}
    print(
        "| devices | examples | CPU s | ms per device | peak MB | kB per example | shipped | % right, device left out |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for count in SIZES:
        command = [sys.executable, "-m", "benchmarks.fleet", "--one", str(count), "--examples", str(EXAMPLES)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        results[count] = found = json.loads(told.splitlines()[-1])
        each = f"{found['bytes'] / EXAMPLES / 1000:.2f}" if found["bytes"] else "–"
        print(
            f"| {count:,} | {count * EXAMPLES:,} | {found['seconds']:.1f} | {1000 * found['seconds'] / count:.1f} | "
            f"{found['megabytes']:.0f} | {each} | {found['shipped']:,.0f} | {100 * found['accuracy']:.1f} |",
            flush=True,
        )
    chart(results)


if __name__ == "__main__":
    main()
