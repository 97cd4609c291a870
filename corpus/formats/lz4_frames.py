"""LZ4 frames of a WARC file. Source: LZ4 frame format 1.6.4."""

from typing import BinaryIO, ClassVar, cast

from corpus.document import UnreadableError
from corpus.formats.warc_streams import PIECE_BYTES, PROBED_BYTES, FileBytes

_MAGIC = b"\x04\x22\x4d\x18"
_BLOCK_BYTES = (1 << 16, 1 << 18, 1 << 20, 1 << 22)  # largest block, by the descriptor's size code less 4
_STORED, _SIZE = 0x80000000, 0x7FFFFFFF  # bits of the word before a block: uncompressed flag, length mask


class Lz4Frame:
    """Decompressor of one frame; a skippable frame gives nothing.

    Its end is found from its block sizes, so that fastwarc sees this frame alone.
    """

    pattern: ClassVar[bytes] = rb"\x04\x22\x4d\x18(?=[\x40-\x7f])"

    def __init__(self, file: FileBytes, start: int) -> None:
        from fastwarc.stream_io import Lz4Reader

        self.at = start
        self.reach, self._problem = _frame_end(file, start)
        skippable = bytes(file.at(start + 1, 3)) == b"\x2a\x4d\x18"
        self._bytes = _FrameBytes(file, self.reach if skippable else start, self.reach)
        self._reader = Lz4Reader(cast(BinaryIO, self._bytes))

    def piece(self) -> bytes:
        """Return the next bytes; b"" once the frame has ended. Raises UnreadableError."""
        try:
            piece: bytes = self._reader.read(PIECE_BYTES) if self._bytes.end > self._bytes.start else b""
        except OSError:
            raise UnreadableError(self._problem or "bad_lz4") from None
        if not piece and self._problem:
            raise UnreadableError(self._problem)
        self.at = self._bytes.at if piece else self.reach
        return piece

    @staticmethod
    def head(file: FileBytes, at: int) -> bytes | None:
        """Return the literals that the first block of the frame at `at` begins with; None if there is no frame."""
        blocks = _first_block(file, at)
        if blocks is None:
            return None
        size = int.from_bytes(file.at(blocks, 4), "little")
        block = bytes(file.at(blocks + 4, min(size & _SIZE, 80)))
        if not block or size & _STORED:
            return block[:PROBED_BYTES]
        literals, begin = block[0] >> 4, 1
        if literals == 15:  # a length byte follows, and after each of 255 another
            while block[begin : begin + 1] == b"\xff":
                literals += 255
                begin += 1
            literals += sum(block[begin : begin + 1])
            begin += 1
        return block[begin : begin + min(literals, PROBED_BYTES)]


class _FrameBytes:
    """Bytes [start, end) of a file, with the methods that fastwarc's reader needs."""

    def __init__(self, file: FileBytes, start: int, end: int) -> None:
        self._file, self.start, self.at, self.end = file, start, start, end

    def read(self, size: int) -> bytes:
        data = bytes(self._file.at(self.at, min(size, self.end - self.at)))
        self.at += len(data)
        return data

    def tell(self) -> int:
        return self.at - self.start


def _first_block(file: FileBytes, at: int) -> int | None:
    """Return where the first block of the frame at `at` begins; None if its header is not one."""
    head = bytes(file.at(at, 6))
    if len(head) < 6 or head[:4] != _MAGIC or head[4] >> 6 != 1 or head[4] & 2:
        return None
    if head[5] & 0x8F or head[5] >> 4 < 4:
        return None
    return at + 7 + (8 if head[4] & 8 else 0) + (4 if head[4] & 1 else 0)


def _frame_end(file: FileBytes, start: int) -> tuple[int, str | None]:
    """Return where the frame ends; or where its sound blocks end, and what is wrong after them."""
    head = bytes(file.at(start, 8))
    if len(head) == 8 and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:  # a skippable frame states its length
        end = start + 8 + int.from_bytes(head[4:], "little")
        return (end, None) if end <= file.size else (file.size, "truncated")
    at = _first_block(file, start)
    if at is None:
        return start, "bad_lz4"
    checksum = 4 if head[4] & 16 else 0
    largest = _BLOCK_BYTES[(head[5] >> 4) - 4]
    while len(word := file.at(at, 4)) == 4:
        size = int.from_bytes(word, "little")
        if size == 0:  # the end mark, and perhaps a checksum of the content
            at += 4 + (4 if head[4] & 4 else 0)
            return (at, None) if at <= file.size else (file.size, "truncated")
        if size & _SIZE > largest:
            return at, "bad_lz4"
        at += 4 + (size & _SIZE) + checksum
    return file.size, "truncated"
