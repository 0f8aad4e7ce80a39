"""A real broker hears what is seen, as Home Assistant understands it, and hears that we died."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from edge.answers import Seen
from edge.errors import SourceError
from edge.mqtt import home_assistant
from edge.mqtt.address import identity
from edge.mqtt.mqtt import Mqtt
from tests.refused import refused

from .cameras import filming
from .conftest import picture
from .test_watch import home, start, wait_for, wait_until_watching  # noqa: F401

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
def broker(folder: Path, port: int, password: str = "", *more: str) -> Iterator[Path]:
    """Run mosquitto on loopback, and yield its log; skips the test where it is not installed."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    lines = [f"listener {port} 127.0.0.1", f"allow_anonymous {'false' if password else 'true'}", "user root"]
    if password:
        secrets = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(secrets), "edge", password], check=True)
        lines.append(f"password_file {secrets}")
    log = folder / "mosquitto.log"
    lines += [f"log_dest file {log}", "log_type all", *more]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    with subprocess.Popen([MOSQUITTO, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL) as process:

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_for(listens)
            yield log
        finally:
            process.terminate()


class Listener:
    """Another client, which keeps the latest message of each topic, as Home Assistant does."""

    def __init__(self, port: int) -> None:
        client = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: the extra `mqtt`")
        enums = pytest.importorskip("paho.mqtt.enums")
        self.heard: dict[str, str] = {}
        self.all: list[tuple[str, str]] = []  # every message, the oldest first
        self._client = client.Client(enums.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda c, *_: c.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: setattr(self, "connected", True)
        self.connected = False
        self._client.on_message = self._hear
        self._client.connect_async("127.0.0.1", port)
        self._client.reconnect_delay_set(1, 1)
        self._client.loop_start()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client: Any, _data: Any, message: Any) -> None:
        text = message.payload.decode(errors="replace")  # a picture is no text
        self.all.append((message.topic, text))
        self.heard[message.topic] = text

    def says(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def topics(self, ending: str) -> set[str]:
        return {topic for topic in self.heard if topic.endswith(ending)}

    def waits(self, topic: str, fits: Callable[[str], bool]) -> str:
        wait_for(lambda: topic in self.heard and fits(self.heard[topic]))
        return self.heard[topic]


@pytest.fixture
def port() -> int:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: the extra `mqtt`")
    return free_port()


def heard(mqtt: Mqtt, fits: Callable[[list[str]], bool]) -> list[str]:
    """Wait until what a connection said fits."""
    lines: list[str] = []
    wait_for(lambda: bool(lines.extend(mqtt.news()) or fits(lines)))
    return lines


def test_home_assistant_finds_the_device_and_its_state(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/my garage", "pi")
        mqtt.tell(seen("open"), ["open", "shut"])
        state = json.loads(listener.waits("edge/my garage/state", bool))
        assert (state["label"], state["probability"], state["generation"]) == ("open", 0.9, 3)
        topic = "homeassistant/device/edge_my_x20_garage/config"
        config: dict[str, Any] = json.loads(listener.waits(topic, bool))
        assert config["cmps"]["seen"]["state_topic"] == "edge/my garage/now"
        assert config["cmps"]["seen"]["options"] == ["open", "shut", "(unknown)"], "it lists every value that comes"
        assert config["dev"]["identifiers"]
        assert config["dev"]["name"] == "my garage"
        assert listener.waits(config["availability_topic"], bool) == "online"
        mqtt.tell(seen("shut", changed=False), ["open", "shut"])
        mqtt.tell(seen("unknown"), ["open", "shut", "half"])
        unknown = json.loads(listener.waits("edge/my garage/state", lambda text: "(unknown)" in text))
        assert (unknown["label"], unknown["unknown"]) == ("unknown", True)
        listener.waits(topic, lambda text: "half" in text)
        # Home Assistant ignores a state that comes before it has taken in the labels: it is told once more
        states = [text for topic, text in listener.all if topic.endswith("/state")]
        mqtt._state_again = 0.0
        list(mqtt.news())
        wait_for(lambda: len([text for topic, text in listener.all if topic.endswith("/state")]) > len(states))
        mqtt.close()
        assert listener.waits("edge/my garage/available", lambda text: text == "offline")


def test_the_first_discovery_message_has_all_labels(home: Path, tmp_path: Path, port: int) -> None:  # noqa: F811
    with broker(tmp_path, port), Listener(port) as listener:
        process = start(home, "watch", tmp_path / "in", "--mqtt", f"mqtt://127.0.0.1:{port}/feeder")
        listener.waits("edge/feeder/available", lambda text: text == "online")
        picture("grass", 5).save(tmp_path / "in" / "1.png")
        listener.waits("edge/feeder/state", bool)
        process.terminate()
        process.communicate()
        assert process.returncode == 0
    messages = [json.loads(text) for topic, text in listener.all if topic == "homeassistant/device/edge_feeder/config"]
    assert messages
    for message in messages:
        options = message["cmps"]["seen"]["options"]
        assert json.loads(listener.heard["edge/feeder/state"])["state"] in options
        assert len(options) > 2


def test_after_a_restart_of_home_assistant_everything_is_told_again(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/x", "pi", labels=["open", "shut"])
        mqtt.tell(seen("open"), ["open", "shut"])
        listener.waits("edge/x/state", bool)
        before = len(listener.all)
        listener.says("homeassistant/status", "offline")
        listener.says("homeassistant/status", "online")
        wanted = {"edge/x/state", "edge/x/available", "homeassistant/device/edge_x/config"}
        wait_for(lambda: wanted <= {topic for topic, _ in listener.all[before:]})
        mqtt.close()


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


def test_the_state_follows_the_camera_and_is_not_shown_as_todays_without_it(
    home: Path,  # noqa: F811
    tmp_path: Path,
    port: int,
) -> None:
    available = "edge/door/available"
    with broker(tmp_path, port), Listener(port) as listener, filming(lambda n: picture("brick", n)) as camera:
        process = start(home, "watch", camera.url(), "--every", 0.02, "--mqtt", f"mqtt://127.0.0.1:{port}/door")
        listener.waits(available, lambda text: text == "online")
        assert "edge/door/state" in listener.heard, "nobody is online before there is a state"
        camera.up = False
        listener.waits(available, lambda text: text == "offline")
        camera.up = True
        listener.waits(available, lambda text: text == "online")
        process.terminate()
        process.communicate()
        listener.waits(available, lambda text: text == "offline")
    assert process.returncode == 0


def test_a_camera_that_never_gave_a_picture_is_never_online(home: Path, tmp_path: Path, port: int) -> None:  # noqa: F811
    with broker(tmp_path, port), Listener(port) as listener:
        nobody = f"http://127.0.0.1:{free_port()}/stream"
        process = start(home, "watch", nobody, "--mqtt", f"mqtt://127.0.0.1:{port}/door")
        listener.waits("edge/door/available", bool)
        listener.waits("homeassistant/device/edge_door/config", bool)
        process.terminate()
        process.communicate()
    assert {text for topic, text in listener.all if topic == "edge/door/available"} == {"offline"}
    assert process.returncode == 0


def test_a_frozen_picture_is_told(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/x", "pi")
        mqtt.tell(seen("open"), ["open", "shut"])
        assert json.loads(listener.waits("edge/x/state", bool))["frozen"] is False
        mqtt.frozen(True)
        listener.waits("edge/x/state", lambda text: json.loads(text)["frozen"] is True)
        mqtt.frozen(False)
        listener.waits("edge/x/state", lambda text: json.loads(text)["frozen"] is False)
        mqtt.close()


ODD = [b"caf\xe9.png", b"a\nb.png", "👍🏽 Küche.png".encode(), b"\xf0\x9f.png", b"tab\t\x1b[2J.png"]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_name_reaches_every_listener(home: Path, tmp_path: Path, port: int, name: bytes) -> None:  # noqa: F811
    with broker(tmp_path, port), Listener(port) as listener:
        (tmp_path / "hook").write_text(f'#!{sys.executable}\nimport os\nopen({str(tmp_path / "told")!r}, "wb")'
                                       '.write(os.environb[b"EDGE_IMAGE"])\n')  # fmt: skip
        (tmp_path / "hook").chmod(0o755)
        picture("grass", 5).save(tmp_path / "x.png")
        (tmp_path / "x.png").rename(tmp_path / "in" / os.fsdecode(name))
        command = ["watch", tmp_path / "in", "--json", "--mqtt", f"mqtt://127.0.0.1:{port}/x", "--save-uncertain",
                   tmp_path / "unsure", "--below", 1]  # fmt: skip
        for label in ("brick", "grass", "coins", "unknown"):
            command += ["--on", label, tmp_path / "hook"]
        process = start(home, *command)
        told = json.loads(listener.waits("edge/x/state", bool))
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        wait_for(lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_bytes() != b"")
        wait_for(lambda: bool(list((tmp_path / "unsure").glob("uncertain-*"))))
        process.terminate()
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert b"Traceback" not in err
    whole = os.fsencode(tmp_path / "in") + b"/" + name
    assert os.fsencode(line["image"]) == whole
    assert (tmp_path / "told").read_bytes() == whole
    assert told["image"] == whole.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode()


# commands -----------------------------------------------------------------------------------------------------------


def test_a_command_is_kept_for_the_watchers_own_thread_in_the_order_in_which_it_came(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/x", "pi", verbs=["teach", "retrain"])
        listener.waits("edge/x/available", bool)
        listener.says("edge/x/teach", "open")
        listener.says("edge/x/other", "nobody hears it")
        listener.says("edge/x/retrain", "PRESS")
        came: list[tuple[str, bytes]] = []
        wait_for(lambda: bool(came.extend((one.verb, one.payload) for one in mqtt.commands()) or len(came) == 2))
        assert came == [("teach", b"open"), ("retrain", b"PRESS")]
        mqtt.close()


def test_a_command_that_the_broker_had_kept_is_not_done_anew_at_each_start(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        wait_for(lambda: listener.connected)
        listener.says("edge/x/teach", "open", retain=True)
        listener.waits("edge/x/teach", bool)
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/x", "pi", verbs=["teach"])
        lines = heard(mqtt, lambda lines: any("retained" in line for line in lines))
        assert "--retain" in lines[-1]
        assert not list(mqtt.commands())
        mqtt.close()


def test_more_commands_than_can_wait_are_refused_and_said(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/x", "pi", verbs=["teach"])
        listener.waits("edge/x/available", bool)
        for number in range(25):
            listener.says("edge/x/teach", str(number))
        lines = heard(mqtt, lambda lines: len([line for line in lines if "waiting already" in line]) == 5)
        assert [one.payload for one in mqtt.commands()] == [str(number).encode() for number in range(20)], lines
        mqtt.close()


def test_what_is_seen_now_is_told_again_before_it_expires_and_a_change_only_once(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2 * home_assistant.BEAT < home_assistant.EXPIRES
    with broker(tmp_path, port), Listener(port) as listener:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/x", "pi")
        mqtt.tell(seen("open"), ["open", "shut"])
        assert json.loads(listener.waits("edge/x/now", bool))["probability"] == 0.9
        mqtt.tell(seen("open", changed=False)._replace(probability=0.6), ["open", "shut"])
        list(mqtt.news())
        monkeypatch.setattr(home_assistant, "BEAT", 0)
        list(mqtt.news())
        again = json.loads(listener.waits("edge/x/now", lambda text: json.loads(text)["probability"] == 0.6))
        assert again["state"] == "open"
        mqtt.close()
        assert len([topic for topic, _ in listener.all if topic == "edge/x/state"]) == 1, (
            "programs act on each of these"
        )


def test_the_sensor_of_earlier_versions_is_taken_back(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        wait_for(lambda: listener.connected)
        listener.says("homeassistant/sensor/edge_x/config", "{}", retain=True)
        listener.waits("homeassistant/sensor/edge_x/config", bool)
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/x", "pi")
        listener.waits("homeassistant/sensor/edge_x/config", lambda text: text == "")
        mqtt.close()


# identities ---------------------------------------------------------------------------------------------------------


def test_an_identity_is_the_same_after_a_restart_and_another_for_each_machine_home_and_source(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"machine{number}").write_text(f"{number}\n")
    home_a, home_b, machine = tmp_path / "a", tmp_path / "b", tmp_path / "machine1"
    base = identity(home_a, "http://me:secret@camera/stream?channel=1", machine)
    assert base == identity(home_a, "http://me:secret@camera/stream?channel=1", machine)
    assert base == identity(home_a, "http://other:words@camera/stream?channel=1", machine), (
        "a new password is no new one"
    )
    others = {
        identity(home_b, "http://camera/stream?channel=1", machine),
        identity(home_a, "http://camera/stream?channel=2", machine),
        identity(home_a, "http://camera/stream?channel=1", tmp_path / "machine2"),
        identity(home_a, "picamera", machine),
        identity(home_a, "caf\udce9", machine),
        identity(home_a, "http://camera/stream?channel=1", tmp_path / "none"),
    }
    assert len(others) == 6
    assert base not in others


def test_two_watchers_on_one_machine_do_not_evict_each_other(home: Path, tmp_path: Path, port: int) -> None:  # noqa: F811
    (tmp_path / "in2").mkdir()
    with broker(tmp_path, port) as log, Listener(port) as listener:
        folders = [tmp_path / "in", tmp_path / "in2"]
        processes = [start(home, "watch", folder, "--mqtt", f"mqtt://127.0.0.1:{port}") for folder in folders]
        wait_for(lambda: len(listener.topics("/available")) == 2)
        for number, folder in enumerate(folders):
            picture("grass", number).save(folder / "1.png")
        wait_for(lambda: len(listener.topics("/state")) == 2)
        for process in processes:
            process.terminate()
            process.communicate()
    configs = [json.loads(text) for topic, text in listener.heard.items() if topic.startswith("homeassistant/device/")]
    assert len({config["cmps"]["seen"]["unique_id"] for config in configs}) == 2
    connected = [
        line.split(" as ")[1].split()[0] for line in log.read_text().splitlines() if "New client connected" in line
    ]
    ours = [client for client in connected if client.startswith("edge-")]
    assert len(ours) == len(set(ours)) == 2, "each connected once"


def test_two_watchers_with_one_name_both_say_so(home: Path, tmp_path: Path, port: int) -> None:  # noqa: F811
    with broker(tmp_path, port):
        one, two = (Mqtt(f"mqtt://127.0.0.1:{port}/door", "pi", who=who) for who in ("a", "b"))
        for mqtt in (one, two):
            lines = heard(mqtt, lambda lines: any("another watcher" in line for line in lines))
            assert "as 'door' too" in lines[-1]
            assert "use different NAMEs" in lines[-1]
        one.close()
        two.close()
        third = Mqtt(f"mqtt://127.0.0.1:{port}/door", "pi", who="c")
        wait_for(lambda: third._rivals.claimed)
        assert not [line for line in third.news() if "another" in line], "those before are gone"
        third.close()


def test_a_second_process_that_watches_the_same_for_the_same_home_is_refused(tmp_path: Path, port: int) -> None:
    one = Mqtt(f"mqtt://127.0.0.1:{port}", "pi", who="a", home=tmp_path)
    with refused("watcher-exists", SourceError, "another process"):
        Mqtt(f"mqtt://127.0.0.1:{port}", "pi", who="a", home=tmp_path)
    two = Mqtt(f"mqtt://127.0.0.1:{port}/other", "pi", who="a", home=tmp_path)
    one.close()
    Mqtt(f"mqtt://127.0.0.1:{port}", "pi", who="a", home=tmp_path).close()
    two.close()


# what goes wrong ----------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_said_once_however_often_it_is_tried(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port, "right") as log:
        mqtt = Mqtt(f"mqtt://edge:hidden@127.0.0.1:{port}", "pi")
        mqtt.connection._client.reconnect_delay_set(1, 1)
        wait_for(lambda: log.read_text(errors="replace").count("not authorised") >= 3)
        lines = list(mqtt.news())
        mqtt.close()
    assert len(lines) == 1, lines
    assert "refuses" in lines[0]


def test_a_connection_that_breaks_again_and_again_is_not_said_for_ever(tmp_path: Path, port: int) -> None:
    mqtt = Mqtt(f"mqtt://127.0.0.1:{port}", "pi")
    mqtt.connection._client.reconnect_delay_set(1, 1)
    lines: list[str] = []
    for _ in range(5):
        with broker(tmp_path, port):
            wait_for(mqtt.connection._up.is_set)
        wait_for(lambda: not mqtt.connection._up.is_set())
        lines += mqtt.news()
    told = [line for line in lines if "cannot be reached" not in line]
    assert len([line for line in told if "breaks again and again" in line]) == 1
    assert len([line for line in told if "is gone" in line]) == 2
    assert len([line for line in told if line.startswith("connected")]) == 3
    mqtt.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that signed itself, and its key beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "ca.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", "-days", "2", *key, *files, *subject], check=True, capture_output=True)
    return tmp_path / "ca.pem"


def test_an_untrusted_certificate_is_named_with_what_to_do(
    tmp_path: Path, port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broker(tmp_path, port, "", f"certfile {certificate}", f"keyfile {certificate.with_name('key.pem')}"):
        mqtt = Mqtt(f"mqtts://localhost:{port}", "pi")
        (line,) = heard(mqtt, bool)
        assert "certificate that is not trusted" in line
        assert "SSL_CERT_FILE=" in line
        mqtt.close()
        plain = Mqtt(f"mqtt://localhost:{port}", "pi")
        (line,) = heard(plain, bool)
        assert "mqtts://" in line
        plain.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        good = Mqtt(f"mqtts://localhost:{port}", "pi")
        assert heard(good, bool)[0].startswith("connected")
        good.close()
        other = Mqtt(f"mqtts://127.0.0.1:{port}", "pi")
        assert "belongs to another host" in heard(other, bool)[0]
        other.close()


def test_a_port_without_tls_is_named(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port):
        mqtt = Mqtt(f"mqtts://127.0.0.1:{port}", "pi")
        (line,) = heard(mqtt, bool)
        assert "TLS" in line
        assert "mqtt://" in line
        mqtt.close()


def test_a_run_shorter_than_the_first_connection_is_told_all_the_same(tmp_path: Path, port: int) -> None:
    with broker(tmp_path, port), Listener(port) as listener:
        mqtt = Mqtt(f"mqtt://127.0.0.1:{port}/film", "pi")
        mqtt.tell(seen("open"), ["open", "shut"])
        mqtt.close()
        assert json.loads(listener.waits("edge/film/state", bool))["label"] == "open"
        assert listener.waits("edge/film/available", lambda text: text == "offline")


@pytest.mark.parametrize(
    "address",
    ["mqtt://127.0.0.1:{port}", "mqtts://127.0.0.1:{port}", "mqtt://127.0.0.1:{nobody}", "mqtt://no-such-host.invalid"],
)
def test_sigterm_ends_a_watcher_whatever_its_broker_does(
    home: Path,  # noqa: F811
    tmp_path: Path,
    port: int,
    address: str,
) -> None:
    with socket.socket() as silent:  # takes connections and never says a word
        silent.bind(("127.0.0.1", port))
        silent.listen()
        process = start(home, "watch", tmp_path / "in", "--mqtt", address.format(port=port, nobody=free_port()))
        wait_until_watching(process)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"Traceback" not in err


MALFORMED = [
    "localhost", "http://localhost", "mqtt://", "mqtt://host:port", "mqtt://h:99999", "mqtt://h:0", "tcp://h", "mqtt:h",
    "mqtt://me:Se/cret@h", "mqtt://me:Se#cret@h", "mqtt://me:Se?cret@h", "mqtt://me:Se@cret@h", "mqtt://me:Secret@",
    "mqtt://me:12/Secret@h", "mqtt://:Secret@h", "mqtt://me:Se%cret@h", "mqtt://me:Se cret@h", "mqtt://me:Secret@h:x/n",
    "mqtt://me:Secret@[::1/n", "mqtt://me:Secret@h/a?b", "mqtt://me:Secret@h/a#b", "mqtt://me:Secret@h/%00",
    "mqtt://me:Secret@h/%ff", "mqtt://me:Secret@h/" + "n" * 101, "mqtt://me:Secret@h/a%0Ab", "mqtt://me:%ffSecret@h",
    "mqtt://me:Secret@a..b", "mqtt://me:Secret@" + "h" * 70, "mqtt://me:Secret@h\u2100", "mqtt:// me:Secret@h",
    "mqtts:/me:Secret@h",
]  # fmt: skip


@pytest.mark.parametrize("url", MALFORMED)
def test_an_address_that_cannot_be_one_is_refused_at_once_and_never_shown(url: str) -> None:
    with refused("address-invalid", SourceError, "mqtt://user:password@host") as caught:
        Mqtt(url, "pi")
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)


def test_a_malformed_address_is_one_line_of_the_command_too(home: Path, tmp_path: Path) -> None:  # noqa: F811
    folder = tmp_path / "in"
    for words, environment in (
        ([folder, "--mqtt", "mqtt://me:Se/cret@h"], {}),
        ([folder], {"EDGE_MQTT": "mqtt://me:Se/cret@h"}),
        (["http://me:Se/cret@h/stream"], {}),
    ):
        process = start(home, "watch", *words, **environment)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert out == b""
        assert err.count(b"\n") == 1
        assert b"%2F" in err
        assert b"cret" not in err


@pytest.mark.parametrize("user", ["a/b", "a@b", "ä:b", "50%", "#?", " "])
def test_a_user_and_password_of_any_characters_come_through(tmp_path: Path, port: int, user: str) -> None:
    written = quote(user, safe="")
    with broker(tmp_path, port, user):
        mqtt = Mqtt(f"mqtt://edge:{written}@127.0.0.1:{port}", "pi")
        assert heard(mqtt, bool)[0].startswith("connected")
        mqtt.close()


def test_a_program_of_on_is_not_handed_the_brokers_password(home: Path, tmp_path: Path, port: int) -> None:  # noqa: F811
    (tmp_path / "hook").write_text(f"#!/bin/sh\nenv > {tmp_path}/env.part && mv {tmp_path}/env.part {tmp_path}/env\n")
    (tmp_path / "hook").chmod(0o755)
    picture("grass", 5).save(tmp_path / "in" / "1.png")
    hooks = [word for label in ("brick", "grass", "coins", "unknown") for word in ("--on", label, tmp_path / "hook")]
    url = f"mqtt://me:hidden@127.0.0.1:{port}"
    process = start(home, "watch", tmp_path / "in", *hooks, EDGE_MQTT=url, NOTIFY_SOCKET=str(tmp_path / "none"))
    wait_for((tmp_path / "env").exists)
    process.terminate()
    process.communicate()
    told = (tmp_path / "env").read_text()
    assert "EDGE_LABEL=" in told
    assert "hidden" not in told
    assert "NOTIFY_SOCKET" not in told


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with refused("library-missing", SourceError, "pip install 'edge-transfer[mqtt]'"):
        Mqtt("mqtt://localhost", "pi")
