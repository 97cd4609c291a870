"""report.html of a run: the loss, the learning rate and bits per byte over the tokens seen, with the phases marked.

Its bytes depend on what it is given alone, and its size not on the number of steps: a curve is at most `POINTS` long,
each the mean over as many steps as it takes, with their range beside it so that no spike hides. Names of sources and
generated texts are foreign: in charts they stand in data values only.
"""

import statistics
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import NamedTuple

from corpus import page
from corpus.page import INK, REST, SERIES, STEPS, Html
from corpus.settings import Json
from corpus.store.products import write_text
from corpus.units import human_bytes, human_count, human_seconds
from trainer.metrics import EvaluationRow, SourceBits, StepRow

FILE_NAME = "report.html"
POINTS, SMALL_POINTS = 1500, 200  # of a curve, and of a small chart's
SMALL = 260  # pixels: a small chart's width; it is scaled to its column
WINDOWS, LEAST = 100, 3  # smoothing reaches a 100th of the steps to either side, and three at least
FEW = 40  # steps that are drawn as points too
SHOWN_EVALUATIONS = 6
SHOWN_CHARACTERS = 4000  # of a sample

LOSS = {"each step": STEPS[1], "smoothed": SERIES[0]}
RATE = SERIES[6]
BITS = {"model": SERIES[2], "unigram": SERIES[1], "xz -9": REST}

Values = list[Json]
Spec = dict[str, Json]
Yardsticks = Mapping[str, tuple[float, float]]  # bits per byte of a source's holdout: unigram, xz -9


class PhaseMark(NamedTuple):
    """Where a phase lies: its steps, both ends included, and the tokens seen before it and at its end."""

    name: str
    first_step: int
    last_step: int
    tokens_first: int
    tokens_last: int


class Run(NamedTuple):
    """All that a page shows."""

    title: str
    phases: Sequence[PhaseMark]
    steps: Sequence[StepRow]
    evaluations: Sequence[EvaluationRow]
    yardsticks: Yardsticks
    samples: Sequence[tuple[str, str]]

    @property
    def tokens(self) -> int:
        """Seen by the last row; where the charts end."""
        return max([1, *(row.tokens for row in self.steps[-1:]), *(row.tokens for row in self.evaluations[-1:])])


class Point(NamedTuple):
    """Some steps in a row: their mean and range, and the smoothed value at the last."""

    tokens: int
    step: int
    mean: float
    low: float
    high: float
    smooth: float


def write_page(
    folder: Path,
    title: str,
    phases: Sequence[PhaseMark],
    steps: Sequence[StepRow],
    evaluations: Sequence[EvaluationRow],
    yardsticks: Yardsticks | None = None,
    samples: Sequence[tuple[str, str]] = (),
) -> Path:
    """Writes `report.html` whole or not at all. A sample is a prompt and the text that the model put behind it."""
    last = {(row.step, row.after): row for row in evaluations}  # of an evaluation that was made again
    run = Run(title, phases, steps, list(last.values()), yardsticks or {}, samples)
    write_text(folder / FILE_NAME, render(run), folder)
    return folder / FILE_NAME


def render(run: Run) -> str:
    """The whole page."""
    parts = [_headline(run)]
    parts += [_loss(run)] if run.steps else []
    parts += [_held_out(run)] if run.evaluations else []
    parts += [_by_source(run), _rate(run)] if run.steps else []
    parts += [_samples(run)] if run.samples else []
    return page.page(f"{run.title}: training", *parts)


