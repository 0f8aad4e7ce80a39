"""Describe a device: `deploy` sends this file to the device's Python and reads the JSON that it prints.

It runs before anything of ours is installed, so it uses only the standard library and no syntax newer than Python 3.6.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict  # noqa: UP035


def probe() -> Dict[str, Any]:  # noqa: UP006
    """Describe this machine and the installed version of edge-transfer."""
    root = os.getuid() == 0
    try:
        sudo = root or subprocess.call(["sudo", "-n", "true"], stderr=subprocess.DEVNULL) == 0
    except OSError:
        sudo = False
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    base = Path("/opt/edge-transfer") if sudo else data / "edge-transfer"
    try:
        import numpy

        system_numpy = int(numpy.__version__.split(".")[0])
    except Exception:  # none, or a broken one
        system_numpy = 0
    try:
        said = subprocess.check_output([str(base / "bin" / "edge"), "--version"]).decode()
    except (OSError, subprocess.SubprocessError):
        said = ""
    folder = base
    while not folder.exists():
        folder = folder.parent
    try:
        extras = (base / "bin" / ".." / "asked-extras").read_text().split()
    except OSError:
        extras = []
    return {
        "python": list(sys.version_info[:2]),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "machine": platform.machine(),
        "libc": platform.libc_ver()[1],
        "free": min(shutil.disk_usage(str(place)).free for place in (folder, Path.home())),
        "time": time.time(),
        "root": root,
        "sudo": sudo,
        "for_machine": Path("/opt/edge-transfer/bin").exists(),
        "installed": said.split()[-1] if said else "",
        "base": str(base),
        "home": "/var/lib/edge" if sudo else str(data / "edge"),
        "service_user": sudo and shutil.which("systemd-sysusers") is not None,
        "numpy": system_numpy,
        "extras": extras,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe()) + "\n")
