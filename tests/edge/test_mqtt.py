"""A real broker hears what is seen, as Home Assistant understands it, and hears that we died."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.errors import SourceError
from edge.mqtt import Mqtt
from edge.watch import Seen

from .test_watch import home, start, wait_for  # noqa: F401

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def seen(name: str, changed: bool = True) -> Seen:
    unknown = name == "unknown"
    label = None if unknown else name
    return Seen("camera", "2026-11-24T12:00:00.000+00:00", label, unknown, 0.9, (), 3, 1.0, name, changed)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def broker(folder: Path, port: int, password: str = "") -> Iterator[None]:
    """Run mosquitto on loopback; skips the test where it is not installed."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    lines = [f"listener {port} 127.0.0.1", f"allow_anonymous {'false' if password else 'true'}", "user root"]
    if password:
        secrets = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(secrets), "edge", password], check=True)
        lines.append(f"password_file {secrets}")
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    with subprocess.Popen([MOSQUITTO, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL) as process:

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_for(listens)
            yield
        finally:
            process.terminate()


class Listener:
    """Another client, which keeps the latest message of each topic, as Home Assistant does."""

    def __init__(self, port: int) -> None:
        client = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: the extra `mqtt`")
        enums = pytest.importorskip("paho.mqtt.enums")
        self.heard: dict[str, str] = {}
        self._client = client.Client(enums.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda c, *_: c.subscribe("#", qos=1)
        self._client.on_message = lambda _c, _d, m: self.heard.update({m.topic: m.payload.decode()})
        self._client.connect_async("127.0.0.1", port)
        self._client.reconnect_delay_set(1, 1)
        self._client.loop_start()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def waits(self, topic: str, fits: Callable[[str], bool]) -> str:
        wait_for(lambda: topic in self.heard and fits(self.heard[topic]), 30)
        return self.heard[topic]


@pytest.fixture
def port() -> int:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: the extra `mqtt`")
    return free_port()


def test_home_assistant_finds_the_device_and_its_state(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/my garage", "pi")
        mqtt.tell(seen("open"), ["open", "shut"])
        state = json.loads(listener.waits("edge/my_garage/state", bool))
        assert (state["label"], state["probability"], state["generation"]) == ("open", 0.9, 3)
        config: dict[str, Any] = json.loads(
            listener.waits("homeassistant/sensor/edge_my_garage/config", lambda text: "shut" in text)
        )
        assert config["state_topic"] == "edge/my_garage/state"
        assert config["options"] == ["open", "shut", "unknown"], "an enum must list every value that comes"
        assert config["value_template"] == "{{ value_json.label }}"
        assert config["unique_id"]
        assert config["device"]["identifiers"]
        assert listener.waits(config["availability_topic"], bool) == "online"
        mqtt.tell(seen("shut", changed=False), ["open", "shut"])
        mqtt.tell(seen("unknown"), ["open", "shut", "half"])
        listener.waits("edge/my_garage/state", lambda text: json.loads(text)["label"] == "unknown")
        listener.waits("homeassistant/sensor/edge_my_garage/config", lambda text: "half" in text)
        mqtt.close()
        assert listener.waits("edge/my_garage/available", lambda text: text == "offline")


def test_a_broker_that_comes_late_or_goes_is_waited_for_and_told_the_latest(tmp_path: Path, port: int) -> None:
    mqtt = Mqtt(f"mqtt://127.0.0.1:{port}", "pi")
    mqtt.tell(seen("open"), ["open", "shut"])
    news: list[str] = []
    wait_for(lambda: bool(news.extend(mqtt.news()) or news))
    assert news == [f"broker 127.0.0.1:{port} cannot be reached; waiting for it"]
    for label in ("open", "shut"):
        with broker(tmp_path, port), Listener(port) as listener:
            listener.waits("edge/pi/state", lambda text, label=label: json.loads(text)["label"] == label)
        wait_for(lambda: bool(news.extend(mqtt.news()) or "is gone" in news[-1]))
        mqtt.tell(seen("shut"), ["open", "shut"])
    mqtt.close()


def test_a_refused_password_is_said_and_never_shown(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port, password="right"):
        mqtt = Mqtt(f"mqtt://edge:hidden@127.0.0.1:{port}", "pi")
        news: list[str] = []
        wait_for(lambda: bool(news.extend(mqtt.news()) or news))
        assert "refuses" in news[0]
        assert "hidden" not in news[0]
        mqtt.close()
        good = Mqtt(f"mqtt://edge:right@127.0.0.1:{port}", "pi")
        news.clear()
        wait_for(lambda: bool(news.extend(good.news()) or news))
        assert news == [f"connected to broker 127.0.0.1:{port} as 'pi'"]
        good.close()


def test_the_broker_says_that_a_killed_watcher_is_offline(home: Path, tmp_path: Path, port: int) -> None:  # noqa: F811
    with broker(tmp_path, port), Listener(port) as listener:
        process = start(home, "watch", tmp_path / "in", "--mqtt", f"mqtt://127.0.0.1:{port}/feeder")
        listener.waits("edge/feeder/available", lambda text: text == "online")
        process.kill()
        process.communicate()
        listener.waits("edge/feeder/available", lambda text: text == "offline")


@pytest.mark.parametrize("url", ["localhost", "http://localhost", "mqtt://", "mqtt://host:port", "mqtt://h:99999"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SourceError, match="mqtt://user:password@host"):
        Mqtt(url, "pi")


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(SourceError, match=r"pip install 'edge-transfer\[mqtt\]'"):
        Mqtt("mqtt://localhost", "pi")
