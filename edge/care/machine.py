"""Check the computer itself: clock, memory, heat, power, card, camera. Each check gives one `Finding`.

Everything is read from Linux's own files below `root`; a check whose file is missing is left out.

Source: proc(5); the kernel's documentation of thermal zones and hwmon; Raspberry Pi's of `vcgencmd get_throttled`: bits
0–3 are now, 16–19 since the start: too little voltage, capped, throttled, soft temperature limit.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from edge.answers import Finding
from edge.camera import devices
from edge.errors import SourceError
from edge.files import new_partial, sync_folder
from edge.home.database import FILE

MIN_FREE = 100_000_000  # bytes on the home's disk
MIN_MEMORY = 100_000_000  # bytes; `retrain` takes about that at its most
HOT = 80.0  # °C, where a Raspberry Pi begins to slow down
BUILT = 1_767_225_600  # 2026-01-01, seconds since 1970: a clock before it has not been set
_VOLATILE = {"tmpfs": "in memory", "ramfs": "in memory", "overlay": "on an overlay"}
_NO_CAMERAS = ("bcm2835-codec", "bcm2835-isp", "pispbe", "rpivid", "rpi-hevc")  # video devices that see nothing
_LOSES = "ALL LEARNING IS LOST AT THE NEXT REBOOT"


def examine(home: Path, root: Path = Path("/")) -> list[Finding]:
    """Check the computer and the disk of the home; problems are returned, not raised."""
    found = [_python(root), _clock(home), _memory(root), _heat(root), _power(root)]
    found += [_space(home), storage(home, root), _synced(home), _camera(root)]
    return [finding for finding in found if finding is not None]


def storage(home: Path, root: Path = Path("/")) -> Finding:
    """Check whether a reboot would lose the home (in memory, on an overlay), and whether its disk is read-only."""
    kind, point, options = "", "/", [""]
    longest = -1
    folder = _existing(home)
    for line in _read(root / "proc/mounts").splitlines():
        place, found, how = [*line.split(), "", "", "", ""][1:4]
        place = place.replace("\\040", " ")
        if folder.is_relative_to(place) and len(place) >= longest:  # of two on one place the later one counts
            longest, kind, point, options = len(place), found, place, how.split(",")
    seen = f"{kind or 'unknown'} file system on {point}"
    remedy = "move the home to the card or a disk (--home)"
    if kind in _VOLATILE:
        if kind == "overlay":
            remedy += ", or disable the overlay: sudo raspi-config, Performance Options, Overlay File System"
        return Finding("storage", False, f"{seen}: {_VOLATILE[kind]}, {_LOSES}", remedy)
    if "ro" in options:
        remedy = (
            "the card may be failing: copy the home and use another card; otherwise run: sudo mount -o remount,rw "
            + point
        )
        return Finding("storage", False, f"{seen}, read-only: nothing can be learned", remedy)
    return Finding("storage", True, seen, remedy)


def _python(root: Path) -> Finding:
    bits = 64 if sys.maxsize > 2**32 else 32
    seen = f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}, {bits} bits"
    board = _read(root / "proc/device-tree/model").rstrip("\0")
    seen += f", {board}" if board else ""
    return Finding("python", sys.version_info >= (3, 11), seen, "install Python 3.11 or later")


def _clock(home: Path) -> Finding:
    now = time.time()
    seen = _utc(now)
    remedy = "set the clock (timedatectl); otherwise examples get a wrong date"
    if now < BUILT:
        return Finding("clock", False, f"{seen}: it was never set", remedy)
    try:
        last = (home / FILE).stat().st_mtime
    except OSError:
        last = 0.0
    if now < last - 60:
        return Finding("clock", False, f"{seen}: slow, because the home was changed at {_utc(last)}", remedy)
    return Finding("clock", True, seen, remedy)


def _memory(root: Path) -> Finding | None:
    kilobytes = {}
    for line in _read(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        kilobytes[name] = int((rest.split() or ["0"])[0])
    if "MemAvailable" not in kilobytes:
        return None
    left, total = 1024 * kilobytes["MemAvailable"], 1024 * kilobytes.get("MemTotal", 0)
    seen = f"{left / 1e6:.0f} of {total / 1e6:.0f} MB free"
    return Finding("memory", left > MIN_MEMORY, seen, "stop other programs, or use the system without a desktop")


def temperature(root: Path = Path("/")) -> float | None:
    """The processor's temperature in °C (sysfs gives thousandths), or None."""
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind, text = _read(zone / "type"), _read(zone / "temp")
        if ("cpu" in kind or "soc" in kind or "x86_pkg" in kind) and text.lstrip("-").isdigit():
            return int(text) / 1000
    return None


