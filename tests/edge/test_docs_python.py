"""docs/python.md tells the truth: each of its blocks runs, in order; and its names are typed as py.typed says."""

import ast
import importlib.util
import re
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge
from edge.network.backbone import Backbone
from edge.testing import surface, write_bundle, write_photos

from .cameras import write_film

PAGE = Path(__file__).parent.parent.parent / "docs" / "python.md"
SCRIPT = Path(__file__).parent / "user_script.py"


class Camera:
    """picamera2's class, as far as the page uses it: this machine has none."""

    def configure(self, configuration: dict[str, Any]) -> None:
        assert configuration["main"]["format"] == "BGR888"

    def create_still_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return {"main": main}

    def start(self) -> None: ...

    def close(self) -> None: ...

    def capture_array(self) -> np.ndarray[Any, Any]:
        return np.asarray(surface("brick", seed=1, side=80))


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_every_block_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], network: Backbone
) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed: the extra `camera`")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    gpio = pytest.importorskip("gpiozero", reason="gpiozero is not installed: the extra `dev`")
    from gpiozero.pins.mock import MockFactory

    monkeypatch.setattr(gpio.Device, "pin_factory", MockFactory())
    library = types.ModuleType("picamera2")
    monkeypatch.setattr(library, "Picamera2", Camera, raising=False)
    monkeypatch.setitem(sys.modules, "picamera2", library)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_bundle("garage.edge", write_photos("factory"), network)
    for label, name in {"brick": "open", "coins": "shut"}.items():
        Path("photos", name).mkdir(parents=True)
        for seed in range(100, 110):
            surface(label, seed).save(Path("photos", name, f"{name}_{seed - 100:03}.png"))
    Path("photos", "SOURCE.txt").write_text("where they come from\n")
    write_film(tmp_path / "garage.avi", ["brick"] * 10 + ["coins"] * 10)
    names: dict[str, Any] = {}
    found = blocks()
    assert len(found) >= 9
    for block in found:
        if "when_pressed" in block:
            write_film(tmp_path / "garage.avi", ["brick", "coins"] * 1000)
            names.pop("frame")
            presser = threading.Thread(target=press, args=(names, gpio.Device.pin_factory))
            presser.start()
        exec(compile(block, f"{PAGE.name}: {block.splitlines()[0]}", "exec"), names)
        if "when_pressed" in block:
            presser.join()
    names["test_coins_are_known_once_they_are_taught"](tmp_path / "test")
    printed = capsys.readouterr().out
    assert "SOURCE.txt is a text file" in printed
    with edge.Learner("~/garage") as learner:
        counts = {one.label: one.local for one in learner.status().labels}
    assert counts["open"] == 11, "ten files, and the frame of the button"
    assert counts["shut"] == 10


def press(names: dict[str, Any], pins: Any) -> None:
    """Press the page's button once it has seen a frame, from this thread, and end the loop."""
    while names.get("frame") is None:
        time.sleep(0.001)
    pins.pin(2).drive_low()
    names["watcher"].stop()


def test_a_users_program_that_names_everything_public_passes_mypy_and_runs(tmp_path: Path) -> None:
    text = SCRIPT.read_text()
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert set(edge.__all__) <= used
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("ImageError ")
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed: the extra `dev`")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from edge import Learner, Nothing\n\nLearner('home').classify('a.jpg').labell\n")
    for file, expected in ((SCRIPT, []), (wrong, ["Nothing", "labell"])):
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False, cwd=tmp_path)
        lines = done.stdout.splitlines()[:-1]
        assert len(lines) == len(expected), done.stdout
        for line, name in zip(lines, expected, strict=True):
            assert f'"{name}"' in line


def test_every_method_that_the_page_lists_is_there() -> None:
    listed = re.search(r"The methods are the commands: (.*?)\. They", PAGE.read_text(), re.DOTALL)
    assert listed is not None
    for name in re.findall(r"`(\w+)`", listed[1]):
        assert callable(getattr(edge.Learner, name)), name
