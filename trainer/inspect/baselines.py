"""Baselines for a model's bits per byte: a unigram model and xz.

The unigram model knows how often each token occurs in the source's training split, but nothing of their order. Its bits
are the cross-entropy of the holdout under those counts plus one. A model that has learned anything scores below it.
`xz -9` compresses the same text. That is a different task than prediction, and gives a sense of scale.

Both read the documents that the model is scored on, in blocks of a few million tokens or one document.

Legend: D documents of a shard, N tokens of a block, V vocabulary.
"""

import lzma
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from tokenizers import Tokenizer

from corpus.settings import Strict
from corpus.store.products import write_text
from corpus.store.token_shards import Tokens
from trainer.data.corpora import Corpora, TokenizerFile, TokenSource
from trainer.data.holdout import HoldoutStream, open_holdouts, overwritten
from trainer.data.stream import ShardMaps
from trainer.engine.run_setup import RunSetup
from trainer.errors import TrainerError
from trainer.inspect.generate import open_tokenizer
from trainer.inspect.metrics import Count, Real

FILE_NAME = "baselines.json"
BLOCK_TOKENS = 4_000_000
XZ_PRESET = 9
UNIGRAM, XZ = "unigram", f"xz -{XZ_PRESET}"

TokenCounts = NDArray[np.int64]


class SourceBaseline(Strict):
    """Baselines of one source's holdout."""

    documents: Count  # read, without those overwritten by a takedown
    holdout_documents: Count  # in the holdout
    bytes: Annotated[int, Field(ge=1)]
    unigram_bits: Real
    xz_bytes: Count | None
    xz_missing: str | None  # reason why xz_bytes is None


class Baselines(Strict):
    """Baselines of all sources with a holdout."""

    tokens_per_source: Count | None = None  # the limit, as in `EvaluationRow`
    sources: dict[str, SourceBaseline] = Field(default={})

    def levels(self, names: Collection[str]) -> dict[str, float | None]:
        """Return bits per byte over these sources, weighted by bytes; None if a source lacks the baseline."""
        sources = [self.sources[name] for name in names if name in self.sources]
        if not sources or len(sources) < len(names):
            return {UNIGRAM: None, XZ: None}
        text_bytes = sum(source.bytes for source in sources)
        xz_bytes = [source.xz_bytes for source in sources if source.xz_bytes is not None]
        return {
            UNIGRAM: sum(source.unigram_bits for source in sources) / text_bytes,
            XZ: 8 * sum(xz_bytes) / text_bytes if len(xz_bytes) == len(sources) else None,
        }


class _SavedBaselines(Strict):
    """Contents of `baselines.json`."""

    corpora: dict[str, str]  # content hash of each corpus that was measured
    baselines: Baselines


def load_baselines(setup: RunSetup) -> Baselines:
    """Read the baselines saved in the run folder; none unless they are of its corpora and limit."""
    return saved_baselines(setup.folder, setup.training.evaluate.tokens_per_source, _contents(setup))


def saved_baselines(folder: Path, tokens_per_source: int | None, corpora: Mapping[str, str] | None) -> Baselines:
    """Read the baselines saved in a run folder; none unless they have this limit, and are of the corpora if given."""
    try:
        saved = _SavedBaselines.model_validate_json((folder / FILE_NAME).read_bytes())
    except (FileNotFoundError, ValidationError):
        return Baselines()
    fits = corpora in (None, saved.corpora) and saved.baselines.tokens_per_source == tokens_per_source
    return saved.baselines if fits else Baselines()


def save_baselines(setup: RunSetup, baselines: Baselines) -> None:
    """Write `baselines.json` into the run folder."""
    saved = _SavedBaselines(corpora=_contents(setup), baselines=baselines)
    write_text(setup.folder / FILE_NAME, saved.model_dump_json(indent=1) + "\n", setup.folder)


def _contents(setup: RunSetup) -> dict[str, str]:
    return {name: opened.content_sha256 for name, opened in setup.corpora.manifests.items()}


