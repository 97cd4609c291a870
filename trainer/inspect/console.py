"""Progress of a run on standard error: live lines on a terminal, else a plain line now and then.

    with RunConsole(silent=distributed.rank != 0) as console:
        console.phase("broad", 0, 2, first=1, last=400)
        console.step(row)

Names and texts are printed without markup and without control characters.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from corpus.display.terminal import printable
from corpus.units import human_count, human_seconds
from trainer.inspect.metrics import StepRow

LINE_EVERY_S = 10.0
MIN_EVALUATION_S = 2.0  # shorter evaluations get no plain line
RECENT_STEPS = 21  # the time left follows from their median speed, so a step that compiles or saves does not matter
BAR_WIDTH = 24


class _PhaseProgress(NamedTuple):
    name: str
    number: str  # "2/3"; empty if there is one phase
    steps: int
    tokens_after: int


class RunConsole:
    """Console of one process. With `silent`, it prints nothing."""

    def __init__(
        self,
        silent: bool = False,
        console: Console | None = None,
        every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False, quiet=silent)
        self._every_s, self._clock = every_s, clock
        self._printed_at = clock()  # time of the last plain line
        self._phase = _PhaseProgress("", "", 0, 0)
        self._row: StepRow | None = None  # the last step of this phase
        self._speeds: deque[float] = deque(maxlen=RECENT_STEPS)
        self._tokens_per_s = 0.0
        self._evaluated: tuple[int, int] | None = None  # done and total of a running evaluation
        self._evaluating_since = 0.0
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal and not self._console.quiet:
            self._live = Live(console=self._console, transient=True, get_renderable=self._live_lines)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
            self._print_live_lines()

    def phase(self, name: str, index: int, count: int, first: int, last: int, tokens_after: int = 0) -> None:
        """Begin or resume phase `index` (from 0) of `count`, with steps `first` to `last`.

        `tokens_after` is the number of tokens that this run trains on after the phase.
        """
        if self._live:
            self._print_live_lines()  # of the phase before
        number = f"{index + 1}/{count}" if count > 1 else ""
        self._phase = _PhaseProgress(printable(name), number, last - first + 1, tokens_after)
        self._speeds.clear()
        self._row = None

    def step(self, row: StepRow) -> None:
        """Show a step that is done."""
        begins, ends = self._row is None, row.step_in_phase == self._phase.steps
        self._row, self._evaluated = row, None
        self._speeds.append(row.tokens_per_s)
        self._tokens_per_s = statistics.median(self._speeds)  # computed here: `Live` draws in another thread
        if not self._live:
            if begins or ends or self._clock() - self._printed_at >= self._every_s:
                count = f"{self._phase.name} {row.step_in_phase:,}/{self._phase.steps:,}"
                self._plain_line(count, *self._measurements(row), *self._time_left(row))
            if ends:
                self._plain_line(f"{self._phase.name} done", _epochs(row))

    def evaluating(self, done: int, total: int) -> None:
        """Show progress of an evaluation, in any unit. It ends when `done` reaches `total`."""
        now = self._clock()
        if self._evaluated is None or done < self._evaluated[0]:
            self._evaluating_since = now
        self._evaluated = (done, total) if done < total else None
        due = max(self._printed_at + self._every_s, self._evaluating_since + MIN_EVALUATION_S)
        if self._evaluated and not self._live and now >= due:
            self._plain_line(*self._evaluation(done, total))

    def say(self, text: str) -> None:
        """Print lines that stay."""
        for line in text.splitlines() or [""]:
            self._console.print(Text(printable(line)), soft_wrap=True)

    def _plain_line(self, *parts: str) -> None:
        self._printed_at = self._clock()
        self.say(" · ".join(parts))

    def _print_live_lines(self) -> None:
        if self._row is not None:
            self._console.print(self._live_lines())

    def _live_lines(self) -> Group:
        """Progress bar of the phase, measurements, epochs by source, and the running evaluation if there is one."""
        row, evaluated, phase = self._row, self._evaluated, self._phase
        lines: list[Table | Text] = []
        if phase.name:
            done = row.step_in_phase if row else 0
            beside = [f"{done:,}/{phase.steps:,}", *(self._time_left(row) if row else [])]
            lines.append(_bar(f"{phase.name} {phase.number}".rstrip(), done, phase.steps, beside))
        if row:
            lines += [_one_line(self._measurements(row)), _one_line([_epochs(row)])]
        if evaluated:
            lines.append(_bar("", *evaluated, self._evaluation(*evaluated)))
        return Group(*lines)

    def _measurements(self, row: StepRow) -> list[str]:
        mfu = [] if row.mfu is None else [f"MFU {row.mfu:.1%}"]
        return [f"loss {row.loss:.3f}", f"{human_count(self._tokens_per_s)} tok/s", *mfu, f"lr {row.learning_rate:.1e}"]

    def _time_left(self, row: StepRow) -> list[str]:
        steps = self._phase.steps - row.step_in_phase
        tokens = steps * row.tokens_per_s * row.step_s + self._phase.tokens_after
        return [f"left {human_seconds(tokens / self._tokens_per_s)}"] if tokens and self._tokens_per_s else []

    def _evaluation(self, done: int, total: int) -> list[str]:
        passed = self._clock() - self._evaluating_since
        left = [f"left {human_seconds(passed / done * (total - done))}"] if done and passed else []
        return [f"evaluating {done / total:.0%}", *left]


def _epochs(row: StepRow) -> str:
    return "epochs: " + " · ".join(f"{printable(name)} {epochs:.2f}" for name, epochs in sorted(row.epochs.items()))


def _bar(name: str, done: int, total: int, beside: Sequence[str]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, max_width=32, overflow="ellipsis")
    grid.add_column(width=BAR_WIDTH)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_row(Text(name), ProgressBar(total, done, width=BAR_WIDTH), _one_line(beside))
    return grid


def _one_line(parts: Sequence[str]) -> Text:
    return Text(" · ".join(parts), no_wrap=True, overflow="ellipsis")
