"""What a device is like, as `export.deploy.probe` tells it, and whether it can take a bundle."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import edge
from edge.errors import EdgeError
from edge.network.backbone import RUNTIMES
from export.deploy import probe
from export.deploy.ssh import Remote

SPACE = 500_000_000  # bytes that an environment, and the one before, take
_DAY = 86_400
Tell = Callable[[str], None]


class DeployError(EdgeError):
    """A device cannot take the bundle, or refused it; the previous one stays in use."""


@dataclass(frozen=True)
class Device:
    """The answer of `export.deploy.probe`."""

    python: tuple[int, int]
    bits: int
    machine: str
    libc: str
    free: int  # bytes
    time: float  # seconds since 1970
    root: bool
    sudo: bool
    for_machine: bool  # /opt/edge-transfer is there
    installed: str  # version of this program; "": none
    base: str
    home: str
    service_user: bool
    numpy: int  # the system's; 0: none
    extras: tuple[str, ...]

    @property
    def architecture(self) -> str:
        """The architecture as wheels name it: that of the system, as a 32-bit system may have a 64-bit kernel."""
        narrow = self.bits == 32 and self.machine == "aarch64"
        return "armv7l" if narrow else self.machine

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that exist for this device, in the order in which `install.sh` tries them."""
        wide = ("tflite", "onnx") if self.bits == 64 else ()
        old = ("tflite-runtime",) if self.python < (3, 12) and self.architecture != "armv6l" else ()
        return wide + old

    @property
    def as_root(self) -> tuple[str, ...]:
        """The prefix of a command that root must run."""
        return () if self.root or not self.sudo else ("sudo", "-n")

    @property
    def as_owner(self) -> tuple[str, ...]:
        """The prefix of a command that the home's owner must run."""
        if not self.service_user:
            return self.as_root
        return ("runuser", "-u", "edge", "--") if self.root else ("sudo", "-n", "-u", "edge")


def look(remote: Remote) -> Device:
    """Return what a machine is like, and what of this program is there.

    Raises:
        RemoteError: the connection cannot be made, or broke.
        DeployError: it has no Python, or gave no answer.
    """
    find = 'for p in /usr/bin/python3 "$(command -v python3)"; do [ -x "$p" ] && exec "$p" -; done; exit 127'
    done = remote.run("sh", "-c", find, send=Path(probe.__file__).read_bytes())
    if done.code == 127:
        raise DeployError(
            "device-unsuitable", f"{remote.host} has no python3; run there: sudo apt install python3 python3-venv"
        )
    try:
        told = done.json()
        return Device(**{**told, "python": tuple(told["python"]), "extras": tuple(told["extras"])})
    except (ValueError, TypeError, KeyError):
        raise DeployError("device-failed", f"{remote.host} gave no information about itself: {done.why}") from None


def check(device: Device, host: str, formats: set[str], size: int, offline: bool, tell: Tell) -> tuple[str, ...]:
    """Refuse a device that cannot take a bundle.

    Args:
        formats: the formats of the bundle's models.
        size: the size of the bundle in bytes.
        offline: whether all wheels are sent from here.

    Returns:
        The runtimes that work there for the bundle, the best first.

    Raises:
        DeployError: the device cannot take the bundle; the message says why, and what to do.
    """
    version = "{}.{}".format(*device.python)
    tell(f"{host}: {device.architecture}, Python {version}, {device.free / 1e9:.1f} GB free")
    if device.python < (3, 11):
        raise DeployError(
            "device-unsuitable",
            f"{host} has Python {version}, but 3.11 or later is needed; install a newer Raspberry Pi OS there",
        )
    if device.for_machine and not device.sudo:
        raise DeployError(
            "device-unsuitable",
            f"edge-transfer is installed for the whole machine on {host}, which root alone can change; "
            "deploy to root@…, or let this user run sudo without a password",
        )
    if _parts(device.installed) > _parts(edge.__version__):
        raise DeployError(
            "device-unsuitable",
            f"{host} has edge-transfer {device.installed}, newer than the {edge.__version__} here; "
            "upgrade it here, as the older one may not read what that wrote",
        )
    kinds = {runtime.extra: runtime.format for runtime in RUNTIMES}
    runtimes = tuple(name for name in device.runtimes if kinds[name] in formats)
    if not runtimes:
        raise DeployError(
            "device-unsuitable",
            f"there is no runtime for {' or '.join(sorted(formats))} models with Python {version} on {device.bits}-bit "
            f"{device.architecture}; install the 64-bit system there, or build the bundle in both formats",
        )
    needed = SPACE + 3 * size
    if device.free < needed:
        raise DeployError(
            "device-unsuitable",
            f"{host} has {device.free / 1e6:.0f} MB free, but {needed / 1e6:.0f} MB are needed; free some space there",
        )
    off = device.time - time.time()
    if abs(off) > _DAY:
        seen = f"the clock of {host} is {abs(off) / _DAY:.0f} days {'ahead' if off > 0 else 'behind'}"
        if not offline:
            raise DeployError(
                "device-unsuitable",
                f"{seen}, so https does not work there; set it (timedatectl), or use --offline",
            )
        tell(f"warning: {seen}; examples taught there get wrong dates")
    if not device.sudo:
        tell(
            "this user cannot become root without a password: installing for the user's own account, without a service"
        )
    return runtimes


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
