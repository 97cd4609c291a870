"""report.html of a run: loss, learning rate and bits per byte over the tokens seen, with the phases marked.

The template is corpus/display/run.html. The bytes of the page depend on its inputs alone, and its size does not grow
with the number of steps. Names of sources and generated texts come from users' files and are escaped.

Legend: N steps.
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from corpus.display.data_table import DataRow, DataTable
from corpus.display.page import render
from corpus.store.products import write_text
from corpus.units import human_count, human_seconds
from trainer.data.curriculum import Curriculum
from trainer.engine.run_setup import RunSetup, setting_lines
from trainer.inspect import run_charts as charts
from trainer.inspect.baselines import Baselines, load_baselines, saved_baselines
from trainer.inspect.eval_table import evaluation_table, score_lines
from trainer.inspect.metrics import EvaluationRow, StepRow, evaluations_file, metrics_file
from trainer.inspect.recorded_run import RecordedRun, read_record

FILE_NAME, SAMPLES = "report.html", "samples.json"
MAX_POINTS, MAX_SMALL_POINTS = 1500, 200  # per curve, and per curve of a small chart
MAX_EVALUATIONS = 6  # columns of the table
MAX_SAMPLE_CHARACTERS = 4000

SOURCE_LOSS = "loss/"
MEASURED = {  # fields of a StepRow that have a small chart, with its caption and the unit of its values
    "grad_norm": ("gradient norm before clipping", 1.0),
    "tokens_per_s": ("tokens per second", 1.0),
    "mfu": ("MFU, 6N FLOPs per token, in percent", 0.01),
    "device_memory_bytes": ("most memory allocated on the device, GB", 1e9),
}
MEASUREMENTS = ("step", "tokens", "loss", "learning_rate", "step_s", *MEASURED)


class StepColumns:
    """Rows of `metrics.jsonl` as columns. The rows are not kept, so the memory of a long run stays small."""

    def __init__(self, rows: Iterable[StepRow]) -> None:
        self.phases: dict[str, int] = {}  # index by name
        self.last: StepRow | None = None
        count = 0
        columns: dict[str, array[float]] = defaultdict(lambda: array("d", repeat(np.nan, count)))
        for row in rows:
            numbers = {name: getattr(row, name) for name in MEASUREMENTS}
            numbers |= {f"{SOURCE_LOSS}{name}": loss for name, loss in row.losses.items()}
            numbers["phase"] = self.phases.setdefault(row.phase, len(self.phases))
            present = {name: number for name, number in numbers.items() if number is not None}
            for name in {**columns, **present}:
                columns[name].append(present.get(name, np.nan))
            self.last, count = row, count + 1
        self.columns: dict[str, charts.Reals] = {name: np.array(column) for name, column in columns.items()}

    @property
    def sources(self) -> list[str]:
        """Names of the sources in any step."""
        return sorted(name.removeprefix(SOURCE_LOSS) for name in self.columns if name.startswith(SOURCE_LOSS))

    def series(self, name: str) -> charts.Series:
        """Return one of MEASUREMENTS, or the loss of a source (SOURCE_LOSS and its name)."""
        present_N = ~np.isnan(self.columns[name])
        return charts.Series(*(self.columns[key][present_N] for key in (name, "step", "tokens", "phase")))


@dataclass(frozen=True)
class RunReport:
    """Contents of a page."""

    title: str
    curriculum: Curriculum
    steps: StepColumns
    evaluations: Sequence[EvaluationRow]
    baselines: Baselines
    samples: Sequence[tuple[str, str]]  # prompt, and text generated after it
    record: RecordedRun | None = None  # None: starts and settings are not shown

    @property
    def axis(self) -> charts.TokenAxis:
        """Token axis that ends at the last row."""
        rows = [self.steps.last, *self.evaluations[-1:]]
        return charts.TokenAxis(self.curriculum, max([1, *(row.tokens for row in rows if row)]))

    def points(self, measurement: str, small: bool = False) -> list[charts.CurvePoint]:
        """Return the curve of a measurement."""
        return charts.curve(self.steps.series(measurement), MAX_SMALL_POINTS if small else MAX_POINTS)

    @property
    def measured(self) -> list[tuple[str, list[charts.CurvePoint]]]:
        """Captions and curves of the small charts, for what was measured."""
        found = []
        for name, (caption, unit) in MEASURED.items():
            if name in self.steps.columns:
                series = self.steps.series(name)
                points = charts.curve(series._replace(values_N=series.values_N / unit), MAX_SMALL_POINTS)
                found.append((caption, points))
        return found

    @property
    def start_table(self) -> DataTable:
        """Starts of the run, and how each ended."""
        starts = self.record.starts if self.record else ()
        columns = ["started", "after step", "end", "last step", "ended", "processes", "precision", "host"]
        rows: list[DataRow] = [
            [
                start.time,
                f"{start.step:,}" + (f" of {start.origin}" if start.origin else ""),
                start.end,
                "–" if start.last_step is None else f"{start.last_step:,}",
                start.end_time or "–",
                start.processes,
                start.precision,
                start.host,
            ]
            for start in starts
        ]
        return DataTable("Starts", columns, rows, text=(0, 1, 2, 3, 4, 6, 7))

    @property
    def setting_table(self) -> DataTable:
        """Settings of the last start."""
        rows = list(setting_lines(self.record.training.model_dump(mode="json")).items()) if self.record else []
        return DataTable("Settings", ["setting", "value"], rows, text=(0, 1))

    @property
    def tiles(self) -> list[tuple[str, str, str]]:
        """Headline figures: name, figure, remark."""
        tiles, last, columns = [], self.steps.last, self.steps.columns
        if last is not None:
            phases = len(self.curriculum.phases)
            planned = f"of {self.curriculum.steps:,} in {phases:,} phase{'' if phases == 1 else 's'}"
            duration = human_seconds(columns["step_s"].sum())
            loss = charts.smoothed(self.steps.series("loss"))[-1]
            speed = human_count(np.median(columns["tokens_per_s"]))
            mfu = f"; MFU {np.nanmedian(columns['mfu']):.1%}" if "mfu" in columns else ""
            tiles = [
                ("Steps", f"{last.step:,}", planned),
                ("Tokens seen", human_count(last.tokens), f"{duration} of training steps"),
                ("Loss", f"{loss:.3f}", f"nats per token, smoothed; {columns['loss'][0]:.2f} at first"),
                ("Tokens per second", speed, f"median{mfu}"),
            ]
        if scored := [row for row in self.evaluations if row.bits_per_byte is not None]:
            first, now = scored[0], scored[-1]
            remark = f"of the holdouts; {first.bits_per_byte:.3f} {first.after}" if first is not now else now.after
            tiles.append(("Bits per byte", f"{now.bits_per_byte:.3f}", remark))
        return tiles

    @property
    def phase_rows(self) -> list[list[str]]:
        """Rows of the table of phases, for those that have begun."""
        losses = self.steps.series("loss")
        smoothed_N = charts.smoothed(losses)
        rows = []
        for phase in self.curriculum.phases:
            if phase.name in self.steps.phases:
                inside_N = losses.phases_N == self.steps.phases[phase.name]
                row = [
                    phase.name,
                    f"{inside_N.sum():,} of {phase.last_step - phase.first_step + 1:,}",
                    human_count(losses.tokens_N[inside_N][-1] - self.curriculum.tokens(phase.first_step - 1)),
                    f"{losses.values_N[inside_N][0]:.3f}",
                    f"{smoothed_N[inside_N][-1]:.3f}",
                    human_seconds(self.steps.columns["step_s"][inside_N].sum()),
                ]
                rows.append(row)
        return rows

    @property
    def score_table(self) -> DataTable:
        """Scores of all evaluations or, if they are many, of the first, the last and those at the end of phases."""
        evaluations = self.evaluations
        if len(evaluations) > MAX_EVALUATIONS:
            ends = {0, evaluations[-1].step, *(phase.last_step for phase in self.curriculum.phases)}
            evaluations = [row for row in evaluations if row.step in ends]
        scores = evaluation_table(evaluations, self.baselines)
        if self.baselines.sources:
            return scores
        return scores._replace(columns=scores.columns[:-3], rows=[row[:-3] for row in scores.rows])


def read_report(folder: Path, baselines: Baselines | None = None) -> RunReport:
    """Read what a run folder holds; by default its saved baselines, of whichever corpora. Raises InputError."""
    record = read_record(folder)
    try:
        samples = [(str(prompt), str(text)) for prompt, text in json.loads((folder / SAMPLES).read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        samples = []
    if baselines is None:
        baselines = saved_baselines(folder, record.training.evaluate.tokens_per_source, corpora=None)
    steps, evaluations = StepColumns(metrics_file(folder).rows()), list(evaluations_file(folder).rows())
    return RunReport(record.training.name, record.curriculum, steps, evaluations, baselines, samples, record)


def write_run_page(folder: Path, baselines: Baselines | None = None) -> Path:
    """Write the page of a run from the files in its folder; return its path. Raises InputError."""
    return write_page(folder, read_report(folder, baselines))


def try_write_run_page(
    setup: RunSetup, say: Callable[[str], None], samples: Sequence[tuple[str, str]] | None = None
) -> None:
    """Write the page of a run at work, with new samples if given. A failure is told, and must not end the run."""
    try:
        if samples is not None:
            write_text(setup.folder / SAMPLES, json.dumps(samples, indent=1) + "\n", setup.folder)
        write_run_page(setup.folder, load_baselines(setup))
    except Exception as error:
        say(f"the page could not be written: {type(error).__name__}: {error}")


def write_page(folder: Path, report: RunReport) -> Path:
    """Write `report.html` atomically; return its path."""
    # A resumed run may repeat an evaluation; a phase that became longer has an end that is none any more.
    latest = {(row.step, row.after): row for row in report.evaluations}
    ends = {f"after {phase.name}": phase.last_step for phase in report.curriculum.phases}
    kept = [row for row in latest.values() if ends.get(row.after, row.step) == row.step]
    report = replace(report, evaluations=kept)
    markup = render(
        "run.html",
        f"{report.title}: training",
        report=report,
        charts=charts,
        lines=score_lines(report.evaluations, report.baselines),
        measured=report.measured,
        sample_characters=MAX_SAMPLE_CHARACTERS,
    )
    write_text(folder / FILE_NAME, markup, folder)
    return folder / FILE_NAME
