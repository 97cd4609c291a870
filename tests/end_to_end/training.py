"""Small curriculum over the golden corpus, and helpers that train, kill and resume it.

`python -m tests.end_to_end.training CONFIG POINTS [FROM]` trains until one of POINTS and then sends itself SIGKILL. The
points are `step:N` (after step N), `saving:N` (the tensors of step N are written, the checkpoint is not published yet),
`renamed:N` (the checkpoint of step N is published) and `evaluating:N` (it is, and its evaluation has not begun).
Points are separated by commas; `POINT@A.R` is only for rank R in attempt A of torchrun.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "corpus"
PHASE_1, STEPS = 12, 22


def write_config(folder: Path, **changes: object) -> Path:
    """Write a train.yaml of two phases; the second has longer sequences from other sources. JSON is valid YAML."""
    settings: dict[str, object] = {
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
    path.write_text(json.dumps(settings | changes, indent=1))
    return path


def changed(config: Path, **settings: object) -> Path:
    """Change settings of a train.yaml, and return its path."""
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    return config


def fit_here(config: Path, phase: str | None = None, branch_from: str | None = None) -> Path:
    """Train in this process on one thread, and return the run folder."""
    import torch

    from trainer.fit import fit

    torch.set_num_threads(1)
    fit(config, phase, branch_from=branch_from)
    return Path(json.loads(config.read_text())["out"])


def fit_until_killed(config: Path, point: str, branch_from: str | None = None) -> Path:
    """Train in another process until it is killed at `point`, and return the run folder."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.training", str(config), point, *filter(None, [branch_from])],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Path(json.loads(config.read_text())["out"])


def checkpoint_tensors(run: Path, step: int | None = None) -> dict[str, bytes]:
    """Return the bytes of each weight and optimizer tensor in the last checkpoint, or that of a step."""
    from safetensors.torch import load_file

    last = max((run / "checkpoints").glob("step-*" if step is None else f"step-{step:08d}"))
    loaded = {name: tensor for file in last.glob("*.safetensors") for name, tensor in load_file(file).items()}
    return {name: tensor.numpy().tobytes() for name, tensor in loaded.items()}


def metrics_fields(run: Path, *fields: str) -> list[tuple[object, ...]]:
    """Return the named fields of each row of metrics.jsonl."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [tuple(row[field] for field in fields) for row in rows]


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(point: str) -> None:
    """Patch the trainer so that this process is killed at `point`."""
    from trainer.engine.checkpoint import Checkpoints
    from trainer.engine.step import TrainStep
    from trainer.inspect.eval_run import RunEvaluator

    event, _, number = point.partition(":")
    learn, publish, evaluate = TrainStep.learn, Checkpoints._publish, RunEvaluator.evaluate

    def learn_and_die(self: TrainStep, batch: object, targets: int, rate: float) -> object:
        result = learn(self, batch, targets, rate)  # type: ignore[arg-type]
        if event == "step" and batch.step == int(number):  # type: ignore[attr-defined]
            _kill_self()
        return result

    def publish_and_die(self: Checkpoints, temporary: Path, state: object, files: object) -> None:
        is_this_step = state.step == int(number)  # type: ignore[attr-defined]
        if is_this_step and event == "saving":
            assert list(temporary.glob("*.safetensors"))
            _kill_self()
        publish(self, temporary, state, files)  # type: ignore[arg-type]
        if is_this_step and event == "renamed":
            _kill_self()

    def evaluate_or_die(self: RunEvaluator, model: object, step: int, label: str) -> object:
        if event == "evaluating" and step == int(number):
            while not (self.setup.folder / "checkpoints" / f"step-{step:08d}").is_dir():
                time.sleep(0.01)  # it is saved in the background
            _kill_self()
        return evaluate(self, model, step, label)  # type: ignore[arg-type]

    RunEvaluator.evaluate = evaluate_or_die  # type: ignore[assignment, method-assign]
    TrainStep.learn = learn_and_die  # type: ignore[assignment, method-assign]
    Checkpoints._publish = publish_and_die  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    here = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT')}.{os.environ.get('RANK')}"
    for point, _, place in (each.partition("@") for each in sys.argv[2].split(",")):
        if place in ("", here):
            _kill_at(point)
    fit_here(Path(sys.argv[1]), None, *sys.argv[3:])
