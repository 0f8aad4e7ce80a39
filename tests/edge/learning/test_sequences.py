"""Any sequence of what people do leaves a home as a plain list of examples says, sound, and with a head that works.

The model is that list and the names of the bundle's labels. After each step the home must hold what the model holds; a
refusal must leave everything as it was. At the end, a home that never saw the detours has the same head, to the byte.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from edge.care.backup import backup, restore
from edge.care.verify import verify
from edge.errors import HomeError, LabelError, NotEnough
from edge.learner import Learner
from edge.network.backbone import Backbone
from edge.testing import surface, write_bundle, write_photos

BUNDLES = ({"brick": 10, "grass": 10, "gravel": 10}, {"brick": 12, "coins": 9, "gravel": 10})
FACTORY = ("brick", "grass", "gravel", "coins")
LABELS = some.sampled_from([*FACTORY, "wall", "Wall", "a b", "ünï"])
SEEDS = some.integers(0, 11)
SESSIONS = some.sampled_from([None, None, "monday", "tuesday"])


class Held(NamedTuple):
    """What the model knows of an example."""

    label: str
    seed: int
    session: str | None
    held_out: bool


class Sequences(RuleBasedStateMachine):
    """One home, and the model of it."""

    kits: tuple[Path, Path]  # of the labels in `BUNDLES`; set by the test
    numbers = Bundle("numbers")  # examples that were there at some time

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.home = self.folder / "home"
        self.held: dict[int, Held] = {}
        self.installed = 0
        self.factory: dict[str, str | None] = {name: name for name in FACTORY}  # in a bundle → here

    @initialize()
    def start(self) -> None:
        self.learner = Learner.init(self.home, self.kits[self.installed])

    def teardown(self) -> None:
        try:
            self.ends_sound()
        finally:
            self.learner.close()
            shutil.rmtree(self.folder)

    # what people do

    @rule(target=numbers, label=LABELS, seed=SEEDS, session=SESSIONS, held_out=some.sampled_from([False, False, True]))
    def teach(self, label: str, seed: int, session: str | None, held_out: bool) -> int:
        taught = self.learner.teach(label, shown(seed), session, held_out=held_out)
        there = [number for number, one in self.held.items() if one.seed == seed]
        if there:
            assert not taught.examples
            assert len(taught.known) == 1
            return there[0]
        (number,) = taught.examples
        self.held[number] = Held(label, seed, session, held_out)
        return number

    @rule(number=numbers)
    def forget_one(self, number: int) -> None:
        self.changed(lambda: self.learner.forget(number), {n: one for n, one in self.held.items() if n != number})

    @rule(session=SESSIONS)
    def forget_a_session(self, session: str | None) -> None:
        if session is not None:
            left = {n: one for n, one in self.held.items() if one.session != session}
            self.changed(lambda: self.learner.forget(session=session), left)

    @rule(label=LABELS)
    def forget_a_label(self, label: str) -> None:
        if label in self.another():
            return
        left = {n: one for n, one in self.held.items() if one.label != label}
        factory = self.renamed(label, None)
        self.changed(lambda: self.learner.forget(label=label), left, factory)

    @rule(number=numbers, label=LABELS)
    def relabel(self, number: int, label: str) -> None:
        held = dict(self.held)
        if number in held:
            held[number] = held[number]._replace(label=label)
        self.changed(lambda: self.learner.relabel(number, label), held)

    @rule(old=LABELS, new=LABELS, merge=some.booleans())
    def rename(self, old: str, new: str, merge: bool) -> None:
        if old in self.another():
            return
        held = {n: one._replace(label=new) if one.label == old else one for n, one in self.held.items()}
        factory = self.renamed(old, new)
        if new in self.labels() and not merge:
            with pytest.raises(LabelError):
                self.learner.rename(old, new)
        else:
            self.changed(lambda: self.learner.rename(old, new, merge), held, factory)

    @rule(force=some.booleans())
    def retrain(self, force: bool) -> None:
        made = self.learner.retrain(force=force)
        assert made.promoted or not force
        assert self.learner.status().untrained_examples == 0 or not made.promoted

    @rule()
    def roll_back(self) -> None:
        before = self.learner.status().generation
        try:
            entry = self.learner.rollback()
        except HomeError as error:
            assert error.code == "generation-unknown"
        else:
            assert self.learner.status().generation == entry.generation < before

    @rule()
    def open_again(self) -> None:
        self.learner.close()
        self.learner = Learner(self.home)

    @rule(which=some.sampled_from([0, 1]))
    def install_a_bundle(self, which: int) -> None:
        self.learner.close()
        try:
            self.learner = Learner.init(self.home, self.kits[which])
        except NotEnough:
            assert len(self.trained(self.held, self.factory, which)) < 2
            self.learner = Learner(self.home)
        else:
            self.installed = which

    @rule()
    def move_to_another_card(self) -> None:
        file = self.folder / "home.backup"
        backup(self.learner, file)
        self.learner.close()
        shutil.rmtree(self.home)
        restore(file, self.home)
        self.learner = Learner(self.home)

    # what must hold

    @invariant()
    def the_home_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "learner"):
            return
        found = {one.id: (one.label, one.session, one.held_out) for one in self.learner.examples()}
        assert found == {n: (one.label, one.session, one.held_out) for n, one in self.held.items()}
        status = self.learner.status()
        counts = {one.label: (one.local + one.held_out, one.factory) for one in status.labels}
        for label in self.labels() | counts.keys():
            local = sum(one.label == label for one in self.held.values())
            factory = sum(count for name, count in BUNDLES[self.installed].items() if self.factory[name] == label)
            assert counts.get(label, (0, 0)) == (local, factory), label
        assert sum(entry.serving for entry in self.learner.history()) == 1

    @invariant()
    def the_head_answers(self) -> None:
        if hasattr(self, "learner"):
            answer = self.learner.classify(shown(99))
            assert answer.top
            assert 0 <= answer.probability <= 1

    def labels(self) -> set[str]:
        return {one.label for one in self.held.values()} | self.trained({}, self.factory, self.installed)

    def trained(self, held: dict[int, Held], factory: dict[str, str | None], which: int) -> set[str]:
        """The labels of which a head is made."""
        local = {one.label for one in held.values() if not one.held_out}
        return local | {here for name in BUNDLES[which] if (here := factory[name])}

    def another(self) -> set[str]:
        """What the other bundle calls what this one lacks: whether a change reaches it is not modelled."""
        return {
            here
            for name in BUNDLES[1 - self.installed].keys() - BUNDLES[self.installed].keys()
            if (here := self.factory[name])
        }

    def renamed(self, old: str, new: str | None) -> dict[str, str | None]:
        """What the labels of the installed bundle are called after a change; those of another one stay."""
        now = {name: new for name in BUNDLES[self.installed] if self.factory[name] == old}
        return {**self.factory, **now}

    def changed(
        self, act: Callable[[], object], held: dict[int, Held], factory: dict[str, str | None] | None = None
    ) -> None:
        """Do what changes the model so; it is refused only if nothing would change or too few labels were left."""
        factory = self.factory if factory is None else factory
        try:
            act()
        except LabelError:
            assert (held, factory) == (self.held, self.factory)
        except NotEnough:
            assert len(self.trained(held, factory, self.installed)) < 2
        else:
            self.held, self.factory = held, factory

    def ends_sound(self) -> None:
        self.open_again()
        found = verify(self.home)
        assert all(one.ok for one in found.findings), found
        if self.factory != {name: name for name in FACTORY}:
            return
        self.learner.retrain(force=True)
        with Learner.init(self.folder / "straight", self.kits[self.installed]) as straight:
            for one in self.held.values():
                straight.teach(one.label, shown(one.seed), one.session, held_out=one.held_out)
            straight.retrain(force=True)
            assert head(straight) == head(self.learner)


def shown(seed: int) -> object:
    """A picture of one of the surfaces."""
    return surface(FACTORY[seed % 4], seed)


def head(learner: Learner) -> bytes:
    return learner.serving().head.to_bytes()


@pytest.mark.fuzzing
def test_any_sequence_leaves_the_home_as_a_list_of_examples_says(tmp_path: Path, network: Backbone) -> None:
    first, second = (
        write_bundle(tmp_path / f"{number}.edge", write_photos(tmp_path / str(number), photos), network)
        for number, photos in enumerate(BUNDLES)
    )

    class Here(Sequences):
        kits = first, second

    some_of_them = settings.default.max_examples // 3  # fewer on an emulated processor
    run_state_machine_as_test(Here, settings=settings(max_examples=some_of_them, stateful_step_count=20))
