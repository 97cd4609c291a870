"""Bits per byte: summed −log₂ p over all tokens of a source's holdout, divided by its UTF-8 bytes.

A document's first token is predicted from EOS, its own EOS counts, and it sees no other document. The holdout is cut
into windows of `sequence_tokens` targets at a stride of as many: they do not overlap, so a document that goes on in the
next window is predicted there from its last token before the cut. Every token is scored once.

Legend: B windows of a batch, T targets of a window, V vocabulary.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch

from trainer.data.corpora import Corpora
from trainer.data.holdout import HoldoutStream, HoldoutWindows, open_holdouts, windows
from trainer.data.loader import IGNORED
from trainer.engine.parallel import Distributed, sums
from trainer.errors import TrainerError
from trainer.inspect.scores import Evaluation, Score
from trainer.model.cross_entropy import token_losses


def evaluate(
    model: torch.nn.Module,
    corpora: Corpora,
    *,
    sequence_tokens: int,
    batch_sequences: int,
    tokens_per_source: int | None,
    distributed: Distributed,
    forward_context: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores every source's holdout; all processes take part, and all get the whole result.

    `batch_sequences` are those of one process; the result does not depend on them, nor on the number of processes.
    `progress` is told the windows done and those there are. Raises TrainerError if a score is not finite.
    """
    holdouts = open_holdouts(corpora, tokens_per_source)
    work = _share_out(holdouts, sequence_tokens, batch_sequences, distributed)
    nats, counts = np.zeros(len(holdouts)), np.zeros(len(holdouts), np.int64)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for done, rows in enumerate(work.batches, 1):
                chosen = [None if row is None else (holdouts[row[0]], row[1]) for row in rows]
                batch = windows(chosen, sequence_tokens, corpora.tokenizer.eos_id)
                found = _score(model, batch, distributed.device, forward_context)
                for row, row_nats, row_count in zip(rows, *found, strict=True):
                    if row is not None:
                        nats[row[0]] += row_nats
                        counts[row[0]] += row_count
                if progress is not None:
                    progress(min(work.windows, done * len(rows) * distributed.dp_world), work.windows)
    finally:
        model.train(was_training)
    all_nats, all_counts = sums(distributed, nats.tolist()), sums(distributed, counts.tolist())
    return Evaluation(
        sequence_tokens=sequence_tokens,
        stride_tokens=sequence_tokens,
        tokens_per_source=tokens_per_source,
        sources={
            held.name: _checked(held, source_nats / math.log(2), round(count))
            for held, source_nats, count in zip(holdouts, all_nats, all_counts, strict=True)
        },
    )


class _Work(NamedTuple):
    windows: int  # of all sources, for all processes
    batches: list[list[tuple[int, int] | None]]  # of this process: (source, window), None in rows to spare


def _share_out(
    holdouts: Sequence[HoldoutStream], sequence_tokens: int, batch_sequences: int, distributed: Distributed
) -> _Work:
    """Every process takes each world-th window, in as many batches, of the same shape, as all others do.

    So processes that gather weights from each other stay in step, and what was compiled serves every batch.
    """
    ends = list(accumulate(held.window_count(sequence_tokens) for held in holdouts))
    total = ends[-1] if ends else 0
    of_process = -(-total // distributed.dp_world)
    batches = -(-of_process // batch_sequences)
    rows = -(-of_process // max(1, batches))

    def window(number: int) -> tuple[int, int] | None:
        if number >= total:
            return None
        source = bisect_right(ends, number)
        return source, number - (ends[source - 1] if source else 0)

    def batch(number: int) -> list[tuple[int, int] | None]:
        first = number * rows * distributed.dp_world + distributed.dp_rank
        return [window(first + row * distributed.dp_world) for row in range(rows)]

    return _Work(total, [batch(number) for number in range(batches)])


def _score(
    model: torch.nn.Module,
    batch: HoldoutWindows,
    device: torch.device,
    forward_context: Callable[[], AbstractContextManager[object]],
) -> tuple[list[float], list[int]]:
    """The summed loss of each row in nats, and its targets."""
    inputs_BT, targets_BT, segments_BT = (torch.from_numpy(part).to(device) for part in batch)
    with forward_context():
        logits_BTV = model(inputs_BT, segments_BT)
    losses_BT = token_losses(logits_BTV, targets_BT)
    return losses_BT.double().sum(dim=1).tolist(), (batch.targets_BT != IGNORED).sum(axis=1).tolist()


def _checked(held: HoldoutStream, bits: float, counted: int) -> Score:
    if counted != held.tokens:
        raise TrainerError(
            f"source {held.name}: scored {counted} held-out tokens, its documents hold {held.tokens}: a shard has EOS "
            "inside a document; run `corpus verify` on the build"
        )
    if not math.isfinite(bits):
        raise TrainerError(
            f"source {held.name}: the model gives its holdout {bits} bits: its weights are not finite; go back to a "
            "checkpoint before the loss rose, with a lower learning rate"
        )
    return Score(
        documents=held.documents,
        holdout_documents=held.holdout_documents,
        overwritten=held.overwritten,
        tokens=held.tokens,
        bytes=held.bytes,
        bits=bits,
        bits_per_byte=bits / held.bytes,
        bits_per_token=bits / held.tokens,
        thin=held.thin,
    )
