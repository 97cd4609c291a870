"""report.html of a run: loss, learning rate and bits per byte over the tokens seen, with the phases marked.

The bytes of the page depend on its inputs alone, and its size does not grow with the number of steps. Names of sources
and generated texts come from users' files and are escaped.

Legend: N steps.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corpus.display import page
from corpus.display.page import REST, SERIES, STEPS, Html
from corpus.store.products import write_text
from corpus.units import human_count, human_seconds
from trainer.inspect import run_charts as charts
from trainer.inspect.baselines import LEVEL_NAMES, Baselines
from trainer.inspect.eval_table import evaluation_table, score_lines
from trainer.inspect.metrics import EvaluationRow, StepRow

FILE_NAME = "report.html"
MAX_POINTS, MAX_SMALL_POINTS = 1500, 200  # per curve, and per curve of a small chart
MAX_EVALUATIONS = 6  # columns of the table
MAX_SAMPLE_CHARACTERS = 4000

LOSS_COLOURS = {"each step": STEPS[1], "smoothed": SERIES[0]}
RATE_COLOUR = SERIES[6]
BITS_COLOURS = {"model": SERIES[2], **dict(zip(LEVEL_NAMES, (SERIES[1], REST), strict=True))}
SOURCE_LOSS = "loss/"
MEASUREMENTS = ("step", "tokens", "loss", "learning_rate", "step_s", "tokens_per_s", "mfu")  # fields of a StepRow


class StepColumns:
    """Rows of `metrics.jsonl` as columns. The rows are not kept, so the memory of a long run stays small."""

    def __init__(self, rows: Iterable[StepRow]) -> None:
        self.phases: dict[str, int] = {}  # index by name
        self.last: StepRow | None = None
        columns: dict[str, array[float]] = defaultdict(lambda: array("d"))
        count = 0
        for count, row in enumerate(rows, 1):
            numbers = {name: getattr(row, name) for name in MEASUREMENTS}
            numbers |= {f"{SOURCE_LOSS}{name}": loss for name, loss in row.losses.items()}
            numbers["phase"] = self.phases.setdefault(row.phase, len(self.phases))
            for name, number in numbers.items():
                if number is not None:
                    columns[name].extend(repeat(np.nan, count - 1 - len(columns[name])))  # steps that lack it
                    columns[name].append(number)
            self.last = row
        for column in columns.values():
            column.extend(repeat(np.nan, count - len(column)))
        self.columns: dict[str, charts.Reals] = {name: np.array(column) for name, column in columns.items()}

    @property
    def sources(self) -> list[str]:
        """Names of the sources in any step."""
        return sorted(name.removeprefix(SOURCE_LOSS) for name in self.columns if name.startswith(SOURCE_LOSS))

    def series(self, name: str) -> charts.Series:
        """Return one of MEASUREMENTS, or the loss of a source (SOURCE_LOSS and its name)."""
        present_N = ~np.isnan(self.columns[name])
        return charts.Series(*(self.columns[key][present_N] for key in (name, "step", "tokens", "phase")))


class RunReport(NamedTuple):
    """Contents of a page."""

    title: str
    phases: Sequence[charts.PhaseMark]
    steps: StepColumns
    evaluations: Sequence[EvaluationRow]
    baselines: Baselines
    samples: Sequence[tuple[str, str]]  # prompt, and text generated after it

    @property
    def axis(self) -> charts.TokenAxis:
        """Token axis that ends at the last row."""
        rows = [self.steps.last, *self.evaluations[-1:]]
        return charts.TokenAxis(self.phases, max([1, *(row.tokens for row in rows if row)]))


def write_page(folder: Path, report: RunReport) -> Path:
    """Write `report.html` atomically; return its path."""
    latest = {(row.step, row.after): row for row in report.evaluations}  # a resumed run may repeat an evaluation
    report = report._replace(evaluations=list(latest.values()))
    sections = [_headline(report)]
    if report.steps.last is not None:
        sections.append(_loss(report))
    if report.evaluations:
        sections.append(_evaluations(report))
    if report.steps.last is not None:
        sections += [_source_losses(report, report.steps.last), _learning_rate(report)]
    if report.samples:
        sections.append(_samples(report))
    write_text(folder / FILE_NAME, page.page(f"{report.title}: training", *sections), folder)
    return folder / FILE_NAME


def _headline(report: RunReport) -> Html:
    last, columns = report.steps.last, report.steps.columns
    scored = [row for row in report.evaluations if row.bits_per_byte is not None]
    tiles = []
    if last is not None:
        loss = charts.smoothed(report.steps.series("loss"))[-1]
        speed = human_count(np.median(columns["tokens_per_s"]))
        mfu = f"; MFU {np.nanmedian(columns['mfu']):.1%}" if "mfu" in columns else ""
        phases = f"{len(report.phases):,} phase{'' if len(report.phases) == 1 else 's'}"
        tiles = [
            ("Steps", f"{last.step:,}", f"of {report.phases[-1].last_step:,} in {phases}" if report.phases else ""),
            ("Tokens seen", human_count(last.tokens), f"{human_seconds(columns['step_s'].sum())} of training steps"),
            ("Loss", f"{loss:.3f}", f"nats per token, smoothed; {columns['loss'][0]:.2f} at first"),
            ("Tokens per second", speed, f"median{mfu}"),
        ]
    if scored:
        first, now = scored[0], scored[-1]
        remark = f"of the holdouts; {first.bits_per_byte:.3f} {first.after}" if first is not now else now.after
        tiles.append(("Bits per byte", f"{now.bits_per_byte:.3f}", remark))
    lead = page.paragraph("Training data and results of this run.", kind="lead")
    figures = page.tiles(tiles) if tiles else page.paragraph("No step is done yet.")
    return Html(page.heading(report.title, 1) + lead + figures)


def _loss(report: RunReport) -> Html:
    losses = report.steps.series("loss")
    points = charts.curve(losses, MAX_POINTS)
    caption = "Nats per target token, over the tokens seen."
    if len(points) < len(losses.values_N):
        steps = -(-len(losses.values_N) // len(points))
        caption += f" A point of the thin line is the mean of {steps:,} steps; the band is their range."
    if points[0].high > charts.loss_range(points)[1]:
        caption += f" The curve begins at {points[0].high:.2f}, above the chart."
    columns = ["phase", "steps", "tokens", "first loss", "last loss, smoothed", "time in steps"]
    rows = [_phase_cells(report, phase, losses) for phase in report.phases if phase.name in report.steps.phases]
    chart = page.chart("loss", _loss_chart(report, points), caption, LOSS_COLOURS)
    return page.section(page.heading("Loss"), chart, page.table(columns, rows))


def _phase_cells(report: RunReport, phase: charts.PhaseMark, losses: charts.Series) -> list[str]:
    inside_N = losses.phases_N == report.steps.phases[phase.name]
    return [
        page.foreign(phase.name),
        f"{inside_N.sum():,} of {phase.last_step - phase.first_step + 1:,}",
        human_count(losses.tokens_N[inside_N][-1] - phase.tokens_first),
        f"{losses.values_N[inside_N][0]:.3f}",
        f"{charts.smoothed(losses)[inside_N][-1]:.3f}",
        human_seconds(report.steps.columns["step_s"][inside_N].sum()),
    ]


def _loss_chart(report: RunReport, points: Sequence[charts.CurvePoint], small: bool = False) -> charts.Spec:
    domain = charts.loss_range(points)
    return charts.layered_chart(
        report.axis,
        [point._asdict() for point in points],
        {"mean": (LOSS_COLOURS["each step"], 1), "smooth": (LOSS_COLOURS["smoothed"], 2)},
        {"step": ",", "tokens": ",", "mean": ".4f", "smooth": ".4f"},
        domain=domain,
        clip=points[0].high > domain[1],
        band_colour=LOSS_COLOURS["each step"] if any(point.low != point.high for point in points) else None,
        height=110 if small else 280,
        small=small,
    )


def _evaluations(report: RunReport) -> Html:
    figures, lines = [], score_lines(report.evaluations, report.baselines)
    for number, line in enumerate([*lines[-1:], *lines[:-1]] if len(lines) > 1 else lines):  # all sources come first
        scores = [(row, bits) for row, bits in zip(report.evaluations, line.bits, strict=True) if bits is not None]
        levels = {name: level for name, level in zip(LEVEL_NAMES, line.levels, strict=True) if level is not None}
        values = [*(bits for _, bits in scores), *levels.values()]
        spec = charts.layered_chart(
            report.axis,
            [{"tokens": row.tokens, "when": row.after, "bits": bits} for row, bits in scores],
            {"bits": (BITS_COLOURS["model"], 2)},
            {"when": "", "tokens": ",", "bits": ".4f"},
            domain=charts.padded(min(values), max(values), 12),
            levels={name: (BITS_COLOURS[name], level) for name, level in levels.items()},
            small=True,
        )
        caption = "all sources, by their bytes" if line.source is None else page.foreign(line.source)
        figures.append(page.chart(f"bits-{number}", spec, caption))
    text = (
        "Bits the model needs per byte of documents it was not trained on: the sum of −log₂ p over a holdout's tokens, "
        "divided by its bytes of UTF-8. Lower is better."
    )
    colours = BITS_COLOURS if report.baselines.sources else {"model": BITS_COLOURS["model"]}
    parts = [page.heading("Bits per byte of the holdouts"), page.paragraph(text), page.legend(colours)]
    return page.section(*parts, page.grid(*figures), _evaluation_table(report))


def _evaluation_table(report: RunReport) -> Html:
    """Show all evaluations or, if they are many, the first, the last and those at the end of phases."""
    shown = list(report.evaluations)
    if len(shown) > MAX_EVALUATIONS:
        ends = {0, shown[-1].step, *(phase.last_step for phase in report.phases)}
        shown = [row for row in shown if row.step in ends]
    table, rows = evaluation_table(shown, report.baselines), []
    for line, cells in zip(score_lines(shown, report.baselines), table.rows, strict=True):
        last, unigram = line.bits[-1], line.levels.unigram
        percentage = f"{last / unigram - 1:+.1%}".replace("-", "−") if last is not None and unigram else "–"
        rows.append([page.foreign(cells[0]), *cells[1:], percentage])
    columns = [*table.columns, "against unigram"]
    if not report.baselines.sources:
        columns, rows = columns[:-3], [row[:-3] for row in rows]
    return Html(page.table(columns, rows) + page.paragraph(table.note, kind="note"))


def _source_losses(report: RunReport, last: StepRow) -> Html:
    figures = []
    for number, name in enumerate(report.steps.sources):
        remark = f"<small>read {last.epochs[name]:.2f} times</small>" if name in last.epochs else ""
        points = charts.curve(report.steps.series(f"{SOURCE_LOSS}{name}"), MAX_SMALL_POINTS)
        spec = _loss_chart(report, points, small=True)
        figures.append(page.chart(f"source-{number}", spec, Html(f"{page.foreign(name)}{remark}")))
    text = "Nats per target token of each source, over the tokens seen of all sources. The scales differ."
    parts = (page.paragraph(text), page.legend(LOSS_COLOURS), page.grid(*figures))
    return page.section(page.heading("Loss by source"), *parts)


def _learning_rate(report: RunReport) -> Html:
    points = charts.curve(report.steps.series("learning_rate"), MAX_POINTS)
    rows = [{"tokens": point.tokens, "rate": point.mean} for point in points]
    spec = charts.layered_chart(report.axis, rows, {"rate": (RATE_COLOUR, 1.5)}, {"tokens": ",", "rate": ".3g"})
    return page.section(page.heading("Learning rate"), page.chart("rate", spec, "Over the tokens seen."))


def _samples(report: RunReport) -> Html:
    parts = []
    for prompt, text in report.samples:
        shown = text if len(text) <= MAX_SAMPLE_CHARACTERS else f"{text[:MAX_SAMPLE_CHARACTERS]}…"
        parts.append(Html(f'<p class="excerpt"><b>{_with_breaks(prompt)}</b>{_with_breaks(shown)}</p>'))
    note = page.paragraph("Text that the model generated after the words in bold.")
    return page.section(page.heading("Samples"), note, *parts)


def _with_breaks(text: str) -> Html:
    return Html("<br>".join(page.foreign(line.replace("\t", "    ")) for line in text.split("\n")))
