"""Pretrain a backbone from scratch, or continue an earlier run: the recipe of the weights in this package.

The losses are those of `export.pretrain.teacher`.

**Pictures.** Small pictures lack sharp detail when they are enlarged. So a source whose pictures are smaller than the
input is shown half enlarged and, if there is a teacher, half as a mosaic of k × k pictures in their own sharpness. Each
batch contains the same number of every source. Crops, flips and colour changes are random.

**Exactly repeatable.** All random numbers of step n come from (seed, n). So a run that was killed continues from its
checkpoint to the same bytes, and several processes (torchrun) see the same batches as one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.errors import BundleError
from export.adapt import checkpoint
from export.adapt.processes import Processes
from export.network import backbones
from export.network.embedder import dimension, embedder
from export.pretrain.teacher import Distilled, Named, Teacher
from export.pretrain.views import Batch, Pictures, draw

MEASURED = 8  # batches on which the scale of the teacher's features is measured
CLIP = 5.0  # largest norm of a gradient
DECAY = 0.05  # of the weights, each step, times the rate (Loshchilov & Hutter, "Decoupled weight decay", ICLR 2019)


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, except the pictures and the teacher."""

    arch: str = "mobilenet_v3_small"  # a name of the table in export/network/backbones.py
    # pixels per side while training; crops enlarge things, so twice the pixels suit later use best (Touvron et al.,
    # "Fixing the train-test resolution discrepancy", NeurIPS 2019: a little more at test than in training)
    size: int = 160
    steps: int = 10_000  # number of batches
    batch: int = 128  # number of pictures in a batch
    rate: float = 2e-3  # largest learning rate of AdamW; `cycle` says how it rises and falls
    average: float = 0.999  # fraction of the weights' running average, the result, that each step keeps
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """The progress of a run: the mean `loss` since the last report, `rate` in pictures per second, seconds `left`."""

    step: int
    steps: int
    loss: float
    rate: float
    left: float


def pretrain(
    recipe: Recipe,
    sources: Sequence[Pictures],
    teacher: Teacher | None,
    saved: Path,
    processes: Processes,
    tell: Callable[[Report], None],
    start: Path | None = None,
    every: int = 200,
) -> dict[str, torch.Tensor]:
    """Train, or continue from the checkpoint `saved`.

    Args:
        sources: The pictures; they need labels if there is no teacher.
        teacher: The teacher, or None to learn from labels.
        saved: The checkpoint; written every `every` steps and at the end.
        tell: Called every `every` steps.
        start: Weights to start from instead of random ones.
        every: Number of steps between two checkpoints.

    Returns:
        The averaged weights of the trunk, float32, named as torchvision names them.

    Raises:
        BundleError: The checkpoint is of another recipe, there is nothing to learn from, or the loss became infinite.
    """
    run = _Run(recipe, sources, teacher, processes, start)
    run.resume(checkpoint.load(saved), saved)
    losses: list[torch.Tensor] = []
    began, first = time.monotonic(), run.step
    while run.step < recipe.steps:
        losses.append(run.advance())
        if run.step % every and run.step < recipe.steps:
            continue
        loss = float(processes.sum(torch.stack(losses).mean())) / processes.world
        if not math.isfinite(loss):
            start_again = f"move {saved} away and use" if saved.exists() else "use"
            raise BundleError(
                "training-diverged",
                f"the loss became {loss} at step {run.step}; {start_again} a lower --rate (now {recipe.rate:g})",
            )
        if processes.is_first:
            checkpoint.save(saved, run.state())
        each = (time.monotonic() - began) / (run.step - first)
        tell(Report(run.step, recipe.steps, loss, recipe.batch / each, each * (recipe.steps - run.step)))
        losses.clear()
    processes.barrier()
    return {key: value.detach().cpu().clone() for key, value in run.averaged.state_dict().items()}


