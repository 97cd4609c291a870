"""Files of a zip archive, in the order in which they lie in it and one at a time. The archive may be hostile.

The directory at its end lists its members. Members that share bytes, as those of bombs do, are refused. Source:
PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, unpack_from
from typing import BinaryIO, NamedTuple

from corpus.document import Failed, Skipped, UnreadableError
from corpus.formats.archive_member import ArchiveMember, ArchiveWalk, Wanted
from corpus.formats.budget import Budget, Limits
from corpus.formats.decompressor import Decompressor

_LOCAL = Struct("<4s2xHH16xHH")  # signature, flags, method, lengths of name and extra field
_ENTRY = Struct("<4sxB2xHH4xIIIHHH4xII")  # …, system, flags, method, CRC, sizes, three lengths, attributes, offset
_END = Struct("<4s8xII2x")  # signature, the directory's size and offset
_LOCATOR = Struct("<4s4xQ4x")  # signature, offset of the end record of 64 bits
_END64 = Struct("<4s36xQQ")  # signature, the directory's size and offset
_SIGNATURES = (b"PK\3\4", b"PK\5\6")  # of a local header; of the end, where there is no member
_MAX_COMMENT_BYTES = 0xFFFF
_READ_BYTES = 1 << 14  # at a time: they unpack to 17 MB at most, which is less than the next
_OUTPUT_BYTES = 1 << 25
_STORED, _DEFLATED = 0, 8  # other methods are rare, and their decompressors not bounded


def is_zip(head: bytes) -> bool:
    """Return True if a zip may begin with these bytes."""
    return head.startswith(_SIGNATURES)


def zip_members(path: Path, wanted: Wanted, limits: Limits) -> ArchiveWalk:
    """Yield what the archive holds; folders are no members. A link or a device is `Skipped`, and damage `Failed`."""
    size = path.stat().st_size
    span_end = reached = 0  # where the last span ended; where the last member did
    with path.open("rb") as file:
        try:
            directory = _directory(file, size)
            places, complete = _places(file, directory, limits.members)
            budget = Budget(limits)
            for offset, place in places:
                entry = _entry(file, place)
                if offset < reached:
                    yield Failed(span_end, span_end, "overlapping")
                    continue
                # Find the member's data, and where it ends: the end of its span.
                begin = _data_start(file, offset, entry) if offset < directory.start else 0
                end = (begin or offset + _LOCAL.size + len(entry.name)) + entry.packed
                reached = min(end, directory.start)
                sound = begin and end <= directory.start
                if sound and entry.name.endswith(b"/"):
                    continue
                member = _member(file, begin, entry, wanted, budget) if sound else Failed(0, 0, "bad_header")
                yield member._replace(start=span_end, end=reached)
                span_end = reached
            if not complete:
                raise UnreadableError("bad_directory")
        except UnreadableError as error:
            yield Failed(span_end, size, error.reason)


class _ZipEntry(NamedTuple):
    name: bytes
    mode: int  # of Unix; 0: not known
    encrypted: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    length: int  # of the entry itself


def _read_at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def _directory(file: BinaryIO, size: int) -> range:
    """Find the directory by the record at the end of the file, and its counterpart of 64 bits where there is one."""
    tail_start = max(0, size - _END.size - _MAX_COMMENT_BYTES)
    tail = _read_at(file, tail_start, size - tail_start)
    at = tail.rfind(_SIGNATURES[1], 0, len(tail) - _END.size + 4)
    if at < 0:
        raise UnreadableError("truncated")
    _, length, offset = _END.unpack_from(tail, at)
    end = tail_start + at
    locator = end - _LOCATOR.size
    if 0xFFFFFFFF in (length, offset) and locator >= 0:
        signature, place = _LOCATOR.unpack(_read_at(file, locator, _LOCATOR.size))
        if signature == b"PK\6\7" and place <= locator - _END64.size:
            signature, length, offset = _END64.unpack(_read_at(file, place, _END64.size))
            if signature != b"PK\6\6":
                raise UnreadableError("bad_directory")
            end = place
    if end - length != offset:
        raise UnreadableError("bad_directory")
    return range(offset, end)


def _places(file: BinaryIO, directory: range, most: int) -> tuple[list[tuple[int, int]], bool]:
    """Return the offsets of each member and its entry, in the members' order; and True if the directory is complete."""
    places, at = [], directory.start
    while at < directory.stop:
        try:
            entry = _entry(file, at)
        except UnreadableError:
            break
        places.append((entry.offset, at))
        at += entry.length
        if len(places) > most:
            raise UnreadableError("too_many_members")
    return sorted(places), at == directory.stop


