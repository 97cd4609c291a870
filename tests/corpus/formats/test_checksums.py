"""Files without a checksum, told apart by their first bytes; tests/faults/ covers the files that readers read."""

import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from corpus.formats.checksums import missing_checksum

SKIPPABLE = b"\x5d\x2a\x4d\x18" + (100).to_bytes(4, "little") + bytes(100)
CHECKED = zstandard.ZstdCompressor(write_checksum=True).compress(b"text")
BARE = zstandard.ZstdCompressor(write_checksum=False).compress(b"text")


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"", None),
        (b"text", "plain"),
        (gzip.compress(b"text"), None),
        (CHECKED, None),
        (SKIPPABLE * 3 + CHECKED, None),
        (BARE, "zstd"),
        (SKIPPABLE * 3 + BARE, "zstd"),
        (SKIPPABLE * 50_000, "plain"),
        (lzma.compress(b"text"), None),
        (lzma.compress(b"text", check=lzma.CHECK_NONE), "xz"),
        (b"PAR1", "Parquet"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ],
)
def test_formats_are_told_by_their_first_bytes(tmp_path: Path, content: bytes, form: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert missing_checksum(path) == form
