"""One step of training: gradients of the whole batch, in micro-batches and over all processes, then one update.

The loss is the sum over targets divided by the number of targets in the whole batch, so neither accumulation nor the
number of processes changes it.

Legend: B sequences of this process, T positions.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch

from trainer.data.loader import IGNORED, Batch
from trainer.engine.optimizer import clip, set_rate
from trainer.engine.parallel import Distributed, gathered, sums
from trainer.errors import TrainerError
from trainer.model.cross_entropy import token_losses
from trainer.model.transformer import Transformer


class Agreed(NamedTuple):
    """What all processes must know of a step before they take it."""

    stop: bool  # one of them was asked to
    targets: int  # of the whole batch


@dataclass(frozen=True, slots=True)
class Learned:
    """What a step found, the same on all processes."""

    loss: float  # nats, mean over the batch's targets
    grad_norm: float  # before clipping
    rate: float
    losses: dict[str, float]  # by source
    digest: int  # of the whole batch


class NotFinite(TrainerError):
    """The loss or the gradient is not a number, and nothing was updated; `rows` of the whole batch are to blame."""

    by_all = True

    def __init__(self, message: str, rows: tuple[int, ...]) -> None:
        super().__init__(message)
        self.rows = rows  # empty: the loss is finite, the gradient is not


@dataclass(frozen=True, slots=True)
class TrainStep:
    """A model, its optimizer, and how they are laid out."""

    model: Transformer
    optimizer: torch.optim.Optimizer
    distributed: Distributed
    context: Callable[[], AbstractContextManager[object]]
    micro_batch_sequences: int | None
    clip_norm: float | None

    def agree(self, batch: Batch, stop: bool = False) -> Agreed:
        """The sum over all processes, which call it together."""
        stops, targets = sums(self.distributed, [int(stop), int((batch.targets_BT != IGNORED).sum())])
        return Agreed(stops > 0, targets)

    def learn(self, batch: Batch, targets: int, rate: float) -> Learned:
        """Takes one step on a batch of so many targets. All processes call it together.

        Raises NotFinite before the update.
        """
        losses_B = self._backward(batch, targets)
        loss, found, digest = self._over_processes(batch, losses_B)
        self._refuse(batch, loss / targets, losses_B, "loss")
        norm = clip(self.model.parameters(), self.clip_norm)
        self._refuse(batch, norm, losses_B, "norm of the gradient")
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Learned(loss / targets, norm, rate, found, digest)

    def _backward(self, batch: Batch, targets: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Adds up gradients; returns each sequence's summed loss."""
        device, at_once = self.distributed.device, self.micro_batch_sequences or len(batch.sources)
        found = []
        for first in range(0, len(batch.sources), at_once):
            part = slice(first, first + at_once)
            inputs_BT, targets_BT, segments_BT = (
                torch.from_numpy(rows[part]).to(device, non_blocking=True)
                for rows in (batch.inputs_BT, batch.targets_BT, batch.segments_BT)
            )
            with self.context():
                logits_BTV = self.model(inputs_BT, segments_BT)
            losses_B = token_losses(logits_BTV, targets_BT).sum(dim=1)
            del logits_BTV
            # FSDP averages gradients over processes, where the sum is wanted.
            torch.autograd.backward(losses_B.sum() * (self.distributed.dp_world / targets))
            found.append(losses_B.detach())
        return torch.cat(found).double().cpu().numpy()

    def _over_processes(self, batch: Batch, losses_B: np.ndarray) -> tuple[float, dict[str, float], int]:
        """Over all processes: the summed loss, the mean of each source, the digest of the batch."""
        sources_B, counts_B = np.array(batch.sources), (batch.targets_BT != IGNORED).sum(axis=1)
        rows = {name: sources_B == name for name in sorted(set(batch.sources))}
        mine = {name: (float(losses_B[each].sum()), int(counts_B[each].sum())) for name, each in rows.items()}
        total: dict[str, tuple[float, int]] = {}
        digest = 0
        for told in gathered(self.distributed, json.dumps([mine, batch.digest()])):
            sources, part = json.loads(told)
            digest = (digest + part) % 2**64
            for name, (loss, count) in sources.items():
                before = total.get(name, (0.0, 0))
                total[name] = before[0] + loss, before[1] + count
        means = {name: loss / count for name, (loss, count) in sorted(total.items()) if count}
        return sum(loss for loss, _ in total.values()), means, digest

    def _refuse(self, batch: Batch, value: float, losses_B: np.ndarray, what: str) -> None:
        if isfinite(value):
            return
        mine = [batch.first_row + int(row) for row in np.flatnonzero(~np.isfinite(losses_B))]
        rows = [row for told in gathered(self.distributed, json.dumps(mine)) for row in json.loads(told)]
        raise NotFinite(f"step {batch.step}: the {what} is {value}; the weights were not updated", tuple(rows))
