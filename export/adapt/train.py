"""Trains one network within a time limit, measures it on held-out photos, and resumes after a kill.

The loss is that of the device's own head. With u = x/‖x‖ an embedding of length one, and W, b, T the head fitted to the
frozen embeddings (LP-FT, Kumar et al. 2022: a head that is good from the start does not distort features)::

    logits = u @ (W/T) + b/T         loss = Σ_i c(y_i) · −log softmax(logits_i)[y_i] / Σ_i c(y_i)      c ~ 1/count

Network and W/T, b/T then learn together by Adam under a warm-up of one epoch and a cosine to zero. Adam moves every
number by about the rate, whatever its size; where norms were folded into weights, channels differ in size a
hundredfold, and the small ones would be wiped out. So its step is multiplied by the size s of what it moves (root mean
square over the channel), as if w/s were learned::

    p ← p + s·Adam(∇p)

Inputs and targets are mixed with others of the batch, λx + (1 − λ)x' (mixup, Zhang et al., ICLR 2018), which delays
overfitting. λ ~ Beta(α, α), one for each batch, is rarely far from 1 for small α.

Each measurement fits the device's head again to the embeddings of all training photos, and classifies the held-out
ones. Of the parameters p that training led to, those with the smallest held-out loss are kept. The number of epochs is
decided after the first one, from the time it took; everything else depends only on the seed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edge.head.linear import Head
from export.adapt import checkpoint
from export.adapt.feed import Maps, Pixels
from export.adapt.processes import Processes
from export.adapt.strategies import Strategy, last_stages, unfreeze
from export.compare.material import BATCH, Material, Measured, embed_rows, fast_inference, measure
from export.network.embedder import Activations
from export.photos.augment import Augment

HEAD_RATE = 5e-3  # of W/T and b/T, in units of their size, as all rates
SMALLEST = 1e-2  # size of a bias, and of a channel beside its whole weight, below which it is not taken for smaller
SMOOTHING = 0.1  # of the targets
MIXUP = 0.2  # α of the beta distribution that inputs are mixed by
MEASUREMENTS = 4  # at most so many a network: each takes half as long as a pass
NO_TIME = "its time was over"
LADDER = (2, 3, 4, 6, 8, 10, 12)  # epochs: few values, so that the clock seldom tells two runs apart


@dataclass(frozen=True)
class Point:
    """One measurement on the way; `epoch` passes were over."""

    epoch: int
    training_loss: float
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Trained:
    """The result of a training."""

    state: Mapping[str, torch.Tensor]  # the changed parameters with the smallest held-out loss after a pass
    curve: tuple[Point, ...]  # the measurements, the first before any training
    epochs: int  # the number of epochs that were run
    planned: int  # the number of epochs that were planned
    seconds: float  # time taken, over all runs
    ended: str  # why training ended, in words


@dataclass(frozen=True)
class Task:
    """What to train on, and within what limits."""

    material: Material
    taught: NDArray[np.bool_]  # (N,), the photos to train on
    held: NDArray[np.bool_]  # (N,), the held-out photos, which decide which parameters are kept
    before: Measured  # the device head's measurement before any training
    head: Head  # the device's head fitted to the photos to train on, from which the last layer starts
    augment: Augment
    size: int  # side of the training pictures in pixels
    seconds: float  # time limit for this network with its measurements, over all runs
    checkpoint: Path
    processes: Processes
    step: Callable[[int, int], None]  # called with (batches done, total)
    clock: Callable[[], float] = time.monotonic


def train(embedder: nn.Module, strategy: Strategy, task: Task) -> Trained:
    """Adapt a copy of a network with one strategy; the network itself stays unchanged.

    Args:
        embedder: uint8 or float32 (N, H, W, 3), 0–255 → float32 (N, D).
    """
    run = _Run(copy.deepcopy(embedder).eval().to(task.processes.device), strategy, task)
    run.resume()
    while not run.progress.ended:
        run.epoch()
    return run.result()


@dataclass
class _Progress:
    """The progress of a run, which a checkpoint stores as plain numbers beside the tensors."""

    epoch: int = 0
    planned: int = 0  # 0: not decided yet
    seconds: float = 0.0
    ended: str = ""
    best: int = 0  # index into the curve
    curve: list[Point] = field(default_factory=list)


class _Run:
    """The tensors of one strategy's training."""

    def __init__(self, embedder: nn.Module, strategy: Strategy, task: Task) -> None:
        self.strategy, self.task = strategy, task
        self.rows = np.flatnonzero(task.taught)
        self.steps = max(1, round(len(self.rows) / BATCH))
        trunk = embedder.get_submodule("trunk")
        self.changing = unfreeze(trunk, strategy, task.material.size)
        self.best = _copies(self.changing)
        pixels = Pixels(task.material, task.augment, task.size, task.processes.device)
        self.feed: Pixels | Maps = pixels
        body = embedder
        if strategy.name == "last-stages":
            self.feed = Maps(pixels, task.taught, embedder, task.processes)
            body = _Rest(embedder, last_stages(trunk, task.material.size))
        self.network = _WithHead(body, task.head).eval().to(task.processes.device)
        head = [parameter for name, parameter in self.network.named_parameters() if name.startswith("last.")]
        groups = [{"params": list(self.changing.values()), "lr": strategy.rate}, {"params": head, "lr": HEAD_RATE}]
        self.optimizer = torch.optim.Adam(groups)
        self.learning = [*self.changing.values(), *head]
        self.scales = [_scale(parameter.detach()) for parameter in self.learning]
        self.largest = [group["lr"] for group in self.optimizer.param_groups]
        self.wrapped = task.processes.wrap(self.network)
        counts = np.bincount(task.material.targets[self.rows], minlength=len(task.material.labels))
        weights = (len(self.rows) / np.maximum(counts, 1) / len(counts)).astype(np.float32)
        self.targets = np.diag(weights)[task.material.targets]  # (N, C): each label weighs the same
        self.progress = _Progress(curve=[Point(0, math.nan, task.before.accuracy, task.before.loss)])
        self.counted = task.clock()  # time up to here is included in the progress

    def epoch(self) -> None:
        """Train for one epoch, measure, and report progress."""
        began, progress, processes = self.counted, self.progress, self.task.processes
        self.feed.prepare(progress.epoch)
        prepared = self.task.clock()
        total = 0.0
        order = np.random.default_rng([self.task.augment.seed, progress.epoch]).permutation(self.rows)
        for step, batch in enumerate(np.array_split(order, self.steps)):
            total += self._step(batch, step)
            done = progress.epoch * self.steps + step + 1
            self.task.step(done, max(progress.planned, progress.epoch + 1) * self.steps)
            now = self.task.clock()
            spent = processes.first_says(progress.seconds + now - began)
            rest = processes.first_says((now - prepared) / (step + 1) * (LADDER[0] * self.steps - step - 1))
            hopeless = progress.epoch == 0 and step == 2 and spent + rest > self.task.seconds
            if spent > self.task.seconds or hopeless:
                progress.ended = NO_TIME
                progress.seconds = spent
                return
        progress.epoch += 1
        trained = self.task.clock()
        if self._measured_now():
            self._measure(total / self.steps)
        self.counted = now = self.task.clock()
        progress.seconds = processes.first_says(progress.seconds + now - began)
        if not progress.planned:
            self._plan(*(processes.first_says(s) for s in (prepared - began, trained - prepared, now - trained)))
        if progress.epoch >= progress.planned:
            progress.ended = "all passes were made"
        self._save()

    def resume(self) -> None:
        """Resume from the checkpoint, if there is one."""
        state = checkpoint.load(self.task.checkpoint)
        if state is None:
            return
        with torch.no_grad():
            for name, parameter in self.changing.items():
                parameter.copy_(state["changing"][name])
        self.best = {name: tensor.to(self.task.processes.device) for name, tensor in state["best"].items()}
        self.network.get_submodule("last").load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        curve = [Point(**point) for point in state["progress"].pop("curve")]
        self.progress = _Progress(**state["progress"], curve=curve)

    def result(self) -> Trained:
        """Return the current result."""
        p = self.progress
        best = {name: tensor.detach().cpu() for name, tensor in self.best.items()}
        return Trained(best, tuple(p.curve), p.epoch, p.planned, p.seconds, p.ended)

    def _step(self, batch: NDArray[np.intp], step: int) -> float:
        """One step on this process's rows of a batch, mixed with others; returns the whole batch's loss."""
        device = self.task.processes.device
        factor = self._factor(self.progress.epoch + step / self.steps)
        for group, largest in zip(self.optimizer.param_groups, self.largest, strict=True):
            group["lr"] = factor * largest
        random = np.random.default_rng([self.task.augment.seed, self.progress.epoch, step])
        share = random.beta(MIXUP, MIXUP)
        share = max(share, 1 - share)
        mine = self.task.processes.share(len(batch))
        one, other = batch[mine], random.permutation(batch)[mine]  # the same for any number of processes
        with torch.autocast("cuda", torch.bfloat16, enabled=device != "cpu"):
            logits = self.wrapped(self.feed.mixed(one, other, share, self.progress.epoch))
        targets = torch.from_numpy(share * self.targets[one] + (1 - share) * self.targets[other]).to(device)
        losses = functional.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=SMOOTHING)
        loss = losses.sum() / float(self.targets[batch].sum())
        self.optimizer.zero_grad(set_to_none=True)
        # gradients are averaged over the processes, not summed
        (loss * self.task.processes.world).backward()  # type: ignore[no-untyped-call]
        before = [parameter.detach().clone() for parameter in self.learning]
        self.optimizer.step()
        with torch.no_grad():
            for parameter, old, scale in zip(self.learning, before, self.scales, strict=True):
                parameter.sub_(old).mul_(scale).add_(old)
        return float(self.task.processes.sum(loss.detach()))

    def _factor(self, passed: float) -> float:
        """Return the learning rate as a fraction of its maximum: a warm-up in the first epoch, then a cosine."""
        if passed < 1:
            return passed + 0.5 / self.steps
        return 0.5 * (1 + math.cos(math.pi * (passed - 1) / max(self.progress.planned - 1, 1)))

    def _plan(self, preparing: float, training: float, measuring: float) -> None:
        """Decide the number of epochs from the first one's seconds; it prepared two views, the others prepare one."""
        left = 0.95 * self.task.seconds - preparing - training - measuring
        fitting = [LADDER[0]]
        for epochs in (e for e in LADDER if e <= self.strategy.epochs):
            views, measurements = min(epochs, self.feed.views), min(epochs, MEASUREMENTS)
            if (epochs - 1) * training + (views - 1) * preparing / 2 + measurements * measuring <= left:
                fitting.append(epochs)
        self.progress.planned = fitting[-1]

    def _measured_now(self) -> bool:
        """Whether to measure after this epoch: evenly over the run, and at its end."""
        planned = max(self.progress.planned, 1)
        every = math.ceil(planned / MEASUREMENTS)
        return self.progress.epoch % every == 0 or self.progress.epoch >= planned

    def _measure(self, training_loss: float) -> None:
        """Fit the device's head to the embeddings, measure it on the held-out photos, and keep the best parameters.

        The untrained network is not among these: what half of the photos teach may be worth less than what is lost, and
        the mean of both halves' networks more. Whether that is kept is decided later, against the untrained one.
        """
        p, task = self.progress, self.task
        with fast_inference(task.processes.device):
            every = np.arange(len(task.held))
            embeddings = embed_rows(self.network.get_submodule("body"), self.feed.seen, every)
        found = measure(embeddings, task.material, task.held, task.taught)
        accuracy, loss = task.processes.first_says(found.accuracy), task.processes.first_says(found.loss)
        p.curve.append(Point(p.epoch, training_loss, accuracy, loss))
        if p.best == 0 or p.curve[-1].loss < p.curve[p.best].loss:
            p.best = len(p.curve) - 1
            self.best = _copies(self.changing)

    def _save(self) -> None:
        if not self.task.processes.is_first:
            return
        state = {
            "changing": {name: parameter.detach() for name, parameter in self.changing.items()},
            "best": dict(self.best),
            "head": self.network.get_submodule("last").state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        checkpoint.save(self.task.checkpoint, state)


def _copies(parameters: Mapping[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def _scale(parameter: torch.Tensor) -> torch.Tensor:
    """The size of a parameter's values: by output channel of a weight, of the whole of a norm's scale or a bias."""
    squares = parameter.square()
    if parameter.ndim == 1:
        return squares.mean().sqrt().clamp_min(SMALLEST)
    channels = squares.mean(dim=tuple(range(1, parameter.ndim)), keepdim=True)
    return torch.maximum(channels, SMALLEST**2 * squares.mean()).sqrt()


class _Rest(nn.Module):
    """An embedder from some block on: how far a picture came → (N, D)."""

    def __init__(self, embedder: nn.Module, start: int) -> None:
        super().__init__()
        self.embedder, self.start = embedder, start

    def forward(self, seen: Activations) -> torch.Tensor:
        return self.embedder.end(self.embedder.through(seen, self.start))  # type: ignore[no-any-return, operator]


class _WithHead(nn.Module):
    """A network with the device's head behind it, as layers that learn: inputs → logits (N, C)."""

    def __init__(self, body: nn.Module, head: Head) -> None:
        super().__init__()
        self.body, self.last = body, nn.Linear(head.features, len(head.labels))
        with torch.no_grad():
            self.last.weight.copy_(torch.from_numpy(head.weights.T / head.temperature))
            self.last.bias.copy_(torch.from_numpy(head.bias / head.temperature))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(functional.normalize(self.body(inputs)))  # type: ignore[no-any-return]
