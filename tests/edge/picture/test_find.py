"""Which files of a folder are pictures: told by what they hold; whatever is left out is counted, with its reason."""

import ast
import os
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import features

from edge.errors import DatasetError, ImageError
from edge.picture.classes import labelled
from edge.picture.count import REASONS, Left, count, line, partly
from edge.picture.find import find
from edge.picture.kinds import kind
from edge.picture.preprocess import load
from tests.edge.conftest import another_user
from tests.edge.kinds import PICTURE, WRITERS, Writer, encoded, write
from tests.refused import refused


def reasons(left: tuple[Left, ...]) -> Counter[str]:
    return Counter(one.reason for one in left)


@pytest.mark.parametrize("name", ["photo", "photo.JPG", "photo.jfif", "photo.txt", "photo.heic", "photo.jpg~", "a.b"])
def test_a_picture_is_known_by_its_content_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PICTURE)
    assert find([tmp_path]).files == (tmp_path / name,)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda one: one.name)
def test_every_kind_of_file_is_seen_and_none_vanishes(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "good.jpg").write_bytes(PICTURE)
    write(writer, tmp_path)
    found = find([tmp_path])
    names = {path.name for path in found.files} | {one.path.name for one in found.left}
    assert names == {"good.jpg", writer.name}
    taken = writer.name in {path.name for path in found.files}
    assert taken == (writer.left == "")
    assert reasons(found.left) == ({} if taken else {writer.left: 1})


def test_a_text_that_begins_like_a_picture_is_none() -> None:
    for text in (b"BMW, Audi and others\n", b"P1 is the first player\n", b"GIF is a format", b"RIFF raff"):
        assert not kind(text).is_picture, text


def test_folders_list_their_pictures_sorted_and_hidden_or_system_ones_not(tmp_path: Path) -> None:
    names = ["b.JPG", "a.png", "sub/c.webp", ".hidden/d.jpg", "._a.jpg", "@eaDir/t.jpg", "__MACOSX/x.jpg"]
    names += ["#recycle/r.jpg", "lost+found/l.jpg", "$RECYCLE.BIN/i.jpg", ".thumbnails/j.jpg", "Thumbs.db"]
    names += ["System Volume Information/k.jpg", ".ipynb_checkpoints/m.jpg", ".DS_Store", "desktop.ini"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PICTURE)
    found = find([tmp_path])
    assert [str(p.relative_to(tmp_path)) for p in found.files] == ["a.png", "b.JPG", "sub/c.webp"]
    assert reasons(found.left) == {"system": len(names) - 3}
    (tmp_path / "empty").mkdir()
    with refused("no-pictures", ImageError, "empty"):
        find([tmp_path / "empty"])
    (tmp_path / "empty" / "notes.txt").write_text("to do")
    with refused("no-pictures", ImageError, "1 text file"):
        find([tmp_path / "empty"])
    with refused("picture-missing", ImageError, "does not exist"):
        find([tmp_path / "nowhere"])


def test_linked_folders_are_followed_each_once_and_never_round(tmp_path: Path) -> None:
    photos, stick = tmp_path / "photos", tmp_path / "stick"
    for folder in (photos / "own", stick / "deep"):
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(PICTURE)
    (photos / "a-link-to-own").symlink_to(photos / "own")
    (photos / "stick").symlink_to(stick)
    (photos / "stick-again").symlink_to(stick)
    (photos / "up").symlink_to(tmp_path)
    (photos / "self").symlink_to(photos)
    (stick / "back").symlink_to(photos)
    (photos / "gone").symlink_to(tmp_path / "nowhere")
    (photos / "round").symlink_to(photos / "round")
    found = find([photos])
    assert found.files == (photos / "own" / "1.jpg", photos / "stick" / "deep" / "1.jpg")
    assert reasons(found.left) == {"linked-twice": 4, "loop": 1, "broken-link": 2}


def test_sockets_pipes_and_closed_folders_are_counted(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(PICTURE)
    os.mkfifo(tmp_path / "pipe.jpg")
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as opened:
        os.chdir(tmp_path)  # a socket's path is short
        try:
            opened.bind("socket.jpg")
        finally:
            os.chdir(here)
        found = find([tmp_path])
    assert reasons(found.left) == {"not-a-file": 2}
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0)
        assert reasons(find([tmp_path]).left) == {"not-a-file": 2, "folder": 1}


