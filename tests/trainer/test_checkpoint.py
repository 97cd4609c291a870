"""Checkpoints: exact, whole or absent, loadable on another number of processes; run as a program, two of those."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from corpus.errors import InputError
from tests.trainer.torchrun import REPOSITORY, torchrun
from trainer import checkpoint_store
from trainer.checkpoint import Checkpoints
from trainer.checkpoint_state import CorpusState, State, read_state
from trainer.errors import TrainerError
from trainer.parallel import Layout, shard, start, sums

ALONE = Layout(0, 1, 0, torch.device("cpu"), None)


class Block(nn.Module):
    """Rows that two processes cannot share evenly, and a tensor too small to give both a row."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 5)
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x_BD: Tensor) -> Tensor:
        changed_BD: Tensor = x_BD + self.gain * torch.tanh(self.inner(x_BD))
        return changed_BD


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(5, 7, bias=False)

    def forward(self, tokens_B: Tensor) -> Tensor:
        x_BD = self.embedding(tokens_B)
        for block in self.blocks:
            x_BD = block(x_BD)
        logits_BV: Tensor = self.head(x_BD)
        return logits_BV


def made(layout: Layout = ALONE, seed: int = 0, fused: bool = True) -> tuple[Small, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = Small()
    shard(model, layout, "fp32", reshard_after_forward=True)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)


