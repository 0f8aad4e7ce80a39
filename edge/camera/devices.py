"""Cameras and streams as pictures one after another: each function opens one and yields frames until it ends.

A frame is passed on as the bytes of a picture file: JPEG if the camera produces it, else PPM, which costs only a copy.
Every function here blocks, and gives up after `TIMEOUT` without a frame; `source` waits and tries again.

| source | how it is read | needs |
|---|---|---|
| picamera | picamera2, else the program rpicam-vid | Raspberry Pi OS |
| /dev/video0, or 0 | V4L2 | OpenCV: the extra `camera` |
| http://… | `web`: motion JPEG, or one picture again and again; anything else by OpenCV | nothing |
| rtsp://… | ffmpeg within OpenCV | OpenCV |
| a video file | ffmpeg within OpenCV | OpenCV |
"""

import contextlib
import getpass
import os
import select
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edge.camera import mjpeg
from edge.errors import SourceError, SourceRefused
from edge.picture.frame import ppm

TIMEOUT = 10.0  # seconds
WIDTH, HEIGHT, RATE = 1280, 720, 10  # asked of a Pi's camera: pixels, frames a second


class Shot(NamedTuple):
    """A frame of a video file: its bytes, and its time in seconds from the start."""

    data: bytes
    second: float


def pi_camera(number: int) -> Iterator[bytes]:
    """Yield frames of a Raspberry Pi's camera.

    Raises:
        SourceError: neither picamera2 nor rpicam-vid is available, or the camera does not answer.
    """
    reason = ""
    try:
        from picamera2 import Picamera2
    except Exception as error:  # no such module; or one that was compiled against the system's other numpy
        reason = str(error)
    else:
        yield from _picamera2(Picamera2, number)
        return
    program = shutil.which("rpicam-vid") or shutil.which("libcamera-vid")
    if program is None:
        raise SourceRefused("library-missing", _no_pi_camera(reason))
    yield from _rpicam(program, number)


def check_pi_camera() -> None:
    """Raise the SourceError of `pi_camera` now if no installed program can read that camera."""
    if shutil.which("rpicam-vid") is None and shutil.which("libcamera-vid") is None:
        try:
            import picamera2  # noqa: F401
        except Exception as error:
            raise SourceRefused("library-missing", _no_pi_camera(str(error))) from None