def test_the_count_says_all_in_one_line_and_adds_up(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(PICTURE)
    for writer in WRITERS:
        write(writer, tmp_path)
    found = find([tmp_path])
    files = count(len(found.files), found.left)
    assert files.seen == files.read + sum(group.count for group in files.left_out) == len(WRITERS) + 1
    said = line(files)
    assert "\n" not in said
    for group in files.left_out:
        assert group.advice == REASONS[group.reason].advice
        assert str(group.count) in said
    assert not partly(count(3, []))
    assert line(count(3, [])) == "3 files: 3 read"


Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make(*files: str) -> Path:
        for at, name in enumerate(files):
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PICTURE + bytes([at]))
        return tmp_path / "set"

    return make


def test_class_folders_give_labels_and_photos_beside_them_are_counted(tree: Tree) -> None:
    folder = tree("cup/1.jpg", "cup/evening/2.jpg", "plate/3", "loose.jpg", "notes.txt", "@eaDir/x/4.jpg")
    (folder / "notes.txt").write_text("x")
    found = labelled(folder)
    assert found.labels == ("cup", "plate")
    assert found.names == ("cup", "cup", "plate")
    assert not any(found.held)
    assert found.layout == ""
    assert reasons(found.left) == {"beside-labels": 1, "text": 1, "system": 1}


@pytest.mark.parametrize(
    ("taught", "held", "other"),
    [
        ("train", "val", None),
        ("Training", "validation", "test"),
        ("train", "test", None),
        ("train2017", "val2017", None),
    ],
)
def test_train_and_val_are_parts_and_no_labels(tree: Tree, taught: str, held: str, other: str | None) -> None:
    names = [f"{part}/{label}/{i}.jpg" for part in (taught, held) for label in ("cup", "plate") for i in range(2)]
    folder = tree(*names, *([f"{other}/cup/9.jpg"] if other else []), f"{held}/fork/1.jpg")
    found = labelled(folder)
    assert found.labels == ("cup", "plate")
    for file, is_held in zip(found.files, found.held, strict=True):
        assert file.relative_to(folder).parts[0] == (held if is_held else taught)
    assert sum(found.held) == 4
    assert taught in found.layout
    assert held in found.layout
    assert reasons(found.left) == {"other-part": 2 if other else 1}


def test_a_label_may_be_called_train(tree: Tree) -> None:
    assert labelled(tree("train/1.jpg", "bus/2.jpg")).labels == ("bus", "train")


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        (["images/1.jpg", "labels/1.txt"], "folder-layout", "object detection"),
        (
            ["train/images/1.jpg", "train/labels/1.txt", "val/images/2.jpg", "val/labels/2.txt"],
            "folder-layout",
            "object detection",
        ),
        (["images/train/1.jpg", "labels/train/1.txt"], "folder-layout", "object detection"),
        (["annotations/a.json", "images/1.jpg"], "folder-layout", "object detection"),
        (["train/1.jpg", "val/2.jpg"], "folder-layout", "set/train"),
        (["kitchen/cup/1.jpg", "kitchen/plate/2.jpg"], "folder-layout", "set/kitchen"),
        (
            ["kitchen/cup/1.jpg", "kitchen/plate/2.jpg", "__MACOSX/kitchen/._1.jpg", "README.txt"],
            "folder-layout",
            "set/kitchen",
        ),
        (["a/kitchen/cup/1.jpg", "a/kitchen/plate/2.jpg"], "folder-layout", "set/a/kitchen"),
        (["kitchen/train/cup/1.jpg", "kitchen/val/cup/2.jpg"], "folder-layout", "set/kitchen"),
        (["1.jpg", "2.jpg"], "no-label-folders", "no"),
        ([".hidden/1.jpg", "@eaDir/2.jpg"], "no-label-folders", "no"),
    ],
)
def test_another_layout_is_refused_in_one_line_that_says_what_to_do(
    tree: Tree, files: list[str], code: str, says: str
) -> None:
    folder = tree(*files)
    for text in [*folder.rglob("*.txt"), *folder.rglob("*.json")]:
        text.write_text("0 0.5 0.5 1 1")
    with refused(code, DatasetError, says):
        labelled(folder)


def test_a_folder_that_cannot_be_opened_is_named(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree("all/cup/1.jpg", "all/plate/2.jpg").parent)
    Path().chmod(0o755)
    Path("set/all").chmod(0)
    with refused("folder-unreadable", DatasetError, "set/all"), another_user():
        labelled(Path("set"))


