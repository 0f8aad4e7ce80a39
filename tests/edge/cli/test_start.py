"""What a command loads: each waits for its imports, so it has those that it needs, and no others."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edge.learner import Learner
from tests.edge.conftest import picture

FITTING = {
    "edge.audit.curve",
    "edge.audit.findings",
    "edge.head.fit",
    "edge.head.lda",
    "edge.head.leave_out",
    "edge.head.tune",
    "edge.retraining.retrain",
    "edge.metrics.evaluate",
    "edge.metrics.promote",
    "edge.unknown.fit_gate",
}
CAMERAS = {
    "edge.camera.address",
    "edge.camera.devices",
    "edge.camera.mjpeg",
    "edge.camera.source",
    "edge.camera.web",
    "edge.cli.camera",
    "edge.watch.hooks",
    "edge.watch.loop",
    "edge.mqtt.mqtt",
    "edge.watch.service",
}
NETWORK = {"requests", "urllib3", "http", "email", "ssl", "asyncio", "paho", "cv2"}


def loaded(home: Path, *arguments: str) -> set[str]:
    """Every module that a command line loads until it ends well."""
    script = (
        "import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules)); from edge.cli import main; main()"
    )
    command = [sys.executable, "-c", script, "--home", str(home), *arguments]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return set(child.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["classify", "status", "history", "examples", "teach"])
def test_a_command_that_fits_no_head_and_has_no_camera_loads_nothing_for_them(
    command: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    assert all(find_spec(module) for module in FITTING | CAMERAS), "a module was renamed"
    home = tmp_path / "home"
    Learner.init(home, tiny_bundle).close()
    file = tmp_path / "brick.png"
    picture("brick", 77).save(file)
    arguments = {"classify": [str(file)], "teach": ["brick", str(file)]}.get(command, [])
    seen = loaded(home, command, *arguments)
    assert "edge.learner" in seen
    assert not (FITTING | CAMERAS) & seen
    assert not NETWORK & {module.split(".")[0] for module in seen}
