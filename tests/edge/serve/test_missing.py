"""Without the extra `web`, `edge serve` says in one line how to install it, and the other commands work."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent


def without(library: str, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `edge` where everything is installed that is here, but not this library."""
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.lower().startswith(library):
            (folder / entry.name).symlink_to(entry)
    start = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(folder)!r}]; from edge.cli import main; main()"
    return subprocess.run([sys.executable, "-I", "-S", "-c", start, *words], capture_output=True, text=True)


@pytest.mark.parametrize("library", ["starlette", "uvicorn"])
def test_a_missing_library_is_said_in_one_line_with_the_command_that_installs_it(library: str, tmp_path: Path) -> None:
    done = without(library, tmp_path, "--home", str(tmp_path / "home"), "serve")
    assert done.returncode == 1
    missing = {library, "starlette"}  # where neither is installed, the first one is named
    assert done.stderr in [f"error: {one} is not installed; run: pip install 'edge-transfer[web]'\n" for one in missing]


def test_the_other_commands_need_no_web_library(tmp_path: Path) -> None:
    done = without("starlette", tmp_path, "--home", str(tmp_path / "home"), "status")
    assert done.returncode == 1
    assert "there is no home" in done.stderr
