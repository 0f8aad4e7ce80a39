"""Memory on a small board: `init` and `retrain` of a home whose bundle brings 10,000 photos of 1,280 numbers each.

    python -m benchmarks.board

The bundle is made up: a network of one layer, and embeddings drawn about a mean for each label. Each command runs in a
process of its own; what counts is its peak resident memory less that of a Python that does nothing.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from edge.bundle import archive
from edge.bundle.archive import FactoryExamples, Golden
from edge.bundle.manifest import BackboneInfo, Manifest, ModelFile
from edge.cli.terminal import table
from edge.network.backbone import find_runtime, open_backbone

GOAL = 150  # MB
SIDE = 16  # pixels
_PEAK = "\nprint(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
_RUNS = {
    "init": "import sys; from edge.learner import Learner; from pathlib import Path\n"
    "Learner.init(*map(Path, sys.argv[1:3]))",
    "teach": "import sys; from edge.learner import Learner; from pathlib import Path\n"
    "with Learner(Path(sys.argv[1])) as learner:\n"
    "    for place in sorted(Path(sys.argv[3]).iterdir()): learner.teach(place.name, [place])",
    "retrain": "import sys; from edge.learner import Learner; from pathlib import Path\n"
    "Learner(Path(sys.argv[1])).retrain()",
}


def main() -> None:
    """Measure, and print the table."""
    print("\n".join(table([["", "ours", "peer", "ratio", "goal"], *measured()], right=[1, 2, 3])))


def measured(photos: int = 10_000, features: int = 1280, labels: int = 10) -> list[list[str]]:
    """Give a row of the table for each command."""
    return [
        [f"{run} of {photos:,} factory photos, MB", f"{mb:.0f}", f"{GOAL}", f"{mb / GOAL:.2f}", "≤ 1"]
        for run, mb in peaks(photos, features, labels).items()
    ]


def peaks(photos: int, features: int, labels: int) -> dict[str, float]:
    """Measure MB above a Python that does nothing, for each command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_up(folder / "board.edge", photos, features, labels)
        pictures(folder / "photos", 20)
        paths = folder / "home", folder / "board.edge", folder / "photos"
        found = {run: peak(script, *paths) for run, script in _RUNS.items()}
        bare = peak("")
    return {run: found[run] - bare for run in ("init", "retrain")}


def made_up(path: Path, photos: int, features: int, labels: int) -> None:
    """Write a bundle of so many made-up examples."""
    random = np.random.default_rng(0)
    model = _one_layer(random.normal(size=(SIDE * SIDE * 3, features)).astype(np.float32) / SIDE)
    images = random.integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    runtime = find_runtime({"onnx"})
    golden = Golden(images, open_backbone(model, runtime).embed(images))
    columns = (np.arange(photos) % labels).astype(np.int32)
    means = random.normal(size=(labels, features))
    rows = [np.abs(random.normal(size=features) + 0.3 * means[column]) for column in columns]
    examples = FactoryExamples(np.array(rows, np.float32), columns, np.zeros(photos, np.bool_))
    info = BackboneInfo("made-up", hashlib.sha256(model).hexdigest(), "random", "none", SIDE, SIDE, features)
    manifest = Manifest(
        name="board",
        created="2026-11-29T00:00:00+00:00",
        backbone=info,
        labels=tuple(f"label {column:04}" for column in range(labels)),
        models=(ModelFile("backbone.onnx", "onnx", "fp32", "none", 0.0, 1.0),),
        accuracy=None,
    )
    archive.write(path, manifest, {"backbone.onnx": model}, golden, examples)


def pictures(folder: Path, count: int) -> None:
    """Write class folders of so many pictures of noise."""
    from PIL import Image

    random = np.random.default_rng(1)
    for label in ("label 0000", "new"):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def _one_layer(weights: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> bytes:
    """The network max(0, x @ weights) of uint8 pictures, as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "made-up",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", weights.shape[1]])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def peak(script: str, *arguments: object) -> float:
    """The peak resident memory in MB of a process that runs a script with these arguments."""
    command = [sys.executable, "-c", script + _PEAK, *map(str, arguments)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]) / 1024


if __name__ == "__main__":
    main()
