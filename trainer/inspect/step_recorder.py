"""Record of the steps of a run, on its first process: metrics, TensorBoard, and the page every few minutes."""

import time
from collections.abc import Callable

import torch

from trainer.data.curriculum import PhasePlan
from trainer.engine.distributed import Distributed
from trainer.engine.run_setup import RunSetup
from trainer.engine.step import StepAgreement, StepResult
from trainer.inspect.metrics import StepRow, TensorBoard, metrics_file
from trainer.inspect.run_page import try_write_run_page
from trainer.model.cost import flops_per_token, peak_flops

PAGE_EVERY_S = 180.0
PAGE_SHARE = 50  # writing takes at most this part of the time: a page of millions of steps takes minutes


class StepRecorder:
    """Records each step. `say` prints a line."""

    def __init__(self, setup: RunSetup, distributed: Distributed, say: Callable[[str], None]) -> None:
        self.setup, self.world, self._say = setup, distributed.world, say
        self.metrics = metrics_file(setup.folder)
        self._device = distributed.device
        on_gpu = self._device.type == "cuda"
        self.peak = peak_flops(torch.cuda.get_device_name(self._device)) if on_gpu else None
        self.board: TensorBoard | None = None
        self._next_page_s = time.monotonic() + PAGE_EVERY_S

    @property
    def last_step(self) -> int | None:
        """Last step in the run folder; None if there is none."""
        return next((row.step for row in self.metrics.tail(1)), None)

    def resume(self, step: int) -> list[int]:
        """Drop the rows after `step`: those steps will be taken again. Return the steps of the others."""
        if self.setup.training.tensorboard:
            self.board = TensorBoard(self.setup.folder, step)
        return self.metrics.resume(step)

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self.board is not None:
            self.board.close()

    def record(self, phase: PhasePlan, step: int, agreed: StepAgreement, result: StepResult, seconds: float) -> StepRow:
        """Write and return the row of a step; write the page if it is old."""
        tokens_per_s = phase.batch_tokens / seconds

        def mfu(flops: int) -> float | None:
            return None if self.peak is None else tokens_per_s * flops / (self.peak * self.world)

        cursors = phase.cursors(step)
        # Throughput counts all tokens of the batch, including those that are no targets.
        row = StepRow(
            step=step,
            phase=phase.name,
            step_in_phase=step - phase.first_step + 1,
            tokens=self.setup.curriculum.tokens(step),
            targets=agreed.targets,
            step_s=seconds,
            tokens_per_s=tokens_per_s,
            mfu=mfu(flops_per_token(self.setup.model_config)),
            mfu_attention=mfu(flops_per_token(self.setup.model_config, phase.sequence_tokens)),
            device_memory_bytes=self._memory(),
            epochs={name: each.tokens_read / each.epoch_tokens for name, each in cursors.items() if each.tokens_read},
            **result._asdict(),
        )
        self.metrics.write(row)
        if self.board is not None:
            self.board.step(row)
        started_s = time.monotonic()
        if started_s >= self._next_page_s:
            try_write_run_page(self.setup, self._say)
            ended_s = time.monotonic()
            self._next_page_s = ended_s + max(PAGE_EVERY_S, PAGE_SHARE * (ended_s - started_s))
        return row

    def _memory(self) -> int | None:
        """Return the most memory allocated on the device since the last step."""
        if self._device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return peak
