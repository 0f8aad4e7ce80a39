"""Earlier maps join the embedding on a scale that the pictures settle, and directions that say little count less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge.unknown.gate import Background
from export.network import backbones
from export.network.embedder import dimension, embedder, state
from export.network.state_dict import save_weights
from export.network.taps import SHARE, every_third, settle, whiten
from tests.export.adapting import tiny_trunk

PARTS = (8, 8, 16)  # of the tiny network's embedding with one tap


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return embedder(tiny_trunk(), taps=(1,))  # type: ignore[arg-type]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def test_a_settled_embedding_lies_about_nothing_and_its_parts_weigh_as_they_should(
    network: torch.nn.Module, images: np.ndarray
) -> None:
    joined = settle(network, np.array_split(images, 3))
    with torch.no_grad():
        embeddings = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(embeddings, joined, atol=1e-5)
    assert np.abs(joined.mean(0)).max() < 1e-5
    lengths = [np.linalg.norm(part, axis=1).mean() for part in np.split(joined, np.cumsum(PARTS)[:-1], axis=1)]
    np.testing.assert_allclose(lengths, (SHARE, SHARE, 1), rtol=1e-5)


def test_whitened_it_is_what_the_gate_would_make_of_it(network: torch.nn.Module, images: np.ndarray) -> None:
    """Differential: the gate's own map, without its mean and lengths; the photos of a kind come closer together."""
    kinds = ["a", "b"] * 20
    joined = settle(network, [images])
    whiten(network, joined, kinds)
    white = Background.of(joined, kinds).white()
    with torch.no_grad():
        embeddings = network(torch.from_numpy(images)).numpy()
    expected = joined + (joined @ white.basis.T * white.gains) @ white.basis
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    assert (white.gains <= 0).all()
    assert np.abs(embeddings - joined).max() > 0.01


def test_what_was_settled_comes_back_from_its_file(
    network: torch.nn.Module, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = backbones.Backbone("tiny", "tiny", 16, 0, 0, size=32)
    monkeypatch.setattr(backbones, "BACKBONES", {"tiny": row})
    monkeypatch.setattr(backbones, "_trunk", tiny_trunk)
    whiten(network, settle(network, [images]), [])
    save_weights(tmp_path / "tiny.safetensors", state(network))
    again = backbones.load("tiny", str(tmp_path / "tiny.safetensors"), taps=(1,))
    assert (again.backbone.taps, again.backbone.embedding) == ((1,), sum(PARTS))
    with torch.no_grad():
        ours, its = (one(torch.from_numpy(images)).numpy() for one in (network, again.embedder))
    np.testing.assert_allclose(its, ours, atol=2e-3 * np.abs(ours).max())  # half precision


@pytest.mark.parametrize(
    ("name", "taps"),
    [("mobilenet_v2", (3, 6, 9, 12, 15)), ("squeezenet1_1", (3, 6, 9)), ("shufflenet_v2_x1_0", (2,)),
     ("efficientnet_b0", (2, 5))],
)  # fmt: skip
def test_every_third_block_before_the_last_is_tapped(name: str, taps: tuple[int, ...]) -> None:
    trunk = backbones._trunk(backbones.find(name))
    assert every_third(trunk) == taps
    assert dimension(embedder(trunk, taps), 64) > backbones.find(name).embedding
