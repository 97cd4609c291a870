"""Files of a tar archive, plain or compressed, in its order and one at a time. The archive may be hostile.

Source: POSIX.1-2017, pax, "ustar interchange format" and "pax extended header"; GNU tar manual, "Basic Tar Format".
"""

import io
import os
import re
import tarfile
from collections.abc import Iterator
from tarfile import TarInfo
from typing import BinaryIO, NamedTuple

from corpus.document import Failed, Skipped, UnreadableError
from corpus.formats.archive_member import ArchiveMember, ArchiveWalk, Wanted
from corpus.formats.budget import Budget, Limits
from corpus.formats.compressed import StreamDamage, StreamPiece, offset

BLOCK_BYTES = tarfile.BLOCKSIZE
_READ_BYTES = 1 << 20  # at a time, of a plain file
_MAX_SIZE = 1 << 50
_SPARSE_CONTINUES, _SPARSE_BLOCK_CONTINUES = 482, 504  # offset of this flag in a header, and in a block after it
_PAX_RECORD = re.compile(rb"(\d{1,9}) ([^=]{1,200})=")
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
_WITHOUT_DATA = (*_LINKS, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)


def is_tar(head: bytes) -> bool:
    """Return True if a tar may begin with these bytes: with a header, or as an archive that holds nothing."""
    return _header(head[:BLOCK_BYTES]) is not None or (len(head) >= BLOCK_BYTES and not head[:BLOCK_BYTES].strip(b"\0"))


