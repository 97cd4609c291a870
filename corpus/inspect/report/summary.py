"""summary.json: the numbers of a build's report. The page and the terminal tables show nothing else.

Documents and records are counts. `bytes` are of UTF-8 text, `input_bytes` of files as they lie on disk.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, ValidationError

from corpus.errors import InputError
from corpus.settings import Strict
from corpus.store.corpus_manifest import ShardEntry, Totals
from corpus.store.ledger import FileLoss, LedgerEntry
from corpus.store.products import canonical

REVISION = 6  # raise it when a summary or its page changes
FORMAT_VERSION: Literal[3] = 3
FILE_NAME = "summary.json"
UNKNOWN_LANGUAGE = "und"  # ISO 639-2: undetermined
ENDS = ("training shards", "holdout shards", "over quota", "duplicate", "dropped by a rule", "skipped", "failed")


class ReportStep(Strict):
    """A stage that decides about documents."""

    stage: str
    title: str


FORMER_STEPS = (  # of summaries before version 3
    ReportStep(stage="clean", title="Rules"),
    ReportStep(stage="text", title="Duplicates"),
    ReportStep(stage="mix", title="Quota"),
)


class OutcomeCount(Strict):
    """An entry of one of the source's ledgers. Only those of the first stage count `input_bytes` of files."""

    stage: str  # a kind of job
    outcome: str
    reason: str
    records: int
    input_bytes: int
    text_bytes: int

    @classmethod
    def of(cls, stage: str, entry: LedgerEntry) -> "OutcomeCount":
        """Copy a ledger's entry, without its source."""
        return cls(stage=stage, **{name: value for name, value in entry._asdict().items() if name != "source"})

    @property
    def end(self) -> str:
        """Name of the place where these records ended, if their outcome is not `kept`."""
        if self.reason == "over_quota":
            return "over quota"
        return {"merged": "duplicate", "dropped": "dropped by a rule"}.get(self.outcome, self.outcome)


class DocumentOrigin(Strict):
    """A document, and where it comes from."""

    id: str
    url: str | None
    origin: str  # file@offset


class Example(DocumentOrigin):
    """A document to look at: one with the smallest ids among all with its outcome and reason."""

    reason: str  # "" for a kept one
    value: float | None
    language: str
    excerpt: str | None  # None: the text was not kept


class RuleCount(Strict):
    """Documents that failed a rule of the recipe, or a gate before the rules (which has no bound)."""

    name: str
    bound: str
    stated_by: str
    dropped: int  # documents credited to it: it was the first rule that they failed
    failing: int  # all documents that failed it
    alone: int = 0  # documents that failed no other rule
    examples: tuple[Example, ...]


class RulePair(Strict):
    """Documents that failed both of two rules."""

    first: str
    second: str
    documents: int


class RuleSetCount(Strict):
    """Documents that would fail a rule set with its published bounds."""

    name: str
    rules: int
    rules_in_use: int  # in this source's recipe, there maybe with other bounds
    documents: int  # for which any of its signals was measured
    would_drop: int


class Histogram(Strict):
    """Values of a rule's signal; bin i is [edges[i], edges[i + 1]), and the outer bins include all values beyond."""

    rule: str
    at_least: float | None
    at_most: float | None
    logarithmic: bool
    yes_or_no: bool = False  # two bins: for 0 and for 1
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    not_measured: int


class HostCount(Strict):
    """Documents whose URL has this host."""

    host: str  # in lower case, without its port
    kept: int  # by the rules
    dropped: int


class HostCounts(Strict):
    """A source's documents by the hosts of their URLs."""

    top: tuple[HostCount, ...]
    different: int | None  # None: more than were counted
    kept: int  # documents of any host
    dropped: int
    without: int  # documents with no URL, or with a URL that has no host


class LengthBucket(Strict):
    """Documents of at least this many tokens and less than twice as many."""

    at_least: int
    train: int
    holdout: int


class Merge(Strict):
    """Duplicates in one source whose surviving documents are in another (or the same) source."""

    source: str
    survivor_source: str
    reason: str  # exact or near
    documents: int


class Excerpt(DocumentOrigin):
    """A few lines of one text of a pair of duplicates."""

    source: str
    from_word: int  # 0: the text's beginning
    pieces: tuple[tuple[str, bool], ...]  # text, and True if it is in a word n-gram of both texts
    more: bool  # True if the text goes on


class DuplicatePair(Strict):
    """A duplicate next to the document that survived."""

    reason: str  # exact or near
    intersection: int  # of their sets of word n-grams
    union: int
    removed: Excerpt
    survivor: Excerpt


class Outlier(Strict):
    """A measure in which one of several similar parts stands out."""

    measure: str
    value: float
    median: float
    score: float  # robust z


class OutlyingPart(Strict):
    """A part of a source's input whose documents are unlike those of the other parts."""

    part: int  # the task of clean
    documents: int
    outliers: tuple[Outlier, ...]


