"""Quickstart: wall time and peak memory of each command of `make quickstart`, and bits per byte of the model.

    python benchmarks/quickstart.py [--workers 2]

Installation is not counted, and neither is a first build, which downloads missing files and compiles kernels. Then all
commands of the Makefile run with empty output folders: corpus, both phases, evaluation, generated text. Memory is the
proportional set size, summed over all processes of a command.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from common import record

ROOT = Path(__file__).parents[1]
TARGET_S = 600
UNDER = "`make quickstart` takes under 10 minutes, installation and downloads apart"
BEATS = "after phase 2 the model beats the unigram on every source with a full holdout"


def run(*arguments: str) -> tuple[float, int]:
    """Run `python -m …`, and return its seconds and peak memory in bytes."""
    start = time.perf_counter()
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    peak, done = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
    watcher.start()
    code = process.wait()
    taken = time.perf_counter() - start
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(arguments)} failed with exit code {code}")
    return taken, peak[0]


def commands() -> list[list[str]]:
    """Return the commands of `make quickstart` from the Makefile, after installation."""
    lines = (ROOT / "Makefile").read_text().partition("\nquickstart:")[2].partition("\n\n")[0].splitlines()[1:]
    return [shlex.split(line.replace("$(BIN)/", "")) for line in lines]


def with_folders(command: Sequence[str], corpus: Path, out: Path, workers: int) -> list[str]:
    """Return the command with other input and output folders."""
    if command[0] == "corpus":
        return [*command, "--out", str(corpus), "--workers", str(workers)]
    return [*command, "--set", f"corpora.quickstart={corpus}", "--set", f"out={out}"]


def command_name(command: Sequence[str]) -> str:
    """Return the tool and its subcommand, and the phase of `fit`."""
    return " ".join([*command[:2], *(command[2:4] if "--phase" in command else [])])


def bits_per_byte(out: Path) -> tuple[dict[str, dict[str, float]], dict[str, bool]]:
    """Return bits per byte by evaluation, baseline and source, and True for each source that beats the unigram.

    The comparison takes the last evaluation, and the sources with a full holdout.
    """
    rows = [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]
    scores = {row["after"]: {name: each["bits_per_byte"] for name, each in row["sources"].items()} for row in rows}
    baselines = json.loads((out / "baselines.json").read_text())["baselines"]["sources"]
    unigram = {name: each["unigram_bits"] / each["bytes"] for name, each in baselines.items()}
    xz = {
        name: 8 * each["xz_bytes"] / each["bytes"] for name, each in baselines.items() if each["xz_bytes"] is not None
    }
    last = rows[-1]["sources"]
    beaten = {name: each["bits_per_byte"] < unigram[name] for name, each in last.items() if not each["thin"]}
    by_label = {**scores, "unigram": unigram, "xz -9": xz}
    return {label: {name: round(bits, 4) for name, bits in each.items()} for label, each in by_label.items()}, beaten


def _watch(group: int, peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.1):
        peak[0] = max(peak[0], sum(_memory(entry) for entry in Path("/proc").glob("[0-9]*") if _group(entry) == group))


def _group(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[2])
    except (OSError, ValueError, IndexError):
        return -1


def _memory(entry: Path) -> int:
    try:
        lines = (entry / "smaps_rollup").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, ValueError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the build (default: one a core)")
    workers = parser.parse_args().workers
    taken: dict[str, tuple[float, int]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = commands()[0]
        run(*with_folders(build, folder / "first", folder / "run", workers))
        for command in commands():
            taken[command_name(command)] = run(*with_folders(command, folder / "corpus", folder / "run", workers))
        again_s, _ = run(*with_folders(build, folder / "corpus", folder / "run", workers))
        scores, beaten = bits_per_byte(folder / "run")
    total_s = sum(seconds for seconds, _ in taken.values())
    met = {UNDER: total_s < TARGET_S, BEATS: bool(beaten) and all(beaten.values())}
    figures = {
        "workers": workers,
        "commands": {
            each: {"wall_s": round(seconds, 1), "peak_memory_bytes": memory}
            for each, (seconds, memory) in taken.items()
        },
        "total_s": round(total_s, 1),
        "peak_memory_bytes": max(memory for _, memory in taken.values()),
        "again_s": round(again_s, 1),
        "bits_per_byte": scores,
        "beats_unigram": beaten,
    }
    record("quickstart", f"{UNDER}; {BEATS}", ("pyarrow", "numba", "torch"), figures, met)
    for each, (seconds, memory) in taken.items():
        print(f"{each}: {seconds:.1f} s, at most {memory / 1e6:.0f} MB")
    print(f"in all: {total_s:.1f} s, the build with {workers} workers; building again: {again_s:.1f} s")
    for label, bits in scores.items():
        print(label, bits)
    for statement, holds in met.items():
        print(f"{'met' if holds else 'NOT met'}: {statement}")


if __name__ == "__main__":
    main()
