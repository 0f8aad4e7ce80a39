"""http cameras: every login, no password in the wrong place or in any text, and what cannot work said at once."""

import itertools
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from edge.camera import web
from edge.camera.folder import Notice
from edge.camera.source import open_source
from edge.errors import SourceError, SourceRefused
from edge.picture.frame import Frame
from tests.edge.cameras import NOWHERE, jpeg
from tests.edge.conftest import picture
from tests.edge.login_server import NONCE, REALM, Server, moved, serving, still
from tests.refused import refused

DATA = jpeg(picture("brick", 1))
_R = f'realm="{REALM}"'
DIGEST = f'Digest {_R}, nonce="{NONCE}"'
BASIC = f"Basic {_R}"
LOGINS = {
    "Basic": [BASIC],
    "Digest of old": [DIGEST],
    "MD5 in lower case": [f'{DIGEST}, algorithm=md5, qop="auth"'],
    "qop unquoted": [f"{DIGEST}, qop=auth, algorithm=MD5, opaque=xyz"],
    "qop with more": [f'{DIGEST}, qop="auth-int, auth", stale=FALSE'],
    "qop empty": [f'{DIGEST}, qop=""'],
    "MD5-sess": [f'{DIGEST}, algorithm=MD5-sess, qop="auth,auth-int"'],
    "SHA-256": [f'{DIGEST}, algorithm=SHA-256, qop="auth"'],
    "two in one field": [f'{DIGEST}, algorithm=SHA-256, qop="auth", {DIGEST}, algorithm=MD5, qop="auth"'],
    "two fields": [f'{DIGEST}, algorithm=MD5, qop="auth"', f'{DIGEST}, algorithm=SHA-256, qop="auth"'],
    "Basic before Digest": [f'{BASIC}, {DIGEST}, qop="auth"'],
    "Basic in a field before": [BASIC, f'{DIGEST}, qop="auth"'],
    "one that is not known": ["NTLM, Negotiate", f'{DIGEST}, algorithm=SHA-512-256, qop="auth"', DIGEST],
    "shouting": [f'DIGEST REALM="{REALM}", NONCE="{NONCE}"'],
}


def first(url: str, self_signed: bool = False) -> bytes:
    """The first picture of an address; raises its error where it gives none."""
    source = open_source(url, NOWHERE, self_signed)
    stop = threading.Event()
    for event in source.frames(1.0, stop):  # of so slow a source the first picture is taken
        if isinstance(event, Frame):
            return event.data
        if isinstance(event, Notice):
            raise SourceError("stream-failed", event.text)
    raise AssertionError("it ended")


@pytest.mark.parametrize("login", LOGINS)
def test_every_login_is_found_and_digest_is_preferred(login: str) -> None:
    with serving(*LOGINS[login], password="a/b:c @ü") as server:
        server.replies["cam/still.jpg"] = still(DATA)
        assert first(server.url("cam/still.jpg?x=1&y=a%20b", "admin:a%2Fb%3Ac%20%40%C3%BC@")) == DATA
        sent = {field.partition(" ")[0] for field in server.heard} - {""}
        assert sent == {"Basic" if login == "Basic" else "Digest"}
        for wrong in ("admin:wrong@", "", "nobody:a%2Fb%3Ac%20%40%C3%BC@"):
            with refused("login-refused", SourceRefused, "401 Unauthorized") as error:
                first(server.url("cam/still.jpg", wrong))
            assert "wrong is" not in str(error.value)


def test_a_login_that_cannot_be_made_is_named() -> None:
    offers = ("NTLM", f'{DIGEST}, algorithm=SHA-512-256, qop="auth"')
    with serving(*offers) as server, refused("login-refused", SourceRefused, "Digest SHA-512-256, Ntlm"):
        first(server.url("x", "admin:secret@"))


@pytest.mark.parametrize("offer", ["Basic", "Digest"])
def test_redirects_are_followed_and_another_host_hears_no_password(offer: str) -> None:
    offers = LOGINS["Basic" if offer == "Basic" else "SHA-256"]
    with serving(*offers) as here, serving() as there, serving(*offers) as locked:
        here.replies |= {"a": moved("b", 301), "b": moved("/c?x=y", 307), "c": still(DATA)}
        assert first(here.url("a", "admin:secret@")) == DATA
        there.replies["c"] = still(DATA)
        here.replies["away"] = moved(there.url("c", host="localhost"))
        assert first(here.url("away", "admin:secret@")) == DATA
        assert set(there.heard) == {""}
        here.replies["locked"] = moved(locked.url("c", login="admin:secret@", host="localhost"))
        with refused("login-refused", SourceRefused, "another host"):
            first(here.url("locked", "admin:secret@"))
        assert set(locked.heard) == {""}


@pytest.mark.parametrize("to", ["/round", "file:///etc/passwd", "rtsp://127.0.0.1/x", "http://[::1", "//"])
def test_a_redirect_that_leads_nowhere_is_said(to: str) -> None:
    with serving() as server:
        server.replies["round"] = moved(to)
        with pytest.raises(SourceError):
            first(server.url("round"))


STATUS = {400: True, 403: True, 404: True, 410: True, 408: False, 429: False, 500: False, 503: False}


@pytest.mark.parametrize("status", STATUS)
def test_what_is_permanent_ends_and_what_may_pass_is_waited_for(status: int) -> None:
    with serving() as server:
        server.replies["x"] = lambda handler: handler.give(status, "text/plain", b"no")
        with refused("address-refused" if STATUS[status] else "stream-failed", SourceError, status) as error:
            first(server.url("x"))
        assert isinstance(error.value, SourceRefused) == STATUS[status]


