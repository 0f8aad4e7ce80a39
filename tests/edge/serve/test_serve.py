"""The server over a real home: live view, recordings, photos, the region, and its end."""

import io
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from http.client import HTTPResponse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.learner import Learner
from tests.edge.cameras import filming
from tests.edge.conftest import picture

from .server import PATIENCE, Server, serving


def packed(label: str, seed: int, format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    picture(label, seed, side=80).save(file, format, quality=95)
    return file.getvalue()


def rows(home: Path, where: str = "1") -> list[tuple[object, ...]]:
    with sqlite3.connect(home / "learner.db") as db:
        return db.execute(f"SELECT id, session, source FROM examples WHERE {where} ORDER BY id").fetchall()


def test_the_state_is_what_the_commands_print(closed: Server) -> None:
    command = [sys.executable, "-m", "edge", "--home", str(closed.home), "--json"]
    printed = json.loads(subprocess.run([*command, "status"], capture_output=True, text=True, check=True).stdout)
    assert {k: v for k, v in closed.now()["home"].items() if k not in ("version", "waiting")} == printed
    listed = json.loads(subprocess.run([*command, "examples"], capture_output=True, text=True, check=True).stdout)
    assert closed.now("examples")["examples"][::-1] == listed["examples"]
    told = json.loads(subprocess.run([*command, "history"], capture_output=True, text=True, check=True).stdout)
    assert closed.now("history")[::-1] == told


def test_a_picture_that_arrives_in_a_folder_is_shown_and_answered(home: Path, tmp_path: Path) -> None:
    (tmp_path / "arriving").mkdir()
    with serving(home, tmp_path / "arriving", "--every", 0.05) as server:
        assert server.now()["camera"]["state"] == "starting"
        assert server.get("frame?after=0").status_code == 204
        (tmp_path / "arriving" / "one.png").write_bytes(packed("coins", 1, "PNG"))
        seen = server.until(lambda: server.now()["answer"])
        assert seen["image"].endswith("one.png")
        assert seen["label"] == "coins"
        shown = server.get("frame?after=0")
        assert Image.open(io.BytesIO(shown.content)).format == "JPEG"
        assert server.get(f"frame?after={shown.headers['Edge-Frame']}").status_code == 204
        assert server.now("changes")[0]["settled"] == "coins"
        assert Image.open(io.BytesIO(server.get("changes/1.jpg").content)).size == (80, 80)
        near = server.now("why")
        assert near["nearest"][0]["label"] == "coins"
        assert server.get(f"examples/{near['nearest'][0]['example']}.jpg").status_code == 200


def test_a_cameras_own_jpeg_is_passed_on_as_it_is(home: Path) -> None:
    with (
        filming(lambda n: picture("coins", n, side=80)) as camera,
        serving(home, camera.url(), "--every", 0.05) as server,
    ):
        first = server.until(lambda: server.get("frame?after=0").content)
        assert b"JFXX" in first[:100], "the camera's thumbnail is there: it was not encoded again"
        number = int(server.get("frame?after=0").headers["Edge-Frame"])
        assert int(server.get(f"frame?after={number}").headers["Edge-Frame"]) > number
        assert server.until(lambda: server.now()["answer"])["label"] == "coins"


def test_a_camera_that_is_gone_is_said_to_be_gone_and_the_pages_go_on(home: Path) -> None:
    with (
        filming(lambda n: picture("coins", n, side=80)) as camera,
        serving(home, camera.url(), "--every", 0.05) as server,
    ):
        server.until(lambda: server.now()["camera"]["state"] == "there")
        camera.up = False
        server.until(lambda: server.now()["camera"]["state"] == "gone")
        assert server.now()["camera"]["text"].endswith(".")
        assert server.post("retrain", {"force": False}).status_code == 200
        camera.up = True
        server.until(lambda: server.now()["camera"]["state"] == "there")


def test_holding_a_label_records_it_until_it_is_let_go(home: Path) -> None:
    with (
        filming(lambda n: picture("brick", n, side=80)) as camera,
        serving(home, camera.url(), "--every", 0.05) as server,
    ):
        server.until(lambda: server.now()["frame"])
        begun = server.post("record", {"label": "<b>wall</b>".replace("/", "\\u2044"), "frame": None})
        assert begun.status_code in (200, 422)
        begun = server.post("record", {"label": "wall <b>&\"'", "frame": None}) if begun.status_code == 422 else begun
        session = begun.json()["session"]
        assert server.post("record", {"label": "other", "frame": None}).status_code == 409, "one at a time"
        server.until(lambda: len(server.post("record/on", {"session": session}).json()["examples"]) >= 3)
        ended = server.post("record/off", {"session": session}).json()
        assert not ended["running"]
        assert [row[0] for row in rows(home, "id > 6")] == ended["examples"]
        assert {row[1] for row in rows(home, "id > 6")} == {session}
        assert server.now()["recording"] is None
        seen = [{"id": i, "label": ended["label"]} for i in ended["examples"]]
        assert server.post("undo", {"examples": seen}).status_code == 200
        assert rows(home, "id > 6") == []
        assert server.post("undo", {"examples": seen}).status_code == 409


def test_frames_that_are_alike_are_skipped_and_counted(home: Path) -> None:
    still = picture("brick", 5, side=80)
    with filming(lambda n: still) as camera, serving(home, camera.url(), "--every", 0.05) as server:
        server.until(lambda: server.now()["frame"])
        session = server.post("record", {"label": "wall"}).json()["session"]
        told = server.until(
            lambda: [t for t in [server.post("record/on", {"session": session}).json()] if t["alike"] > 2]
        )
        assert len(told[0]["examples"]) == 1


def test_a_recording_stops_by_itself_when_the_phone_vanishes(home: Path) -> None:
    with (
        filming(lambda n: picture("brick", n, side=80)) as camera,
        serving(home, camera.url(), "--every", 0.05) as server,
    ):
        server.until(lambda: server.now()["frame"])
        session = server.post("record", {"label": "wall"}).json()["session"]
        server.until(lambda: server.now()["recording"] is None)
        count = len(rows(home))
        told = server.post("record/off", {"session": session}).json()
        assert len(told["examples"]) == count - 6 > 0
        assert len(rows(home)) == count


def test_a_photo_is_taught_as_the_command_teaches_it(server: Server, tmp_path: Path, tiny_bundle: Path) -> None:
    from edge.learner import Learner

    data = packed("brick", 77)
    (tmp_path / "photo.jpg").write_bytes(data)
    sent = server.send(data, "wall", "../../IMG <1>.jpg").json()
    assert sent["stored"]
    with Learner.init(tmp_path / "other", tiny_bundle) as learner:
        learner.teach("wall", [tmp_path / "photo.jpg"])
        command = learner.store.embeddings([1], learner.info.dimension)
    with Learner(server.home) as learner:
        assert np.array_equal(learner.store.embeddings(sent["examples"], learner.info.dimension), command)
        assert learner.find_examples([str(sent["examples"][0])])[0].source == "upload: IMG <1>.jpg"
    again = server.send(data, "other").json()
    assert (again["stored"], again["known"]["label"]) == (False, "wall")
    assert not list((server.home / "incoming").iterdir())


def test_a_photo_with_a_complaint_is_stored_only_when_somebody_says_so(server: Server) -> None:
    file = io.BytesIO()
    Image.new("RGB", (80, 80), "black").save(file, "JPEG")
    asked = server.send(file.getvalue(), "night").json()
    assert not asked["stored"]
    assert asked["said"]
    assert len(rows(server.home)) == 6
    dropped = server.post("photo/keep", {"upload": asked["upload"], "label": "night", "keep": False})
    assert dropped.json() == {"stored": False}
    assert server.post("photo/keep", {"upload": asked["upload"], "label": "night", "keep": True}).status_code == 409
    asked = server.send(file.getvalue(), "night").json()
    kept = server.post("photo/keep", {"upload": asked["upload"], "label": "night", "keep": True}).json()
    assert kept["stored"]
    assert len(rows(server.home)) == 7
    assert not list((server.home / "incoming").iterdir())


@pytest.mark.parametrize("upload", ["../learner.db", "x/y", "", ".", "é"])
def test_a_kept_photo_is_one_of_ours(closed: Server, upload: str) -> None:
    refused = closed.post("photo/keep", {"upload": upload, "label": "a", "keep": False})
    assert refused.status_code in (400, 409)
    assert (closed.home / "learner.db").exists()


def bomb() -> bytes:
    """A PNG of a few bytes that declares 60,000 × 60,000 pixels."""
    data = bytearray(packed("brick", 1, "PNG"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"<html><script>alert(1)</script>",
        b"\xff\xd8\xff\xe0 no more",
        packed("brick", 3)[:700],
        b"PK\x03\x04" * 50,
        bomb(),
    ],
    ids=["html", "begin", "cut", "zip", "bomb"],
)
def test_what_is_no_picture_is_refused_and_leaves_nothing(closed: Server, data: bytes) -> None:
    refused = closed.send(data, "wall")
    assert refused.status_code == 422, refused.text
    assert refused.json()["error"].endswith(".")
    assert len(rows(closed.home)) == 6
    assert not list((closed.home / "incoming").iterdir())


@pytest.mark.parametrize("label", ["", "a/b", "\x00", "x" * 101, "unknown"])
def test_what_is_no_label_is_refused_before_the_photo_is_read(closed: Server, label: str) -> None:
    assert closed.send(packed("brick", 3), label).status_code == 422
    assert closed.post("record", {"label": label}).status_code in (409, 422)
    assert len(rows(closed.home)) == 6


def too_large(peer: socket.socket) -> None:
    """Check that this is the answer."""
    answer = HTTPResponse(peer)
    answer.begin()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "upload-too-large")


