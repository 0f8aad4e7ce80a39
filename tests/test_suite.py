"""What `make test-fast` leaves out is there for `make test` to run."""


def test_each_group_that_is_left_out_in_a_hurry_has_tests(groups: dict[str, int]) -> None:
    assert sorted(groups) == ["converters", "fuzzing", "kills"]
    assert min(groups.values()) > 10, groups
