"""The command line: what it prints, for people and for programs, and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from export.cli import main
from export.network.backbones import BACKBONES
from tests.export.conftest import Surfaces


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """Run a command line in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["edge-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


HELP = """\
Usage: edge-export [OPTIONS] COMMAND [ARGS]...

  Build a bundle from a folder of photos, for an edge device to run and
  retrain.

Options:
  --version   Show the version and exit.
  --json      Print the result as JSON.
  -h, --help  Show this message and exit.

Commands:
  adapt      Fine-tune a network on PHOTOS, one folder per label.
  backbones  List the available networks.
  build      Build a bundle from PHOTOS, one folder per label.
  card       Print the model card of BUNDLE as Markdown.
  check      Verify BUNDLE and show what it contains.
  compare    Rank networks by accuracy on PHOTOS, without training them.
  deploy     Install BUNDLE and this program on a device over ssh.
  fleet      Merge what many devices were taught, and release the result.
  pretrain   Train a backbone from scratch on DATA.
  sample     Write a small set of example photos to FOLDER.
  sign       Sign BUNDLE, so that devices can verify that it comes from you.
"""


def test_help_is_exact_and_needs_no_heavy_import() -> None:
    program = (
        "import sys; sys.argv = ['edge-export', '--help']\n"
        "from export.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'onnx', 'numpy', 'PIL'} & set(sys.modules)), file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == HELP
    assert result.stderr == "[]\n"


def test_backbones_lists_every_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run(capsys, monkeypatch, "backbones")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == ["name", *BACKBONES, "and"]
    assert "--backbone timm:NAME" in lines[-1]
    assert lines[1].split()[:6] == ["efficientnet_lite0", "3.4", "M", "384", "M", "768"]
    assert lines[2].split()[:6] == ["embedded", "0.9", "M", "55", "M", "992"]
    code, out, _ = run(capsys, monkeypatch, "backbones", "--json")
    rows = json.loads(out)
    assert [row["name"] for row in rows] == list(BACKBONES)
    assert rows[0].keys() == {
        "name", "parameters", "multiply_adds", "embedding", "input_size", "weights", "licence",
    }  # fmt: skip


def test_build_prints_its_result_on_stdout_and_its_progress_on_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sample: Path, built: Surfaces, tmp_path: Path
) -> None:
    model = tmp_path / "theirs.tflite"
    model.write_bytes(built.bundle.entry("backbone.tflite"))
    arguments = ["build", sample / "photos", "-o", tmp_path / "x.edge", "--model", model]
    code, out, err = run(capfd, monkeypatch, *arguments)
    assert code == 0
    first, second, third, *table, last, coming, files = out.splitlines()
    assert first == "120 examples of 3 labels: brick 40, grass 40, gravel 40"
    assert second.startswith("accuracy ")
    assert "of 24 correct; 95 % interval" in second
    assert third.startswith("correct by label, the worst first: ")
    assert third.count(" of 8") == 3
    assert table[:3] == ["", "true labels (rows) and answers (columns):", "        brick  grass  gravel"]
    assert last.startswith(f"{tmp_path / 'x.edge'}: ")
    deploy, init = f"edge-export deploy {tmp_path / 'x.edge'} USER@HOST", "edge init x.edge"
    assert coming == f"next: {deploy}, or on the device: {init}"
    assert files == "120 files: 120 read"
    assert "backbone.tflite: 4.8 MB, as delivered; on litert error 0e+00 of the largest value" in err
    assert "\x1b" not in err

    code, out, _ = run(capfd, monkeypatch, *arguments, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["labels"] == ["brick", "grass", "gravel"]
    assert result["accuracy"]["photos"] == 24
    assert [file["file"] for file in result["files"]] == ["backbone.tflite"]
    assert result["skipped"] == []
    assert result["measured"]["labels"] == ["brick", "grass", "gravel"]
    assert result["measured"]["photos"] == [8, 8, 8]
    assert sum(map(sum, result["measured"]["confusion"])) == 24
    assert result["counted"] == {"seen": 120, "read": 120, "left_out": []}
    assert (result["bursts"], result["unmeasured"], result["warnings"], result["odd"]) == ([], [], [], [])


def test_a_photo_that_cannot_be_read_makes_the_exit_code_3(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sample: Path, built: Surfaces, tmp_path: Path
) -> None:
    model = tmp_path / "theirs.onnx"
    model.write_bytes(built.bundle.entry("backbone.onnx"))
    for label in ("brick", "grass"):
        shutil.copytree(sample / "test" / label, tmp_path / "photos" / label)
    shutil.copy(tmp_path / "photos" / "brick" / "brick_00.jpg", tmp_path / "photos" / "brick" / "copy.jpg")
    arguments = ["build", tmp_path / "photos", "-o", tmp_path / "x.edge", "--model", model]
    assert run(capfd, monkeypatch, *arguments)[0] == 0  # a copy is no failure
    (tmp_path / "photos" / "grass" / "grass_00.jpg").write_text("no picture")
    code, _, err = run(capfd, monkeypatch, *arguments)
    assert code == 3
    assert "left out: " in err
    assert "grass_00.jpg" in err


def test_check_says_what_is_in_a_bundle(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, built: Surfaces
) -> None:
    code, out, _ = run(capsys, monkeypatch, "check", built.bundle.path)
    assert code == 0
    assert "backbone embedded: 992 features from 224 × 224 pixels" in out
    assert "backbone.int8.tflite: 1.5 MB, int8, weight-only" in out
    assert "120 examples: brick 40, grass 40, gravel 40" in out
    code, out, _ = run(capsys, monkeypatch, "check", "--json", built.bundle.path)
    result = json.loads(out)
    assert {proof["file"] for proof in result["proofs"]} == {file["file"] for file in result["files"]}


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "missing"])
def test_check_refuses_a_damaged_bundle_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, built: Surfaces, tmp_path: Path, damage: str
) -> None:
    data = bytearray(built.bundle.path.read_bytes())
    path = tmp_path / "x.edge"
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    if damage != "missing":
        path.write_bytes({"cut": data[:-100], "empty": b"", "foreign": b"hello"}.get(damage, data))
    code, out, err = run(capsys, monkeypatch, "check", path)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_errors_are_one_line_and_usage_is_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EDGE_DEBUG", raising=False)
    code, _, err = run(capsys, monkeypatch, "build", tmp_path / "none", "-o", tmp_path / "x.edge")
    assert (code, err) == (
        1,
        f"error: {tmp_path / 'none'} is not a folder; give one that contains a folder of pictures for each label\n",
    )
    assert run(capsys, monkeypatch, "build", tmp_path)[0] == 2
    assert run(capsys, monkeypatch, "build", tmp_path, "-o", "x", "--runtime", "cuda")[0] == 2
    code, _, err = run(capsys, monkeypatch, "build", tmp_path, "-o", "x", "--model", "m", "--weights", "w")
    assert code == 2
    assert "--model is bundled unchanged" in err
    monkeypatch.setenv("EDGE_DEBUG", "1")
    result = subprocess.run(
        [sys.executable, "-c", "from export.cli import main; main()", "check", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        env={**os.environ, "EDGE_DEBUG": "1"},
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_sample_writes_and_says_what_is_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, _ = run(capsys, monkeypatch, "sample", tmp_path / "s")
    assert code == 0
    assert out.splitlines()[-1] == f"next: edge-export build {tmp_path / 's' / 'photos'} -o surfaces.edge"
    code, out, _ = run(capsys, monkeypatch, "sample", tmp_path / "s", "--json")
    assert json.loads(out)["photos"]["device/coins"] == 12
