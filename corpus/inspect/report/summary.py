"""summary.json: what a build's report says, as numbers. The page and the terminal tables show nothing else.

Documents and records are counts. `bytes` are of UTF-8 text, `input_bytes` of files as they lie on disk.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from corpus.errors import InputError
from corpus.inspect.report.summary_types import (
    DuplicatePair,
    Example,
    Fate,
    Histogram,
    Hosts,
    LengthBucket,
    Merge,
    Model,
    Outlier,
    OutlyingPart,
    RuleCount,
    RulePair,
    RuleSetCount,
)
from corpus.store.corpus_manifest import ShardEntry, Totals
from corpus.store.products import canonical

REVISION = 3  # raise it when a summary or the page of one changes
FORMAT_VERSION: Literal[2] = 2
FILE_NAME = "summary.json"


class SourceSummary(Model):
    """All of one source, in the order in which data passes."""

    name: str
    license: str
    priority: int
    files: int
    fates: tuple[Fate, ...]
    rules: tuple[RuleCount, ...]
    together: tuple[RulePair, ...] = ()  # the pairs that most often said no together
    rule_sets: tuple[RuleSetCount, ...]
    signals: tuple[Histogram, ...]
    languages: dict[str, int]  # of the documents that the rules kept
    hosts: Hosts | None = None  # None: no document of it states an address
    kept_examples: tuple[Example, ...]
    duplicates: tuple[DuplicatePair, ...] = ()  # removed from this source
    parts_compared: int = 0  # of its input; 0: too few, or too small, to tell an outlier
    outlying_parts: tuple[OutlyingPart, ...] = ()
    share_asked: float
    share_got: float
    tokens_asked: int | None  # None: all there are
    train: Totals
    holdout: Totals
    holdout_thin: bool
    lengths: tuple[LengthBucket, ...]

    def count(self, stage: str, outcome: str | None = None, reason: str | None = None, field: str = "records") -> int:
        """The sum of a column over the fates of a stage (None: any)."""
        return sum(
            getattr(fate, field)
            for fate in self.fates
            if fate.stage == stage and outcome in (None, fate.outcome) and reason in (None, fate.reason)
        )

    @property
    def records_read(self) -> int:
        """All records found in its files."""
        return self.count("clean")

    @property
    def input_bytes(self) -> int:
        """The bytes of its files."""
        return self.count("clean", field="input_bytes")

    @property
    def passed_rules(self) -> int:
        """Documents that every rule let through."""
        return self.count("clean", "kept")

    @property
    def unique(self) -> int:
        """Documents left when duplicates are gone."""
        return self.count("text", "kept")

    @property
    def used(self) -> int:
        """Documents in token shards, of either split."""
        return self.count("mix", "kept")

    @property
    def tokens_short(self) -> int | None:
        """How many training tokens are missing of those asked for."""
        return None if self.tokens_asked is None else max(0, self.tokens_asked - self.train.tokens)

    def ends(self) -> list[tuple[str, int]]:
        """Where each record that was read ended, by name; the counts add up to `records_read`."""
        return [
            ("training shards", self.count("mix", "kept", "train")),
            ("holdout shards", self.count("mix", "kept", "holdout")),
            ("over quota", self.count("mix", "skipped")),
            ("duplicate", self.count("text", "merged")),
            ("dropped by a rule", self.count("clean", "dropped")),
            ("skipped", self.count("clean", "skipped")),
            ("failed", self.count("clean", "failed")),
        ]


class ShardRow(ShardEntry):
    """A token shard, and how much of its source's split it holds."""

    source: str
    share_of_split: float  # of the tokens
    compared: bool = False  # with the other shards of its split
    outliers: tuple[Outlier, ...] = ()


class Summary(Model):
    """A build."""

    format_version: Literal[1, 2] = FORMAT_VERSION
    name: str
    recipe: str
    seed: int
    tokens_asked: int | None
    tokens_got: int
    shortfall: str
    tokenizer_sha256: str
    vocabulary: int
    sources: tuple[SourceSummary, ...]
    merges: tuple[Merge, ...]
    dedup: dict[str, int]  # what was compared, and what was not
    shards: tuple[ShardRow, ...]

    def total(self) -> dict[str, int]:
        """Sums over all sources of the funnel's columns."""
        columns = ("records_read", "input_bytes", "passed_rules", "unique", "used")
        return {name: sum(getattr(source, name) for source in self.sources) for name in columns}

    def text(self) -> str:
        """The bytes of summary.json."""
        return canonical(json.loads(self.model_dump_json()))


def read_summary(folder: Path) -> Summary:
    """Reads a build's summary. Raises InputError if it is missing, damaged, or of a newer release."""
    path = folder / FILE_NAME
    try:
        return Summary.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; a build that reached its end has one: build again") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path}: not a summary of format_version 1 to {FORMAT_VERSION}: {where}: {first['msg']}"
        ) from None
