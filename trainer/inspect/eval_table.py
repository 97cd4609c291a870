"""Table of evaluations: bits per byte by source, beside the baselines."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from corpus.display.data_table import DataTable
from corpus.display.terminal import printable, table
from corpus.units import human_bytes
from trainer.inspect.baselines import UNIGRAM, XZ, Baselines
from trainer.inspect.metrics import EvaluationRow

BETTER = "*"
MAX_UNBROKEN_NAME = 28  # characters of a source's name that fit into a row


class ScoreLine(NamedTuple):
    """Scores of one source, or of all of them."""

    source: str | None  # None: all sources
    thin: bool
    bytes: int  # of the holdout
    bits: list[float | None]  # per byte, by evaluation; None if the evaluation lacks the source
    levels: dict[str, float | None]  # of the baselines

    @property
    def cells(self) -> list[str]:
        """The line as text. A star marks scores below the unigram, and the last cell compares the last one with it."""
        name = "all" if self.source is None else printable(self.source)
        cells = [f"{name} (thin)" if self.thin else name, human_bytes(self.bytes)]
        unigram, last = self.levels[UNIGRAM], self.bits[-1]
        for bits in self.bits:
            better = bits is not None and unigram is not None and bits < unigram
            cells.append(_cell(bits) + (BETTER if better else ""))
        compared = f"{last / unigram - 1:+.1%}".replace("-", "−") if last is not None and unigram else "–"
        return [*cells, *map(_cell, self.levels.values()), compared]


def evaluation_table(evaluations: Sequence[EvaluationRow], baselines: Baselines) -> DataTable:
    """Build the table, with a column per evaluation in the order given."""
    columns = ["source", "holdout", *(printable(row.after) for row in evaluations), UNIGRAM, XZ, "against unigram"]
    rows = [line.cells for line in score_lines(evaluations, baselines)]
    starred = any(cell.endswith(BETTER) for cells in rows for cell in cells)
    return DataTable("Bits per byte of the holdouts", columns, rows, note=_note(evaluations, baselines, starred))


def score_lines(evaluations: Sequence[EvaluationRow], baselines: Baselines) -> list[ScoreLine]:
    """Return a line per source and, if there are several, a last one for all."""
    latest = {name: score for row in evaluations for name, score in row.sources.items()}
    lines = []
    for name in sorted(latest):
        scores = [row.sources.get(name) for row in evaluations]
        bits = [score.bits_per_byte if score else None for score in scores]
        lines.append(ScoreLine(name, latest[name].thin, latest[name].bytes, bits, baselines.levels([name])))
    if len(lines) > 1:
        size = sum(line.bytes for line in lines)
        bits = [row.bits_per_byte for row in evaluations]
        lines.append(ScoreLine(None, False, size, bits, baselines.levels(sorted(latest))))
    return lines


def rich_table(evaluations: Sequence[EvaluationRow], baselines: Baselines) -> Table:
    """Render the table for a terminal, without the last column; scores below the unigram are bold."""
    scores = evaluation_table(evaluations, baselines)
    rows = []
    for line in score_lines(evaluations, baselines):
        rows.append([Text(cell, style="bold" if cell.endswith(BETTER) else "") for cell in line.cells[:-1]])
    rendered = table(scores.columns[:-1], rows, title=scores.title)
    rendered.show_edge, rendered.caption, rendered.caption_justify = False, Text(f"\n{scores.note}"), "left"
    rendered.columns[0].no_wrap = max((len(row[0]) for row in rows), default=0) <= MAX_UNBROKEN_NAME
    for column in rendered.columns[2:-2]:  # on a narrow terminal, the headings of evaluations wrap, but no score
        column.no_wrap, column.min_width = False, len("12.345*")
    return rendered


def _cell(bits: float | None) -> str:
    return "–" if bits is None else f"{bits:.3f}"


def _note(evaluations: Sequence[EvaluationRow], baselines: Baselines, starred: bool) -> str:
    lengths = sorted({row.sequence_tokens for row in evaluations})
    sentences = [f"Windows of {' and '.join(map(str, lengths))} tokens that do not overlap."] if lengths else []
    limits = [row.tokens_per_source for row in evaluations if row.tokens_per_source is not None]
    sentences += (
        [f"Only the first documents of a holdout: up to {max(limits):,} tokens, and at least one document."]
        if limits
        else []
    )
    sentences += [f"{BETTER} better than a unigram model of the source's training split."] if starred else []
    for name, source in baselines.sources.items():
        sentences += [f"No xz of {printable(name)}: {source.xz_missing}."] if source.xz_missing else []
    if any(score.thin for row in evaluations for score in row.sources.values()):
        sentences.append("thin: the holdout is too small for a reliable score.")
    return " ".join(sentences)
