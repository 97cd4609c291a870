"""Errors that a person can act on: what was found, what was expected, what to do."""


class CorpusError(Exception):
    """A bad input (exit 2) or a failed run (exit 1); the message is all that the user sees."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)  # one argument, so that it survives the way back from a worker


class StoppedError(CorpusError):
    """A person, or who started it, has stopped the run; what was finished is kept."""

    exit_code = 130


class InputError(CorpusError):
    """What the user wrote or named is wrong: nothing was written."""

    exit_code = 2
