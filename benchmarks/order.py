"""Effect of the order of sequences on what a model learns from the same tokens.

    python benchmarks/order.py [TRAIN.yaml] [--seeds 3] [--steps 878]

Trains a small model on one phase of all sources, once in the order of `trainer/data/cut_order.py` and once in the
order of the stream: chunks of 2,048 tokens permuted, their sequences one after the other. The result is bits per byte
on all holdouts together. Beside it stands the share of a batch's documents that were in the batch before, also of a
perfect shuffle of the same sequences. The corpus must be built.
"""

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import common

from trainer.data import corpora
from trainer.data.curriculum import PhasePlan
from trainer.data.cut_order import CutOrder
from trainer.engine.run_setup import RunSetup, read_setup
from trainer.fit import fit
from trainer.inspect.metrics import evaluations_file
from trainer.inspect.trace import trace

ROOT = Path(__file__).parents[1]
LEAST_GAIN, MOST_REPEATS = 0.08, 2.0  # bits per byte; times a perfect shuffle
STREAM_CHUNK, SEQUENCE, BATCH, TRACED = 2048, 256, 1024, 300
CLAIM = (
    f"windows of permuted sequences gain at least {LEAST_GAIN} bits per byte over the order of the stream, with each "
    f"seed, and repeat documents from batch to batch less than {MOST_REPEATS:g} times as often as a perfect shuffle"
)


@contextmanager
def stream_order() -> Iterator[None]:
    """Read chunks in a keyed order, and each from its start to its end."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(CutOrder, "_permuted", lambda self, rest, epoch, number_N: number_N.copy()))
        stack.enter_context(patch.object(corpora, "chunk_tokens", lambda tokens: STREAM_CHUNK))
        yield


def settings(seed: int, steps: int, out: Path) -> list[str]:
    phase = f"{{name: all, tokens: {steps * BATCH}, sequence_tokens: {SEQUENCE}, batch_tokens: {BATCH}, max_epochs: 4, "
    phase += "learning_rate: {peak: 3e-3, warmup: 10%, decay: 30%, end: 0}}"
    model = "{num_hidden_layers: 2, hidden_size: 128, num_attention_heads: 4, intermediate_size: 384, "
    model += "tie_word_embeddings: true}"
    return [
        f"seed={seed}", f"out={out}", f"curriculum=[{phase}]", f"model={model}", "parallel.precision=fp32",
        "evaluate.prompts=[]", "evaluate.every_steps=null", "checkpoint.every_minutes=null",
    ]  # fmt: skip


def repeats(setup: RunSetup, order: Callable[[list[int]], list[int]]) -> float:
    """Return the share of a batch's documents that were in the batch before, of the first batches in an order."""
    (phase,) = setup.curriculum.phases
    documents = [set[str]() for _ in range(phase.batch_sequences * phase.steps)]
    for row, ids in _documents_of_rows(setup, phase):
        documents[row] |= ids
    rows = order(list(range(len(documents))))
    size = phase.batch_sequences
    batches = [
        set[str]().union(*(documents[row] for row in rows[at : at + size])) for at in range(0, TRACED * size, size)
    ]
    shared = sum(len(one & other) for one, other in pairwise(batches))
    return shared / sum(len(batch) for batch in batches[1:])


def _documents_of_rows(setup: RunSetup, phase: PhasePlan) -> Iterator[tuple[int, set[str]]]:
    for step in range(phase.first_step, phase.last_step + 1):
        for span in trace(setup.corpora, phase, step):
            yield (step - phase.first_step) * phase.batch_sequences + span.row, {span.id}


def shuffled(rows: list[int]) -> list[int]:
    """Return the rows in a random order."""
    return random.Random(1).sample(rows, len(rows))


def main() -> None:
    """Train, print and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=ROOT / "recipes" / "train_quickstart.yaml")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=878)
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(1, options.seeds + 1):
            row: dict[str, float] = {}
            for name in ("stream", "windows"):
                with stream_order() if name == "stream" else ExitStack():
                    out = Path(temporary) / f"{seed}-{name}"
                    assignments = settings(seed, options.steps, out)
                    setup = read_setup(options.config, assignments)
                    row[f"{name}_repeats"] = repeats(setup, lambda rows: rows)
                    if name == "windows":
                        row["perfect_repeats"] = repeats(setup, shuffled)
                    fit(options.config, None, assignments)
                    row[name] = [each.bits_per_byte or 0.0 for each in evaluations_file(out).rows()][-1]
            row["gain"] = row["stream"] - row["windows"]
            figures[f"seed {seed}"] = {key: round(value, 4) for key, value in row.items()}
            print(seed, figures[f"seed {seed}"])
    met = all(row["gain"] >= LEAST_GAIN for row in figures.values()) and all(
        row["windows_repeats"] < MOST_REPEATS * row["perfect_repeats"] for row in figures.values()
    )
    common.record("order", CLAIM, ["torch"], figures, met)


if __name__ == "__main__":
    main()