class PlainBytes:
    """The bytes of a tar on the disk from an offset on. Those that are passed over are not read.

    `place` is the offset in the file of the next byte, `size` that of the file's end.
    """

    def __init__(self, file: BinaryIO, start: int, limits: Limits) -> None:
        self._file, self.place, self.budget = file, start, Budget(limits)
        self.size = file.seek(0, os.SEEK_END)

    def parts(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes, or all that are left."""
        self._file.seek(self.place)
        while size and (part := self._file.read(min(size, _READ_BYTES))):
            self.place += len(part)
            size -= len(part)
            yield part

    def skip(self, size: int) -> int:
        """Pass over `size` bytes; return how many there were."""
        skipped = max(0, min(size, self.size - self.place))
        self.place += skipped
        return skipped


class DecompressedBytes:
    """The same of a compressed tar, out of the pieces of a file of `size` bytes. Raises UnreadableError."""

    def __init__(self, pieces: Iterator[StreamPiece | StreamDamage], size: int, limits: Limits) -> None:
        self._pieces, self.size, self.budget = pieces, size, Budget(limits)
        self._piece, self._at = StreamPiece(0, 0, b"", True), 0

    @property
    def place(self) -> int:
        return offset(self._piece, self._at)

    def parts(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if self._at == len(self._piece.data):
                piece = next(self._pieces, None)
                if piece is None:
                    return
                if isinstance(piece, StreamDamage):
                    raise UnreadableError(piece.reason)
                self._piece, self._at = piece, 0
                self.budget.spend(len(piece.data), piece.end)
            part = self._piece.data[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            yield part

    def skip(self, size: int) -> int:
        return sum(map(len, self.parts(size)))


TarBytes = PlainBytes | DecompressedBytes


def tar_members(data: TarBytes, wanted: Wanted, block: bytes = b"") -> ArchiveWalk:
    """Yield what the archive holds from the place of `data` on; folders are no members.

    A link or a device is `Skipped`, and damage `Failed`. After a bad header, resume at the next valid one; after a
    broken stream, stop. `block` is the first one, if it was read before; spans then begin after it.
    """
    archive, start = _Tar(data, wanted, block), data.place
    try:
        while (member := archive.next()) is not None:
            end = archive.place
            yield member._replace(start=start, end=end)
            start = end
    except UnreadableError as error:
        yield Failed(start, data.size, error.reason)


class _Extended(NamedTuple):
    """Fields that extended headers state of the file whose own header comes next."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False
    broken: bool = False


class _Tar:
    """One archive while it is read. Its methods raise UnreadableError."""

    def __init__(self, data: TarBytes, wanted: Wanted, block: bytes) -> None:
        self._data, self._wanted = data, wanted
        self._block, self._block_place = block, 0  # a block that was read ahead, and its place

    @property
    def place(self) -> int:
        """The offset in the file of the next header."""
        return self._block_place if self._block else self._data.place

    def next(self) -> ArchiveMember | Skipped | Failed | None:
        """Read the next member, its span still missing; None at the end."""
        extended = _Extended()
        while True:
            block, self._block = self._block or self._read(BLOCK_BYTES), b""
            if not block and extended == _Extended():
                return None
            if len(block) < BLOCK_BYTES:
                raise UnreadableError("truncated")
            if not block.strip(b"\0"):
                continue  # two of them end an archive, and another may follow
            info = _header(block)
            if info is None:
                self._find_header()
                return Failed(0, 0, "bad_header")
            if info.type in _LONG or info.type in _PAX or info.type == tarfile.XGLTYPE:
                extended = self._extended(info, extended)
            elif info.type == tarfile.DIRTYPE and not extended.broken:
                extended = _Extended()
            else:
                self._data.budget.member()
                return self._member(info, extended, block)

    def _extended(self, info: TarInfo, extended: _Extended) -> _Extended:
        if info.size > self._data.budget.limits.header_bytes:
            self._skip(info.size + -info.size % BLOCK_BYTES)
            return extended._replace(broken=True)
        content = self._padded(info.size)
        if info.type == tarfile.GNUTYPE_LONGNAME:
            return extended._replace(name=_text(content.partition(b"\0")[0]))
        return _pax(content, extended) if info.type in _PAX else extended

    def _member(self, info: TarInfo, extended: _Extended, block: bytes) -> ArchiveMember | Skipped | Failed:
        name = info.name if extended.name is None else extended.name
        size = 0 if info.type in _WITHOUT_DATA else info.size if extended.size is None else extended.size
        # The map of a sparse file goes on in blocks of its own, ahead of its data.
        more = info.type == tarfile.GNUTYPE_SPARSE and block[_SPARSE_CONTINUES]
        while more:
            more = self._padded(BLOCK_BYTES)[_SPARSE_BLOCK_CONTINUES]
        regular = info.type in tarfile.REGULAR_TYPES and info.type != tarfile.GNUTYPE_SPARSE and not extended.sparse
        target = self._wanted(name, size) if regular and not extended.broken else None
        if target is None:
            self._skip(size + -size % BLOCK_BYTES)
        else:
            self._copy(size, target)
        if extended.broken:
            return Failed(0, 0, "bad_header")
        if regular:
            return ArchiveMember(0, 0, name, size, target)
        return Skipped(0, 0, "link" if info.type in _LINKS else "special")

    def _read(self, size: int) -> bytes:
        return b"".join(self._data.parts(size))

    def _padded(self, size: int) -> bytes:
        content = io.BytesIO()
        self._copy(size, content)
        return content.getvalue()

    def _copy(self, size: int, target: BinaryIO) -> None:
        if sum(target.write(part) for part in self._data.parts(size)) < size:
            raise UnreadableError("truncated")
        self._skip(-size % BLOCK_BYTES)

    def _skip(self, size: int) -> None:
        if self._data.skip(size) < size:
            raise UnreadableError("truncated")

    def _find_header(self) -> None:
        """Go on to the next header that says it is one, or to the end."""
        place = self._data.place
        while len(block := self._read(BLOCK_BYTES)) == BLOCK_BYTES:
            if block[257:262] == b"ustar" and _header(block) is not None:
                self._block, self._block_place = block, place
                return
            place = self._data.place


def _header(block: bytes) -> TarInfo | None:
    try:
        info = TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return None
    return info if 0 <= info.size <= _MAX_SIZE else None


def _pax(content: bytes, extended: _Extended) -> _Extended:
    """Add the records of a pax header, each `LENGTH KEY=VALUE` and a newline."""
    at = 0
    while (record := _PAX_RECORD.match(content, at)) is not None:
        end = at + int(record[1])
        if end < record.end():
            break
        key, value = record[2], content[record.end() : end - 1]
        if key == b"path":
            extended = extended._replace(name=_text(value).rstrip("/"))
        elif key == b"size":
            known = value.isdigit() and len(value) < 16
            extended = extended._replace(size=int(value) if known else None, broken=extended.broken or not known)
        elif key.startswith(b"GNU.sparse."):
            extended = extended._replace(sparse=True)
        at = end
    return extended if at == len(content) else extended._replace(broken=True)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
