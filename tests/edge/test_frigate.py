"""Frigate: its frames and tracked objects are answered, and the answers written back, through its API and a broker."""

# ruff: noqa: F811

import io
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.answers import Skipped
from edge.camera.folder import Notice
from edge.camera.frigate import Frigate, Place
from edge.camera.source import open_source
from edge.errors import SourceError, SourceRefused
from edge.frigate.events import WAITING, Waiting
from edge.frigate.objects import ObjectFrame, Objects, Writer, square
from edge.learner import Learner
from edge.picture.frame import Frame
from tests.refused import refused

from .cameras import NOWHERE
from .conftest import picture
from .frigate_server import FrigateServer, frigate
from .login_server import serving
from .test_mqtt import broker, port  # noqa: F401
from .test_watch import home, start, wait_for, wait_until_watching  # noqa: F401

ADMIN = {"edge": ("a/b:c@d", "admin")}
BOX = (40, 60, 120, 140)


def seen(label: str, seed: int = 1) -> Image.Image:
    """A frame of the camera: an object of this surface in the box, and something else around it."""
    frame = Image.new("RGB", (320, 240), (0, 0, 255))
    frame.paste(picture(label, seed, side=80), BOX[:2])
    return frame


def colour(data: bytes) -> tuple[int, ...]:
    with Image.open(io.BytesIO(data)) as image:
        return tuple(np.asarray(image.convert("RGB")).mean((0, 1)).round().astype(int))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    file = tmp_path / "nvr.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(file)]
    made = ["openssl", "req", "-x509", "-days", "2", *key, "-out", str(tmp_path / "cert"), "-subj", "/CN=frigate"]
    subprocess.run(made, check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + (tmp_path / "cert").read_bytes())
    return file


# addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bare", "camera", "objects", "zones"),
    [
        ("frigate://nvr/door", "http://nvr:5000", "door", (), ()),
        ("frigate://nvr:5001/door/", "http://nvr:5001", "door", (), ()),
        ("frigate://me:x@nvr/door/cat,dog/yard", "https://nvr:8971", "door", ("cat", "dog"), ("yard",)),
        ("frigate://nvr:8971/door/delivery%20van", "https://nvr:8971", "door", ("delivery van",), ()),
        ("FRIGATE://me:x@[fe80::1]:443/door/cat", "https://[fe80::1]:443", "door", ("cat",), ()),
    ],
)
def test_an_address_says_camera_objects_and_zones_and_a_user_means_tls(
    text: str, bare: str, camera: str, objects: tuple[str, ...], zones: tuple[str, ...]
) -> None:
    place = Place.parse(text)
    assert (place.address.bare, place.camera, place.objects, place.zones) == (bare, camera, objects, zones)


@pytest.mark.parametrize("rest", ["", "/", "/door/cat/yard/more", "/door?x=secret", "/door#secret"])
def test_an_address_without_a_camera_or_with_more_is_refused_and_not_repeated(rest: str) -> None:
    with refused("address-invalid", SourceError, "frigate://HOST/CAMERA") as caught:
        Place.parse(f"frigate://me:secret@nvr{rest}")
    assert "secret" not in str(caught.value)


# frames --------------------------------------------------------------------------------------------------------------


def first(source: Any, stop: threading.Event) -> Any:
    for event in source.frames(0.01, stop):
        if event is not None:
            stop.set()
            return event
    raise AssertionError


def test_the_frames_of_a_camera_are_watched_like_those_of_any_other(home: Path) -> None:
    with frigate() as nvr:
        nvr.frame = picture("brick", 1, side=240)
        process = start(home, "watch", nvr.url("door"), "--every", 0.02, "--json")
        wait_until_watching(process)
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.terminate()
        process.communicate()
    assert {line["top"][0]["label"] for line in lines} == {"brick"}
    assert process.returncode == 0


def test_a_camera_that_frigate_does_not_have_is_refused_with_those_it_has() -> None:
    with frigate() as nvr:
        source = open_source(nvr.url("dor"), NOWHERE)
        with refused("address-refused", SourceRefused, "'dor'", "door"):
            next(event for event in source.frames(0.01, threading.Event()) if event)


