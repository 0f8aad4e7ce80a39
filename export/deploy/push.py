"""Install a bundle on a device: check the device, send program and bundle, install, test, and only then switch.

    probe → send → install.sh → edge doctor --bundle → edge init

Each step can be repeated: if the connection breaks, the old bundle stays in use, and the same command continues. `edge
init` switches to the new bundle in one transaction, after its golden pictures gave the right embeddings there.

Source: the order of Mender's and RAUC's updates: install beside the old version, check, then switch.
"""

import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge
from edge.answers import Finding
from edge.bundle import archive
from edge.errors import EdgeError
from edge.network.backbone import RUNTIMES
from export.deploy import own_wheel, probe, wheels
from export.deploy.ssh import Remote, RemoteError

SPACE = 500_000_000  # bytes that an environment, and the one before, take
_STAGE = ".cache/edge-transfer"
_DAY = 86_400
_PACKAGES = {runtime.extra: runtime.package for runtime in RUNTIMES}
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


@dataclass(frozen=True)
class Deployed:
    """The bundle now in use on the device, and other problems that `edge doctor` found there."""

    home: str
    status: dict[str, Any]  # as `edge status --json`
    warnings: tuple[Finding, ...]


def deploy(path: Path, host: str, offline: bool, tell: Tell) -> Deployed:
    """Install a bundle on a device.

    Args:
        host: `[USER@]HOST`, as for ssh.
        offline: send all wheels, so that the device needs no internet access.
        tell: called with a line for each step.

    Raises:
        BundleError: the bundle is damaged; nothing was sent.
        RemoteError: the device cannot be reached, or the connection broke; the same command continues.
        DeployError: the device cannot take the bundle, or its test there failed; the previous one stays in use.
    """
    opened = archive.read(path)
    opened.verify()
    formats = {model.format for model in opened.manifest.models}
    with ExitStack() as stack:
        remote = stack.enter_context(Remote(host))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        device = look(remote)
        runtimes = check(device, host, formats, path.stat().st_size, offline, tell)
        program = own_wheel.pack(folder)
        stage = f"{_STAGE}/{'offline' if offline else 'online'}"
        sent = [own_wheel.device_scripts() / "install.sh"]
        if offline:
            tell(f"gathering the wheels for Python {device.python[0]}.{device.python[1]} on {device.architecture}")
            remote.send(_wheels(program, folder, device, runtimes), f"{stage}/wheels", tell)
        else:
            sent.append(program)
        remote.send([*sent, path], stage, tell)
        # a bundle of one format must not meet a runtime of the other
        words = runtimes[:1] if len(formats) == 1 else ()
        done = remote.run(
            *device.as_root, "bash", f"{stage}/install.sh", *words, hear=lambda line: _pass_on(line, tell)
        )
        if done.code:
            raise DeployError("device-failed", f"{host}: {last_line(done.err, done.out)}")
        result = _exchange(remote, device, f"{stage}/{path.name}", path.name, tell)
        remote.run("rm", "-rf", "--", _STAGE)
    return result


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
        told = json.loads(done.out.splitlines()[-1])
        return Device(**{**told, "python": tuple(told["python"]), "extras": tuple(told["extras"])})
    except (IndexError, ValueError, TypeError, KeyError):
        raise DeployError(
            "device-failed", f"{remote.host} gave no information about itself: {last_line(done.err, done.out)}"
        ) from None


def _wheels(program: Path, folder: Path, device: Device, runtimes: Sequence[str]) -> list[Path]:
    names = [name for name in runtimes if name != "tflite-runtime"] or ["tflite-runtime"]
    limits = ["numpy<2"] if device.numpy == 1 or "tflite-runtime" in names else []
    packages = [*limits, *[_PACKAGES[name] for name in names]]
    minor = device.libc.partition(".")[2].partition(".")[0]
    (folder / "wheels").mkdir()
    return wheels.download(
        program,
        folder / "wheels",
        [*names, *device.extras],
        packages,
        device.architecture,
        device.python,
        int(minor) if minor.isdigit() else 17,
    )


def _exchange(remote: Remote, device: Device, staged: str, name: str, tell: Tell) -> Deployed:
    """Test the bundle on the device and switch to it; if the test fails, say why and keep the old one."""
    host = remote.host
    program = (*device.as_owner, f"{device.base}/bin/edge", "--home", device.home)
    path = staged
    if device.service_user:  # who does not see into our folder
        path = f"{device.home}/{name}"
        done = remote.run(*device.as_root, "install", "-o", "edge", "-m", "600", "--", staged, path)
        if done.code:
            raise DeployError("device-failed", f"{host}: {last_line(done.err, done.out)}")
    try:
        done = remote.run(*program, "doctor", "--bundle", path, "--json")
        findings = _findings(host, done.out, done.err)
        bad = [finding for finding in findings if not finding.ok]
        refused = [finding for finding in bad if finding.check.startswith("new ")]
        if refused:
            raise DeployError(
                "device-refuses-bundle", f"{host} refuses {name}: {refused[0].seen}; the previous bundle stays in use"
            )
        tell(next((f.seen for f in findings if f.check == "new golden"), "tested there"))
        done = remote.run(*program, "init", path, "--json")
        if done.code:
            why = last_line(done.err, done.out).removeprefix("error: ")
            raise DeployError(
                "device-refuses-bundle", f"{host} refuses {name}: {why}; the previous bundle stays in use"
            )
    finally:
        if path != staged:
            try:
                remote.run(*device.as_root, "rm", "-f", "--", path)
            except RemoteError:
                tell(f"{path} was left on {host}; the next deploy removes it")
    warnings = tuple(finding for finding in bad if finding.check not in ("bundle", "golden"))  # of the old one
    return Deployed(device.home, json.loads(done.out.splitlines()[-1]), warnings)


def _findings(host: str, out: str, err: str) -> list[Finding]:
    try:
        return [Finding(**finding) for finding in json.loads(out.splitlines()[-1])]
    except (IndexError, ValueError, TypeError):
        raise DeployError(
            "device-failed",
            f"{host}: edge doctor gave no answer there ({last_line(err, out)}); the previous bundle stays in use",
        ) from None


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _pass_on(line: str, tell: Tell) -> None:
    """Pass on the output of install.sh, except its advice about the next step."""
    if not line.startswith(("next: ", "     ")):
        tell(line)


def last_line(*said: str) -> str:
    """Return the last line of output, for an error's text."""
    lines = [line for text in said for line in text.strip().splitlines()[-1:]]
    return (lines or ["no reason was given"])[0].removeprefix("error: ")
