"""Files of an archive, whichever its kind, which its first bytes say: tar, plain or compressed, or zip.

Nothing is written to the disk, and one file at a time is in memory.
"""

from pathlib import Path

from corpus.document import Failed, Skipped
from corpus.formats.compressed import container, head
from corpus.formats.member import Member, Walk, Wanted, refusal
from corpus.formats.tar_members import is_tar, tar_members
from corpus.formats.zip_members import is_zip, zip_members

_HEAD_BYTES = 512


def members(path: Path, wanted: Wanted) -> Walk:
    """What the archive holds, in its order, as contiguous spans from 0 on.

    Folders have no span of their own. Of a file that is not `wanted` the contents are passed over. What is no regular
    file, or has a name that leads elsewhere or is no text, is `Skipped`; what cannot be read is `Failed`, by what is
    wrong with it. Memory is bounded by what is wanted.
    """
    for found in _walk(path, lambda name, size: not refusal(name) and wanted(name, size)):
        if isinstance(found, Member) and (reason := refusal(found.name)):
            yield Skipped(found.start, found.end, reason)
        else:
            yield found


def _walk(path: Path, wanted: Wanted) -> Walk:
    kind = container(path)
    begin = head(path, kind, _HEAD_BYTES)
    if kind == "plain" and is_zip(begin):
        return zip_members(path, wanted)
    if is_tar(begin):
        return tar_members(path, kind, wanted)
    return iter([Failed(0, path.stat().st_size, "truncated" if len(begin) < _HEAD_BYTES else "not_an_archive")])
