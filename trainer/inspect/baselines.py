"""What a model's bits per byte are held against: token counts, and xz.

`unigram` knows how often each token stands in the source's own training split, and nothing of their order: the
cross-entropy of the holdout under those counts, each raised by one. A model that has learned anything at all beats it.
`xz -9` compresses the same text, which is another thing than to predict it, and is shown for scale.

Both read the documents that the model is scored on, and no more at once than a few million tokens or one document.

Legend: D documents of a shard, N tokens of a stretch, V vocabulary.
"""

import lzma
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from corpus.store.token_shards import Tokens
from corpus.units import human_bytes
from trainer.data.corpora import Corpora, TokenSource
from trainer.data.holdout import HoldoutStream, open_holdouts, overwritten
from trainer.data.stream import ShardMaps
from trainer.errors import TrainerError
from trainer.inspect.console import clean
from trainer.inspect.metrics import EvaluationRow
from trainer.inspect.read_tokenizer import open_tokenizer
from trainer.inspect.scores import Levels, Yardstick, Yardsticks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

AT_ONCE_TOKENS = 4_000_000
XZ_PRESET = 9
BEATEN = "*"
WHOLE_NAMES = 28  # characters of a source's name that a row has room for
Counts = NDArray[np.int64]


def measure(
    corpora: Corpora, tokens_per_source: int | None, progress: Callable[[int, int], None] | None = None
) -> Yardsticks:
    """Both yardsticks of each source. `progress` is told the tokens read and those there are."""
    holdouts = open_holdouts(corpora, tokens_per_source)
    tokenizer = open_tokenizer(corpora.tokenizer) if holdouts else None
    total = sum(corpora.sources[held.name].train_tokens + held.tokens for held in holdouts)
    read = 0

    def count(tokens: int) -> None:
        nonlocal read
        read += tokens
        if progress is not None:
            progress(read, total)

    found = {}
    for held in holdouts:
        assert tokenizer is not None
        source, vocabulary = corpora.sources[held.name], corpora.tokenizer.vocabulary
        train_V = training_counts(source, vocabulary, corpora.tokenizer.eos_id, count)
        xz_bytes, missing = xz(held, tokenizer, count)
        bits = unigram_bits(held_out_counts(held, vocabulary), train_V)
        found[held.name] = Yardstick(
            documents=held.documents,
            holdout_documents=held.holdout_documents,
            bytes=held.bytes,
            unigram_bits=bits,
            xz_bytes=xz_bytes,
            xz_missing=missing,
        )
    return Yardsticks(tokens_per_source=tokens_per_source, sources=found)


class Comparison(NamedTuple):
    """The table of all evaluations as text: bits per byte, a source a row, and all of them in the last."""

    columns: list[str]
    rows: list[list[str]]
    note: str  # what stands under it


def comparison(evaluations: Sequence[EvaluationRow], yardsticks: Yardsticks) -> Comparison:
    """Evaluations in the order given, beside the yardsticks. A star says that the unigram is beaten."""
    last = {name: score for row in evaluations for name, score in row.sources.items()}
    names, rows = sorted(last), []
    for name in names:
        scores = [row.sources.get(name) for row in evaluations]
        shown = f"{clean(name)} (thin)" if last[name].thin else clean(name)
        cells = _cells([score.bits_per_byte if score else None for score in scores], yardsticks.levels([name]))
        rows.append([shown, human_bytes(last[name].bytes), *cells])
    if len(names) > 1:
        cells = _cells([row.bits_per_byte for row in evaluations], yardsticks.levels(names))
        rows.append(["all", human_bytes(sum(score.bytes for score in last.values())), *cells])
    columns = ["source", "holdout", *(clean(row.after) for row in evaluations), "unigram", f"xz -{XZ_PRESET}"]
    return Comparison(columns, rows, _note(evaluations, yardsticks))


