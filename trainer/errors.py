"""Errors of a training run that a person can act on."""

from corpus.errors import CorpusError


class TrainerError(CorpusError):
    """A failed run (exit 1). What the user wrote wrongly is a `corpus.errors.InputError` (exit 2)."""


class Stopped(TrainerError):
    """Somebody asked the run to stop; it saved a checkpoint and can go on from there."""

    exit_code = 143  # what a shell reports of a process that SIGTERM ended
