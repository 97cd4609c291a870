"""Bits per byte: the sum of −log₂ p over all tokens of a source's holdout, divided by its bytes of UTF-8.

The first token of a document is predicted from EOS, its own EOS counts, and it sees no other document. The holdout is
cut into windows of `sequence_tokens` targets that do not overlap. A document that continues in the next window is
predicted there from its last token before the cut. Every token is scored once.

Legend: B windows of a batch, T targets of a window.
"""

import math
import time
from collections.abc import Callable, Sequence

import torch

from trainer.data.corpora import Corpora
from trainer.data.holdout import HoldoutStream, HoldoutWindows, open_holdouts, windows
from trainer.data.loader import IGNORED
from trainer.engine.distributed import Distributed, any_rank, sums
from trainer.errors import TrainerError
from trainer.inspect.metrics import SourceScore
from trainer.model.cross_entropy import Losses

Window = tuple[HoldoutStream, int]  # with its number in the stream


class EvaluationStopped(Exception):
    """The run was asked to stop during an evaluation. Raised on all processes together."""


def evaluate(
    model: torch.nn.Module,
    corpora: Corpora,
    *,
    sequence_tokens: int,
    batch_sequences: int,
    tokens_per_source: int | None,
    distributed: Distributed,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, SourceScore]:
    """Score a model on the holdout of each source. All processes call this together and return the same.

    `batch_sequences` is the limit per process. `progress` gets the windows done so far and in total. Raises
    EvaluationStopped after the batch in which `stop` became true on any process, and TrainerError if a score is not
    finite.
    """
    # Sum nats and targets of each source on this rank, then over all processes.
    holdouts = open_holdouts(corpora, tokens_per_source)
    selected = [(held, number) for held in holdouts for number in range(held.window_count(sequence_tokens))]
    nats = {held.name: 0.0 for held in holdouts}
    counts = {held.name: 0 for held in holdouts}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for done, rows in enumerate(_batches(selected, batch_sequences, distributed), 1):
                start_s = time.perf_counter()
                batch = windows(rows, sequence_tokens, corpora.tokenizer.eos_id)
                losses = _row_losses(model, batch, distributed.device)
                for row, row_nats, row_count in zip(rows, *losses, strict=True):
                    if row is not None:
                        nats[row[0].name] += row_nats
                        counts[row[0].name] += row_count
                if progress is not None:
                    progress(min(len(selected), done * len(rows) * distributed.dp_world), len(selected))
                if any_rank(distributed, stop()):
                    raise EvaluationStopped
                distributed.expect_exchange(within_s=time.perf_counter() - start_s)  # the first batch may compile
    finally:
        model.train(was_training)
        distributed.expect_exchange(within_s=None)
    totals = zip(holdouts, sums(distributed, [*nats.values()]), sums(distributed, [*counts.values()]), strict=True)
    return {held.name: _score(held, source_nats / math.log(2), count) for held, source_nats, count in totals}


def _batches(selected: Sequence[Window], batch_sequences: int, distributed: Distributed) -> list[list[Window | None]]:
    """Assign every n-th window to each of n ranks, in equally many batches of one shape.

    Ranks that gather weights from each other thus run in step, and compiled blocks serve every batch.
    """
    # Rounded up: the last windows of some ranks are None. Rows are as few as the number of batches allows.
    per_rank = -(-len(selected) // distributed.dp_world)
    batches = -(-per_rank // batch_sequences)
    rows = -(-per_rank // max(1, batches))
    mine: list[Window | None] = [*selected[distributed.dp_rank :: distributed.dp_world]]
    mine += [None] * (batches * rows - len(mine))
    return [mine[number * rows : (number + 1) * rows] for number in range(batches)]


def _row_losses(model: torch.nn.Module, batch: HoldoutWindows, device: torch.device) -> tuple[list[float], list[int]]:
    """Return the summed loss of each row in nats, and its number of targets."""
    inputs_BT, targets_BT, segments_BT = (torch.from_numpy(rows).to(device) for rows in batch)
    losses: Losses = model(inputs_BT, segments_BT, targets_BT)
    return losses.each_BT.double().sum(dim=1).tolist(), (batch.targets_BT != IGNORED).sum(axis=1).tolist()


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