def measure_baselines(
    corpora: Corpora, tokens_per_source: int | None, progress: Callable[[int, int], None] = lambda done, total: None
) -> Baselines:
    """Compute the baselines of each source. `progress` gets the tokens read so far and in total."""
    holdouts = open_holdouts(corpora, tokens_per_source)
    total = sum(corpora.sources[held.name].train_tokens + held.tokens for held in holdouts)
    read = 0

    def count(tokens: int) -> None:
        nonlocal read
        read += tokens
        progress(read, total)

    # Both splits are read once: training tokens for the counts, the holdout for counts and xz.
    tokenizer, baselines = open_tokenizer(corpora.tokenizer), {}
    for held in holdouts:
        train_V = training_counts(corpora.sources[held.name], corpora.tokenizer, count)
        xz_bytes, xz_missing = compressed_bytes(held, tokenizer, count)
        baselines[held.name] = SourceBaseline(
            documents=held.documents,
            holdout_documents=held.holdout_documents,
            bytes=held.bytes,
            unigram_bits=unigram_bits(holdout_counts(held, len(train_V)), train_V),
            xz_bytes=xz_bytes,
            xz_missing=xz_missing,
        )
    return Baselines(tokens_per_source=tokens_per_source, sources=baselines)


def unigram_bits(holdout_V: TokenCounts, train_V: TokenCounts) -> float:
    """Return Σ −log₂ p over the holdout's tokens, with p = (training count + 1) / (training tokens + V)."""
    total = int(train_V.sum()) + len(train_V)
    return float((holdout_V * (math.log2(total) - np.log2(train_V + 1.0))).sum())


def training_counts(source: TokenSource, tokenizer: TokenizerFile, progress: Callable[[int], None]) -> TokenCounts:
    """Count each token in the training split, without documents overwritten by a takedown."""
    maps, counts_V = ShardMaps(), np.zeros(tokenizer.vocabulary, np.int64)
    for file in source.train:
        shard = maps.open(file)
        for start in range(0, len(shard.tokens_N), BLOCK_TOKENS):
            block_N = shard.tokens_N[start : start + BLOCK_TOKENS]
            counts_V += _counts(block_N, tokenizer.vocabulary, source.name)
            progress(len(block_N))
        # A takedown fills a document with EOS; those were counted above.
        overwritten_D = overwritten(shard, tokenizer.eos_id)
        counts_V[tokenizer.eos_id] -= int(np.diff(shard.offsets_D1)[overwritten_D].sum())
    return counts_V


def holdout_counts(held: HoldoutStream, vocabulary: int) -> TokenCounts:
    """Count how often each token is a target."""
    counts_V = np.zeros(vocabulary, np.int64)
    for start in range(1, held.ends[-1] + 1, BLOCK_TOKENS):  # token 0 is the EOS before the first document
        counts_V += _counts(held.slice(start, start + BLOCK_TOKENS), vocabulary, held.name)
    counts_V[held.eos_id] -= held.ends[-1] - held.tokens  # the EOS of overwritten documents
    return counts_V


def compressed_bytes(
    held: HoldoutStream, tokenizer: Tokenizer, progress: Callable[[int], None]
) -> tuple[int | None, str | None]:
    """Return the size of `xz -9` over the concatenated documents, or None and the reason."""
    compressor = lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=XZ_PRESET)
    size = 0
    for tokens_N, text_bytes in held.texts():
        text = tokenizer.decode(tokens_N.tolist(), skip_special_tokens=False).encode()
        if len(text) != text_bytes:
            return None, f"a document decodes to {len(text)} bytes, but its shard says {text_bytes}"
        size += len(compressor.compress(text))
        progress(len(tokens_N) + 1)
    return size + len(compressor.flush()), None


def _counts(tokens_N: Tokens | TokenCounts, vocabulary: int, source: str) -> TokenCounts:
    counts_V = np.bincount(tokens_N, minlength=vocabulary)
    if len(counts_V) > vocabulary:
        raise TrainerError(
            f"source {source}: token {len(counts_V) - 1} in a vocabulary of {vocabulary}: a shard is damaged; run "
            "`corpus verify` on the build"
        )
    return counts_V
