"""Weights fit whatever another program wrapped the network in; a file that holds none is named as what it is."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edge.errors import BundleError
from export.network.backbones import load
from export.network.embedder import check_answers
from export.network.state_dict import read_state_dict
from tests.export.adapting import enter_tiny, tiny_trunk, tiny_weights
from tests.refused import refused

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 14187654\n"


@pytest.fixture(autouse=True)
def tiny_table(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_tiny(monkeypatch)


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return tiny_trunk().state_dict()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    "start", ["", "module.", "model.", "_orig_mod.", "net.", "backbone.", "encoder.", "module._orig_mod.", "any.thing."]
)
@pytest.mark.parametrize("beside", [{}, {"head.weight": torch.ones(2, 2)}])
def test_the_beginning_with_which_all_names_fit_is_taken_off(tmp_path: Path, start: str, beside: object) -> None:
    path = tmp_path / "w.pth"
    extra = beside if start else {}  # beside a network without a beginning, it may be anything
    torch.save({start + key: value for key, value in _state().items()} | extra, path)  # type: ignore[operator]
    loaded = load("tiny", str(path)).trunk.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in _state().items())


def test_two_networks_in_one_file_are_not_chosen_between(tmp_path: Path) -> None:
    both = {start + key: value for start in ("student.", "teacher.") for key, value in _state().items()}
    torch.save(both, tmp_path / "w.pth")
    with refused("weights-damaged", BundleError, "2 networks", "'student.'", "'teacher.'"):
        load("tiny", str(tmp_path / "w.pth"))


def test_weights_that_nearly_fit_say_which_name_is_missing(tmp_path: Path) -> None:
    state = {f"model.{key}": value for key, value in _state().items() if key != "1.0.bias"}
    torch.save(state, tmp_path / "w.pth")
    with refused("weights-mismatch", BundleError, "tiny", "(first: 1.0.bias)"):
        load("tiny", str(tmp_path / "w.pth"))


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "model_ema"])
def test_a_checkpoint_gives_the_tensors_that_it_holds(tmp_path: Path, wrapper: str) -> None:
    torch.save({"epoch": 3, wrapper: _state(), "lr": 0.1}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == _state().keys()


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "safetensors.pth")
    torch.save(_state(), tmp_path / "torch.safetensors")
    torch.save(_state(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("safetensors.pth", "torch.safetensors", "old.bin"):
        assert read_state_dict(tmp_path / name).keys() == _state().keys()


def _write(path: Path, kind: str) -> None:
    if kind in ("pickled", "old pickled"):
        torch.save(nn.Sequential(nn.Conv2d(3, 4, 3)), path, _use_new_zipfile_serialization=kind == "pickled")
    elif kind == "python pickle":
        path.write_bytes(pickle.dumps(nn.Conv2d(3, 4, 3)))
    elif kind == "script":
        torch.jit.script(nn.Conv2d(3, 4, 3)).save(str(path))
    elif kind == "cut torch":
        torch.save(_state(), path)
        path.write_bytes(path.read_bytes()[:-500])
    elif kind == "cut safetensors":
        save_file(_state(), path)
        path.write_bytes(path.read_bytes()[:-500])
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights/model.pth", b"x")
    elif kind == "arrays":
        np.savez(path.with_suffix(".npz"), a=np.ones(3))
        path.with_suffix(".npz").rename(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "list":
        torch.save([torch.ones(2)], path)
    else:
        path.write_bytes({
            "lfs": LFS.encode(), "page": b"\xef\xbb\xbf\n<!DOCTYPE html><html>\xc3\xa4", "json": b'{"detail": "no"}',
            "text": b"hello", "empty": b"", "zeros": bytes(5000), "gzip": b"\x1f\x8b\x08rest",
            "hdf": b"\x89HDF\r\n\x1a\n",
            "tflite": b"\x1c\0\0\0TFL3" + bytes(50) + b"\1", "noise": np.random.default_rng(0).bytes(3000),
        }[kind])  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("pickled", "model.state_dict()"),
        ("old pickled", "model.state_dict()"),
        ("python pickle", "model.state_dict()"),
        ("script", "TorchScript"),
        ("cut torch", "damaged"),
        ("cut safetensors", "damaged"),
        ("zip", "zip archive"),
        ("arrays", "NumPy archive"),
        ("folder", "folder"),
        ("list", "state dict"),
        ("lfs", "git lfs pull"),
        ("page", "web page"),
        ("json", "JSON"),
        ("text", "text file"),
        ("empty", "empty"),
        ("zeros", "zeros"),
        ("gzip", "gzip archive"),
        ("hdf", "HDF5"),
        ("tflite", "TFLite model"),
        ("noise", "damaged"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_weights_is_named_as_what_it_is(tmp_path: Path, kind: str, says: str, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    _write(path, kind)
    with refused("weights-damaged", BundleError, says) as caught:
        load("tiny", str(path))
    text = str(caught.value)
    assert str(path) in text
    assert text.isprintable()  # no line ends, no escape codes of torch
    for foreign in ("weights_only", "WeightsUnpickler", "torch.load", "Re-running", "SafetensorError", "metadata"):
        assert foreign not in text


def test_an_onnx_model_given_as_weights_is_sent_to_the_right_option(
    tmp_path: Path, tiny_files: dict[str, bytes]
) -> None:
    (tmp_path / "theirs.onnx").write_bytes(tiny_files["onnx"])
    with refused("weights-damaged", BundleError, "ONNX model", "--model"):
        read_state_dict(tmp_path / "theirs.onnx")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_a_number_is_told_with_its_tensor(tmp_path: Path, value: float) -> None:
    state = _state()
    state["1.0.weight"][0, 0, 0, 0] = value
    torch.save(state, tmp_path / "w.pth")
    with refused("model-not-numbers", BundleError, "1 of the 576 values", "'1.0.weight'"):
        load("tiny", str(tmp_path / "w.pth"))


def test_numbers_that_get_lost_on_the_way_are_told_with_their_layer(tmp_path: Path) -> None:
    state = _state()
    state["2.1.running_var"] = -torch.ones(16)
    torch.save(state, tmp_path / "w.pth")
    images = np.zeros((1, 32, 32, 3), np.uint8)
    with refused("model-not-numbers", BundleError, "w.pth", "'2.1'"):
        check_answers(load("tiny", str(tmp_path / "w.pth")).embedder, images, "w.pth")


def test_weights_of_another_network_are_sent_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --backbone the default is tried: the message must not blame a name that was never given."""
    monkeypatch.undo()
    from export.network.torchvision_shim import torchvision_models

    torch.save(torchvision_models().squeezenet1_1(weights=None).state_dict(), tmp_path / "s.pth")
    with refused("weights-mismatch", BundleError, "--backbone squeezenet1_1"):
        load("embedded", str(tmp_path / "s.pth"))
    with refused("weights-unknown", BundleError, "--backbone"):
        load("embedded", "imagenet")


def test_a_dict_of_half_precision_is_widened(tmp_path: Path) -> None:
    torch.save(OrderedDict((key, value.half()) for key, value in _state().items()), tmp_path / "w.pth")
    floats = [value for key, value in read_state_dict(tmp_path / "w.pth").items() if "num_batches" not in key]
    assert {value.dtype for value in floats if value.is_floating_point()} == {torch.float32}
    assert tiny_weights(tmp_path / "again.pth").is_file()
