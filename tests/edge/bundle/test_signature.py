"""Signatures and pinned keys: once a home trusts a key, nothing that key did not sign gets in, and nothing older."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import archive
from edge.bundle.signature import Key, read_key, signer, verify
from edge.errors import EdgeError, HomeError, RuntimeMissing, SignatureError
from edge.home.store import open_store
from edge.home.trust import Pins
from edge.learner import Learner
from tests.edge.hostile import entries_of, write_zip
from tests.refused import refused

needs_openssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
MONDAY, TUESDAY = "2026-11-23T08:00:00+00:00", "2026-11-24T08:00:00+00:00"
PUBLIC = Key(bytes(range(32)), "anna@bench")


class Signer:
    """A new key of ssh-keygen's, that signs as `edge-export sign` does."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.file], check=True)
        self.key = read_key(f"{self.file}.pub")

    def signature(self, message: bytes, *options: str) -> bytes:
        command = ["ssh-keygen", "-Y", "sign", *(options or ("-n", "edge-bundle")), "-f", self.file]
        return subprocess.run(command, input=message, capture_output=True, check=True).stdout

    def sign(self, source: Path, target: Path, when: str = MONDAY) -> Path:
        shutil.copy(source, target)
        archive.sign(archive.read(target), when, self.signature)
        return target


@pytest.fixture(scope="session")
def anna(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("anna"), "anna")


@pytest.fixture(scope="session")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("bob"), "bob")


# keys -----------------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.text(max_size=20))
def test_a_keys_line_is_read_back(public: bytes, comment: str) -> None:
    key = Key.parse(str(Key(public, comment)))
    assert key.public == public
    assert Key.parse(str(key)).comment == key.comment


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "''"),
        ("ssh-rsa AAAA", "'ssh-rsa'"),
        ("ssh-ed25519", ".pub"),
        (str(PUBLIC).replace("AAAI", "AAAJ"), ".pub"),
        (str(PUBLIC)[:60], ".pub"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
    ],
)
def test_what_is_no_public_key_is_refused_by_name(line: str, says: str, tmp_path: Path) -> None:
    with refused("key-invalid", SignatureError, says):
        Key.parse(line)
    (tmp_path / "key.pub").write_text(line + "\n")
    with refused("key-invalid", SignatureError):
        read_key(str(tmp_path / "key.pub"))


def test_a_key_is_read_from_its_file_or_its_line(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"# of the bench\n{PUBLIC}\n")
    assert read_key(str(tmp_path / "key.pub")) == read_key(str(PUBLIC)) == PUBLIC
    for word, says in ((str(tmp_path / "none.pub"), "none.pub"), ("a\0b", "neither")):
        with refused("key-invalid", SignatureError, says):
            read_key(word)


def test_a_comment_cannot_steer_the_terminal() -> None:
    assert Key.parse(f"{PUBLIC}\x1b[2J\u202e\x9b31m").comment == "anna@bench[2J31m"


# signatures -----------------------------------------------------------------------------------------------------------


@needs_openssh
def test_a_signature_counts_for_its_bytes_and_its_key_alone(anna: Signer) -> None:
    signature = anna.signature(b"hello")
    assert verify(b"hello", signature, [PUBLIC, anna.key]).comment == "anna"
    assert signer(signature) == anna.key
    with refused("signature-invalid", SignatureError, "changed"):
        verify(b"hullo", signature, [anna.key])
    with refused("key-untrusted", SignatureError, anna.key.fingerprint):
        verify(b"hello", signature, [PUBLIC])


@needs_openssh
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_makes_no_other_signature(anna: Signer, place: float, bit: int) -> None:
    signature = bytearray(anna.signature(b"hello"))
    signature[int(place * len(signature))] ^= 1 << bit
    with pytest.raises(SignatureError):
        verify(b"hello", bytes(signature), [anna.key])


@needs_openssh
@given(st.binary(max_size=300))
def test_any_bytes_are_a_signature_or_refused(data: bytes) -> None:
    with refused("signature-invalid", SignatureError):
        verify(b"hello", b"-----BEGIN SSH SIGNATURE-----\n" + data, [PUBLIC])


@needs_openssh
def test_only_a_signature_for_a_bundle_by_a_key_of_our_kind_counts(anna: Signer, tmp_path: Path) -> None:
    assert verify(b"hello", anna.signature(b"hello", "-n", "edge-bundle", "-O", "hashalg=sha256"), [anna.key])
    with refused("signature-invalid", SignatureError, "another purpose"):
        verify(b"hello", anna.signature(b"hello", "-n", "git"), [anna.key])
    rsa = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", rsa], check=True)
    command = ["ssh-keygen", "-Y", "sign", "-n", "edge-bundle", "-f", rsa]
    signature = subprocess.run(command, input=b"hello", capture_output=True, check=True).stdout
    with refused("signature-invalid", SignatureError, "ssh-ed25519"):
        verify(b"hello", signature, [anna.key])


