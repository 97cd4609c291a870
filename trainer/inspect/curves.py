"""report.html of a run: the loss, the learning rate and bits per byte over the tokens seen, with the phases marked.

Its bytes depend on what it is given alone, and its size not on the number of steps. Names of sources and generated
texts are foreign.

Legend: N steps.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corpus.display import page
from corpus.display.page import Html
from corpus.store.products import write_text
from corpus.units import human_bytes, human_count, human_seconds
from trainer.inspect import run_charts
from trainer.inspect.metrics import EvaluationRow, StepRow
from trainer.inspect.run_charts import Column, Frame, PhaseMark, Reals, curve, smoothed
from trainer.inspect.scores import Levels, Yardsticks

FILE_NAME = "report.html"
POINTS, SMALL_POINTS = 1500, 200  # of a curve, and of a small chart's
SHOWN_EVALUATIONS = 6
SHOWN_CHARACTERS = 4000  # of a sample

NUMBERS = ("step", "tokens", "loss", "learning_rate", "step_s", "tokens_per_s", "mfu")  # of a row


class Steps:
    """Rows of `metrics.jsonl` by column, so that a long run fits: the rows themselves are let go one by one."""

    def __init__(self, rows: Iterable[StepRow]) -> None:
        self.phases: dict[str, int] = {}
        self.last: StepRow | None = None
        numbers, phases = {name: array("d") for name in NUMBERS}, array("q")
        losses: dict[str, tuple[array[int], array[float]]] = defaultdict(lambda: (array("q"), array("d")))
        for place, row in enumerate(rows):
            for name, column in numbers.items():
                number = getattr(row, name)
                column.append(np.nan if number is None else number)
            phases.append(self.phases.setdefault(row.phase, len(self.phases)))
            for name, loss in row.losses.items():
                places, values = losses[name]
                places.append(place)
                values.append(loss)
            self.last = row
        self.numbers: dict[str, Reals] = {name: np.array(column) for name, column in numbers.items()}
        self._phases_N = np.array(phases)
        self._losses = {name: (np.array(places), np.array(values)) for name, (places, values) in losses.items()}

    @property
    def sources(self) -> list[str]:
        """Of any step."""
        return sorted(self._losses)

    def column(self, name: str) -> Column:
        """One of `NUMBERS`."""
        return Column(self.numbers[name], self.numbers["step"], self.numbers["tokens"], self._phases_N)

    def of_source(self, name: str) -> Column:
        """A source's loss."""
        places, values_N = self._losses[name]
        return Column(values_N, *(each_N[places] for each_N in self.column("loss")[1:]))


class Run(NamedTuple):
    """All that a page shows."""

    title: str
    phases: Sequence[PhaseMark]
    steps: Steps
    evaluations: Sequence[EvaluationRow]
    yardsticks: Yardsticks
    samples: Sequence[tuple[str, str]]

    @property
    def frame(self) -> Frame:
        """The charts end where the last row does."""
        rows = [self.steps.last, *self.evaluations[-1:]]
        return Frame(self.phases, max([1, *(row.tokens for row in rows if row)]))


def write_page(
    folder: Path,
    title: str,
    phases: Sequence[PhaseMark],
    steps: Iterable[StepRow],
    evaluations: Iterable[EvaluationRow],
    yardsticks: Yardsticks,
    samples: Sequence[tuple[str, str]],
) -> Path:
    """Writes `report.html` whole or not at all. A sample is a prompt and the text that the model put behind it."""
    last = {(row.step, row.after): row for row in evaluations}  # of an evaluation that was made again
    run = Run(title, phases, Steps(steps), list(last.values()), yardsticks, samples)
    write_text(folder / FILE_NAME, render(run), folder)
    return folder / FILE_NAME


def render(run: Run) -> str:
    """The whole page."""
    there = run.steps.last is not None
    parts = [_headline(run)]
    parts += [_loss(run)] if there else []
    parts += [_held_out(run)] if run.evaluations else []
    parts += [_by_source(run), _rate(run)] if there else []
    parts += [_samples(run)] if run.samples else []
    return page.page(f"{run.title}: training", *parts)


