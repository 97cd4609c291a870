"""Files of a zip archive, in the order in which they lie in it: one at a time, and whatever the archive does.

Its directory, at the end, says what there is. Members that share bytes, as those of bombs do, are refused. Source:
PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

import stat
import zlib
from pathlib import Path
from struct import Struct, unpack_from
from typing import BinaryIO, NamedTuple

from corpus.document import Failed, Skipped
from corpus.formats.member import BrokenError, Member, Meter, Walk, Wanted
from corpus.formats.package_archive import MAX_MEMBERS

_LOCAL = Struct("<4s22xHH")  # signature, lengths of name and extra field
_ENTRY = Struct("<4sxB2xHH4xIIIHHH4xII")  # …, system, flags, method, CRC, sizes, three lengths, attributes, offset
_END = Struct("<4s8xIIH")  # signature, the directory's size and offset, length of the comment
_LOCATOR = Struct("<4s4xQ4x")  # signature, offset of the end record of 64 bits
_END64 = Struct("<4s36xQQ")  # signature, the directory's size and offset
_SIGNATURES = (b"PK\3\4", b"PK\5\6")  # of a local header; of the end, where there is no member
_MAX_COMMENT_BYTES = 0xFFFF
_READ_BYTES = 1 << 14  # at a time: they inflate to 17 MB at most
_STORED, _DEFLATED = 0, 8  # other methods are rare, and their decompressors not bounded


def is_zip(head: bytes) -> bool:
    """Whether an archive may begin so."""
    return head.startswith(_SIGNATURES)


def zip_members(path: Path, wanted: Wanted) -> Walk:
    """What the archive holds; folders are no members. A link or a device is `Skipped`, and damage `Failed`."""
    size = path.stat().st_size
    told = reached = 0  # where the last span ended; where the last member did
    with path.open("rb") as file:
        try:
            directory = _directory(file, size)
            places, whole = _places(file, directory)
            meter = Meter()
            for offset, place in places:
                entry = _entry(file, place)
                if offset < reached:
                    yield Failed(told, told, "overlapping")
                    continue
                begin = _data_start(file, offset, entry) if offset < directory.start else 0
                end = begin + entry.packed if begin else offset
                reached = min(end, directory.start)
                if entry.name.endswith(b"/"):
                    continue
                if not begin or end > directory.start:
                    found: Member | Skipped | Failed = Failed(0, 0, "bad_header")
                else:
                    found = _member(file, begin, entry, wanted, meter)
                yield found._replace(start=told, end=reached)
                told = reached
            if not whole:
                raise BrokenError("bad_directory")
        except BrokenError as error:
            yield Failed(told, size, error.reason)


class _Directory(NamedTuple):
    start: int
    end: int


class _Entry(NamedTuple):
    name: bytes
    mode: int  # of Unix; 0: not known
    encrypted: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    length: int  # of the entry itself


def _directory(file: BinaryIO, size: int) -> _Directory:
    tail_start = max(0, size - _END.size - _MAX_COMMENT_BYTES)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(_SIGNATURES[1], 0, len(tail) - _END.size + 4)
    if at < 0:
        raise BrokenError("truncated")
    _, length, offset, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if 0xFFFFFFFF in (length, offset) and end >= _LOCATOR.size:
        file.seek(end - _LOCATOR.size)
        signature, place = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if signature == b"PK\6\7" and place <= end - _LOCATOR.size - _END64.size:
            file.seek(place)
            signature, length, offset = _END64.unpack(file.read(_END64.size))
            if signature != b"PK\6\6":
                raise BrokenError("bad_directory")
            end = place
    start = end - length
    if start != offset:
        raise BrokenError("bad_directory")
    return _Directory(start, end)


def _places(file: BinaryIO, directory: _Directory) -> tuple[list[tuple[int, int]], bool]:
    """Where each member and its entry lie, in the members' order; and whether the directory was read to its end."""
    places, at = [], directory.start
    while at < directory.end:
        try:
            entry = _entry(file, at)
        except BrokenError:
            break
        places.append((entry.offset, at))
        at += entry.length
        if len(places) > MAX_MEMBERS:
            raise BrokenError("too_many_members")
    return sorted(places), at == directory.end


def _entry(file: BinaryIO, place: int) -> _Entry:
    file.seek(place)
    head = file.read(_ENTRY.size)
    if len(head) < _ENTRY.size or not head.startswith(b"PK\1\2"):
        raise BrokenError("bad_directory")
    _, system, flags, method, crc, packed, size, named, extended, comment, attributes, offset = _ENTRY.unpack(head)
    name, extra = file.read(named), file.read(extended)
    sizes = _sizes64(extra, [size, packed, offset])
    mode = attributes >> 16 if system == 3 else 0
    length = _ENTRY.size + named + extended + comment
    return _Entry(name, mode, bool(flags & 1), method, crc, sizes[1], sizes[0], sizes[2], length)


def _sizes64(extra: bytes, sizes: list[int]) -> list[int]:
    """The sizes, those that 32 bits do not hold from the extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = unpack_from("<HH", extra, at)
        if kind == 1:
            values = [
                unpack_from("<Q", extra, each)[0] for each in range(at + 4, min(at + 4 + length, len(extra)) - 7, 8)
            ]
            return [values.pop(0) if size == 0xFFFFFFFF and values else size for size in sizes]
        at += 4 + length
    return sizes


def _data_start(file: BinaryIO, offset: int, entry: _Entry) -> int:
    """Where a member's data begins; 0 if its own header is not what the directory says."""
    file.seek(offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size:
        return 0
    signature, named, extended = _LOCAL.unpack(head)
    same = signature == _SIGNATURES[0] and file.read(named) == entry.name
    return offset + _LOCAL.size + named + extended if same else 0


def _member(file: BinaryIO, begin: int, entry: _Entry, wanted: Wanted, meter: Meter) -> Member | Skipped | Failed:
    kind = stat.S_IFMT(entry.mode)
    if kind not in (0, stat.S_IFREG):
        return Skipped(0, 0, "link" if kind == stat.S_IFLNK else "special")
    if entry.encrypted:
        return Skipped(0, 0, "encrypted")
    if entry.method not in (_STORED, _DEFLATED):
        return Skipped(0, 0, "unsupported_compression")
    name = entry.name.decode("utf-8", "surrogateescape")
    if not wanted(name, entry.size):
        return Member(0, 0, name, entry.size, None)
    content = _content(file, begin, entry)
    meter.add(len(content), begin + entry.packed)
    if len(content) != entry.size or zlib.crc32(content) != entry.crc:
        return Failed(0, 0, "bad_zip")
    return Member(0, 0, name, entry.size, content)


def _content(file: BinaryIO, begin: int, entry: _Entry) -> bytes:
    """What the member unpacks to: little more than it says if that is too little, and less if it is broken."""
    file.seek(begin)
    if entry.method == _STORED:
        return file.read(min(entry.packed, entry.size + 1))
    inflater, content, left = zlib.decompressobj(-zlib.MAX_WBITS), bytearray(), entry.packed
    try:
        while left and len(content) <= entry.size and not inflater.eof:
            block = file.read(min(_READ_BYTES, left))
            left -= len(block) or left
            content += inflater.decompress(block)
    except zlib.error:
        pass
    return bytes(content)