def test_a_photo_that_is_too_large_or_cut_short_leaves_nothing(server: Server) -> None:
    head = "POST /photo?label=wall HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Type: image/jpeg\r\n"
    host = server.url.removeprefix("http://").rstrip("/")
    address, port = host.split(":")
    with socket.create_connection((address, int(port)), timeout=PATIENCE) as peer:
        peer.sendall((head.format(host=host) + "Content-Length: 999999999\r\n\r\n").encode())
        too_large(peer)
    with socket.create_connection((address, int(port)), timeout=PATIENCE) as peer:
        peer.sendall((head.format(host=host) + "Content-Length: 5000\r\n\r\n").encode() + packed("brick", 3)[:2000])
    with socket.create_connection((address, int(port)), timeout=PATIENCE) as peer:
        peer.sendall((head.format(host=host) + "Transfer-Encoding: chunked\r\n\r\n").encode())
        chunk = b"%x\r\n" % 1_000_000 + b"\xff" * 1_000_000 + b"\r\n"
        try:
            for _ in range(60):
                peer.sendall(chunk)
        except OSError:
            pass
        else:
            too_large(peer)
    server.until(lambda: not list((server.home / "incoming").iterdir()))
    assert len(rows(server.home)) == 6
    assert server.send(packed("brick", 3), "wall").json()["stored"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"label": 3}', b'{"label": null}', b"[" * 100_000, b"\xff", b"{}" * 200_000]
)
def test_a_request_that_is_no_request_is_refused(closed: Server, body: bytes) -> None:
    from .test_guard import WRITES

    for path in set(WRITES) - {"photo", "logout"}:
        got = closed.session.post(closed.url + path, data=body, headers={"Content-Type": "application/json"})
        assert got.status_code == 400, (path, got.text)
        assert got.json()["code"] == "request-invalid", path
    assert closed.get("healthz").json()["ok"]


