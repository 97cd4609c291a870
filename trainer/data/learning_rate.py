"""The learning rate of a phase: linear warm-up, constant, decay. Phases join, unless a jump is requested."""

from dataclasses import dataclass
from math import cos, isclose, pi
from typing import Literal

from trainer.config import LearningRateSettings


@dataclass(frozen=True, slots=True)
class RateSchedule:
    """The learning rate at each step of one phase."""

    start: float  # before the first step
    peak: float
    end: float  # at the last step
    steps: int
    warmup_steps: int
    decay_steps: int
    shape: Literal["cosine", "linear"]

    def rate(self, step: int) -> float:
        """Return the rate of step 0 … steps − 1: the peak after the last warm-up step, the end at the last step."""
        if step < self.warmup_steps:
            return self.start + (self.peak - self.start) * (step + 1) / self.warmup_steps
        steps_left = self.steps - 1 - step
        if steps_left >= self.decay_steps:
            return self.peak
        done = 1 - steps_left / self.decay_steps
        fraction = (1 + cos(pi * done)) / 2 if self.shape == "cosine" else 1 - done
        return self.end + (self.peak - self.end) * fraction


def rate_schedule(
    settings: LearningRateSettings, steps: int, previous: float | None, batch_tokens: int = 1
) -> RateSchedule:
    """Return the schedule of a phase after one that ended at the rate `previous` (None: the first phase).

    Warm-up and decay are rounded to steps of `batch_tokens`, and have at least one step each. Raises ValueError for
    settings that do not fit the steps or the previous rate.
    """
    if settings.peak is None and not previous:
        raise ValueError("`peak` is required: no earlier phase ends at a rate above 0")
    peak = settings.peak if settings.peak is not None else previous or 0.0
    # Warm-up leaves one step to a decay.
    longest_warmup = steps - 1 if settings.decay else steps
    warmup_steps, decay_steps = (
        round(span * steps if span <= 1 else span / batch_tokens) for span in (settings.warmup, settings.decay)
    )
    warmup = max(1, min(warmup_steps, longest_warmup)) if settings.warmup else 0
    decay = max(1, min(decay_steps, steps - warmup)) if settings.decay else 0
    if warmup + decay > steps:
        raise ValueError(f"{steps} step{'s' if steps > 1 else ''} cannot hold both a warm-up and a decay")
    end = settings.end if settings.end is not None else peak
    start = 0.0 if previous is None or settings.jump else previous
    jumps = previous is not None and not warmup and not isclose(previous, peak, rel_tol=1e-9)
    if jumps and not settings.jump:
        raise ValueError(
            f"the previous phase ends at a rate of {previous:g}, and this one starts at {peak:g}; remove `peak` to "
            "join them, add a `warmup`, or set `jump: true`"
        )
    return RateSchedule(start if warmup else peak, peak, end, steps, warmup, decay, settings.shape)
