"""Checkpoints, from which a run continues as if it had never stopped."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Weights = dict[str, Tensor]


class CheckpointError(RuntimeError):
    """A run cannot continue from a checkpoint; the message names its folder."""


@dataclass(frozen=True)
class Progressed:
    """Progress of a run.

    Attributes:
        step: optimiser steps done.
        best: lowest validation loss so far.
        best_step: the step with that loss.
        waited: validations since that step.
    """

    step: int = 0
    best: float = float("inf")
    best_step: int = 0
    waited: int = 0


class Checkpoints:
    """One folder with the newest checkpoint and the best weights.

    A checkpoint is written beside the last one and replaces it by renaming, so a kill leaves a complete one.
    """

    def __init__(self, folder: Path, run: str) -> None:
        """Args:
        folder: is created if it is missing.
        run: identifies everything that the losses depend on.
        """
        self._folder = folder
        self._run = run
        folder.mkdir(parents=True, exist_ok=True)
        # After a kill between the two renamings in `save` only the old one exists.
        if self._old.exists() and not self._newest.exists():
            self._old.rename(self._newest)

    @property
    def _newest(self) -> Path:
        return self._folder / "checkpoint"

    @property
    def _old(self) -> Path:
        return self._folder / "checkpoint.old"

    def load(self, device: torch.device) -> tuple[Progressed, Weights, dict[str, object]] | None:
        """Return progress, weights and the optimiser's state, or None if nothing was saved.

        Raises:
            CheckpointError: the checkpoint belongs to a run with other options or captions, or is damaged.
        """
        if not self._newest.exists():
            return None
        try:
            state = json.loads((self._newest / "state.json").read_text(encoding="utf-8"))
            if state.pop("run") != self._run:
                raise CheckpointError(
                    f"{self._folder} holds a checkpoint of a run with other options, captions or bundle; use those, "
                    "or name another work folder"
                )
            weights = load_file(self._newest / "weights.safetensors", device=str(device))
            optimiser = torch.load(self._newest / "optimiser.pt", map_location=device, weights_only=True)
            return Progressed(**state), weights, optimiser
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the checkpoint in {self._folder} cannot be read: {error}") from error

    def save(self, progressed: Progressed, weights: Weights, optimiser: dict[str, object]) -> None:
        """Replace the checkpoint; with `best_step == step` the weights also become the best ones."""
        fresh = self._folder / "checkpoint.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, fresh / "weights.safetensors")
        torch.save(optimiser, fresh / "optimiser.pt")
        state = asdict(progressed) | {"run": self._run}
        (fresh / "state.json").write_text(json.dumps(state), encoding="utf-8")
        if progressed.best_step == progressed.step:
            best = self._folder / "best.new.safetensors"
            shutil.copyfile(fresh / "weights.safetensors", best)
            best.replace(self._best)
        if self._newest.exists():
            shutil.rmtree(self._old, ignore_errors=True)
            self._newest.rename(self._old)
        fresh.rename(self._newest)
        shutil.rmtree(self._old, ignore_errors=True)

    @property
    def _best(self) -> Path:
        return self._folder / "best.safetensors"

    def best(self, device: torch.device) -> Weights:
        """Return the weights of the best validation."""
        return load_file(self._best, device=str(device))
