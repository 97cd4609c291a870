"""What a model's bits per byte are held against: token counts, and xz.

`unigram` knows how often each token stands in the source's own training split, and nothing of their order: the
cross-entropy of the holdout under those counts, each raised by one. A model that has learned anything at all beats it.
`xz -9` compresses the same text, which is another thing than to predict it, and is shown for scale.

Both read the documents that the model is scored on, and no more at once than a few million tokens or one document.

Legend: D documents of a shard, N tokens of a stretch, V vocabulary.
"""

import lzma
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from corpus.store.token_shards import Tokens
from trainer.corpora import Corpora, Source
from trainer.errors import TrainerError
from trainer.held_out import HeldOut, open_holdouts, open_tokenizer, overwritten
from trainer.stream import Maps

if TYPE_CHECKING:
    from rich.table import Table
    from tokenizers import Tokenizer

AT_ONCE_TOKENS = 4_000_000
XZ_PRESET = 9
BEATEN = "*"
Count = Annotated[int, Field(ge=0)]
Counts = NDArray[np.int64]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Yardstick(_Model):
    """Of one source's holdout."""

    documents: Count  # read, less those that a takedown has overwritten
    holdout_documents: Count  # that there are
    bytes: Annotated[int, Field(ge=1)]
    unigram_bits: Annotated[float, Field(ge=0)]
    xz_bytes: Count | None
    xz_missing: str | None  # why there is no xz_bytes

    @property
    def unigram(self) -> float:
        """Bits per byte."""
        return self.unigram_bits / self.bytes

    @property
    def xz(self) -> float | None:
        """Bits per byte."""
        return None if self.xz_bytes is None else 8 * self.xz_bytes / self.bytes


class Yardsticks(_Model):
    """Of all sources with a holdout."""

    tokens_per_source: Count | None  # as in the evaluation beside it
    sources: dict[str, Yardstick]


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


