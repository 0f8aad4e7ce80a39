"""install.sh, run for real in a throwaway copy of this machine, offline: it ends well, whenever it was interrupted."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.network.backbone import RUNTIMES
from export.deploy.own_wheel import device_scripts

from .box import Box, missing
from .kit import fake_wheel, make_kit, need_same_python

pytestmark = pytest.mark.kills


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_same_python()
    if not all(runtime.installed for runtime in RUNTIMES[:2]):
        pytest.skip("ONNX Runtime and LiteRT are not both here to be packed")
    return make_kit(tmp_path_factory.mktemp("install") / "kit", "ai-edge-litert", "onnxruntime")


@pytest.fixture
def box(tmp_path: Path, kit: Path) -> Iterator[Box]:
    if os.getuid() != 0 or missing("unshare", "nsenter", "systemd-sysusers"):
        pytest.skip("a throwaway machine needs root, and unshare, nsenter and systemd-sysusers")
    place = tmp_path / "box"
    place.mkdir()
    try:
        made = Box(place)
    except OSError as error:
        pytest.skip(f"no throwaway machine can be made: {error}")
    with made:
        made.put(kit, "/root")
        yield made


def install(box: Box, *words: str, kit: str = "kit", user: str = "root") -> str:
    done = box.run("bash", f"{kit}/install.sh", *words, user=user)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def environments(box: Box) -> set[str]:
    return set(box.run("sh", "-c", "echo /opt/edge-transfer/env.*").stdout.split())


def test_shellcheck_has_nothing_to_say() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not here")
    done = subprocess.run(["shellcheck", device_scripts() / "install.sh"], capture_output=True, text=True)
    assert done.stdout == ""


def test_wrong_words_are_refused_before_anything_is_touched(box: Box) -> None:
    done = box.run("bash", "kit/install.sh", "tensorflow")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown word 'tensorflow'" in done.stderr
    assert box.run("test", "-e", "/opt/edge-transfer").returncode == 1


def test_a_pip_that_cannot_be_unpacked_is_told_in_one_line_and_leaves_nothing(box: Box) -> None:
    box.run("sh", "-c", "truncate --size 1000 kit/wheels/pip-*")
    done = box.run("bash", "kit/install.sh")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "pip-" in done.stderr
    assert "cannot be unpacked" in done.stderr
    assert environments(box) == {"/opt/edge-transfer/env.*"}, "the shell found none"


def test_a_fresh_machine_gets_a_working_edge_and_a_second_run_changes_nothing(box: Box, surfaces: Path) -> None:
    box.run("sh", "-c", "rm kit/wheels/pip-*")  # so that Python's own pip does it, as where nobody sent one
    assert "runtime tflite" in install(box)
    first = environments(box)
    again = install(box)
    assert "making" not in again
    assert environments(box) == first
    box.put(surfaces / "surfaces.edge", "/tmp")
    box.run("chmod", "644", "/tmp/surfaces.edge")
    edge = ("edge", "--home", "/var/lib/edge")
    done = box.run("runuser", "-u", "edge", "--", *edge, "init", "/tmp/surfaces.edge")
    assert "tested with litert" in done.stdout, done.stderr
    assert "video" in box.run("id", "-nG", "edge").stdout or box.run("getent", "group", "video").returncode != 0
    assert box.run("stat", "-c", "%U %a", "/var/lib/edge").stdout == "edge 700\n"
    box.run("useradd", "--create-home", "pi")
    done = box.run("edge", "--home", "/var/lib/edge", "status", user="pi")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "error: /var/lib/edge belongs to another user; run the command as that user: sudo -u '#" in done.stderr
    done = box.run("edge", "--home", "/var/lib/edge", "doctor", user="pi")
    assert "BAD sync: pi has no permission to write to /var/lib/edge" in done.stdout
    script = "/usr/local/share/bash-completion/completions/edge"
    tab = f"source {script}; COMP_WORDS=(edge te); COMP_CWORD=1; _edge_completion edge; echo ${{COMPREPLY[@]}}"
    assert box.run("bash", "-c", tab).stdout == "teach\n"
    units = box.run("ls", "/etc/systemd/system").stdout.split()
    assert {"edge-watch.service", "edge-serve.service", "edge-retrain.service", "edge-retrain.timer"} <= set(units)

    assert "kept /var/lib/edge" in install(box, "--uninstall")
    assert box.run("edge", "--version").returncode != 0
    assert box.run("ls", script).returncode != 0
    assert "edge-watch.service" not in box.run("ls", "/etc/systemd/system").stdout
    install(box)
    status = box.run("runuser", "-u", "edge", "--", *edge, "status").stdout
    assert "bundle      surfaces" in status, "what was taught is there again"
    install(box, "--purge")
    assert box.run("ls", "/var/lib/edge").returncode != 0
    assert box.run("id", "edge").returncode != 0
    assert install(box, "--purge"), "to remove what is removed is no error"


def test_killed_anywhere_what_served_goes_on_serving_and_the_next_run_completes(box: Box) -> None:
    install(box)
    served = box.run("readlink", "-f", "/opt/edge-transfer/bin").stdout
    for line in ("making an environment", "installing edge-transfer", "trying the runtime"):
        process = subprocess.Popen(
            box.command("bash", "kit/install.sh", "onnx"), stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        for said in process.stdout:
            if said.startswith(line):
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert box.run("readlink", "-f", "/opt/edge-transfer/bin").stdout == served
        assert box.run("edge", "--version").returncode == 0
    log = "mkdir -p /run/systemd/system; printf '#!/bin/sh\necho \"$*\" >>/tmp/asked\n' >/usr/local/bin/systemctl"
    box.run("sh", "-c", f"{log}; chmod +x /usr/local/bin/systemctl")
    assert "runtime onnx" in install(box, "onnx")
    asked = box.run("cat", "/tmp/asked").stdout
    assert "try-restart edge-watch.service edge-serve.service\n" in asked, "what runs moves to the new environment"
    assert len(environments(box)) == 2, "the one that serves, and the one before"
    assert box.run("edge", "--version").returncode == 0


def test_a_runtime_that_dies_here_is_passed_over(box: Box, tmp_path: Path) -> None:
    fake_wheel(
        tmp_path, "ai_edge_litert", "99", {
            "ai_edge_litert/__init__.py": "",
            "ai_edge_litert/interpreter.py": "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n",
        },
    )  # fmt: skip
    box.put(next(tmp_path.glob("*.whl")), "kit/wheels")
    assert "runtime onnx" in install(box)
    done = box.run("/opt/edge-transfer/bin/edge", "doctor", "--json")
    assert '"onnxruntime", "ok": true' in done.stdout
    assert "litert" not in done.stdout.replace("/opt", "")
    failed = box.run("bash", "kit/install.sh", "tflite")
    assert failed.returncode == 1
    assert "tflite: it crashes with signal 4, so its wheel was built for another processor" in failed.stderr
    assert '"onnxruntime", "ok": true' in box.run("edge", "doctor", "--json").stdout


def test_beside_a_numpy_of_the_systems_own_generation_picamera2_goes_on_loading(box: Box, tmp_path: Path) -> None:
    system = box.run("/usr/bin/python3", "-c", "import site; print(site.getsitepackages()[0])").stdout.strip()
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("__version__ = '1.24.2'\n")
    box.run("mkdir", "-p", system)
    box.put(tmp_path / "numpy", system)
    done = box.run("bash", "kit/install.sh")
    assert done.returncode == 1, "the wheels hold numpy 2 alone"
    assert "numpy<2" in done.stderr


def test_for_ones_own_account_nothing_but_the_account_is_touched(box: Box) -> None:
    box.run("useradd", "--create-home", "pi")
    box.run("cp", "-r", "kit", "/home/pi/kit")
    box.run("chown", "-R", "pi", "/home/pi/kit")
    install(box, user="pi")
    assert box.run(".local/bin/edge", "--version", user="pi").stdout.startswith("edge, version")
    assert box.run("ls", "/opt/edge-transfer").returncode != 0
    install(box, "--purge", user="pi")
    assert box.run("ls", "-A", ".local/bin", ".local/share", user="pi").stdout.split() == [
        ".local/bin:",
        ".local/share:",
    ]


def test_what_somebody_else_put_beside_ours_stays(box: Box) -> None:
    install(box)
    box.run("rm", "/usr/local/share/bash-completion/completions/edge")
    theirs = [
        "/opt/edge-transfer/notes.txt",
        "/usr/local/share/bash-completion/completions/edge",
        "/opt/edge-transfer/env.backup/photo.jpg",
        "/var/lib/edge/diary.txt",
        "/var/lib/edge/mine.edge",
        "/var/lib/edge/uncertain/uncertain-cat.jpg",
        "/etc/edge-transfer/other.conf",
    ]
    ours = [
        "/var/lib/edge/learner.db",
        "/var/lib/edge/0123456789abcdef.edge",
        "/var/lib/edge/uncertain/uncertain-20261124T100000.000000.jpg",
        "/var/lib/edge/uncertain/labelled/cat/uncertain-20261124T100000.0000000.png",
    ]
    for path in (*theirs, *ours):
        box.run("mkdir", "-p", str(Path(path).parent))
        box.run("sh", "-c", f"echo theirs > '{path}'")
    box.run("chmod", "750", "/var/lib/edge")
    install(box, "onnx")
    assert box.run("stat", "-c", "%a", "/var/lib/edge").stdout.strip() == "750"
    for word in ("--uninstall", "--purge"):
        told = install(box, word)
        assert "kept /opt/edge-transfer, as it holds what edge did not put there" in told
        for path in theirs:
            assert box.run("cat", path).stdout == "theirs\n", (word, path)
        assert [box.run("test", "-e", path).returncode for path in ours] == [int(word == "--purge")] * 4
    assert "env.backup notes.txt" in told
    assert box.run("ls", "-A", "/opt/edge-transfer").stdout.split() == ["env.backup", "notes.txt"]
