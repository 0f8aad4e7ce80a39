"""The examples of docs/integrations.md for Node-RED, Telegraf and shells: their own lines, with a camera on loopback.

Node-RED, mosquitto, curl and systemd are the real programs; where one is missing, its test is skipped. Telegraf can be
had from no package index that is used here: its file is read, and its command is run.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from edge.learner import Learner

from .cameras import Camera, filming
from .conftest import picture
from .test_mqtt import Listener, broker, port  # noqa: F401
from .test_watch import home, wait_for  # noqa: F401

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "integrations.md"
NODE_RED = ROOT / "build" / "node-red" / "node_modules" / ".bin" / "node-red"


def blocks(section: str, kind: str) -> list[str]:
    """The code of one kind in a section of the page."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


class Hook(ThreadingHTTPServer):
    """A web server that keeps what is posted to it."""

    daemon_threads = True

    def __init__(self) -> None:
        self.bodies: list[tuple[str, str]] = []  # path and body
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def camera() -> Iterator[Camera]:
    """A camera that shows a shut garage: brick; a test may change its `show`."""
    with filming(lambda n: picture("brick", n, side=80)) as server:
        yield server


@pytest.fixture
def garage(home: Path) -> Path:  # noqa: F811
    """A home that knows open and shut, and calls nothing unknown."""
    with Learner(home) as learner:
        learner.rename("brick", "shut")
        learner.rename("grass", "open")
        learner.retrain(known_coverage=1)
    return home


def opens(camera: Camera) -> None:
    camera.show = lambda n: picture("grass", n, side=80)


@contextmanager
def shell(line: str, home: Path, folder: Path, camera: Camera) -> Iterator[subprocess.Popen[str]]:  # noqa: F811
    """Run a line of the page, with this camera in place of the Pi's."""
    program = folder / "bin" / "edge"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edge "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "EDGE_HOME": str(home),
    }
    command = ["bash", "-c", line.replace("picamera", camera.url())]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate()


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed here")


def test_each_change_becomes_a_message_of_mosquitto_pub(
    garage: Path,
    tmp_path: Path,
    camera: Camera,
    port: int,  # noqa: F811
) -> None:
    needs("mosquitto_pub")
    (line,) = [block for block in blocks("Shell scripts", "sh") if "mosquitto_pub" in block]
    with broker(tmp_path, port), Listener(port) as listener:
        line = line.replace("broker.local", f"127.0.0.1 -p {port}")
        with shell(line, garage, tmp_path, camera):
            listener.waits("garage/door", lambda text: json.loads(text)["settled"] == "shut")
            opens(camera)
            listener.waits("garage/door", lambda text: json.loads(text)["settled"] == "open")
    told = [json.loads(text) for topic, text in listener.all if topic == "garage/door"]
    assert all(one["changed"] for one in told), "only changes were published"


def test_a_web_address_is_told_by_the_one_line_and_by_the_script(
    garage: Path, tmp_path: Path, camera: Camera, hook: Hook
) -> None:
    needs("curl")
    line, script = [block for block in blocks("Shell scripts", "sh") if "curl" in block]
    program = tmp_path / "tell-webhook"
    program.write_text(script.replace("http://server.local", hook.url))
    program.chmod(0o755)
    line = line.strip().replace("https://ntfy.sh", hook.url) + f" --on open {program}"
    with shell(line, garage, tmp_path, camera):
        opens(camera)
        wait_for(lambda: len(hook.bodies) == 2)
    bodies = dict(hook.bodies)
    assert bodies["/my-garage"] == "The garage is open"
    told = {name: values[0] for name, values in parse_qs(bodies["/hook"]).items()}
    assert told["label"] == "open"
    assert 0 < float(told["probability"]) <= 1
    datetime.fromisoformat(told["time"])


