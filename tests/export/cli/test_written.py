"""What is there already is replaced only if this program wrote it; a disk that refuses is told with the file's name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.errors import BundleError, DatasetError
from edge.files import replacing
from export.adapt.resume import check_output
from export.photos.sample import write_sample
from export.written import DRAWING, check_bundle, check_drawing, check_log, check_weights
from tests.export.cli.test_cli import run
from tests.export.conftest import Surfaces
from tests.refused import refused

MINE = b"my own work"


@pytest.mark.parametrize("check", [check_bundle, check_weights, check_drawing, check_log])
def test_a_file_that_this_program_did_not_write_is_refused(tmp_path: Path, check: Callable[[Path], None]) -> None:
    path = tmp_path / "mine"
    check(path)
    path.touch()
    check(path)  # nothing would be lost
    path.write_bytes(MINE)
    with refused("output-exists", BundleError, "mine"):
        check(path)
    assert path.read_bytes() == MINE


@pytest.mark.parametrize("check", [check_bundle, check_weights, check_drawing])
def test_a_folder_that_is_missing_is_said_before_the_work(tmp_path: Path, check: Callable[[Path], None]) -> None:
    with refused("output-unwritable", BundleError, "does not exist"):
        check(tmp_path / "no" / "x")


def test_what_this_program_wrote_may_be_replaced(built: Surfaces, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    check_bundle(built.bundle.path)
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "w.safetensors")
    check_weights(tmp_path / "w.safetensors")
    (tmp_path / "p.svg").write_text(f"<svg><title>{DRAWING}: …</title></svg>")
    check_drawing(tmp_path / "p.svg")
    (tmp_path / "w.log").write_text('{"step": 1}\n{"step": 2')
    check_log(tmp_path / "w.log")


@pytest.mark.parametrize("name", ["adapted.json", "weights.safetensors", "report.html", "photo.jpg", ".work"])
def test_a_folder_with_files_of_others_is_not_adapted_into(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    check_output(folder)
    folder.mkdir()
    check_output(folder)
    if name == ".work":
        (folder / name).mkdir()
        (folder / name / "thesis.txt").write_bytes(MINE)
    else:
        (folder / name).write_bytes(MINE)
    with refused("output-exists", BundleError, name):
        check_output(folder)


def test_an_adapted_folder_and_an_unfinished_one_may_be_written_again(tmp_path: Path) -> None:
    (tmp_path / "adapted.json").write_text(json.dumps({"program": "edge-transfer 0.1.0", "format": 1}))
    (tmp_path / "report.html").touch()
    check_output(tmp_path)
    other = tmp_path / "other"
    (other / ".work").mkdir(parents=True)
    (other / ".work" / "run.json").write_text('{"run": "abc"}')
    (other / ".work" / "full.pt").touch()
    (other / "weights.safetensors").touch()  # killed between the weights and adapted.json
    check_output(other)


def test_a_sample_that_was_cut_off_is_known_again(tmp_path: Path, sample: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(sample, folder)
    shutil.rmtree(folder / "test")
    write_sample(folder)
    assert (folder / "test" / "coins" / "coins_00.jpg").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "SOURCE.txt").write_bytes(MINE)
    with refused("output-exists", DatasetError, "not empty"):
        write_sample(tmp_path / "mine")


def test_build_does_not_replace_a_photo(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    photo_folder: Callable[..., Path],
    tmp_path: Path,
) -> None:
    output = photo_folder(cup=2, plate=2) / "cup" / "0.png"
    before = output.read_bytes()
    code, out, err = run(capfd, monkeypatch, "build", output.parents[1], "-o", output)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "0.png is there already and is not a bundle" in err
    assert output.read_bytes() == before


def test_a_disk_that_refuses_is_told_with_the_files_name(tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from edge.files import replacing\n"
        "import torch\n"
        "from export.adapt import checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    if sys.argv[2] == 'checkpoint': checkpoint.save(Path(sys.argv[1]), {'a': torch.ones(9999)})\n"
        "    with replacing(Path(sys.argv[1])) as partial: partial.write_bytes(bytes(9999))\n"
        "except OSError as error: print(error.filename, error.strerror)\n"
    )
    for kind in ("plain", "checkpoint"):
        path = tmp_path / "out.bin"
        path.write_bytes(MINE)
        done = subprocess.run(
            [sys.executable, "-c", program, path, kind], capture_output=True, text=True, check=True, cwd=Path.cwd()
        )
        assert done.stdout == f"{path} File too large\n"
        assert path.read_bytes() == MINE
        assert list(tmp_path.iterdir()) == [path]


def test_an_error_without_a_file_gets_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full") as caught, replacing(tmp_path / "x"):
        raise OSError(28, "full")
    assert caught.value.filename == str(tmp_path / "x")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["build", "PHOTOS", "-o", "x.edge"], "no bundle was written"),
        (["adapt", "PHOTOS", "-o", "out", "--minutes", "60"], "run the same command again to continue"),
        (["compare", "PHOTOS", "--backbone", "embedded"], "nothing was written"),
    ],
)
def test_ctrl_c_leaves_one_line_that_is_true(sample: Path, tmp_path: Path, command: list[str], says: str) -> None:
    filled = [str(sample / "photos") if part == "PHOTOS" else part for part in command]
    process = subprocess.Popen(
        [sys.executable, "-m", "export", *filled],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    torch_is_loaded = f"/proc/{process.pid}/maps"
    while process.poll() is None and "libtorch_cpu" not in Path(torch_is_loaded).read_text():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1].startswith(f"interrupted; {says}")
    assert "Traceback" not in err
    assert not (tmp_path / "x.edge").exists()
