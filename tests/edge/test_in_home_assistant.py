"""A real Home Assistant shows each entity, asks for what its buttons say, and teaches the picture that it shows.

Home Assistant 2025.4 with its own MQTT integration runs beside a real mosquitto; each test is skipped, with the reason,
where one of them is missing.
"""

import base64
import hashlib
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from PIL import Image

from edge.answers import Seen
from edge.labels import RESERVED
from edge.learner import Learner
from edge.mqtt import home_assistant
from edge.mqtt.mqtt import Mqtt

from .conftest import picture
from .test_home_assistant import LABELS, NAMES
from .test_mqtt import Listener, broker, free_port
from .test_watch import home, start, wait_for, wait_until_watching  # noqa: F401

pytestmark = pytest.mark.kills
THERE = Path(__file__).parent.parent.parent / ".venv-homeassistant"
PYTHON = THERE / "bin" / "python"


@contextmanager
def watching(home: Path, folder: Path, port: int, name: str) -> Iterator["subprocess.Popen[bytes]"]:  # noqa: F811
    """Run `edge watch` on the folder `in`."""
    process = start(home, "watch", folder / "in", "--mqtt", f"mqtt://127.0.0.1:{port}/{name}")
    try:
        wait_until_watching(process)
        yield process
    finally:
        process.terminate()
        process.communicate()


def examples(home: Path) -> list[str]:  # noqa: F811
    """The labels of what was taught."""
    with Learner(home) as learner:
        return [example.label for example in learner.examples()]


