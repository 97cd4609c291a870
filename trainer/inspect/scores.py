"""What a model's bits per byte are, and what they are held against, as `trainer` keeps them."""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(ge=0)]


class Record(BaseModel):
    """What a run writes and reads back."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)  # JSON has no NaN


class Score(Record):
    """What one source's holdout cost."""

    documents: Count  # scored
    holdout_documents: Count  # there are; more than were scored where `tokens_per_source` left some out
    overwritten: Count  # of those read, by a takedown: neither their tokens nor their bytes count
    tokens: Count  # each document's EOS with them
    bytes: Annotated[int, Field(ge=1)]  # of UTF-8 text
    bits: Real  # the summed −log₂ p of all tokens
    bits_per_byte: Real
    bits_per_token: Real
    thin: bool  # the holdout is too small to judge by


class Evaluation(Record):
    """The scores of all sources with a holdout, and how they were taken."""

    sequence_tokens: Count  # targets of a window
    stride_tokens: Count
    tokens_per_source: Count | None  # at most so many, from the holdout's start; None: all
    sources: dict[str, Score]

    @property
    def bytes(self) -> int:
        """Of all sources."""
        return sum(score.bytes for score in self.sources.values())

    @property
    def bits_per_byte(self) -> float | None:
        """Over all sources, each by its bytes; None where nothing is held out."""
        return sum(score.bits for score in self.sources.values()) / self.bytes if self.sources else None


class Yardstick(Record):
    """Of one source's holdout."""

    documents: Count  # read, less those that a takedown has overwritten
    holdout_documents: Count  # that there are
    bytes: Annotated[int, Field(ge=1)]
    unigram_bits: Real
    xz_bytes: Count | None
    xz_missing: str | None  # why there is no xz_bytes


class Levels(NamedTuple):
    """Yardsticks in bits per byte, as far as they are known."""

    unigram: float | None
    xz: float | None


class Yardsticks(Record):
    """Of all sources with a holdout."""

    tokens_per_source: Count | None = None  # as in the evaluation beside it
    sources: dict[str, Yardstick] = {}

    def levels(self, names: Iterable[str]) -> Levels:
        """Over these sources, each by its bytes; None where one of them lacks it."""
        found = [self.sources.get(name) for name in names]
        there = [each for each in found if each is not None]
        if not there or len(there) < len(found):
            return Levels(None, None)
        read, packed = sum(each.bytes for each in there), [each.xz_bytes for each in there]
        whole = [size for size in packed if size is not None]
        return Levels(
            sum(each.unigram_bits for each in there) / read,
            8 * sum(whole) / read if len(whole) == len(packed) else None,
        )