class _Run:
    """The state of a run: the student, the average of its weights, the optimizer, the step."""

    def __init__(
        self,
        recipe: Recipe,
        sources: Sequence[Pictures],
        teacher: Teacher | None,
        processes: Processes,
        start: Path | None,
    ) -> None:
        classes = sum(source.classes for source in sources)
        if teacher is None and (classes < 2 or not all(source.classes for source in sources)):
            raise BundleError(
                "teacher-unsuitable",
                "there is nothing to learn from; give a --teacher, or at least two labels for all pictures",
            )
        torch.manual_seed(recipe.seed)
        self.recipe, self.sources, self.teacher, self.processes, self.step = recipe, sources, teacher, processes, 0
        loaded = backbones.load(recipe.arch, str(start) if start else "random")
        self.taught = loaded.backbone.pixels
        features = dimension(embedder(loaded.trunk), recipe.size)
        self.student = loaded.trunk.to(processes.device).train()
        self.averaged = copy.deepcopy(self.student).eval()
        lessons = Distilled(self.student, features, teacher) if teacher else Named(self.student, features, classes)
        self.lessons = lessons.to(processes.device)
        if isinstance(self.lessons, Distilled) and teacher:
            self.lessons.measure(teacher(self._draw(n, stream=1).pixels) for n in range(MEASURED))
        self.loss = processes.wrap(self.lessons)
        parts = [p for p in lessons.parameters() if p.ndim > 1], [p for p in lessons.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": parts[0], "weight_decay": DECAY}, {"params": parts[1], "weight_decay": 0.0}], lr=recipe.rate
        )

    def advance(self) -> torch.Tensor:
        """Learn from one batch; its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * cycle(self.step / self.recipe.steps)
        batch = self._draw(self.step)
        with torch.autocast(batch.pixels.device.type, torch.bfloat16, enabled=self.processes.device != "cpu"):
            lesson = self.teacher(batch.pixels) if self.teacher else None
            loss: torch.Tensor = self.loss(replace(batch, pixels=self.taught.normalised(batch.pixels)), lesson)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.lessons.parameters(), CLIP)
        self.optimizer.step()
        self.step += 1
        keep = min(self.recipe.average, self.step / (self.step + 10))  # at first the average is young, too
        with torch.no_grad():
            for mean, new in zip(self.averaged.state_dict().values(), self.student.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(new, 1 - keep)
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Everything that a later run needs to continue."""
        return {
            "recipe": asdict(self.recipe), "step": self.step, "lessons": self.lessons.state_dict(),
            "averaged": self.averaged.state_dict(), "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip

    def resume(self, state: Mapping[str, Any] | None, file: Path) -> None:
        """Continue from a checkpoint, if there is one."""
        if state is None:
            return
        mine, its = asdict(self.recipe), state.get("recipe")
        if its != mine:
            raise BundleError(
                "run-mismatch", f"{file} is from another run ({its}, now {mine}); to start again, move it away"
            )
        self.step = state["step"]
        self.lessons.load_state_dict(state["lessons"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _draw(self, number: int, stream: int = 0) -> Batch:
        """This process's part of a batch."""
        seed = np.random.SeedSequence((self.recipe.seed, stream, number)).generate_state(1, np.uint64)[0]
        random = torch.Generator().manual_seed(int(seed >> 1))
        part, mosaics = self.processes.share(self.recipe.batch), self.teacher is not None
        mine = draw(self.sources, self.recipe.batch, self.recipe.size, random, mosaics, part)
        return Batch(mine.pixels.to(self.processes.device), mine.labels.to(self.processes.device))


def cycle(done: float) -> float:
    """The fraction of the largest rate: it rises over the first twentieth, then falls along half a cosine to 0.

    Example:
        >>> cycle(0.025), cycle(0.05), round(cycle(0.525), 3), round(cycle(1.0), 3)
        (0.5, 1.0, 0.5, 0.0)
    """
    rise = 0.05
    return done / rise if done < rise else 0.5 + 0.5 * math.cos(math.pi * (done - rise) / (1 - rise))
