"""The quickstart: wall time and peak memory of building the corpus and of training both phases, and what was learned.

    python benchmarks/quickstart.py [--workers 2]

The first build fetches what is not in the cache yet, and compiles; it is not counted. The second starts with an empty
output folder and everything in the caches. Memory is the proportional set size of all of a command's processes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from common import record

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> tuple[float, int]:
    """Seconds, and bytes at the highest moment, of `python -m …`."""
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


def build(out: Path, workers: int) -> tuple[float, int]:
    """Of the corpus."""
    return run("corpus", "build", "recipes/quickstart.yaml", "--out", str(out), "--workers", str(workers))


def train(corpus: Path, out: Path) -> tuple[float, int, dict[str, object]]:
    """Of both phases and their evaluation; and the scores by evaluation and source, beside the yardsticks."""
    where = (
        "--config",
        "recipes/train_quickstart.yaml",
        "--set",
        f"corpora.quickstart={corpus}",
        "--set",
        f"out={out}",
    )
    taken = [run("trainer", *verb, *where) for verb in (("fit", "--phase", "1"), ("fit", "--phase", "2"), ("eval",))]
    rows = [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]
    scores: dict[str, object] = {
        row["after"]: {name: round(each["bits_per_byte"], 4) for name, each in row["sources"].items()} for row in rows
    }
    kept = json.loads((out / "yardsticks.json").read_text())["yardsticks"]["sources"]
    scores["unigram"] = {name: round(each["unigram_bits"] / each["bytes"], 4) for name, each in kept.items()}
    scores["xz -9"] = {name: round(8 * each["xz_bytes"] / each["bytes"], 4) for name, each in kept.items()}
    return sum(seconds for seconds, _ in taken), max(memory for _, memory in taken), scores


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
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder / "first", workers)
        wall_s, memory = build(folder / "second", workers)
        again_s, _ = build(folder / "second", workers)
        training_s, training_memory, scores = train(folder / "second", folder / "run")
    figures = {
        "workers": workers,
        "wall_s": round(wall_s, 1),
        "peak_memory_bytes": memory,
        "again_s": round(again_s, 1),
        "training_s": round(training_s, 1),
        "training_peak_memory_bytes": training_memory,
        "bits_per_byte": scores,
    }
    claim = "wall time and peak memory of the quickstart; after phase 2 the model beats a unigram on every source"
    record("quickstart", claim, ("pyarrow", "numba", "torch"), figures)
    print(f"built in {wall_s:.1f} s with {workers} workers, at most {memory / 1e6:.0f} MB; again in {again_s:.1f} s")
    print(f"trained in {training_s:.1f} s, at most {training_memory / 1e6:.0f} MB")
    for label, each in scores.items():
        print(label, each)


if __name__ == "__main__":
    main()
