"""`make test-arm`: the device's tests and the proof of parity on every emulated system, as one table.

    python -m tests.arm [--short]

On each system: do the bundle's models see what the workstation sees (golden pictures and real photographs; fp32 within
1e-5 of the largest value, int8 with a cosine above 0.99), and do the tests pass: on a Cortex-A72 those of fitters,
gate, store, bundle, learner, command line, and the whole job on the sample photographs; on other processors those that
calculate. `--short` takes bookworm on a Cortex-A72 (Pi 4) alone, both runtimes.
EDGE_SURFACES names the folder with surfaces.edge and sample/; it is ./build unless set.
"""

import json
import os
import re
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge import backbone, bundle, preprocess
from edge.backbone import RUNTIMES
from edge.terminal import table
from tests.arm.emulator import BOOKWORM, ROOT, TRIXIE, System, run, why_not

ERROR, COSINE = 1e-5, 0.99
CALCULATING = ("backbone", "fit", "gate", "head", "lda", "moments")
TESTS = (*CALCULATING, "bundle", "cli", "learner", "store", "surfaces")
FLOWERS = ROOT.parent / "shared" / "data" / "flowers5" / "val"


@dataclass(frozen=True)
class Result:
    """What came of one system; `wrong` is what failed, in full."""

    row: list[str]
    wrong: str


def main() -> None:
    """Run on every system, print the table, exit with 1 if anything failed."""
    reason = why_not()
    if reason:
        print(f"skipped: {reason}")
        return
    surfaces = Path(os.environ.get("EDGE_SURFACES") or ROOT / "build").resolve()
    systems = BOOKWORM[:2] if "--short" in sys.argv else [*BOOKWORM, *TRIXIE]
    rows = [["system", "processor", "runtime", "tests", "fp32 error", "int8 cosine", "pixels", "CPU s"]]
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        photos = _photos(surfaces)
        reference = Path(name) / "reference.npz"
        _refer(surfaces, photos, reference)
        for system in systems:
            print(f"{system.suite}, {system.cpu}, {system.extra} …", file=sys.stderr, flush=True)
            result = _test(system, surfaces, photos, reference)
            rows.append(result.row)
            if result.wrong:
                wrong.append(f"== {' '.join(result.row[:3])}\n{result.wrong}")
    print("\n".join(table(rows, right=[3, 4, 5, 6, 7])))
    print(
        f"fp32 error: largest difference from the workstation over the largest value, at most {ERROR:.0e}; int8 "
        f"cosine: of the worst picture, at least {COSINE}; {len(photos)} photographs and the bundle's golden pictures. "
        "Pixels: largest difference after decoding here (0–255)."
    )
    if wrong:
        sys.exit("\n".join(wrong))


def _photos(surfaces: Path) -> list[Path]:
    """Real photographs: of the sample, and of ../shared where it is."""
    chosen = sorted((surfaces / "sample" / "test").rglob("*.jpg"))[::16]
    return chosen + [file for folder in sorted(FLOWERS.glob("*/")) for file in sorted(folder.glob("*.jpg"))[:1]]


def _refer(surfaces: Path, photos: list[Path], target: Path) -> None:
    """Embed the photographs here, on ONNX Runtime at full precision."""
    opened = bundle.read(surfaces / "surfaces.edge")
    info = opened.manifest.backbone
    pixels = np.stack([preprocess.load(photo, info.input_size, info.short_side) for photo in photos])
    network = backbone.open_backbone(opened.entry("backbone.onnx"), RUNTIMES[0], threads=1)
    np.savez(target, pixels=pixels, embeddings=network.embed(pixels))


def _test(system: System, surfaces: Path, photos: list[Path], reference: Path) -> Result:
    start = _spent()
    binds = [surfaces, reference.parent, *({FLOWERS} if FLOWERS.is_dir() else {})]
    words = ["python", "-m", "tests.arm.parity", surfaces / "surfaces.edge", reference, *photos]
    proved = run(system, words, binds)
    proofs: list[dict[str, Any]] = [json.loads(line) for line in proved.stdout.splitlines()]
    error = max((p["error"] for p in proofs if p["precision"] == "fp32"), default=float("nan"))
    cosine = min((p["cosine"] for p in proofs if p["precision"] == "int8"), default=float("nan"))
    pixels = max((p["pixels"] for p in proofs), default=-1)
    wrong = [] if proved.returncode == 0 else [proved.stderr]
    if not (error <= ERROR and cosine > COSINE):
        wrong.append(f"the embeddings stray: {proved.stdout}")
    names = TESTS if system.cpu == "cortex-a72" else CALCULATING
    files = [f"tests/edge/test_{name}.py" for name in names]
    options = ["-p", "no:cacheprovider", "--hypothesis-profile=emulated"]
    tests = run(system, ["EDGE_SURFACES=" + str(surfaces), "python", "-m", "pytest", *options, *files], binds)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error|skipped)", tests.stdout)}
    if tests.returncode or not counts.get("passed"):
        wrong.append(tests.stdout + tests.stderr)
    summary = f"{counts.get('passed', 0)} passed" + (f", {counts['failed']} failed" if "failed" in counts else "")
    runtime = proofs[0]["runtime"] if proofs else system.extra
    seconds = f"{_spent() - start:.0f}"
    row = [system.suite, system.cpu, runtime, summary, f"{error:.1e}", f"{cosine:.4f}", str(pixels), seconds]
    return Result(row, "\n".join(wrong))


def _spent() -> float:
    """Seconds of processor time that all children took so far; others may keep the machine busy."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
