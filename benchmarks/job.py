"""The device's job against the bare runtime: `make bench` prints one table, every row a ratio within this run.

The machine that runs it is noisy, so each figure is the median of several runs taken in turn with its peer (A B A B …),
and the ratio is the median of the pairs' ratios. The backbone is the default one; the photos
are those of ../shared/data/flowers5 where it is there, else crops of `edge-export sample`.

| row | ours | its peer |
|---|---|---|
| teach | `Learner.teach` of 300 photos: read, decode, embed, store | the bare runtime on 300 ready tensors |
| classify, warm | `Learner.classify` of one photo | Pillow's decoding + one bare run |
| classify, cold | the process `edge classify PHOTO` | a bare script that imports the runtime and runs it once |
| help | the process `edge --help` | `python -c "import click"` |
| memory | peak RSS of init, teach to 2,000 examples, retrain, classify in one process | that of the bare script above |
| 10,000 photos | peak RSS of init and retrain of a large bundle, above a bare Python: benchmarks/board.py | its goal |

Every process starts from bytecode, as pip leaves a package: an environment that says PYTHONDONTWRITEBYTECODE would have
ours compile its sources at each start, and the peers, which pip has compiled, not.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import board
from edge.cli.terminal import table

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "flowers5" / "train"
PHOTOS = 300
EXAMPLES = 2000
RUNS = 7
STARTS = 15  # of a whole process, which takes a moment and is noisier
GOALS = {
    **{"teach": 0.9, "warm": 1.15, "help": 2.5, "onnx cold": 1.3, "tflite cold": 1.4},
    **{"onnx memory": 130.0, "tflite memory": 115.0},
}


def main() -> None:
    """Build a bundle, measure both runtimes, print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        print(f"building a bundle and {EXAMPLES} photos in {folder} …", file=sys.stderr)
        photos = _photos(folder)
        _edge_export("sample", str(folder / "sample"))
        bundle = folder / "bench.edge"
        _edge_export("build", str(folder / "sample" / "photos"), "-o", str(bundle), "--precision", "fp32")
        rows = [["", "ours", "peer", "ratio", "goal"]]
        for format in ("onnx", "tflite"):
            home = folder / f"home-{format}"
            _edge("--home", str(home), "init", str(bundle), "--runtime", format)
            rows += _inside(format, home, photos, folder)
            rows.append(_cold(format, home, photos[0], folder))
            rows.append(_memory(format, bundle, photos, folder))  # after _cold, which writes the bare model
        rows.append(_help())
        rows += board.measured()
        print("\n".join(table(rows, right=[1, 2, 3])))


def _photos(folder: Path) -> list[Path]:
    """Find or make `EXAMPLES` different photo files; the first `PHOTOS` are whole photographs."""
    import numpy as np
    from PIL import Image

    if SHARED.is_dir():
        whole = sorted(SHARED.rglob("*.jpg"))[:PHOTOS]
    else:
        _edge_export("sample", str(folder / "source"))
        whole = sorted((folder / "source").rglob("*.jpg"))
    crops = folder / "crops"
    crops.mkdir()
    random = np.random.default_rng(0)
    files = list(whole)
    while len(files) < EXAMPLES:
        with Image.open(whole[len(files) % len(whole)]) as image:
            left, top = random.integers(0, 32, 2)
            target = crops / f"{len(files):05}.jpg"
            image.crop((left, top, image.width - 8, image.height - 8)).save(target, quality=90)
        files.append(target)
    return files


def _inside(format: str, home: Path, photos: list[Path], folder: Path) -> list[list[str]]:
    """Teach and warm classify against the bare runtime, in one child process."""
    script = (
        "import sys, json; from benchmarks.job import measure_inside; print(json.dumps(measure_inside(*sys.argv[1:])))"
    )
    listed = folder / "photos.txt"
    listed.write_text("\n".join(map(str, photos[:PHOTOS])))
    command = [sys.executable, "-c", script, format, str(home), str(listed)]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    warm = figures["warm"]
    times = [1000 * statistics.median(side) for side in zip(*warm, strict=True)]
    slower = statistics.median(ours / bare for ours, bare in warm)
    return [
        _rate(f"teach, {format}, photos/s, peer by default", figures["teach"], ""),
        _rate(f"teach, {format}, photos/s, peer on all cores", figures["teach_all"], f"≥ {GOALS['teach']}"),
        _row(f"classify warm, {format}, ms", f"{times[0]:.2f}", f"{times[1]:.2f}", slower, f"≤ {GOALS['warm']}"),
    ]


