"""The losses of pretraining: a student learns from a teacher that sees the same pictures, or from labels.

A student learns from a teacher ("function matching", Beyer et al., "Knowledge distillation: a good teacher is patient
and consistent", CVPR 2022) through one linear layer P that is dropped afterwards. With maps s, t (features at every
place) and their means over places s̄, t̄::

    loss = |P s − t|²  +  |P s̄ − t̄|²  +  KL(softened answers of the teacher ‖ of the student)        T = 2

t and t̄ are scaled so that each of the teacher's features has mean 0 and deviation 1 over the pictures: a head, which
whitens, uses the faint features as much as the strong ones. The place-by-place term (Romero et al., "FitNets", ICLR
2015) says far more per picture than the answer alone. Without a teacher the loss is cross-entropy on the labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional

from edge.errors import BundleError
from export.network import backbones
from export.network.state_dict import read_state_dict
from export.pretrain.views import Batch

TEMPERATURE = 2.0


class Teacher:
    """A frozen network to learn from: its trunk and its last layer.

    Args:
        arch: Its name in the table of backbones.
        file: Its state dict, with the classifier.
        device: Where it runs.

    Raises:
        BundleError: The file does not fit, or does not end in one linear layer.
    """

    def __init__(self, arch: str, file: Path, device: str) -> None:
        state = read_state_dict(file)
        last = [key.removesuffix(".weight") for key, value in state.items() if value.ndim == 2]
        if len(last) != 1:
            raise BundleError(
                "teacher-unsuitable",
                f"{file.name} has {len(last)} linear layers instead of one; use a mobilenet_v2 as the teacher",
            )
        loaded = backbones.load(arch, str(file))
        row, trunk = loaded.backbone, loaded.trunk.eval()
        if not row.architecture.startswith(backbones.TIMM):  # whose padding cannot be traced
            trunk = fuse(trunk)  # norms into convolutions: faster
        self._trunk, self._taught = trunk.to(device), row.pixels
        self._weight, self._bias = (state[f"{last[0]}.{part}"].to(device) for part in ("weight", "bias"))
        self._half = device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        self.answers, self.features = self._weight.shape

    def __call__(self, pixels: torch.Tensor) -> Lesson:
        """Run the teacher on pictures (N, 3, H, H), 0 to 1."""
        with torch.no_grad():
            with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self._half):
                features = self._trunk(self._taught.normalised(pixels)).float()
            mean = features.mean((2, 3))
            return Lesson(features, mean, mean @ self._weight.T + self._bias)


@dataclass(frozen=True)
class Lesson:
    """The teacher's output for N pictures: features (N, F, h, w), their means (N, F), and answers (N, A), unscaled."""

    features: torch.Tensor
    mean: torch.Tensor
    answers: torch.Tensor


class Distilled(nn.Module):
    """Student and the layer P: batch, lesson → loss."""

    def __init__(self, student: nn.Module, features: int, teacher: Teacher) -> None:
        super().__init__()
        self.student = student
        self.like = nn.Linear(features, teacher.features)
        self.answer = nn.Linear(features, teacher.answers)
        for layer in (self.like, self.answer):  # nothing is known yet, so nothing shakes the student at first
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("scales", torch.zeros(4, teacher.features))  # mean, deviation: of features, of their means

    def measure(self, lessons: Iterable[Lesson]) -> None:
        """Set the scales from the teacher's output for some pictures."""
        seen = list(lessons)
        places = torch.cat([lesson.features.movedim(1, 3).flatten(0, 2) for lesson in seen])
        means = torch.cat([lesson.mean for lesson in seen])
        self.scales = torch.stack([places.mean(0), places.std(0), means.mean(0), means.std(0)])

    def forward(self, batch: Batch, lesson: Lesson) -> torch.Tensor:
        seen = self.student(batch.pixels)
        mean = seen.mean((2, 3))
        centre, spread, mean_centre, mean_spread = self.scales + torch.finfo(torch.float32).eps
        places = (lesson.features.movedim(1, 3) - centre) / spread
        everywhere = functional.mse_loss(self.like(seen.movedim(1, 3)), places)
        liked = (self.like(mean) * spread + centre - mean_centre) / mean_spread
        overall = functional.mse_loss(liked, (lesson.mean - mean_centre) / mean_spread)
        said = functional.log_softmax(self.answer(mean) / TEMPERATURE, 1)
        told = functional.log_softmax(lesson.answers / TEMPERATURE, 1)
        answers = functional.kl_div(said, told, reduction="batchmean", log_target=True)
        return everywhere + overall + answers


class Named(nn.Module):
    """Student and a layer that predicts the labels: batch → loss."""

    def __init__(self, student: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.student = student
        self.answer = nn.Linear(features, classes)

    def forward(self, batch: Batch, _lesson: None) -> torch.Tensor:
        answers = self.answer(self.student(batch.pixels).mean((2, 3)))
        return functional.cross_entropy(answers, batch.labels, label_smoothing=0.1)
