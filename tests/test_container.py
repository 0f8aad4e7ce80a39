"""The image is built from device_scripts/Dockerfile and does the whole job in a container; so does the add-on's.

What needs an engine runs by `make test-container` with podman. Its base image is Debian's from Docker Hub or, where no
registry can be reached, the same Debian as mmdebstrap makes it. The add-on meets the real address of a supervisor on a
network of its own, where a small server answers as Home Assistant's documentation says that the supervisor does.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import edge

ROOT = Path(__file__).parent.parent
ADDON = ROOT / "device_scripts" / "homeassistant"
BUNDLE = ROOT / "build" / "surfaces.edge"
PHOTOS = ROOT / "build" / "sample" / "photos"
HUB = "docker.io/library/debian:trixie-slim"
# Keys of an add-on's configuration: developers.home-assistant.io, Add-on configuration
KEYS = {
    "name", "version", "slug", "description", "arch", "machine", "url", "startup", "webui", "boot", "ports", "init",
    "homeassistant", "ingress", "ingress_port", "ingress_stream", "panel_icon", "panel_title", "panel_admin",
    "services", "video", "tmpfs", "map", "backup", "options", "schema", "stage", "watchdog",
}  # fmt: skip
FITS = {"str": str, "str?": str, "bool": bool}


def read(path: Path) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_addons_configuration_is_one_that_the_supervisor_takes() -> None:
    config = read(ADDON / "config.yaml")
    assert set(config) <= KEYS
    assert config["version"] == edge.__version__
    assert re.fullmatch("[-_.A-Za-z0-9]+", config["slug"])
    assert set(config["arch"]) <= {"aarch64", "amd64"}
    assert re.match(r"^(?:https?|\[PROTO:\w+\]|tcp):\/\/\[HOST\]:(\[PORT:\d+\]|\d+).*$", config["watchdog"])
    assert all(re.fullmatch("(mqtt|mysql):(provide|want|need)", service) for service in config["services"])
    assert set(config["options"]) == set(config["schema"])
    for name, kind in config["schema"].items():
        default = config["options"][name]
        pattern = re.fullmatch(r"match\((.+)\)\??", kind)
        assert re.fullmatch(pattern[1], default) if pattern else isinstance(default, FITS[kind]), name
    for translation in (ADDON / "translations").glob("*.yaml"):
        assert set(read(translation)["configuration"]) == set(config["schema"]), translation.name


def test_the_compose_file_keeps_the_roots_read_only_and_the_home_in_a_volume() -> None:
    compose = read(ROOT / "device_scripts" / "compose.yaml")
    service = compose["services"]["edge"]
    assert (ROOT / "device_scripts" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    (volume,) = service["volumes"]
    assert volume.split(":")[1] == "/var/lib/edge"
    assert volume.split(":")[0] in compose["volumes"]
    assert set(service["depends_on"]) <= set(compose["services"])


# with an engine -----------------------------------------------------------------------------------------------------


class Engine:
    """podman, in the way in which it can run a container on this machine."""

    def __init__(self, before: list[str], limits: list[str]) -> None:
        self.before, self.limits = before, limits

    def __call__(self, *words: object, check: bool = True, **more: Any) -> str:
        limits = self.limits if words[0] in ("run", "build") else []
        command = ["podman", *self.before, str(words[0]), *limits, *map(str, words[1:])]
        done = subprocess.run(command, capture_output=True, text=True, **more)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}{done.stdout}"
        return done.stdout + ("" if check else done.stderr)


LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
WAYS = [Engine([], []), Engine([], LIMITS), Engine(["--runtime", "runc"], LIMITS)]  # the last for hybrid cgroups


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, str]]:
    """An engine that runs a container here, and an image of a bare Debian."""
    if not os.environ.get("EDGE_CONTAINER"):
        pytest.skip("takes minutes: make test-container")
    if shutil.which("podman") is None:
        pytest.skip("no podman here: apt install podman")
    image, podman = HUB, WAYS[0]
    if "Error" in podman("pull", "--quiet", HUB, check=False):
        if shutil.which("mmdebstrap") is None:
            pytest.skip(f"{HUB} cannot be had, and there is no mmdebstrap to make it: apt install mmdebstrap")
        image, archive = "localhost/edge-test-debian:trixie", ROOT / "build" / "debian-trixie.tar"
        if not archive.exists():
            partial = archive.with_suffix(".partial.tar")
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "trixie", partial], check=True)
            partial.rename(archive)
        podman("import", "--quiet", archive, image)
    for way in WAYS:
        if "runs" in way("run", "--rm", image, "echo", "runs", check=False):
            yield way, image
            return
    pytest.skip(f"podman cannot run a container here: {way('run', '--rm', image, 'true', check=False).strip()[-300:]}")


def built(base: tuple[Engine, str], folder: Path, name: str, dockerfile: str, **arguments: str) -> str:
    """Build an image of the project, or of the add-on's folder."""
    podman, image = base
    mounts: list[str] = []
    certificates = os.environ.get("PIP_CERT")
    if certificates:  # a package index with a certificate of its own
        settings = folder / "pip.conf"
        settings.write_text("[global]\ncert = /etc/ssl/certs/index.crt\n")
        mounts = ["-v", f"{certificates}:/etc/ssl/certs/index.crt:ro", "-v", f"{settings}:/etc/pip.conf:ro"]
    options = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    context = ROOT if dockerfile.startswith("device_scripts") else ROOT / "build" / "addon" / "edge_transfer"
    podman(
        "build", "--network", "host", "--format", "docker", *mounts, "--build-arg", f"BASE={image}", *options,
        "-f", context / dockerfile, "-t", name, context,
    )  # fmt: skip
    return name


