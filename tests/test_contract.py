"""Every command × every outcome × plain and JSON, on paths that hold anything: the contract that programs build on.

Held here: the exit code that README names, no traceback, no warning of a library, errors in one line, JSON that is
strict and holds what docs/json.md documents, no more and no less. A command without its rows in contract_cases.py
fails.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from edge.cli.terminal import shown
from edge.fleet.remote import open_remote
from edge.learner import Learner
from edge.network.backbone import RUNTIMES, open_backbone
from tests.contract_cases import CASES, IMPOSSIBLE, OUTCOMES, Case
from tests.edge.cameras import write_film
from tests.edge.conftest import MODELS, picture, write_bundle, write_pictures
from tests.edge.fleet.pooled import pooled
from tests.edge.fleet.published import publish
from tests.export.fleet.devices import contribution, device_id, examples, put

pytest.importorskip("torch", reason="half of the commands are the workstation's")
pytestmark = pytest.mark.usefixtures("exported_once")
DOCS = Path(__file__).parent.parent / "docs" / "json.md"
ODD = os.fsdecode("odd 🐦\n".encode() + b"caf\xe9")  # a blank, an emoji, a newline, and bytes that are not UTF-8
SECRET = "pass/word"


def programs() -> dict[str, click.Group]:
    import edge.cli.app
    import export.cli.app

    return {"edge": edge.cli.app.cli, "edge-export": export.cli.app.cli}


def listed(group: click.Group) -> list[str]:
    """The commands that `--help` lists, those of a group after its name: `fleet merge`."""
    context, found = click.Context(group), []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        within = listed(command) if isinstance(command, click.Group) else [""]
        found += [f"{name} {inner}".strip() for inner in within]
    return found


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace to copy: pictures of every kind, a bundle, a home that was taught, keys, a film."""
    root = tmp_path_factory.mktemp("contract")
    write_pictures(root / "class folders", {"brick": 8, "grass": 8, "coins": 8}, first=600)
    write_pictures(root, {"folder": 0})
    for seed in range(6):
        picture("coins", 700 + seed).save(root / "folder" / f"coin {seed}.png")
    shutil.copytree(root / "folder", root / "mixed")
    (root / "mixed" / "damaged.png").write_bytes((root / "mixed" / "coin 0.png").read_bytes()[:700])
    shutil.copytree(root / "class folders", root / "mixed class folders")
    shutil.copy(root / "mixed" / "damaged.png", root / "mixed class folders" / "brick")
    (root / "unsure").mkdir()
    picture("coins", 800).save(root / "unsure" / "uncertain-20261124T100000.000000.png")
    for empty in ("empty", "store"):
        (root / empty).mkdir()
    (root / "text").write_text("not what is wanted\n")
    network = open_backbone(MODELS["onnx"].read_bytes(), next(r for r in RUNTIMES if r.format == "onnx"), threads=1)
    photos = write_pictures(root / "photos", dict.fromkeys(["brick", "grass", "gravel"], 10))
    write_bundle(root / "bundle.edge", photos, network)
    whole = (root / "bundle.edge").read_bytes()
    (root / "damaged.edge").write_bytes(whole[: len(whole) // 2] + b"!" + whole[len(whole) // 2 + 1 :])
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / "key"], check=True)
    write_pictures(root / "taught", {"coins": 6}, first=900)
    with Learner.init(root / "home", root / "bundle.edge") as learner:
        learner.teach("coins", [root / "taught" / "coins"], session="tuesday")
        learner.retrain()
    pooled(root / "bundle.edge", root / "fleet.edge", ["a" * 32])
    (root / "published").mkdir()
    publish(open_remote((root / "published").as_uri()), 1, 1, root / "fleet.edge")
    stores = {name: root / "stores" / name for name in ("whole", "mixed", "empty")}
    for store in stores.values():
        store.mkdir(parents=True)
    for store in (stores["whole"], stores["mixed"]):
        for number in range(3):
            put(open_remote(store.as_uri()), number)
    name, contributed = contribution(4, *examples(4))
    open_remote(stores["mixed"].as_uri()).put(str(name), contributed[:200])
    pytest.importorskip("cv2", reason="films need OpenCV")
    write_film(root / "film.avi", ["coins", "brick"] * 3)
    (root / "damaged.avi").write_bytes((root / "film.avi").read_bytes()[:300])
    return root


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """For `edge doctor` not in memory."""
    return request.getfixturevalue("disk") if "doctor" in request.node.name else tmp_path


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Path:
    """A copy of the template under a name that no program expects; README's tests have the ordinary ones."""
    shutil.copytree(template / "stores", tmp_path / "stores")  # a URL holds no name that is not UTF-8
    return Path(shutil.copytree(template, tmp_path / ODD))


