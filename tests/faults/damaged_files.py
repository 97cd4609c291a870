"""Files in every container, and seeded mutants of them: flipped bits, cuts, duplicated and spliced blocks."""

import bz2
import gzip
import io
import json
import lzma
import random
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard

from corpus.sources.base import SourceSettings, catalog
from tests.corpus.formats import archive_files, warc_files
from tests.small_build import prose

DOCUMENTS = 120
PARTS = 12  # streams of a file that holds many
# 350 kB in all: several blocks of zstd, and of bzip2 at its lowest level
TEXTS = [f"Document {number}. {prose(number, 350 + 40 * (number % 9))}" for number in range(DOCUMENTS)]
SEED = 12


class Damageable(NamedTuple):
    """A sound file of a reader. `checked`: its data carry a checksum."""

    name: str  # of the file
    reader: str
    content: bytes
    checked: bool = True

    @property
    def source(self) -> dict[str, object]:
        """Settings in a recipe."""
        more = {"id_field": "id"} if self.reader == "records" else {}
        return {"reader": self.reader, "share": 1, "license": "mit", "identify_language": False, **more}

    def settings(self) -> SourceSettings:
        """Return the settings of the reader."""
        return catalog()[self.reader].settings.model_validate({"name": "a", "paths": ("x",), **self.source})


def sound_files() -> dict[str, Damageable]:
    """Return a sound file of each container."""
    lines = [json.dumps({"id": str(number), "text": text}).encode() + b"\n" for number, text in enumerate(TEXTS)]
    whole, parts = b"".join(lines), [b"".join(lines[part::PARTS]) for part in range(PARTS)]
    zstd = zstandard.ZstdCompressor(write_checksum=True).compress
    bare = zstandard.ZstdCompressor(write_checksum=False).compress
    files = {f"pack/m{number}.py": f"# {text}\n".encode() for number, text in enumerate(TEXTS)}
    records = [
        warc_files.record(warc_files.http(f"<p>{text}</p>".encode()), url=f"http://a.example/{number}")
        for number, text in enumerate(TEXTS)
    ]
    made = [
        Damageable("one.jsonl.gz", "records", gzip.compress(whole, mtime=0)),
        Damageable("many.jsonl.gz", "records", _joined(lambda data: gzip.compress(data, mtime=0), parts)),
        Damageable("one.jsonl.bz2", "records", bz2.compress(whole, 1)),
        Damageable("many.jsonl.bz2", "records", _joined(bz2.compress, parts)),
        Damageable("one.jsonl.xz", "records", lzma.compress(whole)),
        Damageable("one.jsonl.zst", "records", zstd(whole)),
        Damageable("many.jsonl.zst", "records", _joined(zstd, parts)),
        Damageable("bare.jsonl.zst", "records", bare(whole), checked=False),
        Damageable("crc.parquet", "records", _parquet(write_page_checksum=True)),
        Damageable("bare.parquet", "records", _parquet(write_page_checksum=False), checked=False),
        Damageable("files.zip", "code", archive_files.packed(".zip", files)),
        Damageable("files.tar", "code", archive_files.packed(".tar", files), checked=False),
        Damageable("files.tar.gz", "code", archive_files.packed(".tar.gz", files)),
        Damageable("files.tar.xz", "code", archive_files.packed(".tar.xz", files)),
        Damageable("records.warc.gz", "common_crawl", warc_files.packed("gz", records)),
        Damageable("one.warc.gz", "common_crawl", warc_files.packed("gz_whole", records)),
        Damageable("records.warc.lz4", "common_crawl", _joined(_checked_lz4, records)),
        Damageable("one.warc.lz4", "common_crawl", _checked_lz4(b"".join(records))),
        Damageable("bare.warc.lz4", "common_crawl", warc_files.packed("lz4", records), checked=False),
        Damageable("one.xml.bz2", "wikipedia", bz2.compress(b"".join(_dump()), 1)),
        Damageable("many.xml.bz2", "wikipedia", _joined(bz2.compress, _dump())),
    ]
    return {file.name: file for file in made}


def mutants(content: bytes, count: int, seed: int = SEED) -> list[tuple[str, bytes]]:
    """Return mutants in turn of each kind, with a description of each."""
    draw, found = random.Random(seed), list[tuple[str, bytes]]()
    kinds = (_flipped, _cut, _doubled, _spliced)
    while len(found) < count:
        how, mutant = kinds[len(found) % len(kinds)](draw, content)
        if mutant and mutant != content:
            found.append((f"mutant {len(found)}: {how}", mutant))
    return found


def is_sound(name: str, content: bytes) -> bool:
    """Return True if another library finds no fault in a compressed file: it was cut exactly between two streams."""
    try:
        if name.endswith(".zst"):
            return bool(zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read())
        decompress = {"gz": gzip.decompress, "bz2": bz2.decompress}.get(name.rpartition(".")[2])
        return decompress is not None and bool(decompress(content))
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        return False


def _flipped(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    mutant, bit = bytearray(content), draw.randrange(8 * len(content))
    mutant[bit // 8] ^= 1 << bit % 8
    return f"bit {bit % 8} of byte {bit // 8}", bytes(mutant)


def _cut(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    start, end = _block(draw, content)
    end = len(content) if draw.random() < 0.5 else end
    return f"without {start}..{end}", content[:start] + content[end:]


def _doubled(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    start, end = _block(draw, content)
    return f"{start}..{end} twice", content[:end] + content[start:]


def _spliced(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    (start, end), at = _block(draw, content), draw.randrange(len(content))
    over = end - start if draw.random() < 0.5 else 0
    return f"{start}..{end} at {at}, over {over}", content[:at] + content[start:end] + content[at + over :]


def _block(draw: random.Random, content: bytes) -> tuple[int, int]:
    size = min(len(content) - 1, int(2 ** draw.uniform(0, 15)))
    start = draw.randrange(len(content) - size)
    return start, start + size


def _joined(compress: Callable[[bytes], bytes], parts: Sequence[bytes]) -> bytes:
    return b"".join(map(compress, parts))


def _checked_lz4(data: bytes) -> bytes:
    """Return a frame with a checksum of its content, which fastwarc does not write. Source: LZ4 frame format 1.6.4"""
    frame = bytearray(warc_files.lz4(data))
    flags, end = frame[4] | 4, 6 + (8 if frame[4] & 8 else 0)
    frame[4] = flags
    frame[end] = xxhash.xxh32_intdigest(bytes(frame[4:end])) >> 8 & 0xFF
    return bytes(frame) + xxhash.xxh32_intdigest(data).to_bytes(4, "little")


def _parquet(write_page_checksum: bool) -> bytes:
    table, target = pa.table({"id": [str(n) for n in range(DOCUMENTS)], "text": TEXTS}), io.BytesIO()
    pq.write_table(
        table,
        target,
        row_group_size=DOCUMENTS // 3,
        compression="zstd",
        use_dictionary=False,
        write_page_checksum=write_page_checksum,
    )
    return target.getvalue()


def _dump() -> list[bytes]:
    """Return the streams of a dump: its head, and ten pages in each."""
    streams = ["<mediawiki><siteinfo><dbname>xwiki</dbname><base>https://x.example/wiki/Main</base></siteinfo>\n"]
    for first in range(0, DOCUMENTS, 10):
        pages = [
            f"<page><title>T{number}</title><ns>0</ns><id>{number}</id><revision><id>7</id><text>{TEXTS[number]}</text>"
            "</revision></page>\n"
            for number in range(first, first + 10)
        ]
        streams.append("".join(pages))
    return [stream.encode() for stream in [*streams, "</mediawiki>\n"]]