def test_a_region_is_put_unless_somebody_was_faster(server: Server) -> None:
    put = server.post("region", {"region": "0.1,0.1,0.5,0.5", "was": None})
    assert put.json() == {"region": "0.1,0.1,0.5,0.5", "others": 6}
    assert server.now()["home"]["region"] == "0.1,0.1,0.5,0.5"
    assert server.post("region", {"region": "whole", "was": None}).status_code == 409
    assert server.post("region", {"region": "9,9,9,9", "was": "0.1,0.1,0.5,0.5"}).status_code == 422
    assert server.post("region", {"region": "whole", "was": "0.1,0.1,0.5,0.5"}).json()["region"] is None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_peace(home: Path, how: int) -> None:
    with filming(lambda n: picture("coins", n, side=80)) as camera, serving(home, camera.url()) as server:
        server.until(lambda: server.now()["frame"])
        assert server.stop(how) == 0
        assert server.said[-1] == "stopped"
        assert not [line for line in server.said if "Traceback" in line or "Exception" in line]


def test_a_kill_in_mid_burst_loses_nothing_that_was_acknowledged(home: Path) -> None:
    with (
        filming(lambda n: picture("brick", n, side=80)) as camera,
        serving(home, camera.url(), "--every", 0.01) as server,
    ):
        server.until(lambda: server.now()["frame"])
        session = server.post("record", {"label": "wall"}).json()["session"]
        told = server.until(
            lambda: [t for t in [server.post("record/on", {"session": session}).json()] if len(t["examples"]) > 4]
        )[0]
        sent = server.send(packed("grass", 12), "lawn").json()
        server.stop(signal.SIGKILL)
    there = {row[0] for row in rows(home)}
    assert set(told["examples"]) | set(sent["examples"]) <= there
    with serving(home) as again:
        assert again.now()["home"]["untrained_examples"] == len(there) - 6


def test_a_port_that_is_taken_is_said(home: Path, server: Server) -> None:
    port = server.url.rstrip("/").rpartition(":")[2]
    command = [sys.executable, "-m", "edge", "--home", str(home), "--json", "serve", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "port-unavailable"
    assert f"port {port} " in done.stderr
    assert "--port" in done.stderr


def test_what_another_program_teaches_is_seen(server: Server, tmp_path: Path) -> None:
    before = server.now()["home"]["version"]
    (tmp_path / "wall.jpg").write_bytes(packed("brick", 31))
    with Learner(server.home) as learner:
        learner.teach("wall", [tmp_path / "wall.jpg"])
    server.until(lambda: server.now()["home"]["version"] != before)
    assert {"label": "wall", "local": 1, "factory": 0, "held_out": 0} in server.now()["home"]["labels"]
