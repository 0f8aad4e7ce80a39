"""Embed picture files and camera frames: several at once, in order, in bounded memory.

Owns the one pipeline that `classify`, `teach`, `evaluate` and the workstation's `build` share. A file that cannot be
used gives a `Photo` with an error and never an exception, so one bad picture does not stop the others.
"""

import functools
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

from edge.bundle.manifest import BackboneInfo
from edge.errors import ImageError
from edge.network.backbone import Backbone
from edge.picture import preprocess
from edge.picture.frame import Frame, Picture
from edge.picture.region import Region
from edge.unknown import domain

SMALL = 1 << 30  # bytes of memory, below which a second copy of a network is felt
AHEAD = 4  # pictures in work per core, so that one slow picture holds up no other
MANY = 8  # pictures from which further copies of a network are worth making; fewer take turns on all cores


@dataclass(frozen=True)
class Photo:
    """The result for one picture: an embedding (D,), an error, or neither if the picture is known already."""

    path: Path  # of a frame: its name
    image: str  # SHA-256 of the file's bytes; "" where they could not be read
    embedding: NDArray[np.float32] | None
    error: ImageError | None
    milliseconds: float  # reading, decoding and embedding it
    look: domain.Look | None = None  # where it was asked for
    crop: bytes | None = None  # what the network saw of it, as JPEG, where that was asked for


def embed(
    files: Sequence[Picture],
    backbone: Backbone,
    info: BackboneInfo,
    known: Collection[str] = frozenset(),
    look: bool = False,
    region: Region | None = None,
    crops: bool = False,
) -> Iterator[Photo]:
    """Embed picture files or frames, in order.

    Of many pictures, each thread takes whole ones, from reading to embedding. This is faster than using all cores for
    one picture, and gives the same numbers.

    Args:
        info: how pictures are cropped for it.
        known: SHA-256 of pictures that need no embedding; checked as each file is read.
        look: also measure brightness, focus and so on.
        region: the part of each picture to use; None for the whole.
        crops: also return the picture as the network sees it.

    Yields:
        One `Photo` per file.
    """
    workers = at_once(len(files))
    if workers <= 1:
        yield from (_embed(file, backbone, info, known, look, region, crops) for file in files)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # 8 ms that one picture does not need

    mine = threading.local()
    spare = [backbone]  # one worker takes it, the others copies

    def work(file: Picture) -> Photo:
        if not hasattr(mine, "backbone"):
            try:
                mine.backbone = spare.pop()
            except IndexError:
                mine.backbone = backbone.copy()
        return _embed(file, mine.backbone, info, known, look, region, crops)

    pool = ThreadPoolExecutor(workers)
    ahead: deque[Future[Photo]] = deque()
    try:
        for file in files:
            try:
                ahead.append(pool.submit(work, file))
            except RuntimeError as error:  # there is no room for another thread
                raise MemoryError(str(error)) from error
            if len(ahead) > AHEAD * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except GeneratorExit:
        # The reader stopped early. This may be the garbage collector, in the middle of the start of some thread, where
        # to wait for the pool's threads, or for its lock, would be for ever. They end when the pool is forgotten.
        for one in ahead:
            one.cancel()
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@functools.cache  # the system is asked by opening a file
def cores() -> int:
    """Return the number of processor cores."""
    return os.cpu_count() or 1


def at_once(pictures: int) -> int:
    """Return how many of some pictures are embedded at the same time.

    A few: one. Many: one a core; but at most two where memory is small, since TFLite needs a copy of the network for
    each.
    """
    if pictures < MANY:
        return 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return cores() if memory >= SMALL else min(2, cores())


def digest(file: Path) -> str:
    """Return the SHA-256 of a picture file's bytes, in hex: how a picture is known again.

    Raises:
        ImageError: the file cannot be read.
    """
    return hashlib.sha256(preprocess.read(file)).hexdigest()


def _embed(
    picture: Picture,
    backbone: Backbone,
    info: BackboneInfo,
    known: Collection[str],
    look: bool,
    region: Region | None,
    crops: bool,
) -> Photo:
    start = time.perf_counter()
    image, embedding, problem, looked, crop = "", None, None, None, None
    try:
        data = picture.data if isinstance(picture, Frame) else preprocess.read(picture)
        image = hashlib.sha256(data).hexdigest()
        if image not in known:
            pixels = preprocess.decode(data, str(picture), info.input_size, info.short_side, region, info.fit)
            embedding = backbone.embed(pixels[None])[0]
            if not np.isfinite(embedding).all():
                embedding = None
                raise ImageError(
                    "picture-not-numbers",
                    f"{picture}: the network gives NaN or infinity for this picture, so it is left "
                    "out; to check the network, run: edge doctor",
                    "not-numbers",
                )
            looked = domain.look(pixels) if look else None
            crop = preprocess.jpeg(pixels) if crops else None
    except ImageError as error:
        problem = error
    return Photo(Path(str(picture)), image, embedding, problem, 1000 * (time.perf_counter() - start), looked, crop)
