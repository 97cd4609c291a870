"""WARC files made for tests, and a scanner of real ones that shares no code with the reader."""

import gzip
import io
import random
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from corpus.document import Failed, Record, Skipped, Span
from corpus.sources.common_crawl import CommonCrawlSettings, read

SETTINGS = CommonCrawlSettings(name="web", reader="common_crawl", paths=("x",), share=1.0, license="unknown")
EVERYTHING = 1 << 60


def found(path: Path, settings: CommonCrawlSettings = SETTINGS) -> list[Span]:
    """Read a file and check that its spans tile it."""
    spans = list(read(path, 0, EVERYTHING, settings))
    assert_tiled(spans, 0, path.stat().st_size)
    return spans


def assert_tiled(spans: Sequence[Span], start: int, end: int) -> None:
    at = start
    for span in spans:
        assert span.start == at <= span.end, (span.start, span.end, at)
        at = span.end
    assert at == end


def outcomes(spans: Sequence[Span]) -> dict[str, int]:
    """Count records, and skips and failures by reason."""
    counts: dict[str, int] = {}
    for span in spans:
        name = "record" if isinstance(span, Record) else f"{type(span).__name__.lower()}({span.reason})"
        counts[name] = counts.get(name, 0) + 1
    return counts


def urls(spans: Sequence[Span]) -> list[str | None]:
    return [span.url for span in spans if isinstance(span, Record)]


def failures(spans: Sequence[Span]) -> list[Failed]:
    return [span for span in spans if isinstance(span, Failed)]


def skips(spans: Sequence[Span]) -> list[Skipped]:
    return [span for span in spans if isinstance(span, Skipped)]


def http(
    body: bytes, *, status: str = "200 OK", headers: Sequence[str] = (), content_type: str | None = "text/html"
) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Type: {content_type}"] if content_type else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


def record(
    content: bytes,
    *,
    kind: str = "response",
    url: str | None = "http://a.example/",
    length: str | int | None = "",
    headers: Sequence[str] = (),
) -> bytes:
    """Make a WARC record; `length` replaces the true one, None leaves it out."""
    lines = ["WARC/1.0", f"WARC-Type: {kind}", "WARC-Date: 2024-05-06T07:08:09Z", *headers]
    lines += [f"WARC-Target-URI: {url}"] if url is not None else []
    lines += [f"Content-Length: {len(content) if length == '' else length}"] if length is not None else []
    return "\r\n".join([*lines, "", ""]).encode() + content + b"\r\n\r\n"


def page(number: int) -> bytes:
    body = f"<html><p>Page {number}: {'some words of it ' * (1 + number % 7)}</p></html>".encode()
    return record(http(body), url=f"http://good.example/{number}")


def lz4(data: bytes) -> bytes:
    from fastwarc.stream_io import Lz4Writer

    target = _KeptOpen()
    writer = Lz4Writer(target)
    writer.write(data)
    writer.close()
    return target.getvalue()


class _KeptOpen(io.BytesIO):
    def close(self) -> None:
        pass


def packed(container: str, records: Sequence[bytes]) -> bytes:
    """Put records into a container: `gz` and `lz4` hold one per member, `gz_whole` and `lz4_whole` all in one."""
    each = {"gz": lambda data: gzip.compress(data, mtime=0), "lz4": lz4, "plain": lambda data: data}
    name, _, whole = container.partition("_")
    return b"".join(each[name](data) for data in ([b"".join(records)] if whole else records))


def scan_gzip(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return start, end and decompressed bytes of each member of a sound file."""
    members, at = [], 0
    while at < len(data):
        inflater = zlib.decompressobj(wbits=31)
        inflated = inflater.decompress(data[at:])
        assert inflater.eof
        members.append((at, len(data) - len(inflater.unused_data), inflated))
        at = members[-1][1]
    return members


def scan_lz4(data: bytes) -> list[tuple[int, int]]:
    """Return start and end of each frame of a sound file."""
    frames, at = [], 0
    while at < len(data):
        start = at
        magic, flags = struct.unpack_from("<IB", data, at)
        assert magic == 0x184D2204
        at += 7 + 8 * bool(flags & 8) + 4 * bool(flags & 1)
        while size := struct.unpack_from("<I", data, at)[0]:
            at += 4 + (size & 0x7FFFFFFF) + 4 * bool(flags & 16)
        at += 4 + 4 * bool(flags & 4)
        frames.append((start, at))
    return frames


def scan_plain(data: bytes) -> list[tuple[int, int]]:
    """Return start and end of each record of a file whose contents hold no version line."""
    starts = [match.start() for match in re.finditer(rb"(?m)^WARC/1\.[01]\r\n", data)]
    return list(zip(starts, [*starts[1:], len(data)], strict=True))


def bomb() -> bytes:
    head = record(b"", length=200_000_000)[:-4]
    packer = zlib.compressobj(wbits=31)
    return packer.compress(head) + b"".join(packer.compress(bytes(10_000_000)) for _ in range(20)) + packer.flush()


CONTAINERS = ("gz", "gz_whole", "lz4", "lz4_whole", "plain")
NOISE = random.Random(7).randbytes(3000)
GOOD = [page(number) for number in range(100)]
GOOD_URLS = [f"http://good.example/{number}" for number in range(100)]
