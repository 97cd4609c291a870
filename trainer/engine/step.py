"""One training step: gradients of the whole batch, in micro-batches and over all processes, then one update.

The loss is the sum over targets divided by the number of targets in the whole batch. Neither accumulation nor the
number of processes changes it.

Legend: B sequences of this process, T positions.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch

from trainer.data.loader import IGNORED, Batch
from trainer.engine.distributed import Distributed, gathered, sums
from trainer.engine.optimizer import clip, set_rate
from trainer.errors import TrainerError
from trainer.model.cross_entropy import Losses
from trainer.model.transformer import Transformer


class StepAgreement(NamedTuple):
    """Facts that all processes share before a step."""

    stop: bool  # True if any process was asked to stop
    targets: int  # in the whole batch
    save: bool = False  # True if any process asks for a checkpoint after the step


class StepResult(NamedTuple):
    """Measurements of a step, the same on all processes and named as in `StepRow`."""

    loss: float  # nats, mean over the batch's targets
    grad_norm: float  # before clipping
    learning_rate: float
    losses: dict[str, float]  # by source
    batch: str  # digest of the whole batch, hex


class NotFinite(TrainerError):
    """The loss or the gradient norm is not finite. Nothing was updated."""

    by_all = True

    def __init__(self, message: str, rows: tuple[int, ...]) -> None:
        super().__init__(message)
        self.rows = rows  # rows of the whole batch without a finite loss; empty if all are finite


@dataclass(frozen=True, slots=True)
class TrainStep:
    """A model and its optimizer, ready to take steps."""

    model: Transformer
    optimizer: torch.optim.Optimizer
    distributed: Distributed
    micro_batch_sequences: int | None
    clip_norm: float | None

    def agree(self, batch: Batch, stop: bool = False, save: bool = False) -> StepAgreement:
        """Combine requests and count targets over all processes, which call this together."""
        targets_here = int((batch.targets_BT != IGNORED).sum())
        stops, targets, saves = sums(self.distributed, [int(stop), targets_here, int(save)])
        return StepAgreement(stops > 0, targets, saves > 0)

    def learn(self, batch: Batch, targets: int, rate: float) -> StepResult:
        """Take one step; `targets` is the number in the whole batch. All processes call this together.

        Raises NotFinite before the update.
        """
        losses_B = self._backward(batch, targets)
        loss, source_losses, digest = self._over_processes(batch, losses_B)
        self._check_finite(batch, loss / targets, losses_B, "loss")
        norm = clip(self.model.parameters(), self.clip_norm)
        self._check_finite(batch, norm, losses_B, "norm of the gradient")
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss / targets, norm, rate, source_losses, f"{digest:016x}")

    def _backward(self, batch: Batch, targets: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Accumulate gradients over micro-batches; return the summed loss of each sequence."""
        sequences = self.micro_batch_sequences or len(batch.sources)
        losses = []
        for first in range(0, len(batch.sources), sequences):
            rows = slice(first, first + sequences)
            inputs_BT, targets_BT, segments_BT = (
                torch.from_numpy(array_BT[rows]).to(self.distributed.device, non_blocking=True)
                for array_BT in (batch.inputs_BT, batch.targets_BT, batch.segments_BT)
            )
            found: Losses = self.model(inputs_BT, segments_BT, targets_BT)
            # FSDP averages gradients over ranks; times dp_world, that is the sum.
            torch.autograd.backward(found.total * (self.distributed.dp_world / targets))
            losses.append(found.each_BT.sum(dim=1))
        return torch.cat(losses).double().cpu().numpy()

    def _over_processes(self, batch: Batch, losses_B: np.ndarray) -> tuple[float, dict[str, float], int]:
        """Return the summed loss, the mean loss of each source and the batch's digest, over all processes."""
        sources_B, counts_B = np.array(batch.sources), (batch.targets_BT != IGNORED).sum(axis=1)
        rows = {name: sources_B == name for name in sorted(set(batch.sources))}
        sums_here = {name: (float(losses_B[mask].sum()), int(counts_B[mask].sum())) for name, mask in rows.items()}
        # Sums are added in the order of ranks, so every process gets the same bits.
        losses, counts, digest = defaultdict[str, float](float), defaultdict[str, int](int), 0
        for sums_there, digest_there in gathered(self.distributed, (sums_here, batch.digest())):
            digest = (digest + digest_there) % 2**64
            for name, (loss, count) in sums_there.items():
                losses[name] += loss
                counts[name] += count
        means = {name: losses[name] / counts[name] for name in sorted(losses) if counts[name]}
        return sum(losses.values()), means, digest

    def _check_finite(self, batch: Batch, value: float, losses_B: np.ndarray, name: str) -> None:
        if isfinite(value):
            return
        rows_here = [batch.first_row + int(row) for row in np.flatnonzero(~np.isfinite(losses_B))]
        rows = [row for rows_there in gathered(self.distributed, rows_here) for row in rows_there]
        raise NotFinite(f"step {batch.step}: the {name} is {value}; the weights were not updated", tuple(rows))
