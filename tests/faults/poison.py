"""Parsers that a record's text can exhaust or crash, put into the processes of a build by `sitecustomize`.

The text `POISON:<parser>:<kind>` in a record of the reader `records` makes the parser (`read` or `document`) run into
the CPU limit, run out of memory, or crash. This file is copied to `sitecustomize.py` in a folder on PYTHONPATH.
"""

import ctypes
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import corpus.parse_limits
import corpus.sources.base
from corpus.document import Document, Record, Span
from corpus.sources.base import Reader, SourceSettings

corpus.parse_limits.CPU_S = 1  # the product's limit would make the test slow

POISON: dict[bytes, Callable[[], object]] = {
    b"cpu": lambda: re.match(r"(a+)+$", "a" * 40 + "b"),
    b"memory": lambda: bytes(3 << 30),
    b"stack": lambda: _recurse(),
    b"crash": lambda: ctypes.string_at(0),
}


def _recurse() -> None:
    _recurse()


def _swallow(parser: bytes, content: bytes) -> None:
    if poison := re.search(b"POISON:" + parser + b":([a-z]+)", content):
        POISON[poison[1]]()


def _poisoned(reader: Reader[SourceSettings]) -> Reader[SourceSettings]:
    def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
        for span in reader.read(path, start, end, settings):
            if isinstance(span, Record):
                _swallow(b"read", span.content)
            yield span

    def document(record: Record, settings: SourceSettings) -> Document:
        _swallow(b"document", record.content)
        return reader.document(record, settings)

    return replace(reader, read=read, document=document, extracts=True)


_catalog = corpus.sources.base.catalog
corpus.sources.base.catalog = lambda: {**_catalog(), "records": _poisoned(_catalog()["records"])}  # type: ignore[assignment]