class LostInput(Strict):
    """An input file of which bytes could not be read."""

    file: str
    input_bytes: int
    lost_bytes: int
    reasons: tuple[str, ...]  # the one that cost most first

    @classmethod
    def of(cls, loss: FileLoss) -> "LostInput":
        """Copy a loss."""
        return cls(**loss._asdict())


class SourceSummary(Strict):
    """All numbers of one source, in the order in which documents pass through the build."""

    name: str
    license: str
    priority: int
    files: int
    files_lost: int = 0  # files of which bytes could not be read
    losses: tuple[LostInput, ...] = ()  # the largest
    without_checksum: dict[str, int] = Field(default_factory=dict)  # files whose data carry none, by format
    outcomes: tuple[OutcomeCount, ...] = Field(validation_alias=AliasChoices("outcomes", "fates"))
    rules: tuple[RuleCount, ...]
    together: tuple[RulePair, ...] = ()  # the most frequent pairs
    rule_sets: tuple[RuleSetCount, ...]
    signals: tuple[Histogram, ...]
    languages: dict[str, int]  # of the documents that the rules kept
    hosts: HostCounts | None = None  # None: no document has a URL
    kept_examples: tuple[Example, ...]
    duplicates: tuple[DuplicatePair, ...] = ()  # removed from this source
    parts_compared: int = 0  # of its input; 0: too few, or too small, to find outliers
    outlying_parts: tuple[OutlyingPart, ...] = ()
    share_asked: float
    share_got: float
    tokens_asked: int | None  # None: all there are
    train: Totals
    holdout: Totals
    holdout_thin: bool
    lengths: tuple[LengthBucket, ...]

    def count(self, stage: str, outcome: str | None = None, field: str = "records") -> int:
        """Return the sum of a column over the outcomes of a stage (None: any outcome)."""
        return sum(
            getattr(row, field) for row in self.outcomes if row.stage == stage and outcome in (None, row.outcome)
        )

    def left(self, steps: Iterable[str]) -> list[int]:
        """Return the records read, then the documents left after each of these steps."""
        return [self.records_read, *(self.count(stage, "kept") for stage in steps)]

    @property
    def records_read(self) -> int:
        """All records found in its files."""
        return sum(row.records for row in self.outcomes if row.stage == self.outcomes[0].stage)

    @property
    def input_bytes(self) -> int:
        """Bytes of its files."""
        return sum(row.input_bytes for row in self.outcomes if row.stage == self.outcomes[0].stage)

    @property
    def lost_bytes(self) -> int:
        """Bytes of its files that could not be read."""
        return self.count(self.outcomes[0].stage, "failed", "input_bytes") if self.outcomes else 0

    @property
    def used(self) -> int:
        """Documents in token shards, of either split."""
        return self.train.documents + self.holdout.documents

    @property
    def tokens_short(self) -> int | None:
        """Training tokens that are missing from the number asked for."""
        return None if self.tokens_asked is None else max(0, self.tokens_asked - self.train.tokens)

    def ends(self) -> dict[str, int]:
        """Return the records by where they ended; the counts add up to `records_read`."""
        counts = dict.fromkeys(ENDS, 0)
        counts |= {ENDS[0]: self.train.documents, ENDS[1]: self.holdout.documents}
        for row in self.outcomes:
            if row.outcome != "kept":
                counts[row.end] += row.records
        return counts


class ShardRow(ShardEntry):
    """A token shard, with its share of its source's split."""

    source: str
    share_of_split: float  # of the tokens
    compared: bool = False  # with the other shards of its split
    outliers: tuple[Outlier, ...] = ()


class Summary(Strict):
    """All numbers of a build."""

    format_version: Literal[1, 2, 3] = FORMAT_VERSION
    name: str
    recipe: str
    seed: int
    tokens_asked: int | None
    tokens_got: int
    shortfall: str
    tokenizer_sha256: str
    vocabulary: int
    steps: tuple[ReportStep, ...] = FORMER_STEPS  # in the order of the build
    sources: tuple[SourceSummary, ...]
    merges: tuple[Merge, ...]
    dedup: dict[str, int]  # counters of dedup's comparisons
    shards: tuple[ShardRow, ...]

    @property
    def titles(self) -> dict[str, str]:
        """Titles of the steps, by stage."""
        return {step.stage: step.title for step in self.steps}

    @property
    def records_read(self) -> int:
        """All sources' records."""
        return sum(source.records_read for source in self.sources)

    def ends(self) -> dict[str, int]:
        """Return all sources' records by where they ended."""
        ends: Counter[str] = Counter()
        for source in self.sources:
            ends.update(source.ends())
        return ends

    def text(self) -> str:
        """Return the content of summary.json."""
        return canonical(json.loads(self.model_dump_json()))


def read_summary(folder: Path) -> Summary:
    """Read a build's summary. Raises InputError if it is missing, damaged, or of a newer release."""
    path = folder / FILE_NAME
    try:
        return Summary.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; the build is not finished: run `corpus build` again") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        expected = f"expected a summary of format_version 1 to {FORMAT_VERSION}"
        raise InputError(f"{path}: {expected}; {field}: {first['msg']}") from None
