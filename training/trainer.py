"""The training loop; accelerate runs it on a CPU, a GPU or several."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from training.batches import Batch
from training.checkpoint import Checkpoints, Progressed, Weights
from training.loss import CaptionLoss
from training.options import TrainOptions
from training.validation import mean_loss

_LARGEST_GRADIENT = 1.0


class Batches(Protocol):
    """See `training.batches.BatchSource`: a batch depends only on its number."""

    def __getitem__(self, number: int, /) -> Batch: ...


class Watcher(Protocol):
    """Follows a run: see `training.progress.RunLog`."""

    def resumed(self, step: int) -> None:
        """The run continues after this step; earlier reports of later steps are void."""

    def stepped(self, step: int, loss: float, tokens: int, rate: float) -> None:
        """A step is done, with this mean loss and number of tokens over all processes."""

    def validated(self, step: int, losses: Mapping[str, float], better: bool) -> None:
        """A validation had these losses by name; `better` if the first is the lowest so far."""


@dataclass(frozen=True)
class Trained:
    """The best weights of a run, its progress, and whether it stopped before its last step."""

    weights: Weights
    progressed: Progressed
    early: bool


class Trainer:
    """Trains the parameters of a `CaptionLoss` that have a gradient.

    The same options give the same losses, resumed or not.
    """

    def __init__(
        self,
        loss: CaptionLoss,
        batches: Batches,
        validations: Mapping[str, Sequence[Batch]],
        options: TrainOptions,
        checkpoints: Checkpoints,
        watcher: Watcher,
        accelerator: Any,
    ) -> None:
        """Args:
        validations: batches by name; the loss of the first decides which weights are best.
        accelerator: accelerate's; each process makes its own Trainer.
        """
        self._bare = loss
        self._parameters = {name: p for name, p in loss.named_parameters() if p.requires_grad}
        optimiser = torch.optim.AdamW(self._parameters.values(), lr=options.rate, weight_decay=0.01)
        self._accelerator = accelerator
        self._loss, self._optimiser = accelerator.prepare(loss, optimiser)
        self._batches = batches
        self._validations = validations
        self._options = options
        self._checkpoints = checkpoints
        self._watcher = watcher

    def run(self) -> Trained:
        """Train to the last step, or until `patience` validations have not improved.

        Raises:
            CheckpointError: the work folder holds a checkpoint of another run.
            FloatingPointError: the loss is not finite.
        """
        options, progressed = self._options, self._resume()
        self._loss.train()
        early = _is_over(progressed, options)
        while progressed.step < options.steps and not early:
            loss, tokens = self._step(progressed.step)
            progressed = replace(progressed, step=progressed.step + 1)
            if self._accelerator.is_main_process:
                self._watcher.stepped(progressed.step, loss, tokens, options.rate_at(progressed.step - 1))
            if progressed.step % options.every == 0 or progressed.step == options.steps:
                progressed = self._validate(progressed)
                early = _is_over(progressed, options)
        self._accelerator.wait_for_everyone()
        return Trained(self._checkpoints.best(torch.device("cpu")), progressed, early)

    def _step(self, step: int) -> tuple[float, int]:
        options, accelerator = self._options, self._accelerator
        processes, process = accelerator.num_processes, accelerator.process_index
        for group in self._optimiser.param_groups:
            group["lr"] = options.rate_at(step)
        # Seeded for each step, not once: a resumed run draws the same dropout as the stopped one.
        torch.manual_seed(options.seed * 1_000_003 + step * processes + process)
        first = step * options.accumulate * processes + process
        batches = [self._batches[first + i * processes] for i in range(options.accumulate)]
        mine = torch.tensor(float(sum(batch.tokens() for batch in batches)), device=accelerator.device)
        tokens = float(accelerator.reduce(mine, "sum"))
        total = torch.zeros((), device=accelerator.device)
        for batch in batches:
            last = batch is batches[-1]
            with contextlib.nullcontext() if last else accelerator.no_sync(self._loss):
                # Each token of the step has the same weight, however batches are divided. Gradients of processes are
                # averaged, so the loss is multiplied by their number.
                loss: Tensor = self._loss(batch.to(accelerator.device)) * (batch.tokens() / tokens)
                accelerator.backward(loss * processes)
                total += loss.detach()
        value = float(accelerator.reduce(total, "sum"))
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of step {step + 1} is {value}; try a lower learning rate")
        accelerator.clip_grad_norm_(list(self._parameters.values()), _LARGEST_GRADIENT)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return value, int(tokens)

    def _validate(self, progressed: Progressed) -> Progressed:
        device = self._accelerator.device
        losses = {name: mean_loss(self._bare, batches, device) for name, batches in self._validations.items()}
        value = next(iter(losses.values()))
        better = value < progressed.best
        progressed = (
            replace(progressed, best=value, best_step=progressed.step, waited=0)
            if better
            else replace(progressed, waited=progressed.waited + 1)
        )
        if self._accelerator.is_main_process:
            self._checkpoints.save(progressed, self._weights(), self._optimiser.state_dict())
            self._watcher.validated(progressed.step, losses, better)
        self._accelerator.wait_for_everyone()
        return progressed

    def _weights(self) -> Weights:
        return {name: parameter.detach().cpu() for name, parameter in self._parameters.items()}

    def _resume(self) -> Progressed:
        found = self._checkpoints.load(self._accelerator.device)
        if found is None:
            return Progressed()
        progressed, weights, optimiser = found
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(weights[name])
        self._optimiser.load_state_dict(optimiser)
        if self._accelerator.is_main_process:
            self._watcher.resumed(progressed.step)
        return progressed


def _is_over(progressed: Progressed, options: TrainOptions) -> bool:
    return 0 < options.patience <= progressed.waited