def _headline(run: Run) -> Html:
    last, numbers = run.steps.last, run.steps.numbers
    measured = [row for row in run.evaluations if row.bits_per_byte is not None]
    figures = []
    if last is not None:
        loss = smoothed(run.steps.column("loss"))[-1]
        speed = human_count(np.median(numbers["tokens_per_s"]))
        mfu_N = numbers["mfu"][~np.isnan(numbers["mfu"])]
        many = f"{len(run.phases):,} phase{'' if len(run.phases) == 1 else 's'}"
        figures = [
            ("Steps", f"{last.step:,}", f"of {run.phases[-1].last_step:,} in {many}" if run.phases else ""),
            ("Tokens seen", human_count(last.tokens), f"{human_seconds(numbers['step_s'].sum())} of training steps"),
            ("Loss", f"{loss:.3f}", f"nats a token, smoothed; {numbers['loss'][0]:.2f} at first"),
            ("Tokens a second", speed, f"median; MFU {np.median(mfu_N):.1%}" if len(mfu_N) else "median"),
        ]
    if measured:
        first, now = measured[0], measured[-1]
        remark = f"of the holdouts; {first.bits_per_byte:.3f} {first.after}" if first is not now else now.after
        figures.append(("Bits per byte", f"{now.bits_per_byte:.3f}", remark))
    lead = "What this run saw, and what the model had learnt by then."
    tiles = page.tiles(figures) if figures else page.paragraph("No step is done yet.")
    return Html(page.heading(run.title, 1) + page.paragraph(lead, kind="lead") + tiles)