def test_the_units_of_the_inbox_are_as_systemd_wants_them_and_their_commands_teach(
    garage: Path, tmp_path: Path, camera: Camera
) -> None:
    path, service = blocks("Shell scripts", "ini")
    commands = re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)
    inbox = tmp_path / "inbox"
    for label in ("open", "shut"):
        (inbox / label).mkdir(parents=True)
        for seed in range(3):
            picture("grass" if label == "open" else "brick", 300 + seed).save(inbox / label / f"{seed}.png")
        for command in commands:
            line = command.replace("/opt/edge-transfer/bin/edge", "edge").replace("/var/lib/edge/inbox", str(inbox))
            with shell(line.replace("%i", label), garage, tmp_path, camera) as process:
                process.wait()
            assert process.returncode == 0, command
    with Learner(garage) as learner:
        assert {one.label: one.local for one in learner.status().labels if one.local} == {"open": 3, "shut": 3}
        assert learner.status().generation == 4
    needs("systemd-analyze")
    for text in (path, service):
        name = text.splitlines()[0].removeprefix("# ")
        ready = text.replace("/opt/edge-transfer/bin/edge", sys.executable).replace("User=edge\n", "")
        (tmp_path / name).write_text(ready)
        (tmp_path / name.replace("@", "@open")).symlink_to(name)
    command = [
        "systemd-analyze",
        "verify",
        *(str(tmp_path / f"edge-inbox@open.{kind}") for kind in ("path", "service")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_node_red_posts_when_the_garage_opens(
    garage: Path,
    tmp_path: Path,
    camera: Camera,
    hook: Hook,
    port: int,  # noqa: F811
) -> None:
    if not NODE_RED.exists():
        pytest.skip("Node-RED is not here; run: make build/node-red/ready")
    (line,) = blocks("Node-RED", "sh")
    (flow,) = blocks("Node-RED", "json")
    assert {node["type"] for node in json.loads(flow)} >= {"mqtt in", "switch", "http request"}
    flow = (
        flow.replace('"broker.local"', '"127.0.0.1"')
        .replace('"1883"', f'"{port}"')
        .replace("https://ntfy.sh", hook.url)
    )
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "flow.json").write_text(flow)
    (tmp_path / "red" / "settings.js").write_text(
        "module.exports = {httpAdminRoot: false, httpNodeRoot: false, uiPort: 0, uiHost: '127.0.0.1', "
        "telemetry: {enabled: false, updateNotification: false}, logging: {console: {level: 'info'}}};\n"
    )
    with broker(tmp_path, port) as log:
        command = [NODE_RED, "--userDir", tmp_path / "red", "--settings", tmp_path / "red" / "settings.js", "flow.json"]
        with (tmp_path / "red.log").open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as red:
            try:
                wait_for(lambda: "edge/garage/state" in log.read_text())
                with shell(line.replace("broker.local", f"127.0.0.1:{port}"), garage, tmp_path, camera):
                    wait_for(lambda: "PUBLISH from edge-" in log.read_text())
                    opens(camera)
                    wait_for(lambda: bool(hook.bodies))
            finally:
                red.terminate()
    assert hook.bodies[0][0] == "/my-garage"
    assert re.fullmatch(r"The garage is open, seen at \S+", hook.bodies[0][1].replace("&#x2F;", "/"))


def test_telegraf_reads_fields_that_there_are(garage: Path, tmp_path: Path, camera: Camera) -> None:
    (text,) = blocks("Telegraf", "toml")
    ((settings,),) = tomllib.loads(text)["inputs"].values()
    program, *args = settings["command"]
    assert program == "/opt/edge-transfer/bin/edge"
    args = [str(garage) if arg == "/var/lib/edge" else arg for arg in args]
    with shell(" ".join(["edge", *args]), garage, tmp_path, camera) as process:
        assert process.stdout is not None
        lines: list[dict[str, Any]] = [json.loads(process.stdout.readline()) for _ in range(5)]
    for line in lines:
        assert all(isinstance(line[name], float | int) for name in settings["fieldinclude"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+]00:00", line[settings["json_time_key"]])
    assert lines[-1][settings["tag_keys"][0]] == "shut"
