"""A Frigate for tests: its HTTP API as its own description and source say, answering 422 to whatever they do not allow.

Source: docs/static/frigate-api.yaml (paths, parameters, schemas, roles), frigate/api/{auth,event,media}.py (answers) of
Frigate 0.18.0, commit e3fa701 of 2026-07-23. On port 5000 nobody logs in and everybody is admin; on port 8971 a JWT
cookie is wanted, which `POST /api/login` gives.
"""

import io
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image

LATEST = {"bbox", "timestamp", "zones", "mask", "motion", "paths", "regions", "quality", "height", "store"}
SNAPSHOT = {"download", "timestamp", "bbox", "crop", "height", "quality"}  # parameters, all integers or booleans


class FrigateServer(ThreadingHTTPServer):
    """One camera, `door`, that detects in 320 × 240.

    Args:
        users: password and role by name; none: the port without a login.
        tls: certificate and key in one file.
    """

    daemon_threads = True

    def __init__(self, users: dict[str, tuple[str, str]] | None = None, tls: Path | None = None) -> None:
        self.users = users or {}
        self.frame = Image.new("RGB", (320, 240))
        self.events: dict[str, tuple[str, Image.Image, float, tuple[int, int, int, int]]] = {}
        self.attributes: dict[str, set[str]] = {}  # by object type: the classes of its attribute models
        self.tokens: dict[str, str] = {}  # roles
        self.offline = False
        self.down = False  # answers 503, as Frigate's nginx does while Frigate starts
        self.written: list[tuple[str, str, Any]] = []  # what was set: the event, which way, and the body
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str, user: str = "") -> str:
        return f"frigate://{user}127.0.0.1:{self.server_address[1]}/{path}"

    def track(self, event: str, label: str, frame: Image.Image, time: float, box: tuple[int, int, int, int]) -> bytes:
        """See an object, or see it better; returns the message that Frigate publishes then (docs: mqtt.md)."""
        kind = "update" if event in self.events else "new"
        self.events[event] = label, frame, time, box
        area = (box[2] - box[0]) * (box[3] - box[1])
        best = {"frame_time": time, "box": box, "area": area, "region": box, "score": 0.8, "attributes": []}
        now = {
            "id": event, "camera": "door", "frame_time": time, "snapshot": best, "label": label, "sub_label": None,
            "top_score": 0.9, "false_positive": False, "start_time": 1.0, "end_time": None, "score": 0.8, "box": box,
            "area": area, "ratio": 1.0, "region": box, "current_zones": ["yard"], "entered_zones": ["yard"],
            "has_snapshot": False, "has_clip": False, "active": True, "stationary": False, "attributes": {},
        }  # fmt: skip
        return json.dumps({"type": kind, "before": now, "after": now}).encode()


