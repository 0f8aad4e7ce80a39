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

from edge.bundle import archive
from edge.cli.terminal import table
from edge.network import backbone
from edge.network.backbone import RUNTIMES
from edge.picture import preprocess
from tests.arm.emulator import BOOKWORM, ROOT, TRIXIE, System, run, why_not

ERROR, COSINE = 1e-5, 0.99
CALCULATING = ("backbone", "fit", "gate", "head", "lda", "moments")
TESTS = (*CALCULATING, "bundle", "cli", "learner", "store", "surfaces")
FLOWERS = (ROOT.parent / "shared" / "data" / "flowers5" / "val").resolve()  # the emulated system sees no links


@dataclass(frozen=True)
class Agreement:
    """How the embeddings of one system agree with the workstation's; `wrong` is what does not."""

    runtime: str
    error: float
    cosine: float
    pixels: int
    wrong: str


@dataclass(frozen=True)
class Tested:
    """How many tests passed on one system; `wrong` is the output if not all did."""

    passed: int
    failed: int
    wrong: str


@dataclass(frozen=True)
class Material:
    """What every system is given: the folder with bundle and sample, photographs, and where their embeddings are."""

    surfaces: Path
    photos: list[Path]
    reference: Path

    @property
    def folders(self) -> list[Path]:
        """Those outside the checkout."""
        return [self.surfaces, self.reference.parent, *([FLOWERS] if FLOWERS.is_dir() else [])]


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
        material = Material(surfaces, _photos(surfaces), Path(name) / "reference.npz")
        refer(material)
        for system in systems:
            print(f"{system.suite}, {system.cpu}, {system.extra} …", file=sys.stderr, flush=True)
            start = _spent()
            seen, tested = agree(system, material), test(system, material)
            row = [system.suite, system.cpu, seen.runtime, f"{tested.passed} passed", f"{seen.error:.1e}"]
            rows.append([*row, f"{seen.cosine:.4f}", str(seen.pixels), f"{_spent() - start:.0f}"])
            wrong += [f"== {' '.join(row[:3])}\n{text}" for text in (seen.wrong, tested.wrong) if text]
    print("\n".join(table(rows, right=[3, 4, 5, 6, 7])))
    print(
        f"fp32 error: largest difference from the workstation over the largest value, at most {ERROR:.0e}; int8 "
        f"cosine: of the worst picture, at least {COSINE}; {len(material.photos)} photographs and the golden pictures. "
        "Pixels: largest difference after decoding here (0–255)."
    )
    if wrong:
        sys.exit("\n".join(wrong))


def _photos(surfaces: Path) -> list[Path]:
    """Real photographs: of the sample, and of ../shared where it is."""
    chosen = sorted((surfaces / "sample" / "test").rglob("*.jpg"))[::16]
    return chosen + [file for folder in sorted(FLOWERS.glob("*/")) for file in sorted(folder.glob("*.jpg"))[:1]]


def refer(material: Material) -> None:
    """Embed the photographs here, on ONNX Runtime at full precision."""
    opened = archive.read(material.surfaces / "surfaces.edge")
    info = opened.manifest.backbone
    pixels = np.stack([preprocess.load(photo, info.input_size, info.short_side) for photo in material.photos])
    network = backbone.open_backbone(opened.entry("backbone.onnx"), RUNTIMES[0], threads=1)
    np.savez(material.reference, pixels=pixels, embeddings=network.embed(pixels))


def agree(system: System, material: Material) -> Agreement:
    """Compare what this system sees with what the workstation sees."""
    bundled = material.surfaces / "surfaces.edge"
    words = ["python", "-m", "tests.arm.parity", bundled, material.reference, *material.photos]
    done = run(system, words, material.folders)
    proofs: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    error = max((p["error"] for p in proofs if p["precision"] == "fp32"), default=float("nan"))
    cosine = min((p["cosine"] for p in proofs if p["precision"] == "int8"), default=float("nan"))
    well = done.returncode == 0 and error <= ERROR and cosine > COSINE
    wrong = "" if well else f"the embeddings stray: {done.stdout}{done.stderr}"
    runtime = proofs[0]["runtime"] if proofs else system.extra
    return Agreement(runtime, error, cosine, max((p["pixels"] for p in proofs), default=-1), wrong)


def test(system: System, material: Material) -> Tested:
    """Run the device's tests on this system."""
    names = TESTS if system.cpu == "cortex-a72" else CALCULATING
    files = [str(next(Path("tests/edge").rglob(f"test_{name}.py"))) for name in names]
    temporary = material.reference.with_name("pytest")  # there /tmp lies in memory, which doctor would complain of
    options = ["-p", "no:cacheprovider", "--hypothesis-profile=emulated", f"--basetemp={temporary}"]
    surfaces = f"EDGE_SURFACES={material.surfaces}"
    done = run(system, [surfaces, "python", "-m", "pytest", *options, *files], material.folders)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    well = done.returncode == 0 and counts.get("passed", 0) > 0
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return Tested(counts.get("passed", 0), failed, "" if well else done.stdout + done.stderr)


def _spent() -> float:
    """Seconds of processor time that all children took so far; others may keep the machine busy."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
