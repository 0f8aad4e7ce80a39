"""The domain: dark, blurred, noisy, burnt and flat pictures get their word, and pictures of the domain none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from edge.unknown.domain import STATISTICS, Complaint, Domain, complaints, look, summary, thumbnail


def photograph(seed: int, side: int = 224) -> np.ndarray:
    """A picture whose energy falls with frequency as a photograph's does."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = np.inf
    noise = rng.normal(size=(side, side // 2 + 1)) + 1j * rng.normal(size=(side, side // 2 + 1))
    plane = np.fft.irfft2(noise / frequency**1.3, (side, side))
    grey = 120 + rng.normal(0, 10) + 50 * plane / plane.std()
    return np.clip(grey[:, :, None] + rng.normal(0, 5, 3), 0, 255).astype(np.uint8)


DOMAIN = Domain.of(np.stack([look(photograph(seed)).statistics for seed in range(60)]))


def words(pixels: np.ndarray) -> list[str]:
    return [complaint.word for complaint in complaints(look(pixels).statistics, DOMAIN)]


def blurred(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(4)))


@pytest.mark.parametrize(
    ("word", "spoil"),
    [
        ("too dark", lambda p, _: (0.35 * p).astype(np.uint8)),
        ("blurred", lambda p, _: blurred(p)),
        ("noisy", lambda p, rng: np.clip(p + rng.normal(0, 25, p.shape), 0, 255).astype(np.uint8)),
        ("too bright", lambda p, _: np.clip(2.5 * p.astype(float), 0, 255).astype(np.uint8)),
        ("low contrast", lambda p, _: (0.3 * p + 0.7 * p.mean()).astype(np.uint8)),
    ],
)
def test_a_spoilt_picture_gets_its_word(word: str, spoil: object) -> None:
    rng = np.random.default_rng(0)
    named = [words(spoil(photograph(seed), rng)) for seed in range(100, 130)]  # type: ignore[operator]
    assert sum(word in found for found in named) >= 27, named


def test_a_picture_of_the_domain_gets_none() -> None:
    assert sum(bool(words(photograph(seed))) for seed in range(200, 260)) <= 2


def test_a_domain_that_is_itself_dark_or_soft_is_not_blamed() -> None:
    def night(seed: int) -> np.ndarray:
        return (0.3 * blurred(photograph(seed))).astype(np.uint8)

    usual = Domain.of(np.stack([look(night(seed)).statistics for seed in range(60)]))
    assert sum(bool(complaints(look(night(seed)).statistics, usual)) for seed in range(100, 130)) <= 3


@given(st.integers(8, 70), st.integers(0, 255))
def test_a_plain_picture_of_any_size_is_measured(side: int, level: int) -> None:
    plain = np.full((side, side, 3), level, np.uint8)
    found = look(plain)
    assert np.isfinite(found.statistics).all()
    brightness, _, contrast, _, noise = found.statistics.tolist()
    assert (brightness, contrast, noise) == (level, 0, 0)
    assert (found.thumb == level).all()
    assert len(found.statistics) == len(STATISTICS)


def test_a_thumbnail_is_the_mean_of_its_block() -> None:
    pixels = photograph(0, 64)
    expected = pixels.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(thumbnail(pixels), expected, atol=0.51)


def test_a_summary_counts_and_says_what_to_do() -> None:
    dark = Complaint("too dark", "30 % of the usual light", "add light")
    assert summary([[dark]]) == ["the picture is too dark (30 % of the usual light): add light"]
    assert summary([[dark], [dark], []]) == [
        "2 of 3 pictures are too dark (such as 30 % of the usual light): add light"
    ]
    assert summary([[dark], [], []]) == ["1 of 3 pictures is too dark (30 % of the usual light): add light"]
    assert summary([[dark], *[[] for _ in range(9)]], few=0.1) == []
    assert summary([[], []]) == []
