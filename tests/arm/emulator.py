"""The emulated systems: which there are, how to run something there, how to boot a machine and cut its power.

A thin layer over `../shared/tools/armrun.sh`, whose header is its manual.

| system | as on | processors |
|---|---|---|
| bookworm | Raspberry Pi OS 12, Python 3.11 | Cortex-A53 (Pi 3, Zero 2 W), A72 (Pi 4), A76 (Pi 5) |
| trixie | Raspberry Pi OS 13, Python 3.13 | Cortex-A72 |
"""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ARMRUN = ROOT.parent / "shared" / "tools" / "armrun.sh"


@dataclass(frozen=True)
class System:
    """A Debian with one runtime on one processor; `extra` names the runtime's extra in pyproject.toml."""

    suite: str
    extra: str
    cpu: str = "cortex-a72"

    @property
    def environment(self) -> dict[str, str]:
        """What armrun.sh is told: packages are those that pyproject.toml asks for, and the tests' own."""
        asked = [*_project()["dependencies"], *_project()["optional-dependencies"][self.extra], "pytest", "hypothesis"]
        packages = " ".join(package.split(";")[0].replace(" ", "") for package in asked)
        told = {"ARM_SUITE": self.suite, "ARM_CPU": self.cpu, "ARM_VENV": f"edge-{self.extra}", "ARM_REQS": packages}
        return {**os.environ, **told}


BOOKWORM = [System("bookworm", extra, f"cortex-a{n}") for n in (72, 53, 76) for extra in ("onnx", "tflite-runtime")]
TRIXIE = [System("trixie", extra) for extra in ("onnx", "tflite")]


def why_not() -> str:
    """Say why nothing can be emulated here, or "" if it can."""
    if not ARMRUN.exists():
        return "../shared/tools/armrun.sh is not beside this checkout"
    if os.geteuid() != 0:
        return "the emulated system is a chroot, which needs root"
    if shutil.which("apt-get") is None:
        return "the emulator is installed from Debian's packages, and this is no Debian"
    return ""


def run(system: System, command: Sequence[object], binds: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout, as the emulated system's root.

    Args:
        system: where.
        command: its words; `python` is the one of the environment that has the runtime.
        binds: folders outside the checkout that it needs.
    """
    inside = ["PYTHONPATH=" + str(ROOT), "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1"]
    words = [str(ARMRUN), "exec", "env", *inside, *map(str, command)]
    bound = {"ARM_BIND": " ".join(str(folder.resolve()) for folder in binds)}
    return subprocess.run(words, cwd=ROOT, env={**system.environment, **bound}, capture_output=True, text=True)


class Machine:
    """A machine of 512 MB with a Debian arm64 kernel, and a disk of its own that outlives each boot.

    Args:
        disk: its image; made anew.
        system: what is installed on it.
        image: what the disk is a copy of; None: the system, made anew.
    """

    def __init__(self, disk: Path, system: System = BOOKWORM[0], image: Path | None = None) -> None:
        self.disk, self._system = disk, system
        image = image or Path(self._tool("vmdisk", check=True).stdout.split()[-1])
        subprocess.run(["cp", "--sparse=always", image, disk], check=True)

    def copy(self, disk: Path) -> "Machine":
        """Make another machine whose disk is as this one's is now."""
        return Machine(disk, self._system, self.disk)

    def put(self, files: Sequence[Path], folder: str) -> None:
        """Copy files and folders into a folder of the disk; the machine is off."""
        self._tool("vmput", *map(str, files), folder, check=True)

    def run(self, command: str, systemd: bool = False, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Boot, run a command as root, power off; returns its exit status and what the console saw."""
        told = {"ARM_TIMEOUT": str(int(seconds)), **({"ARM_INIT": "systemd"} if systemd else {})}
        return self._tool("vm", command, told=told)

    @contextmanager
    def running(self, command: str, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
        """Boot and run a command, its console in `log`; at the end of the block the power goes."""
        log.unlink(missing_ok=True)
        environment = {**self._environment, "ARM_BG": "1", "ARM_LOG": str(log)}
        child = subprocess.Popen([ARMRUN, "vm", command], env=environment)  # it becomes the emulator itself
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    @property
    def _environment(self) -> dict[str, str]:
        return {**self._system.environment, "ARM_DISK": str(self.disk), "ARM_MEM": "512M"}

    def _tool(
        self,
        *words: str,
        check: bool = False,
        told: Mapping[str, str] = {},  # never changed
    ) -> subprocess.CompletedProcess[str]:
        environment = {**self._environment, **told}
        return subprocess.run([ARMRUN, *words], env=environment, capture_output=True, text=True, check=check)


def _project() -> Mapping[str, Mapping[str, Sequence[str]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
