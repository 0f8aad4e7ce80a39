"""README tells the truth: every command in it runs, in order, and prints what is shown."""

from pathlib import Path

import pytest

from tests.readme import Shell, matches, steps


@pytest.mark.converters
def test_every_readme_command_prints_what_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="README begins on the workstation")
    shell = Shell(tmp_path)
    wrong = []
    for step in steps():
        done = shell.run(step.command)
        code = f"[exit code {done.returncode}]\n" if done.returncode else ""
        # a build's progress goes to stderr and differs from machine to machine
        complaints = "" if step.command.startswith(("edge-export build", "edge-export compare")) else done.stderr
        printed = f"{done.stdout}{complaints}{code}"
        if not matches(step.expected, printed):
            wrong.append(f"README line {step.line}: $ {step.command}\nprinted:\n{printed}")
    assert not wrong, "\n".join(wrong)


def test_a_line_that_is_not_shown_is_noticed() -> None:
    assert matches("a … c", "a b c")
    assert not matches("a … c", "a b\nc")
    assert not matches("a", "a\nb")
    assert not matches("a.b", "axb")
