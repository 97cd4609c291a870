"""Errors of a training run that a person can act on."""

from corpus.errors import CorpusError


class TrainerError(CorpusError):
    """A failed run (exit 1). What the user wrote wrongly is a `corpus.errors.InputError` (exit 2)."""

    by_all = False  # all processes of the run find it together, so one of them tells it


class Stopped(TrainerError):
    """Somebody asked the run to stop; it saved a checkpoint and can go on from there."""

    by_all = True

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal  # what a shell reports of a process that the signal ended
