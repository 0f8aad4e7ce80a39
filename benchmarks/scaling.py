"""Time and peak memory of one fit against the number of examples and of labels: docs/head_scaling.png.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.scaling [--out docs/head_scaling.png]

Every point runs in a process of its own, so that its peak resident memory is its own; examples are made up chunk by
chunk as a database would give them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.head.fit import Examples
from edge.head.stream import fit_chunks

CHUNK = 2000


def chunks(n: int, d: int, classes: int, making: list[float]) -> Iterator[Examples]:
    """Make n examples up, chunk by chunk; the seconds that this takes are added to `making`."""
    start = time.process_time()
    means = np.random.default_rng(0).random((classes, d))
    for at in range(0, n, CHUNK):
        columns = (at + np.arange(min(CHUNK, n - at))) % classes
        x = np.abs(np.random.default_rng(at + 1).normal(size=(len(columns), d))) + means[columns]
        chunk = Examples(x.astype(np.float32), tuple(f"{column:04}" for column in columns))
        making.append(time.process_time() - start)
        yield chunk
        start = time.process_time()


def one(n: int, d: int, classes: int) -> dict[str, float]:
    """Seconds of CPU of one fit, less the making up of its chunks, and MiB at the peak above the bare interpreter."""
    bare = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    making: list[float] = []
    start = time.process_time()
    fit_chunks(lambda: chunks(n, d, classes, making))
    seconds = time.process_time() - start - sum(making)
    return {"s": seconds, "MiB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - bare) / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/head_scaling.png"))
    parser.add_argument("--one", type=int, nargs=3, metavar=("N", "D", "C"))
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one)))
        return

    def run(n: int, d: int, classes: int) -> dict[str, float]:
        command = [sys.executable, __file__, "--one", str(n), str(d), str(classes)]
        found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(f"| {n} | {d} | {classes} | {found['s']:.3f} | {found['MiB']:.0f} |", flush=True)
        return found

    print("| examples | features | labels | seconds of CPU | MiB |\n|---|---|---|---|---|")
    sizes, labels = (100, 300, 1000, 3000, 10_000, 30_000, 100_000), (10, 30, 100, 300, 1000)
    by_size = {d: [run(n, d, 10) for n in sizes] for d in (576, 1280)}
    by_label = {d: [run(10_000, d, c) for c in labels] for d in (576, 1280)}

    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), sharey="row", layout="constrained")
    for column, (along, table, title) in enumerate(
        [(sizes, by_size, "examples (10 labels)"), (labels, by_label, "labels (10,000 examples)")]
    ):
        for row, (unit, name) in enumerate([("s", "seconds of CPU"), ("MiB", "peak memory, MiB")]):
            for d, points in table.items():
                axes[row, column].loglog(along, [point[unit] for point in points], "o-", label=f"D = {d}")
            axes[row, column].set(xlabel=title, ylabel=name)
            axes[row, column].grid(alpha=0.3)
    axes[0, 0].legend()
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
