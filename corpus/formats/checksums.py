"""Files whose data carry no checksum, so that a reader cannot notice if some of their bytes were changed."""

import re
from pathlib import Path

_HEADER_BYTES = 64  # of a stream or page, at most
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)  # a frame without data, of zstd and LZ4 alike
_MAX_SKIPPED = 16
_CHECKED = re.compile(rb"\x1f\x8b|BZh[1-9]|PK\x03\x04|PK\x05\x06")  # gzip, bzip2 and zip always carry one
# A page's header begins with three numbers; the CRC is the optional fourth. Source: parquet.thrift, PageHeader
_PARQUET_CRC = re.compile(rb"PAR1(?:\x15[\x80-\xff]{0,4}[\x00-\x7f]){4}", re.DOTALL)


def missing_checksum(path: Path) -> str | None:
    """Return the format of a file whose data carry no checksum; None if they do, or if there are no data.

    A file of many streams or pages is judged by the first.
    """
    with path.open("rb") as file:
        begin = file.read(_HEADER_BYTES)
        for _ in range(_MAX_SKIPPED):
            if not _SKIPPABLE.match(begin):
                break
            file.seek(int.from_bytes(begin[4:8], "little") + 8 - len(begin), 1)
            begin = file.read(_HEADER_BYTES)
    if not begin or _CHECKED.match(begin):
        return None
    flags = begin[4:8].ljust(4, b"\0")
    if begin.startswith(b"\x28\xb5\x2f\xfd"):
        return None if flags[0] & 4 else "zstd"
    if begin.startswith(b"\xfd7zXZ\0"):
        return None if flags[3] & 15 else "xz"
    if begin.startswith(b"\x04\x22\x4d\x18"):
        return None if flags[0] & 20 else "LZ4"  # of the content, or of each block
    if begin.startswith(b"PAR1"):
        return None if _PARQUET_CRC.match(begin) else "Parquet"
    return "plain"
