"""Readers of the field's sources, and the settings that a recipe gives them.

A reader is one file in this folder with a module-level `READER`; `catalog` finds them by file name.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import Field, StringConstraints

import corpus.sources
from corpus.document import Document, Record, Skipped, Span
from corpus.fetch.access import Access
from corpus.formats.checksums import missing_checksum
from corpus.quality.datatrove_steps import Step
from corpus.quality.rule import Bound
from corpus.settings import Quantity, Share, Strict

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]  # `en`, not `english`


class Language(Strict):
    """Languages to keep (ISO 639, as lid.176 names them), and the lowest score that counts as identified."""

    keep: Annotated[tuple[LanguageCode, ...], Field(min_length=1)]
    at_least: Share = 0.65  # Source: FineWeb (Penedo et al. 2024), section 3.3


class SourceSettings(Strict):
    """Settings of every source in a recipe. A reader adds its own fields and narrows `reader` to its name."""

    name: Name
    reader: str
    paths: Annotated[tuple[str, ...], Field(min_length=1)]
    share: Share
    license: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]  # SPDX, or "unknown"
    priority: int = 0  # of two duplicates, the one of higher priority stays
    identify_language: bool = True
    language: Language | None = None  # None: identified and recorded, but no document is dropped for it
    rules: tuple[str, ...] = ()  # rule sets or single rules, in the order in which drops are credited
    bounds: dict[str, Bound] = Field(default_factory=dict)
    steps: tuple[Step, ...] = ()  # datatrove steps: formatters edit texts before the rules, filters judge after them
    holdout: bool = True  # False: no cluster whose survivor is in this source is held out
    max_failed: Share = 0.01
    stream: bool = False  # True: read remote files in place, each as one task, without keeping a copy
    max_record_bytes: Annotated[Quantity, Field(ge=1)] = 32_000_000

    # Settings excluded from fingerprints because they only locate files.
    location_fields: ClassVar[frozenset[str]] = frozenset({"paths", "stream"})

    @property
    def lists(self) -> tuple[str, ...]:
        """Paths and addresses of lists that the reader looks things up in."""
        return ()

    @property
    def selects(self) -> bool:
        """True if the reader's `select` builds the input file from an index."""
        return False


SettingsT = TypeVar("SettingsT", bound=SourceSettings)


@dataclass(frozen=True)
class Reader(Generic[SettingsT]):
    """Functions that turn the files of one kind of source into documents.

    `read(path, start, end, settings)` yields the spans that begin in bytes [start, end) of a file, in order and without
    gaps. The first starts at `start`, and the last ends at the `start` of the next range or at the end of the file (it
    may lie past `end`). `start` is 0 or one of the `cuts`. Bad bytes are `Failed` spans, never exceptions.
    `cuts(path, wanted, settings)` returns, for each wanted offset, the first offset at or after it at which reading may
    begin (the file's size if there is none). Both depend on the bytes of the file alone.
    `document(record, settings)` extracts the text. Raises UnreadableError.
    `listing(settings, access)` returns addresses that the settings name beside `paths`, such as those of a crawl id.
    `select(index, settings, access, target)`, if `settings.selects`, writes the one file to read (`target`) from a
    local copy of an index; its bytes depend on the index and the settings alone.
    `missing_checksum(path)` returns the format of a file if damage in its data can go unnoticed; None if it cannot.
    """

    settings: type[SettingsT]
    read: Callable[[Path, int, int, SettingsT], Iterator[Span]]
    cuts: Callable[[Path, Sequence[int], SettingsT], list[int]]
    document: Callable[[Record, SettingsT], Document]
    revision: int  # raise whenever the output changes
    libraries: tuple[str, ...] = ()  # distributions whose version affects the output
    extracts: bool = True  # False: a record's content is its text, so `document` parses nothing
    listing: Callable[[SettingsT, Access], Sequence[str]] | None = None
    select: Callable[[Path, SettingsT, Access, Path], None] | None = None
    missing_checksum: Callable[[Path], str | None] = missing_checksum


def never_cut(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """Return the cuts of a file that is read at once, in the range that begins at 0; see `Reader.cuts`."""
    size = path.stat().st_size
    return [0 if offset <= 0 else size for offset in wanted]


def filled(spans: Iterator[Span], start: int, stop: int) -> Iterator[Span]:
    """Yield the spans of [start, stop), the last one drawn out to `stop`; without any, all of it is `empty`."""
    if start >= stop:
        return
    last: Span | None = None
    for span in spans:
        if last:
            yield last
        last = span
    yield (last or Skipped(start, stop, "empty"))._replace(end=stop)


@cache
def catalog() -> Mapping[str, Reader[SourceSettings]]:
    """Return all readers by file name, which is the `reader` of a recipe."""
    readers: dict[str, Reader[SourceSettings]] = {}
    for module in sorted(pkgutil.iter_modules(corpus.sources.__path__), key=lambda m: m.name):
        reader = vars(importlib.import_module(f"corpus.sources.{module.name}")).get("READER")
        if isinstance(reader, Reader):
            readers[module.name] = reader
    return readers
