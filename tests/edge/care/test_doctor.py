"""`doctor` survives what it looks for, names it, and says what to do."""

import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.answers import Finding
from edge.care import machine
from edge.care.doctor import examine
from edge.codes import CODES
from edge.home.store import open_store
from edge.learner import Learner
from edge.network.backbone import RUNTIMES, Backbone

ROOT = Path(__file__).parents[3]
DIES = {
    "SIGILL": "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n",
    "SIGSEGV": "import ctypes\nctypes.string_at(0)\n",
}


def ask(*args: object, path: Path | None = None, **options: Any) -> Mapping[str, Finding]:
    """Run `edge ARGS doctor --json`, with a folder of modules before all others; return the findings by check."""
    paths = os.pathsep.join(map(str, [*([path] if path else []), ROOT]))
    command = [sys.executable, "-m", "edge", *map(str, args), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, **options)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    findings = [Finding(**finding) for finding in json.loads(done.stdout)]
    assert done.returncode == (0 if all(finding.ok for finding in findings) else 1)
    assert all(finding.remedy for finding in findings if not finding.ok)
    return {finding.check: finding for finding in findings}


@pytest.fixture
def home(tmp_path: Path, tiny_bundle: Path) -> Path:
    Learner.init(tmp_path / "home", tiny_bundle).close()
    return tmp_path / "home"


@pytest.mark.parametrize("signal", sorted(DIES))
def test_a_runtime_that_kills_its_process_is_named_and_the_others_are_still_tried(
    signal: str, home: Path, tmp_path: Path, network: Backbone
) -> None:
    runtime = next(r for r in RUNTIMES if r.name != network.runtime)
    package = tmp_path / "modules" / runtime.module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(DIES[signal])
    (package / "interpreter.py").touch()
    found = ask("--home", home, "doctor", path=tmp_path / "modules")
    assert not found[runtime.name].ok
    assert found[runtime.name].seen == f"crashed with {signal}; its wheel was built for another processor"
    assert found[network.runtime].ok
    assert "with " + network.runtime in found["golden"].seen
    assert found["golden"].ok


@pytest.mark.parametrize("signal", sorted(DIES))
def test_a_runtime_that_loads_and_dies_at_work_is_named(
    signal: str, home: Path, tmp_path: Path, network: Backbone
) -> None:
    runtime = next(r for r in RUNTIMES if r.name == network.runtime)
    package = tmp_path / "modules" / runtime.module
    package.mkdir(parents=True)
    body = "".join(f"    {line}\n" for line in DIES[signal].splitlines())
    (package / "__init__.py").write_text(f"def SessionOptions():\n{body}")
    (package / "interpreter.py").write_text(f"def Interpreter(**_):\n{body}")
    found = ask("--home", home, "doctor", path=tmp_path / "modules")
    assert found[runtime.name].ok, "it loads"
    assert not found["golden"].ok
    assert f"crashed with {signal}" in found["golden"].seen


