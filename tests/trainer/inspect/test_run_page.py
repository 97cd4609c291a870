"""Page of a run: numbers, size and escaping."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.display.page import REST
from tests.trainer.inspect.scored import evaluation_row, score
from trainer.data.curriculum import Curriculum, PhasePlan
from trainer.data.learning_rate import RateSchedule
from trainer.inspect.baselines import UNIGRAM, XZ, Baselines, SourceBaseline
from trainer.inspect.metrics import EvaluationRow, StepRow
from trainer.inspect.run_charts import LOSS_COLORS, RATE_COLOR, SCORE_COLORS, curve, smoothed
from trainer.inspect.run_page import MAX_POINTS, MAX_SMALL_POINTS, RunReport, StepColumns, write_page

HOSTILE = "</script><script>window.pwned=1</script><!--'&\u2028.[x]"
STEP_TOKENS = 1000


def curriculum(**steps: int) -> Curriculum:
    """Return phases of these names and numbers of steps."""
    phases: list[PhasePlan] = []
    for index, (name, count) in enumerate(steps.items()):
        first = phases[-1].last_step + 1 if phases else 1
        rate = RateSchedule(0.1, 0.1, 0.1, count, 0, 1, "linear")
        phases.append(PhasePlan(index, name, first, count, STEP_TOKENS, 1, {}, {}, {}, 0, (), rate))
    return Curriculum(tuple(phases))


PHASES = curriculum(broad=30, curated=10)


def step_row(step: int, loss: float, sources: tuple[str, ...] = ("books",)) -> StepRow:
    return StepRow(
        step=step,
        phase="broad" if step <= 30 else "curated",
        step_in_phase=step if step <= 30 else step - 30,
        tokens=step * STEP_TOKENS,
        targets=900,
        loss=loss,
        grad_norm=1.0,
        learning_rate=0.001,
        step_s=0.5,
        tokens_per_s=2000.0,
        losses=dict.fromkeys(sources, loss),
        epochs=dict.fromkeys(sources, step / 100),
        batch="0" * 16,
    )


def evaluation(step: int, after: str, bits: dict[str, float], thin: bool = False) -> EvaluationRow:
    return evaluation_row(step, after, {name: score(100, value, thin) for name, value in bits.items()})


def baselines(**levels: tuple[float, float | None]) -> Baselines:
    """Return baselines of 3200 bytes, given unigram and xz in bits per byte."""
    return Baselines(
        sources={
            name: SourceBaseline(
                documents=2,
                holdout_documents=2,
                bytes=3200,
                unigram_bits=unigram * 3200,
                xz_bytes=None if xz is None else round(xz * 400),
                xz_missing="a reason" if xz is None else None,
            )
            for name, (unigram, xz) in levels.items()
        }
    )


def write_report(
    folder: Path,
    title: str,
    phases: Curriculum,
    steps: Iterable[StepRow],
    evaluations: Iterable[EvaluationRow],
    known: Baselines,
    samples: Sequence[tuple[str, str]],
) -> Path:
    return write_page(folder, RunReport(title, phases, StepColumns(steps), list(evaluations), known, samples))


def write(
    folder: Path,
    steps: Iterable[StepRow],
    evaluations: Iterable[EvaluationRow] = (),
    known: Baselines | None = None,
    phases: Curriculum = PHASES,
) -> str:
    """Write the page; return its HTML."""
    return write_report(folder, "run", phases, steps, evaluations, known or Baselines(), ()).read_text()


def steps(count: int, *sources: str) -> list[StepRow]:
    return [step_row(step, 2 + 8 / step, sources or ("books",)) for step in range(1, count + 1)]


def charts(markup: str) -> dict[str, ET.Element]:
    """Return the drawing of each figure."""
    found = re.findall(r'<figure id="([^"]+)">.*?(<svg.*?</svg>)</div>', markup, re.DOTALL)
    return {name: ET.fromstring(svg) for name, svg in found}


def titles(svg: ET.Element) -> list[str]:
    """Return the texts that are shown on hover."""
    return [title.text or "" for title in svg.iter("title")]


def values(svg: ET.Element, color: str, *, area: bool = False) -> list[float]:
    """Return the vertical places of a color's lines or areas, as numbers of the scale beside the chart."""
    curves = [line for line in svg.iter("polyline") if line.attrib["stroke"] == color]
    curves = [line for line in curves if (line.attrib["fill"] != "none") == area]
    return [at(svg, float(y)) for line in curves for _, y in (xy.split(",") for xy in line.attrib["points"].split())]


