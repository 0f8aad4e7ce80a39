"""README's Camera section, run for real: its own lines, with a camera on loopback and a folder in place of the Pi's."""

import importlib.util
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageOps

from edge.learner import Learner

from .cameras import filming
from .conftest import picture
from .test_watch import wait_for

README = Path(__file__).parent.parent.parent / "README.md"


def lines() -> list[str]:
    section = README.read_text().partition("\n## Camera\n")[2]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [line.partition("  #")[0].strip() for line in block[1].splitlines()]


def opened(number: int) -> Image.Image:
    return picture("coins", number, side=80)


def shut(number: int) -> Image.Image:
    return ImageOps.invert(picture("coins", number, side=80))


def test_the_camera_section_does_what_it_says(tmp_path: Path, tiny_bundle: Path) -> None:
    first, second, watch, review = lines()
    Learner.init(tmp_path / "home", tiny_bundle).store.close()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "edge": f'exec "{sys.executable}" -m edge "$@"',
        "notify-send": f'echo "$EDGE_LABEL: $1" >> "{tmp_path}/notified"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "EDGE_HOME": str(tmp_path / "home"),
    }

    def bash(line: str) -> str:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "nan" not in (done.stdout + done.stderr).lower()
        return done.stdout

    with filming(opened) as camera:
        assert "20 new examples of 'open'" in bash(first.replace("picamera", camera.url()))
    with filming(shut) as camera:
        told = bash(second.replace("picamera", camera.url()))
    assert "20 new examples of 'shut'" in told
    assert "generation 2 is in use" in told

    (tmp_path / "in").mkdir()
    if importlib.util.find_spec("paho") is None:
        watch = re.sub(r" --mqtt \S+", "", watch)
    command = ["bash", "-c", "exec " + watch.replace("picamera", "in")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    assert process.stdout is not None
    opened(700).save(tmp_path / "in" / "a.png")
    wait_for(lambda: (tmp_path / "notified").exists() and (tmp_path / "notified").read_text() != "")
    assert (tmp_path / "notified").read_text() == "open: garage open\n"
    for percent in range(30, 75, 5):  # neither the one nor the other
        Image.blend(opened(percent), shut(percent), percent / 100).save(tmp_path / "in" / f"{percent}.png")
    wait_for(lambda: any((tmp_path / "unsure").glob("*")))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert re.search(r"a\.png: open", out)

    terminal, other = pty.openpty()
    command = ["bash", "-c", review]
    asked = subprocess.Popen(
        command, stdin=other, stdout=subprocess.PIPE, stderr=other, text=True, env=environment, cwd=tmp_path
    )
    os.write(terminal, b"q")
    os.close(other)
    shown = bytearray()
    while True:
        try:
            shown += os.read(terminal, 65_536)
        except OSError:  # it ended
            break
    assert asked.wait(60) == 0
    assert b"[q]" in shown
    assert asked.stdout is not None
    assert re.match(r"0 frames labelled, 0 deleted, [1-9]\d* left", asked.stdout.read())
