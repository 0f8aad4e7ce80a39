"""Collect the wheels to install this program on a device without internet access.

pip chooses them for the device's processor, C library and Python, not for those of the workstation.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.errors import EdgeError


def download(
    program: Path,
    folder: Path,
    extras: Sequence[str],
    packages: Sequence[str],
    machine: str,
    python: tuple[int, int],
    libc: int,
) -> list[Path]:
    """Put a program's wheel and those it needs into a folder.

    Args:
        program: the program's wheel.
        extras: extras of the program to install.
        packages: further requirements.
        machine: the architecture: "aarch64", "armv7l" or "x86_64".
        libc: minor version of its glibc 2.

    Returns:
        The wheels.

    Raises:
        EdgeError: there are no wheels that fit, or no internet access here.
    """
    platforms = [
        f"linux_{machine}",
        f"manylinux2014_{machine}",
        *[f"manylinux_2_{n}_{machine}" for n in range(17, libc + 1)],
    ]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    command += ["--only-binary=:all:", "--implementation=cp", "--python-version={}.{}".format(*python)]
    command += [f"--platform={platform}" for platform in platforms]
    done = subprocess.run(
        [*command, f"{program}[{','.join(extras)}]", "pip", *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        why = (errors or ["pip failed"])[0].removeprefix("ERROR: ")
        remedy = "check the network, or name an index that has them in PIP_EXTRA_INDEX_URL"
        if machine.startswith("armv"):
            remedy += "; without --offline, a Raspberry Pi asks one for 32 bits by itself"
        raise EdgeError("wheels-missing", f"no wheels for Python {python[0]}.{python[1]} on {machine}: {why}; {remedy}")
    return sorted(folder.glob("*.whl"))