def at(svg: ET.Element, height: float) -> float:
    """Return the number at a share of the height, by the lowest and the highest label of the scale."""
    shares = [float(line.attrib["y1"].rstrip("%")) / 100 for line in svg.iter("line")]
    numbers = [float(text.text or "") for text in svg.findall("text[@x='-6']")]
    return numbers[0] + (height - shares[0]) / (shares[-1] - shares[0]) * (numbers[-1] - numbers[0])


def near(*numbers: float) -> object:
    return pytest.approx(numbers, rel=2e-3)


def texts(markup: str) -> str:
    """Return the visible text, with cells separated."""
    body = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", markup, flags=re.DOTALL)
    return " ".join(re.sub("<[^>]*>", " ", body).split())


def test_the_page_is_deterministic_and_written_atomically(tmp_path: Path) -> None:
    rows, before = steps(40), [evaluation(0, "before", {"books": 4.0})]
    first = write_report(tmp_path / "a", "run", PHASES, rows, before, Baselines(), [("It", " was")])
    again = write_report(tmp_path / "b", "run", PHASES, rows, before, Baselines(), [("It", " was")])
    assert first.read_bytes() == again.read_bytes()
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["report.html"]


def test_phases_are_marked_at_their_tokens(tmp_path: Path) -> None:
    markup = write(tmp_path, steps(36))
    for name in ("loss", "rate"):
        svg = charts(markup)[name]
        places = [(inner[0].text, inner.attrib["x"], inner.attrib["width"]) for inner in svg.findall("svg[@x]")]
        if name == "loss":  # small charts have no room for names
            assert places == [("broad", "0.00%", "83.33%"), ("curated", "83.33%", "16.67%")]  # no further than the run
        starts = [line.attrib["points"] for line in svg.iter("polyline") if line.get("stroke") == REST]
        assert starts == ["0.8333,0.0000 0.8333,1.0000"]  # a line at each start but the first
        shaded = [box.attrib["fill-opacity"] for box in svg.iter("rect")][:2]
        assert shaded == ["0.0", "0.14"]
    assert "broad 30 of 30 30 k 10.000" in texts(markup)
    assert "curated 6 of 10 6,000 2.258" in texts(markup)


def test_a_future_phase_is_not_drawn(tmp_path: Path) -> None:
    svg = charts(write(tmp_path, steps(30)))["loss"]
    assert [inner[0].text for inner in svg.findall("svg[@x]")] == ["broad"]


def test_headline_and_table_show_the_numbers_of_the_rows(tmp_path: Path) -> None:
    rows = [
        evaluation(0, "before", {"books": 4.0, "code": 6.0}, thin=True),
        evaluation(30, "after broad", {"books": 3.0, "code": 4.0}, thin=True),
        evaluation(30, "after broad", {"books": 2.0, "code": 3.0}, thin=True),  # made again by a resumed run
    ]
    known = baselines(books=(2.5, 2.25), code=(3.0, 2.0))
    text = texts(write(tmp_path, steps(30), rows, known))
    assert "Steps 30 of 40 in 2 phases" in text and "Tokens seen 30 k" in text
    assert "Bits per byte 2.500 of the holdouts; 5.000 before" in text
    assert "source holdout before after broad unigram xz -9 against unigram" in text
    assert "books (thin) 100 B 4.000 2.000* 2.500 2.250 −20.0%" in text
    assert "code (thin) 100 B 6.000 3.000 3.000 2.000 +0.0%" in text
    assert "all 200 B 5.000 2.500* 2.750 2.125 −9.1%" in text


def test_a_long_table_keeps_the_evaluations_at_the_ends_of_phases(tmp_path: Path) -> None:
    rows = [evaluation(step, f"step {step}", {"books": 4.0}) for step in range(0, 36, 5)]
    markup = write(tmp_path, steps(36), rows)
    assert "source holdout step 0 step 30 step 35 books" in texts(markup)
    svg = charts(markup)["bits-0"]
    assert len(values(svg, SCORE_COLORS["model"])) == len(list(svg.iter("circle"))) == 8
    assert titles(svg)[7] == "step 35 · model 4.0000 · 35,000 tokens"