def test_a_camera_that_worked_and_fails_is_waited_for_whatever_it_says() -> None:
    with serving() as server:
        server.replies["x"] = still(DATA)
        stop, notices = threading.Event(), list[Notice]()
        for event in open_source(server.url("x"), NOWHERE).frames(0.01, stop):
            if isinstance(event, Frame):
                server.replies.clear()
                if notices:
                    stop.set()
            if isinstance(event, Notice):
                notices.append(event)
                server.replies["x"] = still(DATA)
    assert [notice.gone for notice in notices] == [True, False]


def png() -> bytes:
    import io

    file = io.BytesIO()
    picture("grass", 1).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", None, "text/plain", "image/jpg", "", 'binary; x="', "video/x"]
)
def test_what_an_answer_is_is_known_by_its_bytes(kind: str | None) -> None:
    with serving() as server:
        for data in (DATA, png(), DATA[:-2]):
            server.replies["still"] = still(data, kind)
            assert first(server.url("still")) == data
        part = b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + DATA + b"\r\n"
        server.replies["stream"] = lambda handler: handler.trickle(itertools.repeat(part), kind or "")
        assert first(server.url("stream")) == DATA
        server.replies["chunks"] = lambda handler: handler.chunks([DATA[:99], DATA[99:]], kind or "")
        assert first(server.url("chunks")) == DATA


@pytest.mark.parametrize("boundary", ["b", '"b"', "--b", '"--b"', "other", ""])
def test_a_boundary_may_be_written_in_any_way(boundary: str) -> None:
    part = b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + DATA + b"\r\n"
    with serving() as server:
        kind = f"multipart/x-mixed-replace;boundary={boundary}"
        server.replies["x"] = lambda handler: handler.trickle(itertools.repeat(part), kind)
        assert first(server.url("x")) == DATA
        server.replies["y"] = lambda handler: handler.chunks([part[:50], part[50:], part] * 20, kind)
        assert first(server.url("y")) == DATA


@pytest.mark.parametrize("body", [b"<html>login</html>", b'{"error": 1}', b"hello"])
def test_what_is_not_a_picture_is_named(body: bytes) -> None:
    with serving() as server:
        server.replies["x"] = still(body, "text/html")
        with refused("stream-not-pictures", SourceRefused, "not a picture"):
            first(server.url("x"))


def _text_parts() -> Iterator[bytes]:
    return itertools.repeat(b"--b\r\nContent-Type: text/plain\r\n\r\nmotion\r\n")


@pytest.mark.parametrize("how", ["text parts", "endless", "trickling stream", "trickling picture", "silent"])
def test_a_camera_that_gives_no_picture_is_said_in_time(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    multipart = "multipart/x-mixed-replace; boundary=b"
    pieces: dict[str, tuple[Iterator[bytes], str]] = {
        "text parts": (_text_parts(), multipart),
        "endless": (itertools.chain([b"--b\r\n\r\n\xff\xd8\xff\xda\x00\x02"], itertools.repeat(b"abc")), multipart),
        "trickling stream": (iter([DATA[n : n + 1] for n in range(len(DATA))]), multipart),
        "trickling picture": (iter([DATA[n : n + 1] for n in range(len(DATA))]), "image/jpeg"),
    }
    with serving() as server:
        if how == "silent":
            server.replies["x"] = lambda handler: handler.server.stopped.wait(60) and None
        else:
            server.replies["x"] = lambda handler: handler.trickle(*pieces[how])
        with refused("stream-failed", SourceError):
            first(server.url("x"))


def test_a_camera_that_is_not_there_is_waited_for_and_the_reason_is_the_systems() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with refused("stream-failed", SourceError):
            first(f"http://admin:secret@127.0.0.1:{taken.getsockname()[1]}/x?pwd=hidden")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return str(cert), str(key)


def test_a_self_signed_certificate_is_taken_only_if_that_is_said(certificate: tuple[str, str]) -> None:
    with serving(*LOGINS["SHA-256"], tls=certificate) as server:
        server.replies["x"] = still(DATA)
        url = server.url("x", "admin:secret@", scheme="https")
        with refused("certificate-untrusted", SourceRefused, "--allow-self-signed"):
            first(url)
        assert server.heard == []
        assert first(url, self_signed=True) == DATA
        with serving() as plain, refused("certificate-untrusted", SourceRefused, "https"):
            first(plain.url("x", scheme="https"))


def test_proxies_are_for_hosts_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        server.replies["x"] = still(DATA)
        assert first(server.url("x")) == DATA
        assert first(server.url("x", host="localhost")) == DATA
        with refused("stream-failed", SourceError):
            first("http://camera.example.com/x")


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    with refused("library-missing", SourceRefused, "pip install requests"):
        first("http://127.0.0.1:9/x")


def test_nothing_of_http_is_loaded_before_such_an_address_is_opened() -> None:
    script = "import sys, edge.camera.source; print(' '.join(sys.modules))"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"requests", "urllib3", "http.client"} & set(child.stdout.split())


def test_the_server_of_these_tests_knows_wrong_from_right() -> None:
    server = Server(offers=[DIGEST])
    try:
        assert not server.admits("Basic YWRtaW46c2VjcmV0", "GET", "/"), "it offers Digest alone"
    finally:
        server.shutdown()
        server.server_close()