class HomeAssistant:
    """A real Home Assistant with its MQTT integration, in an interpreter of its own, at a broker's port."""

    def __init__(self, port: int, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / "log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [PYTHON, Path(__file__).parent / "inside_home_assistant.py", str(port), folder, str(free_port())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            )
        assert self._read() == "ready"

    def __enter__(self) -> "HomeAssistant":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()
        return json.loads(line)

    def ask(self, do: str, **more: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def state(self, entity: str) -> dict[str, Any]:
        return dict(self.ask("states").get(entity, {"state": "not there"}))

    def shows(self, entity: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until an entity's state fits, and return it."""
        found: list[dict[str, Any]] = []
        wait_for(lambda: bool(found.append(self.state(entity)) or fits(found[-1])))
        return found[-1]

    def calls(self, service: str, entity: str, **data: Any) -> None:
        domain, _, name = service.partition(".")
        self.ask("call", domain=domain, service=name, data={"entity_id": entity, **data})

    def complaints(self) -> list[str]:
        """What Home Assistant's MQTT integration has to say about our messages."""
        return [line for line in self.log.read_text().splitlines() if "homeassistant.components.mqtt" in line]


class House(NamedTuple):
    """Home Assistant and another client, at one broker."""

    assistant: HomeAssistant
    listener: Listener
    port: int


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for all tests; each has a watcher of another name there."""
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: the extra `mqtt`")
    if not (THERE / "ready").exists():
        pytest.skip("Home Assistant is not here: make .venv-homeassistant/ready")
    folder, port = tmp_path_factory.mktemp("house"), free_port()
    with broker(folder, port), Listener(port) as listener, HomeAssistant(port, folder / "homeassistant") as assistant:
        yield House(assistant, listener, port)


def test_home_assistant_itself_finds_one_device_with_all_its_entities(home: Path, tmp_path: Path, house: House) -> None:  # noqa: F811
    assistant, _, port = house
    with watching(home, tmp_path, port, "my garage") as process:
        picture("grass", 5).save(tmp_path / "in" / "1.png")
        seen = assistant.shows("sensor.my_garage_seen", lambda s: s["state"] == "grass" and "image" in s)
        with Learner(home) as learner:
            status, labels = learner.status(), list(learner.serving().head.labels)
        assert seen["options"] == [*labels, "(unknown)"]
        assert seen["device_class"] == "enum"
        assert seen["image"].endswith("1.png")
        confidence = assistant.shows("sensor.my_garage_confidence", lambda s: s["state"].isdecimal())
        assert 0 <= int(confidence["state"]) <= 100
        assistant.shows("binary_sensor.my_garage_unknown", lambda s: s["state"] == "off")
        assert assistant.state("button.my_garage_retrain")["state"] == "unknown", "never pressed"
        teach = assistant.state("select.my_garage_teach_as")
        assert (teach["state"], teach["options"]) == ("unknown", labels)
        assert assistant.shows("image.my_garage_picture", lambda s: s["state"] != "unknown")
        shown = base64.b64decode(assistant.ask("image", entity="image.my_garage_picture"))
        with Image.open(io.BytesIO(shown)) as image:
            assert image.format == "JPEG"
        told = {
            "sensor.my_garage_generation": str(status.generation),
            "sensor.my_garage_examples": "0",
            "sensor.my_garage_examples_not_trained_yet": "0",
            "binary_sensor.my_garage_drift": "unknown",
        }
        for entity, state in told.items():
            assistant.shows(entity, lambda s, state=state: s["state"] == state)  # type: ignore[misc]
        if status.loo_accuracy is not None:
            accuracy = str(round(100 * status.loo_accuracy, 1))
            assistant.shows("sensor.my_garage_accuracy", lambda s: s["state"] == accuracy)
        assistant.shows("sensor.my_garage_disk_free", lambda s: s["state"] not in ("unknown", "0.0"))
        (device,) = [one for one in assistant.ask("devices") if one["name"] == "my garage"]
        assert len(device["entities"]) in (12, 13), "the thirteenth is the temperature, where the machine tells it"
        diagnostics = {entity for entity, about in device["entities"].items() if about["category"] == "diagnostic"}
        assert set(told) | {"sensor.my_garage_accuracy", "sensor.my_garage_disk_free"} <= diagnostics
        process.terminate()
        for entity in device["entities"]:
            assistant.shows(entity, lambda s: s["state"] == "unavailable")
    assert not assistant.complaints()


def test_home_assistant_teaches_the_picture_that_it_shows_and_retrains(
    home: Path,  # noqa: F811
    tmp_path: Path,
    house: House,
) -> None:
    assistant, listener, port = house
    with watching(home, tmp_path, port, "gate") as process:
        picture("grass", 5).save(tmp_path / "in" / "1.png")
        assistant.shows("sensor.gate_seen", lambda s: s["state"] == "grass")
        assistant.shows("image.gate_picture", lambda s: s["state"] != "unknown")
        before = int(assistant.state("sensor.gate_generation")["state"])
        assistant.calls("select.select_option", "select.gate_teach_as", option="brick")
        assistant.shows("sensor.gate_examples", lambda s: s["state"] == "1")
        assistant.shows("sensor.gate_examples_not_trained_yet", lambda s: s["state"] == "1")
        assert assistant.state("select.gate_teach_as")["state"] == "unknown", "ready for the same label again"
        assistant.calls("select.select_option", "select.gate_teach_as", option="grass")  # changed our mind
        wait_for(lambda: examples(home) == ["grass"])
        assistant.calls("button.press", "button.gate_retrain")
        assistant.shows("sensor.gate_generation", lambda s: s["state"] == str(before + 1))
        assistant.shows("sensor.gate_examples_not_trained_yet", lambda s: s["state"] == "0")
        with Learner(home) as learner:
            (example,) = learner.examples()
            assert example.image == hashlib.sha256((tmp_path / "in" / "1.png").read_bytes()).hexdigest()
            learner.forget(example.id)
        assistant.shows("sensor.gate_examples", lambda s: s["state"] == "0")
        for topic, payload in (("teach", "no such"), ("teach", b"\xff\xfe"), ("teach", "x" * 2000), ("retrain", "now")):
            listener.says(f"edge/gate/{topic}", payload)
        listener.says("edge/gate/teach", "unknown")
        assert process.stderr is not None
        lines: list[str] = []
        while sum("refused: " in line for line in lines) < 5:
            lines.append(process.stderr.readline().decode())
            assert lines[-1], lines
        process.terminate()
        process.communicate()
    assert process.returncode == 0
    assert [line for line in lines if "undo: edge forget" in line]
    assert [line for line in lines if "was taught as 'brick' and is 'grass' now" in line]
    assert examples(home) == []
    assert not assistant.complaints()


def test_home_assistant_hears_of_new_labels_and_asks_again_after_its_restart(
    home: Path,  # noqa: F811
    tmp_path: Path,
    house: House,
) -> None:
    assistant, listener, port = house
    with watching(home, tmp_path, port, "bin"):
        picture("grass", 5).save(tmp_path / "in" / "1.png")
        assistant.shows("sensor.bin_seen", lambda s: s["state"] == "grass")
        with Learner(home) as learner:
            learner.teach("None", [picture("brick", 100 + n) for n in range(8)])
            learner.retrain(force=True)
            options = [home_assistant.state(label) for label in (*learner.serving().head.labels, RESERVED)]
        picture("brick", 300).save(tmp_path / "in" / "2.png")
        assistant.shows("sensor.bin_seen", lambda s: s.get("options") == options)
        assistant.shows("sensor.bin_seen", lambda s: s["state"] not in ("grass", "unknown", "unavailable"))
        with HomeAssistant(port, tmp_path / "second") as second:  # what it needs lies at the broker
            second.shows("sensor.bin_seen", lambda s: s.get("options") == options)
            second.shows("image.bin_picture", lambda s: s["state"] not in ("unknown", "not there"))
        before = len(listener.all)
        listener.says("homeassistant/status", "online")
        wanted = {f"edge/bin/{leaf}" for leaf in ("state", "status", "picture", "available")}
        wait_for(lambda: wanted <= {topic for topic, _ in listener.all[before:]})
    assert not assistant.complaints()


def test_home_assistant_itself_takes_each_name_and_shows_each_label(house: House) -> None:
    assistant, _, port = house
    for name in NAMES:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/{quote(name, safe='')}", "pi", labels=LABELS)

        def shown(name: str = name) -> list[str]:
            states = assistant.ask("states").values()
            return [one["state"] for one in states if one.get("friendly_name") == f"{name} Seen"]

        for label in (*LABELS, RESERVED):
            known = None if label == RESERVED else label
            mqtt.tell(Seen("camera", "t", known, label == RESERVED, 0.5, (), 1, 1, label, True), LABELS)
            wait_for(lambda label=label, shown=shown: shown() == [home_assistant.state(label)])  # type: ignore[misc]
        mqtt.close()
        wait_for(lambda shown=shown: shown() == ["unavailable"])  # type: ignore[misc]
    assert not assistant.complaints()
