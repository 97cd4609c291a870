"""Files of a tar archive, plain or compressed, in its order: one at a time, and whatever the archive does.

Source: POSIX.1-2017, pax, "ustar interchange format" and "pax extended header"; GNU tar manual, "Basic Tar Format".
"""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tarfile import TarInfo
from typing import NamedTuple, Protocol

from corpus.document import Failed, Skipped
from corpus.formats.compressed import Container, Damage, Piece, offset, pieces
from corpus.formats.member import BrokenError, Member, Meter, Walk, Wanted

_BLOCK = tarfile.BLOCKSIZE
_MAX_EXTENDED_BYTES = 1 << 20  # of one header that only describes the next
_MAX_SIZE = 1 << 50
_SPARSE_GOES_ON, _SPARSE_GOES_ON_AGAIN = 482, 504  # the byte that says so of a header, and of a block behind it
_PAX_RECORD = re.compile(rb"(\d{1,9}) ([^=]{1,200})=")
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
_WITHOUT_DATA = (*_LINKS, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)


def is_tar(head: bytes) -> bool:
    """Whether an archive may begin so: with a header, or as one that holds nothing."""
    return _header(head[:_BLOCK]) is not None or (len(head) >= _BLOCK and not head[:_BLOCK].strip(b"\0"))


def tar_members(path: Path, kind: Container, wanted: Wanted) -> Walk:
    """What the archive holds; folders are no members. A link or a device is `Skipped`, and damage `Failed`.

    Behind a header that cannot be read, reading resumes at the next that can; behind a broken stream, never.
    """
    size = path.stat().st_size
    walk, start = Tar(_Unpacked(path, size, kind), wanted), 0
    try:
        while (found := walk.next()) is not None:
            end = walk.data.place
            yield found._replace(start=start, end=end)
            start = end
    except BrokenError as error:
        yield Failed(start, size, error.reason)


class Unpacked(Protocol):
    """An archive's bytes, from the first to the last."""

    @property
    def place(self) -> int:
        """The byte of the file that the next byte comes from."""

    def read(self, size: int) -> bytes:
        """So many bytes, or all that are left. Raises BrokenError."""

    def skip(self, size: int) -> int:
        """Passes over so many bytes; how many there were. Raises BrokenError."""

    def unread(self, block: bytes, place: int) -> None:
        """The next read begins with this block, of that place, again."""

    def member(self) -> None:
        """One more member is about to be read. Raises BrokenError."""


class _Unpacked:
    """The archive's bytes once decompressed, from the first to the last."""

    def __init__(self, path: Path, size: int, kind: Container) -> None:
        self._pieces: Iterator[Piece | Damage] = pieces(path, 0, size, kind)
        self._piece, self._at, self._meter = Piece(0, 0, b"", True), 0, Meter()
        self._again, self._place = b"", 0

    @property
    def place(self) -> int:
        """The byte of the file that the next byte comes from."""
        return self._place if self._again else offset(self._piece, self._at)

    def read(self, size: int) -> bytes:
        """So many bytes, or all that are left. Raises BrokenError."""
        parts, self._again = [self._again], b""
        parts += self._taken(size - len(parts[0]))
        return b"".join(parts)

    def skip(self, size: int) -> int:
        """Passes over so many bytes; how many there were. Raises BrokenError."""
        return sum(len(part) for part in self._taken(size))

    def unread(self, block: bytes, place: int) -> None:
        """The next read begins with this block, of that place, again."""
        self._again, self._place = block, place

    def _taken(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if self._at == len(self._piece.data):
                piece = next(self._pieces, None)
                if piece is None:
                    return
                if isinstance(piece, Damage):
                    raise BrokenError(piece.reason)
                self._piece, self._at = piece, 0
                self._meter.add(len(piece.data), piece.end)
            part = self._piece.data[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            yield part

    def member(self) -> None:
        self._meter.member()


class _Extended(NamedTuple):
    """What headers said of the file whose own header comes next."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False
    broken: bool = False


_Found = Member | Skipped | Failed


class Tar:
    """One archive while it is read."""

    def __init__(self, data: Unpacked, wanted: Wanted) -> None:
        self.data, self._wanted = data, wanted

    def next(self) -> _Found | None:
        """The next member, its span not yet told; None at the end. Raises BrokenError."""
        extended = _Extended()
        while True:
            block = self.data.read(_BLOCK)
            if not block and extended == _Extended():
                return None
            if len(block) < _BLOCK:
                raise BrokenError("truncated")
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
                self.data.member()
                return self._member(info, extended, block)

    def _extended(self, info: TarInfo, extended: _Extended) -> _Extended:
        if info.size > _MAX_EXTENDED_BYTES:
            self._skip(info.size)
            return extended._replace(broken=True)
        content = self._read(info.size)
        if info.type == tarfile.GNUTYPE_LONGNAME:
            return extended._replace(name=_text(content.partition(b"\0")[0]))
        return _pax(content, extended) if info.type in _PAX else extended

    def _member(self, info: TarInfo, extended: _Extended, block: bytes) -> _Found:
        name = info.name if extended.name is None else extended.name
        size = 0 if info.type in _WITHOUT_DATA else info.size if extended.size is None else extended.size
        more = info.type == tarfile.GNUTYPE_SPARSE and block[_SPARSE_GOES_ON]
        while more:
            more = self._read(_BLOCK)[_SPARSE_GOES_ON_AGAIN]
        plain = info.type in tarfile.REGULAR_TYPES and info.type != tarfile.GNUTYPE_SPARSE and not extended.sparse
        if plain and not extended.broken and self._wanted(name, size):
            return Member(0, 0, name, size, self._read(size))
        self._skip(size)
        if extended.broken:
            return Failed(0, 0, "bad_header")
        if plain:
            return Member(0, 0, name, size, None)
        return Skipped(0, 0, "link" if info.type in _LINKS else "special")

    def _read(self, size: int) -> bytes:
        content = self.data.read(size)
        if len(content) < size or self.data.skip(-size % _BLOCK) < -size % _BLOCK:
            raise BrokenError("truncated")
        return content

    def _skip(self, size: int) -> None:
        padded = size + -size % _BLOCK
        if self.data.skip(padded) < padded:
            raise BrokenError("truncated")

    def _find_header(self) -> None:
        place = self.data.place
        while len(block := self.data.read(_BLOCK)) == _BLOCK:
            if block[257:262] == b"ustar" and _header(block) is not None:
                self.data.unread(block, place)
                return
            place = self.data.place


def _header(block: bytes) -> TarInfo | None:
    try:
        info = TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return None
    return info if 0 <= info.size <= _MAX_SIZE else None


def _pax(content: bytes, extended: _Extended) -> _Extended:
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
