"""Small Common Crawl on disk: real pages in the layout and the schemas that Common Crawl publishes.

Source of the index's schema: https://github.com/commoncrawl/cc-index-table, cc-index-schema-flat.json.
"""

import gzip
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import parquet

CRAWL = "CC-MAIN-2024-22"
SEGMENT = "1715971057216.39"
INDEX = f"cc-index/table/cc-main/warc/crawl={CRAWL}"
LANGUAGES = ("eng", "deu", "fra,eng", "nld", "eng,spa", None)  # language labels of the index, given to pages in turn

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("url_surtkey", "url", "url_host_name", "url_host_tld")),
        *((f"url_host_{nth}_last_part", pa.string()) for nth in ("2nd", "3rd", "4th", "5th")),
        *((f"url_host_{part}", pa.string()) for part in ("registry_suffix", "registered_domain")),
        *((f"url_host_{part}", pa.string()) for part in ("private_suffix", "private_domain", "name_reversed")),
        ("url_protocol", pa.string()),
        ("url_port", pa.int32()),
        ("url_path", pa.string()),
        ("url_query", pa.string()),
        ("fetch_time", pa.timestamp("ms")),
        ("fetch_status", pa.int16()),
        ("fetch_redirect", pa.string()),
        *((f"content_{name}", pa.string()) for name in ("digest", "mime_type", "mime_detected", "charset")),
        *((f"content_{name}", pa.string()) for name in ("languages", "truncated")),
        ("warc_filename", pa.string()),
        ("warc_record_offset", pa.int32()),
        ("warc_record_length", pa.int32()),
        ("warc_segment", pa.string()),
    ]
)  # `crawl` and `subset` are partition folders, not columns


class Member(NamedTuple):
    """WARC record, compressed as its own gzip member."""

    packed: bytes
    url: str
    content: bytes


def read_members(path: Path) -> list[Member]:
    """Return the response records of a real WARC file in order."""
    import zlib

    members, data = [], path.read_bytes()
    while data:
        inflater = zlib.decompressobj(wbits=31)
        record = inflater.decompress(data)
        packed, data = data[: len(data) - len(inflater.unused_data)], inflater.unused_data
        if b"WARC-Type: response" in record[:200]:
            url = re.search(rb"WARC-Target-URI: (\S+)", record)
            assert url is not None
            members.append(Member(packed, url[1].decode().strip("<>"), record))
    return members


def write_crawl(
    folder: Path, members: Sequence[Member], *, files: int = 4, indexes: int = 2, group: int = 8
) -> list[str]:
    """Write the crawl and return the names of its WARC files. Records go to the files in turn."""
    names = [
        f"crawl-data/{CRAWL}/segments/{SEGMENT}/warc/CC-MAIN-20240517233122-20240518023122-{number:05d}.warc.gz"
        for number in range(files)
    ]
    rows: list[dict[str, object]] = []
    for number, name in enumerate(names):
        _write(folder / name, _packed(_information(name)))
        for place, member in enumerate(members[number::files]):
            offset = (folder / name).stat().st_size
            with (folder / name).open("ab") as file:
                file.write(member.packed)
            language = LANGUAGES[(number + place) % len(LANGUAGES)]
            rows.append(_row(member.url, name, offset, len(member.packed), language))
    wet = [_wet(folder, name, members[number::files]) for number, name in enumerate(names)]
    tables = _indexes(folder, sorted(rows, key=lambda row: str(row["url_surtkey"])), indexes, group)
    for kind, listed in (("warc", names), ("wet", wet), ("cc-index-table", tables)):
        _write(
            folder / f"crawl-data/{CRAWL}/{kind}.paths.gz", _packed("".join(f"{each}\n" for each in listed).encode())
        )
    return names


def _wet(folder: Path, warc: str, members: Sequence[Member]) -> str:
    name = warc.replace("/warc/", "/wet/").replace(".warc.gz", ".warc.wet.gz")
    packed = _packed(_information(name))
    for number, member in enumerate(members):
        text = re.sub(rb"\s*<[^>]*>\s*", b"\n", member.content[-20_000:])
        language = LANGUAGES[number % len(LANGUAGES)]
        headers = [f"WARC-Target-URI: {member.url}", "WARC-Date: 2024-05-18T01:58:10Z", "Content-Type: text/plain"]
        headers += [f"WARC-Identified-Content-Language: {language}"] if language else []
        packed += _packed(_record("conversion", headers, text))
    _write(folder / name, packed)
    return name


