"""Budget of a reader: how much a file may unpack to, so that a small file cannot fill the memory, the disk or the time.

A reader spends from it before it holds or yields what it read. The budget depends on the bytes of the file alone; the
limits of `corpus/parse_limits.py` on CPU time and memory are behind it. Each spending starts the CPU time anew, since
the budget bounds how often that can happen.
"""

from typing import NamedTuple

from corpus.document import UnreadableError
from corpus.parse_limits import rearm


class Limits(NamedTuple):
    """Limits on reading a file: `unpacked_bytes` in all, and `ratio` more for each byte of the file read so far."""

    unpacked_bytes: int
    ratio: int
    members: int  # files of an archive, rows of a table
    header_bytes: int = 1 << 20  # of one header that only describes what follows


UNLIMITED = 1 << 62


class Budget:
    """Counts what a file unpacks to, against what was read of it. Its methods raise UnreadableError."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._unpacked = self._members = 0

    def spend(self, unpacked: int, read: int) -> None:
        """Count `unpacked` bytes more, after `read` bytes of the file in all."""
        rearm()
        self._unpacked += unpacked
        if self._unpacked > self.limits.unpacked_bytes + self.limits.ratio * read:
            raise UnreadableError("bomb")

    def member(self, count: int = 1) -> None:
        """Count more members."""
        self._members += count
        if self._members > self.limits.members:
            raise UnreadableError("too_many_members")
