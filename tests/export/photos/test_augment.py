"""What a network is shown depends on the photo, the epoch and the seed, and on nothing else."""

from __future__ import annotations

import numpy as np

from export.photos.augment import Augment

SQUARES = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
STILL = {"area": (1.0, 1.0), "aspect": 1.0, "tilt": 0.0, "light": 0.0}


def test_a_photo_looks_the_same_in_any_batch() -> None:
    augment, photos = Augment(7), np.arange(6)
    whole = augment(SQUARES, photos, 3, 32).numpy()
    part = augment(SQUARES[[4, 1]], np.array([4, 1]), 3, 32).numpy()
    np.testing.assert_allclose(part, whole[[4, 1]], atol=1e-4)


def test_another_epoch_and_another_seed_show_another_picture() -> None:
    photos = np.arange(6)
    first = Augment(0)(SQUARES, photos, 0, 32).numpy()
    for other in (Augment(0)(SQUARES, photos, 1, 32).numpy(), Augment(1)(SQUARES, photos, 0, 32).numpy()):
        assert np.abs(first - other).mean() > 1


def test_with_nothing_to_change_the_square_is_shown_as_it_is() -> None:
    still = Augment(0, flip=False, **STILL)  # type: ignore[arg-type]
    np.testing.assert_allclose(still(SQUARES, np.arange(6), 0, 40).numpy(), SQUARES, atol=1e-2)


def test_mirror_images_are_shown_only_where_they_may() -> None:
    many = np.repeat(SQUARES[:1], 40, axis=0)
    for flip in (True, False):
        shown = Augment(0, flip=flip, **STILL)(many, np.arange(40), 0, 40).numpy()  # type: ignore[arg-type]
        mirrored = [np.abs(picture - many[0][:, ::-1]).max() < 0.1 for picture in shown]
        assert any(mirrored) == flip
        assert not all(mirrored)


def test_pixels_stay_in_range_and_in_the_layout_that_is_fast() -> None:
    import torch

    shown = Augment(0, light=0.9)(SQUARES, np.arange(6), 0, 32)
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 255
    assert shown.permute(0, 3, 1, 2).is_contiguous(memory_format=torch.channels_last)