def test_a_camera_that_is_off_is_not_seen_by_its_old_picture() -> None:
    with frigate() as nvr, closing(Frigate(Place.parse(nvr.url("door")).address)) as api:
        assert colour(api.latest("door")) == (0, 0, 0)
        nvr.offline = True
        with refused("stream-failed", SourceError, "no picture"):
            api.latest("door")


def test_a_frigate_that_does_not_answer_is_told_with_the_seconds_that_were_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.camera.frigate.TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Place.parse(f"frigate://127.0.0.1:{silent.getsockname()[1]}/door").address
        with closing(Frigate(address)) as api, refused("stream-failed", SourceError, "no answer within 1 s"):
            api.latest("door")


def test_one_logs_in_over_tls_and_again_when_the_token_ends(certificate: Path) -> None:
    with frigate(ADMIN, certificate) as nvr:
        address = Place.parse(nvr.url("door", "edge:a%2Fb%3Ac%40d@")).address
        with refused("certificate-untrusted", SourceRefused, "--allow-self-signed"):
            Frigate(address).config()
        with closing(Frigate(address, self_signed=True)) as api:
            assert "door" in api.config()["cameras"]
            api.latest("door")
            assert nvr.asked.count("POST /api/login") == 1
            nvr.tokens.clear()
            api.latest("door")
            assert nvr.asked.count("POST /api/login") == 2


@pytest.mark.parametrize(("user", "hint"), [("edge:wrong@", "refuses the user name or password"), ("", "port 5000")])
def test_a_wrong_login_is_refused(user: str, hint: str, certificate: Path) -> None:
    with frigate(ADMIN, certificate) as nvr:
        address = Place.parse(nvr.url("door", user)).address._replace(scheme="https")
        with refused("login-refused", SourceRefused, hint):
            Frigate(address, self_signed=True).latest("door")


def test_what_is_not_frigate_is_told_from_it() -> None:
    with serving() as other:
        for body in (b"<html>It works!</html>", b'{"state": "on"}'):
            other.replies["api/config"] = lambda handler, body=body: handler.give(200, "text/html", body)  # type: ignore[misc]
            with refused("address-refused", SourceRefused, "not Frigate"):
                Frigate(Place.parse(other.url("door", scheme="frigate")).address).config()


# tracked objects -----------------------------------------------------------------------------------------------------


def says(port: int, topic: str, payload: bytes) -> None:
    """Publish as Frigate does."""
    publish = pytest.importorskip("paho.mqtt.publish")
    publish.single(topic, payload, qos=1, hostname="127.0.0.1", port=port)


@pytest.fixture
def nvr() -> Iterator[FrigateServer]:
    with frigate() as server:
        yield server


def test_each_object_is_answered_from_its_box_and_written_back(
    home: Path,
    tmp_path: Path,
    port: int,
    nvr: FrigateServer,
) -> None:
    with Learner(home) as learner:
        learner.retrain(known_coverage=1)  # a name for every picture
    with broker(tmp_path, port) as log:
        told = ["--mqtt", f"mqtt://127.0.0.1:{port}/nvr", "--every", 0.01]
        process = start(home, "watch", nvr.url("door/cat,dog/yard"), *told, "--json")
        wait_until_watching(process)
        wait_for(lambda: "nvr/events" in log.read_text(), 60)
        assert process.stdout is not None
        lines = []
        for event, label, surface, time in [
            ("1.5-cat", "cat", "brick", 10.5),
            ("2.5-car", "car", "grass", 11.5),  # not watched
            ("3.5-dog", "dog", "grass", 12.5),
            ("1.5-cat", "cat", "grass", 13.5),  # seen better
        ]:
            message = nvr.track(event, label, seen(surface), time, BOX)
            says(port, "nvr/events", message)
            if label != "car":
                lines.append(json.loads(process.stdout.readline()))
            says(port, "nvr/events", message)  # of the same picture again: a zone has changed
        process.terminate()
        process.communicate()
    names = [(line["image"].split()[-1], line["top"][0]["label"]) for line in lines]
    assert names == [("1.5-cat", "brick"), ("3.5-dog", "grass"), ("1.5-cat", "grass")]
    assert [line["time"][17:23] for line in lines] == ["10.500", "12.500", "13.500"]
    assert [(event, body["subLabel"]) for event, _, body in nvr.written] == names
    assert [body["subLabelScore"] for _, _, body in nvr.written] == [round(line["probability"], 4) for line in lines]


