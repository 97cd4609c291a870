"""Bits per byte: the sum of −log₂ p over all tokens of a source's holdout, divided by its bytes of UTF-8.

The first token of a document is predicted from EOS, its own EOS counts, and it sees no other document. The holdout is
cut into windows of `sequence_tokens` targets that do not overlap. A document that continues in the next window is
predicted there from its last token before the cut. Every token is scored once.

Legend: B windows of a batch, T targets of a window, V vocabulary.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch

from trainer.data.corpora import Corpora
from trainer.data.holdout import HoldoutStream, HoldoutWindows, open_holdouts, windows
from trainer.data.loader import IGNORED
from trainer.engine.distributed import Distributed, ForwardContext, sums
from trainer.errors import TrainerError
from trainer.inspect.metrics import Evaluation, SourceScore
from trainer.model.cross_entropy import token_losses


def evaluate(
    model: torch.nn.Module,
    corpora: Corpora,
    *,
    sequence_tokens: int,
    batch_sequences: int,
    tokens_per_source: int | None,
    distributed: Distributed,
    forward_context: ForwardContext = nullcontext,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model on the holdout of each source. All processes call this together and return the same.

    `batch_sequences` is the limit per process. `progress` gets the windows done so far and in total. Raises
    TrainerError if a score is not finite.
    """
    # Sum nats and targets of each source on this rank, then over all processes.
    holdouts = open_holdouts(corpora, tokens_per_source)
    work = _divide(holdouts, sequence_tokens, batch_sequences, distributed)
    nats, counts = np.zeros(len(holdouts)), np.zeros(len(holdouts), np.int64)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for done, rows in enumerate(work.batches, 1):
                chosen = [None if row is None else (holdouts[row[0]], row[1]) for row in rows]
                batch = windows(chosen, sequence_tokens, corpora.tokenizer.eos_id)
                losses = _row_losses(model, batch, distributed.device, forward_context)
                for row, row_nats, row_count in zip(rows, *losses, strict=True):
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
            held.name: _score(held, source_nats / math.log(2), round(count))
            for held, source_nats, count in zip(holdouts, all_nats, all_counts, strict=True)
        },
    )


class _EvaluationWork(NamedTuple):
    windows: int  # of all sources, for all processes
    batches: list[list[tuple[int, int] | None]]  # of this process: (source, window), or None to fill up


def _divide(
    holdouts: Sequence[HoldoutStream], sequence_tokens: int, batch_sequences: int, distributed: Distributed
) -> _EvaluationWork:
    """Assign every n-th window to each of n ranks, in equally many batches of one shape.

    Ranks that gather weights from each other thus run in step, and compiled blocks serve every batch.
    """
    ranks = distributed.dp_world
    ends = list(accumulate(held.window_count(sequence_tokens) for held in holdouts))
    total = ends[-1] if ends else 0
    # Rounded up: the last windows of some ranks are None. Rows are as few as the number of batches allows.
    per_rank = -(-total // ranks)
    batches = -(-per_rank // batch_sequences)
    rows = -(-per_rank // max(1, batches))

    def window(number: int) -> tuple[int, int] | None:
        if number >= total:
            return None
        source = bisect_right(ends, number)
        return source, number - (ends[source - 1] if source else 0)

    def batch(number: int) -> list[tuple[int, int] | None]:
        first = number * rows * ranks + distributed.dp_rank
        return [window(first + row * ranks) for row in range(rows)]

    return _EvaluationWork(total, [batch(number) for number in range(batches)])


def _row_losses(
    model: torch.nn.Module,
    batch: HoldoutWindows,
    device: torch.device,
    forward_context: ForwardContext,
) -> tuple[list[float], list[int]]:
    """Return the summed loss of each row in nats, and its number of targets."""
    inputs_BT, targets_BT, segments_BT = (torch.from_numpy(rows).to(device) for rows in batch)
    with forward_context():
        logits_BTV = model(inputs_BT, segments_BT)
    losses_BT = token_losses(logits_BTV, targets_BT)
    return losses_BT.double().sum(dim=1).tolist(), (batch.targets_BT != IGNORED).sum(axis=1).tolist()


def _score(held: HoldoutStream, bits: float, counted: int) -> SourceScore:
    if counted != held.tokens:
        raise TrainerError(
            f"source {held.name}: scored {counted} held-out tokens, but its documents have {held.tokens}: a shard has "
            "EOS inside a document; run `corpus verify` on the build"
        )
    if not math.isfinite(bits):
        raise TrainerError(
            f"source {held.name}: the score is {bits} bits, because the model's weights are not finite; go back to a "
            "checkpoint before the loss rose, and lower the learning rate"
        )
    return SourceScore(
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
