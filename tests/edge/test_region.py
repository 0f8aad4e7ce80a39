"""One region for every view: what lies outside it changes no answer, no figure and no picture that is shown."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge.adopt import adopt
from edge.answers import to_json
from edge.audit import thumbnail, thumbnails
from edge.learner import Learner
from edge.region import Region
from edge.review import Review

from .conftest import picture

LEFT = Region.parse("0,0,0.5,1")


def beside(folder: Path, label: str, seed: int, right: tuple[int, int, int]) -> Path:
    """Write a picture of a label with a plain surface on its right, which is outside the region."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = Image.new("RGB", (80, 40), right)
    whole.paste(picture(label, seed), (0, 0))
    path = folder / f"{label}_{seed:03}.png"
    whole.save(path)
    return path


@pytest.fixture
def learner(tmp_path: Path, tiny_bundle: Path, clock: Callable[[], datetime]) -> Iterator[Learner]:
    with adopt(tmp_path / "home", tiny_bundle, clock=clock, keep_crops=True) as made:
        made.put_region(LEFT)
        yield made


def pairs(tmp_path: Path) -> list[tuple[Path, Path]]:
    """The same pictures inside the region, other things outside it."""
    return [
        (
            beside(tmp_path / "one" / label, label, seed, (0, 0, 0)),
            beside(tmp_path / "other" / label, label, seed, (255, 40, 255)),
        )
        for label in ("brick", "grass")
        for seed in range(300, 304)
    ]


def untimed(value: Any) -> Any:
    """An answer without what need not be the same: times and names."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in ("milliseconds", "image", "remedy")}
    return [untimed(item) for item in value] if isinstance(value, list) else value


VIEWS: dict[str, Callable[[Learner, Path], Any]] = {
    "classify": lambda learner, path: [next(learner.classify([path], explain=True))],
    "evaluate": lambda learner, path: learner.evaluate(path.parent.parent),
    "audit": lambda learner, path: learner.audit([path.parent]).unsure,
    "thumbnail": lambda learner, path: thumbnail(learner, path),
    "review": lambda learner, path: Review(learner, path.parent).picture(path, 16),
    "look": lambda learner, path: [p.look.statistics.tolist() for p in learner.embed([path], look=True) if p.look],
}


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_what_is_outside_the_region_changes_no_view(view: str, learner: Learner, tmp_path: Path) -> None:
    taught = tmp_path / "taught"
    for label in ("brick", "grass"):
        learner.teach(label, [beside(taught, label, seed, (9, 9, 9)) for seed in range(6)])
    learner.retrain()
    for one, other in pairs(tmp_path):
        seen = [untimed(to_json(VIEWS[view](learner, path))) for path in (one, other)]
        assert seen[0] == seen[1], view
    learner.put_region(None)
    one, other = pairs(tmp_path)[0]
    if view != "audit":  # which may find nothing to show
        assert untimed(to_json(VIEWS[view](learner, one))) != untimed(to_json(VIEWS[view](learner, other))), (
            "it can see"
        )


def test_what_is_kept_of_a_taught_picture_is_what_is_inside_the_region(learner: Learner, tmp_path: Path) -> None:
    (one, other), *_ = pairs(tmp_path)
    first, second = learner.teach("brick", [one, other]).examples
    thumbs = learner.store.thumbs()
    np.testing.assert_array_equal(thumbs[first], thumbs[second])
    assert learner.store.crop(first) == learner.store.crop(second) is not None
    examples = learner.store.examples()
    kept = thumbnails(learner, examples)
    assert kept[first] == thumbnail(learner, one)