def frames_of(objects: Objects, stop: threading.Event, until: int) -> list[Any]:
    """Read events until so many are no silence."""
    found: list[Any] = []
    for event in objects.frames(0.01, stop):
        if event is not None:
            found.append(event)
            if len(found) == until:
                stop.set()
    return found


def test_a_picture_of_another_moment_is_cut_by_frigate_and_a_lost_one_is_said(
    tmp_path: Path,
    port: int,
    nvr: FrigateServer,
) -> None:
    old = nvr.track("1.5-a", "cat", seen("grass"), 10.5, (200, 0, 320, 120))
    nvr.track("1.5-a", "cat", seen("brick"), 11.5, BOX)  # Frigate has a newer one by now
    gone = nvr.track("2.5-b", "cat", seen("brick"), 12.5, BOX)
    del nvr.events["2.5-b"]
    with broker(tmp_path, port) as log:
        objects, stop = Objects(Place.parse(nvr.url("door/cat")), f"mqtt://127.0.0.1:{port}"), threading.Event()

        def say() -> None:
            wait_for(lambda: "nvr/events" in log.read_text(), 60)
            for message in (old, gone):
                says(port, "nvr/events", message)

        threading.Thread(target=say, daemon=True).start()
        frame, skipped = frames_of(objects, stop, 2)
    assert isinstance(frame, ObjectFrame)
    assert frame.time == 11.5
    assert colour(frame.data)[0] > colour(frame.data)[2], "the brick, without the blue around it"
    assert isinstance(skipped, Skipped)
    assert "2.5-b" in skipped.reason


def test_frigate_and_its_broker_may_come_and_go(tmp_path: Path, port: int, nvr: FrigateServer) -> None:
    nvr.down = True
    message = nvr.track("1.5-a", "cat", seen("brick"), 10.5, BOX)
    with broker(tmp_path, port) as log:
        objects, stop = Objects(Place.parse(nvr.url("door/cat")), f"mqtt://127.0.0.1:{port}"), threading.Event()
        told: list[Notice | Frame] = []

        def say() -> None:
            wait_for(lambda: len(told) == 1)
            nvr.down = False
            wait_for(lambda: "nvr/events" in log.read_text(), 60)
            says(port, "nvr/available", b"offline")
            wait_for(lambda: len(told) == 3)
            says(port, "nvr/available", b"online")
            says(port, "nvr/events", b'{"type": "new", "after": {"id": 1}}')
            wait_for(lambda: len(told) == 5)
            says(port, "nvr/events", message)

        threading.Thread(target=say, daemon=True).start()
        for event in objects.frames(0.01, stop):
            if event is not None:
                told.append(event)  # type: ignore[arg-type]
            if isinstance(event, ObjectFrame):
                stop.set()
    notices = [(one.gone, one.text.split(":")[0]) for one in told if isinstance(one, Notice)]
    assert [gone for gone, _ in notices] == [True, False, True, False, None]
    assert "503" in told[0].text  # type: ignore[union-attr]
    assert "not as Frigate writes it" in told[4].text  # type: ignore[union-attr]


def test_an_answer_is_written_once_known_and_taken_back_when_a_better_picture_is_unknown(nvr: FrigateServer) -> None:
    nvr.track("1.5-a", "cat", seen("brick"), 10.5, BOX)
    frame = ObjectFrame("door cat 1.5-a", b"", 10.5, "1.5-a")
    with closing(Writer(Place.parse(nvr.url("door/cat")), "sub-label")) as writer:
        writer.tell(frame, None, 0.3)
        assert not nvr.written, "nothing of ours to take back, and another program may have named it"
        writer.tell(frame, "Leo", 0.98765)
        writer.tell(frame, None, 0.3)
        writer.tell(Frame("camera", b"", 1.0), "Leo", 0.9)
        with refused("address-refused", SourceRefused, "404", "not found"):
            writer.tell(ObjectFrame("x", b"", 1.0, "9.9-z"), "Leo", 0.9)
    bodies = [body for _, _, body in nvr.written]
    assert bodies == [{"subLabel": "Leo", "subLabelScore": 0.9877}, {"subLabel": ""}]