def _indexes(folder: Path, rows: Sequence[dict[str, object]], count: int, group: int) -> list[str]:
    """Write the columnar index as `count` files by ranges of URL keys, and one file of another subset."""
    names = []
    for number in range(count):
        part = rows[len(rows) * number // count : len(rows) * (number + 1) // count]
        names.append(f"{INDEX}/subset=warc/part-{number:05d}-4e0f5e5c-2f9f-4a4a-8e7a-fake.c000.gz.parquet")
        _table(folder / names[-1], part, group)
    other = f"{INDEX}/subset=crawldiagnostics/part-00000-4e0f5e5c-2f9f-4a4a-8e7a-fake.c000.gz.parquet"
    _table(folder / other, [{**row, "fetch_status": 404} for row in rows[:3]], group)
    return [other, *names]


def _table(path: Path, rows: Sequence[Mapping[str, object]], group: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows), SCHEMA), path, row_group_size=group, compression="gzip")


def _row(url: str, name: str, offset: int, length: int, language: str | None) -> dict[str, object]:
    split = urlsplit(url)
    host = split.hostname or ""
    labels = host.split(".")
    domain = ".".join(labels[-2:])
    nths = dict(
        zip(("tld", *(f"{nth}_last_part" for nth in ("2nd", "3rd", "4th", "5th"))), reversed(labels), strict=False)
    )
    return {
        "url_surtkey": surt(url),
        "url": url,
        "url_host_name": host,
        **{f"url_host_{part}": label for part, label in nths.items()},
        "url_host_registry_suffix": labels[-1],
        "url_host_registered_domain": domain,
        "url_host_private_suffix": labels[-1],
        "url_host_private_domain": domain,
        "url_host_name_reversed": ".".join(reversed(labels)),
        "url_protocol": split.scheme,
        "url_path": split.path,
        "url_query": split.query or None,
        "fetch_time": datetime(2024, 5, 18, 1, 58, 10),
        "fetch_status": 200,
        "content_mime_type": "text/html",
        "content_mime_detected": "application/xhtml+xml" if split.path.endswith("/") else "text/html",
        "content_languages": language,
        "warc_filename": name,
        "warc_record_offset": offset,
        "warc_record_length": length,
        "warc_segment": SEGMENT,
    }


def surt(url: str) -> str:
    """Return the sort key of the index, such as `org,example)/path`."""
    split = urlsplit(url.lower())
    host = re.sub(r"^www\d*\.", "", split.hostname or "")
    return f"{','.join(reversed(host.split('.')))}){split.path or '/'}" + (f"?{split.query}" if split.query else "")


def _information(name: str) -> bytes:
    return _record("warcinfo", [f"WARC-Filename: {Path(name).name}"], f"isPartOf: {CRAWL}\r\n".encode())


def _record(kind: str, headers: Sequence[str], content: bytes) -> bytes:
    lines = ["WARC/1.0", f"WARC-Type: {kind}", *headers, f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n\r\n"


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@dataclass
class FolderServer:
    """HTTP server of a folder on loopback, with its requests as (method, path, Range header)."""

    url: str
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    sent_bytes: int = 0


@contextmanager
def http_server(folder: Path) -> Iterator[FolderServer]:
    """Serve a folder, with range requests."""
    served = FolderServer("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, served, directory=str(folder)))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, served: FolderServer, *args: object, **kwargs: object) -> None:
        self._served = served
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        byte_range = self.headers.get("Range")
        self._served.requests.append((self.command, self.path, byte_range))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = path.stat().st_size
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", byte_range or "")
        first, last = (int(span[1]), min(int(span[2] or size - 1), size - 1)) if span else (0, size - 1)
        with path.open("rb") as file:
            file.seek(first)
            data = file.read(last + 1 - first)
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{size:x}-{path.name}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self._served.sent_bytes += len(data)
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def upload(folder: Path, endpoint: str, bucket: str) -> None:
    """Upload a folder to a bucket."""
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.upload_file(str(path), bucket, path.relative_to(folder).as_posix())
