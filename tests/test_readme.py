"""README and docs tell the truth: every command in them runs, in order, and prints what is shown."""

from pathlib import Path

import pytest

from tests.readme import PAGES, ROOT, Shell, matches, steps


@pytest.mark.converters
def test_every_command_prints_what_is_shown(disk: Path) -> None:
    pytest.importorskip("torch", reason="README begins on the workstation")
    shell = Shell(disk)
    wrong = []
    for step in (step for page in PAGES for step in steps(page)):
        done = shell.run(step.command)
        code = f"[exit code {done.returncode}]\n" if done.returncode else ""
        # a build's progress goes to stderr and differs from machine to machine
        complaints = "" if step.command.startswith(("edge-export build", "edge-export compare")) else done.stderr
        printed = f"{done.stdout}{complaints}{code}"
        if not matches(step.expected, printed):
            wrong.append(f"{step.place}: $ {step.command}\nprinted:\n{printed}")
    assert not wrong, "\n".join(wrong)


def test_no_page_with_commands_is_left_out() -> None:
    pages = ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
    assert {page for page in pages if any(steps(page))} == set(PAGES)


def test_a_line_that_is_not_shown_is_noticed() -> None:
    assert matches("a … c", "a b c")
    assert not matches("a … c", "a b\nc")
    assert not matches("a", "a\nb")
    assert not matches("a.b", "axb")
