"""What a command loads: each waits for its imports, so it has those that it needs, and no others."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.adopt import adopt
from tests.edge.conftest import picture

FITTING = {"fit", "choose", "held_out", "lda", "gate_fit", "retrain", "promote", "audit", "curve", "evaluate"}
CAMERAS = {"address", "camera", "source", "web", "mjpeg", "mqtt", "watch", "watching", "hooks", "cli_camera"}
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
    home = tmp_path / "home"
    adopt(home, tiny_bundle).close()
    file = tmp_path / "brick.png"
    picture("brick", 77).save(file)
    arguments = {"classify": [str(file)], "teach": ["brick", str(file)]}.get(command, [])
    seen = loaded(home, command, *arguments)
    assert "edge.learner" in seen
    assert not {f"edge.{module}" for module in FITTING | CAMERAS} & seen
    assert not NETWORK & {module.split(".")[0] for module in seen}
