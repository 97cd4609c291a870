"""Members of archives, the limits on what each kind of archive unpacks to, and a check for unsafe names."""

import io
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from corpus.document import Failed, Skipped
from corpus.formats.budget import UNLIMITED, Limits

_MAX_NAME = 4096  # of any path. Source: Linux, PATH_MAX
_NOT_TEXT = re.compile(r"[\x01-\x1f\x7f\ud800-\udfff]")


# Source code packs to a tenth, seldom to a fiftieth.
REPOSITORY_LIMITS = Limits(100_000_000, ratio=200, members=1_000_000)
PACKAGE_LIMITS = Limits(8_000_000_000, ratio=0, members=1_000_000, header_bytes=16_000_000)
SUBMISSION_LIMITS = Limits(1_000_000_000, ratio=0, members=20_000)  # with figures; arXiv takes 50 MB packed
BULK_LIMITS = Limits(UNLIMITED, ratio=0, members=UNLIMITED)  # tars of papers: plain, and no member is held


class ArchiveMember(NamedTuple):
    """A regular file of an archive, out of bytes [start, end) of it."""

    start: int
    end: int
    name: str  # as it stands in the archive, with `/`
    size: int
    target: BinaryIO | None  # the file that its contents were written to; None: not wanted

    @property
    def content(self) -> bytes | None:
        """The contents, if they were wanted in memory."""
        return self.target.getvalue() if isinstance(self.target, io.BytesIO) else None


Wanted = Callable[[str, int], BinaryIO | None]  # by name and size: a file to write the contents to, None to pass over
ArchiveWalk = Iterator[ArchiveMember | Skipped | Failed]  # contiguous; bytes without a file may be left at the end


def in_memory(wanted: Callable[[str, int], bool]) -> Wanted:
    """Keep the contents of the members that are `wanted`, by name and size, in memory."""
    return lambda name, size: io.BytesIO() if wanted(name, size) else None


def refusal(name: str) -> str:
    """Return the reason to skip a member of this name; "" if it may be read."""
    if leads_out(name) or len(name) > _MAX_NAME:
        return "unsafe_name"
    return "" if is_text(name) else "name_not_text"


def leads_out(name: str) -> bool:
    """Return True if a member of this name would lie, on any system, outside the folder it is unpacked to."""
    return name.startswith(("/", "\\")) or "\0" in name or ".." in re.split(r"[/\\]", name)


def is_text(name: str) -> bool:
    """Return True if the name holds neither control characters nor bytes that are not UTF-8 (as surrogates)."""
    return not _NOT_TEXT.search(name)
