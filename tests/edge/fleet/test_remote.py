"""The store behind its URL: a folder and a real S3 server on loopback give the same answers and the same refusals."""

import contextlib
import errno
import os
import stat
import threading
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from edge.errors import StoreError
from edge.fleet.remote import Remote, open_remote
from tests.edge.fleet.conftest import SECRET, use_s3
from tests.refused import refused


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store that holds nothing yet."""
    if request.param == "file":
        return tmp_path.as_uri()
    use_s3(request.getfixturevalue("s3"), monkeypatch)
    return f"s3://fleet/{tmp_path.name}"


def test_what_is_put_can_be_read_whole_in_parts_and_in_lists(url: str) -> None:
    store = open_remote(url)
    data = bytes(range(256)) * 40
    assert store.put("devices/a/1", data)
    assert store.put("devices/b/1", b"")
    assert store.put("releases/1", b"x")
    assert store.get("devices/a/1", len(data)) == data
    assert store.part("devices/a/1", 250, 12) == data[250:262]
    assert store.size("devices/a/1") == len(data)
    assert store.names("devices/") == ["devices/a/1", "devices/b/1"]
    assert store.names("plans/") == []
    assert {entry.name: entry.size for entry in store.entries("devices/")} == {"devices/a/1": 10240, "devices/b/1": 0}
    assert open_remote(url + "/").names("devices/") == store.names("devices/")


def test_the_same_bytes_twice_are_harmless_and_others_never_replace_them(url: str) -> None:
    store = open_remote(url)
    assert [store.put("a", b"one"), store.put("a", b"one")] == [True, False]
    for other in (b"two", b"", b"one more"):
        with refused("store-name-taken", StoreError, "a"):
            store.put("a", other)
    assert store.get("a", 3) == b"one"


def test_of_many_that_put_one_name_at_once_one_wins_whole(url: str) -> None:
    store, won = open_remote(url), []

    def put(number: int) -> None:
        with contextlib.suppress(StoreError):
            won.append((store.put("a", bytes([number]) * 100_000), number))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [is_new for is_new, _ in won] == [True]
    assert store.get("a", 100_000) == bytes([won[0][1]]) * 100_000


def test_what_is_missing_or_too_large_is_refused_by_name(url: str) -> None:
    store = open_remote(url)
    store.put("a", b"four")
    for ask in (lambda: store.get("b", 9), lambda: store.size("b"), lambda: store.part("b", 0, 1)):
        with refused("store-missing", StoreError, "b"):
            ask()
    with refused("store-too-large", StoreError, "a", 4, 3):
        store.get("a", 3)


@pytest.mark.parametrize(
    "url", ["", "x", "s3://", "file://", "ftp://a/b", "http://127.0.0.1/a", "://", "s3:/a", "http://[", "file:a"]
)
def test_what_is_no_stores_url_is_refused(url: str) -> None:
    with refused("store-url-invalid", StoreError, "file:///FOLDER"):
        open_remote(url)


def test_a_password_that_is_not_escaped_is_not_shown() -> None:
    for url in (f"https://user:a/{SECRET}@127.0.0.1/a", f"s3://user:{SECRET}/x@b/c", f"user:{SECRET}@host"):
        with refused("store-url-invalid", StoreError, "%40") as caught:
            open_remote(url)
        assert SECRET not in str(caught.value)


def test_a_folder_of_any_name_is_a_store(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode("100% 🐦\n#?".encode() + b"caf\xe9")
    folder.mkdir()
    open_remote(folder.as_uri()).put("a/b", b"x")
    assert (folder / "a" / "b").read_bytes() == b"x"
    assert open_remote(folder.as_uri()).names("a/") == ["a/b"]


def test_a_disk_without_links_is_a_store_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")  # as on a FAT stick

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    store = open_remote(tmp_path.as_uri())
    assert store.put("devices/a", b"one")
    assert not store.put("devices/a", b"one")
    with refused("store-name-taken", StoreError):
        store.put("devices/a", b"two")
    assert store.names("devices/") == ["devices/a"]
    assert store.get("devices/a", 10) == b"one"
    assert [path.name for path in (tmp_path / "devices").iterdir()] == ["a"]


def test_a_put_that_was_killed_half_way_leaves_nothing_for_good(tmp_path: Path) -> None:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / f".a.{2**22 + 1}.partial").write_bytes(b"on")  # no such process can be
    store = open_remote(tmp_path.as_uri())
    assert store.put("devices/a", b"one")
    assert [path.name for path in (tmp_path / "devices").iterdir()] == ["a"]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with refused("store-missing", StoreError):
        open_remote((tmp_path / "no").as_uri())
    assert not (tmp_path / "no").exists()


def test_a_bucket_that_is_not_there_is_told(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(s3, monkeypatch)
    for ask in (lambda r: r.names("a/"), lambda r: r.put("a", b"b")):
        with refused("store-missing", StoreError, "s3://nowhere/x"):
            ask(open_remote("s3://nowhere/x"))


def silent(url: str) -> str:
    with pytest.raises(StoreError) as caught:
        open_remote(url).names("a/")
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.code


def test_no_network_and_no_credentials_are_told_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.fleet.remote._RETRIES", 0)
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    assert silent(f"https://user:{SECRET}@127.0.0.1:1/a") == "store-unreachable"
    assert silent(f"az://box/a?sig={SECRET}") == "store-refused"
    use_s3("http://127.0.0.1:1", monkeypatch)
    assert silent("s3://fleet/a") == "store-unreachable"


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "a").write_bytes(b"")  # not even root can make a folder of a file
        name = "a/b"
    else:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        name = "b"
    with refused("store-failed", StoreError):
        open_remote(tmp_path.as_uri()).put(name, b"x")


def test_an_open_store_shows_no_secret() -> None:
    store: Remote = open_remote(f"https://user:{SECRET}@example.org/a?key={SECRET}")
    assert store.url == "https://example.org/a"
    assert SECRET not in repr(store)
