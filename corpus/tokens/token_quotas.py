"""How many tokens each source gives: the recipe's settings, and integer arithmetic on them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from corpus.errors import CorpusError
from corpus.settings import Quantity, Strict
from corpus.tokens.shares import apportion, exact

REVISION = 1  # raised whenever other quotas or partitions come out
Shortfall = Literal["accept", "scale", "stop"]
KEYS = 2**64


class Mix(Strict):
    """What the corpus adds up to, and how it is cut into shards."""

    tokens: Annotated[Quantity, Field(ge=1)] | None = None  # for training; None: all that the sources have
    shortfall: Shortfall = "accept"  # where a source has too little: give all, shrink the whole, or stop
    partitions: Annotated[int, Field(ge=1, le=1024)] | None = None  # tasks of each source; None: one for eight of clean
    shard_bytes: Annotated[Quantity, Field(ge=1, le=512_000_000)] = 512_000_000
    chunk_tokens: Annotated[int, Field(ge=2)] = 8192  # what the trainer permutes


def quotas(
    shares: Mapping[str, float], available: Mapping[str, int], tokens: int | None, shortfall: Shortfall
) -> dict[str, int]:
    """Training tokens to take of each source.

    `accept`: its share of `tokens`, or what there is. `scale`: its share of the largest whole, up to `tokens`, that
    every source can serve. `stop`: its share of `tokens`, or CorpusError naming each short source. With `tokens` None
    nothing can be short, and `accept` and `stop` take all there is of each source with a share.
    """
    fractions = exact(shares)
    if shortfall == "scale":
        wholes = [available[name] * share.denominator // share.numerator for name, share in fractions.items() if share]
        return apportion(min(wholes if tokens is None else [*wholes, tokens]), fractions)
    if tokens is None:
        return {name: available[name] if share else 0 for name, share in fractions.items()}
    asked = apportion(tokens, fractions)
    short = {name: quota for name, quota in asked.items() if quota > available[name]}
    if short and shortfall == "stop":
        lines = [f"  {name}: asked {quota:,} tokens, available {available[name]:,}" for name, quota in short.items()]
        advice = "ask for fewer tokens, add to these sources, or set `shortfall` to accept or scale"
        raise CorpusError("sources too small for their shares\n" + "\n".join(lines) + f"\n{advice}")
    return {name: min(quota, available[name]) for name, quota in asked.items()}


def partition_keys(partition: int, partitions: int) -> tuple[int, int]:
    """The keys [low, high) of one partition; partitions in turn are the whole order."""
    return partition * KEYS // partitions, (partition + 1) * KEYS // partitions
