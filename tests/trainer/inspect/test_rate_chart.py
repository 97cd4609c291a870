"""The learning rate in a plan: its table shows whether phases join, and its drawing has their shape."""

from dataclasses import replace

import pytest

from tests.trainer.inspect.test_plan import RECIPE
from trainer.inspect.plan_tables import show_plan
from trainer.inspect.rate_chart import HEIGHT, LEVELS, WIDTH, rate_lines, rate_table
from trainer.inspect.training_plan import PhaseCost


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> tuple[PhaseCost, ...]:
    """Return the phases of the real curriculum."""
    found: list[tuple[PhaseCost, ...]] = []
    monkeypatch.setattr("trainer.inspect.plan_tables.print_plan", lambda plan: found.append(plan.phases))
    show_plan(RECIPE, [], without_corpus=True, as_json=False)
    return found[0]


def drawn(lines: list[str]) -> list[int]:
    """Return the height of each column in eighths of a character."""
    margin = lines[-1].index("│")
    columns = zip(*(line[margin:].ljust(WIDTH) for line in lines[:-1]), strict=True)
    return [sum(LEVELS.index(character) for character in column) for column in columns]


def test_the_table_shows_the_rates_on_both_sides_of_each_border(phases: tuple[PhaseCost, ...]) -> None:
    rows = [[str(cell) for cell in row] for row in rate_table(phases).rows]
    assert rows == [
        ["broad", "–", "1.31e-06", "0.0004", "0.0004", "305", "0"],
        ["refine", "0.0004", "0.0004", "0.0004", "0.0001", "0", "4578"],
        ["anneal", "0.0001", "9.99e-05", "0.0001", "0", "0", "1907"],
    ]


def test_the_drawing_has_the_height_of_the_rate_at_each_column(phases: tuple[PhaseCost, ...]) -> None:
    """Fails if columns are steps and not tokens, or if a phase begins at another's step."""
    lines = rate_lines(phases)
    assert len(lines) == HEIGHT + 1 and lines[0].startswith("0.0004 ")
    names, margin = lines[-1], lines[-1].index("│")
    borders = [column - margin for column, character in enumerate(names) if character == "│"]
    assert names.split() == ["│broad", "│refine", "│anneal"]
    assert borders == [0, 15_258 * WIDTH // 22_887, (15_258 + 5_722) * WIDTH // 22_887]
    heights = drawn(lines)
    assert heights[0] < 8 * HEIGHT == max(heights) and heights[1 : borders[1]] == [8 * HEIGHT] * (borders[1] - 1)
    assert heights[borders[2] - 1] in range(7, 10), "a quarter of the peak"
    assert heights[-1] <= 1 and heights[borders[1] :] == sorted(heights[borders[1] :], reverse=True)


def test_the_plan_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(RECIPE, [], without_corpus=True, as_json=False)
    printed = capsys.readouterr().out
    assert "Learning rate across the phases" in printed and "█▇" in printed and "│anneal" in printed


def test_a_rate_of_0_throughout_and_a_phase_too_short_to_see(phases: tuple[PhaseCost, ...]) -> None:
    broad, refine, anneal = phases
    zero = replace(broad, schedule=replace(broad.schedule, start=0.0, peak=0.0, end=0.0))
    assert set(drawn(rate_lines([zero]))) == {0}
    short = replace(refine, steps=1, tokens=2**20, schedule=replace(refine.schedule, steps=1, decay_steps=0))
    assert rate_lines([broad, short, anneal])[-1].split() == ["│broad", "││anneal"]
