"""Learning rate of a plan across the borders of its phases: a table, and a drawing of block characters."""

from collections.abc import Sequence
from itertools import accumulate

from corpus.display.data_table import DataRow, DataTable
from trainer.inspect.training_plan import PhaseCost

WIDTH, HEIGHT = 72, 4  # characters of the drawing
LEVELS = " ▁▂▃▄▅▆▇█"  # a character can be filled to eighths


def rate_table(phases: Sequence[PhaseCost]) -> DataTable:
    """Return the rates at the first and last step of each phase, after the last rate of the phase before."""
    rows: list[DataRow] = []
    before = "–"
    for phase in phases:
        schedule = phase.schedule
        first, last = (f"{schedule.rate(step):.3g}" for step in (0, phase.steps - 1))
        rows.append(
            [phase.name, before, first, f"{schedule.peak:.3g}", last, schedule.warmup_steps, schedule.decay_steps]
        )
        before = last
    columns = ["phase", "before", "first step", "peak", "last step", "warm-up, steps", "decay, steps"]
    return DataTable("Learning rate across the phases", columns, rows)


def rate_lines(phases: Sequence[PhaseCost]) -> list[str]:
    """Draw the rate over the tokens. The last line names the phases, each after a bar at its start."""
    ends = list(accumulate(phase.tokens for phase in phases))
    rates = []
    for column in range(WIDTH):
        at = (2 * column + 1) * ends[-1] // (2 * WIDTH)  # tokens before the column's middle
        phase, end = next((phase, end) for phase, end in zip(phases, ends, strict=True) if at < end)
        rates.append(phase.schedule.rate((at - end + phase.tokens) * phase.steps // phase.tokens))
    highest = max(rates)
    label = f"{highest:.3g}"
    lines = []
    for row in reversed(range(HEIGHT)):
        filled = [round(rate / highest * 8 * HEIGHT) - 8 * row if highest else 0 for rate in rates]
        drawn = "".join(LEVELS[max(0, min(8, eighths))] for eighths in filled)
        lines.append(f"{label if row == HEIGHT - 1 else '':>{len(label)}} {drawn.rstrip()}".rstrip())
    names = ""
    for phase, start in zip(phases, [0, *(end * WIDTH // ends[-1] for end in ends)], strict=False):
        names = f"{names[:start].ljust(start)}│{phase.name}"
    return [*lines, f"{'':>{len(label)}} {names}"]
