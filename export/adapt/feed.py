"""Inputs for the trained part of a network: pixels, or feature maps of the frozen part in front of it.

Both classes have the same methods: `prepare` before an epoch, `mixed` for training inputs, `seen` for inputs as on the
device; `views` is the number of epochs that need new inputs to be prepared. Photos are numbered as in the material.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.adapt.processes import Processes
from export.adapt.strategies import last_stages
from export.compare.material import BATCH, Material, fast_inference
from export.network.embedder import Activations
from export.photos.augment import Augment

VIEWS = 4  # augmented views of each photo whose frozen feature maps are kept
VIEWS_BYTES = 2_000_000_000


class Pixels:
    """Inputs for a network that is trained as a whole.

    Args:
        size: Side of the training pictures in pixels.
    """

    def __init__(self, material: Material, augment: Augment, size: int, device: str) -> None:
        self.material, self.views = material, 1
        self._augment, self._size, self._device = augment, size, device

    def prepare(self, epoch: int) -> None:
        """Do nothing: pixels need no preparation."""

    def mixed(self, one: NDArray[np.intp], other: NDArray[np.intp], share: float, epoch: int) -> torch.Tensor:
        """Inputs to train on in this epoch: so much of one photo's, the rest of another's."""
        return self.drawn(other, epoch).lerp(self.drawn(one, epoch), share)

    def drawn(self, photos: NDArray[np.intp], epoch: int) -> torch.Tensor:
        """Return augmented pictures of photos for this epoch."""
        drawn = self._augment(self.material.squares[photos], photos, epoch, self._size)
        return drawn.to(self._device)

    def seen(self, photos: NDArray[np.intp]) -> torch.Tensor:
        """Inputs as the device will have them."""
        return torch.from_numpy(self.material.centres[photos]).to(self._device)


class Maps:
    """Inputs for the last stages: the frozen part's feature maps, computed once for several views of each photo.

    A view is computed when its first epoch begins, always completely and in the photos' order, so a resumed run gets
    the same view; each process computes a part.

    Args:
        taught: bool (N,), photos to train on; the others get no augmented views.
    """

    def __init__(self, pixels: Pixels, taught: NDArray[np.bool_], embedder: nn.Module, processes: Processes) -> None:
        self.views = VIEWS
        self._pixels, self._taught, self._embedder, self._processes = pixels, taught, embedder, processes
        self._stop = last_stages(embedder.get_submodule("trunk"), pixels.material.size)
        self._views: dict[int, Activations] = {}

    def prepare(self, epoch: int) -> None:
        """Compute the feature maps that this epoch needs."""
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
        rows, device = torch.from_numpy(photos), self._processes.device
        return _each(view, lambda whole: whole[rows].to(device).float())

    def _compute(self, inputs: Callable[[NDArray[np.intp]], torch.Tensor], photos: NDArray[np.intp]) -> Activations:
        """Return the frozen part's feature maps for some photos, in float16 on the CPU; zeros for the others."""
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
    """Return zeros with a row for each photo."""
    order = torch.channels_last if like.ndim == 4 else torch.contiguous_format
    return torch.zeros((count, *like.shape[1:]), dtype=like.dtype).contiguous(memory_format=order)
