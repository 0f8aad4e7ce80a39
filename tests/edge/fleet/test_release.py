"""Plans: the newest counts, each device knows its part, and a raised share loses nobody."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("obstore")

from edge.errors import FleetError
from edge.fleet.header import canonical
from edge.fleet.names import plan_name
from edge.fleet.release import Plan, Release, draw, newest_plan, parse
from edge.fleet.remote import open_remote
from tests.refused import refused

PLAN = Plan(12, "a" * 64, 1000, 25, 11, "b" * 64, 900)
NEW, OLD = Release(12, "a" * 64, 1000), Release(11, "b" * 64, 900)
devices = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(devices, st.integers(0, 100), st.integers(0, 100))
def test_a_device_that_takes_a_release_keeps_it_when_its_share_is_raised(device: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    takes = [dataclasses.replace(PLAN, percent=percent).meant_for(device) for percent in (0, low, high, 100)]
    assert takes[0] == OLD
    assert takes[3] == NEW
    assert takes[1] == OLD or takes[2] == NEW


def test_the_share_is_that_of_the_devices_and_each_release_draws_anew() -> None:
    some = [f"{i:032x}" for i in range(4000)]
    assert sum(PLAN.meant_for(device) == NEW for device in some) == pytest.approx(1000, abs=100)
    assert draw(some[0], 1) != draw(some[0], 2)


@given(devices)
def test_without_a_previous_release_the_others_keep_what_they_have(device: str) -> None:
    plan = Plan(1, "a" * 64, 10, 50)
    assert plan.meant_for(device) in (None, Release(1, "a" * 64, 10))
    assert dataclasses.replace(plan, percent=0).meant_for(device) is None


def test_a_plan_is_read_back_and_the_newest_counts(tmp_path: Path) -> None:
    remote = open_remote(tmp_path.as_uri())
    assert newest_plan(remote) is None
    for sequence, percent in ((1, 10), (3, 0), (2, 50)):
        remote.put(plan_name(sequence), dataclasses.replace(PLAN, percent=percent).to_json())
    remote.put("plans/notes.txt", b"x")
    assert newest_plan(remote) == (3, dataclasses.replace(PLAN, percent=0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("percent", 101), ("percent", -1), ("percent", 2.5), ("percent", True), ("release", 0), ("release", "12"),
        ("sha256", "x"), ("sha256", "A" * 64), ("size", 0), ("size", 1 << 40), ("previous", 0), ("format", 0),
        ("previous_sha256", None), ("previous_size", None), ("more", 1),
    ],
)  # fmt: skip
def test_an_impossible_plan_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    raw = {**json.loads(PLAN.to_json()), field: value}
    with refused("plan-invalid", FleetError, field):
        parse("x", canonical(raw))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", PLAN.to_json() + b" ", b'{"a":1,"a":2}', b"9" * 99])
def test_what_is_no_plan_is_refused(text: bytes) -> None:
    with refused("plan-invalid", FleetError, "x"):
        parse("x", text)


def test_a_plan_of_a_newer_program_asks_for_an_upgrade() -> None:
    with refused("too-new", FleetError, 2, 1):
        parse("x", canonical({"format": 2, "surprise": True}))
