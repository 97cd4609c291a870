"""What two builds differ by. Everywhere `a` is the first build and `b` the second."""

from typing import Literal

from pydantic import JsonValue

from corpus.inspect.report.summary_types import Model

ABSENT = "not in its input"  # the fate of a document that a build never saw


class SettingDiff(Model):
    """A setting of the recipe; None stands for null and for a setting that one build does not have (`only`)."""

    path: str  # sources.web.rules
    a: JsonValue
    b: JsonValue
    only: Literal["a", "b"] | None = None


class CodeDiff(Model):
    """A revision of our code, or a version of a library, that decides what a kind of job writes."""

    job: str
    name: str
    a: JsonValue
    b: JsonValue


class CountDiff(Model):
    """A count of a source."""

    name: str
    a: int
    b: int

    @property
    def difference(self) -> int:
        """What the second build has more."""
        return self.b - self.a


class FilesDiff(Model):
    """Files of a source that one build alone read: of that name and content the other has none."""

    only_a: int
    only_b: int
    first_a: tuple[str, ...]  # names, a few
    first_b: tuple[str, ...]


class RuleDiff(Model):
    """What a rule did in either build; a bound of None: the rule is not in that build's recipe."""

    rule: str
    bound_a: str | None
    bound_b: str | None
    dropped_a: int
    dropped_b: int
    failing_a: int
    failing_b: int


class Moved(Model):
    """A document, and where to find it."""

    id: str
    origin: str  # file@offset, in the first build that has it
    url: str | None
    excerpt: str | None


class Move(Model):
    """Documents whose fate differs: `training shards`, `dropped: RULE`, `duplicate: near` … or `not in its input`."""

    a: str
    b: str
    documents: int
    examples: tuple[Moved, ...]  # of the smallest ids


class SourceDiff(Model):
    """A source, in either build or in both."""

    name: str
    only: Literal["a", "b"] | None
    files: FilesDiff | None  # None: the same ones
    counts: tuple[CountDiff, ...]
    rules: tuple[RuleDiff, ...]  # that differ
    moves: tuple[Move, ...]  # the largest first
    same: int  # documents with the same fate in both

    @property
    def differs(self) -> bool:
        """Whether anything of it does."""
        counts = any(count.difference for count in self.counts)
        return bool(self.only or self.files or self.rules or self.moves or counts)

    @property
    def changed_rules(self) -> tuple[RuleDiff, ...]:
        """Rules that differ where both builds have the source."""
        return () if self.only else self.rules

    @property
    def only_a(self) -> int:
        """Documents in the first build's shards and not in the second's."""
        return sum(move.documents for move in self.moves if in_shards(move.a) and not in_shards(move.b))

    @property
    def only_b(self) -> int:
        """Documents in the second build's shards and not in the first's."""
        return sum(move.documents for move in self.moves if in_shards(move.b) and not in_shards(move.a))


class TokenizerDiff(Model):
    """Two tokenizers."""

    sha256_a: str
    sha256_b: str
    vocabulary_a: int
    vocabulary_b: int
    shared: int | None  # tokens that stand in both vocabularies; None: not both list theirs
    eos_a: str
    eos_b: str


class Diff(Model):
    """Two builds."""

    format_version: Literal[1] = 1
    folder_a: str  # as it was asked for
    folder_b: str
    name_a: str
    name_b: str
    settings: tuple[SettingDiff, ...]
    code: tuple[CodeDiff, ...]
    tokenizer: TokenizerDiff | None  # None: the same one
    sources: tuple[SourceDiff, ...]

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.settings or self.code or self.tokenizer or any(source.differs for source in self.sources))


def in_shards(fate: str) -> bool:
    """Whether a document of this fate is in token shards."""
    return fate in ("training shards", "holdout shards")
