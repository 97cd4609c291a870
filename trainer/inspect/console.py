"""Progress of a run on standard error: live lines on a terminal, else a plain line now and then.

    with RunConsole(silent=distributed.rank != 0) as console:
        console.phase("broad", 0, 2, first=1, last=400)
        console.step(row)

Names and texts are printed without markup and without control characters.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from corpus.display.terminal import printable
from corpus.units import human_count, human_seconds
from trainer.inspect.metrics import StepRow

LINE_EVERY_S = 10.0
MIN_EVALUATION_S = 2.0  # shorter evaluations get no plain line
RECENT_STEPS = 21  # the time left follows from their median speed, so a step that compiles or saves does not matter
NAME_WIDTH, BAR_WIDTH = 32, 24


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
        self._live = _LiveLines(self._console)
        self._every_s, self._clock = every_s, clock
        self._printed_at = self._evaluating_since = clock()  # time of the last plain line, and of an evaluation's start
        self._name, self._steps, self._tokens_after = "", 0, 0  # of the phase
        self._speeds: deque[float] = deque(maxlen=RECENT_STEPS)  # of the phase's last steps

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._live.stop()
        self._keep_live_lines()

    def phase(self, name: str, index: int, count: int, first: int, last: int, tokens_after: int = 0) -> None:
        """Begin or resume phase `index` (from 0) of `count`, with steps `first` to `last`.

        `tokens_after` is the number of tokens that this run trains on after the phase.
        """
        self._keep_live_lines()  # of the phase before
        self._name, self._steps, self._tokens_after = printable(name), last - first + 1, tokens_after
        self._speeds.clear()
        title = f"{self._name} {index + 1}/{count}" if count > 1 else self._name
        self._live.update(
            self._live.phase,
            description=title,
            completed=0,
            total=self._steps,
            beside=f"0/{self._steps:,}",
            visible=True,
        )
        self._live.measurements = []

    def step(self, row: StepRow) -> None:
        """Show a step that is done."""
        begins, ends = not self._speeds, row.step_in_phase == self._steps
        self._speeds.append(row.tokens_per_s)
        speed = statistics.median(self._speeds)
        mfu = [] if row.mfu is None else [f"MFU {row.mfu:.1%}"]
        measured = [f"loss {row.loss:.3f}", f"{human_count(speed)} tok/s", *mfu, f"lr {row.learning_rate:.1e}"]
        tokens = (self._steps - row.step_in_phase) * row.tokens_per_s * row.step_s + self._tokens_after
        left = [f"left {human_seconds(tokens / speed)}"] if tokens and speed else []
        done = f"{row.step_in_phase:,}/{self._steps:,}"
        epochs = _joined(f"{printable(name)} {epochs:.2f}" for name, epochs in sorted(row.epochs.items()))
        self._live.update(self._live.phase, completed=row.step_in_phase, beside=_joined([done, *left]))
        self._live.update(self._live.evaluation, visible=False)
        self._live.measurements = [_joined(measured), f"epochs: {epochs}"]
        if self._live.disable:
            if begins or ends or self._clock() - self._printed_at >= self._every_s:
                self._plain_line(f"{self._name} {done}", *measured, *left)
            if ends:
                self._plain_line(f"{self._name} done", f"epochs: {epochs}")

    def evaluating(self, done: int, total: int) -> None:
        """Show progress of an evaluation, in any unit. It ends when `done` reaches `total`."""
        now, bar = self._clock(), self._live.tasks[self._live.evaluation]
        if not bar.visible or done < bar.completed:
            self._evaluating_since = now
        passed = now - self._evaluating_since
        left = [f"left {human_seconds(passed / done * (total - done))}"] if done and passed else []
        parts = [f"evaluating {done / total:.0%}", *left]
        self._live.update(bar.id, completed=done, total=total, beside=_joined(parts), visible=done < total)
        due = max(self._printed_at + self._every_s, self._evaluating_since + MIN_EVALUATION_S)
        if self._live.disable and done < total and now >= due:
            self._plain_line(*parts)

    def say(self, text: str) -> None:
        """Print lines that stay."""
        for line in text.splitlines() or [""]:
            self._console.print(Text(printable(line)), soft_wrap=True)

    def _plain_line(self, *parts: str) -> None:
        self._printed_at = self._clock()
        self.say(_joined(parts))

    def _keep_live_lines(self) -> None:
        if self._speeds and not self._live.disable:
            self._console.print(self._live.get_renderable())


class _LiveLines(Progress):
    """Bar of the phase, its last measurements, and bar of a running evaluation; disabled without a terminal."""

    measurements: Sequence[str] = ()

    def __init__(self, console: Console) -> None:
        name = Column(no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=name),
            BarColumn(BAR_WIDTH),
            TextColumn("{task.fields[beside]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal or console.is_dumb_terminal or console.quiet,
        )
        self.phase = self.add_task("", visible=False, beside="")
        self.evaluation = self.add_task("", visible=False, beside="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn, from top to bottom."""
        yield self.make_tasks_table(self.tasks[:1])
        yield from (Text(line, no_wrap=True, overflow="ellipsis") for line in self.measurements)
        yield self.make_tasks_table(self.tasks[1:])


def _joined(parts: Iterable[str]) -> str:
    return " · ".join(parts)
