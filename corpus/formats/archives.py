"""Files of an archive of any kind, recognized by its first bytes: tar, plain or compressed, or zip.

Nothing is written to the disk by the walk itself, and one file at a time is in memory.
"""

from collections.abc import Callable
from pathlib import Path

from corpus.document import Failed, Skipped
from corpus.formats.archive_member import (
    REPOSITORY_LIMITS,
    ArchiveMember,
    ArchiveWalk,
    Wanted,
    in_memory,
    refusal,
)
from corpus.formats.budget import Limits
from corpus.formats.compressed import container, head, pieces
from corpus.formats.tar_members import BLOCK_BYTES, DecompressedBytes, PlainBytes, is_tar, tar_members
from corpus.formats.zip_members import is_zip, zip_members


def members(path: Path, wanted: Callable[[str, int], bool]) -> ArchiveWalk:
    """Yield what an archive of a repository holds, with the contents of what is `wanted` by name and size in memory.

    A file whose name leads elsewhere or is no text is `Skipped`. See `archive_walk`.
    """
    target = in_memory(lambda name, size: not refusal(name) and wanted(name, size))
    for member in archive_walk(path, target, REPOSITORY_LIMITS):
        if isinstance(member, ArchiveMember) and (reason := refusal(member.name)):
            yield Skipped(member.start, member.end, reason)
        else:
            yield member


def archive_walk(path: Path, wanted: Wanted, limits: Limits) -> ArchiveWalk:
    """Yield what the archive holds, in its order, as contiguous spans from 0 on.

    Folders have no span of their own. The contents of a file that is not `wanted` are passed over. What is no regular
    file is `Skipped`; what cannot be read is `Failed`, with what is wrong with it. Names may be hostile.
    """
    kind = container(path)
    begin = head(path, kind, BLOCK_BYTES)
    size = path.stat().st_size
    if kind == "plain" and is_zip(begin):
        yield from zip_members(path, wanted, limits)
    elif not is_tar(begin):
        yield Failed(0, size, "truncated" if len(begin) < BLOCK_BYTES else "not_an_archive")
    elif kind == "plain":
        with path.open("rb") as file:
            yield from tar_members(PlainBytes(file, 0, limits), wanted)
    else:
        yield from tar_members(DecompressedBytes(pieces(path, 0, size, kind), size, limits), wanted)