def test_baselines_are_drawn_as_levels_of_their_source(tmp_path: Path) -> None:
    rows = [evaluation(0, "before", {"books": 4.0, "code": 6.0})]
    markup = write(tmp_path, steps(3), rows, baselines(books=(2.5, 2.25), code=(3.0, None)))
    drawn = charts(markup)
    by_caption = {caption: drawn[name] for name, caption in captions(markup).items() if name.startswith("bits")}
    levels = {
        caption: [values(svg, SCORE_COLORS[name]) for name in (UNIGRAM, XZ)] for caption, svg in by_caption.items()
    }
    assert levels == {
        "books": [near(2.5, 2.5), near(2.25, 2.25)],
        "code": [near(3.0, 3.0), []],  # no xz
        "all sources, by their bytes": [near(2.75, 2.75), []],
    }
    assert {caption: titles(svg) for caption, svg in by_caption.items()} == {
        "books": ["before · model 4.0000 · unigram 2.5000 · xz -9 2.2500 · 0 tokens"],
        "code": ["before · model 6.0000 · unigram 3.0000 · 0 tokens"],
        "all sources, by their bytes": ["before · model 5.0000 · unigram 2.7500 · 0 tokens"],
    }
    assert {caption: values(svg, SCORE_COLORS["model"]) for caption, svg in by_caption.items()} == {
        "books": near(4.0),
        "code": near(6.0),
        "all sources, by their bytes": near(5.0),
    }
    assert "code 100 B 6.000 3.000 – +100.0%" in texts(markup)


def captions(markup: str) -> dict[str, str]:
    found = re.findall(r'<figure id="([^"]+)"><figcaption>(.*?)</figcaption>', markup)
    return {name: texts(caption) for name, caption in found}


def test_hostile_names_and_texts_are_escaped(tmp_path: Path) -> None:
    phases = curriculum(**{HOSTILE: 2})
    rows = [row.model_copy(update={"phase": HOSTILE}) for row in steps(2, HOSTILE, "books")]
    found = [evaluation(2, HOSTILE, {HOSTILE: 3.0, "books": 2.0})]
    sample = [(HOSTILE, f"first\n{HOSTILE}\x00\x1b[31m\ttab")]
    markup = write_report(
        tmp_path, HOSTILE, phases, rows, found, baselines(**{HOSTILE: (1.0, 1.0)}), sample
    ).read_text()
    assert "<!--" not in markup and "<script" not in markup and "</script" not in markup
    assert "first</bdi><br><bdi" in markup and "\ufffd\ufffd[31m    tab" in markup
    drawn = charts(markup)
    assert drawn["loss"].find("svg")[0].text == HOSTILE  # type: ignore[index]
    assert titles(drawn["bits-0"])[0].startswith(f"{HOSTILE} · model")
    for svg in drawn.values():
        assert {element.tag for element in svg.iter()} <= {"svg", "rect", "title", "text", "line", "polyline", "circle"}
        assert "pwned" not in str([element.attrib for element in svg.iter()])  # in texts only


def test_a_long_run_is_drawn_with_limited_points(tmp_path: Path) -> None:
    rows = [step_row(step, 2 + 8 / step, ("books", "code")) for step in range(1, 20_001)]
    rows[9_999] = step_row(10_000, 50.0)
    markup = write(tmp_path, rows)
    drawn = charts(markup)
    each_step = LOSS_COLORS["each step"]
    assert MAX_POINTS / 2 < len(values(drawn["loss"], each_step)) == len(titles(drawn["loss"])) <= MAX_POINTS
    assert len(values(drawn["rate"], RATE_COLOR)) <= MAX_POINTS
    assert len(values(drawn["source-0"], each_step)) <= MAX_SMALL_POINTS
    assert max(values(drawn["loss"], each_step, area=True)) == pytest.approx(
        50.0, rel=2e-3
    )  # a spike is not averaged away
    assert "the mean of 14 steps" in markup


@given(st.lists(st.floats(0, 20), min_size=1, max_size=300), st.integers(1, 50))
def test_points_are_means_over_all_steps_in_order(losses: list[float], most: int) -> None:
    rows = StepColumns(step_row(step, loss) for step, loss in enumerate(losses, 1))
    points = curve(rows.series("loss"), most)
    assert curve(rows.series("loss/books"), most) == points
    assert [point.smooth for point in points] == [smoothed(rows.series("loss"))[point.step - 1] for point in points]
    assert 1 <= len(points) <= most
    assert points[-1].step == len(losses) and points[-1].tokens == len(losses) * STEP_TOKENS
    start = 0
    for point in points:
        inside = losses[start : point.step]
        assert point.mean == pytest.approx(sum(inside) / len(inside))
        assert (point.low, point.high) == (min(inside), max(inside))
        start = point.step


