"""What reaches a terminal: lines that people can read and nobody can abuse."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli.terminal import confusion_table, shown, table


def test_control_characters_never_reach_the_terminal() -> None:
    assert shown("a\x1b]0;owned\x07b\x9b31m") == "a\\x1b]0;owned\\x07b\\x9b31m"
    assert shown("Dose 🥫\tπ") == "Dose 🥫\tπ"


def test_columns_align_under_wide_characters() -> None:
    assert table([["ガラス", "1"], ["glass!", "22"]], right=[1]) == ["ガラス   1", "glass!  22"]


def test_a_confusion_table_names_rows_and_columns() -> None:
    assert confusion_table(["cat", "dog"], ["cat", "dog"], [[3, 0], [1, 2]]) == [
        "     cat  dog",
        "cat    3    ·",
        "dog    1    2",
    ]


def test_a_reader_that_goes_away_is_no_complaint() -> None:
    command = (
        "import click\nfrom edge.cli import terminal\n"
        "def f():\n  for _ in range(999): terminal.say('y' * 999)\n"
        "terminal.run(click.Command('x', callback=f), 'x')"
    )
    child = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == ""
    child.wait()
    child.stderr.close()


@pytest.mark.parametrize(
    ("fails", "code", "fact"),
    [
        ("bytearray(1_500_000_000)", "out-of-memory", "memory"),
        ("__import__('numpy')", "library-missing", "(libblas.so: cannot be mapped)"),
    ],
)
def test_what_memory_or_a_library_lacks_is_one_line(tmp_path: Path, fails: str, code: str, fact: str) -> None:
    (tmp_path / "numpy.py").write_text(
        "try:\n  raise ImportError('libblas.so: cannot be mapped')\n"
        "except ImportError as error:\n  raise ImportError('A page\\nof advice') from error\n"
    )
    command = (
        "import click, resource\nfrom edge.cli import terminal\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        f"def f(json): {fails}\n"
        "terminal.run(click.Command('x', callback=f, params=[click.Option(['--json'], is_flag=True)]), 'x')"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", command, "--json"], env=os.environ | {"PYTHONPATH": path, "EDGE_DEBUG": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n"), json.loads(done.stdout)["code"]) == (1, 1, code), done.stderr
    assert fact in done.stderr
