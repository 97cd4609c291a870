"""What a source of the field is to the rest: a reader of its files, and the settings that a recipe gives it.

A source is one file in this folder with a module-level `SOURCE`. Nothing else lists them.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

import corpus.sources
from corpus.document import Extracted, Found, Record
from corpus.fetch.access import Access
from corpus.quality.datatrove_steps import Step
from corpus.settings import Quantity, Share, Strict

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]  # `en`, not `english`


class Language(Strict):
    """Which languages stay (ISO 639, as lid.176 names them), and how sure the model must be."""

    keep: Annotated[tuple[LanguageCode, ...], Field(min_length=1)]
    at_least: Share = 0.65  # Source: FineWeb (Penedo et al. 2024), section 3.3


class Bound(Strict):
    """A recipe's own bound in place of a published one."""

    at_least: float | None = None
    at_most: float | None = None


class SourceSettings(Strict):
    """What every source of a recipe states; a reader adds its own fields, and narrows `reader` to its name."""

    name: Name
    reader: str
    paths: Annotated[tuple[str, ...], Field(min_length=1)]
    share: Share
    license: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]  # SPDX, or "unknown"
    priority: int = 0  # of two duplicates the one of higher priority stays
    identify_language: bool = True
    language: Language | None = None  # None: identified and recorded, but nothing is dropped for it
    rules: tuple[str, ...] = ()  # rule sets, or single rules, in the order that drops are credited
    bounds: dict[str, Bound] = Field(default_factory=dict)
    steps: tuple[Step, ...] = ()  # datatrove's: formatters edit texts before rules judge them, filters judge after
    holdout: bool = True  # whether clusters led by this source's documents may be held out
    max_failed: Share = 0.01
    stream: bool = False  # whether remote files are read where they lie, each as one task, and not kept
    max_record_bytes: Annotated[Quantity, Field(ge=1)] = 32_000_000

    @property
    def whereabouts(self) -> frozenset[str]:
        """The settings that say where files are, and decide nothing that the files themselves do not show."""
        return frozenset({"paths", "stream"})

    @property
    def lists(self) -> tuple[str, ...]:
        """Paths and addresses of lists that the reader looks things up in."""
        return ()

    @property
    def selects(self) -> bool:
        """Whether the reader's `select` makes the files that are read."""
        return False


@dataclass(frozen=True)
class Source:
    """A reader.

    `read(path, start, end, settings)` yields what begins in bytes [start, end) of a file, in order, as contiguous
    spans: the first starts at `start`, and the last ends at the `start` of the next range or the end of the file
    (it may lie past `end`). `start` is 0 or one of `cuts`. It raises nothing for bad bytes: they are `Failed` spans.
    `cuts(path, wanted, settings)` gives for each wanted offset the first offset at or after it at which reading may
    begin (the file's size if there is none). Both depend on the bytes of the file alone.
    `text(record, settings)` extracts; it raises UnreadableError.
    `listing(settings, access)` gives the addresses that the settings stand for beside `paths`: of a crawl by its id.
    `select(index, settings, access, target)`, where `settings.selects`, makes of each of those addresses (a local copy
    of it) the one file that is read: `target`, whose bytes depend on the index and the settings alone.
    """

    settings: type[SourceSettings]
    read: Callable[[Path, int, int, "SourceSettings"], Iterator[Found]]
    cuts: Callable[[Path, Sequence[int], "SourceSettings"], list[int]]
    text: Callable[[Record, "SourceSettings"], str | Extracted]
    revision: int  # raised whenever the output changes
    libraries: tuple[str, ...] = ()  # distributions whose version decides the output
    listing: Callable[["SourceSettings", Access], Sequence[str]] | None = None
    select: Callable[[Path, "SourceSettings", Access, Path], None] | None = None


@cache
def catalog() -> Mapping[str, Source]:
    """All sources by the name of their file, which is the `reader` of a recipe."""
    found = {}
    for module in sorted(pkgutil.iter_modules(corpus.sources.__path__), key=lambda m: m.name):
        source = vars(importlib.import_module(f"corpus.sources.{module.name}")).get("SOURCE")
        if isinstance(source, Source):
            found[module.name] = source
    return found
