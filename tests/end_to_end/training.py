"""A small curriculum over the golden corpus, run whole, killed and resumed: what the tests of `trainer fit` share.

As a program, `python -m tests.end_to_end.training CONFIG WHERE` trains until it reaches WHERE, and there sends itself a
real SIGKILL: `step:N` (after N steps), `saving:N` (step N's tensors are on disk, the checkpoint not yet whole),
`renamed:N` (step N's checkpoint is whole, and nothing after it was done).
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "corpus"
PHASE_1, STEPS = 12, 22


def write_config(folder: Path, **changes: object) -> Path:
    """A train.yaml of two phases, the second with longer sequences of other sources; JSON is YAML."""
    told: dict[str, object] = {
        "format_version": 1,
        "name": "small",
        "out": str(folder / "run"),
        "corpora": {"golden": str(GOLDEN)},
        "model": {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2,
                  "intermediate_size": 48, "rope_theta": 10000},
        "curriculum": [
            {"name": "broad", "tokens": 256 * PHASE_1, "sequence_tokens": 32, "batch_tokens": 256,
             "learning_rate": {"peak": 1e-2, "warmup": 0.2}},
            {"name": "curated", "tokens": 256 * (STEPS - PHASE_1), "sequence_tokens": 64, "batch_tokens": 256,
             "shares": {"books": 0.7, "code": 0.3}, "max_epochs": 2, "learning_rate": {"decay": 1, "end": 0}},
        ],
        "parallel": {"precision": "fp32", "micro_batch_sequences": 2},
        "checkpoint": {"every_steps": 4, "keep": 2},
        "evaluate": {"sequence_tokens": 32, "tokens_per_source": 300},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.yaml"
    path.write_text(json.dumps(told | changes, indent=1))
    return path


def fit_here(config: Path, phase: str | None = None) -> Path:
    """Trains in this process, on one thread; returns the run folder."""
    import torch

    from trainer.fit import fit

    torch.set_num_threads(1)
    fit(config, phase)
    return Path(json.loads(config.read_text())["out"])


def fit_until_killed(config: Path, where: str) -> Path:
    """Trains in a process of its own until WHERE, where it is killed; returns the run folder."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.training", str(config), where],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Path(json.loads(config.read_text())["out"])


def checkpoint_tensors(run: Path) -> dict[str, bytes]:
    """The last checkpoint's weights and optimizer state, bit by bit."""
    from safetensors.torch import load_file

    last = max((run / "checkpoints").glob("step-*"))
    found = {name: each for file in last.glob("*.safetensors") for name, each in load_file(file).items()}
    return {name: each.numpy().tobytes() for name, each in found.items()}


def metrics_fields(run: Path, *fields: str) -> list[tuple[object, ...]]:
    """These fields of each row of metrics.jsonl."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [tuple(row[field] for field in fields) for row in rows]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _until(where: str) -> None:
    """Arranges for the kill."""
    from trainer.engine.checkpoint import Checkpoints
    from trainer.engine.step import TrainStep

    what, _, number = where.partition(":")
    learn, publish = TrainStep.learn, Checkpoints._publish

    def learn_and_die(self: TrainStep, batch: object, targets: int, rate: float) -> object:
        found = learn(self, batch, targets, rate)  # type: ignore[arg-type]
        if what == "step" and batch.step == int(number):  # type: ignore[attr-defined]
            _die()
        return found

    def publish_and_die(self: Checkpoints, temporary: Path, state: object, files: object) -> None:
        mine = state.step == int(number)  # type: ignore[attr-defined]
        if mine and what == "saving":
            assert list(temporary.glob("*.safetensors"))
            _die()
        publish(self, temporary, state, files)  # type: ignore[arg-type]
        if mine and what == "renamed":
            _die()

    TrainStep.learn = learn_and_die  # type: ignore[assignment, method-assign]
    Checkpoints._publish = publish_and_die  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    _until(sys.argv[2])
    fit_here(Path(sys.argv[1]))
