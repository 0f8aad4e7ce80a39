"""The console blocks of README and docs as one script, for tests; `python -m tests.readme` runs README's in ./demo.

The pages follow one another in one folder, as a reader would go on. In a ```console block a line that begins with `$ `
is a command; the lines up to the next one are what it prints, stdout and then stderr without the build's progress,
where … stands for anything within a line. `[exit code N]` follows where it is not 0.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    *(f"docs/{name}.md" for name in ("photos", "device", "good", "security", "safety")),
)  # in this order


@dataclass(frozen=True)
class Step:
    """One command, what it prints, and the page and line where it stands."""

    command: str
    expected: str
    place: str


def steps(page: str) -> Iterator[Step]:
    """Read a page's commands in their order."""
    inside, command, printed, line = False, "", list[str](), ""
    for number, text in enumerate((ROOT / page).read_text().splitlines(), 1):
        if text.startswith("```"):
            if inside and command:
                yield Step(command, "\n".join(printed), line)
            inside, command = text == "```console", ""
        elif inside and text.startswith("$ "):
            if command:
                yield Step(command, "\n".join(printed), line)
            command, printed, line = text.removeprefix("$ "), [], f"{page}, line {number}"
        elif inside:
            printed.append(text)


class Shell:
    """Runs commands one after another in one folder, as a person would in one terminal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "COLUMNS": "200"}

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one command; an `export NAME=VALUE` stays for the next ones."""
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self._environment[name] = value.replace("$PWD", str(self._folder))
            return subprocess.CompletedProcess(command, 0, "", "")
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )


def matches(expected: str, printed: str) -> bool:
    """Whether what was printed is what the page shows, blanks at line ends and the width of a table's gaps apart."""

    def lines(text: str) -> str:
        return "\n".join(re.sub(r" {2,}", "  ", line.rstrip()) for line in text.strip().splitlines())

    pattern = ".*".join(re.escape(part) for part in lines(expected).split("…"))
    return re.fullmatch(pattern, lines(printed)) is not None


def main() -> None:
    """Run README's commands and show what they print."""
    folder = Path("demo")
    folder.mkdir()
    shell = Shell(folder.absolute())
    for step in steps("README.md"):
        print(f"\n$ {step.command}", flush=True)
        done = shell.run(step.command)
        print(done.stderr + done.stdout, end="", flush=True)
        if done.returncode:
            sys.exit(done.returncode)
    print(f"\nthe bundle is {folder.absolute() / 'surfaces.edge'}; the device's home is {folder.absolute() / 'home'}")


if __name__ == "__main__":
    main()
