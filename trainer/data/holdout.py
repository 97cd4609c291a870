"""A source's holdout as one stream of tokens, which evaluation and baselines share.

The stream is EOS, then the documents in the manifest's order. Window i of T targets has the inputs `stream[iT:iT + T]`
and the targets `stream[iT + 1:iT + T + 1]`: each token but the first EOS is a target once, and the first token of a
document is predicted from the EOS before it.

A takedown overwrites a document with EOS, so that no other document moves. An overwritten document stays in the stream,
but an EOS after an EOS is no target and the document's bytes do not count. Scores of other documents do not change.

Legend: D documents of a shard, D1 = D + 1, N tokens, B windows, T targets of a window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.store.token_shards import Tokens, TokenShard
from trainer.data.corpora import Corpora, TokenSource
from trainer.data.loader import IGNORED
from trainer.data.stream import ShardMaps, shard_slices
from trainer.errors import TrainerError

Longs = NDArray[np.int64]


class HoldoutWindows(NamedTuple):
    """Rows for the model. A segment is the EOS before a document and the document without its own EOS."""

    inputs_BT: Longs
    targets_BT: Longs  # IGNORED after the end of the stream and in overwritten documents
    segments_BT: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class HoldoutStream:
    """The first documents of a source's holdout."""

    name: str
    thin: bool
    eos_id: int
    documents: int  # selected and not overwritten
    overwritten: int  # selected, but overwritten by takedowns
    holdout_documents: int  # selected or not
    tokens: int  # of `documents`
    bytes: int  # of the text of `documents`
    shards: tuple[TokenShard, ...]
    ends: tuple[int, ...]  # end of each shard's part of the stream, not counting the first EOS

    def window_count(self, sequence_tokens: int) -> int:
        """Return the number of windows; the last may be shorter."""
        return -(-self.ends[-1] // sequence_tokens)

    def slice(self, start: int, stop: int) -> Longs:
        """Return `stream[start:stop]`, which ends at the end of the stream."""
        stop = min(stop, self.ends[-1] + 1)
        parts = [np.array([self.eos_id] if start == 0 < stop else [], np.int64)]
        # The first EOS is in no shard.
        for shard, first, last in shard_slices(self.shards, self.ends, max(0, start - 1), stop - 1):
            parts.append(shard.tokens_N[first:last].astype(np.int64))
        return np.concatenate(parts)

    def texts(self) -> Iterator[tuple[Tokens, int]]:
        """Yield the tokens of each document without its EOS, and the bytes of its text. Skips overwritten documents."""
        shard_start = 0
        for shard, end in zip(self.shards, self.ends, strict=True):
            selected = int(np.searchsorted(shard.offsets_D1, end - shard_start))
            for document in range(selected):
                tokens_N = shard.tokens_N[shard.offsets_D1[document] : shard.offsets_D1[document + 1]]
                if tokens_N[0] != self.eos_id:
                    yield tokens_N[:-1], int(shard.bytes_D[document])
            shard_start = end


def windows(selected: Sequence[tuple[HoldoutStream, int] | None], sequence_tokens: int, eos_id: int) -> HoldoutWindows:
    """Return windows, given by stream and number, as rows. None is a row without targets."""
    inputs_BT = np.full((len(selected), sequence_tokens), eos_id, np.int64)
    targets_BT = np.full_like(inputs_BT, IGNORED)
    for row, window in enumerate(selected):
        if window is None:
            continue
        holdout, start = window[0], window[1] * sequence_tokens
        stream_N = holdout.slice(start, start + sequence_tokens + 1)
        inputs_BT[row, : len(stream_N) - 1] = stream_N[:-1]
        targets_BT[row, : len(stream_N) - 1] = stream_N[1:]
    targets_BT[(inputs_BT == eos_id) & (targets_BT == eos_id)] = IGNORED
    segments_BT = np.cumsum(inputs_BT == eos_id, axis=1, dtype=np.int32)
    return HoldoutWindows(inputs_BT, targets_BT, segments_BT)


def open_holdouts(corpora: Corpora, tokens_per_source: int | None) -> tuple[HoldoutStream, ...]:
    """Open each source's holdout: its first documents, up to a number of tokens (None: all), but at least one.

    Leaves out sources without a document to evaluate.
    """
    maps, eos_id = ShardMaps(), corpora.tokenizer.eos_id
    holdouts = (_select(source, maps, eos_id, tokens_per_source) for source in corpora.sources.values())
    return tuple(holdout for holdout in holdouts if holdout.bytes)


def overwritten(shard: TokenShard, eos_id: int) -> NDArray[np.bool_]:
    """Return a flag for each document [D]: True if a takedown overwrote it, so that it starts with EOS."""
    flags_D: NDArray[np.bool_] = shard.tokens_N[shard.offsets_D1[:-1]] == eos_id
    return flags_D


def _select(source: TokenSource, maps: ShardMaps, eos_id: int, limit: int | None) -> HoldoutStream:
    shards: list[TokenShard] = []
    ends: list[int] = []
    documents = removed = tokens = text_bytes = 0
    for file in source.holdout:
        shard = maps.open(file)
        if int(shard.tokens_N[-1]) != eos_id:
            raise TrainerError(f"{file.path}: does not end in EOS (token {eos_id}): run `corpus verify` on the build")
        overwritten_D = overwritten(shard, eos_id)
        count = len(shard)
        if limit is not None:
            room = max(0, limit - (ends[-1] if ends else 0))
            count = int(np.searchsorted(shard.offsets_D1[1:], room, side="right"))
            if not text_bytes and overwritten_D[:count].all():
                # Nothing to evaluate so far: include the next document with text, even beyond the limit.
                count = len(shard) if overwritten_D.all() else int(np.argmin(overwritten_D)) + 1
        if count:
            lengths_D, keep_D = np.diff(shard.offsets_D1[: count + 1]), ~overwritten_D[:count]
            shards.append(shard)
            ends.append((ends[-1] if ends else 0) + int(lengths_D.sum()))
            documents += int(keep_D.sum())
            removed += int((~keep_D).sum())
            tokens += int(lengths_D[keep_D].sum())
            text_bytes += int(shard.bytes_D[:count][keep_D].sum())
        if count < len(shard):
            break
    return HoldoutStream(
        name=source.name,
        thin=source.holdout_thin,
        eos_id=eos_id,
        documents=documents,
        overwritten=removed,
        holdout_documents=sum(file.documents for file in source.holdout),
        tokens=tokens,
        bytes=text_bytes,
        shards=tuple(shards),
        ends=tuple(ends),
    )
