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
UNITS = ("edge-watch.service", "edge-retrain.service", "edge-retrain.timer")


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
    assert "--json" not in (SCRIPTS / "edge-watch.service").read_text().replace("# without --json", "")


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.endswith(".service")])
def test_a_unit_runs_a_command_with_options_that_exist(unit: str) -> None:
    text = (SCRIPTS / unit).read_text()
    (line,) = re.findall(r"^ExecStart=/opt/edge-transfer/bin/edge (.+)$", text, re.MULTILINE)
    name, *options = line.split()
    command = app.cli.get_command(click.Context(app.cli), name)
    assert command is not None, name
    known = {option for parameter in command.params for option in parameter.opts}
    assert {option for option in options if not option.startswith("$")} <= known
    variables = {p.envvar for p in command.params if isinstance(p, click.Parameter)} | {"EDGE_HOME"}
    named = set(re.findall(r"\b(EDGE_[A-Z]+)=", text)) | set(re.findall(r"\b(EDGE_WATCH_OPTIONS)\b", text))
    assert named <= variables | {"EDGE_WATCH_OPTIONS"}
