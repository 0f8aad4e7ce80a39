"""Install a bundle on a device: check the device, send program and bundle, install, test, and only then switch.

    probe → send → install.sh → edge doctor --bundle → edge init

Each step can be repeated: if the connection breaks, the old bundle stays in use, and the same command continues. `edge
init` switches to the new bundle in one transaction, after its golden pictures gave the right embeddings there.

Source: the order of Mender's and RAUC's updates: install beside the old version, check, then switch.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.answers import Finding
from edge.bundle import archive
from export.deploy import own_wheel, wheels
from export.deploy.device import DeployError, Device, Tell, check, look
from export.deploy.ssh import Done, Remote, RemoteError

_STAGE = ".cache/edge-transfer"


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
            remote.send(wheels.download(program, folder / "wheels", device, runtimes), f"{stage}/wheels", tell)
        else:
            sent.append(program)
        remote.send([*sent, path], stage, tell)
        # a bundle of one format must not meet a runtime of the other
        words = runtimes[:1] if len(formats) == 1 else ()
        done = remote.run(
            *device.as_root, "bash", f"{stage}/install.sh", *words, hear=lambda line: _pass_on(line, tell)
        )
        if done.code:
            raise DeployError("device-failed", f"{host}: {done.why}")
        result = _exchange(remote, device, f"{stage}/{path.name}", path.name, tell)
        remote.run("rm", "-rf", "--", _STAGE)
    return result


def _exchange(remote: Remote, device: Device, staged: str, name: str, tell: Tell) -> Deployed:
    """Test the bundle on the device and switch to it; if the test fails, say why and keep the old one."""
    host = remote.host
    program = (*device.as_owner, f"{device.base}/bin/edge", "--home", device.home)
    path = staged
    if device.service_user:  # who does not see into our folder
        path = f"{device.home}/{name}"
        done = remote.run(*device.as_root, "install", "-o", "edge", "-m", "600", "--", staged, path)
        if done.code:
            raise DeployError("device-failed", f"{host}: {done.why}")
    try:
        done = remote.run(*program, "doctor", "--bundle", path, "--json")
        findings = _findings(host, done)
        bad = [finding for finding in findings if not finding.ok]
        refused = [finding for finding in bad if finding.check.startswith("new ")]
        if refused:
            raise DeployError(
                "device-refuses-bundle", f"{host} refuses {name}: {refused[0].seen}; the previous bundle stays in use"
            )
        tell(next((f.seen for f in findings if f.check == "new golden"), "tested there"))
        done = remote.run(*program, "init", path, "--json")
        if done.code:
            raise DeployError(
                "device-refuses-bundle", f"{host} refuses {name}: {done.why}; the previous bundle stays in use"
            )
    finally:
        if path != staged:
            try:
                remote.run(*device.as_root, "rm", "-f", "--", path)
            except RemoteError:
                tell(f"{path} was left on {host}; the next deploy removes it")
    warnings = tuple(finding for finding in bad if finding.check not in ("bundle", "golden"))  # of the old one
    return Deployed(device.home, done.json(), warnings)


def _findings(host: str, done: Done) -> list[Finding]:
    try:
        return [Finding(**finding) for finding in done.json()]
    except (ValueError, TypeError):
        raise DeployError(
            "device-failed",
            f"{host}: edge doctor gave no answer there ({done.why}); the previous bundle stays in use",
        ) from None


def _pass_on(line: str, tell: Tell) -> None:
    """Pass on the output of install.sh, except its advice about the next step."""
    if not line.startswith(("next: ", "     ")):
        tell(line)