def test_a_bundle_is_proved_before_it_is_adopted(home: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    before = sorted((f.name, f.stat().st_mtime_ns) for f in home.glob("*.edge"))
    found = ask("--home", home, "doctor", "--bundle", tiny_bundle)
    assert found["new bundle"].ok
    assert found["new golden"].ok
    data = bytearray(tiny_bundle.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.edge").write_bytes(data)
    found = ask("--home", home, "doctor", "--bundle", tmp_path / "bad.edge")
    assert not found["new bundle"].ok
    assert "new golden" not in found
    assert found["golden"].ok, "what serves is as it was"
    assert sorted((f.name, f.stat().st_mtime_ns) for f in home.glob("*.edge")) == before


def test_a_bundle_is_proved_where_there_is_no_home_yet(tiny_bundle: Path, tmp_path: Path) -> None:
    found = ask("--home", tmp_path / "none", "doctor", "--bundle", tiny_bundle)
    assert found["new golden"].ok
    assert "home" not in found
    assert not (tmp_path / "none").exists()


def test_a_home_without_a_bundle_is_to_be_given_one_and_not_restored(tmp_path: Path) -> None:
    open_store(tmp_path / "home", create=True).close()  # as `init` leaves it when it is interrupted
    (found,) = (finding for finding in examine(tmp_path / "home") if finding.check == "home")
    assert not found.ok
    assert "has no bundle yet" in found.seen
    assert found.remedy == CODES["home-missing"].remedy


def test_a_disk_that_takes_nothing_is_an_alarm(home: Path) -> None:
    found = ask(
        "--home", home, "doctor", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )  # fmt: skip
    assert not found["sync"].ok
    assert "ALL LEARNING IS LOST" in found["sync"].seen
    assert not list(home.glob(".doctor*"))


def test_a_home_in_memory_is_an_alarm(tiny_bundle: Path) -> None:
    shm = Path("/dev/shm")
    if not any(line.split()[1:3] == [str(shm), "tmpfs"] for line in Path("/proc/mounts").read_text().splitlines()):
        pytest.skip("/dev/shm is no tmpfs")
    home = shm / f"edge-doctor-{os.getpid()}"
    try:
        command = [sys.executable, "-m", "edge", "--home", str(home), "init", str(tiny_bundle)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert done.returncode == 0
        assert "ALL LEARNING IS LOST AT THE NEXT REBOOT" in done.stderr, "init says it too"
        found = ask("--home", home, "doctor")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    assert not found["storage"].ok
    assert "ALL LEARNING IS LOST AT THE NEXT REBOOT" in found["storage"].seen


MOUNTS = {
    "overlay": ("overlay", "rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay", "raspi-config"),
    "tmpfs": ("tmpfs", "rw", "--home"),
    "read-only": ("ext4", "ro,noatime", "remount"),
}


@pytest.mark.parametrize("case", sorted(MOUNTS))
def test_a_root_that_forgets_is_an_alarm(case: str, tmp_path: Path) -> None:
    kind, options, remedy = MOUNTS[case]
    (tmp_path / "proc").mkdir()
    mounts = tmp_path / "proc" / "mounts"
    mounts.write_text(f"/dev/root / ext4 rw 0 0\nroot / {kind} {options} 0 0\n/dev/sda1 /mnt/a\\040disk ext4 rw 0 0\n")
    found = machine.storage(tmp_path / "home", tmp_path)
    assert not found.ok
    assert remedy in found.remedy
    mounts.write_text(mounts.read_text() + f"/dev/sda1 {tmp_path} ext4 rw 0 0\n")
    assert machine.storage(tmp_path / "home", tmp_path).ok, "the home's own disk counts, not the root"


def tell(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def look(root: Path) -> Mapping[str, Finding]:
    return {finding.check: finding for finding in machine.examine(root / "home", root)}


def test_heat_and_memory_are_read_where_the_kernel_tells_them(tmp_path: Path) -> None:
    tell(tmp_path, sys__class__thermal__thermal_zone0__type="cpu-thermal\n")
    tell(tmp_path, sys__class__thermal__thermal_zone0__temp="48312\n")
    tell(tmp_path, proc__meminfo="MemTotal:  437436 kB\nMemFree: 9 kB\nMemAvailable:  268000 kB\nHugePages_Total: 0\n")
    found = look(tmp_path)
    assert found["heat"] == found["heat"]._replace(ok=True, seen="48 °C")
    assert found["memory"] == found["memory"]._replace(ok=True, seen="274 of 448 MB free")
    tell(tmp_path, sys__class__thermal__thermal_zone0__temp="84000\n", proc__meminfo="MemAvailable: 50000 kB\n")
    found = look(tmp_path)
    assert not found["heat"].ok
    assert "fan" in found["heat"].remedy
    assert not found["memory"].ok


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("throttled=0x0", ""),
        ("throttled=0x50005", "too little voltage now"),
        ("throttled=0x50000", "too little voltage since the start"),
        ("throttled=0xe0008", "slowed down by heat now"),
        ("throttled=0x80000", "slowed down by heat since the start"),
    ],
)
def test_the_firmwares_word_on_power_is_heard(
    said: str, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "vcgencmd"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntest $1 = get_throttled && echo {said}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    found = look(tmp_path)["power"]
    assert found.ok == (not seen)
    assert seen in found.seen


def test_without_the_firmwares_program_the_kernels_alarm_counts(tmp_path: Path) -> None:
    assert "power" not in look(tmp_path)
    tell(tmp_path, sys__class__hwmon__hwmon1__name="rpi_volt\n", sys__class__hwmon__hwmon1__in0_lcrit_alarm="1\n")
    assert not look(tmp_path)["power"].ok
    tell(tmp_path, sys__class__hwmon__hwmon1__in0_lcrit_alarm="0\n")
    assert look(tmp_path)["power"].ok


def test_cameras_are_named_and_what_hinders_their_use(tmp_path: Path) -> None:
    tell(tmp_path, sys__class__video4linux__video10__name="bcm2835-codec-decode\n", dev__video10="")
    assert look(tmp_path)["camera"].seen.startswith("none found")
    tell(tmp_path, sys__class__video4linux__video0__name="UVC Camera (046d:0825)\n", dev__video0="")
    found = look(tmp_path)["camera"]
    assert found.ok
    assert found.seen.startswith("UVC Camera (046d:0825)")
    (tmp_path / "dev" / "video0").unlink()
    found = look(tmp_path)["camera"]
    assert not found.ok
    assert "usermod" in found.remedy


def test_a_pi_camera_that_nothing_can_read_is_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("picamera2") is not None:
        pytest.skip("picamera2 is here")
    monkeypatch.setenv("PATH", str(tmp_path))  # without rpicam-vid
    tell(tmp_path, sys__class__video4linux__video0__name="unicam-image\n", dev__video0="")
    found = look(tmp_path)["camera"]
    assert not found.ok
    assert "picamera2 cannot be loaded" in found.seen
    assert "sudo apt install" in found.remedy


def test_a_clock_behind_what_was_stored_is_slow(home: Path) -> None:
    ahead = time.time() + 86_400
    os.utime(home / "learner.db", (ahead, ahead))
    found = {finding.check: finding for finding in machine.examine(home)}["clock"]
    assert not found.ok
    assert "slow" in found.seen
    assert "timedatectl" in found.remedy