def device(path: str) -> Iterator[bytes]:
    """Yield frames of a V4L2 camera, by OpenCV.

    Args:
        path: /dev/video0, or one of the permanent names in /dev/v4l/by-id.

    Raises:
        SourceRefused: this user may not open the camera.
        SourceError: OpenCV is missing, or the camera is missing or cannot be opened.
    """
    if not Path(path).exists():
        others = ", ".join(sorted(map(str, Path("/dev").glob("video*")))[:8])
        raise SourceError(
            "camera-missing",
            f"it is not plugged in; {f'there are {others}' if others else 'there is no camera in /dev'}",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        who, remedy = user()
        raise SourceRefused("camera-denied", f"{who} has no permission to open it; to allow it: {remedy}")
    yield from _read(path, opencv().CAP_V4L2)


def user() -> tuple[str, str]:
    """Return who runs this program, and what lets them open a camera."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as containers have them
        return f"user {os.getuid()}", "start the container with --group-add video"
    return name, f"sudo usermod --append --groups video {name}, then log in again"


def video(address: str) -> Iterator[bytes]:
    """Yield frames of an address, by OpenCV.

    Raises:
        SourceError: OpenCV is missing, or cannot open it.
    """
    yield from _read(address, opencv().CAP_FFMPEG)


def _read(target: str, reader: int) -> Iterator[bytes]:
    with _opened(opencv(), target, reader) as capture:
        while True:
            there, pixels = capture.read()
            if not there:
                return
            yield ppm(pixels[:, :, ::-1])


def film(path: Path, every: float) -> Generator[Shot, None, None]:
    """Yield frames of a video file, `every` seconds of its own time apart.

    Raises:
        SourceError: OpenCV is missing, or cannot read it.
    """
    cv2 = opencv()
    unreadable = f"{path} cannot be read as a video; convert it to MP4 or AVI"
    with _opened(cv2, str(path), cv2.CAP_FFMPEG, "video-unreadable", unreadable) as capture:
        due = 0.0
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        number = 0
        while capture.grab():
            second = number / rate
            number += 1
            if second >= due - 1e-6:
                there, pixels = capture.retrieve()
                if there:
                    yield Shot(ppm(pixels[:, :, ::-1]), second)
                due = second + every
        if not number:
            raise SourceRefused("video-unreadable", unreadable)


def check_film(path: Path) -> None:
    """Raise the SourceError of `film` now if the file cannot be read."""
    with contextlib.closing(film(path, 0.0)) as shots:
        next(shots, None)


def opencv() -> Any:
    """Import OpenCV.

    Raises:
        SourceError: it is not installed, or does not load; the message says what to install.
    """
    # We report what is wrong, in one line: OpenCV's own messages repeat the address with its password.
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
    for name in ("OPENCV_FFMPEG_DEBUG", "OPENCV_VIDEOIO_DEBUG", "OPENCV_LOG_LEVEL"):
        os.environ.pop(name, None)
    try:
        import cv2
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == "cv2" else f" ({error})"
        raise SourceRefused(
            "library-missing",
            f"this source needs OpenCV, which is not available{why}; run: pip install 'edge-transfer[camera]'",
        ) from None
    cv2.utils.logging.setLogLevel(0)
    return cv2


@contextlib.contextmanager
def _opened(
    cv2: Any, target: str, reader: int, code: str = "camera-failed", unreadable: str = "it cannot be opened"
) -> Iterator[Any]:
    limit = round(1000 * TIMEOUT)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    capture = cv2.VideoCapture(target, reader, [] if reader == cv2.CAP_V4L2 else limits)
    try:
        if not capture.isOpened():
            why = "; another program may be using it, or it is not the camera's first device"
            raise SourceError(code, unreadable + (why if reader == cv2.CAP_V4L2 else ""))
        yield capture
    finally:
        capture.release()


def _picamera2(library: Any, number: int) -> Iterator[bytes]:
    try:
        camera = library(number)
    except (RuntimeError, IndexError) as error:
        raise SourceError(
            "camera-missing",
            f"camera {number} was not found ({error}); check its cable, and that no other program uses it",
        ) from None
    try:
        # "BGR888" is how libcamera calls bytes in the order red, green, blue
        camera.configure(camera.create_video_configuration(main={"size": (WIDTH, HEIGHT), "format": "BGR888"}))
        camera.start()
        while True:
            pixels = camera.capture_array("main", wait=TIMEOUT)
            yield ppm(pixels)
    except (RuntimeError, TimeoutError) as error:
        raise SourceError("camera-failed", f"the camera stopped ({error or 'no frame'})") from None
    finally:
        camera.close()


def _rpicam(program: str, number: int) -> Iterator[bytes]:
    command = [program, "--camera", str(number), "--nopreview", "--timeout", "0", "--codec", "mjpeg", "--flush"]
    command += ["--width", str(WIDTH), "--height", str(HEIGHT), "--framerate", str(RATE), "--output", "-"]
    complaints = deque[bytes](maxlen=20)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.fileno(), process.stderr.fileno()

        def read(size: int) -> bytes:
            while True:
                ready, _, _ = select.select([out, err], [], [], TIMEOUT)
                if not ready:
                    raise SourceError("camera-failed", f"{program} gave no data for {TIMEOUT:.0f} s")
                if out in ready:
                    return os.read(out, size)
                said = os.read(err, size)
                if not said:  # it ended
                    return os.read(out, size)
                complaints.append(said)

        try:
            yield from mjpeg.split(read, TIMEOUT)
        finally:
            process.kill()
        complaints.append(process.stderr.read())
    lines = b"".join(complaints).decode(errors="replace").strip().splitlines()
    raise SourceError("camera-failed", f"{program} ended" + (f": {lines[-1]}" if lines else ""))


def _no_pi_camera(reason: str) -> str:
    text = f"the Pi's camera cannot be read: picamera2 cannot be loaded ({reason}), and rpicam-vid is not installed; "
    if sys.prefix != sys.base_prefix and not _sees_system_packages():
        return text + (
            "picamera2 is installed with apt (sudo apt install python3-picamera2), and this virtual environment hides "
            "what apt installs: create it again with python3 -m venv --system-site-packages, or run: sudo apt install "
            "rpicam-apps"
        )
    return text + "run: sudo apt install python3-picamera2, or: sudo apt install rpicam-apps"


def _sees_system_packages() -> bool:
    try:
        settings = (Path(sys.prefix) / "pyvenv.cfg").read_text().lower().replace(" ", "")
    except OSError:
        return False
    return "include-system-site-packages=true" in settings