@needs_openssh
def test_a_signature_that_0_1_0_made_counts(tmp_path: Path) -> None:
    """0.1.0 wrote OpenSSH's form itself; Ed25519 and this form leave no choice, so these are its very bytes."""
    key = Key.parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c key 1")
    signature = b"""-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgiojj3XQJ8ZX9UtstPLpdcspnCb
8dlBIb83SIAbQPb1wAAAALZWRnZS1idW5kbGUAAAAAAAAABnNoYTUxMgAAAFMAAAALc3No
LWVkMjU1MTkAAABAxRU+wjXK3BFXF1cxwozygHbHxiEc1gjigo5FQlukeXewS+BUFRWavf
CuC/i6xcKrYeZ+Kudiz+/90+dPBt2BCw==
-----END SSH SIGNATURE-----
"""
    assert verify(b"hello", signature, [key]) == key


# homes ----------------------------------------------------------------------------------------------------------------


@needs_openssh
def test_a_signed_bundle_is_the_same_bundle(tiny_bundle: Path, tmp_path: Path, anna: Signer) -> None:
    signed = archive.read(anna.sign(tiny_bundle, tmp_path / "a.edge"))
    signed.verify()
    plain = archive.read(tiny_bundle)
    assert dataclasses.replace(signed.manifest, signed=None) == plain.manifest
    assert all(signed.entry(name) == plain.entry(name) for name in plain.manifest.files)
    again = archive.sign(signed, TUESDAY, anna.signature)
    assert again.manifest.signed == TUESDAY
    assert verify(again.text, again.signature or b"", [anna.key]) == anna.key


def test_a_home_without_a_pin_takes_any_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    with Learner.init(tmp_path / "home", tiny_bundle) as made:
        assert made.trusted().keys == ()
        assert made.trusted().problem == ""


@needs_openssh
def test_once_a_key_is_pinned_nothing_else_gets_in(
    tiny_bundle: Path, tmp_path: Path, anna: Signer, bob: Signer
) -> None:
    home = tmp_path / "home"
    mine, others = anna.sign(tiny_bundle, tmp_path / "mine.edge"), bob.sign(tiny_bundle, tmp_path / "others.edge")
    with refused("key-untrusted", SignatureError, "others.edge", "SHA256"):
        Learner.init(home, others, trust=anna.key)
    assert not home.exists(), "a refused init leaves nothing behind"
    with Learner.init(home, mine, trust=anna.key) as made:
        assert made.trusted().key == anna.key.fingerprint
        assert made.trusted().signed == MONDAY
    for path, code in ((others, "key-untrusted"), (tiny_bundle, "bundle-unsigned")):
        with refused(code, SignatureError, path):
            Learner.init(home, path)
    Learner.init(home, mine).close()
    with Learner(home) as kept:
        kept.trust(bob.key)
    with refused("bundle-unsigned", SignatureError):
        Learner.init(home, tiny_bundle)
    Learner.init(home, bob.sign(tiny_bundle, tmp_path / "others.edge", TUESDAY)).close()
    with Learner(home) as kept:
        kept.trust(remove=bob.key.fingerprint)
        assert kept.trusted().keys[0].comment == "anna"
        assert "not trusted here" in kept.trusted().problem


@needs_openssh
def test_an_older_bundle_is_refused_until_it_is_signed_again(
    tiny_bundle: Path, tmp_path: Path, anna: Signer, bob: Signer
) -> None:
    home = tmp_path / "home"
    old = anna.sign(tiny_bundle, tmp_path / "old.edge", MONDAY)
    new = anna.sign(tiny_bundle, tmp_path / "new.edge", TUESDAY)
    Learner.init(home, new, trust=anna.key).close()
    with refused("bundle-older", SignatureError, MONDAY, TUESDAY):
        Learner.init(home, old)
    with refused("bundle-older", SignatureError):
        Learner.init(home, bob.sign(tiny_bundle, tmp_path / "other.edge", MONDAY), trust=bob.key)
    same_moment = "2026-11-24T09:00:00+01:00"
    Learner.init(home, anna.sign(tiny_bundle, old, same_moment)).close()


@needs_openssh
def test_the_last_pin_takes_the_time_along(tiny_bundle: Path, tmp_path: Path, anna: Signer) -> None:
    home = tmp_path / "home"
    far = anna.sign(tiny_bundle, tmp_path / "far.edge", "2099-01-01T00:00:00+00:00")  # a workstation's clock gone wild
    Learner.init(home, far, trust=anna.key).close()
    with Learner(home) as kept:
        kept.trust(remove="anna")
    Learner.init(home, anna.sign(tiny_bundle, far, MONDAY), trust=anna.key).close()


@needs_openssh
def test_a_bundle_adopted_before_the_pin_counts_as_the_newest(tiny_bundle: Path, tmp_path: Path, anna: Signer) -> None:
    home = tmp_path / "home"
    Learner.init(home, anna.sign(tiny_bundle, tmp_path / "new.edge", TUESDAY)).close()
    with Learner(home) as kept:
        kept.trust(anna.key)
    with refused("bundle-older", SignatureError):
        Learner.init(home, anna.sign(tiny_bundle, tmp_path / "old.edge", MONDAY))


