"""`trainer fit` asked to save or to stop, at each kind of work."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.training import PHASE_1, STEPS, checkpoint_tensors, fit_here, metrics_fields, write_config
from trainer.engine.checkpoint import Checkpoints
from trainer.engine.step import TrainStep
from trainer.errors import Stopped

EVALUATION = {"sequence_tokens": 32, "tokens_per_source": 300, "every_steps": 5, "batch_sequences": 2}
SAMPLED = EVALUATION | {"prompts": ["One", "Two"]}


def config_of(folder: Path, **changes: object) -> Path:
    return write_config(folder, **({"evaluate": SAMPLED, "checkpoint": {"keep": 1, "every_steps": 4}} | changes))


def ask_during(monkeypatch: pytest.MonkeyPatch, place: str, name: str, call: int, number: signal.Signals) -> None:
    """Send this process a signal before the n-th call of a function."""
    module, _, attribute = place.rpartition(".")
    calls = [0]
    target: object = __import__(module, fromlist=["_"])
    if name:
        target, attribute = getattr(target, attribute), name
    real: Callable[..., object] = getattr(target, attribute)

    def asked(*arguments: object, **named: object) -> object:
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), number)
        return real(*arguments, **named)

    monkeypatch.setattr(target, attribute, asked)


def evaluated(run: Path) -> list[tuple[object, ...]]:
    rows = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    return [(row["step"], row["after"], row["sources"]) for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of an uninterrupted training."""
    return fit_here(config_of(tmp_path_factory.mktemp("whole")))


BATCH = ("trainer.inspect.evaluate.windows", "")  # a batch of an evaluation
SAVE = ("trainer.engine.checkpoint.Checkpoints", "save")


@pytest.mark.parametrize(
    ("place", "call", "step"),
    [
        (BATCH, 2, 0),  # before the first step
        (("trainer.inspect.generate._draw", ""), 3, 0),
        (("trainer.engine.step.TrainStep", "learn"), 7, 7),
        (SAVE, 1, 4),
        (SAVE, 3, PHASE_1),  # at the end of a phase
    ],
)
def test_sigterm_stops_within_the_work_at_hand_and_nothing_is_lost(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[str, str],
    call: int,
    step: int,
) -> None:
    config = config_of(tmp_path)
    with monkeypatch.context() as patched:
        ask_during(patched, *place, call, signal.SIGTERM)
        with pytest.raises(Stopped, match=f"stopped after step {step}, which is saved") as stopped:
            fit_here(config)
    assert stopped.value.exit_code == 143
    run = tmp_path / "run"
    assert max(path.name for path in run.glob("checkpoints/step-*")) == f"step-{step:08d}"
    assert bool(evaluated(run)) == (step > 0)
    fit_here(config)
    assert checkpoint_tensors(run) == checkpoint_tensors(whole)
    assert evaluated(run) == evaluated(whole)


@pytest.mark.parametrize("at", [5, PHASE_1, 20, STEPS])
def test_an_evaluation_that_was_stopped_is_given_up_and_made_up_for(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Fails if an evaluation does not look for requests: then it is recorded before the run stops."""
    from trainer.inspect.eval_run import RunEvaluator

    config, evaluate = config_of(tmp_path, evaluate=EVALUATION), RunEvaluator.evaluate

    def asked(self: RunEvaluator, model: object, step: int, label: str) -> object:
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, model, step, label)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(RunEvaluator, "evaluate", asked)
        with pytest.raises(Stopped, match=f"stopped after step {at}, which is saved"):
            fit_here(config)
    run = tmp_path / "run"
    assert at not in [row[0] for row in evaluated(run)]
    assert metrics_fields(run, "step")[-1] == (at,)
    fit_here(config)
    assert evaluated(run) == evaluated(whole)
    assert checkpoint_tensors(run) == checkpoint_tensors(whole)


@pytest.mark.parametrize(("number", "setting"), [(signal.SIGUSR2, {}), (signal.SIGUSR1, {"sigusr1": "save"})])
def test_a_signal_to_save_saves_after_the_step_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, setting: dict[str, str]
) -> None:
    config = write_config(tmp_path, checkpoint={"keep": 9, **setting})
    ask_during(monkeypatch, "trainer.engine.step.TrainStep", "learn", 3, number)
    run = fit_here(config, "1")
    saved = sorted(path.name for path in run.glob("checkpoints/step-*"))
    assert saved == ["step-00000004", f"step-{PHASE_1:08d}"]


@pytest.mark.parametrize(("number", "setting"), [(signal.SIGUSR1, {}), (signal.SIGUSR2, {"sigusr2": "stop"})])
def test_a_signal_to_stop_saves_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, setting: dict[str, str]
) -> None:
    config = write_config(tmp_path, checkpoint={"keep": 9, **setting})
    ask_during(monkeypatch, "trainer.engine.step.TrainStep", "learn", 3, number)
    with pytest.raises(Stopped, match="stopped after step 3") as stopped:
        fit_here(config, "1")
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) == signal.SIG_DFL


def test_the_first_ctrl_c_says_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ask_during(monkeypatch, "trainer.engine.step.TrainStep", "learn", 3, signal.SIGINT)
    with pytest.raises(Stopped):
        fit_here(write_config(tmp_path), "1")
    said = "Ctrl-C: will save a checkpoint and stop after step 3; press Ctrl-C again to stop at once"
    assert said in capfd.readouterr().err


def test_the_second_ctrl_c_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = TrainStep.learn

    def asked(self: TrainStep, batch: object, targets: int, rate: float) -> object:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, batch, targets, rate)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainStep, "learn", asked)
    with pytest.raises(KeyboardInterrupt):
        fit_here(write_config(tmp_path), "1")
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_the_time_of_a_save_is_not_that_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, save, learn = [0.0], Checkpoints.save, TrainStep.learn

    def saved(self: Checkpoints, *arguments: object) -> None:
        clock[0] += 1000
        save(self, *arguments)  # type: ignore[arg-type]

    def learned(self: TrainStep, *arguments: object) -> object:
        clock[0] += 1
        return learn(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpoints, "save", saved)
    monkeypatch.setattr(TrainStep, "learn", learned)
    monkeypatch.setattr("trainer.fit.time.perf_counter", lambda: clock[0])
    run = fit_here(write_config(tmp_path), "1")
    assert metrics_fields(run, "step_s") == [(1.0,)] * PHASE_1
