"""Any words after `edge` end in an exit code that is documented, and a refusal in one line; never in a traceback."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from edge.cli import app
from edge.testing import surface, write_photos

ENDLESS = {"watch", "serve"}  # until they are stopped
WORDS = some.sampled_from([
    "0", "-1", "1", "2", "0.5", "1e309", "nan", "9" * 20, "", "  ", "brick", "coins", "wall", "ü", "caf\udce9", "a\nb",
    "x" * 300, "--", "-", ".", "photos", "photos/brick", "one.png", "text.txt", "empty", "half.edge", "tiny.edge",
    "link", "/proc/self/mem", "nowhere/x", "home", "out.onnx", "out.tflite", "new.backup", "10,10,50,50",
    "0.1,0.1,0.5,0.5", "http://127.0.0.1:9/", "rtsp://u:p@127.0.0.1:9/x", "file:///dev/shm", "s3://x/y", "/dev/video9",
])  # fmt: skip


@some.composite
def command_lines(draw: some.DrawFn) -> list[str]:
    """A command with some of its options and arguments, most of them wrong."""
    context = click.Context(app.cli)
    name = draw(some.sampled_from(sorted(set(app.cli.list_commands(context)) - ENDLESS)))
    command = app.cli.get_command(context, name)
    assert command is not None
    words = [*draw(some.sampled_from([[], ["--json"]])), name]
    for parameter in command.params:
        choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
        value = some.sampled_from([str(choice) for choice in choices]) | WORDS if choices else WORDS
        if isinstance(parameter, click.Argument):
            words += draw(some.lists(value, max_size=2))
        elif isinstance(parameter, click.Option) and parameter.name != "help" and draw(some.integers(0, 3)) == 0:
            words.append(draw(some.sampled_from(parameter.opts)))
            words += [] if parameter.is_flag else [draw(value)]
    return words


@pytest.mark.fuzzing
def test_any_command_line_ends_as_documented(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGE_DEBUG", raising=False)
    monkeypatch.setenv("EDGE_HOME", "home")
    write_photos("photos", {"brick": 3, "coins": 3})
    surface("brick", 77).save("one.png")
    Path("text.txt").write_text("hello")
    Path("empty").touch()
    Path("half.edge").write_bytes(tiny_bundle.read_bytes()[:1000])
    Path("link").symlink_to("nowhere")
    shutil.copy(tiny_bundle, "tiny.edge")

    def run(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["edge", *words])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
            app.main()
        return end.value.code, out.getvalue(), err.getvalue()

    assert run("init", "tiny.edge")[0] == 0
    files = [*Path("photos").rglob("*.png"), *map(Path, ("one.png", "text.txt", "half.edge", "tiny.edge"))]
    before = {file: file.read_bytes() for file in files}

    @given(command_lines())
    @settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
    def ends(words: list[str]) -> None:
        code, out, err = run(*words)
        assert code in {0, 1, 2, 3}, (code, out, err)
        assert "Traceback" not in out + err
        refusals = [line for line in err.split("\n") if line.startswith("error: ")]
        assert len(refusals) == (code == 1) or not {"doctor", "verify"}.isdisjoint(words), (code, out, err)

    ends()
    assert {file: file.read_bytes() for file in files} == before, "nothing that people have is overwritten"
