"""Which of a device's contributions counts: a law of sets, not of orders."""

from hypothesis import given
from hypothesis import strategies as st

from edge.fleet.names import Named, contributions, newest_of_each, plan_name, plan_sequence, release_name, twice
from edge.fleet.names import release_number as number_of

named = st.builds(
    Named, st.sampled_from(["a" * 32, "b" * 32, "c" * 64]), st.integers(0, 5), st.sampled_from(["0" * 64, "1" * 64])
)


@given(st.lists(named), st.randoms())
def test_neither_order_nor_repetition_nor_older_ones_change_which_contribution_counts(names, random) -> None:
    newest = newest_of_each(names)
    more = names * 2 + [Named(n.device, n.sequence - 1, "1" * 64) for n in newest.values() if n.sequence]
    random.shuffle(more)
    assert newest_of_each(more) == newest
    assert list(newest) == sorted({name.device for name in names})
    assert all(newest[n.device].sequence >= n.sequence for n in names)


@given(st.lists(named))
def test_without_a_device_the_others_are_as_if_it_had_never_joined(names) -> None:
    left = [name for name in names if name.device != "a" * 32]
    assert newest_of_each(left) == {d: n for d, n in newest_of_each(names).items() if d != "a" * 32}


@given(st.lists(named))
def test_names_are_read_back_and_two_boxes_with_one_id_are_told(names) -> None:
    assert contributions([str(name) for name in names]) == sorted(set(names))
    pairs = {(n.device, n.sequence) for n in names}
    assert bool(twice(names)) == (len(pairs) < len(set(names)))


def test_what_is_not_named_as_a_contribution_a_release_or_a_plan_is_none() -> None:
    good = str(Named("a" * 32, 3, "0" * 64))
    for bad in (good + ".sig", good[1:], good.upper(), good.replace("0000000003", "3"), f"x/{good}", ""):
        assert contributions([bad]) == []
    assert number_of(release_name(12)) == 12
    assert plan_sequence(plan_name(3)) == 3
    assert number_of(plan_name(3)) is None
    assert plan_sequence("plans/3.json") is None
