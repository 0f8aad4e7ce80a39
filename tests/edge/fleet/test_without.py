"""Without obstore, which only a fleet needs, a device says how to install it, and all else works."""

import sys

import pytest

from edge.errors import RuntimeMissing
from edge.fleet.remote import open_remote
from tests.refused import refused


def test_without_obstore_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("obstore", "obstore.exceptions", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    for url in ("s3://bucket/x", "file:///"):
        with refused("library-missing", RuntimeMissing, "edge-transfer[fleet]"):
            open_remote(url)
