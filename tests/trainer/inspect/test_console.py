"""Progress of a run: plain lines, live lines on a terminal, and no control characters."""

import io

import pytest
from rich.console import Console

from trainer.inspect.console import RunConsole
from trainer.inspect.metrics import StepRow

HOSTILE = "[bold red]evil[/]\x1b[31m\u202e\x07\x9b2J"
CODES = "\\u001b[31m\\u202e\\u0007\\u009b2J"


class Clock:
    """A clock that moves only when set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step_row(step: int, **changes: object) -> StepRow:
    fields: dict[str, object] = {
        "step": 50 + step,
        "phase": "broad",
        "step_in_phase": step,
        "tokens": step * 1000,
        "targets": 900,
        "loss": 5.1239,
        "grad_norm": 1.0,
        "learning_rate": 2.9e-3,
        "step_s": 0.5,
        "tokens_per_s": 2000.0,
        "losses": {"books": 5.0},
        "epochs": {"code": 1.1, "books": 0.42},
        "batch": "0" * 16,
    }
    return StepRow.model_validate(fields | changes)


def plain(clock: Clock, every_s: float = 10) -> tuple[RunConsole, io.StringIO]:
    out = io.StringIO()
    return RunConsole(False, Console(file=out, highlight=False, width=40), every_s, clock), out


def live(out: io.StringIO, width: int) -> RunConsole:
    terminal = Console(file=out, force_terminal=True, width=width, height=20, color_system=None)
    return RunConsole(False, terminal, clock=Clock())


def test_plain_lines_at_the_first_and_last_step_and_every_ten_seconds() -> None:
    clock = Clock()
    console, out = plain(clock)
    with console:
        console.phase("broad", 0, 2, first=51, last=80)
        for step in range(1, 31):
            console.step(step_row(step))
            clock.now += 0.5
    lines = out.getvalue().splitlines()
    assert [line.split(" · ")[0] for line in lines] == ["broad 1/30", "broad 21/30", "broad 30/30", "broad done"]
    assert lines[1] == "broad 21/30 · loss 5.124 · 2,000 tok/s · lr 2.9e-03 · left 4.5 s"
    assert lines[2] == "broad 30/30 · loss 5.124 · 2,000 tok/s · lr 2.9e-03"
    assert lines[3] == "broad done · epochs: books 0.42 · code 1.10"


def test_a_resumed_phase_begins_with_a_line() -> None:
    console, out = plain(Clock())
    console.phase("broad", 0, 2, first=51, last=80)
    console.step(step_row(1))
    console.phase("curated", 1, 2, first=81, last=100)
    console.step(step_row(7))
    assert out.getvalue().splitlines()[1].startswith("curated 7/20 · ")


def test_the_time_left_includes_the_tokens_of_later_phases() -> None:
    console, out = plain(Clock())
    console.phase("broad", 0, 2, first=1, last=11, tokens_after=380_000)
    console.step(step_row(1, mfu=0.384))
    assert out.getvalue() == "broad 1/11 · loss 5.124 · 2,000 tok/s · MFU 38.4% · lr 2.9e-03 · left 3 min 15 s\n"


def test_a_slow_first_step_does_not_change_the_time_left() -> None:
    clock = Clock()
    console, out = plain(clock)
    console.phase("broad", 0, 1, first=1, last=103)
    console.step(step_row(1, step_s=100.0, tokens_per_s=10.0))
    for step in (2, 3):
        clock.now += 10
        console.step(step_row(step))
    assert out.getvalue().splitlines()[-1].endswith("left 50.0 s")


def test_only_long_evaluations_are_shown() -> None:
    clock = Clock()
    console, out = plain(clock)
    clock.now += 60
    for done in range(5):
        console.evaluating(done, 4)
        clock.now += 0.4
    assert out.getvalue() == ""
    for done in range(0, 101, 5):
        console.evaluating(done, 100)
        clock.now += 1
    assert out.getvalue().splitlines() == ["evaluating 10% · left 18.0 s", "evaluating 60% · left 8.0 s"]


def test_control_characters_in_names_are_escaped() -> None:
    console, out = plain(Clock())
    console.phase(HOSTILE, 0, 1, first=1, last=1)
    console.step(step_row(1, epochs={HOSTILE: 0.5}))
    console.say(f"saved {HOSTILE}\nsecond line")
    text = out.getvalue()
    assert text.count(f"[bold red]evil[/]{CODES}") == 4
    assert all(each.isprintable() or each == "\n" for each in text)
    assert text.endswith("\nsecond line\n")


def test_live_lines_show_bar_measurements_and_epochs() -> None:
    out = io.StringIO()
    console = live(out, width=80)
    with console:
        console.phase("broad", 0, 2, first=51, last=80)
        console.step(step_row(3, epochs={HOSTILE: 0.5, "books": 0.42}, mfu=0.5))
        console.say(HOSTILE)
    end = out.getvalue().rpartition("\x1b[2K")[2].splitlines()
    assert end[0].startswith("broad 1/2 ") and end[0].rstrip().endswith("3/30 · left 13.5 s")
    assert end[1].rstrip() == "loss 5.124 · 2,000 tok/s · MFU 50.0% · lr 2.9e-03"
    assert end[2].startswith(f"epochs: [bold red]evil[/]{CODES} 0.50 · books 0.42")
    assert "\x1b[31m" not in out.getvalue() and "\x07" not in out.getvalue()


@pytest.mark.parametrize("width", [20, 40, 200])
def test_live_lines_fit_a_terminal_of_any_width(width: int) -> None:
    out = io.StringIO()
    console = live(out, width)
    console.phase("n" * 60, 0, 2, first=51, last=80)
    console.step(step_row(3, epochs={f"source{number}" * 6: 0.1 for number in range(12)}))
    console.evaluating(3, 7)
    console._console.print(console._live.get_renderable())
    lines = out.getvalue().splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= width


def test_live_lines_need_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert not RunConsole(console=Console(force_terminal=True))._live.disable
    assert RunConsole(console=Console(file=io.StringIO()))._live.disable
    assert RunConsole(console=Console(force_terminal=True, quiet=True))._live.disable
    monkeypatch.setenv("TERM", "dumb")
    assert RunConsole(console=Console(force_terminal=True))._live.disable


def test_a_silent_console_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with RunConsole(silent=True) as console:
        console.phase("broad", 0, 1, first=1, last=2)
        console.step(step_row(1))
        console.evaluating(1, 2)
        console.say("text")
    assert capfd.readouterr() == ("", "")
