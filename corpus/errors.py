"""Errors that users can act on: what was found, what was expected, what to do."""

import errno


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


def os_error_text(error: OSError) -> str:
    """Return a line for an error of the system, such as a full disk."""
    text = ascii(error.filename)[1:-1] if isinstance(error.filename, str) else str(error.filename or "the output")
    advice = "; finished work is kept: make room, and run the same command again"
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{text}: {error.strerror or error}{advice if is_full else ''}"
