"""Addresses: what is secret in one is never shown, wherever it fails, and what could be misread is refused at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.camera.address import Address, redacted
from edge.camera.source import STREAMS, WEB, open_source
from edge.cli.terminal import shown
from edge.errors import SourceError
from tests.edge.cameras import NOWHERE
from tests.edge.conftest import Run
from tests.edge.login_server import serving
from tests.refused import refused

ALL = (*WEB, *STREAMS)
# of characters that no message of ours holds, so that any piece of the password that is shown is found
SECRETS = st.text("ЖЩЫЭЮЯ/#?@%: &=\\[]{}\"'+;,|<>^`~\n\t", min_size=3, max_size=12).filter(
    lambda s: any(c > "А" for c in s)
)


def leaks(text: str, secret: str) -> bool:
    return any(character in text for character in secret if character > "А")


@given(st.sampled_from(ALL), SECRETS, SECRETS)
@example("http", "admin", "a/Ж")
@example("rtsp", "", "Ж#Ж")
@example("http", "x", "1/Ж")
@example("https", "x", "[Ж")
@example("http", "℀", "Ж℀")
def test_no_piece_of_a_password_is_in_any_error(scheme: str, user: str, password: str) -> None:
    for text in (
        f"{scheme}://{user}:{password}@host/stream",
        f"{scheme}:/{user}:{password}@host/stream",
        f"{scheme}:{user}:{password}@host",
        f"{user}:{password}@host/stream",
        f"ftp://{user}:{password}@host/stream",
        f" {scheme}://{user}:{password}@host/stream",
        f"{scheme}://{user}:{password}@/x",
        f"{scheme}://{user}:{password}@host:port/x",
        f"{scheme}://host/x?user={user}&pwd={password}",
        f"{scheme}://host:99999/x?pwd={password}",
    ):
        try:
            source = open_source(text, NOWHERE)
        except SourceError as error:
            assert not leaks(str(error), user + password), text
            assert "\n" not in str(error)
        except OSError as error:
            raise AssertionError(text) from error
        else:
            assert not leaks(source.name, user + password), text


@given(st.sampled_from(ALL), st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text())
def test_an_escaped_user_and_password_are_read_as_they_were_meant(scheme: str, user: str, password: str) -> None:
    user, password = (text.encode(errors="replace").decode() for text in (user, password))
    text = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@[fe80::1]:554/a?b#c"
    address = Address.parse(text, ALL)
    assert (address.user, address.password, address.host, address.port) == (user, password, "fe80::1", 554)
    assert Address.parse(address.full, ALL) == address
    assert str(address) == "[fe80::1]:554/a"
    assert address.bare == f"{scheme}://[fe80::1]:554/a?b#c"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://admin:a/b@host/x", "write / as %2F, # as %23"),
        ("http://admin:a#b@host/x", "%23"),
        ("rtsp://admin:1?2@host/x", "%3F"),
        ("rtmp://admin:a@b@host/x", "%40"),
        ("http://admin:1/2@host/x", "%2F"),
        ("http://admin:a%b@host/x", "%25"),
        ("http://admin:a b@host/x", "%20"),
        ("http://host/a b", "%20"),
        ("http://fe80::1/x", "brackets"),
        ("http://[fe80::1/x", "brackets"),
        ("http:///x", "host:port"),
        ("http://:80/x", "host:port"),
        ("http://admin:x@/x", "host:port"),
        ("http://host:http/x", "number as the port"),
        ("http://host:0/x", "65535"),
        ("http://host:123456789/x", "65535"),
        ("http:/host/x", "begin with http://"),
        ("http:host", "begin with http://"),
    ],
)
def test_a_malformed_address_is_refused_with_what_to_write(text: str, why: str) -> None:
    with refused("address-invalid", SourceError) as error:
        open_source(text, NOWHERE)
    assert why in str(error.value)


def test_recorders_that_take_the_password_in_the_path_are_shown_without_it() -> None:
    address = Address.parse("rtsp://10.0.0.2:554/user=admin&password=tlJw&channel=1.sdp?real_stream", STREAMS)
    assert str(address) == "10.0.0.2:554/…"
    assert "tlJw" not in repr(address)


@given(SECRETS, SECRETS)
def test_whatever_is_printed_is_redacted_and_json_stays_json(user: str, password: str) -> None:
    for text in (f"cannot open 'http://{user}:{password}@host/x': no", f"http:/{user}:{password}@h", "a/b?c@d"):
        assert not leaks(shown(text), user + password)
        value = {"image": text, "label": "ok", "n": [1, 2]}
        for ascii_only in (True, False):
            told = json.loads(redacted(json.dumps(value, ensure_ascii=ascii_only), json=True))
            assert {**told, "image": ""} == {**value, "image": ""}
            assert not leaks(told["image"], user + password)


def test_the_address_that_is_shown_as_an_example_is_not_redacted() -> None:
    text = "write http://user:password@host:port/path, or mqtt://user:password@host/NAME"
    assert redacted(text) == text


@pytest.mark.parametrize("debug", ["0", "1"])
def test_no_command_prints_a_password_that_is_given_in_the_wrong_place(debug: str, tmp_path: Path) -> None:
    secret = "http://admin:tlJw/p@127.0.0.1:9/x?pwd=kQz7"
    right = "http://admin:tlJwp@127.0.0.1:9/x?pwd=kQz7"
    for words in (
        ["watch", secret],
        ["watch", str(tmp_path), right],
        ["capture", right],
        ["capture", right, right],
        ["classify", right],
        ["teach", right, right],
        [right],
        ["watch", "--every", right, "x"],
        ["watch", "x", "--region", right],
        ["doctor", right, "--json"],
    ):
        child = subprocess.run(
            [sys.executable, "-m", "edge", "--home", str(tmp_path / "home"), *words],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "EDGE_DEBUG": debug},
        )
        assert child.returncode != 0, words
        for piece in ("tlJw", "kQz7"):
            if debug == "0" or words[0] in ("watch", "capture"):
                assert piece not in child.stdout + child.stderr, (words, child.stderr)


def test_a_camera_that_refuses_the_password_does_not_bring_it_to_light(ready: Run) -> None:
    with serving('Digest realm="x", nonce="y"') as server:
        for words in (["watch"], ["capture", "coins"]):
            code, out, err = ready(*words, server.url("x?token=kQz7", "admin:tlJwp@"), "--json")
            assert code == 1
            assert "401" in err
            assert not {"tlJwp", "kQz7"} & {word for word in ("tlJwp", "kQz7") if word in out + err}


@pytest.mark.parametrize("target", ["rtsp://admin:tlJwp@127.0.0.1:9/kQz7=1?x", "http://admin:tlJwp@127.0.0.1:9/?kQz7"])
def test_opencv_and_ffmpeg_keep_their_mouths_shut(target: str, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed: the extra `camera`")
    script = f"""
import threading
from pathlib import Path
from edge.camera import devices as camera
from edge.camera.source import open_source
stop = threading.Event()
for event in open_source({target!r}, Path("no-home")).frames(0.1, stop):
    if event is not None:
        print(event)
        stop.set()
try:
    print(*camera.video({target!r}))
except OSError as error:
    print(error)
"""
    child = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OPENCV_FFMPEG_DEBUG": "1",
            "OPENCV_LOG_LEVEL": "DEBUG",
        },
    )
    assert child.returncode == 0, child.stderr
    assert "gone=True" in child.stdout
    assert not [piece for piece in ("tlJwp", "kQz7") if piece in child.stdout + child.stderr]
