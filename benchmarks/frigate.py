"""Frigate's own way to train a classifier, in real TensorFlow, beside ours, on the same photos, in one run.

`make bench-frigate` sets up TensorFlow in an environment of its own (2 GB) and prints one table. Both sides begin with
a folder of 6 × 40 photos and end with a model that classifies:

- Frigate: MobileNetV2 (α 0.35, 224 px) frozen, a dense layer of 128, dropout 0.3, softmax; Adam 1e-3, 50 epochs,
  batches of 16; photos decoded anew in each epoch; then a full int8 TFLite model. ImageNet weights cannot be downloaded
  on every machine, and random ones take exactly as long, so the time is theirs and no accuracy is given.
- ours: `edge init`, `edge teach --folders`, `edge retrain`, three processes.

"Head alone" leaves the backbone out on both sides: 50 epochs over ready embeddings against our fit, whose leave-one-out
figures are part of it.

Source: Frigate, frigate/util/classification.py (settings read, code our own).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge.cli.terminal import table
from edge.head.fit import Examples, fit
from edge.learner import Learner

PHOTOS = Path(__file__).parent.parent.parent / "shared" / "data" / "trashnet6" / "train"
PER_LABEL = 40


def main() -> None:
    """Choose the photos, run both sides once in turn, print the table."""
    python = Path(sys.argv[1])
    if not PHOTOS.is_dir():
        sys.exit(f"the photos are not here: {PHOTOS}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = _some(PHOTOS, PER_LABEL, folder / "photos")
        ours = _ours(photos, folder)
        print("ours is measured; TensorFlow trains 50 epochs, some minutes …", file=sys.stderr)
        child = subprocess.run(
            [python, Path(__file__).with_name("frigate_trainer.py"), photos, folder / "model.tflite"],
            stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        theirs = json.loads(child.stdout.splitlines()[-1])
    rows = [["seconds", "ours", "Frigate's", "ratio", "goal"]]
    for key, name, goal in (
        ("whole", "from folder to model", 20),
        ("train", "training", 100),
        ("head", "head alone, on ready embeddings", 1000),
    ):
        ratio = theirs[key] / ours[key]
        rows.append([name, f"{ours[key]:.3f}", f"{theirs[key]:.1f}", f"{ratio:.0f}", f"{goal}"])
    print(*table(rows), sep="\n")


def _ours(photos: Path, folder: Path) -> dict[str, float]:
    bundle, home = folder / "rubbish.edge", folder / "home"
    few = _some(photos, 3, folder / "few")  # the factory's photos: what is taught here comes on top
    _run("export", "build", few, "-o", bundle, "--precision", "fp32")
    start = time.perf_counter()
    _run("edge", "--home", home, "init", bundle)
    _run("edge", "--home", home, "teach", "--folders", photos)
    done = time.perf_counter()
    _run("edge", "--home", home, "--json", "retrain", "--force")
    end = time.perf_counter()
    return {"whole": end - start, "train": end - done, "head": _fit(home)}


def _some(source: Path, each: int, target: Path) -> Path:
    """A folder of class folders with links to the first photos of each label."""
    for label in sorted(path for path in source.iterdir() if path.is_dir()):
        (target / label.name).mkdir(parents=True)
        for photo in sorted(label.iterdir())[:each]:
            (target / label.name / photo.name).symlink_to(photo.resolve())
    return target


def _fit(home: Path) -> float:
    """Seconds, the median of several, to fit the head to what was taught, its leave-one-out figures included."""
    with Learner(home) as learner:
        taught = learner.store.labelled()
        rows = learner.store.embeddings([example.id for example in taught], learner.info.dimension)
    examples = Examples(rows, tuple(e.label for e in taught), tuple(e.session for e in taught))
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        fit(examples)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _run(module: str, *arguments: object) -> str:
    child = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
    )
    return child.stdout


if __name__ == "__main__":
    main()
