"""What install.sh is given: a folder of wheels, packed from what is installed here, so that no network is needed."""

import re
import shutil
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from export.deploy import own_wheel

SYSTEM = Path("/usr/bin/python3")
# Folders that nothing of ours imports: a third of the files.
UNUSED = {"tests", "transformers", "quantization", "tools"}


def make_kit(folder: Path, *packages: str) -> Path:
    """Write install.sh and wheels of pip, of this program, of `packages`, and of all that these need."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    shutil.copy(own_wheel.device_scripts() / "install.sh", folder)
    own_wheel.pack(wheels)
    done: set[str] = set()
    for package in ("pip", "numpy", "pillow", "click", "requests", *packages):
        _pack(package, wheels, done)
    return folder


def fake_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """Write a wheel of our own making."""
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def need_same_python() -> None:
    """Skip where the system's Python cannot run what this one's wheels hold."""
    import subprocess

    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    ask = [SYSTEM, "-c", "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"]
    if not SYSTEM.exists() or subprocess.run(ask, capture_output=True, text=True).stdout.strip() != here:
        pytest.skip(f"{SYSTEM} is no Python {here} with venv, so that it cannot run what is packed here")


def _pack(name: str, folder: Path, done: set[str]) -> None:
    """Pack an installed distribution, and those it needs, without compressing them."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in done:
        return
    done.add(key)
    found = metadata.distribution(name)
    tags = re.findall(r"(?m)^Tag: (\S+)$", found.read_text("WHEEL") or "")
    names, abis, systems = (sorted({tag.split("-")[i] for tag in tags}) for i in range(3))
    title = re.sub(r"[-_.]+", "_", found.name)
    path = folder / f"{title}-{found.version}-{'.'.join(names)}-{'.'.join(abis)}-{'.'.join(systems)}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in found.files or []:
            if not ({"..", "__pycache__", *UNUSED} & set(file.parts)) and file.name not in ("INSTALLER", "REQUESTED"):
                wheel.write(str(file.locate()), str(file))
    for line in found.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            _pack(requirement.name, folder, done)
