"""Programs of others that read what we export, each in a throw-away environment of its own under build/clients.

They cannot stand beside the workstation's: an old ONNX Runtime wants numpy 1, MediaPipe brings an OpenCV of its own. An
environment is made once, by pip; where the package index does not have it, the tests that need it are skipped.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "build" / "clients"
ASK = Path(__file__).with_name("ask_client.py")
REQUIREMENTS = {
    "old": ("onnxruntime==1.16.3", "tflite-runtime==2.14.0", "numpy<2"),
    "opencv-4": ("opencv-python-headless==4.12.0.88",),
    "new": ("mediapipe==1.2.3", "opencv-contrib-python==5.1.0.95"),  # which runs without the libraries of a desktop
}
CLIENTS = {
    "onnxruntime 1.16": ("old", "onnxruntime"),
    "tflite-runtime": ("old", "tflite"),
    "OpenCV 4.12": ("opencv-4", "opencv"),
    "OpenCV 5.1": ("new", "opencv"),
    "MediaPipe": ("new", "mediapipe"),
}


def answers_of(client: str, models: list[Path], images: NDArray[np.uint8], folder: Path) -> list[NDArray[np.float32]]:
    """Ask a program of others: for each model float32 (N, C), for uint8 images (N, H, W, 3).

    MediaPipe's are in the order of the labels that it names, sorted.
    """
    environment, program = CLIENTS[client]
    python = python_of(environment)
    np.save(folder / "images.npy", images)
    command = [str(python), str(ASK), program, str(folder / "images.npy"), str(folder / "answers.npz")]
    done = subprocess.run([*command, *map(str, models)], capture_output=True, text=True)
    assert done.returncode == 0, f"{client}: {done.stderr[-2000:]}"
    with np.load(folder / "answers.npz") as answers:
        return [answers[str(index)] for index in range(len(models))]


def python_of(environment: str) -> Path:
    """Return the interpreter of an environment, made at the first call while the other workers wait.

    `ready` says that pip came to its end. Where pip cannot make it, the test is skipped with the reason.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{environment}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _made(environment)


def _made(environment: str) -> Path:
    place = FOLDER / environment
    python, ready = place / "bin" / "python", place / "ready"
    wanted = "\n".join(REQUIREMENTS[environment])
    if ready.is_file() and ready.read_text() == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(place)], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
    install.append("--disable-pip-version-check")
    done = subprocess.run([*install, *REQUIREMENTS[environment]], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"pip cannot install {', '.join(REQUIREMENTS[environment])} here: {done.stderr.strip()[-300:]}")
    ready.write_text(wanted)
    return python
