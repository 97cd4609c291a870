"""Times at which a run saves a checkpoint within a phase: by the clock, and at multiples of steps."""

import time
from collections.abc import Callable

from trainer.config import CheckpointSettings


class SaveSchedule:
    """Schedule of saves. Processes agree on `time_is_up`; `due` is the same on each."""

    def __init__(self, settings: CheckpointSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_steps = (settings.every_steps, settings.keep_every_steps)
        self._every_s = None if settings.every_minutes is None else 60 * settings.every_minutes
        self._clock, self._saved_s = clock, clock()

    def restart(self) -> None:
        """Count the time from now: a checkpoint was saved or loaded."""
        self._saved_s = self._clock()

    def time_is_up(self) -> bool:
        """Return True if the last save is longer ago than the interval."""
        return self._every_s is not None and self._clock() - self._saved_s >= self._every_s

    def due(self, previous: int, done: int) -> bool:
        """Return True if a save is due by steps, after step `done`; `previous` is the step taken before it."""
        return any(is_due(every, previous, done) for every in self._every_steps)


def is_due(every: int | None, previous: int, done: int) -> bool:
    """Return True if a multiple of `every` lies after `previous`, up to `done`: skipped steps leave gaps."""
    return every is not None and done // every > previous // every