def names(root: Path, template: Path) -> dict[str, Path | str]:
    """What a case's {names} stand for."""
    same = ("class folders", "mixed class folders", "folder", "mixed", "empty", "unsure", "text", "missing", "new")
    return {name: root / name for name in same} | {
        "bundle": root / "bundle.edge",
        "copy": root / "bundle.edge",
        "damaged bundle": root / "damaged.edge",
        "made": root / "made.edge",
        "new card": root / "new.md",
        "model": MODELS["onnx"],
        "page": root / "page.html",
        "onnx": root / "out.onnx",
        "tflite": root / "out.tflite",
        "labels": root / "labels.txt",
        "store": (root / "store").as_uri(),
        "published": (root / "published").as_uri(),
        "no store": (root / "nowhere").as_uri(),
        "missing folder": root / "nowhere" / "out.onnx",
        "backup": root / "home.backup",
        "key": root / "key.pub",
        "whole store": (root.parent / "stores" / "whole").as_uri(),
        "mixed store": (root.parent / "stores" / "mixed").as_uri(),
        "empty store": (root.parent / "stores" / "empty").as_uri(),
        "device": device_id(1)[:8],
        "private": root / "key",
        "weights": root / "weights.safetensors",
        "film": template / "film.avi",  # OpenCV cannot open every name
        "damaged film": template / "damaged.avi",
    }


class Run:
    """Runs command lines in this process, as the two programs would in theirs."""

    def __init__(self, root: Path, template: Path, patch: pytest.MonkeyPatch, capture: Any) -> None:
        self.root, self.home, self._capture, self._patch = root, root / "home", capture, patch
        self._names = names(root, template)
        patch.delenv("EDGE_DEBUG", raising=False)
        patch.chdir(root)

    def __call__(self, line: str, as_json: bool = False) -> tuple[int, str, str]:
        if line == "new home":
            self.home = self.root / "new home"
            return 0, "", ""
        words = [re.sub(r"\{(.*)\}", lambda m: str(self._names[m[1]]), word) for word in split(line)]
        self._patch.setenv("EDGE_HOME", str(self.home))
        self._patch.setattr(sys, "argv", [*words, *(["--json"] if as_json else [])])
        self._capture.readouterr()
        with usual_warnings(), pytest.raises(SystemExit) as end:
            __import__({"edge": "edge.cli", "edge-export": "export.cli"}[words[0]], fromlist=["main"]).main()
        seen = self._capture.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), seen.out, seen.err


def split(line: str) -> list[str]:
    """Cut a line into words; a name in braces is one word."""
    return [w.replace("\0", " ") for w in shlex.split(re.sub(r"\{[^}]*\}", lambda m: m[0].replace(" ", "\0"), line))]


