"""`make test-vm`: from a folder of wheels to a camera service, in a machine of 512 MB with Debian's kernel and systemd.

    python -m tests.arm.vm

Prints one line a step, with the peak memory of its process. `vm_inside` is what runs in the machine. The photos are 200
of ../shared/data/flowers5, 40 of each kind.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge.cli.terminal import table
from tests.arm.emulator import BOOKWORM, ROOT, Machine, why_not

FLOWERS = ROOT.parent / "shared" / "data" / "flowers5"
EACH = 40
GOAL = 110.0  # MB, of any process
PLATFORMS = [f"--platform=manylinux_2_{n}_aarch64" for n in (17, 24, 26, 27, 28, 31, 34, 35, 36)]


@dataclass(frozen=True)
class Step:
    """One line of the machine's console."""

    step: str
    well: bool
    peak: float
    said: str


def main() -> None:
    """Make the kit, boot twice, print what came of it; exit with 1 if a step failed."""
    reason = why_not() or ("" if FLOWERS.is_dir() else "../shared/data/flowers5 is not beside this checkout")
    if reason:
        print(f"skipped: {reason}")
        return
    surfaces = Path(os.environ.get("EDGE_SURFACES") or ROOT / "build").resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kit = _kit(folder / "kit", surfaces / "surfaces.edge")
        machine = Machine(folder / "disk.img", BOOKWORM[0])
        machine.put([kit], "/opt")
        mask = folder / "serial-getty@ttyAMA0.service"  # the console is ours
        mask.symlink_to("/dev/null")
        machine.put([mask], "/etc/systemd/system")
        steps: list[Step] = []
        for boot in ("first", "again"):
            print(f"booting: {boot} …", file=sys.stderr, flush=True)
            done = machine.run(f"/usr/bin/python3 /opt/kit/vm_inside.py {boot}", systemd=True, seconds=7200)
            found = [line[line.index('{"step"') :] for line in done.stdout.splitlines() if '{"step"' in line]
            steps += [Step(**json.loads(line)) for line in found]
            if done.returncode and all(step.well for step in steps):
                steps.append(Step(f"boot: {boot}", False, 0.0, done.stdout[-3000:] + done.stderr[-500:]))
            if done.returncode:
                break
    print("\n".join(_lines(steps)))
    sys.exit(any(not step.well for step in steps))


def _lines(steps: list[Step]) -> list[str]:
    rows = [["step", "", "peak MB", "it said last"]]
    for step in steps:
        last = (step.said.strip().splitlines() or [""])[-1]
        rows.append([step.step, "ok" if step.well else "FAILED", f"{step.peak:.0f}" if step.peak else "", last[:100]])
    largest = max(
        (s for s in steps if s.step.split()[0] in ("init", "teach", "retrain", "classify", "memory")),
        default=None,
        key=lambda s: s.peak,
    )
    peak = f"largest process of ours: {largest.peak:.0f} MB ({largest.step}); goal {GOAL:.0f}" if largest else ""
    return [*table(rows, right=[2]), peak, *[f"FAILED {s.step}:\n{s.said}" for s in steps if not s.well]]


def _kit(folder: Path, bundle: Path) -> Path:
    """A folder with install.sh and wheels for the machine, as a stick would bring it, and photos beside them."""
    from export.deploy.own_wheel import device_scripts, pack

    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    own = pack(wheels)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--only-binary=:all:"]
    there = ["--implementation=cp", "--python-version=3.11", *PLATFORMS, "--dest", str(wheels)]
    done = subprocess.run([*pip, *there, f"{own}[fleet,tflite,web]", "pip"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    shutil.copy(device_scripts() / "install.sh", folder)
    shutil.copy(bundle, folder / "surfaces.edge")
    shutil.copy(Path(__file__).with_name("vm_inside.py"), folder)
    for label in sorted(path.name for path in (FLOWERS / "train").iterdir() if path.is_dir()):
        for kind, source, count in (("photos", "train", EACH), ("new", "val", 1)):
            (folder / kind / label).mkdir(parents=True)
            for file in sorted((FLOWERS / source / label).glob("*.jpg"))[:count]:
                shutil.copyfile(file, folder / kind / label / file.name)
    return folder


if __name__ == "__main__":
    main()
