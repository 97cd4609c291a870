"""Benefit of phase 2: after the broad phase, continue on the curated sources or on the broad mixture, and compare.

Both continue from the same checkpoint for the same number of tokens, with the same sequence length and learning rates;
only the shares differ. The result is bits per byte on the holdout of each source, for several seeds.

Run: python benchmarks/curriculum.py [TRAIN.yaml] [--seeds 3] [--scale 1.0]; the corpus must be built.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import common
from rich.console import Console
from rich.table import Table

from trainer.config import read_training
from trainer.fit import fit
from trainer.inspect.metrics import evaluations_file

ROOT = Path(__file__).parents[1]
CLAIM = "on each curated source and with each seed, phase 2 beats phase 1 continued for as many tokens"
BitsPerByte = dict[str, float]  # by source


def bits_per_byte(run: Path, label: str) -> BitsPerByte:
    """Return bits per byte by source of the evaluation with this label."""
    rows = {row.after: row for row in evaluations_file(run).rows()}
    return {name: each.bits_per_byte for name, each in rows[label].sources.items()}


def arms(config: Path, seed: int, scale: float, folder: Path) -> dict[str, BitsPerByte]:
    """Train phase 1, then both continuations of it; return the evaluation of each."""
    broad, curated = read_training(config).curriculum
    common_settings = [f"seed={seed}", "evaluate.prompts=[]", "checkpoint.every_steps=null"]
    common_settings += [f"curriculum.{phase.name}.tokens={int(phase.tokens * scale)}" for phase in (broad, curated)]
    first = folder / f"{seed}-phase-1"
    fit(config, broad.name, [*common_settings, f"out={first}"])
    evaluations = {"after phase 1": bits_per_byte(first, f"after {broad.name}")}
    shares = "null" if broad.shares is None else "{" + ", ".join(f"{k}: {v}" for k, v in broad.shares.items()) + "}"
    for name, settings in (("phase 2", []), ("phase 1 continued", [f"curriculum.{curated.name}.shares={shares}"])):
        out = folder / f"{seed}-{name.replace(' ', '-')}"
        shutil.copytree(first, out)
        fit(config, curated.name, [*common_settings, *settings, f"out={out}"])
        evaluations[name] = bits_per_byte(out, f"after {curated.name}")
    return evaluations


def main() -> None:
    """Train, print the table, and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=ROOT / "recipes" / "train_quickstart.yaml")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    training = read_training(options.config)
    if len(training.curriculum) != 2 or not training.curriculum[1].shares:
        parser.error(
            f"{options.config}: expected two phases, and shares in the second: its sources are the curated ones"
        )
    curated = sorted(training.curriculum[1].shares)
    with tempfile.TemporaryDirectory() as temporary:
        runs = [arms(options.config, seed, options.scale, Path(temporary)) for seed in range(1, options.seeds + 1)]
    table = Table("source", "seed", *runs[0], "phase 2 is better by", title="Held-out bits per byte")
    gains: dict[str, list[float]] = {}  # gain of phase 2 over phase 1 continued, one per seed
    for source in sorted(runs[0]["phase 2"], key=lambda name: (name not in curated, name)):
        for seed, each in enumerate(runs, 1):
            better = each["phase 1 continued"][source] - each["phase 2"][source]
            gains.setdefault(source, []).append(better)
            name = f"{source}{' (curated)' if source in curated else ''}"
            table.add_row(name, str(seed), *(f"{values[source]:.4f}" for values in each.values()), f"{better:+.4f}")
    Console(width=110).print(table)
    for source, gain in gains.items():
        gains_text = f"{statistics.mean(gain):+.4f} on average, {min(gain):+.4f} at the least"
        named = "curated" if source in curated else "not curated"
        print(f"{source} ({named}): phase 2 is better by {gains_text}, over {options.seeds} seeds")
    curated_gains = [gain for source, gain in gains.items() if source in curated]  # only sources with a holdout
    met = bool(curated_gains) and all(min(gain) > 0 for gain in curated_gains)
    print(f"{'met' if met else 'NOT met'}: {CLAIM}")
    common.record(
        "curriculum",
        CLAIM,
        ["torch", "numpy", "pyarrow"],
        {
            "tokens": {phase.name: int(phase.tokens * options.scale) for phase in training.curriculum},
            "curated": curated,
            "bits_per_byte": {f"seed {seed}": each for seed, each in enumerate(runs, 1)},
            "gain": gains,
            "mean_gain": {source: statistics.mean(gain) for source, gain in gains.items()},
            "worst_gain": {source: min(gain) for source, gain in gains.items()},
        },
        met,
    )


if __name__ == "__main__":
    main()
