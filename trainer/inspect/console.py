"""What a run shows while it goes on: a live line on a terminal, a plain line now and then elsewhere, else nothing.

    with make_console(silent=distributed.rank != 0) as console:
        console.phase("broad", 0, 2, first=1, last=400)
        console.step(row)

It goes to standard error. Names and texts are shown as they are: no markup, no control characters.
"""

import statistics
import time
import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from corpus.units import human_count, human_seconds
from trainer.inspect.metrics import StepRow

EVERY_S = 10.0
QUIET_S = 2.0  # work shorter than this needs no line
RECENT = 21  # steps whose median speed tells the time left; one that compiles or saves does not sway it
BAR_WIDTH = 24


class RunConsole:
    """Shows nothing: for all processes but the first, and for tests."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        return None

    def phase(self, name: str, index: int, count: int, first: int, last: int, tokens_after: int = 0) -> None:
        """A phase begins or is resumed: number `index` from 0 of `count`, with steps `first` to `last`.

        `tokens_after` are those that this run trains on when the phase has ended.
        """

    def step(self, row: StepRow) -> None:
        """A step is done."""

    def evaluating(self, done: int, total: int) -> None:
        """So much of an evaluation is done, of any unit; it is over when `done` reaches `total`."""

    def say(self, text: str) -> None:
        """Lines that stay."""


def make_console(silent: bool, console: Console | None = None, every_s: float = EVERY_S) -> RunConsole:
    """The console that suits standard error, or `console`."""
    if silent:
        return RunConsole()
    console = console or Console(stderr=True, highlight=False)
    return _Live(console) if console.is_terminal and not console.is_dumb_terminal else _Plain(console, every_s)


def clean(text: str) -> str:
    """Text on one line in which nothing steers a terminal: control and format characters, each shown as U+FFFD."""
    return "".join(
        each if each == " " or unicodedata.category(each)[0] not in "CZ" else " " if each.isspace() else "\ufffd"
        for each in text
    )


@dataclass(frozen=True, slots=True)
class _Phase:
    name: str
    place: str  # "2/3"; empty if there is one phase
    steps: int
    tokens_after: int


class _Pace:
    """How fast it goes, by the last few steps."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=RECENT)
        self._step_tokens = 0.0
        self.tokens_per_s = 0.0

    def add(self, row: StepRow) -> None:
        self._rates.append(row.tokens_per_s)
        self._step_tokens = row.tokens_per_s * row.step_s
        self.tokens_per_s = statistics.median(self._rates)  # here: the thread that draws must not see the deque change

    def left_s(self, steps: int, tokens_after: int) -> float | None:
        """Seconds for so many more steps, and so many tokens after them."""
        return (steps * self._step_tokens + tokens_after) / self.tokens_per_s if self.tokens_per_s else None


