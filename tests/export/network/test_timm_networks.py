"""Networks of timm: exported as they are, shown what they were taught on, refused in one line where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

from edge.bundle.archive import Golden
from edge.errors import BundleError
from export.adapt.processes import join_processes
from export.adapt.run import Plan as AdaptPlan
from export.adapt.run import adapt
from export.adapt.strategies import last_stages
from export.bundle.build import build
from export.bundle.plan import Plan
from export.convert.converters import to_onnx, to_tflite
from export.convert.frozen import freeze
from export.convert.parity import embed_with_torch, golden_images, prove_everywhere
from export.network import backbones, timm_networks
from export.network.backbones import load
from export.network.embedder import blocks, embedder
from export.pretrain.distil import Recipe, pretrain
from export.pretrain.teacher import Teacher
from export.pretrain.views import Pictures
from tests.refused import refused

pytestmark = pytest.mark.converters

SIZE = 64
CREATED = "2026-01-01T00:00:00+00:00"
NETWORKS = (
    "mobilenetv4_conv_small", "lcnet_100", "tinynet_c", "repvit_m0_9", "mobileone_s0", "efficientvit_b0",
    "ghostnetv2_100",
)  # fmt: skip
SMALL = "timm:lcnet_050"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_timm_answers_in_both_formats_as_it_does_in_pytorch(name: str) -> None:
    torch.manual_seed(0)
    network = load(f"timm:{name}", "random").embedder
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as if taught: no branch is zero, no norm without effect
            module.momentum = None
            module.reset_running_stats()
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    with torch.no_grad():
        network.train()(torch.from_numpy(golden_images(SIZE, 8, seed=2)))
    network.eval()
    images = golden_images(SIZE)
    reference = embed_with_torch(network, images)
    assert np.std(reference, axis=0).max() > 0
    for kind, export in (("onnx", to_onnx), ("tflite", to_tflite)):
        proofs = prove_everywhere(export(network, SIZE), f"{name}.{kind}", kind, "fp32", Golden(images, reference))
        assert all(proof.parity.error < 1e-4 for proof in proofs), (kind, proofs)


@pytest.mark.parametrize("name", ["lcnet_050", "mambaout_femto", "fastvit_t8", "csatv2"])
def test_the_embedding_is_the_mean_of_the_map_that_timm_gives(name: str) -> None:
    """Differential: channels first or last, stages called in a row or one by one."""
    torch.manual_seed(1)
    whole = timm_networks.library().create_model(name).eval()
    row = backbones.find(f"timm:{name}")
    trunk = backbones._trunk(row)
    trunk.load_state_dict(whole.state_dict(), strict=False)
    image = torch.from_numpy(golden_images(row.size, 1))
    with torch.no_grad():
        maps = whole.forward_features(row.pixels.normalised(image.permute(0, 3, 1, 2) / 255))
        ours = embedder(trunk, pixels=row.pixels)(image)
    expected = maps.mean((1, 2)) if name == "mambaout_femto" else maps.mean((2, 3))
    assert ours.shape == (1, row.embedding)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_what_a_network_was_taught_to_see_is_what_timm_says() -> None:
    tiny, mobilevit = backbones.find("timm:tinynet_c"), backbones.find("timm:mobilevit_xxs")
    assert (tiny.size, tiny.licence, tiny.embedding) == (184, "apache-2.0", 1280)
    assert mobilevit.pixels == ((0, 0, 0), (1, 1, 1))
    assert mobilevit.licence == "cvnets-license"
    assert "timm/tinynet_c.in1k" in tiny.origin


@pytest.mark.parametrize(
    ("name", "count"), [("lcnet_100", 14), ("resnet18", 9), ("repvit_m0_9", 5), ("mambaout_femto", 1)]
)
def test_a_network_that_is_one_part_after_the_other_is_a_row_of_blocks(name: str, count: int) -> None:
    trunk = backbones._trunk(backbones.find(f"timm:{name}"))
    assert len(blocks(trunk)) == count
    maps = picture = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        for block in blocks(trunk):
            maps = block(maps)
        torch.testing.assert_close(maps, trunk(picture))
    assert 0 < last_stages(trunk, SIZE) < count or count == 1


def test_a_network_whose_parts_branch_has_no_last_stages_to_adapt(
    photo_folder: Callable[..., Path], tmp_path: Path, listener: Any
) -> None:
    plan = AdaptPlan(
        photo_folder(cup=8, plate=8), tmp_path / "a", CREATED, "timm:mambaout_femto", "random", strategy="last-stages"
    )
    with join_processes() as alone, refused("strategy-unsuitable", BundleError, "timm:mambaout_femto", "--strategy"):
        adapt(plan, listener, alone)


def test_a_network_of_timm_is_built_into_a_bundle(
    photo_folder: Callable[..., Path], tmp_path: Path, listener: Any
) -> None:
    row = backbones.find(SMALL)
    torch.save(timm_networks.library().create_model("lcnet_050").state_dict(), tmp_path / "lcnet.pth")
    plan = Plan(
        photo_folder(cup=6, plate=6), tmp_path / "x.edge", CREATED, backbone=SMALL,
        weights=str(tmp_path / "lcnet.pth"), runtimes=("onnx",), precisions=("fp32",),
    )  # fmt: skip
    info = build(plan, listener).bundle.manifest.backbone
    assert (info.name, info.dimension, info.input_size, info.weights) == (SMALL, row.embedding, 224, "file lcnet.pth")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm:lcnet_10", "timm:lcnet_100"),
        ("timm:", "''"),
        ("timm:../x", "'../x'"),
        ("timm:vit_tiny_patch16_224", "(1, 197, 192)"),
        ("timm:efficientformer_l1", "tokens"),
    ],
)
def test_a_network_that_gives_no_feature_map_is_refused_by_name(name: str, says: str) -> None:
    with refused("backbone-unknown", BundleError, says):
        backbones.find(name)


def test_weights_of_another_network_are_refused_naming_the_one_that_they_fit(tmp_path: Path) -> None:
    torch.save(timm_networks.library().create_model("tf_efficientnet_lite1").state_dict(), tmp_path / "w.pth")
    with refused("weights-mismatch", BundleError, "w.pth", "timm:lcnet_050", "--backbone efficientnet_lite1"):
        load(SMALL, str(tmp_path / "w.pth"))


def test_without_a_network_and_a_cache_the_way_around_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert not backbones.is_at_hand(SMALL)
    with refused("download-failed", BundleError, "timm:lcnet_050", "--weights FILE") as caught:
        load(SMALL)
    assert "\n" not in str(caught.value)
    with refused("weights-unknown", BundleError, "ghostnet_050", "--weights FILE"):
        load("timm:ghostnet_050")


def test_weights_in_the_cache_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants
    from safetensors.torch import save_file

    def unreachable(*_: object, **__: object) -> None:
        raise requests.ConnectionError("nothing is asked of the network")

    timm = timm_networks.library()
    torch.manual_seed(2)
    whole = timm.create_model("lcnet_050").eval()
    hub = tmp_path / ("models--" + timm.get_pretrained_cfg("lcnet_050").hf_hub_id.replace("/", "--"))
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("c0ffee")
    (hub / "snapshots" / "c0ffee").mkdir(parents=True)
    save_file(whole.state_dict(), hub / "snapshots" / "c0ffee" / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(requests, "head", unreachable)
    assert backbones.is_at_hand(SMALL)
    loaded = load(SMALL)
    assert loaded.licence == "apache-2.0"
    assert all(torch.equal(whole.state_dict()[key], value) for key, value in loaded.trunk.state_dict().items())


def test_looking_a_network_up_draws_no_random_number_of_ours() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    backbones._row_of_timm.cache_clear()
    torch.manual_seed(3)
    backbones.find(SMALL)
    assert torch.equal(torch.rand(1), expected)


def test_a_network_for_one_size_alone_is_refused_at_another() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            if image.shape[1] != 32:
                raise AssertionError(f"Input height ({image.shape[1]}) doesn't match model (32).")
            return image.float().mean((1, 2))

    with refused("conversion-failed", BundleError, "64 × 64"):
        freeze(Fixed(), 64)
    assert freeze(Fixed(), 32).running.dimension == 3


@pytest.mark.parametrize("name", ["lcnet_050", "efficientvit_m0"])
def test_compare_tries_each_network_at_its_own_size_and_a_fixed_one_at_no_other(
    name: str, photo_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from export.cli.app import cli
    from export.compare import rank

    asked: list[int] = []

    def note(_folder: Path, candidates: list[rank.Candidate], *_: object) -> None:
        asked.extend(candidate.size for candidate in candidates)
        raise BundleError("model-failed", "enough")

    monkeypatch.setattr(rank, "rank", note)
    CliRunner().invoke(cli, ["compare", str(photo_folder(cup=2, plate=2)), "--backbone", f"timm:{name}=random"])
    assert asked == ([224] if backbones.find(f"timm:{name}").fixed else [224, 160])


def test_a_network_of_timm_can_teach_and_learn(tmp_path: Path) -> None:
    """Each looks at the same pictures through its own mean and deviation."""
    torch.manual_seed(0)
    whole = timm_networks.library().create_model("tf_efficientnet_lite0").eval()
    torch.save(whole.state_dict(), tmp_path / "lite0.pth")
    views = torch.rand(2, 3, SIZE, SIZE)
    lesson = Teacher("efficientnet_lite0", tmp_path / "lite0.pth", "cpu")(views)
    with torch.no_grad():
        expected = whole(2 * views - 1)
    assert lesson.answers.shape == (2, 1000)
    torch.testing.assert_close(lesson.answers, expected, rtol=0.05, atol=0.02 * float(expected.abs().max()))  # bfloat16
    pictures = Pictures(np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8), np.arange(4) % 2, 2)
    recipe = Recipe(SMALL, SIZE, steps=1, batch=4)
    with join_processes() as alone:
        weights = pretrain(recipe, [pictures], None, tmp_path / "run", alone, lambda _: None)
    torch.save(weights, tmp_path / "lcnet.pth")
    assert load(SMALL, str(tmp_path / "lcnet.pth")).origin == "file lcnet.pth"