def measure_inside(format: str, home: str, listed: str) -> dict[str, list[tuple[float, float]]]:
    """In the child: pairs of seconds (ours, bare), for teaching all photos and for classifying one, warm."""
    import numpy as np

    from edge.learner import Learner
    from edge.picture import preprocess

    photos = [Path(line) for line in Path(listed).read_text().splitlines()]
    tensors = np.stack([preprocess.load(photo) for photo in photos])
    with Learner(Path(home)) as learner:
        model = learner.bundle.entry(learner.model.file)
    run, default = bare_runtime(format, model, os.cpu_count()), bare_runtime(format, model, None)
    teach, teach_all, warm = [], [], []
    for _ in range(RUNS):
        copy = Path(home).with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home, copy)
        with Learner(copy) as learner:
            next(iter(learner.classify_each([photos[0]] * os.cpu_count())))  # type: ignore[operator]
            ours = _seconds(lambda learner=learner: learner.teach("flower", photos))  # type: ignore[misc]
            teach_all.append((ours, _seconds(lambda: [run(tensor[None]) for tensor in tensors])))
            teach.append((ours, _seconds(lambda: [default(tensor[None]) for tensor in tensors])))
            for photo in photos[:40]:
                ours = _seconds(lambda learner=learner, photo=photo: next(learner.classify_each([photo])))  # type: ignore[misc]
                bare = _seconds(lambda photo=photo: run(preprocess.load(photo)[None]))  # type: ignore[misc]
                warm.append((ours, bare))
    return {"teach": teach, "teach_all": teach_all, "warm": warm[40:]}


def bare_runtime(format: str, model: bytes, threads: int | None) -> "Callable[[object], object]":
    """The runtime as its own documentation shows it, with so many threads; None leaves its default."""
    if format == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        session = onnxruntime.InferenceSession(model, options)
        name = session.get_inputs()[0].name
        return lambda image: session.run(None, {name: image})[0]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image: object) -> object:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


_BARE = {
    "onnx": """
import sys, numpy, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1])
image = numpy.asarray(Image.open(sys.argv[2]).resize((224, 224)))[None]
print(session.run(None, {session.get_inputs()[0].name: image})[0].argmax())
""",
    "tflite": """
import sys, numpy
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1])
interpreter.allocate_tensors()
image = numpy.asarray(Image.open(sys.argv[2]).resize((224, 224)))[None]
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).argmax())
""",
}


def _cold(format: str, home: Path, photo: Path, folder: Path) -> list[str]:
    from edge.learner import Learner

    model = folder / f"bare.{format}"
    with Learner(home) as learner:
        model.write_bytes(learner.bundle.entry(learner.model.file))
    ours = [sys.executable, "-m", "edge", "--home", str(home), "classify", str(photo)]
    bare = [sys.executable, "-c", _BARE[format], str(model), str(photo)]
    pairs = _paired(ours, bare)
    return _pair_row(f"classify cold, {format}, ms", pairs, f"≤ {GOALS[f'{format} cold']}")


def _help() -> list[str]:
    pairs = _paired([sys.executable, "-m", "edge", "--help"], [sys.executable, "-c", "import click"])
    return _pair_row("edge --help, ms", pairs, f"≤ {GOALS['help']}")


def _memory(format: str, bundle: Path, photos: list[Path], folder: Path) -> list[str]:
    script = """
import sys
from pathlib import Path
from edge.learner import Learner
home, bundle, format, listed = sys.argv[1:]
photos = [Path(line) for line in Path(listed).read_text().splitlines()]
with Learner.init(Path(home), Path(bundle), format) as learner:
    learner.teach("flower", photos)
    learner.retrain()
    list(learner.classify(photos[:3]))
"""
    listed = folder / "all.txt"
    listed.write_text("\n".join(map(str, photos)))
    ours = board.peak(script, folder / f"memory-{format}", bundle, format, listed)
    bare = board.peak(_BARE[format], folder / f"bare.{format}", photos[0])
    goal = f"≤ {GOALS[f'{format} memory']:.0f} MB"
    return _row(f"memory, {format}, {EXAMPLES} examples, MB", f"{ours:.0f}", f"{bare:.0f}", ours / bare, goal)


def _paired(ours: list[str], bare: list[str]) -> list[tuple[float, float]]:
    def run(command: list[str]) -> float:
        return _seconds(lambda: subprocess.run(command, check=True, capture_output=True))

    run(ours), run(bare)  # warm the disk's cache, and write the bytecode
    return [(run(ours), run(bare)) for _ in range(STARTS)]


def _pair_row(name: str, pairs: list[tuple[float, float]], goal: str) -> list[str]:
    a, b = (1000 * statistics.median(side) for side in zip(*pairs, strict=True))
    return _row(name, f"{a:.0f}", f"{b:.0f}", statistics.median(x / y for x, y in pairs), goal)


def _rate(name: str, pairs: list[tuple[float, float]], goal: str) -> list[str]:
    ours, bare = (PHOTOS / statistics.median(side) for side in zip(*pairs, strict=True))
    return _row(name, f"{ours:.0f}", f"{bare:.0f}", statistics.median(b / a for a, b in pairs), goal)


def _row(name: str, ours: str, peer: str, ratio: float, goal: str) -> list[str]:
    return [name, ours, peer, f"{ratio:.2f}", goal]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _edge(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "edge", *args], check=True, capture_output=True)


def _edge_export(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "export", *args], check=True, capture_output=True)


if __name__ == "__main__":
    main()
