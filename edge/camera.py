"""Cameras and streams as pictures one after another: each function opens one and yields frames until it ends.

A frame travels as the bytes of a picture file: JPEG where the camera makes one, else PPM, which costs no more than a
copy. Everything here blocks, and gives up by itself after `TIMEOUT` without a frame; `source` waits and tries again.

| what is given | how it is read | needs |
|---|---|---|
| picamera | picamera2, else the program rpicam-vid | Raspberry Pi OS |
| /dev/video0, or 0 | V4L2 | OpenCV: the extra `camera` |
| http://… | motion JPEG, or one picture again and again; anything else by OpenCV | nothing |
| rtsp://… | ffmpeg within OpenCV | OpenCV |
| a video file | ffmpeg within OpenCV | OpenCV |
"""

import contextlib
import os
import select
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from edge import mjpeg
from edge.errors import SourceError

TIMEOUT = 10.0  # seconds
WIDTH, HEIGHT, RATE = 1280, 720, 10  # asked of a Pi's camera: pixels, frames a second


class Shot(NamedTuple):
    """A frame of a film: its bytes, and when it comes, in seconds from the start."""

    data: bytes
    second: float


def pi_camera(number: int) -> Iterator[bytes]:
    """Yield frames of a Raspberry Pi's camera.

    Raises:
        SourceError: neither picamera2 nor rpicam-vid is to be had, or the camera does not answer.
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
        raise SourceError(_no_pi_camera(reason))
    yield from _rpicam(program, number)


def check_pi_camera() -> None:
    """Raise the SourceError of `pi_camera` now, if nothing is there that could ever read one."""
    if shutil.which("rpicam-vid") is None and shutil.which("libcamera-vid") is None:
        try:
            import picamera2  # noqa: F401
        except Exception as error:
            raise SourceError(_no_pi_camera(str(error))) from None


def http(url: str, every: float) -> Iterator[bytes]:
    """Yield the frames of an address: motion JPEG, one picture asked for again and again, or what OpenCV can read.

    Args:
        url: may hold user and password; basic and digest authentication are tried.
        every: seconds from one asking to the next, where it gives one picture.

    Raises:
        SourceError: it does not answer, or with something else.
    """
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, bare, unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.build_opener(
        urllib.request.HTTPDigestAuthHandler(passwords), urllib.request.HTTPBasicAuthHandler(passwords)
    )
    while True:
        try:
            with opener.open(bare, timeout=TIMEOUT) as answer:
                kind = answer.headers.get_content_type()
                if kind.startswith("multipart/"):
                    yield from mjpeg.split(answer.read1)
                    return
                if kind.startswith("image/"):
                    data = answer.read(mjpeg.MAX_BYTES)
                    yield data
                elif kind.startswith(("video/", "application/")):
                    break
                else:
                    raise SourceError(f"it answers with {kind}, which is no picture; give the address of its stream")
        except urllib.error.HTTPError as error:
            raise SourceError(f"it answers {error.code} {error.reason}") from None
        except (urllib.error.URLError, OSError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(str(getattr(error, "reason", error)) or type(error).__name__) from None
        time.sleep(every)
    yield from video(url)


def video(target: str | int) -> Iterator[bytes]:
    """Yield frames of a V4L2 camera (its number) or an address, by OpenCV.

    Raises:
        SourceError: OpenCV is missing, or cannot open it.
    """
    cv2 = opencv()
    with _opened(cv2, target) as capture:
        while True:
            there, pixels = capture.read()
            if not there:
                return
            yield _ppm(pixels)


def film(path: Path, every: float) -> Generator[Shot, None, None]:
    """Yield frames of a video file, so many seconds of its own time apart.

    Raises:
        SourceError: OpenCV is missing, or cannot read it.
    """
    cv2 = opencv()
    with _opened(cv2, str(path)) as capture:
        due = 0.0
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        number = 0
        while capture.grab():
            second = number / rate
            number += 1
            if second >= due - 1e-6:
                there, pixels = capture.retrieve()
                if there:
                    yield Shot(_ppm(pixels), second)
                due = second + every
        if not number:
            raise SourceError(f"{path} is no video that can be read; convert it to MP4 or AVI")


def opencv() -> Any:
    """Import OpenCV.

    Raises:
        SourceError: it is not installed, or does not load; the message says what to install.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is said by us, in one line
    try:
        import cv2
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == "cv2" else f" ({error})"
        raise SourceError(
            f"this source is read by OpenCV, which is not here{why}; run: pip install 'edge-transfer[camera]'"
        ) from None
    cv2.utils.logging.setLogLevel(0)
    return cv2


@contextlib.contextmanager
def _opened(cv2: Any, target: str | int) -> Iterator[Any]:
    if isinstance(target, int):
        capture = cv2.VideoCapture(target, cv2.CAP_V4L2)
    else:
        limit = round(1000 * TIMEOUT)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        capture = cv2.VideoCapture(target, cv2.CAP_FFMPEG, limits)
    try:
        if not capture.isOpened():
            raise SourceError("it cannot be opened")
        yield capture
    finally:
        capture.release()


def _picamera2(library: Any, number: int) -> Iterator[bytes]:
    try:
        camera = library(number)
    except (RuntimeError, IndexError) as error:
        raise SourceError(f"no camera {number} ({error}); check its cable, and that no other program uses it") from None
    try:
        # "BGR888" is how libcamera calls bytes in the order red, green, blue
        camera.configure(camera.create_video_configuration(main={"size": (WIDTH, HEIGHT), "format": "BGR888"}))
        camera.start()
        while True:
            pixels = camera.capture_array("main", wait=TIMEOUT)
            yield _ppm(pixels[:, :, ::-1])
    except (RuntimeError, TimeoutError) as error:
        raise SourceError(f"the camera stopped ({error or 'no frame'})") from None
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
                    raise SourceError(f"{program} gave nothing for {TIMEOUT:.0f} s")
                if out in ready:
                    return os.read(out, size)
                said = os.read(err, size)
                if not said:  # it ended
                    return os.read(out, size)
                complaints.append(said)

        try:
            yield from mjpeg.split(read)
        finally:
            process.kill()
        complaints.append(process.stderr.read())
    lines = b"".join(complaints).decode(errors="replace").strip().splitlines()
    raise SourceError(f"{program} ended" + (f": {lines[-1]}" if lines else ""))


def _no_pi_camera(reason: str) -> str:
    text = f"no way to read a Pi's camera: picamera2 does not load ({reason}), and rpicam-vid is not installed; "
    if sys.prefix != sys.base_prefix and not _sees_system_packages():
        return text + (
            "picamera2 comes by apt (sudo apt install python3-picamera2), and this virtual environment hides what apt "
            "installs: make it again with python3 -m venv --system-site-packages, or: sudo apt install rpicam-apps"
        )
    return text + "run: sudo apt install python3-picamera2, or: sudo apt install rpicam-apps"


def _sees_system_packages() -> bool:
    try:
        settings = (Path(sys.prefix) / "pyvenv.cfg").read_text().lower().replace(" ", "")
    except OSError:
        return False
    return "include-system-site-packages=true" in settings


def _ppm(pixels: Any) -> bytes:
    """Pack pixels (H, W, 3), blue first as OpenCV has them, as a PPM file."""
    height, width = pixels.shape[:2]
    body: bytes = pixels[:, :, ::-1].tobytes()
    return b"P6 %d %d 255\n" % (width, height) + body
