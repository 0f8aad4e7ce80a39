"""What `fleet collect` and a Flower run put into a store: each device's examples once, under its next number."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("obstore")

from edge.fleet.names import Named, contributions
from edge.fleet.remote import open_remote
from export.fleet.collect import put
from tests.export.fleet.devices import contribution, device_id, examples


def test_the_same_examples_are_put_once_and_others_under_the_next_number(tmp_path: Path) -> None:
    store = open_remote(tmp_path.as_uri())
    (_, first), (_, second) = (contribution(3, *examples(3, count)) for count in (6, 9))
    told = [put(store, "kitchen", data) for data in (first, first, second, second)]
    assert [(one.new, one.examples, one.error) for one in told] == [
        (True, 6, None), (False, 6, None), (True, 9, None), (False, 9, None),
    ]  # fmt: skip
    names = [Named.parse(one.name) for one in told]
    assert [name and (name.device, name.sequence) for name in names] == [(device_id(3), n) for n in (1, 1, 2, 2)]
    assert contributions(store.names("devices/")) == sorted({name for name in names if name})


def test_two_hosts_with_one_id_do_not_replace_each_other(tmp_path: Path) -> None:
    store = open_remote(tmp_path.as_uri())
    (_, first), (_, copy), (_, other) = (contribution(number, *examples(number, 6)) for number in (3, 3, 4))
    told = [put(store, "kitchen", first)]
    for host, data in (("garage", copy), ("attic", other)):
        told.append(put(store, host, data, told))
    assert [one.error and one.error.code for one in told] == [None, "device-twice", None]
    assert "garage and kitchen have the same device's id" in str(told[1].error)
    assert len(contributions(store.names("devices/"))) == 2


def test_what_is_damaged_is_not_put(tmp_path: Path) -> None:
    store = open_remote(tmp_path.as_uri())
    _, data = contribution(3, *examples(3))
    told = put(store, "kitchen", data[:-1])
    assert told.error is not None
    assert told.error.code == "contribution-damaged"
    assert store.names("devices/") == []
