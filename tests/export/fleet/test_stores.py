"""Two hundred devices and a real store: an S3 server on loopback, or a folder. Nobody counts twice, nothing half."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("obstore")

from edge.fleet.remote import open_remote
from export.fleet.merge import merge
from export.fleet.releases import publish
from export.fleet.report import report
from export.fleet.undo import undo
from tests.edge.fleet.conftest import s3, use_s3
from tests.export.fleet.devices import base, contribution, device_id, examples, put, rules

pytestmark = pytest.mark.kills
__all__ = ["s3"]
DEVICES, KILLED = 200, 20
CHILD = """
import sys
sys.path.insert(0, {root!r})
from edge.fleet.remote import open_remote
from tests.export.fleet.devices import put
remote = open_remote({url!r})
for number in range({first}, {last}):
    put(remote, number)
    print(number, flush=True)
"""


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file":
        (tmp_path / "store").mkdir()
        return (tmp_path / "store").as_uri()
    use_s3(request.getfixturevalue("s3"), monkeypatch)
    return f"s3://fleet/{tmp_path.name}"


def half_sent(url: str, number: int) -> None:
    """A device whose power goes while its contribution is on the way: half of the request arrives."""
    name, data = contribution(number, *examples(number))
    if url.startswith("file"):  # what obstore's folder leaves then: a file beside, under another name
        path = Path(urlsplit(url).path) / f"{name}#1"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[: len(data) // 2])
        return
    server = urlsplit(os.environ["AWS_ENDPOINT"])
    with socket.create_connection((str(server.hostname), int(server.port or 80))) as line:
        bucket = url.removeprefix("s3://")
        head = f"PUT /{bucket}/{name} HTTP/1.1\r\nHost: {server.netloc}\r\nContent-Length: {len(data)}\r\n\r\n"
        line.sendall(head.encode() + data[: len(data) // 2])


def test_of_two_hundred_devices_each_counts_once_and_those_cut_off_not_at_all(url: str, tmp_path: Path) -> None:
    remote = open_remote(url)
    bundle = base(tmp_path)
    for number in range(DEVICES):
        put(remote, number)
        put(remote, number)  # the reply was lost, so it tries again
    for number in range(DEVICES, DEVICES + KILLED):
        half_sent(url, number)
    merged = merge(remote, bundle, tmp_path / "made.edge", rules, lambda done, of: None)
    assert (merged.devices, merged.examples) == (DEVICES, 6 * DEVICES)
    assert set(merged.bundle.manifest.devices) == {device_id(number) for number in range(DEVICES)}
    cut = {device_id(number) for number in range(DEVICES, DEVICES + KILLED)}
    assert {one.device for one in merged.refused} <= cut, "a store that keeps half of a request: refused by name"
    alone = tmp_path / "alone"
    alone.mkdir()
    other = open_remote(alone.as_uri())
    for number in reversed(range(DEVICES)):
        put(other, number)
    merge(other, bundle, alone / "made.edge", rules, lambda done, of: None)
    assert (alone / "made.edge").read_bytes() == (tmp_path / "made.edge").read_bytes()


def test_devices_whose_program_is_killed_are_in_the_merge_or_not_and_never_half(url: str, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(root=root, url=url, first=0, last=40)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    sent = [int(child.stdout.readline()) for _ in range(20)]
    child.kill()
    sent += [int(line) for line in child.stdout]
    child.wait()
    remote = open_remote(url)
    merged = merge(remote, base(tmp_path), tmp_path / "made.edge", rules, lambda done, of: None)
    there = set(merged.bundle.manifest.devices)
    known = {device_id(number) for number in sent}
    assert known <= there <= known | {device_id(len(sent))}, "the one that was being sent may have arrived"
    for number in range(40):
        put(remote, number)
    assert merge(remote, tmp_path / "base.edge", tmp_path / "made.edge", rules, lambda done, of: None).devices == 40


def test_the_bad_teacher_is_named_first_undone_and_the_figure_is_back(url: str, tmp_path: Path) -> None:
    remote, bundle = open_remote(url), base(tmp_path)

    def figure() -> float:
        found = merge(remote, bundle, tmp_path / "made.edge", rules, lambda done, of: None).accuracy
        assert found is not None
        return found.accuracy

    for number in range(1, 15):
        put(remote, number, count=12)
    before = figure()
    put(remote, 0, count=12, turn=1)
    told = report(remote, bundle, rules, lambda done, of: None)
    assert told.lines[0].device == device_id(0)
    assert "uses" in told.lines[0].why
    assert [line.device for line in told.lines if line.judged and line.judged.suspicious] == [device_id(0)]
    assert figure() < before
    undo(remote, told.lines[0].device, "2026-11-29T12:00:00+00:00")
    assert figure() == before
    last = report(remote, bundle, rules, lambda done, of: None).lines[-1]
    assert (last.device, last.undone) == (device_id(0), "2026-11-29T12:00:00+00:00")
    assert publish(remote, tmp_path / "made.edge", 10).devices[1] == 15
