"""Real sources for tests: a camera that serves motion JPEG on loopback, and a film."""

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import picture

NOWHERE = Path("no-such-home")  # the home, to a source that keeps no journal there
Show = Callable[[int], Image.Image]  # the frame of this number


def jpeg(image: Image.Image) -> bytes:
    """Pack a picture as a camera does, with a thumbnail in its header."""
    small, packed = io.BytesIO(), io.BytesIO()
    image.resize((8, 8)).save(small, "JPEG")
    thumbnail = b"JFXX\x00\x10" + small.getvalue()
    image.save(packed, "JPEG", quality=95)
    data = packed.getvalue()
    return data[:2] + b"\xff\xe0" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]


class Camera(ThreadingHTTPServer):
    """Motion JPEG at /stream, one picture at /still, a film at /film; unless `up`, connections break."""

    daemon_threads = True

    def __init__(self, show: Show, port: int = 0, fps: float = 50) -> None:
        self.show, self.fps = show, fps
        self.number = 0
        self.up = True
        self.password: str | None = None
        self.film = b""  # what /film gives
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str = "stream", user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_address[1]}/{path}"

    def frame(self) -> bytes:
        self.number += 1
        return jpeg(self.show(self.number))


class _Handler(BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        if not self.server.up:
            self.send_error(503)
            return
        if self.server.password and self.headers.get("Authorization") != self.server.password:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        if self.path == "/still":
            self.send_header("Content-Type", "image/jpeg")
            self.end_headers()
            self.wfile.write(self.server.frame())
            return
        if self.path == "/film":
            self.send_header("Content-Type", "video/x-msvideo")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(self.server.film)
            return
        if self.path == "/page":
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            return
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while self.server.up:
                data = self.server.frame()
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n")
                time.sleep(1 / self.server.fps)
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data[: len(data) // 2])
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def filming(show: Show, fps: float = 50) -> Iterator[Camera]:
    camera = Camera(show, fps=fps)
    try:
        yield camera
    finally:
        camera.up = False
        camera.shutdown()
        camera.server_close()


def write_film(path: Path, labels: list[str], fps: float = 10) -> Path:
    """Write a real video file, one frame for each label; skips the test where OpenCV is absent."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: the extra `camera`")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (80, 80))
    assert writer.isOpened()
    for seed, label in enumerate(labels):
        writer.write(np.asarray(picture(label, seed, side=80))[:, :, ::-1].copy())
    writer.release()
    return path