class Scored(Protocol):
    """One source's part of an evaluation: a `trainer.evaluate.Score`, or what is stored of it."""

    @property
    def documents(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def bits(self) -> float: ...
    @property
    def thin(self) -> bool: ...


class Evaluated(Protocol):
    """An evaluation of all sources: a `trainer.evaluate.Evaluation`, or a row of `evaluations.jsonl`."""

    @property
    def sequence_tokens(self) -> int: ...
    @property
    def sources(self) -> Mapping[str, Scored]: ...


class Comparison(NamedTuple):
    """The table of all evaluations as text: bits per byte, a source a row, and all of them in the last."""

    columns: list[str]
    rows: list[list[str | int]]
    note: str  # what stands under it


def comparison(evaluations: Sequence[tuple[str, Evaluated]], yardsticks: Yardsticks | None) -> Comparison:
    """Evaluations by label, in the order given, beside the yardsticks. A star says that the unigram is beaten."""
    last = {name: score for _, evaluation in evaluations for name, score in evaluation.sources.items()}
    found = {name: last[name] for name in sorted(last)}
    measured = yardsticks.sources if yardsticks else {}
    rows: list[list[str | int]] = []
    for name, score in found.items():
        yardstick = measured.get(name)
        given = [_rate([evaluation.sources.get(name)]) for _, evaluation in evaluations]
        of = yardstick.holdout_documents if yardstick else score.documents
        documents = score.documents if of == score.documents else f"{score.documents:,} of {of:,}"
        known = _over_all([yardstick])
        rows.append([f"{_plain(name)} (thin)" if score.thin else _plain(name), documents, score.bytes])
        rows[-1] += _cells(given, *known)
    if len(found) > 1:
        given = [_rate([evaluation.sources.get(name) for name in found]) for _, evaluation in evaluations]
        known = _over_all([measured.get(name) for name in found])
        totals = (sum(score.documents for score in found.values()), sum(score.bytes for score in found.values()))
        rows.append(["all", *totals, *_cells(given, *known)])
    columns = ["source", "documents", "bytes", *(label for label, _ in evaluations), "unigram", f"xz -{XZ_PRESET}"]
    return Comparison(columns, rows, _note(evaluations, yardsticks))


def evaluations_table(evaluations: Sequence[tuple[str, Evaluated]], yardsticks: Yardsticks | None) -> "Table":
    """The same for a terminal; what beats the unigram is bold."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = comparison(evaluations, yardsticks)
    table = Table(box=SIMPLE_HEAD, title="Held-out bits per byte", title_justify="left", title_style="bold")
    table.pad_edge, table.padding = False, (0, 1, 0, 0)
    table.caption, table.caption_justify = Text(made.note), "left"
    for number, name in enumerate(made.columns):
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=bool(number), overflow="fold")
    for row in made.rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else cell for cell in row]
        table.add_row(*(Text(cell, style="bold" if cell.endswith(BEATEN) else "") for cell in cells))
    return table


def unigram_bits(held_out_V: Counts, train_V: Counts) -> float:
    """Σ −log₂ p over the held-out tokens, with p = (training count + 1) / (training tokens + V)."""
    total = int(train_V.sum()) + len(train_V)
    return float((held_out_V * (math.log2(total) - np.log2(train_V + 1.0))).sum())


def training_counts(source: Source, vocabulary: int, eos_id: int, progress: Callable[[int], None]) -> Counts:
    """How often each token stands in the training split. Documents overwritten by a takedown do not count."""
    maps, counts_V = Maps(), np.zeros(vocabulary, np.int64)
    for written in source.train:
        shard = maps.open(written, source)
        for at in range(0, len(shard.tokens_N), AT_ONCE_TOKENS):
            part_N = shard.tokens_N[at : at + AT_ONCE_TOKENS]
            counts_V += _counts(part_N, vocabulary, source.name)
            progress(len(part_N))
        counts_V[eos_id] -= int(np.diff(shard.offsets_D1)[overwritten(shard, eos_id)].sum())
    return counts_V


def held_out_counts(held: HeldOut, vocabulary: int) -> Counts:
    """How often each token is a target."""
    counts_V = np.zeros(vocabulary, np.int64)
    for at in range(1, held.ends[-1] + 1, AT_ONCE_TOKENS):
        part_N = held.stretch(at, at + AT_ONCE_TOKENS)
        counts_V += _counts(part_N, vocabulary, held.name)
    counts_V[held.eos_id] -= held.ends[-1] - held.tokens  # what overwritten documents hold
    return counts_V


def xz(held: HeldOut, tokenizer: "Tokenizer", progress: Callable[[int], None]) -> tuple[int | None, str | None]:
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


def _rate(scores: Sequence[Scored | None]) -> float | None:
    there = [score for score in scores if score is not None]
    read = sum(score.bytes for score in there)
    return sum(score.bits for score in there) / read if read else None


def _over_all(parts: Sequence[Yardstick | None]) -> tuple[float | None, float | None]:
    """Both over all sources, each by its bytes; None where a source lacks it."""
    there = [part for part in parts if part is not None]
    read = sum(part.bytes for part in there)
    if len(there) < len(parts):
        return None, None
    packed = [part.xz_bytes for part in there if part.xz_bytes is not None]
    whole = len(packed) == len(there)
    return sum(part.unigram_bits for part in there) / read, 8 * sum(packed) / read if whole else None


def _cells(given: Sequence[float | None], unigram: float | None, xz_rate: float | None) -> list[str]:
    def cell(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    beaten = [value is not None and unigram is not None and value < unigram for value in given]
    shown = [cell(value) + (BEATEN if below else "") for value, below in zip(given, beaten, strict=True)]
    return [*shown, cell(unigram), cell(xz_rate)]


def _note(evaluations: Sequence[tuple[str, Evaluated]], yardsticks: Yardsticks | None) -> str:
    lengths = sorted({evaluation.sequence_tokens for _, evaluation in evaluations})
    parts = [f"Windows of {' and '.join(map(str, lengths))} tokens, at a stride of as many."] if lengths else []
    if yardsticks:
        parts.append(f"{BEATEN} better than the unigram, which counts the tokens of the source's training split.")
        for name, each in yardsticks.sources.items():
            parts += [f"No xz of {_plain(name)}: {each.xz_missing}."] if each.xz_missing else []
    if any(score.thin for _, evaluation in evaluations for score in evaluation.sources.values()):
        parts.append("thin: too little is held out to judge by.")
    return " ".join(parts)


def _plain(name: str) -> str:
    """A name from a manifest, in which nothing steers a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in name)
