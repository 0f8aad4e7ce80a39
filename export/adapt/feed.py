"""What the changing part of a network is fed: pixels, or the feature maps of what is frozen in front of it.

Both are asked alike: `prepare` before an epoch, `mixed` for inputs to train on, `seen` for inputs as the device will
have them; `views` is how many epochs have inputs of their own to prepare. Photos are numbered as in the material.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from export.adapt.processes import Processes
from export.adapt.strategies import last_stages
from export.compare.material import BATCH, Material, fast_inference
from export.network.embedder import Activations
from export.photos.augment import Augment

if TYPE_CHECKING:
    import torch
    from torch import nn

VIEWS = 4  # different pictures of a photo whose frozen feature maps are kept
VIEWS_BYTES = 2_000_000_000


class Pixels:
    """For a network that changes as a whole.

    Args:
        material: The photos.
        augment: How training pictures are drawn, and
        size: of how many pixels per side.
        device: Where the network is, as torch names it.
    """

    def __init__(self, material: Material, augment: Augment, size: int, device: str) -> None:
        self.material, self.views = material, 1
        self._augment, self._size, self._device = augment, size, device

    def prepare(self, epoch: int) -> None:
        """There is nothing to prepare."""

    def mixed(self, one: NDArray[np.intp], other: NDArray[np.intp], share: float, epoch: int) -> torch.Tensor:
        """Inputs to train on in this epoch: so much of one photo's, the rest of another's."""
        return self.drawn(other, epoch).lerp(self.drawn(one, epoch), share)

    def drawn(self, photos: NDArray[np.intp], epoch: int) -> torch.Tensor:
        """Pictures drawn of photos for this epoch."""
        drawn = self._augment(self.material.squares[photos], photos, epoch, self._size)
        return drawn.to(self._device)

    def seen(self, photos: NDArray[np.intp]) -> torch.Tensor:
        """Inputs as the device will have them."""
        import torch

        return torch.from_numpy(self.material.centres[photos]).to(self._device)


class Maps:
    """For the last stages: what the frozen part makes of the pixels is computed once, of several views a photo.

    A view is computed when its first epoch begins, always whole and in the photos' order, so that it is the same after
    a kill; each process computes a part.

    Args:
        pixels: What the whole network would be fed.
        taught: bool (N,), photos to train on; of others no view is drawn.
        embedder: The network.
        processes: The processes.
    """

    def __init__(self, pixels: Pixels, taught: NDArray[np.bool_], embedder: nn.Module, processes: Processes) -> None:
        self.views = VIEWS
        self._pixels, self._taught, self._embedder, self._processes = pixels, taught, embedder, processes
        self._stop = last_stages(embedder.get_submodule("trunk"), pixels.material.size)
        self._views: dict[int, Activations] = {}

    def prepare(self, epoch: int) -> None:
        """Compute what this epoch needs."""
        if -1 not in self._views:
            self._views[-1] = self._compute(self._pixels.seen, np.arange(len(self._taught)))
        view = epoch % self.views
        if view not in self._views:
            photos = np.flatnonzero(self._taught)
            self._views[view] = self._compute(lambda rows: self._pixels.drawn(rows, view), photos)
            maps = self._views[view].maps
            self.views = max(1, min(VIEWS, VIEWS_BYTES // (maps.element_size() * maps.nelement())))

    def mixed(self, one: NDArray[np.intp], other: NDArray[np.intp], share: float, epoch: int) -> Activations:
        """Inputs to train on in this epoch: so much of one photo's, the rest of another's."""
        (maps, statistics), (others, their) = (self._take(self._views[epoch % self.views], p) for p in (one, other))
        joined = tuple(theirs.lerp(ours, share) for ours, theirs in zip(statistics, their, strict=True))
        return Activations(others.lerp(maps, share), joined)

    def seen(self, photos: NDArray[np.intp]) -> Activations:
        """Inputs as the device will have them."""
        return self._take(self._views[-1], photos)

    def _take(self, view: Activations, photos: NDArray[np.intp]) -> Activations:
        import torch

        rows, device = torch.from_numpy(photos), self._processes.device
        return _each(view, lambda whole: whole[rows].to(device).float())

    def _compute(self, inputs: Callable[[NDArray[np.intp]], torch.Tensor], photos: NDArray[np.intp]) -> Activations:
        """How far some photos come, in half the memory: float16, on the processor; the others' zero."""
        import torch

        processes, front = self._processes, self._embedder
        whole: Activations | None = None
        mine = photos[processes.share(len(photos))]
        for rows in np.array_split(mine, math.ceil(len(mine) / BATCH)):
            with torch.inference_mode(), fast_inference(processes.device):
                seen = front.through(front.begin(inputs(rows)), stop=self._stop)  # type: ignore[operator]
                part = _each(seen, lambda tensor: tensor.half().cpu())
            whole = whole or _each(part, lambda tensor: _room(len(self._taught), tensor))
            for kept, new in zip((whole.maps, *whole.statistics), (part.maps, *part.statistics), strict=True):
                kept[rows] = new
        assert whole is not None  # there are photos
        return _each(whole, lambda t: processes.sum(t.to(processes.device)).cpu()) if processes.world > 1 else whole


def _each(seen: Activations, change: Callable[[torch.Tensor], torch.Tensor]) -> Activations:
    return Activations(change(seen.maps), tuple(change(part) for part in seen.statistics))


def _room(count: int, like: torch.Tensor) -> torch.Tensor:
    """Zeros for so many photos' rows."""
    import torch

    order = torch.channels_last if like.ndim == 4 else torch.contiguous_format
    return torch.zeros((count, *like.shape[1:]), dtype=like.dtype).contiguous(memory_format=order)