def free_bytes(home: Path) -> int:
    """How much can still be written to the disk where a home lies or shall lie."""
    return shutil.disk_usage(_existing(home)).free


def _heat(root: Path) -> Finding | None:
    degrees = temperature(root)
    if degrees is None:
        return None
    seen = f"{degrees:.0f} °C" + (", so hot that it slows down" if degrees >= HOT else "")
    return Finding("heat", degrees < HOT, seen, "give the processor a heat sink or a fan, and more air")


def _power(root: Path) -> Finding | None:
    """The firmware's report about the power supply; `vcgencmd` knows more than the kernel."""
    bits: int | None = None
    program = shutil.which("vcgencmd")
    if program:
        try:
            said = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=10, check=True)
            bits = int(said.stdout.strip().partition("=")[2], 16)
        except (OSError, subprocess.SubprocessError, ValueError):
            bits = None  # no permission for the firmware, or it does not answer
    if bits is None:
        for sensor in (root / "sys/class/hwmon").glob("hwmon*"):
            if _read(sensor / "name") == "rpi_volt":
                bits = 0x10000 * (_read(sensor / "in0_lcrit_alarm") == "1")
    if bits is None:
        return None
    if bits & 0x10001:
        seen = "too little voltage " + ("now" if bits & 1 else "since the start")
        remedy = (
            "use the official power supply and a short, thick cable; writing to a card at too little voltage damages it"
        )
        return Finding("power", False, seen, remedy)
    if bits & 0xE000E:
        seen = "slowed down by heat " + ("now" if bits & 0xE else "since the start")
        return Finding("power", False, seen, "give the processor a heat sink or a fan, and more air")
    return Finding("power", True, "enough voltage since the start, never slowed down", "")


def _space(home: Path) -> Finding:
    free = free_bytes(home)
    return Finding("space", free > MIN_FREE, f"{free / 1e9:.1f} GB free", "free some space on the disk of the home")


def _synced(home: Path) -> Finding | None:
    """Write a small file on the home's disk and sync it, as every change of a home is synced."""
    folder = _existing(home)
    if not os.access(folder, os.W_OK):
        if not os.access(home, os.F_OK):  # Path.exists raises where we may not look
            return None
        seen = f"{devices.user()[0]} has no permission to write to {home}"
        owner = f"sudo -u '#{home.stat().st_uid}' edge --home {home} doctor"
        return Finding("sync", False, seen, f"run it as the home's owner: {owner}")
    partial = None
    try:
        partial = new_partial(folder / "doctor")
        with partial.open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(folder)
    except OSError as error:
        seen = f"{folder} does not keep what is written ({error.strerror}): {_LOSES}, or sooner"
        return Finding(
            "sync",
            False,
            seen,
            "free some space; if there is enough, the card is failing: copy the home and use another card",
        )
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return Finding("sync", True, "what is written is kept", "")


def _camera(root: Path) -> Finding:
    """Find the cameras, and check whether this user and this Python can use them."""
    nodes = {}
    for entry in sorted((root / "sys/class/video4linux").glob("video*")):
        name = _read(entry / "name")
        if name and not name.startswith(_NO_CAMERAS):
            nodes[root / "dev" / entry.name] = name
    if not nodes:
        return Finding("camera", True, "none found; pictures can also come from a folder or an address", "")
    seen = ", ".join(dict.fromkeys(f"{name} ({node})" for node, name in nodes.items()))
    user, remedy = devices.user()
    for node in nodes:
        if not os.access(node, os.R_OK | os.W_OK):
            return Finding("camera", False, f"{seen}; {user} has no permission to open {node}", remedy)
    if any(name.startswith(("unicam", "rp1-cfe")) for name in nodes.values()):
        try:
            devices.check_pi_camera()
        except SourceError as error:
            reason, _, remedy = str(error).partition("; ")
            return Finding("camera", False, f"{seen}; {reason}", remedy)
    return Finding("camera", True, seen, "")


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not os.access(path, os.F_OK):  # Path.exists raises where we may not look
        path = path.parent
    return path.resolve()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