@pytest.fixture
def run(
    workspace: Path, template: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    import signal

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Run(workspace, template, monkeypatch, capfd)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def usual_warnings() -> Iterator[None]:
    """Fail on what a fresh interpreter would print as a warning."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        for quiet in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", quiet)
        yield
    assert not seen, [str(warning.message) for warning in seen]


def test_every_command_has_a_row_for_every_outcome() -> None:
    there = {f"{program} {name}" for program, group in programs().items() for name in listed(group)}
    rows = {(case.command, case.outcome) for case in CASES}
    wanted = {(command, outcome) for command in there for outcome in OUTCOMES}
    assert not wanted - rows - IMPOSSIBLE.keys(), "add rows to tests/contract_cases.py"
    assert not rows & IMPOSSIBLE.keys()
    assert {command for command, _ in rows | IMPOSSIBLE.keys()} <= there


def marked(case: Case) -> Any:
    """A case as a parameter; what trains or measures networks is slow."""
    trains = case.outcome != "refused" and case.command.split()[-1] in ("adapt", "compare", "pretrain")
    return pytest.param(case, marks=pytest.mark.converters if trains else ())


@pytest.mark.parametrize("as_json", [False, True], ids=["plain", "json"])
@pytest.mark.parametrize("case", [marked(case) for case in CASES], ids=lambda case: f"{case.outcome}: {case.line}")
def test_a_command_keeps_its_contract(run: Run, case: Case, as_json: bool) -> None:
    for line in case.before:
        code, _, complaint = run(line)
        assert code == 0, complaint
    code, out, complaint = run(case.line, as_json)
    assert code in OUTCOMES[case.outcome], out + complaint
    assert "Traceback" not in out + complaint
    assert "Warning" not in complaint
    assert "nan" not in re.findall(r"[a-z]+", out + complaint)
    assert SECRET not in out + complaint
    assert case.outcome != "refused" or case.code or case.command == "edge doctor"
    if case.code:
        problem = complaint.splitlines()
        if as_json:
            refusal = json.loads(out)
            assert refusal.keys() == {"error", "code"}
            assert refusal["code"] == case.code, refusal
            assert shown(refusal["error"]) in complaint
        else:
            assert out == ""
        assert len([line for line in problem if not line.startswith("Usage:")]) <= (3 if code == 2 else 1), complaint
        assert code == 2 or complaint.startswith("error: ")
        return
    if not as_json:
        return
    assert out, "a program must get an answer"
    documented = fields(case.command)
    for line in out.splitlines():
        answer = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        printed = set(paths(answer))
        assert printed <= documented.keys(), f"not in docs/json.md: {sorted(printed - documented.keys())}"
        if answer == {"generation": 2, "promoted": False, "nothing_new": True}:
            continue  # of retrain --if-taught, as the page's text says
        always = {path for path, may_lack in documented.items() if not may_lack and not re.search(r"[.\[{]", path)}
        lacking = {path for path in always if not any(p == path or p.startswith(f"{path}.") for p in printed)}
        assert not lacking, f"documented but not printed: {sorted(lacking)}"


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Every field of an answer, as docs/json.md writes them: `top[].label`; a map's keys are `{}`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            step = "{}" if path in MAPS else f".{key}" if path else key
            yield from paths(inner, f"{path}{step}")
    elif isinstance(value, list) and (not path or any(isinstance(item, dict | list) for item in value)):
        if path:
            yield path
        for item in value:
            yield from (p for p in paths(item, f"{path}[]" if path else "[]") if not p.endswith("[]"))
    elif not path.endswith("[]"):
        yield path


def sections() -> dict[str, dict[str, bool]]:
    """docs/json.md: for each command its fields, and whether a field may be absent."""
    found: dict[str, dict[str, bool]] = {}
    here: list[str] = []
    for line in DOCS.read_text().splitlines():
        if line.startswith("## "):
            here = re.findall(r"`(edge(?:-export)?(?: fleet)? \w+)`", line)
            for command in here:
                found[command] = {}
        elif match := re.match(r"\| `([^`]+)` \|(.*)", line):
            for command in here:
                found[command][match[1]] = "(may be absent)" in match[2]
    return found


def fields(command: str) -> dict[str, bool]:
    return sections()[command]


MAPS = {path.removesuffix("{}") for section in sections().values() for path in section if path.endswith("{}")}


def test_every_command_is_documented() -> None:
    assert sections().keys() == {f"{p} {name}" for p, group in programs().items() for name in listed(group)}


def test_the_check_itself_finds_what_is_undocumented() -> None:
    assert set(paths({"a": [{"b": 1}], "c": [1, 2], "d": {"e": None}})) == {"a", "a[].b", "c", "d.e"}