@pytest.fixture(scope="session")
def image(base: tuple[Engine, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("image")
    arguments = {"RUNTIME": "onnx", "EXTRAS": "mqtt,web"}
    return built(base, folder, "localhost/edge-test", "device_scripts/Dockerfile", **arguments)


def until(fits: Callable[[], Any]) -> Any:
    end = time.monotonic() + 120
    while not (found := fits()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.2)
    return found


@pytest.fixture
def volume(base: tuple[Engine, str]) -> Iterator[str]:
    podman, name = base[0], f"edge-test-{secrets.token_hex(4)}"
    podman("volume", "create", name)
    yield name
    podman("volume", "rm", "--force", name)


HARD = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


def test_the_image_does_the_whole_job_without_root_on_a_read_only_root(
    base: tuple[Engine, str], image: str, volume: str
) -> None:
    podman = base[0]
    mounts = ["-v", f"{volume}:/var/lib/edge", "-v", f"{BUNDLE}:/kitchen.edge:ro", "-v", f"{PHOTOS}:/photos:ro"]

    def edge(*words: str, **more: Any) -> str:
        return podman("run", "--rm", "-i", *HARD, *mounts, image, *words, **more)

    edge("init", "/kitchen.edge")
    label = sorted(folder.name for folder in PHOTOS.iterdir())[0]
    photo = sorted((PHOTOS / label).iterdir())[0].name
    answer = json.loads(edge("--json", "classify", f"/photos/{label}/{photo}"))
    assert answer["label"] == label
    edge("teach", "wall", f"/photos/{label}/{photo}")
    assert json.loads(edge("--json", "status"))["untrained_examples"] == 1, "the home outlives a container"
    who = podman(
        "run", "--rm", *HARD, "--entrypoint", "sh", image, "-c", "id -u; touch /x || echo refused", check=False
    )
    assert who.splitlines()[0] == "10001"
    assert "refused" in who
    edge("password", "-", input="correct horse\n")
    name = podman("run", "-d", *HARD, *mounts, image).strip()
    try:
        until(lambda: "the page is at" in podman("logs", name, check=False))
        until(lambda: "healthy" in podman("healthcheck", "run", name, check=False) or _healthy(podman, name))
        pages = ("healthz", "now")
        ask = "import sys, urllib.request as r\ntry: print(r.urlopen('http://127.0.0.1:8080/' + sys.argv[1]).status)\n"
        ask += "except r.HTTPError as error: print(error.code)\n"
        told = [podman("exec", name, "python3", "-c", ask, page).strip() for page in pages]
        assert told == ["200", "401"], "it asks for the password"
        podman("stop", "--time", "60", name)
        assert podman("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0", podman("logs", name)
    finally:
        podman("rm", "--force", "--volumes", name, check=False)


def _healthy(podman: Engine, name: str) -> bool:
    return podman("inspect", "--format", "{{.State.Health.Status}}", name, check=False).strip() == "healthy"


def test_without_a_home_the_container_says_in_one_line_what_to_do(
    base: tuple[Engine, str], image: str, volume: str
) -> None:
    said = base[0]("run", "--rm", *HARD, "-v", f"{volume}:/var/lib/edge", image, "status", check=False)
    (line,) = [line for line in said.splitlines() if not line.startswith("time=")]  # podman's own
    assert "edge --home /var/lib/edge init" in line


SUPERVISOR = """\
import http.server, json, os
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        right = self.path == "/services/mqtt" and self.headers["Authorization"] == "Bearer of-the-addon"
        body = json.dumps({"result": "ok", "data": {"host": "172.30.32.2", "port": 1883, "ssl": False,
                           "username": "addons", "password": "p@ss/word", "protocol": "3.1.1"}}).encode()
        self.send_response(200 if right else 401)
        self.end_headers()
        self.wfile.write(body if right else b"{}")
http.server.HTTPServer(("", 80), Answers).serve_forever()
"""
ASK = """\
import sys, urllib.request as r
headers = {"Host": "homeassistant.local:8123", "X-Ingress-Path": "/api/hassio_ingress/token"}
try:
    answer = r.urlopen(r.Request(sys.argv[1], headers=headers), timeout=20)
    print(answer.status, len(answer.read()))
except r.HTTPError as error:
    print(error.code, error.read().decode())
"""


def test_the_addon_serves_its_page_to_the_supervisor_alone(
    base: tuple[Engine, str], tmp_path: Path, volume: str
) -> None:
    podman, network = base[0], f"edge-test-{secrets.token_hex(4)}"
    addon = built(base, tmp_path, "localhost/edge-test-addon", "Dockerfile", RUNTIME="onnx", EXTRAS="mqtt,web")
    share = tmp_path / "share" / "edge"
    share.mkdir(parents=True)
    shutil.copy(BUNDLE, share / "kitchen.edge")
    options = tmp_path / "options.json"
    options.write_text(json.dumps({**read(ADDON / "config.yaml")["options"], "region": "0,0,0.5,0.5"}))
    running: list[str] = []
    podman("network", "create", "--subnet", "172.30.32.0/23", network)
    try:
        at = ["--network", network, "--ip"]
        python = ["--user", "0", "--entrypoint", "python3"]
        supervisor = podman("run", "-d", *at, "172.30.32.2", *python, addon, "-c", SUPERVISOR).strip()
        other = podman("run", "-d", *at, "172.30.32.6", *python, addon, "-c", "import time; time.sleep(900)").strip()
        running += [supervisor, other]
        name = podman(
            "run", "-d", *at, "172.30.33.9", "--add-host", "supervisor:172.30.32.2",
            "-e", "SUPERVISOR_TOKEN=of-the-addon", "-v", f"{volume}:/data",
            "-v", f"{options}:/data/options.json:ro", "-v", f"{share.parent}:/share:ro", addon,
        ).strip()  # fmt: skip
        running.append(name)
        until(lambda: "the page is at" in podman("logs", name, check=False) or _ended(podman, name))
        url = "http://172.30.33.9:8080/"
        for page in ("", "teach", "now", "healthz"):
            told = podman("exec", supervisor, "python3", "-c", ASK, url + page)
            assert told.split()[0] == "200", (page, told, podman("logs", name))
            assert int(told.split()[1]) > 10
            refused = podman("exec", other, "python3", "-c", ASK, url + page)
            assert refused.startswith("403 "), (page, refused)
        processes = podman("exec", name, "python3", "-c", "import os; print(os.stat('/proc/1').st_uid)")
        assert processes.strip() == "10001"
        environment = podman("exec", "--user", "10001", name, "python3", "-c", "print(open('/proc/1/environ').read())")
        assert "EDGE_MQTT=mqtt://addons:p%40ss%2Fword@172.30.32.2:1883/camera" in environment
        assert "of-the-addon" not in environment, "the supervisor's token is handed to nobody"
        status = json.loads(podman("exec", "--user", "10001", name, "edge", "--home", "/data/edge", "--json", "status"))
        assert status["region"] == "0,0,0.5,0.5"
        podman("restart", "--time", "60", name)
        until(lambda: podman("logs", name, check=False).count("the page is at") == 2 or _ended(podman, name))
        assert podman("logs", name).count("adopted") <= 1
    finally:
        podman("rm", "--force", "--volumes", *running, check=False)
        podman("network", "rm", "--force", network, check=False)


def _ended(podman: Engine, name: str) -> bool:
    assert podman("inspect", "--format", "{{.State.Running}}", name).strip() == "true", podman(
        "logs", name, check=False
    )
    return False
