"""Checkpoints: exact, as of when they were saved, and as many as shall be kept."""

import os
from pathlib import Path

import pytest
import torch

from tests.trainer.small_run import (
    ALONE,
    checkpoints,
    first_process_writes_later,
    made,
    names,
    no_space,
    same,
    state,
    train,
    whole,
)
from trainer.checkpoint_state import read_state
from trainer.errors import TrainerError


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_what_is_loaded_is_bit_equal_and_trains_on_as_if_never_stopped(
    tmp_path: Path, background: bool, fused: bool
) -> None:
    model, optimizer = made(fused=fused)
    train(model, optimizer, 3)
    before = whole(model, optimizer)
    kept = checkpoints(tmp_path, background=background)
    kept.save(state(3), model, optimizer, last_of_phase=False)
    kept.wait()
    train(model, optimizer, 2, seed=2)

    again, its_optimizer = made(seed=9, fused=fused)
    path = kept.latest()
    assert path == tmp_path / "step-00000003"
    loaded = kept.load(path, again, its_optimizer)
    assert loaded == state(3, files=loaded.files) and len(loaded.files) == 1
    assert same(whole(again, its_optimizer), before)
    assert its_optimizer.param_groups[0]["lr"] == 0.01
    train(again, its_optimizer, 2, seed=2)
    assert same(whole(again, its_optimizer), whole(model, optimizer))


def test_weights_alone_load_without_an_optimizer(tmp_path: Path) -> None:
    model, optimizer = made()
    train(model, optimizer, 1)
    checkpoints(tmp_path).save(state(1), model, optimizer, last_of_phase=False)
    again, _ = made(seed=9)
    checkpoints(tmp_path).load(tmp_path / "step-00000001", again, None)
    assert all(torch.equal(each, again.state_dict()[name]) for name, each in model.state_dict().items())


def test_saving_before_the_first_step_takes_none(tmp_path: Path) -> None:
    model, optimizer = made()
    checkpoints(tmp_path).save(state(0), model, optimizer, last_of_phase=False)
    assert not optimizer.state
    again, its_optimizer = made(seed=9)
    train(again, its_optimizer, 2)
    checkpoints(tmp_path).load(tmp_path / "step-00000000", again, its_optimizer)
    train(model, optimizer, 2)
    train(again, its_optimizer, 2)
    assert same(whole(again, its_optimizer), whole(model, optimizer))


def test_updates_after_a_save_in_the_background_do_not_reach_the_file(tmp_path: Path) -> None:
    model, optimizer = made()
    train(model, optimizer, 2)
    before = whole(model, optimizer)
    given = state(2)
    kept = checkpoints(tmp_path, background=True)
    with first_process_writes_later(ALONE) as go_on:
        kept.save(given, model, optimizer, last_of_phase=False)
        train(model, optimizer, 3)
        given.start["web"] = 1000
        assert kept.latest() is None
        go_on.set()
        kept.wait()
    again, its_optimizer = made(seed=9)
    loaded = kept.load(tmp_path / "step-00000002", again, its_optimizer)
    assert same(whole(again, its_optimizer), before)
    assert loaded.start == state(2).start


def test_the_last_within_phases_and_all_ends_of_phases_stay(tmp_path: Path) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path, keep=2, background=True)
    for step in range(1, 9):
        kept.save(state(step, phase=step // 5), model, optimizer, last_of_phase=step in (4, 8))
    kept.wait()
    assert names(tmp_path) == ["step-00000004", "step-00000006", "step-00000007", "step-00000008"]
    assert kept.latest() == kept.of_phase(1) == tmp_path / "step-00000008"
    assert kept.of_phase(0) == tmp_path / "step-00000004"
    assert kept.of_phase(2) is None


def test_a_second_one_of_a_step_takes_the_place_of_its_like_and_of_no_other(tmp_path: Path) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path)
    kept.save(state(4), model, optimizer, last_of_phase=True)
    kept.save(state(4, phase=1), model, optimizer, last_of_phase=False)  # stopped before the next phase's first step
    assert kept.latest() == tmp_path / "step-00000004-2"
    kept.save(state(4, phase=1, seed=8), model, optimizer, last_of_phase=False)
    assert names(tmp_path) == ["step-00000004", "step-00000004-3"]
    assert kept.of_phase(0) == tmp_path / "step-00000004"
    assert kept.of_step(4) == kept.latest() == tmp_path / "step-00000004-3"
    assert kept.of_step(3) is None
    assert read_state(tmp_path / "step-00000004-3").seed == 8


def test_one_of_an_earlier_step_is_not_removed_as_it_is_saved(tmp_path: Path) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path, keep=1)
    kept.save(state(9), model, optimizer, last_of_phase=False)
    kept.save(state(3), model, optimizer, last_of_phase=False)
    assert "step-00000003" in names(tmp_path)


@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_is_one_error_and_the_next_save_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: bool
) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path, background=background)
    kept.save(state(1), model, optimizer, last_of_phase=False)
    kept.wait()
    with monkeypatch.context() as patched, pytest.raises(TrainerError, match=r"step-00000002.*No space left"):
        patched.setattr(os, "fsync", no_space)
        kept.save(state(2), model, optimizer, last_of_phase=False)
        kept.wait()
    assert kept.latest() == tmp_path / "step-00000001"
    kept.save(state(3), model, optimizer, last_of_phase=False)
    kept.wait()
    assert names(tmp_path) == ["step-00000001", "step-00000003"]
