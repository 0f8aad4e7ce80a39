"""Trains the tiny network by each strategy, alone or under torchrun, and writes what became of it: PHOTOS FOLDER."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from export.adapt import strategies
from export.adapt.processes import join_processes
from export.adapt.train import Task, train
from export.compare.material import embed_rows, fit_head, measure, read_material
from export.network.embedder import embedder
from export.photos.augment import Augment
from export.photos.folders import find_photos
from export.photos.split import group_photos, split_groups
from tests.export.adapting import RATE, SIZE, tiny_trunk

STRATEGIES = ("full", "last-stages")


def main(photos: Path, folder: Path) -> None:
    material = read_material(find_photos(photos), SIZE, lambda *_: None)
    held = split_groups(material.targets, group_photos(material.paths, None), material.labels, 0.2)
    rows = np.arange(len(held))
    with join_processes() as processes:
        for strategy in STRATEGIES:
            torch.manual_seed(0)
            network = embedder(tiny_trunk())  # type: ignore[arg-type]
            frozen = embed_rows(network, lambda some: torch.from_numpy(material.centres[some]), rows)
            task = Task(
                material, ~held, held, measure(frozen, material, held), fit_head(frozen, material, held), Augment(0),
                SIZE, 1e9, folder / f"{strategy}.checkpoint", processes, lambda *_: None, clock=lambda: 0.0,
            )  # fmt: skip
            trained = train(network, replace(strategies.STRATEGIES[strategy], rate=RATE / 3), task)
            if processes.is_first:
                found = {"state": dict(trained.state), "world": processes.world, "epochs": trained.epochs}
                torch.save(found, folder / f"{strategy}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