class _Loud(RunConsole):
    """What both that show something know."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._phase = _Phase("", "", 0, 0)
        self._pace = _Pace()
        self._row: StepRow | None = None
        self._evaluated: tuple[int, int] | None = None
        self._evaluating_since = 0.0

    def phase(self, name: str, index: int, count: int, first: int, last: int, tokens_after: int = 0) -> None:
        place = f"{index + 1}/{count}" if count > 1 else ""
        self._phase = _Phase(clean(name), place, last - first + 1, tokens_after)
        self._pace, self._row = _Pace(), None

    def step(self, row: StepRow) -> None:
        self._row, self._evaluated = row, None
        self._pace.add(row)

    def evaluating(self, done: int, total: int) -> None:
        if self._evaluated is None or done < self._evaluated[0]:
            self._evaluating_since = self._clock()
        self._evaluated = (done, total) if done < total else None

    def say(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            self._console.print(Text(clean(line)), soft_wrap=True)

    def _figures(self, row: StepRow) -> list[str]:
        """Loss, speed and learning rate."""
        found = [f"loss {row.loss:.3f}", f"{human_count(self._pace.tokens_per_s)} tok/s"]
        found += [f"MFU {row.mfu:.1%}"] if row.mfu is not None else []
        return [*found, f"lr {row.learning_rate:.1e}"]

    def _left(self, row: StepRow) -> list[str]:
        """The time left of the run, if any."""
        left = self._pace.left_s(self._phase.steps - row.step_in_phase, self._phase.tokens_after)
        return [f"left {human_seconds(left)}"] if left else []

    def _evaluation(self, done: int, total: int) -> list[str]:
        """How far an evaluation is, with the time left."""
        found = [f"evaluating {done / total:.0%}"]
        passed = self._clock() - self._evaluating_since
        return [*found, f"left {human_seconds(passed / done * (total - done))}"] if done and passed else found


class _Plain(_Loud):
    """A line every `every_s` seconds, and at a phase's first and last step."""

    def __init__(self, console: Console, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._every_s, self._shown = every_s, clock()
        self._begun = False  # the phase has had a line

    def phase(self, name: str, index: int, count: int, first: int, last: int, tokens_after: int = 0) -> None:
        super().phase(name, index, count, first, last, tokens_after)
        self._begun = False

    def step(self, row: StepRow) -> None:
        super().step(row)
        last = row.step_in_phase == self._phase.steps
        if not self._begun or last or self._clock() - self._shown >= self._every_s:
            self._begun = True
            self._line(
                [
                    f"{self._phase.name} {row.step_in_phase:,}/{self._phase.steps:,}",
                    *self._figures(row),
                    *self._left(row),
                ]
            )
        if last:
            self._line([f"{self._phase.name} done", _epochs(row)])

    def evaluating(self, done: int, total: int) -> None:
        super().evaluating(done, total)
        since = max(self._shown + self._every_s, self._evaluating_since + QUIET_S)
        if self._evaluated and self._clock() >= since:
            self._line(self._evaluation(*self._evaluated))

    def _line(self, parts: list[str]) -> None:
        self._shown = self._clock()
        self.say(" · ".join(parts))


class _Live(_Loud):
    """Lines at the foot of a terminal, drawn anew four times a second."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._shown)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._live.stop()
        if self._row is not None:
            self._console.print(self._shown())  # as it was at the end

    def phase(self, name: str, index: int, count: int, first: int, last: int, tokens_after: int = 0) -> None:
        if self._row is not None:
            self._console.print(self._shown())  # the phase before
        super().phase(name, index, count, first, last, tokens_after)

    def _shown(self) -> Group:
        """A bar, the figures beside it, and how far each source is."""
        row, evaluated, phase = self._row, self._evaluated, self._phase
        lines: list[Table | Text] = []
        if phase.name:
            done = row.step_in_phase if row else 0
            head = f"{phase.name} {phase.place}".rstrip()
            count = f"{done:,}/{phase.steps:,}"
            lines.append(_bar(head, done, phase.steps, [count, *(self._left(row) if row else [])]))
        if row:
            lines += [_on_one_line(self._figures(row)), _on_one_line([_epochs(row)])]
        if evaluated:
            lines.append(_bar("", *evaluated, self._evaluation(*evaluated)))
        return Group(*lines)


def _epochs(row: StepRow) -> str:
    """How often each source has been read: `epochs: books 0.42 · code 1.10`."""
    return "epochs: " + " · ".join(f"{clean(name)} {read:.2f}" for name, read in sorted(row.epochs.items()))


def _bar(head: str, done: int, total: int, beside: list[str]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, max_width=32, overflow="ellipsis")
    grid.add_column(width=BAR_WIDTH)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_row(Text(head), ProgressBar(total, done, width=BAR_WIDTH), _on_one_line(beside))
    return grid


def _on_one_line(parts: list[str]) -> Text:
    return Text(" · ".join(parts), no_wrap=True, overflow="ellipsis")
