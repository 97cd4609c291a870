"""Checkpoints: contents, timing of background saves, and removal of old ones."""

import errno
import os
import shutil
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
from trainer.engine.checkpoint import checkpoints_by_step
from trainer.engine.checkpoint_state import read_state
from trainer.errors import TrainerError


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_a_loaded_checkpoint_is_bit_equal_and_continues_training_exactly(
    tmp_path: Path, background: bool, fused: bool
) -> None:
    model, optimizer = made(fused=fused)
    train(model, optimizer, 3)
    before = whole(model, optimizer)
    kept = checkpoints(tmp_path, background=background)
    kept.save(state(3), model, optimizer)
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
    checkpoints(tmp_path).save(state(1), model, optimizer)
    again, _ = made(seed=9)
    checkpoints(tmp_path).load(tmp_path / "step-00000001", again, None)
    assert all(torch.equal(each, again.state_dict()[name]) for name, each in model.state_dict().items())


def test_saving_before_the_first_step_does_not_take_a_step(tmp_path: Path) -> None:
    model, optimizer = made()
    checkpoints(tmp_path).save(state(0), model, optimizer)
    assert not optimizer.state
    again, its_optimizer = made(seed=9)
    train(again, its_optimizer, 2)
    checkpoints(tmp_path).load(tmp_path / "step-00000000", again, its_optimizer)
    train(model, optimizer, 2)
    train(again, its_optimizer, 2)
    assert same(whole(again, its_optimizer), whole(model, optimizer))


def test_updates_during_a_background_save_do_not_reach_the_file(tmp_path: Path) -> None:
    model, optimizer = made()
    train(model, optimizer, 2)
    before = whole(model, optimizer)
    given = state(2)
    kept = checkpoints(tmp_path, background=True)
    with first_process_writes_later(ALONE) as go_on:
        kept.save(given, model, optimizer)
        train(model, optimizer, 3)
        given.start["web"] = 1000
        assert kept.latest() is None
        go_on.set()
        kept.wait()
    again, its_optimizer = made(seed=9)
    loaded = kept.load(tmp_path / "step-00000002", again, its_optimizer)
    assert same(whole(again, its_optimizer), before)
    assert loaded.start == state(2).start


def test_the_ends_of_phases_and_the_last_others_are_kept(tmp_path: Path) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path, keep=2, background=True)
    for step in range(1, 9):
        kept.save(state(step, phase=step // 5, phase_done=step in (4, 8)), model, optimizer)
    kept.wait()
    assert names(tmp_path) == ["step-00000004", "step-00000006", "step-00000007", "step-00000008"]
    assert kept.latest() == tmp_path / "step-00000008"


@pytest.mark.parametrize("background", [False, True])
def test_a_step_that_is_saved_or_loaded_is_not_saved_again(tmp_path: Path, background: bool) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path, background=background)
    kept.save(state(4, phase_done=True), model, optimizer)
    kept.save(state(4, phase=1), model, optimizer)  # stopped before the next phase's first step
    kept.wait()
    again = checkpoints(tmp_path)
    again.load(tmp_path / "step-00000004", model, optimizer)
    again.save(state(4, phase=1), model, optimizer)
    assert names(tmp_path) == ["step-00000004"]
    assert read_state(tmp_path / "step-00000004").phase_done


def test_the_second_checkpoint_of_a_step_by_an_earlier_release_is_the_newer_one(tmp_path: Path) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path, keep=1)
    kept.save(state(4, phase=1), model, optimizer)
    for number in (2, 10):
        shutil.copytree(tmp_path / "step-00000004", tmp_path / f"step-00000004-{number}")
    assert checkpoints_by_step(tmp_path)[4] == kept.latest() == tmp_path / "step-00000004-10"
    assert list(checkpoints_by_step(tmp_path)) == [4]
    checkpoints(tmp_path, keep=1).load(tmp_path / "step-00000004-10", model, optimizer)
    kept.save(state(5, phase=1), model, optimizer)
    assert kept.latest() == tmp_path / "step-00000005"
    assert not (tmp_path / "step-00000004-10").exists()


def test_a_new_checkpoint_of_an_earlier_step_is_not_removed(tmp_path: Path) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path, keep=1)
    kept.save(state(9), model, optimizer)
    kept.save(state(3), model, optimizer)
    assert "step-00000003" in names(tmp_path)


def test_leftovers_that_cannot_be_removed_do_not_fail_a_save_and_are_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(folder: str, *, dir_fd: int | None = None) -> None:  # what it holds may go
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), folder)

    kept, (model, optimizer) = checkpoints(tmp_path, keep=1), made()
    for left in (".tmp-step-00000002", ".tmp-step-00000009"):
        (tmp_path / left / ".nfs01").mkdir(parents=True)
    (tmp_path / ".tmp-step-00000001").touch()
    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", refusing)
        for step in (1, 2, 3):
            kept.save(state(step), model, optimizer)
    assert [name for name in names(tmp_path) if name.startswith("step-")] == ["step-00000003"]
    assert len(list(tmp_path.rglob(".nfs01"))) == 2
    again, its_optimizer = made(seed=9)
    kept.load(tmp_path / "step-00000003", again, its_optimizer)
    assert same(whole(again, its_optimizer), whole(model, optimizer))
    kept.save(state(4), model, optimizer)
    assert names(tmp_path) == ["step-00000004"]


def test_an_old_checkpoint_that_cannot_be_removed_does_not_fail_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, (model, optimizer) = checkpoints(tmp_path, keep=1), made()
    rename = Path.rename

    def refusing(path: Path, to: Path) -> Path:
        if path.name == "step-00000001":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refusing)
    for step in (1, 2, 3):
        kept.save(state(step), model, optimizer)
    assert names(tmp_path) == ["step-00000001", "step-00000003"]


def test_a_failed_background_save_is_reported_before_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, (model, optimizer) = checkpoints(tmp_path, background=True), made()
    with first_process_writes_later(ALONE) as go_on:
        kept.save(state(1), model, optimizer)
        assert not kept.failed, "it is still writing"
        go_on.set()
        kept.wait()
    kept.save(state(2), model, optimizer)
    assert kept._pending and kept._pending[1].result(60) and not kept.failed
    kept.wait()
    monkeypatch.setattr(os, "fsync", no_space)
    kept.save(state(3), model, optimizer)
    assert kept._pending and kept._pending[1].exception(60) and kept.failed
    with pytest.raises(TrainerError):
        kept.wait()
    assert not kept.failed


@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_is_one_error_and_the_next_save_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: bool
) -> None:
    model, optimizer = made()
    kept = checkpoints(tmp_path, background=background)
    kept.save(state(1), model, optimizer)
    kept.wait()
    with monkeypatch.context() as patched, pytest.raises(TrainerError, match=r"step-00000002.*No space left"):
        patched.setattr(os, "fsync", no_space)
        kept.save(state(2), model, optimizer)
        kept.wait()
    assert names(tmp_path) == ["step-00000001"], "what a failed save wrote would keep the disk full"
    kept.save(state(3), model, optimizer)
    kept.wait()
    assert names(tmp_path) == ["step-00000001", "step-00000003"]
