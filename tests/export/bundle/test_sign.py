"""`edge-export sign`: with the keys that ssh-keygen makes, and what it says of those that it cannot use."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bundle import archive, signature
from edge.bundle.archive import Bundle
from edge.bundle.signature import read_key, verify
from edge.errors import SignatureError
from export.bundle.check import check
from tests.export.conftest import Surfaces
from tests.refused import refused

WHEN = "2026-11-24T08:00:00+00:00"
pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "anna", "-f", path], check=True)
    return path


def sign(path: Path, key: Path, when: str) -> Bundle:
    return archive.sign(archive.read(path), when, lambda text: signature.sign(text, key))


@pytest.fixture
def copy(built: Surfaces, tmp_path: Path) -> Path:
    return Path(shutil.copy(built.bundle.path, tmp_path / "tiny.edge"))


def test_a_bundle_is_signed_and_checked(copy: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path / "anna")
    assert check(copy).signer is None
    signed = sign(copy, key, WHEN)
    public = read_key(f"{key}.pub")
    assert verify(signed.text, signed.signature or b"", [public]) == public
    assert check(copy).signer == public
    assert archive.read(copy).manifest.signed == WHEN


def test_a_key_with_a_passphrase_asks_for_it(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(tmp_path / "anna", passphrase="tea and toast")
    ask = tmp_path / "ask"
    monkeypatch.setenv("SSH_ASKPASS", str(ask))  # asked in the terminal's place
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    for said in ("tea and toast", "coffee"):
        ask.write_text(f"#!/bin/sh\necho {said}\n")
        ask.chmod(0o700)
        if said == "coffee":
            with refused("key-passphrase", SignatureError):
                sign(copy, key, WHEN)
        else:
            assert sign(copy, key, WHEN).manifest.signed == WHEN


def test_where_nobody_can_be_asked_for_a_passphrase_that_is_said(copy: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path / "anna", passphrase="tea and toast")
    command = [sys.executable, "-m", "export", "sign", str(copy), "--key", str(key)]
    child = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True, check=False
    )
    assert child.returncode == 1
    assert child.stderr.startswith("error: ")
    assert "in a terminal" in child.stderr


def test_a_name_that_looks_like_an_option_is_a_name(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path / "-Y")
    monkeypatch.chdir(tmp_path)
    copy.rename("-f.edge")
    assert sign(Path("-f.edge"), Path("-Y"), WHEN).manifest.signed == WHEN


def test_what_is_no_signing_key_is_refused_by_name(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "nonsense").write_bytes(b"hello")
    cases = {
        make_key(tmp_path / "rsa", "rsa"): ("key-invalid", "ed25519"),
        make_key(tmp_path / "anna").with_suffix(".pub"): ("key-invalid", "public key"),
        tmp_path / "nonsense": ("key-invalid", "private key"),
        tmp_path / "missing": ("key-invalid", "cannot be read"),
        make_key(tmp_path / "open"): ("key-invalid", "private key"),
    }
    (tmp_path / "open").chmod(0o644)
    before = copy.read_bytes()
    for key, (code, fact) in cases.items():
        with refused(code, SignatureError, key.name, fact):
            sign(copy, key, WHEN)
    assert copy.read_bytes() == before


def test_the_command_line_says_who_signed(copy: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path / "anna")

    def run(*args: object) -> str:
        command = [sys.executable, "-m", "export", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    fingerprint = read_key(f"{key}.pub").fingerprint
    assert f"with {fingerprint}" in run("sign", copy, "--key", key)
    assert json.loads(run("sign", copy, "--key", key, "--json"))["key"] == fingerprint
    assert f"with {fingerprint}; devices check whether they trust that key" in run("check", copy)
