"""Headers of the pages of a Parquet file, read without the pages: how much a column may decode to.

A dictionary's value may stand for any number of rows, a delta encoding repeats what came before, and a run of one byte
stands for a billion values. So neither the size of a page nor what the footer states bounds the decoded data.
Source: https://github.com/apache/parquet-format, parquet.thrift; Thrift's compact protocol.
"""

from typing import BinaryIO, NamedTuple

from corpus.document import UnreadableError

MAX_PAGES = 100_000  # of a column in a row group: 100 GB in pages of the usual size
_HEADER_BYTES = (1 << 12, 1 << 24)  # read at first, and at most. Source: Arrow, kDefaultMaxPageHeaderSize
_DELTA_BYTE_ARRAY, _MAX_DEPTH, _MAX_FIELDS = 7, 8, 1000
_SIZE, _COMPRESSED, _DATA, _DICTIONARY, _DATA_V2 = 2, 3, 5, 7, 8  # fields of a page header
_VALUES, _ENCODING, _ENCODING_V2 = 1, 2, 4  # fields of the headers within it
Fields = dict[int, "int | Fields"]


class Dictionary(NamedTuple):
    """Place of a dictionary's page behind its header, and its size when decompressed."""

    offset: int
    compressed: int
    size: int


class ColumnCost(NamedTuple):
    """Upper bounds on a column of a row group: bytes of its pages, their values, and what one value may repeat."""

    page_bytes: int
    largest_page_bytes: int
    values: int
    delta_bytes: int  # of the largest page in which a value may repeat the one before
    dictionary: Dictionary | None = None

    @property
    def repeated_bytes(self) -> int:
        """Bytes of a value that may be repeated without taking more of the file."""
        return max(self.delta_bytes, self.dictionary.size if self.dictionary else 0)


def column_cost(file: BinaryIO, start: int, size: int) -> ColumnCost:
    """Read the page headers of a column in bytes [start, start + size), up to the first that is damaged.

    Raises UnreadableError: `bomb` if there are too many, `bad_parquet` for an unknown page or a second dictionary.
    """
    at, end = start, start + size
    pages = largest = values = delta = count = 0
    dictionary = None
    while at < end:
        count += 1
        if count > MAX_PAGES:
            raise UnreadableError("bomb")
        try:
            fields, length = _header(file, at, end)
            page, compressed = _number(fields, _SIZE), _number(fields, _COMPRESSED)
        except ValueError:  # the rows of the pages before it can be read
            break
        at += length + compressed
        pages += page
        largest = max(largest, page)
        inner = next((value for key in (_DATA, _DATA_V2) if isinstance(value := fields.get(key), dict)), None)
        if inner is None and _DICTIONARY not in fields:
            raise UnreadableError("bad_parquet")  # Arrow passes over such a page, and reads on wherever it leads
        if inner is not None:
            number = inner.get(_VALUES)
            values += number if isinstance(number, int) else 0
            if inner.get(_ENCODING_V2 if _DATA_V2 in fields else _ENCODING) == _DELTA_BYTE_ARRAY:
                delta = max(delta, page)
        if _DICTIONARY in fields:
            if dictionary is not None:
                raise UnreadableError("bad_parquet")
            dictionary = Dictionary(at - compressed, compressed, page)
    return ColumnCost(pages, largest, values, delta, dictionary)


def longest_entry(file: BinaryIO, dictionary: Dictionary, compression: str) -> int:
    """Return the bytes of the longest string in a dictionary; the dictionary's size if it cannot be read."""
    import pyarrow

    offset, compressed, size = dictionary
    file.seek(offset)
    data = file.read(compressed)
    if compression != "UNCOMPRESSED":
        try:
            codec = pyarrow.Codec("lz4_raw" if compression == "LZ4" else compression.lower())
            data = codec.decompress(data, size, asbytes=True)
        except (pyarrow.ArrowException, OSError, ValueError):
            return size
    longest = at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        longest, at = max(longest, length), at + 4 + length
    return min(longest, size)


def _header(file: BinaryIO, at: int, end: int) -> tuple[Fields, int]:
    """Return the fields of the header at an offset, and its length. Raises ValueError."""
    for size in _HEADER_BYTES:
        file.seek(at)
        header = _Compact(file.read(min(size, end - at)))
        try:
            return header.struct(), header.at
        except ValueError:
            if size == _HEADER_BYTES[-1] or size >= end - at:
                raise
    raise AssertionError


def _number(fields: Fields, key: int) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"page header without a valid field {key}")
    return value


class _Compact:
    """Reads a struct in Thrift's compact protocol; keeps its integers and structs. Raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self, depth: int = 0) -> Fields:
        fields: Fields = {}
        key = 0
        for _ in range(_MAX_FIELDS):
            head = self._byte()
            if head == 0:
                return fields
            key = key + (head >> 4) if head >> 4 else self._zigzag()
            value = self._value(head & 15, depth, in_list=False)
            if value is not None:
                fields[key] = value
        raise ValueError("too many fields")

    def _value(self, kind: int, depth: int, in_list: bool) -> "int | Fields | None":
        if depth > _MAX_DEPTH:
            raise ValueError("structs too deep")
        if kind in (1, 2):  # a boolean is its type, but one byte in a list
            return self._byte() if in_list else None
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            self._skip(8)
        elif kind == 8:
            self._skip(self._varint())
        elif kind in (9, 10):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            for _ in range(count):
                self._value(head & 15, depth + 1, in_list=True)
        elif kind == 12:
            return self.struct(depth + 1)
        else:
            raise ValueError("unknown type")
        return None

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise ValueError("page header cut off, or too long")
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("number too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, count: int) -> None:
        if count > len(self._data) - self.at:
            raise ValueError("page header cut off, or too long")
        self.at += count
