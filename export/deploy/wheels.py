"""Collect the wheels to install this program on a device without internet access.

pip chooses them for the device's processor, C library and Python, not for those of the workstation.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.errors import EdgeError
from edge.network.backbone import RUNTIMES
from export.deploy.device import Device


def download(program: Path, folder: Path, device: Device, runtimes: Sequence[str]) -> list[Path]:
    """Put a program's wheel and those that it needs on a device, with these runtimes, into a folder, and return them.

    Raises:
        EdgeError: there are no wheels that fit, or no internet access here.
    """
    names = [name for name in runtimes if name != "tflite-runtime"] or ["tflite-runtime"]
    packages = [runtime.package for runtime in RUNTIMES if runtime.extra in names]
    if device.numpy == 1 or "tflite-runtime" in names:
        packages.append("numpy<2")
    version, machine = "{}.{}".format(*device.python), device.architecture
    minor = device.libc.partition(".")[2].partition(".")[0]
    newest = int(minor) if minor.isdigit() else 17
    platforms = [
        f"linux_{machine}",
        f"manylinux2014_{machine}",
        *[f"manylinux_2_{n}_{machine}" for n in range(17, newest + 1)],
    ]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    command += [f"--platform={platform}" for platform in platforms]
    wanted = f"{program}[{','.join([*names, *device.extras])}]"
    done = subprocess.run([*command, wanted, "pip", *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        why = (errors or ["pip failed"])[0].removeprefix("ERROR: ")
        remedy = "check the network, or name an index that has them in PIP_EXTRA_INDEX_URL"
        if machine.startswith("armv"):
            remedy += "; without --offline, a Raspberry Pi asks one for 32 bits by itself"
        raise EdgeError("wheels-missing", f"no wheels for Python {version} on {machine}: {why}; {remedy}")
    return sorted(folder.glob("*.whl"))
