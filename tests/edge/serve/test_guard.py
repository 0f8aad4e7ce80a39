"""Who may: strange hosts, origins, forms and browsers without the cookie are refused, each by its own status."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from edge.serve.password import Password, Stored, put

from .server import PASSWORD, Server, serving

PAGES = ("", "teach", "review", "learn", "login")
WRITES = ("record", "record/on", "record/off", "photo", "photo/keep", "undo", "region", "review/name", "review/useless",
          "review/undo", "examples/move", "examples/forget", "labels/forget", "labels/rename", "retrain", "rollback",
          "fleet/contribute", "fleet/follow", "login", "logout")  # fmt: skip


def test_every_write_of_the_app_is_tried_here(home: Path) -> None:
    from edge.serve import learn, review, teach

    routes = [*teach.ROUTES, *review.Waiting(None).routes(), *learn.ROUTES]  # type: ignore[arg-type]
    there = {route.path.lstrip("/") for route in routes if route.methods and "POST" in route.methods}
    assert there | {"login", "logout"} == set(WRITES)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example"])
def test_a_strange_host_is_refused(closed: Server, host: str) -> None:
    for path in (*PAGES, "now", "healthz", "static/style.css"):
        assert closed.get(path, headers={"Host": host}).status_code in (400, 421), path


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:99", "192.0.2.7:8080", "[::1]:8080"])
def test_an_address_and_our_own_name_are_no_strange_host(closed: Server, host: str) -> None:
    assert closed.get("healthz", headers={"Host": host}).status_code == 200


def test_a_name_of_a_proxy_is_ours_when_it_is_named(home: Path) -> None:
    with serving(home, "--host", "box.example") as server:
        assert server.get("healthz", headers={"Host": "box.example"}).status_code == 200
        assert server.post("logout", headers={"Origin": "https://box.example"}).status_code == 200
        assert server.post("logout", headers={"Origin": "https://other.example"}).status_code == 403


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1"])
def test_a_write_from_another_origin_is_refused(closed: Server, origin: str | None) -> None:
    for path in WRITES:
        refused = closed.post(path, headers={"Origin": origin})
        assert refused.status_code == 403, (path, refused.text)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", None])
def test_a_write_of_another_type_is_refused(closed: Server, kind: str | None) -> None:
    for path in WRITES:
        refused = closed.session.post(closed.url + path, data=b"a=b", headers={"Content-Type": kind})
        assert refused.status_code == 415, path


def test_a_get_never_writes(closed: Server) -> None:
    for path in WRITES:
        assert closed.get(path).status_code in (200 if path == "login" else 405, 405, 404), path


@pytest.mark.parametrize("page", PAGES)
def test_every_page_allows_our_own_files_alone(closed: Server, page: str) -> None:
    got = closed.get(page)
    assert got.status_code == 200
    policy = got.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://(?!www\.w3\.org)", got.text), page
    for address in re.findall(r"(?:src|href)=\"([^\"]+)\"", got.text):
        assert not re.match(r"/|[a-z]+:", address), f"{address} is not relative"
        assert closed.get(address.lstrip("./")).status_code == 200, address


def test_nothing_outside_the_static_folder_is_given(closed: Server) -> None:
    for path in ("static/../app.py", "static/..%2fapp.py", "static/%2e%2e/run.py", "static/watch.html", "static/"):
        assert closed.get(path).status_code == 404, path


def test_beyond_this_machine_only_with_a_password(home: Path) -> None:
    command = [sys.executable, "-m", "edge", "--home", str(home), "serve", "--listen", "0.0.0.0", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "edge password" in done.stderr


def test_only_who_knows_the_password_gets_in(home: Path) -> None:
    put(home, PASSWORD)
    with serving(home, "--listen", "0.0.0.0") as server:
        said = f"http://{socket.gethostname().partition('.')[0].lower()}.local:{urlsplit(server.url).port}/"
        assert f"on a phone open {said}" in server.said[-1], server.said
        for page in ("", "teach", "review", "learn"):
            led = server.get(page, allow_redirects=False)
            assert (led.status_code, led.headers["Location"]) == (303, "login")
        for path in ("now", "frame", "why", "changes", "examples", "examples/1.jpg", "history", "findings", "backup"):
            assert server.get(path).status_code == 401, path
        for path in set(WRITES) - {"login", "logout"}:
            assert server.post(path).status_code == 401, path
        assert server.get("login").status_code == server.get("healthz").status_code == 200
        assert server.post("login", {"password": "wrong"}).status_code == 403
        let_in = server.post("login", {"password": PASSWORD})
        assert let_in.status_code == 200
        cookie = let_in.headers["Set-Cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie
        assert server.get("now").status_code == 200

        name, value = next(iter(server.session.cookies.items()))
        expires, nonce, seal = value.split(".")
        for forged in (
            f"{int(expires) + 1}.{nonce}.{seal}",
            f"{expires}.{nonce}.",
            f"{expires}.{nonce}.{seal[::-1]}",
            "é",
        ):
            got = requests.get(server.url + "now", headers={"Cookie": f"{name}={forged}".encode()})
            assert got.status_code == 401, forged

        put(home, "another horse")
        assert server.get("now").status_code == 401
        assert PASSWORD not in "\n".join([*server.said, *server.out])


def test_a_cookie_outlives_a_restart(home: Path) -> None:
    put(home, PASSWORD)
    with serving(home) as server:
        server.post("login", {"password": PASSWORD})
        cookies = server.session.cookies
    with serving(home) as again:
        assert again.get("now").status_code == 401
        again.session.cookies = cookies
        assert again.get("now").status_code == 200


def test_with_a_certificate_the_page_speaks_https_and_its_cookie_stays_there(home: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate, is not installed")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=box"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    put(home, PASSWORD)
    with serving(home, "--tls-cert", cert, "--tls-key", key) as server:
        assert server.url.startswith("https://127.0.0.1:")
        server.session.verify = str(cert)
        let_in = server.post("login", {"password": PASSWORD})
        assert let_in.status_code == 200
        assert "secure" in let_in.headers["Set-Cookie"].lower()
        assert server.get("now").status_code == 200
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(server.url.replace("https:", "http:") + "healthz", timeout=30)


def test_guessing_is_slowed_down(home: Path) -> None:
    put(home, PASSWORD)
    with serving(home) as server:
        answers = [server.post("login", {"password": f"guess {i}"}).status_code for i in range(7)]
        assert answers == [403] * 5 + [429] * 2
        refused = server.post("login", {"password": PASSWORD})
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0


def test_a_cookie_expires() -> None:
    password = Password(b"s" * 16, b"h" * 32)
    cookie = password.cookie(1000.0)
    assert password.valid(cookie, 1001.0)
    assert not password.valid(cookie, 1000.0 + 31 * 86_400)


def test_a_damaged_password_file_lets_nobody_in(home: Path) -> None:
    path = put(home, PASSWORD)
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in path.read_text()
    with serving(home) as server:
        server.post("login", {"password": PASSWORD})
        assert server.get("now").status_code == 200
        path.write_text("{}")
        assert server.get("now").status_code == 503
        assert server.post("login", {"password": PASSWORD}).status_code in (422, 503)


def test_the_stored_password_is_read_again_after_a_change(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    assert stored.get() is None
    put(tmp_path, PASSWORD)
    first = stored.get()
    assert first is not None
    assert first.fits(PASSWORD)
    put(tmp_path, "another horse")
    second = stored.get()
    assert second is not None
    assert not second.fits(PASSWORD)


def test_only_the_proxy_that_was_named_may_connect_and_it_needs_no_password(home: Path) -> None:
    put(home, PASSWORD)
    ingress = {
        "Host": "homeassistant.local:8123",
        "Origin": "http://homeassistant.local:8123",
        "X-Ingress-Path": "/api/x",
    }
    with serving(home, "--listen", "0.0.0.0", "--only-from", "127.0.0.1") as server:
        for path in ("", "teach", "review", "learn", "now"):
            assert server.get(path, headers=ingress).status_code == 200, path
        assert server.post("logout", headers=ingress).status_code == 200
        assert server.post("logout", headers={**ingress, "Origin": "http://evil.example"}).status_code == 403
        assert server.session.post(server.url + "logout", data=b"a=b", headers=ingress).status_code == 415
    with serving(home, "--listen", "0.0.0.0", "--only-from", "127.0.0.9") as server:
        for path in (*PAGES, "now", "static/style.css", "frame"):
            refused = server.get(path, headers=ingress)
            assert (refused.status_code, "127.0.0.9" in refused.text) == (403, True), path
        for path in WRITES:
            assert server.post(path, headers=ingress).status_code == 403, path
        assert server.get("healthz").status_code == 200, "the container's own check"


def test_what_only_from_names_must_be_an_address(home: Path) -> None:
    words = ["serve", "--only-from", "supervisor"]
    done = subprocess.run([sys.executable, "-m", "edge", "--home", home, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert "172.30.32.2" in done.stderr