class _Handler(BaseHTTPRequestHandler):
    server: FrigateServer

    def do_GET(self) -> None:
        path, query = self._path()
        role = self._role(path)
        if role is None:
            return
        if path == ["config"]:
            cameras = {"door": {"detect": {"width": 320, "height": 240}, "snapshots": {"enabled": False}}}
            self._json(200, {"cameras": cameras, "mqtt": {"topic_prefix": "nvr", "host": "broker"}, "version": "0.18"})
        elif len(path) == 2 and path[1] == "latest.jpg" and self._allowed(query, LATEST):
            if path[0] != "door":
                self._json(404, {"success": False, "message": "Camera not found"})
                return
            headers = {"Cache-Control": "no-store"} | ({"X-Frigate-Offline": "true"} if self.server.offline else {})
            self._picture(self.server.frame, headers)
        elif path[0] == "events" and path[2:] == ["snapshot.jpg"] and self._allowed(query, SNAPSHOT):
            if path[1] not in self.server.events:
                self._json(404, {"success": False, "message": "Ongoing event not found"})
                return
            _, frame, time, box = self.server.events[path[1]]
            if query.get("crop") == "1":  # get_snapshot_bytes: calculate_region(…, 300, multiplier=1.1)
                frame = frame.crop(box)
            if query.get("bbox") != "0":
                frame = Image.new("RGB", frame.size, "white")  # a drawn box spoils the picture
            self._picture(frame, {"X-Frame-Time": str(time)})

    def do_POST(self) -> None:
        path, _ = self._path()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if path == ["login"]:
            self._login(body)
            return
        role = self._role(path)
        if role is None:
            return
        if "Origin" in self.headers and "X-CSRF-Token" not in self.headers:
            self._json(401, {"success": False, "message": "Missing CSRF header"})
        elif role != "admin":
            self._json(403, {"detail": "Role viewer not authorized. Required: admin"})
        elif path[1] not in self.server.events:
            self._json(404, {"success": False, "message": f"Event {path[1]} not found."})
        elif path[2:] == ["sub_label"] and _is_sub_label(body):
            self.server.written.append((path[1], "sub_label", body))
            self._json(200, {"success": True, "message": f"Event {path[1]} sub label set to {body['subLabel']}"})
        elif path[2:] == ["attributes"] and _is_attributes(body):
            classes = self.server.attributes.get(self.server.events[path[1]][0])
            if not classes:
                message = "No matching attributes found for this object type."
                self._json(400, {"success": False, "message": message})
                return
            self.server.written.append((path[1], "attributes", sorted(set(body["attributes"]) & classes)))
            self._json(200, {"success": True, "message": "Updated 1 attribute(s)", "applied": []})
        else:
            self._json(422, {"detail": [{"msg": "validation error"}]})

    def _path(self) -> tuple[list[str], dict[str, str]]:
        parts = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {parts.path}")
        assert parts.path.startswith("/api/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return [unquote(part) for part in parts.path.removeprefix("/api/").split("/")], query

    def _allowed(self, query: dict[str, str], names: set[str]) -> bool:
        fits = set(query) <= names and all(value.isdecimal() for value in query.values())
        if not fits:
            self._json(422, {"detail": [{"msg": "validation error"}]})
        return fits

    def _role(self, path: list[str]) -> str | None:
        """The role of whoever asks; None if the answer was sent already."""
        if self.server.down:
            self._json(503, {})
            return None
        if not self.server.users:
            return "admin"
        cookies = dict(one.strip().split("=", 1) for one in self.headers.get("Cookie", "").split(";") if "=" in one)
        role = self.server.tokens.get(cookies.get("frigate_token", ""))
        if role is None:
            self._json(401, {})
        return role

    def _login(self, body: dict[str, Any]) -> None:
        if set(body) != {"user", "password"} or not all(isinstance(value, str) for value in body.values()):
            self._json(422, {"detail": [{"msg": "validation error"}]})
        elif self.server.users.get(body["user"], ("", ""))[0] != body["password"]:
            self._json(401, {"message": "Login failed"})
        else:
            token = secrets.token_hex(8)
            self.server.tokens[token] = self.server.users[body["user"]][1]
            self._send(200, b"", {"Set-Cookie": f"frigate_token={token}; HttpOnly; Max-Age=86400; Path=/"})

    def _picture(self, image: Image.Image, headers: dict[str, str]) -> None:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=95)
        self._send(200, file.getvalue(), {"Content-Type": "image/jpeg", **headers})

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _is_sub_label(body: Any) -> bool:
    """EventsSubLabelBody: subLabel, at most 100 characters; subLabelScore in (0, 1] or null; camera."""
    score = body.get("subLabelScore")
    fits = score is None or (isinstance(score, int | float) and 0 < score <= 1)
    return fits and isinstance(body.get("subLabel"), str) and len(body["subLabel"]) <= 100


def _is_attributes(body: Any) -> bool:
    """EventsAttributesBody: a list of texts."""
    return isinstance(body.get("attributes"), list) and all(isinstance(one, str) for one in body["attributes"])


@contextmanager
def frigate(users: dict[str, tuple[str, str]] | None = None, tls: Path | None = None) -> Iterator[FrigateServer]:
    server = FrigateServer(users, tls)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