def test_an_attribute_is_written_where_frigate_has_a_model_for_it(nvr: FrigateServer) -> None:
    nvr.track("1.5-a", "person", seen("brick"), 10.5, BOX)
    frame = ObjectFrame("door person 1.5-a", b"", 10.5, "1.5-a")
    with closing(Writer(Place.parse(nvr.url("door/person")), "attribute")) as writer:
        with refused("address-refused", SourceRefused, "No matching attributes"):
            writer.tell(frame, "helmet", 0.9)
        nvr.attributes["person"] = {"helmet", "bare"}
        writer.tell(frame, "helmet", 0.9)
        writer.tell(frame, None, 0.3)
    assert nvr.written == [("1.5-a", "attributes", ["helmet"]), ("1.5-a", "attributes", [])]


def test_a_user_who_is_no_admin_cannot_write_and_hears_why(certificate: Path) -> None:
    with frigate({"eye": ("x", "viewer")}, certificate) as nvr:
        nvr.track("1.5-a", "cat", seen("brick"), 10.5, BOX)
        with closing(Frigate(Place.parse(nvr.url("door", "eye:x@")).address, self_signed=True)) as api:
            assert api.snapshot("1.5-a", crop=False) is not None
            with refused("address-refused", SourceRefused, "admin"):
                api.put_sub_label("1.5-a", "Leo", 0.9)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["door/cat"], "broker-missing"),
        (["door/cat", "--mqtt", "mqtt://127.0.0.1", "--smooth", "3/5"], "option-invalid"),
        (["door", "--write-back", "attribute"], "option-invalid"),
    ],
)
def test_what_does_not_go_together_is_refused(args: list[str], code: str, home: Path, nvr: FrigateServer) -> None:
    process = start(home, "--json", "watch", nvr.url(args[0]), *args[1:])
    out, err = process.communicate()
    assert process.returncode == 1
    assert code in (out + err).decode()


def test_a_tracked_object_cannot_be_captured_from(nvr: FrigateServer) -> None:
    with refused("broker-missing", SourceError, "--mqtt"):
        open_source(nvr.url("door/cat"), NOWHERE)


# laws ----------------------------------------------------------------------------------------------------------------


@given(
    st.tuples(*[st.floats(-50, 700)] * 4).filter(lambda b: b[0] < b[2] and b[1] < b[3]),
    st.integers(1, 640),
    st.integers(1, 480),
)
def test_a_square_lies_in_the_picture_and_is_one_where_there_is_room(box: Any, width: int, height: int) -> None:
    left, top, right, bottom = square(box, width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    size = max(1, int(max(box[2] - box[0], box[3] - box[1])))
    assert (right - left, bottom - top) == (min(size, width), min(size, height))


@given(st.binary() | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["type", "after", "id", "camera", "label", "snapshot", "box", "frame_time", "false_positive"]),
        inner,
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_a_broker_says_is_an_object_or_refused_in_one_line(payload: bytes) -> None:
    waiting = Waiting(Place.parse("frigate://nvr/door/cat"))
    try:
        waiting.hear(payload)
    except ValueError as error:
        assert "\n" not in str(error)


def test_of_an_object_only_the_newest_picture_waits_and_too_many_objects_are_counted() -> None:
    place = Place.parse("frigate://nvr/door/cat")
    server_says = FrigateServer.track
    waiting, fake = Waiting(place), type("Fake", (), {"events": {}})()
    for number in range(WAITING + 1):
        for time in (1.0, 2.0):
            waiting.hear(server_says(fake, f"{number}-a", "cat", Image.new("RGB", (1, 1)), time, BOX))
    assert waiting.dropped == 1
    one = waiting.take(0)
    assert one is not None
    assert (one.event, one.time) == ("1-a", 2.0)
    waiting.again(one)
    others = [waiting.take(0) for _ in range(WAITING)]
    assert others[-1] == one
    assert waiting.take(0) is None
