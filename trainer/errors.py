"""Errors of a training run that the user can act on."""

from corpus.errors import CorpusError


class TrainerError(CorpusError):
    """A failed run (exit 1). Mistakes in the user's input are `corpus.errors.InputError` (exit 2)."""

    by_all = False  # True if all ranks raise the error together, so that one of them prints it


class Stopped(TrainerError):
    """The run was asked to stop. It saved a checkpoint to resume from."""

    by_all = True

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal  # as shells report a process ended by the signal
