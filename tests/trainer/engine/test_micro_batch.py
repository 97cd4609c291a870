"""Micro-batches: sizes that are stated, stored or the largest that fit, and what is said of memory."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.end_to_end.training import checkpoint_tensors, fit_here, write_config
from tests.trainer.small_run import ALONE
from trainer.data.loader import Batch
from trainer.engine import device_memory
from trainer.engine.device_memory import OutOfMemory, explain_out_of_memory, usable_bytes
from trainer.engine.micro_batch import MicroBatches, choose_micro_batches, computation
from trainer.engine.run_setup import RunSetup, read_setup
from trainer.engine.step import StepResult, TrainStep
from trainer.model.memory import device_memory as estimate

LENGTHS = (32, 64)  # of sequences: a batch holds 8 of the first phase, 4 of the second


@pytest.fixture
def setup(tmp_path: Path) -> RunSetup:
    return read_setup(write_config(tmp_path, parallel={}))


def choose(
    setup: RunSetup, usable: int | None, stored: int | None = None, devices: int = 1, **parallel: object
) -> MicroBatches:
    settings = setup.training.parallel.model_copy(update=parallel)
    training = setup.training.model_copy(update={"parallel": settings})
    how = computation(training, devices, bf16=False, on_cpu=True)
    return choose_micro_batches(training, setup.curriculum, setup.model_config, how, usable, stored)


@pytest.mark.parametrize(
    ("parallel", "sequences"),
    [
        ({"micro_batch_sequences": 3}, (3, 3)),
        ({"micro_batch_sequences": 100}, (8, 4)),
        ({"micro_batch_tokens": 128}, (4, 2)),
        ({"micro_batch_tokens": 200}, (4, 2)),  # not 6 and then 2 of 8
        ({"micro_batch_tokens": 1}, (1, 1)),
        ({}, (8, 4)),
    ],
)
def test_stated_sizes(setup: RunSetup, parallel: dict[str, object], sequences: tuple[int, ...]) -> None:
    found = choose(setup, None, **parallel)
    assert found.sequences == sequences
    assert found.tokens == (None if parallel else 256)
    assert found.fits and found.describe().startswith("fits: ")
    half = tuple(min(each, rows) for each, rows in zip(sequences, (4, 2), strict=True))
    assert choose(setup, None, devices=2, **parallel).sequences == half


def test_unless_stated_they_are_the_largest_that_fit(setup: RunSetup) -> None:
    """At every limit of memory: the choice fits, and no larger even part of the batches would."""

    def peak(sequences: tuple[int, ...]) -> int:
        how = computation(setup.training, 1, bf16=False, on_cpu=True)
        sizes = zip(sequences, LENGTHS, strict=True)
        found = [
            estimate(setup.model_config, how, sequence_tokens=length, micro_batch_sequences=number)
            for number, length in sizes
        ]
        return max(memory.training_bytes for memory in found)

    parts = [(8, 4), (4, 2), (3, 2), (2, 1), (1, 1)]
    seen = set()
    for usable in [*range(peak((1, 1)), peak((8, 4)), 1000), peak((8, 4))]:
        found = choose(setup, usable)
        assert found.tokens == max(number * length for number, length in zip(found.sequences, LENGTHS, strict=True))
        assert peak(found.sequences) <= usable
        assert all(peak(larger) > usable for larger in parts if sum(larger) > sum(found.sequences))
        seen.add(found.sequences)
    assert {(8, 4), (4, 2), (2, 1)} <= seen


@pytest.mark.parametrize("stored", [64, 128, 200, 256])
def test_a_stored_choice_is_kept_if_it_fits(setup: RunSetup, stored: int) -> None:
    kept = choose(setup, None, stored)
    assert kept.tokens == stored
    assert choose(setup, kept.peak_bytes, stored).sequences == kept.sequences
    less = max(memory.training_bytes for memory in kept.memory) - 1
    assert choose(setup, less, stored) == choose(setup, less)
    assert choose(setup, None, stored, micro_batch_sequences=2).sequences == (2, 2)


def test_what_does_not_fit_names_the_setting_that_helps(setup: RunSetup) -> None:
    setup = replace(
        setup,
        training=setup.training.model_copy(
            update={"evaluate": setup.training.evaluate.model_copy(update={"batch_sequences": 1})}
        ),
    )
    limit = choose(setup, None, micro_batch_tokens=128).peak_bytes
    too_large = choose(setup, limit, micro_batch_tokens=256)
    assert not too_large.fits
    told = too_large.describe()
    assert told.startswith("does not fit: ") and "set parallel.micro_batch_tokens: 128" in told
    assert choose(setup, limit, micro_batch_tokens=128).fits, "as it said"
    least = choose(setup, 1000)
    assert "set parallel.recompute: full" in least.describe() and "micro_batch" not in least.remedy
    assert "use more devices" in choose(setup, 1000, recompute="full").remedy
    assert "whole batch at once does not fit" in choose(setup, limit).describe()


def test_an_evaluation_that_does_not_fit_is_named(setup: RunSetup) -> None:
    evaluate = setup.training.evaluate.model_copy(update={"batch_sequences": 1000})
    large = replace(setup, training=setup.training.model_copy(update={"evaluate": evaluate}))
    found = choose(large, choose(setup, None).peak_bytes)
    assert not found.fits
    assert found.remedy == "lower evaluate.batch_sequences, now 1000"


def test_memory_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone = usable_bytes(ALONE)
    assert 10**8 < alone < 10**14
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert usable_bytes(ALONE) == alone // 2


def _cpu_error() -> None:
    torch.empty(2**60)


def _gpu_error() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")


@pytest.mark.parametrize("fail", [_cpu_error, _gpu_error])
def test_running_out_of_memory_names_the_setting_that_helps(fail: Callable[[], None]) -> None:
    told = r"^out of memory: set this\n  .*allocate.*$"
    with pytest.raises(OutOfMemory, match=told) as error, explain_out_of_memory("set this"):
        fail()
    assert error.value.exit_code == 1


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes$"), explain_out_of_memory("set this"):
        raise RuntimeError("shapes")


def test_a_run_that_runs_out_of_memory_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainStep, "learn", lambda *_: _gpu_error())
    with pytest.raises(OutOfMemory, match=r"set parallel\.micro_batch_tokens: 128, or set parallel\.recompute: full"):
        fit_here(write_config(tmp_path, parallel={"precision": "fp32"}))


def test_a_resumed_run_keeps_the_choice_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a device with more memory, as the rest of the run would otherwise be rounded differently."""
    used, learn = list[int | None](), TrainStep.learn

    def recorded(self: TrainStep, batch: Batch, targets: int, rate: float) -> StepResult:
        used.append(self.micro_batch_sequences)
        return learn(self, batch, targets, rate)

    monkeypatch.setattr(TrainStep, "learn", recorded)
    tight = choose(read_setup(write_config(tmp_path, parallel={})), None, micro_batch_tokens=128).peak_bytes
    runs = {}
    for name, memories in {"whole": [tight], "resumed": [tight, 10**12]}.items():
        config = write_config(tmp_path / name, parallel={"precision": "fp32"})
        for phase, memory in zip("12", [*memories, memories[-1]], strict=False):
            monkeypatch.setattr(device_memory, "usable_bytes", lambda _, memory=memory: memory)
            runs[name] = fit_here(config, phase)
        assert set(used[:12]) == {4} and set(used[12:]) == {2}
        used.clear()
    assert "memory: fits: " in capsys.readouterr().err
    states = [json.loads(path.read_text()) for path in runs["whole"].glob("checkpoints/*/state.json")]
    assert states and all(state["micro_batch_tokens"] == 128 for state in states)
    assert checkpoint_tensors(runs["whole"]) == checkpoint_tensors(runs["resumed"])


def test_a_checkpoint_of_an_older_release_has_no_choice(tmp_path: Path) -> None:
    config = write_config(tmp_path, parallel={"precision": "fp32"})
    for state_file in fit_here(config, "1").glob("checkpoints/*/state.json"):
        state = json.loads(state_file.read_text())
        del state["micro_batch_tokens"]
        state_file.write_text(json.dumps(state))
    assert len(list(fit_here(config).glob("checkpoints/step-*22"))) == 1
