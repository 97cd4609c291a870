"""What a Summary is made of: counts by rule, bin, host and shard, and a few documents to look at."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from corpus.store.ledger import LedgerEntry

UNKNOWN_LANGUAGE = "und"  # ISO 639-2: undetermined


Stage = Literal["clean", "text", "mix"]  # jobs with a ledger by source


class Model(BaseModel):
    """Strict, and nothing in it changes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Fate(Model):
    """An entry of one of the source's ledgers, as it stands there. `input_bytes` count in clean alone."""

    stage: Stage
    outcome: str
    reason: str
    records: int
    input_bytes: int
    text_bytes: int

    @classmethod
    def of(cls, stage: Stage, entry: LedgerEntry) -> "Fate":
        """The same entry, less its source."""
        return cls(stage=stage, **{name: value for name, value in entry._asdict().items() if name != "source"})


class Example(Model):
    """A document to look at: of all that met this fate, one of the smallest ids."""

    id: str
    reason: str  # "" for a kept one
    value: float | None
    url: str | None
    origin: str  # file@offset
    language: str
    excerpt: str | None  # None: the text was not kept


class RuleCount(Model):
    """What a rule of the recipe did, or (without a bound) a gate before the rules."""

    name: str
    bound: str
    stated_by: str
    dropped: int  # credited to it: the first to say no
    failing: int  # all documents that it said no to
    alone: int = 0  # those that no other rule said no to
    examples: tuple[Example, ...]


class RulePair(Model):
    """Two rules that said no to the same documents."""

    first: str
    second: str
    documents: int


class RuleSetCount(Model):
    """What a rule set, with its published bounds, says of the documents of which it measures anything."""

    name: str
    rules: int
    rules_in_use: int  # by this source's recipe, there maybe with other bounds
    documents: int
    would_drop: int


class Histogram(Model):
    """Values of a rule's signal; bin i is [edges[i], edges[i + 1]), and the outer bins hold what lies beyond."""

    rule: str
    at_least: float | None
    at_most: float | None
    logarithmic: bool
    yes_or_no: bool = False  # two bins: of 0 and of 1
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    not_measured: int


class HostCount(Model):
    """Documents whose address names this host."""

    host: str  # in lower case, without its port
    kept: int  # by the rules
    dropped: int


class Hosts(Model):
    """Where a source's documents are from, by the hosts of their addresses."""

    top: tuple[HostCount, ...]
    different: int | None  # None: more than were counted
    kept: int  # documents of any host
    dropped: int
    without: int  # documents that state no address, or one without a host


class LengthBucket(Model):
    """Documents of at least this many tokens and less than twice as many."""

    at_least: int
    train: int
    holdout: int


class Merge(Model):
    """Duplicates of one source that were removed for documents of another (or the same) that stay."""

    source: str
    survivor_source: str
    reason: str  # exact or near
    documents: int


class Excerpt(Model):
    """A few lines of one of two texts, in pieces: what the other has too, and what it has not."""

    id: str
    source: str
    url: str | None
    origin: str
    from_word: int  # 0: the text's beginning
    pieces: tuple[tuple[str, bool], ...]  # text, and whether it lies in a word n-gram that both texts have
    more: bool  # the text goes on


class DuplicatePair(Model):
    """A document that was removed, beside the one that it was removed for."""

    reason: str  # exact or near
    intersection: int  # of their sets of word n-grams
    union: int
    removed: Excerpt
    survivor: Excerpt


class Outlier(Model):
    """A measure by which one of several like parts stands far from the others."""

    measure: str
    value: float
    median: float
    score: float  # robust z


class OutlyingPart(Model):
    """A part of a source's input whose documents are unlike those of the other parts."""

    part: int  # the task of clean
    documents: int
    outliers: tuple[Outlier, ...]
