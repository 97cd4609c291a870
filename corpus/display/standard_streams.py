"""Standard output and standard error whose readers may go away, as in `corpus build 2>&1 | head`.

Standard error is a log: what cannot be written is dropped, so that it never ends the work it reports on. Standard
output is the result of a command: without a reader the command ends, with status 0.
"""

import contextlib
import io
import os
import sys
from typing import TextIO, cast


class LogStream:
    """Wraps a text stream. Writing to a closed pipe, a lost terminal or a full disk has no effect."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if possible; return the number of characters."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class ResultStream:
    """Wraps a text stream. Writing after its reader has closed the pipe raises SystemExit with status 0."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._has_reader = stream, True

    def write(self, text: str) -> int:
        """Write the text."""
        try:
            if self._has_reader:
                return self._stream.write(text)
        except BrokenPipeError:
            self._discard()
        raise SystemExit(0)

    def flush(self) -> None:
        """Flush if there is a reader. Raises nothing if not, because Python flushes at exit."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        """Send what is buffered nowhere."""
        self._has_reader = False
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def survive_closed_streams() -> None:
    """Wrap the standard streams of this process. One that it does not have becomes the null device."""
    if not isinstance(sys.stderr, LogStream):
        sys.stderr = cast(TextIO, LogStream(sys.stderr or _nowhere()))
    if isinstance(sys.stdout, io.TextIOWrapper):  # in an ASCII locale, other characters are shown as their codes
        sys.stdout.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stdout, ResultStream):
        sys.stdout = cast(TextIO, ResultStream(sys.stdout or _nowhere()))


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
