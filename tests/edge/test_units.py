"""The systemd units are as systemd wants them, and ask for commands that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edge.cli import app

SCRIPTS = Path(__file__).parent.parent.parent / "device_scripts"
UNITS = (
    "edge-watch.service",
    "edge-serve.service",
    "edge-retrain.service",
    "edge-retrain.timer",
    "edge-fleet.service",
    "edge-fleet.timer",
)


def test_systemd_finds_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    for unit in UNITS:
        text = (SCRIPTS / unit).read_text().replace("/opt/edge-transfer/bin/edge", sys.executable)  # which exists here
        (tmp_path / unit).write_text(text)
    command = ["systemd-analyze", "verify", *[str(tmp_path / unit) for unit in UNITS]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_writes_changes_and_not_every_frame_into_the_journal() -> None:
    for unit in ("edge-watch.service", "edge-serve.service"):
        assert "--json" not in (SCRIPTS / unit).read_text().replace("# without --json", "")


def test_the_page_is_as_hardened_as_the_watch() -> None:
    hardening = "UMask=.*?(?=\n\n\\[Install)"
    watch, serve = (
        re.findall(hardening, (SCRIPTS / f"edge-{name}.service").read_text(), re.DOTALL) for name in ("watch", "serve")
    )
    assert watch == serve
    assert len(watch) == 1


def test_the_fleet_is_as_hardened_as_the_retraining_but_for_the_network() -> None:
    text = {name: (SCRIPTS / f"edge-{name}.service").read_text() for name in ("retrain", "fleet")}
    retrain, fleet = (set(t[t.index("UMask=") :].splitlines()) for t in text.values())
    assert retrain - fleet == {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"}
    assert fleet - retrain == {"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"}


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.endswith(".service")])
def test_a_unit_runs_a_command_with_options_that_exist(unit: str) -> None:
    text = (SCRIPTS / unit).read_text()
    lines = re.findall(r"^ExecStart=-?/opt/edge-transfer/bin/edge (.+)$", text, re.MULTILINE)
    assert lines
    variables = {"EDGE_HOME"}
    for line in lines:
        name, *options = line.split()
        command = app.cli.get_command(click.Context(app.cli), name)
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert {option for option in options if not option.startswith("$")} <= known
        variables |= {str(p.envvar) for p in command.params} | {f"EDGE_{name.upper()}_OPTIONS"}
    named = set(re.findall(r"\b(EDGE_[A-Z]+)=", text)) | set(re.findall(r"\b(EDGE_(?:WATCH|SERVE)_OPTIONS)\b", text))
    assert named <= variables
