"""1,000 real documents of many kinds: web pages, encyclopaedia, books, published corpora, code."""

import gzip
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

WEB, BOOKS, RECORDS, CODE = 600, 150, 170, 80
MAX_CHARACTERS = 5_000  # the reference reads 0.3 MB/s


@pytest.fixture(scope="session")
def documents(data: Path) -> list[str]:
    """The same 1,000 documents on every run; long ones are truncated."""
    pools = [(_web(data), WEB), (_books(data), BOOKS), (_records(data), RECORDS), (_code(), CODE)]
    found = [text for pool, wanted in pools for text in islice(pool, wanted)]
    assert len(found) == 1000
    return found


def _web(data: Path) -> Iterator[str]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    for name in ("pages-00000", "manuals-multilingual", "pages-00001"):
        raw = io.BytesIO(gzip.decompress((data / f"web/{name}.warc.gz").read_bytes()))
        for record in ArchiveIterator(raw, record_types=WarcRecordType.response, parse_http=True):
            content = record.reader.read()
            if "html" not in str(record.http_content_type or ""):
                continue
            text = extract_plain_text(bytes_to_str(content, detect_encoding(content)), main_content=True)
            if len(text) > 200:
                yield text[:MAX_CHARACTERS]


def _books(data: Path) -> Iterator[str]:
    """Three pieces of each book, one of them its beginning (often a list of chapters)."""
    import zstandard

    with zstandard.open(data / "books/classic-books.jsonl.zst", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            text = json.loads(line)["text"]
            for part in range(3):
                start = text.find("\n", len(text) * part // 4)
                yield text[start : start + 1_000 + 700 * (number % 7)].strip()


def _records(data: Path) -> Iterator[str]:
    import zstandard

    texts = []
    for path in sorted((data / "records").rglob("*")):
        raw = path.read_bytes() if path.is_file() else b""
        if path.name.endswith(".gz"):
            raw = gzip.decompress(raw)
        elif path.name.endswith(".zst"):
            raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
        elif path.suffix not in (".jsonl", ".json"):
            continue
        for line in raw.decode().splitlines():
            record = json.loads(line)
            texts.append(str(record.get("text") or record.get("raw_content") or ""))
    for text in texts:
        for start in range(0, min(len(text), 4 * MAX_CHARACTERS), 4_000):
            yield text[start : start + 4_000]


def _code() -> Iterator[str]:
    """Python's own library, which every machine has."""
    for path in sorted(Path(json.__file__).parents[1].glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if len(text) > 500:
            yield text[:MAX_CHARACTERS]
