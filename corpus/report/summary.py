"""summary.json: what a build's report says, as numbers. The page and the terminal tables show nothing else.

Documents and records are counts. `bytes` are of UTF-8 text, `input_bytes` of files as they lie on disk.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from corpus.errors import InputError
from corpus.store.ledger import Entry
from corpus.store.manifest import Shard, Totals
from corpus.store.products import canonical

REVISION = 1  # raise it when a summary or the page of one changes
FORMAT_VERSION = 1
FILE_NAME = "summary.json"
UNKNOWN_LANGUAGE = "und"  # ISO 639-2: undetermined


Stage = Literal["clean", "text", "mix"]  # jobs with a ledger by source


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Fate(_Model):
    """An entry of one of the source's ledgers, as it stands there. `input_bytes` count in clean alone."""

    stage: Stage
    outcome: str
    reason: str
    records: int
    input_bytes: int
    text_bytes: int

    @classmethod
    def of(cls, stage: Stage, entry: Entry) -> "Fate":
        """The same entry, less its source."""
        return cls(stage=stage, **{name: value for name, value in entry._asdict().items() if name != "source"})


class Example(_Model):
    """A document to look at: of all that met this fate, the one of the smallest id."""

    id: str
    reason: str  # "" for a kept one
    value: float | None
    url: str | None
    origin: str  # file@offset
    language: str
    excerpt: str | None  # None: the text was not kept


class RuleCount(_Model):
    """What a rule of the recipe did, or (without a bound) a gate before the rules."""

    name: str
    bound: str
    stated_by: str
    dropped: int  # credited to it: the first to say no
    failing: int  # all documents that it said no to
    examples: tuple[Example, ...]


class RuleSetCount(_Model):
    """What a rule set, with its published bounds, says of all documents that were measured."""

    name: str
    rules: int
    rules_in_use: int  # by this source's recipe, there maybe with other bounds
    documents: int
    would_drop: int


class Histogram(_Model):
    """Values of a rule's signal; bin i is [edges[i], edges[i + 1]), and the outer bins hold what lies beyond."""

    rule: str
    at_least: float | None
    at_most: float | None
    logarithmic: bool
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    not_measured: int


class LengthBucket(_Model):
    """Documents of at least this many tokens and less than twice as many."""

    at_least: int
    train: int
    holdout: int


class Merge(_Model):
    """Duplicates of one source that were removed for documents of another (or the same) that stay."""

    source: str
    survivor_source: str
    reason: str  # exact or near
    documents: int


class SourceSummary(_Model):
    """All of one source, in the order in which data passes."""

    name: str
    license: str
    priority: int
    files: int
    fates: tuple[Fate, ...]
    rules: tuple[RuleCount, ...]
    rule_sets: tuple[RuleSetCount, ...]
    signals: tuple[Histogram, ...]
    languages: dict[str, int]  # of the documents that the rules kept
    kept_examples: tuple[Example, ...]
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


class ShardRow(Shard):
    """A token shard, and how much of its source's split it holds."""

    source: str
    share_of_split: float  # of the tokens


class Summary(_Model):
    """A build."""

    format_version: Literal[1] = 1
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
        raise InputError(f"{path}: not a summary of format_version {FORMAT_VERSION}: {where}: {first['msg']}") from None
