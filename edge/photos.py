"""Picture files → embeddings, many at a time, in order, in bounded memory.

Owns the one pipeline that `classify`, `teach`, `evaluate` and the workstation's `build` share. A file that cannot be
used becomes a `Photo` with an error, never an exception: one bad picture stops nobody.
"""

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import preprocess
from edge.backbone import Backbone
from edge.errors import DatasetError, ImageError
from edge.labels import clean
from edge.manifest import BackboneInfo

AHEAD = 4  # pictures in work per core, so that one slow picture holds up no other


@dataclass(frozen=True)
class Photo:
    """What became of one file: an embedding (D,), or an error, or neither where its picture is known already."""

    path: Path
    image: str  # SHA-256 of the file's bytes; "" where they could not be read
    embedding: NDArray[np.float32] | None
    error: ImageError | None
    milliseconds: float  # reading, decoding and embedding it
    crop: bytes | None = None  # what the network saw of it, as JPEG, where that was asked for


def embed(
    files: Sequence[Path],
    backbone: Backbone,
    info: BackboneInfo,
    known: Collection[str] = frozenset(),
    crops: bool = False,
) -> Iterator[Photo]:
    """Embed picture files, in their order.

    Each processor core takes whole pictures, from reading to embedding: with a network of one thread that is faster
    than to spread each picture over all cores, and gives the same numbers.

    Args:
        files: the pictures.
        backbone: the network.
        info: how pictures are cut for it.
        known: SHA-256 of pictures that need no embedding; looked at as each file is read.
        crops: give what the network saw as well.

    Yields:
        One `Photo` a file.
    """
    workers = min(os.cpu_count() or 1, len(files))
    if workers <= 1:
        yield from (_embed(file, backbone, info, known, crops) for file in files)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # 8 ms that one picture does not need

    mine = threading.local()
    spare = [backbone]  # one worker takes it, the others copies

    def work(file: Path) -> Photo:
        if not hasattr(mine, "backbone"):
            try:
                mine.backbone = spare.pop()
            except IndexError:
                mine.backbone = backbone.copy()
        return _embed(file, mine.backbone, info, known, crops)

    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Photo]] = deque()
        try:
            for file in files:
                ahead.append(pool.submit(work, file))
                if len(ahead) > AHEAD * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # the reader stopped early, or a worker failed
            pool.shutdown(cancel_futures=True)


def class_folders(folder: Path) -> dict[str, Path]:
    """List a folder's class folders by label: its visible subfolders, by name.

    Raises:
        DatasetError: there is no such folder, it has no subfolder, or two of them mean one label.
        LabelError: a subfolder's name is no label.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; name one that holds a folder of pictures for each label")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            first = found.setdefault(clean(path.name), path)
            if first != path:
                raise DatasetError(f"{first} and {path} both mean {clean(path.name)!r}; merge the two folders")
    if not found:
        raise DatasetError(f"{folder} holds no class folders; put the pictures of each label in a folder of its name")
    return found


def digest(file: Path) -> str:
    """Return the SHA-256 of a picture file's bytes, in hex: how a picture is known again.

    Raises:
        ImageError: it cannot be read.
    """
    return hashlib.sha256(preprocess.read(file)).hexdigest()


def _embed(path: Path, backbone: Backbone, info: BackboneInfo, known: Collection[str], crops: bool) -> Photo:
    start = time.perf_counter()
    image, embedding, problem, crop = "", None, None, None
    try:
        data = preprocess.read(path)
        image = hashlib.sha256(data).hexdigest()
        if image not in known:
            pixels = preprocess.decode(data, str(path), info.input_size, info.short_side)
            embedding = backbone.embed(pixels[None])[0]
            crop = preprocess.jpeg(pixels) if crops else None
    except ImageError as error:
        problem = error
    return Photo(path, image, embedding, problem, 1000 * (time.perf_counter() - start), crop)
