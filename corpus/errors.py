"""Errors that users can act on: what was found, what was expected, what to do."""


class CorpusError(Exception):
    """Bad input (exit 2) or a failed run (exit 1); the user sees only the message."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)  # one argument, so that it can be pickled by a worker


class StoppedError(CorpusError):
    """The run was stopped from outside; finished work is kept."""

    exit_code = 130


class InputError(CorpusError):
    """The user's settings or arguments are wrong; nothing was written."""

    exit_code = 2