def _loss(run: Run) -> Html:
    losses = run.steps.column("loss")
    points = curve(losses, POINTS)
    bounds = run_charts.span(points)
    caption = "Nats a target token, over the tokens seen."
    if len(points) < len(losses.values_N):
        many = -(-len(losses.values_N) // len(points))
        caption += f" A point of the thin line is the mean of {many:,} steps, the band behind it their range."
    if points[0].high > bounds[1]:
        caption += f" It begins at {points[0].high:.2f}, above what is drawn."
    columns = ["phase", "steps", "tokens", "loss at first", "at last, smoothed", "time in steps"]
    return page.section(
        page.heading("Loss"),
        page.chart("loss", run_charts.loss_chart(run.frame, points, bounds), caption, run_charts.LOSS),
        page.table(columns, [_phase(run, phase) for phase in run.phases if phase.name in run.steps.phases]),
    )


def _phase(run: Run, phase: PhaseMark) -> list[str]:
    losses = run.steps.column("loss")
    inside = losses.phases_N == run.steps.phases[phase.name]
    return [
        page.foreign(phase.name),
        f"{inside.sum():,} of {phase.last_step - phase.first_step + 1:,}",
        human_count(losses.tokens_N[inside][-1] - phase.tokens_first),
        f"{losses.values_N[inside][0]:.3f}",
        f"{smoothed(losses)[inside][-1]:.3f}",
        human_seconds(run.steps.numbers["step_s"][inside].sum()),
    ]


def _held_out(run: Run) -> Html:
    figures = []
    names = sorted({name for row in run.evaluations for name in row.sources})
    for number, name in enumerate(["", *names] if len(names) > 1 else names):
        found = [(row, row.sources.get(name) if name else row) for row in run.evaluations]
        measured = [(row, score.bits_per_byte) for row, score in found if score and score.bits_per_byte is not None]
        caption = page.foreign(name) if name else "all sources, by their bytes"
        levels = run.yardsticks.levels([name] if name else run.evaluations[-1].sources)
        figures.append(page.chart(f"bits-{number}", run_charts.bits_chart(run.frame, measured, levels), caption))
    key = run_charts.BITS if run.yardsticks.sources else {"model": run_charts.BITS["model"]}
    text = (
        "What the model needs to write down a byte of documents that it never saw: the summed −log₂ p of a holdout's "
        "tokens, divided by its bytes of UTF-8; over the tokens seen. Lower is better. "
    )
    if run.yardsticks.sources:
        text += (
            "Beside it, two yardsticks of the same text: the unigram (the best that knowing each token's frequency in "
            "the source's training split does) and what xz -9 makes of the holdout."
        )
    parts = [page.heading("Bits per byte of the holdouts"), page.paragraph(text), page.legend(key), page.grid(*figures)]
    return page.section(*parts, _evaluation_table(run, names))


def _evaluation_table(run: Run, names: Sequence[str]) -> Html:
    """Sources against evaluations: all, or where they are many those before and at the end of phases, and the last."""
    shown = list(run.evaluations)
    if len(shown) > SHOWN_EVALUATIONS:
        ends = {0, run.evaluations[-1].step, *(phase.last_step for phase in run.phases)}
        shown = [row for row in shown if row.step in ends]
    last = shown[-1]
    rows = []
    for name in names:
        score = last.sources.get(name)
        values = [row.sources[name].bits_per_byte if name in row.sources else None for row in shown]
        thin = Html(' <span class="pill">thin</span>') if score and score.thin else ""
        size = human_bytes(score.bytes) if score else "–"
        rows.append([Html(page.foreign(name) + thin), size, *_figures(values, run.yardsticks.levels([name]))])
    if len(names) > 1:
        over_all = _figures([row.bits_per_byte for row in shown], run.yardsticks.levels(last.sources))
        rows.append([Html("<b>all</b>"), human_bytes(last.bytes), *over_all])
    columns = ["source", "holdout", *(row.after for row in shown)]
    columns += [*run_charts.LEVELS, "against unigram"] if run.yardsticks.sources else []
    rows = [row[: len(columns)] for row in rows]
    stride = ", ".join(f"{each:,}" for each in sorted({row.sequence_tokens for row in shown}))
    note = f"Read in sequences of {stride} tokens. A thin holdout is too small to measure by."
    return Html(page.table(columns, rows) + page.paragraph(note, kind="note"))


def _figures(values: Sequence[float | None], levels: Levels) -> list[str]:
    """Bits per byte as text: of the model, then the yardsticks, then how the last compares with the unigram."""
    unigram = levels.unigram
    told = ["–" if value is None else f"{value:.3f}" for value in (*values, unigram, levels.xz)]
    last = values[-1]
    return [*told, f"{last / unigram - 1:+.1%}".replace("-", "−") if last is not None and unigram else "–"]


def _by_source(run: Run) -> Html:
    figures = []
    for number, name in enumerate(run.steps.sources):
        points = curve(run.steps.of_source(name), SMALL_POINTS)
        read = run.steps.last.epochs.get(name) if run.steps.last else None
        remark = "" if read is None else f"<small>read {read:.2f} times</small>"
        spec = run_charts.loss_chart(run.frame, points, run_charts.span(points), small=True)
        figures.append(page.chart(f"source-{number}", spec, Html(f"{page.foreign(name)}{remark}")))
    text = "Nats a target token of each source, over the tokens seen of all sources. The scales differ."
    parts = (page.paragraph(text), page.legend(run_charts.LOSS), page.grid(*figures))
    return page.section(page.heading("Loss by source"), *parts)


def _rate(run: Run) -> Html:
    spec = run_charts.rate_chart(run.frame, curve(run.steps.column("learning_rate"), POINTS))
    return page.section(page.heading("Learning rate"), page.chart("rate", spec, "Over the tokens seen."))


def _samples(run: Run) -> Html:
    parts = []
    for prompt, text in run.samples:
        shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
        parts.append(Html(f'<p class="excerpt"><b>{_lines(prompt)}</b>{_lines(shown)}</p>'))
    note = page.paragraph("What the model writes behind the words in bold.")
    return page.section(page.heading("Samples"), note, *parts)


def _lines(text: str) -> Html:
    """Text with its line breaks."""
    return Html("<br>".join(page.foreign(line.replace("\t", "    ")) for line in text.split("\n")))
