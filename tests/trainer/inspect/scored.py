"""Corpora with chosen holdouts, models to score on them, and scores."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from corpus.store.corpus_manifest import Totals
from corpus.store.token_shards import ShardHeader, TokenShard, open_token_shard, write_token_shard
from trainer.data.corpora import Corpora, TokenizerFile, TokenShardFile, TokenSource
from trainer.data.loader import IGNORED
from trainer.engine.distributed import Distributed
from trainer.inspect.evaluate import evaluate
from trainer.inspect.metrics import EvaluationRow, SourceScore
from trainer.model.cross_entropy import Losses

GOLDEN = Path(__file__).parents[2] / "golden" / "corpus"
EOS, VOCABULARY = 0, 11
Documents = Sequence[Sequence[int]]  # their tokens, without EOS; None of them is EOS
TEXT_BYTES = 3  # that a token of a made document stands for
ALONE = Distributed(0, 1, 0, 1, 0, torch.device("cpu"), None)


def holdout_of(golden: Corpora, name: str) -> Totals:
    """The totals of a source's holdout, as the golden corpus' manifest states them."""
    return next(source.holdout for source in golden.manifests["golden"].manifest.sources if source.name == name)


def tokens_of(documents: Documents) -> list[list[int]]:
    """Append EOS to each document."""
    return [[*document, EOS] for document in documents]


def written(path: Path, documents: Documents, split: str = "holdout") -> TokenShardFile:
    """Write a shard of these documents."""
    lengths = [len(each) for each in tokens_of(documents)]
    shard = TokenShard(
        ShardHeader("t" * 64, "r" * 64, "made", "train" if split == "train" else "holdout"),
        np.zeros((len(documents), 16), np.uint8),
        np.array([token for each in tokens_of(documents) for token in each], np.uint16),
        np.cumsum([0, *lengths]),
        np.array([TEXT_BYTES * (length - 1) for length in lengths], np.int64),
    )
    write_token_shard(path, shard)
    return TokenShardFile(path, sum(lengths), len(documents), "t" * 64)


def made(
    folder: Path,
    holdouts: Mapping[str, Sequence[Documents]],
    train: Documents = ((1,),),
    tokenizer: Path = GOLDEN / "tokenizer.json",
    vocabulary: int = VOCABULARY,
) -> Corpora:
    """Make a corpus of sources with these holdout shards."""
    sources = {}
    for name, shards in holdouts.items():
        held = tuple(written(folder / f"{name}-{at}.arrow", each) for at, each in enumerate(shards))
        trained = (written(folder / f"{name}-train.arrow", train, "train"),)
        sources[name] = TokenSource(name, name, 64, trained, held, holdout_thin=False)
    return Corpora(sources, TokenizerFile(tokenizer, "t" * 64, vocabulary, EOS, "<|endoftext|>"), {})


class Uniform(torch.nn.Module):
    """Gives each token the same probability."""

    def forward(self, tokens_BT: torch.Tensor, segments_BT: object, targets_BT: torch.Tensor) -> Losses:
        losses_BT = torch.full(tokens_BT.shape, math.log(384)).where(targets_BT != IGNORED, 0)
        return Losses(losses_BT.sum(), losses_BT)


def scored(
    model: torch.nn.Module,
    corpora: Corpora,
    *,
    sequence_tokens: int = 16,
    batch_sequences: int = 4,
    tokens_per_source: int | None = None,
    distributed: Distributed = ALONE,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, SourceScore]:
    """Call `evaluate` with settings for a small corpus."""
    return evaluate(
        model,
        corpora,
        sequence_tokens=sequence_tokens,
        batch_sequences=batch_sequences,
        tokens_per_source=tokens_per_source,
        distributed=distributed,
        progress=progress,
    )


def read_back(source: TokenSource) -> list[list[int]]:
    """Return the documents of a source's holdout, without EOS."""
    found = []
    for shard in source.holdout:
        opened = open_token_shard(shard.path)
        for first, last in zip(opened.offsets_D1[:-1], opened.offsets_D1[1:], strict=True):
            found.append(opened.tokens_N[first : last - 1].tolist())
    return found


def score(size: int, rate: float, thin: bool = False) -> SourceScore:
    """Return a score for a holdout of `size` bytes, at `rate` bits per byte."""
    return SourceScore(
        documents=8,
        holdout_documents=20,
        overwritten=0,
        tokens=500,
        bytes=size,
        bits=rate * size,
        bits_per_byte=rate,
        bits_per_token=rate * size / 500,
        thin=thin,
    )


def evaluation_row(step: int, after: str, sources: dict[str, SourceScore]) -> EvaluationRow:
    """Return an evaluation after `step` steps of 1000 tokens."""
    return EvaluationRow(
        step=step,
        after=after,
        tokens=step * 1000,
        seconds=1.5,
        sequence_tokens=512,
        stride_tokens=512,
        tokens_per_source=None,
        sources=sources,
    )