def train(model: Small, optimizer: torch.optim.Optimizer, steps: int, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        tokens_B = torch.randint(0, 7, (6,), generator=generator)
        nn.functional.cross_entropy(model(tokens_B), tokens_B.roll(1)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()


def whole(model: Small, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights, moments and step as they are now, whole, and copied: found without the code under test."""
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        found[name] = parameter
        found |= {f"{name}.{key}": value for key, value in optimizer.state.get(parameter, {}).items()}
    gathered = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in found.items()}
    return {name: value.detach().clone().contiguous() for name, value in gathered.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        each.dtype == other[name].dtype and torch.equal(each, other[name]) for name, each in one.items()
    )


def state(step: int, phase: int = 0, **changed: object) -> State:
    fields: dict[str, object] = {
        "step": step,
        "phase": phase,
        "phase_name": "broad",
        "step_in_phase": step,
        "start": {"web": 0, "books": 12},
        "skip": ((3, 4),),
        "corpora": {"web": CorpusState(manifest_sha256="a" * 64, layout_sha256="b" * 64, revision=2)},
        "tokenizer_sha256": "c" * 64,
        "model": {"layers": 2, "rope_base": 500000.0, "tied_embeddings": False},
        "seed": 7,
        "settings_digest": "d",
        "phase_settings": {"shares": {"web": 3, "books": 1}, "sequence_tokens": 16},
        "precision": "fp32",
        "world": 1,
        "torch": torch.__version__,
        "tokens_seen": 100,
        **changed,
    }
    return State.model_validate(fields)


def checkpoints(folder: Path, keep: int = 2, background: bool = False) -> Checkpoints:
    return Checkpoints(folder, ALONE, keep, background)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def saved(folder: Path, step: int = 5) -> Path:
    model, optimizer = made()
    train(model, optimizer, 1)
    checkpoints(folder).save(state(step), model, optimizer, last_of_phase=False)
    found = checkpoints(folder).latest()
    assert found is not None
    return found


def load(path: Path) -> None:
    checkpoints(path.parent).load(path, *made(seed=9))


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


def no_space(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Killed before each change of the disk in turn, by SIGKILL.

CHANGES = ("mkdir", "fsync", "rename", "unlink", "rmdir", "open")


def kill_before(change: int) -> None:
    """From now on, this process is killed before its so-manieth change of the disk."""
    left = [change]

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return counted

    for name in CHANGES:
        setattr(os, name, counting(getattr(os, name)))


def saves_until_it_survives(folder: Path) -> None:
    """Saves step 2 over step 1 in child processes that are killed ever later; looks at what each left behind."""
    model, optimizer = made()
    train(model, optimizer, 1)
    checkpoints(folder, keep=1).save(state(1), model, optimizer, last_of_phase=False)
    first = whole(model, optimizer)
    train(model, optimizer, 1)
    second = whole(model, optimizer)
    seen = []
    for change in range(1000):
        child = os.fork()
        if not child:
            kill_before(change)
            checkpoints(folder, keep=1).save(state(2), model, optimizer, last_of_phase=False)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        again, its_optimizer = made(seed=9)
        path = checkpoints(folder).latest()
        assert path is not None
        step = checkpoints(folder).load(path, again, its_optimizer).step
        assert same(whole(again, its_optimizer), {1: first, 2: second}[step])
        seen.append(step)
        if not status:
            break
    assert seen == sorted(seen) and seen.count(1) > 5 and seen.count(2) > 2, seen
    assert [name for name in names(folder) if not name.startswith(".tmp-")] == [names(folder)[-1]]
    print("survived after", len(seen))


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint_and_the_next_save_works(tmp_path: Path) -> None:
    command = [sys.executable, __file__, "killed", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0 and "survived" in done.stdout, done.stderr


# What is damaged or hostile.


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    file = next(path.glob("*.safetensors"))
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(InputError, match=rf"{file.name} has \d+ bytes, not \d+; remove it"):
        load(path)
    file.unlink()
    with pytest.raises(InputError, match=f"missing {file.name}"):
        load(path)


def test_a_file_whose_bytes_are_not_tensors_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    file = next(path.glob("*.safetensors"))
    file.write_bytes(b"\xff" * file.stat().st_size)
    with pytest.raises(InputError, match=f"damaged checkpoint: {file.name} fails"):
        load(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: "", "not a checkpoint's state"),
        (lambda _: "[" * 100_000, "not a checkpoint's state"),
        (lambda held: held | {"format_version": 2}, "format_version 2; this release reads up to 1: install a newer"),
        (lambda held: held | {"surprise": 1}, "surprise: Extra inputs"),
        (lambda held: held | {"step": -1}, "step: "),
        (lambda held: held | {"step": "5"}, "step: "),
        (lambda held: held | {"files": {"../../outside.safetensors": 3}}, "files"),
        (lambda held: held | {"files": {"/etc/passwd": 3}}, "files"),
        (lambda held: held | {"files": {".metadata": 3}}, "files"),
        (lambda held: {key: value for key, value in held.items() if key != "corpora"}, "corpora: Field required"),
    ],
)
def test_a_hostile_state_is_refused(tmp_path: Path, change: Callable[[dict[str, object]], object], told: str) -> None:
    path = saved(tmp_path)
    changed = change(json.loads((path / "state.json").read_text()))
    (path / "state.json").write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(InputError, match=told):
        load(path)
    checkpoints(tmp_path, keep=1).save(state(6), *made(), last_of_phase=False)
    assert path.exists(), "what cannot be read is not ours to remove"


def test_a_damaged_end_of_a_phase_is_told_and_another_is_not_in_the_way(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path)
    for step in (1, 2):
        kept.save(state(step, phase=step - 1), *made(), last_of_phase=True)
    (tmp_path / "step-00000002" / "state.json").write_text("{}")
    assert kept.of_phase(0) == tmp_path / "step-00000001"
    with pytest.raises(InputError, match="step-00000002"):
        kept.of_phase(1)


class Bomb:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.mark, "unpickled"))


def test_a_planted_pickle_is_never_read(tmp_path: Path) -> None:
    path, mark = saved(tmp_path / "run"), tmp_path / "mark"
    for name in (".metadata", "__0_0.distcp", "state.pkl", "optimizer.pt"):
        (path / name).write_bytes(pickle.dumps(Bomb(mark)))
    load(path)
    assert not mark.exists()
    pickle.loads((path / ".metadata").read_bytes())
    assert mark.exists(), "the bomb is one"


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path)
    model, _ = made()
    model.head = nn.Linear(5, 8, bias=False)
    with pytest.raises(InputError, match=r"another model(.|\n)*model.head.weight: \[7, 5\] .* there, \[8, 5\]"):
        checkpoints(tmp_path).load(path, model, torch.optim.AdamW(model.parameters()))
    model, optimizer = made()
    with pytest.raises(InputError, match=r"model.blocks.0.gain: .*float32 there, .*float64 here"):
        checkpoints(tmp_path).load(path, model.double(), optimizer)


# Two processes: one start of them serves the tests below.


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What two processes made of a checkpoint that one saved."""
    folder = tmp_path_factory.mktemp("two")
    model, optimizer = made()
    train(model, optimizer, 2)
    checkpoints(folder / "one").save(state(2), model, optimizer, last_of_phase=False)
    save_file(whole(model, optimizer), folder / "saved_by_one.safetensors")
    torchrun(2, __file__, "two", str(folder))
    yield folder


@contextmanager
def first_process_writes_later(layout: Layout) -> Iterator[threading.Event]:
    """The first process writes its file once the event is set, the second at once."""
    going_on, write = threading.Event(), checkpoint_store._write

    def held(*arguments: object) -> int:
        assert layout.rank == 1 or going_on.wait(60)
        return write(*arguments)  # type: ignore[arg-type]

    checkpoint_store._write = held
    yield going_on
    checkpoint_store._write = write


def of_two_processes(folder: Path) -> None:
    with start() as layout:

        def keep(name: str, *made_of: object) -> None:
            found = whole(*made_of)  # type: ignore[arg-type]
            if layout.rank == 0:
                save_file(found, folder / f"{name}.safetensors")

        model, optimizer = made(layout, seed=9)
        ones = Checkpoints(folder / "one", layout, keep=2, background=True)
        latest = ones.latest()
        assert latest is not None
        ones.load(latest, model, optimizer)
        keep("loaded_by_two", model, optimizer)

        train(model, optimizer, 1, seed=3)
        keep("saved_by_two", model, optimizer)
        twos = Checkpoints(folder / "two", layout, keep=2, background=True)
        with first_process_writes_later(layout) as go_on:
            twos.save(state(3, world=2), model, optimizer, last_of_phase=False)
            train(model, optimizer, 2, seed=4)
            if layout.rank == 1:
                time.sleep(0.3)  # its writing thread waits for the first's by now
            spoken = [sums(layout, [layout.rank, each]) for each in range(20)]
            assert spoken == [[1, 2 * each] for each in range(20)]
            go_on.set()
            twos.wait()
        keep("went_on", model, optimizer)

        again, its_optimizer = made(layout, seed=9)
        twos.load(folder / "two" / "step-00000003", again, its_optimizer)
        keep("loaded_again", again, its_optimizer)
        train(again, its_optimizer, 2, seed=4)
        keep("resumed", again, its_optimizer)

        for background in (True, False):
            fails = Checkpoints(folder / "two", layout, keep=2, background=background)
            real = os.fsync
            if layout.rank == 1:
                os.fsync = no_space  # type: ignore[assignment]
            try:
                fails.save(state(4), model, optimizer, last_of_phase=False)
                fails.wait()
            except TrainerError as error:
                (folder / f"told_{layout.rank}_{background}").write_text(str(error))
            os.fsync = real
            assert fails.latest() == folder / "two" / "step-00000003"
        twos.save(state(5, world=2), model, optimizer, last_of_phase=True)
        twos.wait()


def test_two_processes_load_exactly_what_one_saved(two: Path) -> None:
    assert same(load_file(two / "loaded_by_two.safetensors"), load_file(two / "saved_by_one.safetensors"))


def test_one_process_loads_exactly_what_two_saved(two: Path) -> None:
    model, optimizer = made(seed=9)
    loaded = checkpoints(two / "two").load(two / "two" / "step-00000003", model, optimizer)
    pieces = [load_file(two / "two" / "step-00000003" / file) for file in loaded.files]
    assert len(pieces) == 2 and all(len(piece) for each in pieces for piece in each.values() if piece.ndim)
    assert same(whole(model, optimizer), load_file(two / "saved_by_two.safetensors"))


def test_two_processes_go_on_from_their_own_to_the_bit(two: Path) -> None:
    assert same(load_file(two / "loaded_again.safetensors"), load_file(two / "saved_by_two.safetensors"))
    assert same(load_file(two / "resumed.safetensors"), load_file(two / "went_on.safetensors"))
    assert not same(load_file(two / "resumed.safetensors"), load_file(two / "loaded_again.safetensors"))


@pytest.mark.parametrize("background", [False, True])
def test_one_process_without_room_is_the_same_error_on_both_and_the_next_save_works(
    two: Path, background: bool
) -> None:
    told = [(two / f"told_{rank}_{background}").read_text() for rank in range(2)]
    assert told[0] == told[1] and "process 1: [Errno 28] No space left" in told[0]
    assert names(two / "two") == ["step-00000003", "step-00000005"]
    assert read_state(two / "two" / "step-00000005").phase_done


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"two": of_two_processes, "killed": saves_until_it_survives}[sys.argv[1]](Path(sys.argv[2]))