def evaluations_table(evaluations: Sequence[EvaluationRow], yardsticks: Yardsticks) -> Table:
    """The same for a terminal; what beats the unigram is bold."""
    made = comparison(evaluations, yardsticks)
    table = Table(box=SIMPLE_HEAD, title="Held-out bits per byte", title_justify="left", title_style="bold")
    table.pad_edge, table.show_edge, table.padding = False, False, (0, 1, 0, 0)
    table.caption, table.caption_justify = Text(f"\n{made.note}"), "left"
    whole = max((len(row[0]) for row in made.rows), default=0) <= WHOLE_NAMES
    table.add_column("source", no_wrap=whole, overflow="fold")
    table.add_column("holdout", justify="right", no_wrap=True)
    for heading in made.columns[2:-2]:  # they wrap where the terminal is narrow
        table.add_column(Text(heading), justify="right", min_width=len("12.345*"), overflow="fold")
    for heading in made.columns[-2:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in made.rows:
        table.add_row(*(Text(cell, style="bold" if cell.endswith(BEATEN) else "") for cell in row))
    return table


def unigram_bits(held_out_V: Counts, train_V: Counts) -> float:
    """Σ −log₂ p over the held-out tokens, with p = (training count + 1) / (training tokens + V)."""
    total = int(train_V.sum()) + len(train_V)
    return float((held_out_V * (math.log2(total) - np.log2(train_V + 1.0))).sum())


def training_counts(source: TokenSource, vocabulary: int, eos_id: int, progress: Callable[[int], None]) -> Counts:
    """How often each token stands in the training split. Documents overwritten by a takedown do not count."""
    maps, counts_V = ShardMaps(), np.zeros(vocabulary, np.int64)
    for written in source.train:
        shard = maps.open(written)
        for at in range(0, len(shard.tokens_N), AT_ONCE_TOKENS):
            part_N = shard.tokens_N[at : at + AT_ONCE_TOKENS]
            counts_V += _counts(part_N, vocabulary, source.name)
            progress(len(part_N))
        counts_V[eos_id] -= int(np.diff(shard.offsets_D1)[overwritten(shard, eos_id)].sum())
    return counts_V


def held_out_counts(held: HoldoutStream, vocabulary: int) -> Counts:
    """How often each token is a target."""
    counts_V = np.zeros(vocabulary, np.int64)
    for at in range(1, held.ends[-1] + 1, AT_ONCE_TOKENS):
        part_N = held.slice(at, at + AT_ONCE_TOKENS)
        counts_V += _counts(part_N, vocabulary, held.name)
    counts_V[held.eos_id] -= held.ends[-1] - held.tokens  # what overwritten documents hold
    return counts_V


def xz(held: HoldoutStream, tokenizer: "Tokenizer", progress: Callable[[int], None]) -> tuple[int | None, str | None]:
    """The size of what `xz -9` makes of the documents, one behind the other; or None, and why."""
    packer = lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=XZ_PRESET)
    size = 0
    for tokens_N, text_bytes in held.texts():
        text = tokenizer.decode(tokens_N.tolist(), skip_special_tokens=False).encode()
        if len(text) != text_bytes:
            return None, f"a document decodes to {len(text)} bytes where its shard says {text_bytes}"
        size += len(packer.compress(text))
        progress(len(tokens_N) + 1)
    return size + len(packer.flush()), None


def _counts(tokens_N: Tokens | Counts, vocabulary: int, source: str) -> Counts:
    counts_V = np.bincount(tokens_N, minlength=vocabulary)
    if len(counts_V) > vocabulary:
        told = f"source {source}: token {len(counts_V) - 1} in a vocabulary of {vocabulary}"
        raise TrainerError(f"{told}: a shard is damaged; run `corpus verify` on the build")
    return counts_V


def _cells(given: Sequence[float | None], levels: Levels) -> list[str]:
    def cell(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    unigram = levels.unigram
    beaten = [value is not None and unigram is not None and value < unigram for value in given]
    shown = [cell(value) + (BEATEN if below else "") for value, below in zip(given, beaten, strict=True)]
    return [*shown, cell(unigram), cell(levels.xz)]


def _note(evaluations: Sequence[EvaluationRow], yardsticks: Yardsticks) -> str:
    lengths = sorted({row.sequence_tokens for row in evaluations})
    parts = [f"Windows of {' and '.join(map(str, lengths))} tokens, at a stride of as many."] if lengths else []
    limits = sorted({row.tokens_per_source for row in evaluations if row.tokens_per_source is not None})
    parts += [f"Of a holdout the first documents, up to {limit:,} tokens." for limit in limits[-1:]]
    if yardsticks.sources:
        parts.append(f"{BEATEN} better than the unigram, which counts the tokens of the source's training split.")
        for name, each in yardsticks.sources.items():
            parts += [f"No xz of {clean(name)}: {each.xz_missing}."] if each.xz_missing else []
    if any(score.thin for row in evaluations for score in row.sources.values()):
        parts.append("thin: too little is held out to judge by.")
    return " ".join(parts)
