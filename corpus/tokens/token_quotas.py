"""Tokens to take of each source: the settings of the mix, and integer arithmetic on them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from corpus.errors import CorpusError
from corpus.settings import Quantity, Strict
from corpus.tokens.shares import apportion, exact

REVISION = 1  # raise whenever quotas or partitions change
Shortfall = Literal["accept", "scale", "stop"]
KEYS = 2**64


class Mix(Strict):
    """Size of the corpus, and its division into shards."""

    tokens: Annotated[Quantity, Field(ge=1)] | None = None  # for training; None: all tokens of the sources
    shortfall: Shortfall = "accept"  # if a source has too few tokens: give all, shrink the corpus, or stop
    partitions: Annotated[int, Field(ge=1, le=1024)] | None = None  # per source; None: one per eight tasks of clean
    shard_bytes: Annotated[Quantity, Field(ge=1, le=512_000_000)] = 512_000_000

    RETIRED: ClassVar[Mapping[str, str]] = {
        "chunk_tokens": "the trainer chooses the size of the chunks that it shuffles; remove it"
    }


def quotas(
    shares: Mapping[str, float], available: Mapping[str, int], tokens: int | None, shortfall: Shortfall
) -> dict[str, int]:
    """Return the training tokens to take of each source.

    `accept`: its share of `tokens`, or all that it has. `scale`: its share of the largest corpus, up to `tokens`, for
    which every source has enough. `stop`: its share of `tokens`; raises CorpusError with the sources that have fewer.
    With `tokens` None, `accept` and `stop` take all tokens of each source with a share.
    """
    fractions = exact(shares)
    if shortfall == "scale":
        totals = [available[name] * share.denominator // share.numerator for name, share in fractions.items() if share]
        return apportion(min(totals if tokens is None else [*totals, tokens]), fractions)
    if tokens is None:
        return {name: available[name] if share else 0 for name, share in fractions.items()}
    wanted = apportion(tokens, fractions)
    short = {name: quota for name, quota in wanted.items() if quota > available[name]}
    if short and shortfall == "stop":
        lines = [f"  {name}: needs {quota:,} tokens, has {available[name]:,}" for name, quota in short.items()]
        advice = "lower `tokens`, add to these sources, or set `shortfall` to accept or scale"
        raise CorpusError("sources too small for their shares\n" + "\n".join(lines) + f"\n{advice}")
    return {name: min(quota, available[name]) for name, quota in wanted.items()}


def partition_keys(partition: int, partitions: int) -> tuple[int, int]:
    """Return the range [low, high) of shuffle keys of one partition."""
    return partition * KEYS // partitions, (partition + 1) * KEYS // partitions
