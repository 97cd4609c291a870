"""A small model with optimizer and checkpoints, for tests."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer.engine import checkpoint_store
from trainer.engine.checkpoint import Checkpoints
from trainer.engine.checkpoint_state import CheckpointState, CorpusState
from trainer.engine.distributed import Distributed, shard

ALONE = Distributed(0, 1, 0, 1, 0, torch.device("cpu"), None)


class Block(nn.Module):
    """Tensors whose rows two processes cannot share evenly, one of them with a single row."""

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


def made(distributed: Distributed = ALONE, seed: int = 0, fused: bool = True) -> tuple[Small, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = Small()
    shard(model, distributed, "fp32", reshard_after_forward=True)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)


def train(model: Small, optimizer: torch.optim.Optimizer, steps: int, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        tokens_B = torch.randint(0, 7, (6,), generator=generator)
        nn.functional.cross_entropy(model(tokens_B), tokens_B.roll(1)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()


def whole(model: Small, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return copies of the full weights, moments and step, without using the code under test."""
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


def state(step: int, phase: int = 0, **changed: object) -> CheckpointState:
    fields: dict[str, object] = {
        "step": step,
        "phase": phase,
        "phase_name": "broad",
        "step_in_phase": step,
        "start": {"web": 0, "books": 12},
        "skip": ((3, 4),),
        "corpora": {"web": CorpusState(content_sha256="a" * 64, layout_sha256="b" * 64, revision=2)},
        "tokenizer_sha256": "c" * 64,
        "model": {"num_hidden_layers": 2, "rope_theta": 500000.0, "tie_word_embeddings": False},
        "seed": 7,
        "settings_digest": "d",
        "phase_settings": {"shares": {"web": 3, "books": 1}, "sequence_tokens": 16},
        "precision": "fp32",
        "world": 1,
        "torch": torch.__version__,
        "tokens_seen": 100,
        **changed,
    }
    return CheckpointState.model_validate(fields)


def checkpoints(folder: Path, keep: int = 2, background: bool = False) -> Checkpoints:
    return Checkpoints(folder, ALONE, keep, background)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def saved(folder: Path, step: int = 5) -> Path:
    model, optimizer = made()
    train(model, optimizer, 1)
    checkpoints(folder).save(state(step), model, optimizer)
    found = checkpoints(folder).latest()
    assert found is not None
    return found


def load(path: Path) -> None:
    checkpoints(path.parent).load(path, *made(seed=9))


def no_space(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def first_process_writes_later(distributed: Distributed) -> Iterator[threading.Event]:
    """Delay the first process's file until the event is set; the second writes at once."""
    going_on, write = threading.Event(), checkpoint_store._write

    def held(*arguments: object) -> int:
        assert distributed.rank == 1 or going_on.wait(60)
        return write(*arguments)  # type: ignore[arg-type]

    checkpoint_store._write = held  # type: ignore[assignment]
    try:
        yield going_on
    finally:
        checkpoint_store._write = write
