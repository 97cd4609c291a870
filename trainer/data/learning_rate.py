"""The learning rate of a phase: a straight warm-up, flat, a decay. Phases join, unless a jump is asked for."""

from dataclasses import dataclass
from math import cos, isclose, pi
from typing import Literal

from trainer.config import LearningRateSettings


@dataclass(frozen=True, slots=True)
class RateSchedule:
    """The rate at each step of one phase."""

    start: float  # before the first step
    peak: float
    end: float  # at the last step
    steps: int
    warmup_steps: int
    decay_steps: int
    shape: Literal["cosine", "linear"]

    def rate(self, step: int) -> float:
        """The rate of step 0 … steps − 1: the peak at the last step of the warm-up, the end at the phase's last."""
        if step < self.warmup_steps:
            return self.start + (self.peak - self.start) * (step + 1) / self.warmup_steps
        left = self.steps - 1 - step
        if left >= self.decay_steps:
            return self.peak
        done = 1 - left / self.decay_steps
        fraction = (1 + cos(pi * done)) / 2 if self.shape == "cosine" else 1 - done
        return self.end + (self.peak - self.end) * fraction


def schedule(written: LearningRateSettings, steps: int, before: float | None) -> RateSchedule:
    """The schedule of a phase that follows on the rate `before` (None: the first). Raises ValueError if it cannot.

    Steps of warm-up and decay are rounded; where both are asked for, one step of each is left them.
    """
    if written.peak is None and not before:
        raise ValueError("`peak` is required: no phase before it ends at a rate above 0")
    peak = written.peak if written.peak is not None else before or 0.0
    most = steps - 1 if written.decay else steps
    warmup = max(1, min(round(written.warmup * steps), most)) if written.warmup else 0
    decay = max(1, min(round(written.decay * steps), steps - warmup)) if written.decay else 0
    if warmup + decay > steps:
        raise ValueError(f"{steps} steps leave no room for a warm-up and a decay")
    end = written.end if written.end is not None else peak
    start = 0.0 if before is None or written.jump else before
    jumps = before is not None and not warmup and not isclose(before, peak, rel_tol=1e-9)
    if jumps and not written.jump:
        raise ValueError(
            f"the phase before it ends at a rate of {before:g}, and this one would begin at {peak:g}; leave `peak` "
            "away to join them, add a `warmup`, or say `jump: true`"
        )
    return RateSchedule(start if warmup else peak, peak, end, steps, warmup, decay, written.shape)
