"""`trainer report`: the page of a run, or one page of several runs with their curves on the same axes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corpus.display.data_table import DataRow, DataTable
from corpus.display.drawing import ChartRow, Curve
from corpus.display.page import SERIES, render
from corpus.errors import InputError
from corpus.store.products import write_text
from trainer.data.curriculum import Curriculum
from trainer.engine.run_setup import setting_lines
from trainer.inspect import run_charts as charts
from trainer.inspect.recorded_run import find_run
from trainer.inspect.run_page import RunReport, read_report, write_run_page

FILE_NAME = "comparison.html"
MAX_RUNS = len(SERIES)  # as many as there are colors
SETTLED = 0.02  # share of the points that the range of the losses leaves out: a steep beginning would flatten the rest


class NamedRun(NamedTuple):
    """A run on a page of several."""

    name: str
    color: str
    report: RunReport


class _Line(NamedTuple):
    """Values of a run over the tokens seen."""

    name: str
    color: str
    points: Sequence[tuple[int, float]]


def show_report(runs: Sequence[Path], out: Path | None) -> None:
    """Run `trainer report`: write the page and print its path. Raises InputError."""
    folders = [find_run(run) for run in runs] or [find_run(None)]
    if len(folders) == 1 and out is None:
        print(f"Report: {write_run_page(folders[0])}")
        return
    print(f"Report: {write_comparison(folders, out or Path(FILE_NAME))}")


def write_comparison(folders: Sequence[Path], out: Path) -> Path:
    """Write one page of several runs; return its path. Raises InputError."""
    if len(folders) > MAX_RUNS:
        raise InputError(f"{len(folders)} runs: a page shows at most {MAX_RUNS}; name fewer")
    names = _distinct_names(folders)
    runs = [
        NamedRun(name, color, read_report(folder)) for name, color, folder in zip(names, SERIES, folders, strict=False)
    ]
    markup = render(
        "comparison.html",
        f"{', '.join(names)}: training",
        names=names,
        colors={run.name: run.color for run in runs},
        loss=loss_chart(runs),
        bits=score_chart(runs),
        scores=score_table(runs),
        differences=difference_table(runs),
    )
    write_text(out, markup, out.parent)
    return out


def loss_chart(runs: Sequence[NamedRun]) -> list[ChartRow]:
    """Draw the smoothed losses over the tokens seen; no rows if no step is done."""
    begun = [run for run in runs if run.report.steps.last]
    curves = [[(point.tokens, point.smooth) for point in run.report.points("loss")] for run in begun]
    return _lines_chart([_Line(run.name, run.color, curve) for run, curve in zip(begun, curves, strict=True)], SETTLED)


def score_chart(runs: Sequence[NamedRun]) -> list[ChartRow]:
    """Draw the bits per byte of all holdouts over the tokens seen; no rows without evaluations."""
    lines = []
    for run in runs:
        rows = run.report.evaluations
        points = [(row.tokens, row.bits_per_byte) for row in rows if row.bits_per_byte is not None]
        lines += [_Line(run.name, run.color, points)] if points else []
    return _lines_chart(lines, 0)


def score_table(runs: Sequence[NamedRun]) -> DataTable:
    """Tabulate the last bits per byte of each source, by run."""
    last = [run.report.evaluations[-1] if run.report.evaluations else None for run in runs]
    sources = sorted({name for row in last if row for name in row.sources})
    rows: list[DataRow] = []
    for name in sources:
        scores = [row.sources.get(name) if row else None for row in last]
        rows.append([name, *(f"{score.bits_per_byte:.3f}" if score else "–" for score in scores)])
    totals = [row.bits_per_byte if row else None for row in last]
    rows.append(["all", *(f"{total:.3f}" if total is not None else "–" for total in totals)])
    rows.append(["after", *(f"step {row.step:,}" if row else "–" for row in last)])
    return DataTable("Bits per byte", ["source", *(run.name for run in runs)], rows)


def difference_table(runs: Sequence[NamedRun]) -> DataTable:
    """Tabulate the settings in which the runs differ."""
    settings = [
        setting_lines(run.report.record.training.model_dump(mode="json")) if run.report.record else {} for run in runs
    ]
    rows: list[DataRow] = []
    for name in dict.fromkeys(name for lines in settings for name in lines):
        values = [lines.get(name, "–") for lines in settings]
        if len(set(values)) > 1:
            rows.append([name, *values])
    return DataTable("Settings", ["setting", *(run.name for run in runs)], rows, text=range(len(runs) + 1))


def _lines_chart(lines: Sequence[_Line], unsettled: float) -> list[ChartRow]:
    """Draw the lines. A hover shows all values at the points of the longest."""
    if not lines:
        return []
    settled = [value for line in lines for _, value in line.points[int(len(line.points) * unsettled) :]]
    longest = max(lines, key=lambda line: line.points[-1][0]).points
    axis = charts.TokenAxis(Curriculum(()), max(1, longest[-1][0]))
    plot = charts.Plot(axis, [tokens for tokens, _ in longest], *charts.padded(min(settled), max(settled), 20))
    curves = []
    for line in lines:
        places = [(tokens / axis.tokens, plot.height(value)) for tokens, value in line.points]
        curves.append(Curve(places, line.color, 2, dotted=len(places) <= charts.MAX_DOTTED_POINTS))
    titles = []
    for at, _ in longest:
        reached = [line for line in lines if at <= line.points[-1][0]]
        values = [np.interp(at, *np.array(line.points).T) for line in reached]
        titles.append(" · ".join(f"{line.name} {value:.4f}" for line, value in zip(reached, values, strict=True)))
    return plot.draw(curves, titles, height=280)


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names or, if two have the same, their paths. Raises InputError if one is given twice."""
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise InputError("the same run is named twice; name each once")
    names = [folder.name for folder in resolved]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
