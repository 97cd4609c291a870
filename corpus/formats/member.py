"""What an archive's walk yields, and what no walk does: unpack without end, or believe a hostile name."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from corpus.document import Failed, Skipped
from corpus.formats.package_archive import MAX_MEMBERS, leads_out, spelt_as_text

BOMB_BYTES = 100_000_000  # unpacked, that no ratio is asked of
BOMB_RATIO = 200  # of bytes unpacked to bytes read so far; source code packs to a tenth, seldom to a fiftieth

_MAX_NAME = 4096  # of any path. Source: Linux, PATH_MAX


class Member(NamedTuple):
    """A regular file of an archive, out of bytes [start, end) of it."""

    start: int
    end: int
    name: str  # as it stands there, with `/`
    size: int
    content: bytes | None  # None: not wanted


Wanted = Callable[[str, int], bool]  # whether the contents of a file of that name and size are kept
Walk = Iterator[Member | Skipped | Failed]  # contiguous from 0 on; bytes that hold no file may be left over at the end


class BrokenError(Exception):
    """The archive cannot be read on from here; `reason` goes to the ledger."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Meter:
    """What an archive unpacked to, against what was read of it. Its methods raise BrokenError."""

    def __init__(self) -> None:
        self._unpacked = self._members = 0

    def add(self, unpacked: int, read: int) -> None:
        """So much more was unpacked, and so much of the file was read till now."""
        self._unpacked += unpacked
        if self._unpacked > BOMB_BYTES + BOMB_RATIO * read:
            raise BrokenError("bomb")

    def member(self) -> None:
        """One more member."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BrokenError("too_many_members")


def refusal(name: str) -> str:
    """Why a member of this name is not looked at; "" if it may be."""
    if leads_out(name) or len(name) > _MAX_NAME:
        return "unsafe_name"
    return "" if spelt_as_text(name) else "name_not_text"
