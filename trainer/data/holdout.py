"""A source's holdout as one stream of tokens: what evaluation and the yardsticks read, both the same documents.

The stream is EOS, then the documents in the manifest's order. Window i of T targets has the inputs `stream[iT:iT + T]`
and the targets `stream[iT + 1:iT + T + 1]`: each token but the first EOS is a target once, and a document's first token
is predicted from the EOS before it.

A takedown overwrites a document by EOS, so that no other moves. Such a document is in the stream, but EOS is no target
behind EOS, and its bytes do not count. Where it stood, all others are scored as before.

Legend: D documents of a shard, D1 = D + 1, N tokens of a stretch, B windows, T targets of a window.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.store.token_shards import Tokens, TokenShard
from trainer.data.corpora import Corpora, TokenSource
from trainer.data.loader import IGNORED
from trainer.data.stream import ShardMaps
from trainer.errors import TrainerError

Longs = NDArray[np.int64]


class HoldoutWindows(NamedTuple):
    """Rows for the model. Tokens of one segment belong to one document, less its EOS and with the EOS before it."""

    inputs_BT: Longs
    targets_BT: Longs  # IGNORED behind the stream's end and in overwritten documents
    segments_BT: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class HoldoutStream:
    """The documents chosen from a source's holdout: the first so many, whole."""

    name: str
    thin: bool
    eos_id: int
    documents: int  # that are scored: chosen, and not overwritten
    overwritten: int  # by takedowns, of those chosen
    holdout_documents: int  # chosen or not
    tokens: int  # of the scored documents
    bytes: int  # of their text
    shards: tuple[TokenShard, ...]
    ends: tuple[int, ...]  # where each shard's part ends in the stream without its first EOS

    def count(self, sequence_tokens: int) -> int:
        """How many windows there are; the last may be shorter."""
        return -(-self.ends[-1] // sequence_tokens)

    def stretch(self, start: int, stop: int) -> Longs:
        """`stream[start:stop]`, cut off at the stream's end."""
        stop = min(stop, self.ends[-1] + 1)
        parts = [np.array([self.eos_id] if start == 0 < stop else [], np.int64)]
        at = max(0, start - 1)  # in the stream without its first EOS
        while at < stop - 1:
            shard = bisect_right(self.ends, at)
            begin = self.ends[shard - 1] if shard else 0
            end = min(stop - 1, self.ends[shard])
            parts.append(self.shards[shard].tokens_N[at - begin : end - begin].astype(np.int64))
            at = end
        return np.concatenate(parts)

    def texts(self) -> Iterator[tuple[Tokens, int]]:
        """The tokens of each scored document, less its EOS, and the bytes that its text has."""
        begin = 0
        for shard, end in zip(self.shards, self.ends, strict=True):
            last = int(np.searchsorted(shard.offsets_D1, end - begin))
            for document in range(last):
                tokens_N = shard.tokens_N[shard.offsets_D1[document] : shard.offsets_D1[document + 1]]
                if tokens_N[0] != self.eos_id:
                    yield tokens_N[:-1], int(shard.bytes_D[document])
            begin = end


def windows(chosen: Sequence[tuple[HoldoutStream, int] | None], sequence_tokens: int, eos_id: int) -> HoldoutWindows:
    """These windows of these holdouts as rows; None is a row without targets."""
    inputs_BT = np.full((len(chosen), sequence_tokens), eos_id, np.int64)
    targets_BT = np.full_like(inputs_BT, IGNORED)
    for row, window in enumerate(chosen):
        if window is None:
            continue
        held, start = window[0], window[1] * sequence_tokens
        stream_N = held.stretch(start, start + sequence_tokens + 1)
        count = len(stream_N) - 1
        inputs_BT[row, :count] = stream_N[:-1]
        targets_BT[row, :count] = stream_N[1:]
    targets_BT[(inputs_BT == eos_id) & (targets_BT == eos_id)] = IGNORED
    segments_BT = np.cumsum(inputs_BT == eos_id, axis=1, dtype=np.int32)
    return HoldoutWindows(inputs_BT, targets_BT, segments_BT)


def open_holdouts(corpora: Corpora, tokens_per_source: int | None) -> tuple[HoldoutStream, ...]:
    """Of each source, documents from its holdout's start up to at most so many tokens, and at least one.

    None takes all. Sources of whose holdout nothing can be scored are left out.
    """
    maps, eos_id = ShardMaps(), corpora.tokenizer.eos_id
    found = (_choose(source, maps, eos_id, tokens_per_source) for source in corpora.sources.values())
    return tuple(held for held in found if held.bytes)


def overwritten(shard: TokenShard, eos_id: int) -> NDArray[np.bool_]:
    """Which documents begin with EOS, and so are nothing else."""
    flags_D: NDArray[np.bool_] = shard.tokens_N[shard.offsets_D1[:-1]] == eos_id
    return flags_D


class _Part(NamedTuple):
    """What is chosen of one shard."""

    shard: TokenShard
    documents: int
    overwritten: int
    tokens: int  # of the stream
    scored_tokens: int
    bytes: int


def _choose(source: TokenSource, maps: ShardMaps, eos_id: int, limit: int | None) -> HoldoutStream:
    parts: list[_Part] = []
    room = limit
    for written in source.holdout:
        shard = maps.open(written, source)
        if int(shard.tokens_N[-1]) != eos_id:
            raise TrainerError(
                f"{written.path}: does not end in EOS (token {eos_id}): run `corpus verify` on the build"
            )
        part = _part(shard, eos_id, room, any(each.bytes for each in parts))
        parts += [part] if part.documents else []
        if part.documents < len(shard):
            break
        room = None if room is None else max(0, room - part.tokens)
    return HoldoutStream(
        name=source.name,
        thin=source.holdout_thin,
        eos_id=eos_id,
        documents=sum(part.documents - part.overwritten for part in parts),
        overwritten=sum(part.overwritten for part in parts),
        holdout_documents=source.holdout_documents,
        tokens=sum(part.scored_tokens for part in parts),
        bytes=sum(part.bytes for part in parts),
        shards=tuple(part.shard for part in parts),
        ends=tuple(accumulate(part.tokens for part in parts)),
    )


def _part(shard: TokenShard, eos_id: int, room: int | None, has_one: bool) -> _Part:
    """The first documents of a shard that fit; unless `has_one`, the first to be scored even where it does not."""
    gone_D = overwritten(shard, eos_id)
    documents = len(shard)
    if room is not None:
        documents = int(np.searchsorted(shard.offsets_D1[1:], room, side="right"))
        if not has_one and gone_D[:documents].all():
            documents = len(shard) if gone_D.all() else int(np.argmin(gone_D)) + 1
    gone_D = gone_D[:documents]
    lengths_D = np.diff(shard.offsets_D1[: documents + 1])
    return _Part(
        shard=shard,
        documents=documents,
        overwritten=int(gone_D.sum()),
        tokens=int(lengths_D.sum()),
        scored_tokens=int(lengths_D[~gone_D].sum()),
        bytes=int(shard.bytes_D[:documents][~gone_D].sum()),
    )
