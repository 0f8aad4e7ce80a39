"""What `make test-fast` leaves out is there for `make test` to run, and no test can hang for ever."""

import signal
import threading

import pytest

from .conftest import HANG


def test_each_group_that_is_left_out_in_a_hurry_has_tests(groups: dict[str, int]) -> None:
    assert sorted(groups) == ["converters", "fuzzing", "kills"]
    assert min(groups.values()) > 10, groups


def test_a_test_that_hangs_fails() -> None:
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= HANG
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(pytest.fail.Exception, match="did not end"):
        threading.Event().wait()
