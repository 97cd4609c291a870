"""Saves within a phase: every 20 minutes by default, at multiples of steps, and the checkpoints that stay.

Verified to fail if the time is not restarted by a save, if a process ignores the clocks of the others, if
`keep_every_steps` does not save by itself, and if it keeps the last checkpoint of an interval, not the first.
"""

from pathlib import Path

import pytest

from tests.end_to_end.training import PHASE_1, STEPS, fit_here, write_config
from tests.trainer.small_run import ALONE, made, names, state
from trainer.config import CheckpointSettings
from trainer.engine.checkpoint import Checkpoints
from trainer.engine.save_schedule import SaveSchedule


def test_by_default_a_save_is_due_20_minutes_after_the_last() -> None:
    now_s = [50.0]
    schedule = SaveSchedule(CheckpointSettings(), lambda: now_s[0])
    now_s[0] = 1249.9
    assert not schedule.time_is_up()
    now_s[0] = 1250.0
    assert schedule.time_is_up() and schedule.time_is_up(), "until it is saved"
    schedule.restart()
    assert not schedule.time_is_up()
    assert not schedule.due(0, 10**9), "by steps only if they are set"


def test_no_time_limit_if_it_is_null() -> None:
    now_s = [0.0]
    schedule = SaveSchedule(CheckpointSettings(every_minutes=None, every_steps=3), lambda: now_s[0])
    now_s[0] = 1e9
    assert not schedule.time_is_up()
    assert [step for step in range(1, 10) if schedule.due(step - 1, step)] == [3, 6, 9]


@pytest.mark.parametrize(
    ("settings", "within_phases"),
    [
        ({"every_minutes": 1e-9, "keep": 3}, [19, 20, 21]),
        ({"every_minutes": 1e-9, "keep": 1, "keep_every_steps": 8}, [8, 16, 21]),
        ({"every_steps": 3, "keep": 1, "keep_every_steps": 7}, [7, 14, 21]),
        ({"keep_every_steps": 5}, [5, 10, 15, 20]),
        ({}, []),
    ],
)
def test_checkpoints_that_a_run_keeps(tmp_path: Path, settings: dict[str, float], within_phases: list[int]) -> None:
    """The ends of phases are always kept, whatever is due."""
    run = fit_here(write_config(tmp_path, checkpoint=settings, evaluate={"tokens_per_source": 1}))
    steps = [int(name.removeprefix("step-")) for name in names(run / "checkpoints")]
    assert steps == sorted([*within_phases, PHASE_1, STEPS])


def test_the_first_checkpoint_at_or_after_each_multiple_is_kept(tmp_path: Path) -> None:
    """Saves by the clock come at any step."""
    model, optimizer = made()
    kept = Checkpoints(tmp_path, ALONE, 1, False, keep_every_steps=10)
    for step in (3, 8, 12, 15, 19, 20, 24, 41):
        kept.save(state(step), model, optimizer)
    assert [int(name[-8:]) for name in names(tmp_path)] == [12, 20, 41]
    kept.save(state(44), model, optimizer)
    assert [int(name[-8:]) for name in names(tmp_path)] == [12, 20, 41, 44]
