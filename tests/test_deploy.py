"""`edge-export deploy` over a real sshd on loopback, into a throwaway copy of this machine."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import archive
from edge.errors import EdgeError
from edge.network.backbone import RUNTIMES, find_runtime, open_backbone
from export.deploy import own_wheel, wheels
from export.deploy.device import DeployError, Device, check, look
from export.deploy.push import deploy
from export.deploy.ssh import Remote, RemoteError
from tests.refused import refused

from .box import Box, missing
from .edge.conftest import INFO, MODELS, write_bundle, write_pictures
from .kit import make_kit, need_same_python

pytestmark = pytest.mark.kills

SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/test_key
PidFile none
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
StrictModes no
AuthorizedKeysFile /etc/ssh/test_authorized
"""
CONFIG = """
Host device
    HostName 127.0.0.1
    Port {port}
    User root
    IdentityFile {key}
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""


class Wire:
    """A cable to a port that can be pulled: `left` is how many bytes still get through to the device; None: all."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.left: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink, source is near), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.left is not None:
                    self.left -= len(data) if counted else 0
                    if self.left <= 0:
                        break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Machine:
    """A throwaway machine with a running sshd; `device` is its name for ssh."""

    def __init__(self, box: Box, folder: Path) -> None:
        self.box = box
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        keys = folder / "ssh"
        keys.mkdir()
        for name in ("test_key", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
        shutil.copy(keys / "user.pub", keys / "test_authorized")
        (keys / "sshd").write_text(SSHD.format(port=port))
        for name in ("test_key", "test_authorized", "sshd"):
            box.put(keys / name, "/etc/ssh")
        box.run("mkdir", "-p", "/run/sshd")
        self._sshd = subprocess.Popen(
            box.command("/usr/sbin/sshd", "-D", "-f", "/etc/ssh/sshd"),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.wire = Wire(port)
        (folder / "config").write_text(CONFIG.format(port=self.wire.port, key=keys / "user"))
        self.bin = folder / "bin"
        self.bin.mkdir()
        ssh = self.bin / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "config"} "$@"\n')
        ssh.chmod(0o755)
        for _ in range(3000):
            if subprocess.run([ssh, "device", "true"], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise OSError("sshd does not answer")

    def close(self) -> None:
        self.wire.close()
        self._sshd.kill()
        self._sshd.wait()


@pytest.fixture
def machine(tmp_path: Path, kit: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    if os.getuid() != 0 or missing("unshare", "nsenter", "systemd-sysusers"):
        pytest.skip("a throwaway machine needs root, and unshare, nsenter and systemd-sysusers")
    if why := missing("sshd", "ssh", "ssh-keygen"):
        pytest.skip(why)
    (tmp_path / "box").mkdir()
    try:
        box = Box(tmp_path / "box")
    except OSError as error:
        pytest.skip(f"no throwaway machine can be made: {error}")
    with box:
        made = Machine(box, tmp_path)
        monkeypatch.setenv("PATH", str(made.bin), prepend=os.pathsep)
        # pip finds here what it would find in an index: on this side, and only here
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(kit / "wheels"))
        monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_same_python()
    if not all(runtime.installed for runtime in RUNTIMES[:2]):
        pytest.skip("ONNX Runtime and LiteRT are not both here to be packed")
    return make_kit(tmp_path_factory.mktemp("deploy") / "kit", "ai-edge-litert", "onnxruntime")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "photos", {"brick": 10, "grass": 10})


def make(folder: Path, name: str, photos: Path) -> Path:
    """A bundle of the tiny network."""
    runtime = find_runtime({"onnx", "tflite"})
    network = open_backbone(MODELS[runtime.format].read_bytes(), runtime, threads=1)
    return write_bundle(folder / name, photos, network, INFO)


def with_wrong_golden(path: Path, target: Path) -> Path:
    """The same bundle, whole and with every hash right, whose network no longer answers as the workstation's did."""
    opened = archive.read(path)
    golden = opened.golden()
    wrong = archive.Golden(golden.images, np.roll(golden.embeddings, 1, axis=1))
    models = {model.file: opened.entry(model.file) for model in opened.manifest.models}
    archive.write(target, opened.manifest, models, wrong, opened.examples())
    return target


def status(machine: Machine) -> dict[str, object]:
    done = machine.box.run("runuser", "-u", "edge", "--", "edge", "--home", "/var/lib/edge", "status", "--json")
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def silent(_line: str) -> None:
    pass


def test_first_install_then_bundles_better_and_worse(machine: Machine, tmp_path: Path, photos: Path) -> None:
    first = make(tmp_path, "first.edge", photos)
    result = deploy(first, "device", True, silent)
    assert result.status["bundle"] == "first"
    assert status(machine)["bundle"] == "first"
    assert machine.box.run("ls", ".cache/edge-transfer").returncode != 0, "nothing is left lying about"
    assert any(finding.check == "storage" for finding in result.warnings), "the throwaway machine lies on an overlay"

    # taught there, it goes on under the next bundle
    write_pictures(tmp_path / "new", {"coins": 6})
    machine.box.put(tmp_path / "new", "/tmp")
    edge = ("runuser", "-u", "edge", "--", "edge", "--home", "/var/lib/edge")
    assert machine.box.run(*edge, "teach", "coins", "/tmp/new/coins").returncode == 0
    second = make(tmp_path, "second.edge", write_pictures(tmp_path / "photos", {"gravel": 10}))
    environment = machine.box.run("readlink", "/opt/edge-transfer/bin").stdout
    command = [sys.executable, "-m", "export", "deploy", str(second), "device"]  # not --offline: nothing is to install
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "device uses second: generation 2, 6 examples taught there\n"
    assert machine.box.run("readlink", "/opt/edge-transfer/bin").stdout == environment
    serving = status(machine)
    assert serving["bundle"] == "second"

    wrong = with_wrong_golden(second, tmp_path / "wrong.edge")
    done = subprocess.run([*command[:4], str(wrong), "device", "--json"], capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, "device-refuses-bundle")
    assert "error: device refuses wrong.edge: backbone." in done.stderr
    assert "at most 1e-03 is allowed" in done.stderr
    assert "the previous bundle stays in use" in done.stderr.splitlines()[-1]
    assert status(machine) == serving
    assert machine.box.run("sh", "-c", "ls /var/lib/edge/*.edge").stdout.count("\n") == 1

    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "corrupt.edge").write_bytes(data)
    done = subprocess.run([*command[:4], str(tmp_path / "corrupt.edge"), "device"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, "refused here, before anything was sent"
    assert status(machine) == serving


def test_cut_off_half_way_the_same_command_completes(machine: Machine, tmp_path: Path, photos: Path) -> None:
    made = make(tmp_path, "first.edge", photos)
    sent: list[str] = []
    for moment in ("sending numpy", "making an environment", "trying the runtime"):

        def cut(line: str, moment: str = moment) -> None:
            sent.append(line)
            if line.startswith(moment):  # within the file, or at once
                machine.wire.left = 1_000_000 if moment == "sending numpy" else 0

        with pytest.raises(RemoteError):
            deploy(made, "device", True, cut)
        machine.wire.left = None
        assert any(line.startswith(moment) for line in sent)
        assert machine.box.run("ls", "/var/lib/edge/learner.db").returncode != 0
    result = deploy(made, "device", True, sent.append)
    assert result.status["bundle"] == "first"
    assert status(machine)["bundle"] == "first"
    numpy = [line for line in sent if line.startswith("sending numpy")]
    assert len(numpy) == 2, "once cut off, once whole, and never again"


def test_without_root_it_is_installed_for_the_account(machine: Machine, tmp_path: Path, photos: Path) -> None:
    machine.box.run("useradd", "--create-home", "--password", "*", "--shell", "/bin/bash", "pi")
    said: list[str] = []
    result = deploy(make(tmp_path, "first.edge", photos), "pi@device", True, said.append)
    assert result.home == "/home/pi/.local/share/edge"
    assert any("own account" in line for line in said)
    assert machine.box.run(".local/bin/edge", "status", user="pi").stdout.startswith("home ")
    assert machine.box.run("ls", "/opt/edge-transfer").returncode != 0


def test_what_is_no_host_is_refused_before_ssh_sees_it(tmp_path: Path) -> None:
    for host in (
        "-oProxyCommand=touch x",
        "-v",
        "user@-oProxyCommand=x",
        "",
        "a b",
        "a;b",
        "$(x)@host",
        "a@b@c",
        "h\nx",
    ):
        with refused("address-invalid", RemoteError, "[USER@]HOST"):
            Remote(host)
    if shutil.which("ssh"):
        for host in ("pi@kitchen.local", "192.168.1.7", "[fe80::1%eth0]", "device", "a.b+c@pi-4"):
            with Remote(host) as remote:
                assert remote.host == host


PI = Device(
    python=(3, 11),
    bits=64,
    machine="aarch64",
    libc="2.36",
    free=20_000_000_000,
    time=0.0,
    root=False,
    sudo=True,
    for_machine=False,
    installed="",
    base="/opt/edge-transfer",
    home="/var/lib/edge",
    service_user=True,
    numpy=1,
    extras=(),
)


def test_a_device_gets_the_runtimes_that_exist_for_it() -> None:
    def runtimes(formats: str = "onnx tflite", **differs: Any) -> tuple[str, ...]:
        return check(replace(PI, time=time.time(), **differs), "pi", set(formats.split()), 10**7, False, silent)

    assert runtimes() == ("tflite", "onnx", "tflite-runtime")
    assert runtimes(python=(3, 13)) == ("tflite", "onnx")
    assert runtimes("onnx") == ("onnx",)
    assert runtimes(bits=32) == ("tflite-runtime",), "a 32-bit system on a 64-bit kernel"
    assert runtimes(bits=32, machine="armv7l") == ("tflite-runtime",)


@pytest.mark.parametrize(
    ("differs", "reason"),
    [
        ({"python": (3, 9)}, "3.11"),
        (
            {"bits": 32, "python": (3, 13)},
            "Python 3.13 on 32-bit armv7l",
        ),
        ({"bits": 32, "machine": "armv6l"}, "armv6l"),
        ({"free": 300_000_000}, "300 MB"),
        ({"sudo": False, "for_machine": True}, "root"),
        ({"installed": "99.0"}, "99.0"),
        ({"time": 1.6e9}, "days"),
    ],
)
def test_a_device_that_cannot_take_it_is_told_why(differs: dict[str, Any], reason: str) -> None:
    with refused("device-unsuitable", DeployError, reason):
        check(replace(PI, **{"time": time.time(), **differs}), "pi", {"onnx", "tflite"}, 10_000_000, False, silent)


def test_words_arrive_there_exactly(machine: Machine) -> None:
    words = ["a b", "$HOME", "'", '"', "*", ";id", "-n", "ü\n", ""]
    with Remote("device") as remote:
        done = remote.run("/usr/bin/python3", "-c", "import sys; print(ascii(sys.argv[1:]))", *words)
    assert done.out.strip() == ascii(words)


def test_an_account_that_may_run_nothing_is_told_as_the_device_tells_it(machine: Machine) -> None:
    machine.box.run("useradd", "--create-home", "--password", "*", "--shell", "/usr/sbin/nologin", "shut")
    with refused("device-failed", DeployError, "shut@device", "not available"), Remote("shut@device") as remote:
        look(remote)


def test_a_host_that_does_not_answer_is_one_line(machine: Machine, tmp_path: Path, photos: Path) -> None:
    machine.close()
    command = [sys.executable, "-m", "export", "deploy", str(make(tmp_path, "a.edge", photos)), "device"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: device: ")


def test_the_program_packs_itself_alike_each_time(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, again = own_wheel.pack(tmp_path), own_wheel.pack(tmp_path / "again")
    assert first.read_bytes() == again.read_bytes()
    names = zipfile.ZipFile(first).namelist()
    assert {"edge/cli/app.py", "edge/device_scripts/install.sh", "edge/device_scripts/edge-watch.service"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize(("machine_name", "facts"), [("aarch64", []), ("armv7l", ["--offline"])])
def test_wheels_that_no_index_has_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine_name: str, facts: list[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with refused("wheels-missing", EdgeError, "3.11", machine_name, "PIP_EXTRA_INDEX_URL", *facts):
        device = replace(PI, machine=machine_name, libc="2.36")
        wheels.download(own_wheel.pack(tmp_path), tmp_path / "wheels", device, ["onnx"])
