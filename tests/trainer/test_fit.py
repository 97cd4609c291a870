"""`trainer fit`: errors, stopping and records. tests/end_to_end tests resuming."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.errors import CorpusError, InputError
from tests.end_to_end.training import (
    GOLDEN,
    PHASE_1,
    STEPS,
    changed,
    checkpoint_tensors,
    fit_here,
    fit_until_killed,
    metrics_fields,
    write_config,
)
from tests.small_build import copy_build
from trainer.data.loader import Batch
from trainer.engine.run_setup import read_setup, record_start
from trainer.engine.step import NotFinite, StepAgreement, TrainStep
from trainer.errors import Stopped, TrainerError
from trainer.inspect.console import RunConsole
from trainer.inspect.trace import trace
from trainer.inspect.training_plan import make_plan


def test_phase_2_needs_the_end_of_phase_1_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"phase 2, `curated`, needs the last checkpoint of phase 1, `broad`.*--phase 1"
    ):
        fit_here(write_config(tmp_path), "2")


def test_a_finished_phase_is_not_trained_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, evaluate={"sequence_tokens": 32, "tokens_per_source": 1})
    run = fit_here(config, "1")
    before = checkpoint_tensors(run)
    fit_here(config, "broad")
    assert checkpoint_tensors(run) == before
    assert "broad: done" in capfd.readouterr().err


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(tmp_path: Path) -> None:
    """Else its measurements would be dropped without a word."""
    config = write_config(tmp_path)
    run = fit_here(config, "1")
    before = (run / "metrics.jsonl").read_bytes()
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(
        InputError, match=r"there is no checkpoint, but this run has saved some: bring that folder back"
    ):
        fit_here(config, "1")
    assert (run / "metrics.jsonl").read_bytes() == before
    (tmp_path / "elsewhere").rename(run / "checkpoints")
    saved = max((run / "checkpoints").glob("step-*"))
    saved.rename(saved.with_name("step-00000099"))
    with pytest.raises(InputError, match=r"step-00000099: damaged checkpoint: its state is of step"):
        fit_here(config, "1")


def test_phase_1_is_not_trained_again_once_phase_2_began(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path)
    run = fit_until_killed(config, "step:19")
    before = (run / "metrics.jsonl").read_bytes()
    fit_here(config, "1")
    assert (run / "metrics.jsonl").read_bytes() == before
    assert f"broad: done; its last step was {PHASE_1}" in capfd.readouterr().err
    fit_here(config)
    starts = [json.loads(line) for line in (run / "starts.jsonl").read_text().splitlines()]
    assert [start["previous_end"] for start in starts] == [None, 18]
    capfd.readouterr()
    fit_here(config, "1")
    assert f"broad: done; its last step was {PHASE_1}" in capfd.readouterr().err


def test_the_time_left_of_one_phase_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if phases that this run does not train count."""
    seen: list[tuple[str, int]] = []

    def phase(_: RunConsole, name: str, index: int, count: int, first: int, last: int, tokens_after: int) -> None:
        seen.append((name, tokens_after))

    monkeypatch.setattr(RunConsole, "phase", phase)
    config = write_config(tmp_path, evaluate={"tokens_per_source": 1})
    fit_here(config, "1")
    fit_here(write_config(tmp_path / "all", evaluate={"tokens_per_source": 1}))
    assert seen == [("broad", 0), ("broad", 256 * (STEPS - PHASE_1)), ("curated", 0)]


def test_an_unknown_phase_names_the_existing_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--phase 3: no such phase; the curriculum has 1 broad, 2 curated"):
        fit_here(write_config(tmp_path), "3")


def test_sigterm_saves_and_the_same_command_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, learn = write_config(tmp_path, checkpoint={"keep": 1}), TrainStep.learn

    def asked(self: TrainStep, batch: object, targets: int, rate: float) -> object:
        if batch.step == 5:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
        return learn(self, batch, targets, rate)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainStep, "learn", asked)
    with pytest.raises(Stopped, match="stopped after step 5, which is saved") as stopped:
        fit_here(config)
    assert stopped.value.exit_code == 143
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    run = tmp_path / "run"
    assert json.loads((run / "checkpoints/step-00000005/state.json").read_text())["step_in_phase"] == 5
    assert checkpoint_tensors(fit_here(config)) == checkpoint_tensors(fit_here(write_config(tmp_path / "whole")))


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, backward = write_config(tmp_path), TrainStep._backward

    def spoiled(self: TrainStep, batch: object, targets: int) -> object:
        losses_B = backward(self, batch, targets)  # type: ignore[arg-type]
        if batch.step == 6:  # type: ignore[attr-defined]
            losses_B[3] = np.nan
        return losses_B

    monkeypatch.setattr(TrainStep, "_backward", spoiled)
    with pytest.raises(NotFinite) as error:
        fit_here(config)
    monkeypatch.undo()
    setup = read_setup(config)
    mine = {span.id for span in trace(setup.corpora, setup.curriculum.phases[0], 6) if span.row == 3}
    message = str(error.value)
    assert message.startswith("step 6: the loss is nan; the weights were not updated")
    assert all(name in message for name in mine) and "trainer trace --step 6" in message
    assert metrics_fields(tmp_path / "run", "step") == [(step,) for step in range(1, 6)]

    phases = json.loads(config.read_text())["curriculum"]
    changed(config, curriculum=[phases[0] | {"skip": ["6"]}, phases[1]])
    assert metrics_fields(fit_here(config), "step") == [(step,) for step in range(1, STEPS + 1) if step != 6]


