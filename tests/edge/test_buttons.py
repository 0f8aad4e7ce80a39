"""device_scripts/buttons.py, with gpiozero's own pins for tests and a real camera on loopback."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from edge.learner import Learner

from .cameras import filming
from .conftest import picture
from .test_watch import wait_for

SCRIPT = Path(__file__).parents[2] / "device_scripts" / "buttons.py"
ROWS = [("open", 5, 17), ("brick", 6, 27)]


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Any:
    """gpiozero's mock factory, in place of a Raspberry Pi."""
    gpio = pytest.importorskip("gpiozero", reason="gpiozero is not installed: the extra `dev`")
    from gpiozero.pins.mock import MockFactory

    factory = MockFactory()
    monkeypatch.setattr(gpio.Device, "pin_factory", factory)
    return factory


@pytest.fixture
def script(pins: Any) -> Any:
    spec = importlib.util.spec_from_file_location("buttons", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_held_button_teaches_and_the_led_of_the_answer_is_lit(
    script: Any, pins: Any, tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    Learner.init(home, tiny_bundle).close()
    shown, lit = ["brick"], list[bool]()

    def lamp(pin: int) -> bool:
        return bool(pins.pin(pin).state)

    def hand() -> None:
        """Someone at the buttons: teach what is new while it is shown, let go, and look at the LEDs."""
        try:
            wait_for(lambda: lamp(27))
            lit.append(lamp(17))
            shown[0] = "coins"
            wait_for(lambda: not lamp(27))
            pins.pin(5).drive_low()
            wait_for(lambda: lamp(17))
            with Learner(home) as other:
                wait_for(lambda: "open" in other.labels() and len(other.find_examples(label="open")) >= 10)
            pins.pin(5).drive_high()
            shown[0] = "brick"
            wait_for(lambda: lamp(27))
            lit.append(lamp(17))
            shown[0] = "coins"
            wait_for(lambda: lamp(17))
            lit.append(lamp(27))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with filming(lambda n: picture(shown[0], n)) as camera:
            thread = threading.Thread(target=hand)
            thread.start()
            script.main(camera.url(), ROWS, str(home))
            thread.join()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert lit == [False, False, False], "the LED of one answer at a time"
    assert "frames of 'open' taught; generation 2 is in use" in capsys.readouterr().out
    with Learner(home) as learner:
        assert len({example.session for example in learner.find_examples(label="open")}) == 1
    pins.pin(5)  # the pins are free again
    script.Button(5).close()


def test_a_row_is_a_label_and_two_pins(script: Any) -> None:
    assert script.row("a=b=5,17") == ("a=b", 5, 17)


@pytest.mark.parametrize(("args", "says"), [
    (["picamera", "open=5"], "invalid row value: 'open=5'"),
    (["no-such-camera", "open=5,17"], "error: "),
])  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(args: list[str], says: str, pins: Any, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "GPIOZERO_PIN_FACTORY": "mock",
        "EDGE_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, SCRIPT, *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
