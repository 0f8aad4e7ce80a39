"""What reaches a terminal: lines that people can read and nobody can abuse."""

import subprocess
import sys

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