def _entry(file: BinaryIO, place: int) -> _ZipEntry:
    head = _read_at(file, place, _ENTRY.size)
    if len(head) < _ENTRY.size or not head.startswith(b"PK\1\2"):
        raise UnreadableError("bad_directory")
    _, system, flags, method, crc, packed, size, named, extended, comment, attributes, offset = _ENTRY.unpack(head)
    name, extra = file.read(named), file.read(extended)
    sizes = _sizes64(extra, [size, packed, offset])
    mode = attributes >> 16 if system == 3 else 0
    length = _ENTRY.size + named + extended + comment
    return _ZipEntry(name, mode, bool(flags & 1), method, crc, sizes[1], sizes[0], sizes[2], length)


def _sizes64(extra: bytes, sizes: list[int]) -> list[int]:
    """Return the sizes, taking from the extra field those that 32 bits do not hold."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = unpack_from("<HH", extra, at)
        content = extra[at + 4 : at + 4 + length]
        if kind == 1:
            values = iter(unpack_from(f"<{len(content) // 8}Q", content))
            return [next(values, size) if size == 0xFFFFFFFF else size for size in sizes]
        at += 4 + length
    return sizes


def _data_start(file: BinaryIO, offset: int, entry: _ZipEntry) -> int:
    """Return where a member's data begins; 0 if its own header differs from the directory."""
    head = _read_at(file, offset, _LOCAL.size)
    if len(head) < _LOCAL.size:
        return 0
    signature, flags, method, named, extended = _LOCAL.unpack(head)
    same = signature == _SIGNATURES[0] and (bool(flags & 1), method) == (entry.encrypted, entry.method)
    same = same and file.read(named) == entry.name
    return offset + _LOCAL.size + named + extended if same else 0


def _member(
    file: BinaryIO, begin: int, entry: _ZipEntry, wanted: Wanted, budget: Budget
) -> ArchiveMember | Skipped | Failed:
    kind = stat.S_IFMT(entry.mode)
    if kind not in (0, stat.S_IFREG):
        return Skipped(0, 0, "link" if kind == stat.S_IFLNK else "special")
    if entry.encrypted:
        return Skipped(0, 0, "encrypted")
    if entry.method not in (_STORED, _DEFLATED):
        return Skipped(0, 0, "unsupported_compression")
    name = entry.name.decode("utf-8", "surrogateescape")
    target = wanted(name, entry.size)
    if target is not None:
        # Unpack it no further than it says, and check its size and CRC.
        size = crc = 0
        for block in _blocks(file, begin, entry):
            size, crc = size + len(block), zlib.crc32(block, crc)
            budget.spend(len(block), begin + entry.packed)
            target.write(block)
            if size > entry.size:
                break
        if (size, crc) != (entry.size, entry.crc):
            return Failed(0, 0, "bad_zip")
    return ArchiveMember(0, 0, name, entry.size, target)


def _blocks(file: BinaryIO, begin: int, entry: _ZipEntry) -> Iterator[bytes]:
    """Yield what the member unpacks to, as far as it can be read."""
    file.seek(begin)
    left, inflater = entry.packed, Decompressor("deflate", _OUTPUT_BYTES)
    while left and not inflater.eof and (block := file.read(min(_READ_BYTES, left))):
        left -= len(block)
        if entry.method == _DEFLATED:
            try:
                block = inflater.step(block)
            except UnreadableError:
                return
        yield block