def test_a_gradient_that_is_not_finite_stops_before_the_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.engine.step.clip", lambda *_: float("inf"))
    with pytest.raises(NotFinite, match="step 1: the norm of the gradient is inf"):
        fit_here(write_config(tmp_path))


def test_accumulation_changes_only_rounding(tmp_path: Path) -> None:
    runs = []
    for micro in (1, 8, None):
        config = write_config(tmp_path / str(micro), parallel={"precision": "fp32", "micro_batch_sequences": micro})
        runs.append(metrics_fields(fit_here(config, "1"), "step", "batch", "loss", "grad_norm"))
    for one, other in zip(runs[0] + runs[0], runs[1] + runs[2], strict=True):
        assert one[:2] == other[:2]
        assert one[2:] == pytest.approx(other[2:], rel=1e-5)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Fails if the folder is not locked, or if the lock outlives its process."""
    config = write_config(tmp_path)
    hold = "import sys\nfrom pathlib import Path\nfrom trainer.engine.run_setup import lock_run_folder\n"
    hold += "with lock_run_folder(Path(sys.argv[1])):\n    print('held', flush=True)\n    input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "run")], stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(CorpusError, match="another `trainer fit` is at work"):
            fit_here(config)
        other.kill()
    fit_here(config, "1")


def test_files_of_a_run_folder(phase_1: Path) -> None:
    run = Path(json.loads(phase_1.read_text())["out"])
    left = {path.name for path in run.iterdir()} - {".lock"}
    assert left == {"train.json", "starts.jsonl", "ends.jsonl", "metrics.jsonl", "evaluations.jsonl", "samples.json",
                    "checkpoints", "report.html"}  # fmt: skip
    assert json.loads((run / "starts.jsonl").read_text().splitlines()[0])["versions"]["torch"] == torch.__version__
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["tokens"] == 256 * PHASE_1 and row["learning_rate"] == 1e-2 and row["mfu"] is None
    assert set(row["epochs"]) == {"books", "code", "web"}


def test_a_start_names_changed_settings_and_phases_by_their_path(tmp_path: Path) -> None:
    setup = read_setup(write_config(tmp_path))
    setup.folder.mkdir(parents=True)
    assert record_start(setup, 0, None, 1, "fp32", None) == []
    before = json.loads((setup.folder / "train.json").read_text())
    before["seed"] += 1
    before["curriculum"][0]["tokens"] = 7
    before["curriculum"][1]["name"] = "former"
    del before["evaluate"]["sequence_tokens"]  # as a release without it would write them
    (setup.folder / "train.json").write_text(json.dumps(before))
    (broad, curated) = setup.training.curriculum
    assert record_start(setup, 0, None, 1, "fp32", None) == [
        f"curriculum.{broad.name}.tokens: 7 -> {broad.tokens}",
        f"seed: {before['seed']} -> {setup.training.seed}",
        f"curriculum.{curated.name}: added",
        "curriculum.former: removed",
    ]


def test_a_checkpoint_has_the_planned_size(phase_1: Path) -> None:
    setup = read_setup(phase_1)
    planned = make_plan(setup.training, setup.curriculum, setup.corpora).checkpoint_bytes
    header = 20_000  # names and places of the tensors
    saved = max((setup.folder / "checkpoints").glob("step-*"))
    assert 0 < sum(file.stat().st_size for file in saved.glob("*.safetensors")) - planned < header


def test_tensorboard_gets_steps_and_evaluations_if_asked(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit_here(write_config(tmp_path, tensorboard=True), "1")
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss")] == list(range(1, PHASE_1 + 1))
    assert [point.step for point in events.Scalars("bits per byte")] == [0, PHASE_1]


def test_a_batch_emptied_by_a_takedown_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agree = TrainStep.agree

    def emptied(self: TrainStep, batch: Batch, stop: bool, save: bool) -> StepAgreement:
        found = agree(self, batch, stop, save)
        return found._replace(targets=0) if batch.step == 4 else found

    monkeypatch.setattr(TrainStep, "agree", emptied)
    run = fit_here(write_config(tmp_path, checkpoint={"every_steps": 4}), "1")
    assert metrics_fields(run, "step") == [(step,) for step in range(1, PHASE_1 + 1) if step != 4]
    assert (run / "checkpoints" / "step-00000005").is_dir()  # the one due at step 4


def test_a_page_that_cannot_be_written_does_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.inspect.run_page.write_run_page", full)
    run = fit_here(write_config(tmp_path), "1")
    assert metrics_fields(run, "step")[-1] == (PHASE_1,)
    assert "the page could not be written: OSError" in capfd.readouterr().err


def test_a_damaged_shard_is_named_before_training_on_a_token_outside_the_vocabulary(tmp_path: Path) -> None:
    corpus = copy_build(GOLDEN, tmp_path / "corpus")
    for file in (corpus / "shards").glob("books-train*"):
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2 | 1] = 0xFF
        file.write_bytes(raw)
    config = write_config(tmp_path, corpora={"golden": str(corpus)})
    with pytest.raises(TrainerError, match="less than the vocabulary of 384: a shard is damaged; run `corpus verify`"):
        fit_here(config)