def test_a_class_without_photos_is_told_with_its_own_reason(tree: Tree) -> None:
    folder = tree("cup/1.jpg", "plate/notes.txt", "cup/also.txt")
    for text in folder.rglob("*.txt"):
        text.write_text("x")
    with refused("too-few-photos", DatasetError, "'plate'", "1 text file"):
        labelled(folder)


LIBRARY = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
NEWER = {"HEIF": ("phone", "heic"), "AVIF": ("browser", "avif"), "JPEG2000": ("scan", "jpeg-2000")}


def newer(format: str) -> bytes:
    """A picture in a format that not every device reads."""
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif (format == "AVIF" and "avif" not in features.modules) or not features.check(LIBRARY[format]):
        pytest.skip(f"this Pillow has no {format}")
    return encoded(format)


@pytest.mark.parametrize("format", NEWER)
def test_a_newer_format_is_read_where_its_library_is_here(tmp_path: Path, format: str) -> None:
    (tmp_path / "IMG_0001").write_bytes(newer(format))
    pixels = load(find([tmp_path]).files[0])
    assert abs(pixels.astype(int) - (180, 70, 50)).max() < 12


@pytest.mark.parametrize("format", NEWER)
@pytest.mark.parametrize("ending", [".jpg", "", ".HEIC"])
def test_a_newer_format_is_named_with_what_to_do_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, ending: str
) -> None:
    path = tmp_path / f"IMG_0001{ending}"
    path.write_bytes(newer(format))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "PIL.AvifImagePlugin", None)
    monkeypatch.setitem(sys.modules, "PIL.Jpeg2KImagePlugin", None)
    assert find([tmp_path]).files == (path,)
    with refused("picture-unsupported", ImageError, "JPEG") as caught:
        load(path)
    reason = NEWER[format][1]
    assert caught.value.reason == reason
    said = line(count(0, [Left(path, reason)]))
    assert ("edge-transfer[heic]" in str(caught.value)) == (reason == "heic") == ("edge-transfer[heic]" in said)
    assert partly(count(0, [Left(path, reason)]))


def test_a_raw_picture_in_a_tiff_is_not_taken_for_its_thumbnail(tmp_path: Path) -> None:
    data = encoded("TIFF")
    (start,) = struct.unpack_from("<I", data, 4)
    (many,) = struct.unpack_from("<H", data, start)
    entries = [data[at : at + 12] for at in range(start + 2, start + 2 + 12 * many, 12)]
    entries += [struct.pack("<HHII", 254, 4, 1, 1), struct.pack("<HHII", 330, 4, 1, 8)]
    tags = {struct.unpack_from("<H", entry): entry for entry in entries}
    end = data[:4] + struct.pack("<I", len(data)) + data[8:] + struct.pack("<H", len(tags))
    (tmp_path / "a.dng").write_bytes(end + b"".join(tags[tag] for tag in sorted(tags)) + bytes(4))
    with refused("picture-unsupported", ImageError, "raw picture") as caught:
        load(tmp_path / "a.dng")
    assert caught.value.reason == "raw"


def test_the_same_photo_under_two_labels_is_among_none_of_them(tree: Tree) -> None:
    folder = tree("cup/1.jpg", "cup/2.jpg", "plate/3.jpg", "plate/4.jpg")
    (folder / "plate" / "4.jpg").write_bytes((folder / "cup" / "2.jpg").read_bytes())
    found = labelled(folder)
    assert [file.name for file in found.files] == ["1.jpg", "3.jpg"]
    assert reasons(found.left) == {"contradicts": 2}
    for one in found.contradictions:
        assert all(text in one.detail for text in ("2.jpg (cup)", "4.jpg (plate)"))
    (folder / "plate" / "3.jpg").write_bytes((folder / "cup" / "1.jpg").read_bytes())
    with refused("too-few-photos", DatasetError, "'cup'", "two labels"):
        labelled(folder)


def test_nothing_that_we_say_advises_to_delete_a_file() -> None:
    package = Path(count.__code__.co_filename).parent
    places = [package, *[folder for folder in [package.parent / "export"] if folder.is_dir()]]
    said = [
        (file.name, node.value)
        for place in places
        for file in place.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [one for one in said if re.search(r"(; |or |, )delete ", one[1])]