@given(st.integers(1, 120), st.floats(-1, 1))
def test_smoothing_does_not_lag_or_cross_phases(count: int, slope: float) -> None:
    """A straight line stays unchanged, except in the last steps of a phase."""
    losses = [5 + slope * step for step in range(count)]
    found = smoothed(StepColumns(step_row(step, loss) for step, loss in enumerate(losses, 1)).series("loss"))
    inner = [step for step in range(count) if step < min(count, 30) - 3 or 30 <= step < count - 3]
    assert [found[step] for step in inner] == pytest.approx([losses[step] for step in inner])
    jump = smoothed(StepColumns(step_row(step + 1, 1.0 if step < 30 else 2.0) for step in range(count)).series("loss"))
    assert jump == pytest.approx([1.0] * min(30, count) + [2.0] * max(0, count - 30))


def test_a_steep_beginning_does_not_flatten_the_rest(tmp_path: Path) -> None:
    rows = [step_row(step, 100.0 if step < 3 else 2 + step % 2) for step in range(1, 401)]
    markup = write(tmp_path, rows)
    svg = charts(markup)["loss"]
    assert [at(svg, 1), at(svg, 0)] == near(1.95, 3.05)
    assert "The curve begins at 100.00, above the chart." in markup
    assert "The curve begins at" not in write(tmp_path, rows[2:])


SMALL = {"loss", "source-0", "rate", "measured-0", "measured-1"}


@pytest.mark.parametrize(
    ("rows", "evaluations", "names"),
    [
        (steps(1), [], SMALL),
        (steps(1, "n" * 60), [evaluation(0, "before", {"n" * 60: 4.0})], {"bits-0", *SMALL}),
        ([], [evaluation(0, "before", {"books": 4.0})], {"bits-0"}),
        ([], [], set()),
        (
            steps(2),
            [evaluation(0, "before", {}), evaluation(2, "later", {"new": 1.0})],
            {"loss", "bits-0", "source-0", "rate", "measured-0", "measured-1"},
        ),
        (
            steps(2, *(f"s{number:02}" for number in range(12))),
            [evaluation(0, "before", {f"s{number:02}": 4.0 for number in range(12)})],
            {
                "loss",
                "rate",
                "measured-0",
                "measured-1",
                *(f"source-{number}" for number in range(12)),
                *(f"bits-{number}" for number in range(13)),
            },
        ),
    ],
)
def test_a_page_works_with_few_and_many_rows(
    tmp_path: Path, rows: list[StepRow], evaluations: list[EvaluationRow], names: set[str]
) -> None:
    assert set(charts(write(tmp_path, rows, evaluations))) == names


def test_every_chart_has_its_curves_and_hovers_everywhere(tmp_path: Path) -> None:
    rows = [evaluation(0, "before", {"books": 4.0, HOSTILE: 5.0}), evaluation(30, "after", {"books": 2.0})]
    markup = write(tmp_path, steps(36, "books", HOSTILE), rows, baselines(books=(2.5, 2.2)))
    drawn = charts(markup)
    assert len(drawn) == 9
    assert titles(drawn["loss"])[0] == "mean 10.0000 · smooth 10.0000 · step 1 · 1,000 tokens"
    assert titles(drawn["rate"])[-1] == "learning rate 0.001 · step 36 · 36,000 tokens"
    hovers = [(box.attrib["x"], box.attrib["width"]) for box in drawn["bits-0"].iter("rect") if len(box)]
    assert hovers == [("0.00%", "41.67%"), ("41.67%", "58.33%")]  # points at 0 and 30,000 of 36,000 tokens
    for svg in drawn.values():
        assert not re.search("nan|inf", ET.tostring(svg, "unicode"))
        assert [line for line in svg.iter("polyline") if line.attrib["stroke"] != REST]
        widths = [float(box.attrib["width"].rstrip("%")) for box in svg.iter("rect") if box.find("title") is not None]
        assert sum(widths) == pytest.approx(100, abs=0.3)
