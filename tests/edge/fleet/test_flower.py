"""The Flower app: a real SuperLink and SuperNodes on loopback, with TLS and registered keys; one of them is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="flwr is not installed: make test-flower")

from edge.learner import Learner
from edge.testing import surface
from tests.edge.test_mqtt import free_port, wait_for

pytestmark = pytest.mark.kills
BIN = Path(sys.executable).parent
APP = Path(__file__).parents[3] / "device_scripts" / "flower"
# The nodes that have a home, with a label of each.
TAUGHT = {"kitchen": "coins", "workshop": "gravel", "garage": "brick"}


class Federation:
    """A SuperLink and its SuperNodes, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "FLWR_HOME": str(folder / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
        }
        self.environment.pop("EDGE_HOME", None)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.names: dict[str, str] = {}  # of the registered nodes, by Flower's number
        self.certificate, secret = folder / "ca.pem", folder / "ca.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", "/CN=fleet", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        subprocess.run([*command, "-keyout", secret, "-out", self.certificate], check=True, capture_output=True)
        (folder / "flwr").mkdir()
        (folder / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "fleet"\n[superlink.fleet]\naddress = "127.0.0.1:{self.port}"\n'
            f'root-certificates = "{self.certificate}"\n'
        )
        self.start(
            "superlink", "flower-superlink", "--host", "127.0.0.1", "--port", self.port, "--enable-supernode-auth",
            "--ssl-certfile", self.certificate, "--ssl-keyfile", secret, "--ssl-ca-certfile", self.certificate,
            "--disable-runtime-dependency-installation",
        )  # fmt: skip
        wait_for(lambda: self.flwr("supernode", "list").returncode == 0)

    def start(self, name: str, *command: object) -> None:
        with self.log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [BIN / str(command[0]), *map(str, command[1:])],
                env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def flwr(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [BIN / "flwr", *map(str, arguments)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def register(self, name: str) -> None:
        done = self.flwr("supernode", "register", f"{self.key(name)}.pub", "--name", name, "--format", "json")
        self.names[str(json.loads(done.stdout)["node-id"])] = name

    def key(self, name: str) -> Path:
        """A node's private key, which is made at the first call."""
        key = self.folder / f"{name}.key"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", key], check=True)
        return key

    def node(self, name: str, home: Path) -> "subprocess.Popen[bytes]":
        """Start a SuperNode."""
        self.start(
            name, "flower-supernode", "--superlink", f"127.0.0.1:{self.port}", "--root-certificates", self.certificate,
            "--auth-supernode-private-key", self.key(name), "--port", free_port(), "--node-config", f'home="{home}"',
        )  # fmt: skip
        return self.processes[name]

    def online(self) -> set[str]:
        listed = json.loads(self.flwr("supernode", "list", "--format", "json").stdout)["nodes"]
        return {self.names[node["node-id"]] for node in listed if node["status"] == "online"}

    def run(self, **config: str) -> "Run":
        return Run(self, config)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait()


class Run:
    """A run of the app, and the lines that its ServerApp prints."""

    def __init__(self, federation: Federation, config: dict[str, str]) -> None:
        told = " ".join(f'{key}="{value}"' for key, value in config.items())
        self._federation = federation
        self._process = subprocess.Popen(
            [BIN / "flwr", "run", APP, "--stream", "--run-config", told],
            env=federation.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []

    def until(self, word: str = "") -> str:
        """Read on until a line has a word, or to the end; return all that was read."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if word and word in line:
                break
        else:
            assert self._process.wait() == 0, self.lines
            assert not word, self.lines
        return "".join(self.lines)


@pytest.fixture(scope="module")
def federation(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Three nodes that were taught something, and the attic, whose home is not there."""
    folder = tmp_path_factory.mktemp("flower")
    made = Federation(folder)
    try:
        for number, (name, label) in enumerate(TAUGHT.items()):
            with Learner.init(folder / name, tiny_bundle) as learner:
                learner.teach(label, [surface(label, 10 * number + seed) for seed in range(4)])
                learner.teach("grass", [surface("grass", 10 * number + seed) for seed in range(3)])
        for name in (*TAUGHT, "attic"):
            made.register(name)
            made.node(name, folder / name)
        wait_for(lambda: made.online() == {*TAUGHT, "attic"})
        yield made
    finally:
        made.stop()


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_the_store_has_what_the_living_nodes_would_contribute_and_the_others_are_named(
    federation: Federation, tiny_bundle: Path, tmp_path: Path
) -> None:
    store, expected = new(tmp_path / "store"), new(tmp_path / "expected")
    garage = federation.processes["garage"].pid
    (starter,) = Path(f"/proc/{garage}/task/{garage}/children").read_text().split()
    os.kill(int(starter), signal.SIGSTOP)  # the garage lives and is asked, but its ClientApp does not start
    run = federation.run(store=store.as_uri())
    assert "asked 4 nodes: attic, garage, kitchen, workshop" in run.until("asked ")
    os.killpg(garage, signal.SIGKILL)
    federation.processes["garage"].wait()
    text = run.until()
    for name in ("kitchen", "workshop"):
        with Learner(federation.folder / name) as learner:
            told = learner.contribute(expected.as_uri())
        assert f"{name}: 7 examples of device {told.device[:8]}\n" in text
    assert contents(store) == contents(expected)
    assert len(contents(store)) == 2
    assert f"2 of 4 nodes contributed 14 examples to {store.as_uri()}; missing: attic, garage\n" in text
    (why,) = (line for line in text.splitlines() if line.startswith("attic: "))
    assert f" {federation.folder / 'attic'};" in why  # the folder that is no home

    before = contents(store)
    output = tmp_path / "made.edge"
    text = federation.run(store=store.as_uri(), base=str(tiny_bundle), output=str(output)).until()
    assert "asked 3 nodes" in text  # the garage is known to be gone by now
    assert text.count("which the store had already") == 2
    assert contents(store) == before
    assert f"{output}: 14 examples of 2 devices" in text
    by_hand = new(tmp_path / "by_hand") / output.name
    command = [BIN / "edge-export", "fleet", "merge", store.as_uri(), "--base", tiny_bundle, "-o", by_hand]
    subprocess.run(command, check=True, capture_output=True)
    assert output.read_bytes() == by_hand.read_bytes()


def test_a_copy_of_a_device_is_named_and_does_not_count(federation: Federation, tmp_path: Path) -> None:
    store = new(tmp_path / "store")
    federation.register("twin")
    twin = federation.node("twin", federation.folder / "kitchen")
    wait_for(lambda: "twin" in federation.online())
    text = federation.run(store=store.as_uri()).until()
    assert "missing: attic, twin\n" in text or "missing: attic, kitchen\n" in text
    assert "--id new" in text
    assert len(contents(store)) == 2
    twin.terminate()
    twin.wait()
    wait_for(lambda: "twin" not in federation.online())


def test_a_node_whose_key_is_not_registered_is_refused_until_it_is(federation: Federation) -> None:
    before = federation.online()
    assert federation.node("stranger", federation.folder / "workshop").wait() != 0
    assert federation.online() == before
    federation.register("stranger")
    federation.node("stranger", federation.folder / "workshop")
    wait_for(lambda: federation.online() == {*before, "stranger"})


def test_a_run_without_a_store_fails_and_says_so(federation: Federation) -> None:
    assert "'' is not the URL of a store" in federation.run(store="").until()