def test_damaged_pins_are_never_taken_for_none(tiny_bundle: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    Learner.init(home, tiny_bundle).close()
    for key, value in (("trusted_keys", "["), ("trusted_keys", "[1]"), ("trusted_keys", "7"), ("newest_signed", "x")):
        with Learner(home) as kept:
            before = kept.store.get(key)
            kept.store.put(key, value)
        with refused("home-damaged", HomeError, "keys"):
            Learner.init(home, tiny_bundle)
        with open_store(home) as store:
            store.put(key, before or "")


@needs_openssh
@pytest.mark.parametrize("entry", ["manifest.json", "backbone.onnx", "golden.npz", "examples.npz"])
def test_whatever_was_changed_after_signing_is_seen(
    tiny_bundle: Path, tmp_path: Path, anna: Signer, entry: str
) -> None:
    """Hashes are recomputed by who changes it, as a forger would."""
    import hashlib

    entries = entries_of(anna.sign(tiny_bundle, tmp_path / "a.edge"))
    manifest = json.loads(entries["manifest.json"])
    if entry == "manifest.json":
        manifest["name"] = "evil"
    else:
        entries[entry] = entries[entry][:-1] + bytes([entries[entry][-1] ^ 1])
        manifest["files"][entry]["sha256"] = hashlib.sha256(entries[entry]).hexdigest()
    entries["manifest.json"] = json.dumps(manifest).encode()
    with refused("signature-invalid", SignatureError, "changed"):
        Learner.init(tmp_path / "home", write_zip(tmp_path / "b.edge", entries), trust=anna.key)


@needs_openssh
@pytest.mark.parametrize("when", ["", "yesterday", "2026-11-23T08:00:00", "9" * 40])
def test_a_time_that_is_none_is_refused(tiny_bundle: Path, tmp_path: Path, anna: Signer, when: str) -> None:
    before = tiny_bundle.read_bytes()
    with refused("bundle-invalid", EdgeError, "signed"):
        anna.sign(tiny_bundle, tmp_path / "a.edge", when)
    assert (tmp_path / "a.edge").read_bytes() == before


def test_where_signatures_cannot_be_checked_nothing_is_taken(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither unsigned nor, as nothing can be known of it, signed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("library-missing", RuntimeMissing, "sudo apt install openssh-client"):
        Pins((PUBLIC,)).check(archive.read(tiny_bundle))
    with refused("library-missing", RuntimeMissing):
        Learner.init(tmp_path / "home", tiny_bundle, trust=PUBLIC)
    assert not (tmp_path / "home").exists()


def test_a_bundle_that_changes_while_it_is_read_is_not_adopted(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.edge"
    shutil.copy(tiny_bundle, path)
    entries = entries_of(path)
    manifest = json.loads(entries["manifest.json"])
    original = shutil.copyfile

    def swapped(source: Path, target: Path) -> None:
        write_zip(path, {**entries, "manifest.json": json.dumps({**manifest, "name": "evil"}).encode()})
        original(source, target)

    monkeypatch.setattr(shutil, "copyfile", swapped)
    with refused("file-changed", EdgeError):
        Learner.init(tmp_path / "home", path)
    assert not list((tmp_path / "home").glob("*.edge"))


@needs_openssh
def test_trust_speaks_plainly(
    tiny_bundle: Path, tmp_path: Path, anna: Signer, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "anna.pub").write_text(f"{anna.key}\n")
    mine = anna.sign(tiny_bundle, tmp_path / "mine.edge")

    def edge(*args: object) -> str:
        command = [sys.executable, "-m", "edge", "--home", tmp_path / "home", *args]
        child = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert "Traceback" not in child.stderr
        return child.stdout + child.stderr

    assert edge("init", tiny_bundle).startswith("tested with ")
    assert "no key is trusted, so bundles from anybody are accepted" in edge("trust")
    assert "tiny: warning: " in edge("trust", tmp_path / "anna.pub")
    assert edge("init", tiny_bundle).startswith("error: ")
    assert "BAD signature" in edge("doctor")
    assert edge("init", mine).startswith("tested with ")
    assert edge("trust").splitlines() == [
        "bundles signed with one of these keys are accepted:",
        f"  {anna.key.fingerprint}  anna",
        f"tiny: signed 2026-11-23 08:00 UTC with {anna.key.fingerprint}",
    ]
    assert "ok  signature" in edge("doctor")
    listed = json.loads(edge("trust", "--json"))
    assert listed["keys"] == [{"fingerprint": anna.key.fingerprint, "comment": "anna"}]
    assert edge("trust", "--remove", "bob").startswith("error: no key is trusted as 'bob'")
    assert "no key is trusted" in edge("trust", "--remove", "anna")
    assert edge("init", tiny_bundle).startswith("tested with ")