def curve(rows: Sequence[tuple[StepRow, float]], most: int) -> list[Point]:
    """At most `most` points of a value over some steps."""
    size = -(-len(rows) // most)
    smooth = smoothed(rows)
    points = []
    for start in range(0, len(rows), size):
        held = [value for _, value in rows[start : start + size]]
        last = rows[start + len(held) - 1][0]
        points.append(
            Point(last.tokens, last.step, statistics.fmean(held), min(held), max(held), smooth[start + len(held) - 1])
        )
    return points


def smoothed(rows: Sequence[tuple[StepRow, float]]) -> list[float]:
    """Means over the steps around each, of the same phase: as many before it as behind it, but for the phase's end."""
    reach, found = max(LEAST, len(rows) // WINDOWS), list[float]()
    for _, group in groupby(rows, key=lambda each: each[0].phase):
        sums = [0.0, *accumulate(value for _, value in group)]
        for here in range(len(sums) - 1):
            start = here - min(reach, here)
            end = min(2 * here - start + 1, len(sums) - 1)
            found.append((sums[end] - sums[start]) / (end - start))
    return found


def _headline(run: Run) -> Html:
    steps, measured = run.steps, [each for each in run.evaluations if each.bits_per_byte is not None]
    figures = []
    if steps:
        loss = smoothed([(row, row.loss) for row in steps])[-1]
        spent = human_seconds(sum(row.step_s for row in steps))
        speed = human_count(statistics.median(row.tokens_per_s for row in steps))
        mfu = [row.mfu for row in steps if row.mfu is not None]
        many = f"{len(run.phases):,} phase{'' if len(run.phases) == 1 else 's'}"
        figures = [
            ("Steps", f"{steps[-1].step:,}", f"of {run.phases[-1].last_step:,} in {many}" if run.phases else ""),
            ("Tokens seen", human_count(steps[-1].tokens), f"{spent} of training steps"),
            ("Loss", f"{loss:.3f}", f"nats a token, smoothed; {steps[0].loss:.2f} at first"),
            ("Tokens a second", speed, f"median; MFU {statistics.median(mfu):.1%}" if mfu else "median"),
        ]
    if measured:
        first, last = measured[0], measured[-1]
        remark = f"of the holdouts; {first.bits_per_byte:.3f} {first.after}" if first is not last else last.after
        figures.append(("Bits per byte", f"{last.bits_per_byte:.3f}", remark))
    lead = "What this run saw, and what the model had learnt by then."
    tiles = page.tiles(figures) if figures else page.paragraph("No step is done yet.")
    return Html(page.heading(run.title, 1) + page.paragraph(lead, kind="lead") + tiles)


def _loss(run: Run) -> Html:
    points = curve([(row, row.loss) for row in run.steps], POINTS)
    low, high = _range(points)
    caption = "Nats a target token, over the tokens seen."
    if len(points) < len(run.steps):
        many = -(-len(run.steps) // len(points))
        caption += f" A point of the thin line is the mean of {many:,} steps, the band behind it their range."
    if points[0].high > high:
        caption += f" It begins at {points[0].high:.2f}, above what is drawn."
    smooth = smoothed([(row, row.loss) for row in run.steps])
    at_last = {row.phase: value for row, value in zip(run.steps, smooth, strict=True)}
    rows = []
    for phase in run.phases:
        inside = [row for row in run.steps if row.phase == phase.name]
        if inside:
            tokens, spent = human_count(inside[-1].tokens - phase.tokens_first), sum(row.step_s for row in inside)
            done = f"{len(inside):,} of {phase.last_step - phase.first_step + 1:,}"
            losses = (f"{inside[0].loss:.3f}", f"{at_last[phase.name]:.3f}")
            rows.append([page.foreign(phase.name), done, tokens, *losses, human_seconds(spent)])
    columns = ["phase", "steps", "tokens", "loss at first", "at last, smoothed", "time in steps"]
    return page.section(
        page.heading("Loss"),
        page.chart("loss", _curve_spec(run, points, (low, high)), caption, LOSS),
        page.table(columns, rows),
    )


def _held_out(run: Run) -> Html:
    figures = []
    names = sorted({name for row in run.evaluations for name in row.sources})
    for number, name in enumerate(["", *names] if len(names) > 1 else names):
        found = [(row, row.sources.get(name)) for row in run.evaluations]
        measured = [
            (row, bits)
            for row, source in found
            if (bits := (source.bits_per_byte if source else None) if name else row.bits_per_byte) is not None
        ]
        caption = Html(f"{page.foreign(name) if name else 'all sources, by their bytes'}")
        levels = _overall(run) if not name else run.yardsticks.get(name)
        if measured:
            figures.append(page.chart(f"bits-{number}", _bits_spec(run, measured, levels), caption))
    key = BITS if run.yardsticks else {"model": BITS["model"]}
    text = (
        "What the model needs to write down a byte of documents that it never saw: the summed −log₂ p of a holdout's "
        "tokens, divided by its bytes of UTF-8; over the tokens seen. Lower is better. "
    )
    if run.yardsticks:
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
        source = last.sources.get(name)
        values = [row.sources[name].bits_per_byte if name in row.sources else None for row in shown]
        thin = Html(' <span class="pill">thin</span>') if source and source.thin else ""
        label = Html(page.foreign(name) + thin)
        rows.append([label, _size(source), *_figures(values, run.yardsticks.get(name))])
    if len(names) > 1:
        size = human_bytes(sum(each.bytes for each in last.sources.values()))
        rows.append([Html("<b>all</b>"), size, *_figures([row.bits_per_byte for row in shown], _overall(run))])
    columns = ["source", "holdout", *(row.after for row in shown)]
    columns += ["unigram", "xz -9", "against unigram"] if run.yardsticks else []
    rows = [row[: len(columns)] for row in rows]
    stride = ", ".join(f"{each:,}" for each in sorted({row.sequence_tokens for row in shown}))
    note = f"Read in sequences of {stride} tokens. A thin holdout is too small to measure by."
    return Html(page.table(columns, rows) + page.paragraph(note, kind="note"))


def _figures(values: Sequence[float | None], levels: tuple[float, float] | None) -> list[str]:
    """Bits per byte as text: of the model, then the yardsticks, then how the last compares with the unigram."""
    unigram, xz = levels or (None, None)
    told = ["–" if value is None else f"{value:.3f}" for value in (*values, unigram, xz)]
    last = values[-1]
    return [*told, f"{last / unigram - 1:+.1%}".replace("-", "−") if last is not None and unigram else "–"]


def _size(source: SourceBits | None) -> str:
    return human_bytes(source.bytes) if source else "–"


def _overall(run: Run) -> tuple[float, float] | None:
    """The yardsticks over all sources, weighted like the model's by bytes; None unless each source has them."""
    sources = run.evaluations[-1].sources
    total = sum(each.bytes for each in sources.values())
    if not total or not sources.keys() <= run.yardsticks.keys():
        return None
    unigram, xz = (sum(run.yardsticks[name][k] * each.bytes for name, each in sources.items()) for k in (0, 1))
    return unigram / total, xz / total


def _by_source(run: Run) -> Html:
    figures = []
    for number, name in enumerate(sorted({name for row in run.steps for name in row.losses})):
        points = curve([(row, row.losses[name]) for row in run.steps if name in row.losses], SMALL_POINTS)
        read = run.steps[-1].epochs.get(name)
        remark = "" if read is None else f"<small>read {read:.2f} times</small>"
        caption = Html(f"{page.foreign(name)}{remark}")
        figures.append(page.chart(f"source-{number}", _curve_spec(run, points, _range(points), small=True), caption))
    text = "Nats a target token of each source, over the tokens seen of all sources. The scales differ."
    parts = (page.paragraph(text), page.legend(LOSS), page.grid(*figures))
    return page.section(page.heading("Loss by source"), *parts)


def _rate(run: Run) -> Html:
    points = curve([(row, row.learning_rate) for row in run.steps], POINTS)
    values: Values = [{"tokens": each.tokens, "rate": _short(each.mean)} for each in points]
    y: Json = {"field": "rate", "type": "quantitative", "title": None, "axis": _axis(4, format="~g")}
    mark: Json = {"type": "line", "stroke": RATE, "strokeWidth": 1.5, **_dots(points, RATE)}
    layer: Spec = {"data": {"values": values}, "mark": mark, "encoding": {"x": _x(run, 8), "y": y}}
    spec = _spec([*_phases(run, named=True), layer], height=110)
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


def _range(points: Sequence[Point]) -> tuple[float, float]:
    """What the vertical axis spans. A steep beginning is cut off where it would flatten all the rest."""
    low, top = min(each.low for each in points), max(each.high for each in points)
    settled = max(each.high for each in points[len(points) // 50 :])
    high = top if top - low < 1.5 * (settled - low) else settled
    room = (high - low) / 20 or 0.5
    return low - room, high + room


def _curve_spec(run: Run, points: Sequence[Point], span: tuple[float, float], small: bool = False) -> Spec:
    """A thin line and its smoothed run, the range behind it, and hovering that needs no aim."""
    values: Values = [{name: _short(value) for name, value in each._asdict().items()} for each in points]
    scale: Json = {"domain": [_short(bound) for bound in span], "nice": False, "zero": False}
    axis = _axis(3 if small else 6)

    def y(field: str) -> Json:
        return {"field": field, "type": "quantitative", "title": None, "scale": scale, "axis": axis}

    x, thin, bold = _x(run, 4 if small else 8), LOSS["each step"], LOSS["smoothed"]
    clip = points[0].high > span[1]
    line: Spec = {"type": "line", "clip": clip}
    hover: Values = [
        {"field": field, "type": "quantitative", "title": name, "format": form}
        for field, name, form in (
            ("step", "step", ","),
            ("tokens", "tokens", ","),
            ("mean", "loss", ".4f"),
            ("smooth", "smoothed", ".4f"),
        )
    ]
    band: Spec = {"mark": {"type": "area", "clip": clip, "fill": thin, "fillOpacity": 0.35}}
    band["encoding"] = {"x": x, "y": y("low"), "y2": {"field": "high"}}
    each: Spec = {"mark": {**line, "stroke": thin, "strokeWidth": 1, **_dots(points, thin)}}
    each["encoding"] = {"x": x, "y": y("mean")}
    smooth: Spec = {"mark": {**line, "stroke": bold, "strokeWidth": 2}, "encoding": {"x": x, "y": y("smooth")}}
    aim: Spec = {"mark": {"type": "rule", "opacity": 0, "strokeWidth": 6}, "encoding": {"x": x, "tooltip": hover}}
    thinned = any(each.low != each.high for each in points)
    layers: Values = [*([band] if thinned else []), each, smooth, aim]
    spec = _spec([*_phases(run, named=not small), {"layer": layers, "data": {"values": values}}], 110 if small else 280)
    return {**spec, "width": SMALL} if small else spec


def _bits_spec(run: Run, rows: Sequence[tuple[EvaluationRow, float]], levels: tuple[float, float] | None) -> Spec:
    """Bits per byte at each evaluation, and the yardsticks' levels."""
    bits = [*(value for _, value in rows), *(levels or ())]
    values: Values = [{"tokens": row.tokens, "when": row.after, "bits": _short(value)} for row, value in rows]
    room = (max(bits) - min(bits)) / 12 or 0.5
    scale: Json = {"domain": [_short(min(bits) - room), _short(max(bits) + room)], "nice": False, "zero": False}
    y: Json = {"field": "bits", "type": "quantitative", "title": None, "scale": scale, "axis": _axis(4)}
    colour = BITS["model"]
    dot: Json = {"fill": colour, "stroke": colour, "size": 30}
    hover: Values = [
        {"field": "when", "type": "nominal"},
        {"field": "tokens", "type": "quantitative", "format": ","},
        {"field": "bits", "type": "quantitative", "title": "bits per byte", "format": ".4f"},
    ]
    line: Spec = {
        "data": {"values": values},
        "mark": {"type": "line", "stroke": colour, "strokeWidth": 2, "point": dot},
        "encoding": {"x": _x(run, 4), "y": y, "tooltip": hover},
    }
    rules: Values = []
    for name, level in zip(("unigram", "xz -9"), levels or (), strict=False):
        mark: Json = {"type": "rule", "stroke": BITS[name], "strokeWidth": 1.5, "strokeDash": [5, 3]}
        tip: Json = [{"field": "bits", "type": "quantitative", "title": name, "format": ".4f"}]
        level_data: Json = {"values": [{"bits": _short(level)}]}
        rules.append({"data": level_data, "mark": mark, "encoding": {"y": y, "tooltip": tip}})
    return {**_spec([*_phases(run, named=False), *rules, line], height=110), "width": SMALL}


def _phases(run: Run, named: bool) -> Values:
    """Every other phase shaded, a rule between two, and their names above, as far as there is room."""
    bands: Values = []
    edges: Values = []
    for number, phase in enumerate(run.phases):
        start, end = phase.tokens_first, min(phase.tokens_last, run.tokens)
        if start < end:
            bands.append({"tokens": start, "end": end, "phase": phase.name, "shade": 0.14 * (number % 2)})
    for before, after in pairwise(run.phases):
        if before.tokens_last < run.tokens and after.tokens_first > 0:
            edges.append({"tokens": after.tokens_first})
    x = _x(run, 8 if named else 4)
    shade: Json = {"field": "shade", "type": "quantitative", "scale": None, "legend": None}
    band_x: Spec = {"x": x, "x2": {"field": "end"}, "fillOpacity": shade}
    room: Json = {"expr": f"max(1, (datum.end - datum.tokens) / {run.tokens} * width - 8)"}
    text: Spec = {"type": "text", "align": "left", "baseline": "bottom", "dx": 3, "dy": -3, "limit": room}
    rule: Spec = {"type": "rule", "stroke": INK, "strokeOpacity": 0.5, "strokeDash": [3, 3]}
    found: Values = [
        {"data": {"values": bands}, "mark": {"type": "rect", "fill": REST}, "encoding": band_x},
        {"data": {"values": edges}, "mark": rule, "encoding": {"x": x}},
    ]
    words: Spec = {"x": x, "y": {"value": 0}, "text": {"field": "phase", "type": "nominal"}}
    return [*found, {"data": {"values": bands}, "mark": text, "encoding": words}] if named else found


def _x(run: Run, ticks: int) -> Json:
    axis: Json = {"format": "~s", "grid": False, "tickCount": ticks, "labelExpr": "datum.value ? datum.label : '0'"}
    scale: Json = {"domain": [0, run.tokens], "nice": False}
    title = "tokens seen" if ticks > 4 else None
    return {"field": "tokens", "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def _axis(ticks: int, **more: Json) -> Json:
    return {"domain": False, "ticks": False, "labelPadding": 4, "tickCount": ticks, **more}


def _dots(points: Sequence[Point], colour: str) -> Spec:
    """A line of few points shows them: of one, there is no line."""
    dot: Json = {"fill": colour, "stroke": colour, "size": 12}
    return {"point": dot} if len(points) <= FEW else {}


def _spec(layers: Values, height: int) -> Spec:
    fit: Json = {"type": "fit-x", "contains": "padding"}
    return {"layer": layers, "height": height, "width": "container", "autosize": fit}


def _short(number: float) -> Json:
    """Six digits are more than a screen shows."""
    return number if isinstance(number, int) else float(f"{number:.6g}")
